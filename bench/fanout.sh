#!/usr/bin/env bash
# What a broadcast costs: a message from one connection that the server sends to all of them, itself included.
#
#     bench/fanout.sh [--connections N] [--messages M] [--rounds R] [--payload BYTES] [--instructions]
#
#   --connections N   receivers (15000)
#   --messages M      broadcasts of a run that are counted, one under way at a time (20)
#   --rounds R        (5)
#   --payload BYTES   of each message, 4 or more (64)
#   --instructions    count user-space instructions of the server in place of its time: under callgrind, as the
#                     difference of two runs, of 5 and of 45 broadcasts (--messages is not looked at)
#
# Next to steadfast runs a bare loop of send() over all sockets, see loop.c. Every round runs both, each with a fresh
# server, and the clients check every byte. Up to 15,000 connections server and client share one core, and steadfast has
# one reactor; beyond that nothing is pinned, and both have as many threads as they need descriptor tables.
# SERVER='COMMAND {port} {connections}' measures another server in place of steadfast, one that does at /broadcast what
# is said above; CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"

bare_name='bare loop'
connections=15000 messages=20 rounds=5 payload=64 counting=
pinned_connections=15000 few_messages=5 more_messages=40
declare -A samples

read_arguments() {
    while (($#)); do
        case $1 in
        --connections | --messages | --rounds | --payload)
            (($# > 1)) || usage_error "$1 wants a number"
            read_count "$1" "$2"
            printf -v "${1#--}" %d "$2"
            shift 2
            ;;
        --instructions) counting=yes; shift ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    ((payload >= 4)) || usage_error '--payload wants 4 or more: a sequence number is in it'
}

# In place of that of common.sh: other servers, and as many reactors as the connections need.
plan_server() {
    local name=$1 port=$2 held=$3 template
    if [[ $name == "$bare_name" ]]; then
        server_argv=("$out_dir/loop" --port "$port" --connections "$connections")
    elif [[ -n ${SERVER:-} ]]; then
        template=${SERVER//'{port}'/$port}
        read -ra server_argv <<<"${template//'{connections}'/$held}"
    else
        # A receiver never speaks, and in a long run it would be pinged, which is no part of a broadcast.
        server_argv=("$target_dir/release/steadfast" serve --listen "127.0.0.1:$port" --max-connections "$held"
            --ping-interval-s 86400 --idle-timeout-s 172800)
        ((connections > pinned_connections)) || server_argv+=(--reactors 1)
    fi
}

# run_fanout BROADCASTS [WRAPPER ...]; leaves the line that fanout prints in load_line.
run_fanout() {
    local broadcasts=$1 status=0
    shift
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    "$@" "$out_dir/fanout" --port "$server_port" --server-pid "$server_pid" --connections "$connections" \
        --messages "$broadcasts" --payload "$payload" >"$out_dir/fanout.json" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    load_line=$(<"$out_dir/fanout.json")
    ((status == 0)) || fail "a run of $broadcasts broadcasts to $connections went wrong: $load_line"
}

measure() {
    local name=$1 wrapper=() key
    ((connections > pinned_connections)) || wrapper=(taskset -c "$core")
    start_server "$name" $((connections + 100)) "${wrapper[@]}"
    run_fanout "$messages" "${wrapper[@]}"
    stop_server
    for key in server_ns_per_delivery deliveries_per_second p50_us p99_us max_us spread_median_us; do
        samples["$name $key"]+=" $(field "$key")"
    done
    samples["$name relative"]+=" $(calculate "$(field server_cpu_ns) / $(field client_cpu_ns)")"
}

# Leaves the number of instructions of one whole run in instructions.
count_run() {
    local name=$1 broadcasts=$2 out="$out_dir/callgrind.out"
    rm -f "$out"
    start_server "$name" $((connections + 100)) \
        valgrind --tool=callgrind --separate-threads=no --callgrind-out-file="$out"
    run_fanout "$broadcasts"
    stop_server
    read_instructions "$out"
}

count() {
    local name=$1 few
    count_run "$name" "$few_messages"
    few=$instructions
    count_run "$name" $((few_messages + more_messages))
    samples["$name instructions"]+=" $(calculate "($instructions - $few) / ($more_messages * $connections)" 1)"
}

# print_rows KEY DIGITS TEXT: a row for each server.
print_rows() {
    local key=$1 digits=$2 what=$3 name
    for name in "$subject_name" "$bare_name"; do
        # Unquoted on purpose: a list is one word for each number.
        printf '  %-54s %s\n' "$name, $what" "$(show_spread "$digits" ${samples["$name $key"]})"
    done
}

print_quotient() {
    printf '  %-54s %s\n' "$subject_name against $bare_name, $2" \
        "$(show_quotient "${samples["$subject_name $1"]}" "${samples["$bare_name $1"]}")"
}

print_table() {
    printf '\nbroadcasts of %d bytes to %d connections, median (least to most) of %d rounds\n\n' \
        "$payload" "$connections" "$rounds"
    if [[ -n $counting ]]; then
        print_rows instructions 1 'instructions for each delivery'
        print_quotient instructions instructions
        return
    fi
    print_rows server_ns_per_delivery 0 'server time for each delivery, ns'
    print_rows relative 3 "the same, over the client's"
    print_rows deliveries_per_second 0 'deliveries a second'
    print_rows p50_us 0 'arrival, median, us'
    print_rows p99_us 0 'arrival, 99 of 100, us'
    print_rows max_us 0 'arrival, last, us'
    print_rows spread_median_us 0 'first arrival to last, us'
    print_quotient server_ns_per_delivery 'server time'
    print_quotient relative "over the client's"
    print_quotient spread_median_us 'first arrival to last'
}

main() {
    local round name
    read_arguments "$@"
    need awk sed sort tac
    if [[ -n $counting ]]; then need valgrind; else need taskset; fi
    build
    cc -O2 -pthread -o "$out_dir/fanout" "$bench_dir/fanout.c"
    cc -O2 -pthread -o "$out_dir/loop" "$bench_dir/loop.c"
    for ((round = 1; round <= rounds; round++)); do
        while IFS= read -r name; do
            printf 'round %d of %d: %s\n' "$round" "$rounds" "$name" >&2
            if [[ -n $counting ]]; then count "$name"; else measure "$name"; fi
        done < <(in_turn "$round" "$subject_name" "$bare_name")
    done
    print_table
}

main "$@"
