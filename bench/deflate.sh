#!/usr/bin/env bash
# Counts the user-space instructions that a message costs to compress and to inflate, with zlib-rs as Steadfast uses it
# and with the libraries that could do the same, and how long a compressed message is. 5 s, the first time 1 min.
#
#     bench/deflate.sh
#
# Messages are JSON of a chat, of 256 bytes, 1 KiB and 16 KiB, at the levels 1 and 6, as permessage-deflate has it
# without context takeover: reset, flush, the tail cut off, and put back to inflate. Each is inflated and compared. The
# libraries are fetched and built below target/bench. zlib-ng needs cmake and make, and is left out where they are not.

source "$(dirname "$0")/common.sh"
read_flags -- "$@"
needs_steadfast 'it measures libraries'

work=$out_dir/deflate
callgrind_out=$work/callgrind.out

mem_level=$(sed -n 's/^const MEM_LEVEL: i32 = \([1-9]\);$/\1/p' "$root_dir/src/proto/deflate.rs")
[[ -n $mem_level ]] || fail 'src/proto/deflate.rs does not say its MEM_LEVEL as it used to'
# flate2's feature | what the program is told | what that is
backends=(
    "zlib-rs|direct $mem_level|zlib-rs, mem_level $mem_level (Steadfast)"
    'zlib-rs|flate2|zlib-rs by flate2'
    'zlib-ng|flate2|zlib-ng by flate2'
    'miniz_oxide|flate2|miniz_oxide by flate2'
)
crates=(zlib-rs flate2 libz-ng-sys miniz_oxide)

# The version of a crate in a Cargo.lock.
version() {
    awk -F '"' -v name="$1" '/^name/ { found = $2 == name } /^version/ && found { print $2 }' "$2"
}

# The package is put together below target/, so that the lock file that cargo writes is not among the sources. It begins
# as Steadfast's, for the same zlib-rs.
build_programs() {
    local package=$work/package feature ours theirs
    mkdir -p "$package"
    cp "$bench_dir/deflate/Cargo.toml" "$package/"
    ln -sfn "$bench_dir/deflate/main.rs" "$package/main.rs"
    [[ $package/Cargo.lock -nt $root_dir/Cargo.lock ]] || cp "$root_dir/Cargo.lock" "$package/"
    for feature in $(printf '%s\n' "${backends[@]%%|*}" | sort -u); do
        printf 'building with %s\n' "$feature" >&2
        cargo build --release --quiet --manifest-path "$package/Cargo.toml" --target-dir "$work/build" \
            --features "$feature"
        cp "$work/build/release/deflate" "$work/deflate-$feature"
    done
    ours=$(version zlib-rs "$root_dir/Cargo.lock") theirs=$(version zlib-rs "$package/Cargo.lock")
    [[ $ours == "$theirs" ]] || fail "zlib-rs is $theirs here and $ours in Steadfast: adapt bench/deflate/Cargo.toml"
}

# Runs a back end once; callgrind leaves a file for each line that the program prints. Prints a line for each of these.
measure() {
    local backend=$1 feature arguments level bytes done_what messages length part=0
    IFS='|' read -r feature arguments _ <<<"$backend"
    rm -f "$callgrind_out"*
    # callgrind counts `rep stosb` and `rep movsb` once for each byte, and the C library uses them for long blocks: 48 KiB
    # would be 49,152 instructions. Without them it uses vectors, which are counted as what they are. The function is named
    # in full, since callgrind takes only the first of two patterns that match. The arguments are unquoted on purpose.
    GLIBC_TUNABLES=glibc.cpu.x86_rep_stosb_threshold=100000000:glibc.cpu.x86_rep_movsb_threshold=100000000 \
        valgrind --tool=callgrind --callgrind-out-file="$callgrind_out" --zero-before=deflate::counted_work \
        --dump-after=deflate::counted_work "$work/deflate-$feature" $arguments >"$work/lines" 2>"$work/log" || {
        cat "$work/log" >&2
        fail "$feature went wrong"
    }
    while read -r level bytes done_what messages length; do
        part=$((part + 1))
        [[ -f $callgrind_out.$part ]] || fail "callgrind did not write $callgrind_out.$part"
        read_instructions "$callgrind_out.$part"
        printf '%s|%d|%d|%s|%.0f|%.0f\n' "${backend##*|}" "$level" "$bytes" "$done_what" \
            "$(calculate "$instructions / $messages")" "$(calculate "$length / $messages")"
    done <"$work/lines"
}

need cargo cc valgrind
if ! { command -v cmake && command -v make; } >/dev/null; then
    printf 'zlib-ng is left out: it needs cmake and make, which are not both here\n' >&2
    unset 'backends[2]' 'crates[2]'
    backends=("${backends[@]}")
fi
build_programs
for backend in "${backends[@]}"; do
    printf 'counting %s\n' "${backend##*|}" >&2
    measure "$backend"
done | awk -F '|' '
    BEGIN { printf "%-35s %-7s %-7s %9s %9s %6s\n", "instructions of a message", "level", "bytes", "compress", "inflate", "bytes" }
    $4 == "compress" { compress = $5; next }
    { printf "%-35s %-7d %-7d %9d %9d %6d\n", $1, $2, $3, compress, $5, $6 }'
printf '\nwith '
for crate in "${crates[@]}"; do printf '%s %s, ' "$crate" "$(version "$crate" "$work/package/Cargo.lock")"; done
valgrind --version
