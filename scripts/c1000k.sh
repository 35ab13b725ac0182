#!/usr/bin/env bash
# Holds a million WebSocket connections from this host to itself, and prints what they cost.
#
#     scripts/c1000k.sh [N] [--hold SECONDS] [--json FILE]
#
#   N                connections (1000000)
#   --hold SECONDS   time to hold them (30)
#   --json FILE      writes the report to FILE, as JSON
#
# Builds Steadfast, starts its server on a free port of 127.0.0.1, opens the connections, sends one message on each, holds
# them, sends another message on each to see that it is alive, and closes them. It needs no root, no sysctl and no raised
# limit, and stops what it started, also when it is interrupted. Exit code 0 only if every connection passed all steps.
set -euo pipefail

connections=1000000 hold_s=30 json=()

die() {
    printf 'c1000k.sh: %s\n' "$*" >&2
    exit 2
}

while (($#)); do
    case $1 in
    --json) (($# > 1)) || die '--json needs a file'; json=(--json "$(realpath -m -- "$2")"); shift 2 ;;
    --hold) (($# > 1)) || die '--hold needs seconds'; hold_s=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *[!0-9]* | '' | 0*) die "unknown argument '$1': expected a number of connections, --hold SECONDS or --json FILE" ;;
    *) connections=$1; shift ;;
    esac
done
((${#connections} <= 8 && connections <= 50000000)) || die "$connections connections are more than this script can plan for"
cd "$(dirname "$0")/.."

# Measured on Linux 6.18: 8.2 KiB of kernel memory for a loopback pair, plus user-space memory of both ends. The fixed part
# is for 53 threads with two histograms each, at a million. All are rounded up.
pair_bytes=$((8400 + 200)) fixed_bytes=$((256 << 20))

# Prints how much memory this host, or the container around this script, has left.
available_bytes() {
    local available limit limit_dir used cached pair
    available=$(awk '/^MemAvailable:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)
    for pair in 'memory.max memory.current' 'memory/memory.limit_in_bytes memory/memory.usage_in_bytes'; do
        read -r limit used <<<"$pair"
        limit_dir=${limit%memory.*}
        limit=$(cat "/sys/fs/cgroup/$limit" 2>/dev/null || echo max)
        used=$(cat "/sys/fs/cgroup/$used" 2>/dev/null || echo 0)
        # The page cache counts as used, but is reclaimed on demand.
        cached=$(awk '/^(in)?active_file / { sum += $2 } END { printf "%.0f", sum }' \
            "/sys/fs/cgroup/${limit_dir}memory.stat" 2>/dev/null || echo 0)
        used=$((used - cached))
        # cgroup v1 writes "no limit" as a number near 2^63.
        if [[ $limit != max ]] && ((${#limit} < 17 && limit - used < available)); then
            available=$((limit - used))
        fi
    done
    echo "$available"
}

available=$(available_bytes)
needed=$((connections * pair_bytes + fixed_bytes))
if ((needed > available)); then
    largest=$(((available - fixed_bytes) / pair_bytes / 1000 * 1000))
    printf '%d connections need about %d MiB here, both ends together, and %d MiB are available.\n' \
        "$connections" $((needed >> 20)) $((available >> 20)) >&2
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

# Waits until a child has ended. A signal ends wait(1), not the child, so it loops.
wait_for() {
    while kill -0 "$1" 2>/dev/null; do
        wait "$1" || true
    done
}

stop_all() {
    trap - EXIT
    trap '' TERM HUP
    # A second Ctrl-C makes the flood end at once; the server is stopped in any case.
    trap '[[ -z $flood ]] || kill "$flood" 2>/dev/null || true' INT
    # The flood first: it closes its connections and reports.
    [[ -z $flood ]] || { kill "$flood" 2>/dev/null || true; wait_for "$flood"; }
    [[ -z $server ]] || { kill "$server" 2>/dev/null || true; wait_for "$server"; }
    rm -f "$said"
}
trap stop_all EXIT
trap 'stop_all; exit 130' INT
trap 'stop_all; exit 143' TERM HUP

# Both run in their own sessions, so that Ctrl-C reaches only this script, which stops one after the other.
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
