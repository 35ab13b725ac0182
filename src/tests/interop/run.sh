#!/bin/sh
# Lets our server and our flood talk with the programs that others use: Python `websockets`, Node `ws`, Chromium, curl,
# nginx, and from behind nginx and haproxy; and tries what scripts/ has for tuning and for several hosts.
#
#   STEADFAST=target/release/steadfast src/tests/interop/run.sh
#
# What it needs it installs below target/interop, the first time only, and Debian packages where a program is missing.
# The last line is `N passed, N failed`; the exit code is 0 only if none failed, 2 if there was nothing to test.
# One file alone, after that:
#   target/interop/venv/bin/python -B -m pytest src/tests/interop/python/test_echo.py
#   node --test src/tests/interop/node/echo.test.mjs
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../../.." && pwd)
target=$root/target/interop
peers_dir=$here
peers_target=$target
# shellcheck source=peers.sh
. "$here/peers.sh"
STEADFAST=$(realpath -m -- "${STEADFAST:-$root/target/release/steadfast}")
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
# Sources stay as they are: no bytecode beside them.
PYTHONDONTWRITEBYTECODE=1
export STEADFAST CHROMIUM PYTHONDONTWRITEBYTECODE

# Programs of the system's own, which not everyone has on their path, and those that are unpacked below.
PATH=$PATH:/usr/sbin:$target/proxies/usr/sbin:$target/parallel/usr/bin

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo

debian() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

install_programs() {
    missing=
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    command -v node >/dev/null || missing="$missing nodejs"
    command -v npm >/dev/null || missing="$missing npm"
    [ -x "$CHROMIUM" ] || missing="$missing chromium"
    command -v curl >/dev/null || missing="$missing curl"
    command -v ss >/dev/null || missing="$missing iproute2"
    command -v nft >/dev/null || missing="$missing nftables"
    [ -n "$missing" ] || return 0
    $as_root apt-get -qq update >&2
    # shellcheck disable=SC2086 # a list of words
    debian $missing
}

# These are unpacked, and only the libraries that they need are installed: a package of a proxy would start to serve
# port 80, now and whenever this host starts.
install_proxies() {
    if command -v nginx >/dev/null && command -v haproxy >/dev/null; then return 0; fi
    $as_root apt-get -qq update >&2
    # shellcheck disable=SC2046 # a list of words
    debian $(apt-cache depends nginx haproxy | sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p' | sort -u)
    rm -rf "$target/proxies"
    mkdir -p "$target/proxies"
    (cd "$target/proxies" && apt-get -qq download nginx haproxy) >&2
    for package in "$target"/proxies/*.deb; do dpkg -x "$package" "$target/proxies"; done
}

# Unpacked too: its package would have this host collect statistics.
install_parallel() {
    if command -v parallel >/dev/null; then return 0; fi
    $as_root apt-get -qq update >&2
    rm -rf "$target/parallel"
    mkdir -p "$target/parallel"
    (cd "$target/parallel" && apt-get -qq download parallel) >&2
    dpkg -x "$target"/parallel/parallel_*.deb "$target/parallel"
}

if [ ! -x "$STEADFAST" ]; then
    echo "no program at $STEADFAST: cargo build --release, or set STEADFAST" >&2
    exit 2
fi
mkdir -p "$target"
install_programs
install_proxies
install_parallel
install_python
install_node

results=$target/results
rm -rf "$results"
mkdir -p "$results"

# Results of an earlier run must not stand in for those of one that broke down, hence the exit codes as well.
python_code=0
(cd "$here/python" && "$target/venv/bin/python" -m pytest --junit-xml="$results/python.xml") || python_code=$?
node_code=0
node --test --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$results/node.tap" "$here"/node/*.test.mjs || node_code=$?

"$target/venv/bin/python" "$here/tally.py" "$results" "$python_code" "$node_code"
