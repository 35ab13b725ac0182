#!/usr/bin/env bash
# Runs every test: format, lints, documentation, the oldest Rust, unit, property and end-to-end tests, third-party
# clients, servers and proxies, a browser, Autobahn|Testsuite without its slow groups, and the main script with fewer
# connections. On a fresh machine it installs what it needs (Debian's strace, chromium, nodejs, npm, python3-venv, curl,
# nginx, haproxy, iproute2, nftables, parallel, a Python 2.7; packages from PyPI and npm; with rustup the oldest Rust),
# below target/ where it can. It takes about a quarter of an hour on two cores the first time. The last line is
# `N passed, N failed`; the exit code is 0 only if none failed.
#
# Longer checks have their own scripts: all of Autobahn|Testsuite in scripts/autobahn.sh, fuzzing in scripts/fuzz.sh,
# more than 20 seeds of the hostile kernel in scripts/faults.sh, a mixed load for minutes or hours in scripts/soak.sh.
#
#     scripts/test.sh [--fast]
#
#   --fast   only format, lints, unit and property tests: less than three minutes after a first build
set -uo pipefail

is_fast=''
case $* in
'') ;;
--fast) is_fast=yes ;;
-h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
*) printf "test.sh: unknown argument '%s': expected --fast, --help or nothing\n" "$*" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

passed=0 failed=0 log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

# Runs one check that passes or fails as a whole.
check() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$name"
    fi
}

# Runs a suite of many tests, and adds up the counts that it prints. A suite that breaks down counts as one failure.
suite() {
    local name=$1 pattern=$2 status more_passed more_failed
    shift 2
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log/out"
    status=${PIPESTATUS[0]}
    read -r more_passed more_failed < <(
        sed -nE "s/$pattern/\1 \2/p" "$log/out" | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }'
    )
    passed=$((passed + more_passed)) failed=$((failed + more_failed))
    if ((status != 0 && more_failed == 0)); then
        failed=$((failed + 1))
        printf 'FAILED: %s ended with %d\n' "$name" "$status"
    elif ((more_passed == 0)); then
        failed=$((failed + 1))
        printf 'FAILED: %s ran no test\n' "$name"
    fi
}

install_strace() {
    command -v strace >/dev/null && return
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get -qq update && "${as_root[@]}" apt-get -qq install -y --no-install-recommends strace >/dev/null
}

# Checks all targets with the rust-version of Cargo.toml, which rustup installs.
oldest_rust() {
    local version
    version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    command -v rustup >/dev/null || { printf 'rustup is not installed: only %s is checked\n' "$(rustc --version)"; return 0; }
    if ! rustup --quiet toolchain install "$version" --profile minimal --no-self-update; then
        printf 'Rust %s cannot be installed: only %s is checked\n' "$version" "$(rustc --version)"
        return 0
    fi
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/oldest cargo "+$version" check --quiet --all-targets --locked
}

# Each feature builds without the others, and without a warning.
features_alone() {
    local feature
    for feature in '' server flood client doctor; do
        cargo clippy --quiet --lib --no-default-features --features "$feature" -- -D warnings -A clippy::all || return 1
    done
}

# Counts the crates that a library build compiles, this crate included.
few_crates() {
    local feature limit crates
    while read -r feature limit; do
        crates=$(cargo tree --locked --no-default-features --features "${feature#core}" --edges normal --prefix none |
            sed 's/ (\*)$//' | sort -u | wc -l)
        printf '%s: %d crates, expected at most %d\n' "$feature" "$crates" "$limit"
        ((crates > 0 && crates <= limit)) || return 1
    done <<<$'core 15\nserver 30'
}

million_in_small() {
    scripts/c1000k.sh 40000 --hold 1 --json "$log/flood.json" && grep -q '"ok": true' "$log/flood.json"
}

# Interrupted in its hold, the script leaves no process running and says that it was not complete.
interrupted() {
    local script
    scripts/c1000k.sh 2000 --hold 600 >"$log/interrupted" 2>&1 &
    script=$!
    until grep -q '^hold' "$log/interrupted"; do
        kill -0 "$script" 2>/dev/null || { cat "$log/interrupted"; return 1; }
        sleep 0.1
    done
    local children
    children=$(cat "/proc/$script/task/$script/children")
    [[ -n ${children// /} ]] || return 1
    kill -TERM "$script"
    wait "$script"
    (($? != 0)) || return 1
    for child in $children; do
        ! kill -0 "$child" 2>/dev/null || return 1
    done
}

too_many() {
    local said
    said=$(scripts/c1000k.sh 40000000 2>&1 </dev/null)
    (($? == 2)) && grep -q 'largest number that fits is' <<<"$said"
}

end() {
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0))
    exit
}

counts='test result: .* ([0-9]+) passed; ([0-9]+) failed.*'
check 'format' cargo fmt --check
check 'lints' cargo clippy --quiet --all-targets -- -D warnings
if [[ $is_fast ]]; then
    suite 'unit and property tests' "$counts" \
        cargo test --no-fail-fast --lib --bins --test tidy --test proto --test library
    end
fi
check 'strace is installed' install_strace
check 'each feature alone' features_alone
check 'crates of the core, and of the server' few_crates
check 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps
check 'oldest Rust' oldest_rust
suite 'cargo test' "$counts" cargo test --no-fail-fast
check 'records of the feature log' cargo test --quiet --features log --test handlers logging
check 'release build' cargo build --release --quiet
suite 'third-party clients and servers, and a browser' '^([0-9]+) passed, ([0-9]+) failed$' src/tests/interop/run.sh
suite 'Autobahn, the quick groups, server and client' '^([0-9]+) passed, ([0-9]+) failed$' scripts/autobahn.sh --quick
check 'c1000k.sh with 40,000' million_in_small
check 'c1000k.sh interrupted' interrupted
check 'c1000k.sh with more than fit' too_many
end
