#!/usr/bin/env bash
# Fuzzes the protocol core with cargo-fuzz, each target for 30 minutes by default. scripts/test.sh does not include it; it
# only runs the kept corpora through the same oracles.
#
#     scripts/fuzz.sh [--seconds N] [--jobs N] [--minimize] [TARGET ...]
#     scripts/fuzz.sh --again FILE
#
#   TARGET           targets of src/tests/fuzz (all)
#   --seconds N      time for each target (1800)
#   --jobs N         targets at a time (as many as there are cores)
#   --minimize       runs no target, but renews src/tests/fuzz/corpus from the findings of earlier runs
#   --again FILE     repeats an input on which a target failed
#
# Needs Rust and a C++ compiler; everything else is installed below target/fuzz, where the findings stay too: only
# --minimize changes the repository. It uses a nightly toolchain if there is one, or else makes the installed one accept
# nightly's flags. The last line is `N passed, N failed`; the exit code is 0 only if none failed, and 2 if nothing could
# be run.
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
    --seconds) is_number "${2:-}" || die '--seconds needs a number'; seconds=$2; shift 2 ;;
    --jobs) is_number "${2:-}" || die '--jobs needs a number'; jobs=$2; shift 2 ;;
    --again) [[ -f ${2:-} ]] || die '--again needs a file'; again=$(realpath -- "$2"); shift 2 ;;
    --minimize) minimize=yes; shift ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) die "unknown argument '$1': see --help" ;;
    *) targets+=("$1"); shift ;;
    esac
done
cd "$(dirname "$0")/.." || exit 2

source=src/tests/fuzz
target_dir=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
work=$target_dir/fuzz
# The longest input: it has room for any head or for many frames, and still runs thousands of times per second.
max_len=2048
# Kept inputs besides the seeds run in every test run, so there are few, and they are short.
kept_files=50 kept_bytes=1024
# The fuzzer names its findings by their hash.
found_name=$(printf '[0-9a-f]%.0s' {1..40})

mapfile -t known < <(sed -n '/^\[\[bin\]\]/,/^path/s/^name = "\(.*\)"/\1/p' "$source/Cargo.toml")
# A finding is in a folder with the name of its target.
[[ -z $again ]] || targets=("$(basename "$(dirname "$again")")")
((${#targets[@]})) || targets=("${known[@]}")
for target in "${targets[@]}"; do
    [[ " ${known[*]} " == *" $target "* ]] || die "unknown target '$target': expected ${known[*]}"
done

choose_toolchain() {
    command -v cargo >/dev/null || die 'no cargo: install Rust first'
    command -v c++ >/dev/null || die 'no C++ compiler (c++), which libFuzzer is built with: on Debian, apt-get install g++'
    local nightly
    nightly=$(rustup toolchain list 2>/dev/null | sed -n 's/^\(nightly[^ ]*\).*/\1/p' | head -n 1)
    if [[ -n $nightly ]]; then
        export RUSTUP_TOOLCHAIN=$nightly
    else
        # Sanitizers need a flag of nightly; this variable makes any toolchain accept it.
        export RUSTC_BOOTSTRAP=1
    fi
    printf 'with %s%s\n' "$(rustc --version)" "${RUSTC_BOOTSTRAP:+, made to accept the flags of nightly}"
}

install_cargo_fuzz() {
    export PATH=$work/tools/bin:$PATH
    command -v cargo-fuzz >/dev/null && return
    cargo install --quiet --locked --root "$work/tools" cargo-fuzz || die 'cargo-fuzz cannot be installed'
}

# The package is assembled below target/, to keep cargo's lock file out of the sources.
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

# Prints the results of a target's run on one line.
summary() {
    local log=$1
    awk '
        /^#[0-9]+/ { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1) } }
        /^stat::number_of_executed_units/ { runs = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        END { printf "%d runs, %d per second, coverage %d, features %d", runs, rate, cov, ft }
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
        printf '%-16s %s\n' "$target" "$(summary "$log")"
        return
    fi
    printf '%-16s FAILED, %s\n' "$target" "$(summary "$log")"
    # Print the message of the assertion, of the sanitizer, or of the fuzzer about time or memory.
    sed -n '/^thread /,/^note: /{/^note: /!p}; /ERROR: AddressSanitizer/,/^$/p; /ERROR: libFuzzer: [^d]/p' "$log" |
        head -n 20 | cut -c 1-400 | sed 's/^/    /'
    for file in "$found"/*; do
        [[ ! -f $file ]] || printf '    repeat it: scripts/fuzz.sh --again %s\n' "$(realpath --relative-to=. "$file")"
    done
    printf '    whole output: %s\n' "$(realpath --relative-to=. "$log")"
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

# Keeps the seeds, which have names, and the findings that reach more code than they do. The merge selects the smallest set
# of files that reaches all of it, and writes the files that reach most first.
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
            # The tidy test limits all files, including these, to 500 lines.
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
