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

work=$out_dir/deflate
callgrind_out=$work/callgrind.out

# flate2's feature | what the program is told | what that is
backends=(
    'zlib-rs|direct MEM_LEVEL|zlib-rs, mem_level MEM_LEVEL (Steadfast)'
    'zlib-rs|flate2|zlib-rs by flate2'
    'zlib-ng|flate2|zlib-ng by flate2'
    'miniz_oxide|flate2|miniz_oxide by flate2'
)
crates=(zlib-rs flate2 libz-ng-sys miniz_oxide)
levels=(1 6) sizes=(256 1024 16384)
# By back end, level, bytes and what was done; the lengths without the latter.
declare -A figures lengths

# The version of a crate in a Cargo.lock.
version() {
    awk -F '"' -v name="$1" '/^name/ { found = $2 == name } /^version/ && found { print $2 }' "$2"
}

# Steadfast's own level, so that the figures are of what it does.
read_mem_level() {
    local mem_level
    mem_level=$(sed -n 's/^const MEM_LEVEL: i32 = \([1-9]\);$/\1/p' "$root_dir/src/proto/deflate.rs")
    [[ -n $mem_level ]] || fail 'src/proto/deflate.rs does not say its MEM_LEVEL as it used to'
    backends=("${backends[@]//MEM_LEVEL/$mem_level}")
}

leave_out_zlib_ng() {
    local backend kept=()
    for backend in "${backends[@]}"; do
        [[ $backend == zlib-ng* ]] || kept+=("$backend")
    done
    backends=("${kept[@]}") crates=("${crates[@]/libz-ng-sys/}")
    printf 'zlib-ng is left out: it needs cmake and make, which are not both here\n' >&2
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

# Runs a back end once; callgrind leaves a file for each line that the program prints.
measure() {
    local backend=$1 feature arguments level bytes done_what messages length part=0
    IFS='|' read -r feature arguments _ <<<"$backend"
    rm -f "$callgrind_out"*
    # callgrind counts `rep stosb` and `rep movsb` once for each byte, while the processor does many bytes at once, and
    # the C library clears and copies long blocks in that way: 48 KiB would be 49,152 instructions. Without them it
    # takes vectors, which are counted as what they are. The function is named in full, since callgrind takes only the
    # first of two patterns that match. The arguments are unquoted on purpose: these are words.
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
        figures["$backend $level $bytes $done_what"]=$(calculate "$instructions / $messages" 0)
        lengths["$backend $level $bytes"]=$(calculate "$length / $messages" 0)
    done <"$work/lines"
}

print_table() {
    local level bytes backend key
    printf 'user-space instructions to compress and to inflate a message, and its compressed bytes\n\n%-34s' ''
    printf ' | %23s' "${sizes[@]/%/ bytes}"
    for level in "${levels[@]}"; do
        printf '\n\n%-34s' "level $level"
        for bytes in "${sizes[@]}"; do printf ' | %9s %7s %5s' compress inflate bytes; done
        printf '\n'
        for backend in "${backends[@]}"; do
            printf '%-34s' "${backend##*|}"
            for bytes in "${sizes[@]}"; do
                key="$backend $level $bytes"
                printf ' | %9d %7d %5d' "${figures["$key compress"]}" "${figures["$key inflate"]}" "${lengths["$key"]}"
            done
            [[ $backend == "${backends[-1]}" ]] || printf '\n'
        done
    done
    printf '\n'
}

print_versions() {
    local name versions=
    # Unquoted on purpose: what was left out is empty.
    for name in ${crates[@]}; do
        versions+=", $name $(version "$name" "$work/package/Cargo.lock")"
    done
    printf '\nwith%s; %s\n' "${versions#,}" "$(valgrind --version)"
}

read_flags -- "$@"
needs_steadfast 'it measures libraries'
need cargo cc valgrind
read_mem_level
{ command -v cmake && command -v make; } >/dev/null || leave_out_zlib_ng
build_programs
for backend in "${backends[@]}"; do
    printf 'counting %s\n' "${backend##*|}" >&2
    measure "$backend"
done
print_table
print_versions
