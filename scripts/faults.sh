#!/usr/bin/env bash
# Runs the server and the flood under a hostile kernel (src/tests/faults): system calls that fail, transfer less, are
# interrupted or reordered, by seed, and deliver only the edges that a kernel must deliver. `cargo test` runs 20 seeds.
#
#     scripts/faults.sh [N] [--first SEED] [--seed SEED] [--scenario NAME]
#
#   N                seeds to run, each with all six scenarios (100)
#   --first SEED     the first seed (1)
#   --seed SEED      runs only this seed
#   --scenario NAME  echo, pipelined, compression, broadcast, bodies or storm_and_drain (all)
#
# A run passes if nothing is lost, hangs or is wrong, except connections that the fault library itself has reset, and if
# connections, queues and descriptors return to their initial numbers. A failure prints its seed and the command that
# repeats it. The script uses the release build; a run takes about half a second on two cores. The last line is
# `N passed, N failed`; the exit code is 0 only if none failed, and 2 if nothing could be run.
set -uo pipefail

count=100 first=1 filter=()

die() {
    printf 'faults.sh: %s\n' "$*" >&2
    exit 2
}

is_number() {
    [[ $1 =~ ^[1-9][0-9]{0,8}$ ]]
}

while (($#)); do
    case $1 in
    --first) is_number "${2:-}" || die '--first needs a number'; first=$2; shift 2 ;;
    --seed) is_number "${2:-}" || die '--seed needs a number'; first=$2 count=1; shift 2 ;;
    --scenario) filter=(--exact "${2:?a name}"); shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) is_number "$1" || die "unknown argument '$1': see --help"; count=$1; shift ;;
    esac
done
cd "$(dirname "$0")/.." || exit 2
command -v cc >/dev/null || die 'no C compiler (cc): on Debian, apt-get install gcc'

# cargo prints the path of the program.
program=$(cargo test --quiet --release --test faults --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*faults-[^"]*\)".*/\1/p' | tail -n 1)
[[ -x $program ]] || die 'the test does not build'

log=$(mktemp) child=
trap 'rm -f "$log"' EXIT
trap '[[ -z $child ]] || kill "$child" 2>/dev/null; exit 130' INT TERM

# In steps, so that progress can be printed and an interrupt does not lose results.
passed=0 failed=0 step=20 last=$((first + count - 1))
for ((seed = first; seed <= last; seed += step)); do
    to=$((seed + step - 1))
    ((to <= last)) || to=$last
    FAULTS_SEEDS=$seed-$to RUST_BACKTRACE=0 "$program" --nocapture "${filter[@]}" >"$log" 2>&1 &
    child=$!
    wait "$child"
    status=$? child=
    more_passed=$(grep -c '^ok ' "$log") more_failed=$(grep -c '^FAILED ' "$log")
    if ((status != 0 && more_failed == 0)) || ((more_passed + more_failed == 0)); then
        cat "$log"
        more_failed=$((more_failed + 1))
    fi
    passed=$((passed + more_passed)) failed=$((failed + more_failed))
    sed -n '/^FAILED /,/^  again: /p' "$log"
    printf 'seeds %d to %d of %d to %d: %d passed, %d failed\n' "$seed" "$to" "$first" "$last" "$passed" "$failed"
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
