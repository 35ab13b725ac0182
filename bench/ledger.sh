#!/usr/bin/env bash
# What the flood's report says of memory, against what the host has less of while the connections are held. 2 min.
#
#     bench/ledger.sh [--rounds N] [--connections N]
#
#   --rounds N         (3)
#   --connections N    (100000)
#
# The report has the bytes of each connection, of user space and of the kernel, for both ends. Their sum is compared with
# the fall of MemAvailable (proc_meminfo(5)) until all are held. MemAvailable counts inodes and dentries as memory that can be
# reclaimed, also those of open sockets, which cannot: SReclaimable is subtracted. It leaves out free pages on the lists of the
# processors (/proc/zoneinfo), tens of MiB that are used up first: they are added. Everything else on the host counts in the
# fall: run this on a quiet one. Fails if the median is more than 5 % off.

source "$(dirname "$0")/common.sh"
read_flags rounds=3 connections=100000 -- "$@"

# "available corrected", in bytes.
available() {
    awk -v page_bytes="$(getconf PAGESIZE)" '
        /^MemAvailable:/ { available = $2 * 1024 }
        /^SReclaimable:/ { slab = $2 * 1024 }
        $1 == "count:" { listed += $2 * page_bytes }
        END { printf "%.0f %.0f\n", available, available - slab + listed }' /proc/meminfo /proc/zoneinfo
}

measure() {
    local before held corrected_before corrected_held
    start_server steadfast "$connections"
    # The kernel frees the last round's sockets after grace periods.
    sleep 3
    read -r before corrected_before < <(available)
    begin_flood /echo --connections "$connections" --hold 8 --trickle 0 --server-pid "$server_pid"
    await_phase hold
    sleep 5
    read -r held corrected_held < <(available)
    await_client || flood_failed 'not all connections completed the scenario'
    stop_server
    note told "$(figures memory | awk '/_bytes_per_connection / { sum += $2; count += $2 > 0 } END { print count == 4 ? sum : "?" }')"
    note bare "($before - $held) / $connections"
    note fallen "($corrected_before - $corrected_held) / $connections"
}

needs_steadfast 'both ends have to be steadfast'
server_flags=()
build
run_rounds memory
print_heading "$connections connections, both ends here"
print_spread 'memory told' 0 'bytes of a connection, by the report'
print_spread 'memory bare' 0 'fall of MemAvailable for each'
print_spread 'memory fallen' 0 'the same, corrected'
print_quotient 'memory told' 'memory bare' 'the report against the fall of MemAvailable'
print_quotient 'memory told' 'memory fallen' 'the report against the corrected fall'
is_true "$quotient > 0.95 && $quotient < 1.05" || fail 'they are more than 5 % apart'
