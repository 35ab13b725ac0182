#!/usr/bin/env bash
# Holds a million WebSocket connections on this host, both sides of each, and prints what that took.
#
#     scripts/c1000k.sh [N] [--hold SECONDS] [--json FILE]
#
#   N                how many connections (1000000)
#   --hold SECONDS   how long to hold them (30)
#   --json FILE      write the report there, as JSON
#
# Builds Steadfast, starts its server on a free port of 127.0.0.1, opens the connections from this host, has every one
# answered, holds them, asks each whether it is alive, closes them. It needs no root, no sysctl and no raised limit, and
# stops what it started, also when it is interrupted. Exit code 0 only if every connection came all the way.
set -euo pipefail

connections=1000000 hold_s=30 json=()

die() {
    printf 'c1000k.sh: %s\n' "$*" >&2
    exit 2
}

while (($#)); do
    case $1 in
    --json) (($# > 1)) || die '--json wants a file'; json=(--json "$(realpath -m -- "$2")"); shift 2 ;;
    --hold) (($# > 1)) || die '--hold wants seconds'; hold_s=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *[!0-9]* | '' | 0*) die "what is '$1'? expected a number of connections, --hold SECONDS or --json FILE" ;;
    *) connections=$1; shift ;;
    esac
done
((${#connections} <= 8 && connections <= 50000000)) || die "$connections connections are more than this script can plan for"
cd "$(dirname "$0")/.."

# Measured on Linux 6.18: 8.2 KiB of kernel memory for a loopback pair. Ours for both ends, and what 53 threads and two
# histograms each take for a million, are the other two figures, rounded up.
pair_bytes=$((8400 + 200)) fixed_bytes=$((256 << 20))

# What this host, or the container that it is seen from, has left.
available_bytes() {
    local available limit limit_dir used cached pair
    available=$(awk '/^MemAvailable:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
    for pair in 'memory.max memory.current' 'memory/memory.limit_in_bytes memory/memory.usage_in_bytes'; do
        read -r limit used <<<"$pair"
        limit_dir=${limit%memory.*}
        limit=$(cat "/sys/fs/cgroup/$limit" 2>/dev/null || echo max)
        used=$(cat "/sys/fs/cgroup/$used" 2>/dev/null || echo 0)
        # Pages of files count as used, and are given up when memory is asked for.
        cached=$(awk '/^(in)?active_file / { sum += $2 } END { printf "%.0f", sum }' \
            "/sys/fs/cgroup/${limit_dir}memory.stat" 2>/dev/null || echo 0)
        used=$((used - cached))
        # cgroup v1 says "no limit" with a number near 2^63.
        if [[ $limit != max ]] && ((${#limit} < 17 && limit - used < available)); then
            available=$((limit - used))
        fi
    done
    echo "$available"
}

available=$(available_bytes)
wanted=$((connections * pair_bytes + fixed_bytes))
if ((wanted > available)); then
    largest=$(((available - fixed_bytes) / pair_bytes / 1000 * 1000))
    printf '%d connections need about %d MiB here, both ends together, and %d MiB are available.\n' \
        "$connections" $((wanted >> 20)) $((available >> 20)) >&2
    ((largest > 0)) || die 'not even a thousand fit'
    if [[ -t 0 && -t 2 ]]; then
        read -rp "The largest number that fits is $largest. Run with that? [Y/n] " answer
        [[ ${answer:-y} == [yY]* ]] || exit 2
        connections=$largest
    else
        die "the largest number that fits is $largest: scripts/c1000k.sh $largest"
    fi
fi

cargo build --release --quiet
steadfast=${CARGO_TARGET_DIR:-target}/release/steadfast
server='' flood='' said=$(mktemp)

# Waits for a child to the end; a signal that comes meanwhile ends the waiting, not the child.
wait_for() {
    while kill -0 "$1" 2>/dev/null; do
        wait "$1" || true
    done
}

stop_all() {
    trap - EXIT
    trap '' TERM HUP
    # A second Ctrl-C tells the flood that now means now; the server is stopped in any case.
    trap '[[ -z $flood ]] || kill "$flood" 2>/dev/null || true' INT
    # The flood first: it closes what it opened and reports.
    [[ -z $flood ]] || { kill "$flood" 2>/dev/null || true; wait_for "$flood"; }
    [[ -z $server ]] || { kill "$server" 2>/dev/null || true; wait_for "$server"; }
    rm -f "$said"
}
trap stop_all EXIT
trap 'stop_all; exit 130' INT
trap 'stop_all; exit 143' TERM HUP

# Both in sessions of their own: Ctrl-C reaches this script alone, which stops one after the other.
setsid "$steadfast" serve --listen 127.0.0.1:0 --max-connections "$connections" >"$said" &
server=$!
until grep -qx ready "$said"; do
    kill -0 "$server" 2>/dev/null || { server=''; die 'the server did not start'; }
    sleep 0.05
done
sed '/^ready$/d' "$said"
port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$said")

setsid "$steadfast" flood "ws://127.0.0.1:$port/echo" --connections "$connections" --hold "$hold_s" --server-pid "$server" \
    "${json[@]}" &
flood=$!
status=0
wait "$flood" || status=$?
flood=''
exit "$status"
