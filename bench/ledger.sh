#!/usr/bin/env bash
# What the flood's report says of memory, against what the host has less of while the connections are held.
#
#     bench/ledger.sh [--rounds N] [--connections N]
#
#   --rounds N         (3)
#   --connections N    (100000)
#
# The report has the bytes of each connection, of user space and of the kernel, for both ends. Their sum is compared with the fall
# of MemAvailable (proc_meminfo(5)) from before the first connection until all are held, and SReclaimable taken out of that:
# MemAvailable reckons with inodes and dentries as memory that can be had back, also with those of sockets that are open, which
# cannot. And it leaves free pages out that stand on the lists of the processors (/proc/zoneinfo), tens of MiB that are used up
# first: they are added. Everything else on the host counts in the fall: run this on a quiet one. Fails if the median is more
# than 5 % off.

source "$(dirname "$0")/common.sh"

rounds=3 connections=100000
told=() fallen=() bare=()

read_arguments() {
    while (($#)); do
        case $1 in
        --rounds) (($# > 1)) || usage_error '--rounds wants a number'; read_count "$1" "$2"; rounds=$2; shift 2 ;;
        --connections) (($# > 1)) || usage_error '--connections wants a number'; read_count "$1" "$2"; connections=$2; shift 2 ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    [[ -z ${SERVER:-} ]] || usage_error 'both ends have to be steadfast: SERVER has no use here'
}

# "available corrected", in bytes.
available() {
    awk -v page_bytes="$(getconf PAGESIZE)" '
        /^MemAvailable:/ { available = $2 * 1024 }
        /^SReclaimable:/ { slab = $2 * 1024 }
        $1 == "count:" { listed += $2 * page_bytes }
        END { printf "%.0f %.0f", available, available - slab + listed }' /proc/meminfo /proc/zoneinfo
}

# All bytes of one connection that the report has: of two sides, in user space and in the kernel.
bytes_told() {
    awk '/"(user|kernel)_bytes_per_connection":/ { sum += $2; count++ } END { if (count != 4) exit 1; print sum }' "$out_dir/ledger.json" ||
        fail 'the report has not all four figures'
}

run_round() {
    local before held right_before right_held status=0
    start_steadfast "$connections"
    # The last round's sockets are freed behind grace periods of the kernel.
    sleep 3
    read -r before right_before < <(available; echo)
    "$target_dir/release/steadfast" flood "ws://127.0.0.1:$server_port/echo" --connections "$connections" --hold 8 --trickle 0 \
        --server-pid "$server_pid" --json "$out_dir/ledger.json" >"$out_dir/ledger.log" 2>&1 &
    load_pid=$!
    until grep -q '^hold' "$out_dir/ledger.log"; do
        kill -0 "$load_pid" 2>/dev/null || { cat "$out_dir/ledger.log" >&2; fail 'the flood ended before its hold'; }
        sleep 0.1
    done
    sleep 5
    read -r held right_held < <(available; echo)
    wait "$load_pid" || status=$?
    load_pid=
    ((status == 0)) || { cat "$out_dir/ledger.log" >&2; fail 'not all connections came all the way'; }
    stop_server
    told+=("$(bytes_told)")
    bare+=("$(calculate "($before - $held) / $connections")")
    fallen+=("$(calculate "($right_before - $right_held) / $connections")")
}

main() {
    local round
    read_arguments "$@"
    need awk sed sort
    build
    for ((round = 1; round <= rounds; round++)); do
        printf 'round %d of %d\n' "$round" "$rounds" >&2
        run_round
    done
    printf '\n%d connections, both ends here; median (least to most) of %d rounds\n\n' "$connections" "$rounds"
    printf '  %-54s %s\n' 'bytes of a connection, by the report' "$(show_spread 0 "${told[@]}")"
    printf '  %-54s %s\n' 'fall of MemAvailable for each' "$(show_spread 0 "${bare[@]}")"
    printf '  %-54s %s\n' 'the same, corrected' "$(show_spread 0 "${fallen[@]}")"
    printf '  %-54s %s\n' 'the report against the fall of MemAvailable' "$(show_quotient "${told[*]}" "${bare[*]}")"
    printf '  %-54s %s\n' 'the report against the corrected fall' "$(show_quotient "${told[*]}" "${fallen[*]}")"
    awk "BEGIN { quotient = $(median_of "${told[@]}") / $(median_of "${fallen[@]}"); exit !(quotient > 0.95 && quotient < 1.05) }" ||
        fail 'they are more than 5 % apart'
}

main "$@"
