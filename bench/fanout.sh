#!/usr/bin/env bash
# What a broadcast costs: a message from one connection that the server sends to all of them, itself included. 2 min for
# 15,000 connections, 5 for 200,000, 1 with --instructions.
#
#     bench/fanout.sh [--connections N] [--messages M] [--rounds R] [--payload BYTES] [--instructions]
#
#   --connections N   receivers (15000)
#   --messages M      broadcasts of a run that are counted, one under way at a time (20)
#   --rounds R        (5)
#   --payload BYTES   of each message, at most 65536 (64)
#   --instructions    count user-space instructions of the server in place of its time: under callgrind, as the
#                     difference of two runs, of 5 and of 45 broadcasts (--messages is ignored)
#
# Next to steadfast runs a bare loop of send() over all sockets, see loop.c. Every round runs both, each with a fresh server.
# Up to 15,000 connections server and client share one core, and steadfast has one reactor; beyond that nothing is pinned, and
# both have as many threads as they need descriptor tables. SERVER='COMMAND {port} {connections}' measures another server that
# does the same at /broadcast; CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags connections=15000 messages=20 rounds=5 payload=64..65536 instructions -- "$@"

bare_name='bare loop' bare_program=loop bare_flags=(--connections "$connections")
counting=$instructions pinned_connections=15000 few_messages=5 more_messages=40
# A receiver sends nothing, and in a long run it would be pinged, which is no part of a broadcast.
server_flags=(--ping-interval-s 86400 --idle-timeout-s 172800)
((connections > pinned_connections)) || server_flags+=(--reactors 1)

broadcast() {
    run_client fanout --connections "$connections" --messages "$1" --payload "$payload"
}

count() {
    local few
    count_instructions "$1" $((connections + 100)) broadcast "$few_messages"
    few=$instructions
    count_instructions "$1" $((connections + 100)) broadcast $((few_messages + more_messages))
    note instructions "($instructions - $few) / ($more_messages * $connections)" 1
}

measure() {
    local key
    if [[ -n $counting ]]; then count "$1"; return; fi
    start_server "$1" $((connections + 100))
    broadcast "$messages"
    stop_server
    for key in per_second p50_us p99_us max_us spread_us; do note "$key" "$(field "$key")" 1; done
    note ns "$(field server_ns) / $(field deliveries)" 2
    note relative "$(field server_ns) / $(field client_ns)"
}

# print_both KEY DIGITS TEXT: a row for each server.
print_both() {
    local name
    for name in "$subject_name" "$bare_name"; do print_spread "$name $1" "$2" "$name, $3"; done
}

print_against() { print_quotient "$subject_name $1" "$bare_name $1" "$subject_name against $bare_name, $2"; }

if [[ -n $counting ]]; then need valgrind; elif ((connections <= pinned_connections)); then pin_together; fi
build loop client
run_rounds "$subject_name" "$bare_name"
print_heading "broadcasts of $payload bytes to $connections connections"
if [[ -n $counting ]]; then
    print_both instructions 1 'instructions for each delivery'
    print_against instructions instructions
    exit
fi
print_both ns 0 'server time for each delivery, ns'
print_both relative 3 "the same, over the client's"
print_both per_second 0 'deliveries a second'
print_both p50_us 0 'arrival, median, us'
print_both p99_us 0 'arrival, 99 of 100, us'
print_both max_us 0 'arrival, last, us'
print_both spread_us 0 'first arrival to last, us'
print_against ns 'server time'
print_against relative "over the client's"
print_against spread_us 'first arrival to last'
