#!/usr/bin/env bash
# Checks licences, advisories, bans and sources of all dependencies by scripts/deny.toml.
#
#     scripts/deny.sh [advisories | bans | licenses | sources ...]
#
# Without arguments it checks all four. It needs cargo-deny (`cargo install cargo-deny --locked`); advisories need a
# network, or a copy of their database from an earlier run. It installs nothing. The exit code is 0 only if all checks
# pass, and 2 if cargo-deny is missing.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
fi
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
    printf 'deny.sh: cargo-deny is not installed; cargo install cargo-deny --locked\n' >&2
    exit 2
fi
exec cargo deny --config scripts/deny.toml check "$@"
