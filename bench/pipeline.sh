#!/usr/bin/env bash
# What a message costs the server when sixteen arrive together, against when they arrive one by one.
#
#     bench/pipeline.sh [--rounds N]
#
#   --rounds N    (9)
#
# 100 connections, messages of 20 bytes, 1 and 16 in flight on each. Server and client share one core, so that neither
# ever waits for the other to wake up, and the clock is the server's own processor time, kernel included. Every round
# runs all cases, with steadfast and with the bare C echo, each with a server of its own.
# SERVER='COMMAND {port}' measures another server in place of steadfast, CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"

rounds=9
declare -A cost_ns

read_arguments() {
    while (($#)); do
        case $1 in
        --rounds) (($# > 1)) || usage_error '--rounds wants a number'; read_count "$1" "$2"; rounds=$2; shift 2 ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
}

# Leaves the server's nanoseconds for each message in last_ns.
measure() {
    local name=$1 in_flight=$2 messages=2000
    # Runs of about the same time, in the place of runs of the same number.
    ((in_flight == 1)) || messages=16000
    start_server "$name" 200 taskset -c "$core"
    run_load --pinned --connections 100 --messages "$messages" --in-flight "$in_flight"
    stop_server
    last_ns=$(calculate "$(field messages_server_cpu_seconds) * 1e9 / $(field replies)" 2)
}

run_round() {
    local case
    while IFS= read -r case; do
        measure "${case%%|*}" "${case##*|}"
        cost_ns[$case]+=" $last_ns"
    done < <(in_turn "$1" "$subject_name|1" "$subject_name|16" "$bare_name|1" "$bare_name|16")
}

print_table() {
    local name case
    printf '\nprocessor time of the server for each 20-byte message, 100 connections\n'
    printf 'median (least to most) of %d rounds\n\n' "$rounds"
    for name in "$subject_name" "$bare_name"; do
        for case in 1 16; do
            printf '  %-40s %s\n' "$name, $case in flight, ns" "$(show_spread 0 ${cost_ns["$name|$case"]})"
        done
        printf '  %-40s %s\n' "$name, 16 against 1" \
            "$(show_quotient "${cost_ns["$name|16"]}" "${cost_ns["$name|1"]}")"
    done
    for case in 1 16; do
        printf '  %-40s %s\n' "$subject_name against $bare_name, $case in flight" \
            "$(show_quotient "${cost_ns["$subject_name|$case"]}" "${cost_ns["$bare_name|$case"]}")"
    done
}

main() {
    local round
    read_arguments "$@"
    need taskset awk sed sort tac
    build
    for ((round = 1; round <= rounds; round++)); do
        printf 'round %d of %d\n' "$round" "$rounds" >&2
        run_round "$round"
    done
    print_table
}

main "$@"
