#!/usr/bin/env bash
# Fuzzes the protocol core with cargo-fuzz, each target for 30 minutes unless told otherwise: which is why it is no part
# of scripts/test.sh, where the kept corpora alone go through the same oracles.
#
#     scripts/fuzz.sh [--seconds N] [--jobs N] [--minimize] [TARGET ...]
#     scripts/fuzz.sh --again FILE
#
#   TARGET           targets of src/tests/fuzz (all)
#   --seconds N      how long each of them runs (1800)
#   --jobs N         how many run at a time (as many as there are cores)
#   --minimize       runs none, and renews what is kept in src/tests/fuzz/corpus from what earlier runs found
#   --again FILE     runs once more what a target failed on
#
# What it needs beside Rust and a C++ compiler it installs below target/fuzz, where all that it finds stays too: what is
# kept in the repository grows by --minimize alone. It takes a nightly toolchain where there is one, and else makes the
# one that is there take nightly's flags. The last line is `N passed, N failed`; the exit code is 0 only if none failed,
# 2 if there was nothing to run.
set -uo pipefail

seconds=1800 jobs=$(nproc) minimize='' again='' targets=()

die() {
    printf 'fuzz.sh: %s\n' "$*" >&2
    exit 2
}

is_number() {
    [[ $1 =~ ^[1-9][0-9]{0,6}$ ]]
}

while (($#)); do
    case $1 in
    --seconds) is_number "${2:-}" || die '--seconds wants a number'; seconds=$2; shift 2 ;;
    --jobs) is_number "${2:-}" || die '--jobs wants a number'; jobs=$2; shift 2 ;;
    --again) [[ -f ${2:-} ]] || die '--again wants a file'; again=$(realpath -- "$2"); shift 2 ;;
    --minimize) minimize=yes; shift ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) die "what is '$1'? see --help" ;;
    *) targets+=("$1"); shift ;;
    esac
done
cd "$(dirname "$0")/.." || exit 2

source=src/tests/fuzz
target_dir=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
work=$target_dir/fuzz
# No input longer than this: it holds every head and many frames, and runs thousands of times in a second.
max_len=2048
# What is kept beside the seeds goes through every test run.
kept_files=50 kept_bytes=1024
# What the fuzzer finds it calls by its hash.
found_name=$(printf '[0-9a-f]%.0s' {1..40})

mapfile -t known < <(sed -n '/^\[\[bin\]\]/,/^path/s/^name = "\(.*\)"/\1/p' "$source/Cargo.toml")
# A finding lies in a directory that is called like its target.
[[ -z $again ]] || targets=("$(basename "$(dirname "$again")")")
((${#targets[@]})) || targets=("${known[@]}")
for target in "${targets[@]}"; do
    [[ " ${known[*]} " == *" $target "* ]] || die "no target '$target': there are ${known[*]}"
done

choose_toolchain() {
    command -v cargo >/dev/null || die 'no cargo: install Rust first'
    command -v c++ >/dev/null || die 'no C++ compiler (c++), which libFuzzer is built with: on Debian, apt-get install g++'
    local nightly
    nightly=$(rustup toolchain list 2>/dev/null | sed -n 's/^\(nightly[^ ]*\).*/\1/p' | head -n 1)
    if [[ -n $nightly ]]; then
        export RUSTUP_TOOLCHAIN=$nightly
    else
        # Sanitizers are a flag of nightly; the variable lets any toolchain take it.
        export RUSTC_BOOTSTRAP=1
    fi
    printf 'with %s%s\n' "$(rustc --version)" "${RUSTC_BOOTSTRAP:+, made to take the flags of nightly}"
}

install_cargo_fuzz() {
    export PATH=$work/tools/bin:$PATH
    command -v cargo-fuzz >/dev/null && return
    cargo install --quiet --locked --root "$work/tools" cargo-fuzz || die 'cargo-fuzz cannot be installed'
}

# The package is put together below target/, so that the lock file that cargo writes is not among the sources.
build() {
    mkdir -p "$work/package"
    ln -sfn "$PWD/$source/targets" "$work/package/targets"
    sed "s|\"../../..\"|\"$PWD\"|" "$source/Cargo.toml" >"$work/package/Cargo.toml"
    local one=()
    ((${#targets[@]} > 1)) || one=("${targets[0]}")
    cargo fuzz build --fuzz-dir "$work/package" --target-dir "$work/build" "${one[@]}" || die 'the targets do not build'
    programs=$(echo "$work"/build/*-linux-gnu/release)
    # As cargo-fuzz sets it.
    export ASAN_OPTIONS=detect_odr_violation=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
}

# What a target's run came to, in a line.
told() {
    local log=$1
    awk '
        /^#[0-9]+/ { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1) } }
        /^stat::number_of_executed_units/ { runs = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        END { printf "%d runs, %d in a second, coverage %d, features %d", runs, rate, cov, ft }
    ' "$log"
}

run() {
    local target=$1 log=$work/log/$1 found=$work/artifacts/$1 fuzzer file
    mkdir -p "$work/corpus/$target" "$found" "$work/log"
    rm -f "$found"/*
    RUST_BACKTRACE=0 "$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=$max_len \
        -dict="$source/words.dict" -artifact_prefix="$found/" -print_final_stats=1 \
        "$work/corpus/$target" "$source/corpus/$target" >"$log" 2>&1 &
    fuzzer=$!
    trap 'kill "$fuzzer"; exit 143' TERM
    if wait "$fuzzer"; then
        printf '%-16s %s\n' "$target" "$(told "$log")"
        return
    fi
    printf '%-16s FAILED, %s\n' "$target" "$(told "$log")"
    # What an assertion said, or a sanitizer, or the fuzzer of time and memory.
    sed -n '/^thread /,/^note: /{/^note: /!p}; /ERROR: AddressSanitizer/,/^$/p; /ERROR: libFuzzer: [^d]/p' "$log" |
        head -n 20 | cut -c 1-400 | sed 's/^/    /'
    for file in "$found"/*; do
        [[ ! -f $file ]] || printf '    once more: scripts/fuzz.sh --again %s\n' "$(realpath --relative-to=. "$file")"
    done
    printf '    all that it said: %s\n' "$(realpath --relative-to=. "$log")"
    return 1
}

run_all() {
    local passed=0 failed=0 running=0 target
    # shellcheck disable=SC2046 # a list of numbers
    trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM
    for target in "${targets[@]}"; do
        if ((running >= jobs)); then
            if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
            running=$((running - 1))
        fi
        run "$target" &
        running=$((running + 1))
    done
    for (( ; running > 0; running--)); do
        if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    done
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0))
}

# Keeps the seeds, which have names, and of all that was found what reaches more than they do. The merge gives the least
# number of files that reach all of it, and writes those first that reach most.
minimize_one() {
    local target=$1 kept=$source/corpus/$1 merged=$work/merged/$1
    rm -rf "$merged"
    mkdir -p "$merged" "$work/corpus/$target"
    find "$kept" -type f ! -name "$found_name" -exec cp -t "$merged" {} +
    "$programs/$target" -set_cover_merge=1 -use_counters=0 -max_len=$kept_bytes "$merged" "$kept" "$work/corpus/$target" \
        >"$work/log/$target.merge" 2>&1 || return 1
    find "$kept" -type f -name "$found_name" -delete
    find "$merged" -type f -name "$found_name" -size -$((kept_bytes + 1))c -printf '%T@ %f\n' | sort -n |
        while read -r _ file; do
            # The house has no longer files, and its test that counts lines looks at these too.
            (($(wc -l <"$merged/$file") > 500)) || echo "$merged/$file"
        done | head -n "$kept_files" | xargs -r -d '\n' cp -t "$kept"
    printf '%-16s %d files, %d bytes\n' "$target" "$(find "$kept" -type f | wc -l)" "$(cat "$kept"/* | wc -c)"
}

choose_toolchain
install_cargo_fuzz
build
if [[ -n $again ]]; then
    "$programs/${targets[0]}" -timeout=10 -rss_limit_mb=2048 "$again" || exit 1
elif [[ -n $minimize ]]; then
    mkdir -p "$work/log"
    for target in "${targets[@]}"; do
        minimize_one "$target" || die "the corpus of $target cannot be merged: see $work/log/$target.merge"
    done
else
    run_all
fi
