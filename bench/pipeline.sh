#!/usr/bin/env bash
# What a message costs the server when sixteen arrive together, against when they arrive one by one. 1 min.
#
#     bench/pipeline.sh [--rounds N]
#
#   --rounds N    (9)
#
# 100 connections, messages of 20 bytes, 1 and 16 in flight on each. Server and client share one core, and the clock is the
# server's own processor time, kernel included. Every round runs all cases, each with a server of its own.
# SERVER='COMMAND {port}' measures another server, CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags rounds=9 -- "$@"

measure() {
    # Runs of about the same time, and not of the same number.
    local in_flight=${1#*|} messages=2000
    ((in_flight == 1)) || messages=16000
    start_server "${1%|*}" 200
    run_client echo --connections 100 --messages "$messages" --in-flight "$in_flight"
    stop_server
    note ns "$(field server_ns) / $(field replies)" 2
}

pin_together
build echo client
run_rounds {"$subject_name","$bare_name"}'|'{1,16}
print_heading 'processor time of the server for each 20-byte message, 100 connections'
for name in "$subject_name" "$bare_name"; do
    for in_flight in 1 16; do print_spread "$name|$in_flight ns" 0 "$name, $in_flight in flight, ns"; done
    print_quotient "$name|16 ns" "$name|1 ns" "$name, 16 against 1"
done
for in_flight in 1 16; do
    print_quotient "$subject_name|$in_flight ns" "$bare_name|$in_flight ns" \
        "$subject_name against $bare_name, $in_flight in flight"
done
