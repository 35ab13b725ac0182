#!/usr/bin/env bash
# What an echo costs while many other connections are open and silent, against when there are none.
#
#     bench/idle.sh [--rounds N] [--idle N]
#
#   --rounds N    (9)
#   --idle N      connections that stay silent (15000)
#
# 100 connections exchange messages of 20 bytes, one in flight on each; the idle ones lie in between them. Server and
# client share one core. The figure is the server's processor time for each message, kernel included, over the client's
# own in the same run: a machine that is slower for a while slows both. Every round runs all cases, with steadfast and
# with the bare C echo, each with a server of its own.
# SERVER='COMMAND {port} {connections}' measures another server in place of steadfast, CORE=N pins elsewhere, see
# bench/common.sh.

source "$(dirname "$0")/common.sh"

rounds=9 idle=15000 active=100 messages=2000
declare -A cost_ns relative

read_arguments() {
    while (($#)); do
        case $1 in
        --rounds) (($# > 1)) || usage_error '--rounds wants a number'; read_count "$1" "$2"; rounds=$2; shift 2 ;;
        --idle) (($# > 1)) || usage_error '--idle wants a number'; read_count "$1" "$2"; idle=$2; shift 2 ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    local limit
    limit=$(ulimit -Hn)
    [[ $limit == unlimited ]] || ((idle + active + 100 <= limit)) ||
        fail "$idle idle connections do not fit under the hard limit of $limit descriptors (ulimit -Hn)"
}

measure() {
    local case=$1 name=${1%%|*} silent=${1##*|} server client
    start_server "$name" $((silent + active + 100)) taskset -c "$core"
    run_load --pinned --connections "$active" --idle "$silent" --messages "$messages"
    stop_server
    server=$(field messages_server_cpu_seconds)
    client="($(field messages_client_user_seconds) + $(field messages_client_sys_seconds))"
    cost_ns[$case]+=" $(calculate "$server * 1e9 / $(field replies)" 2)"
    relative[$case]+=" $(calculate "$server / $client")"
}

run_round() {
    local case
    while IFS= read -r case; do
        measure "$case"
    done < <(in_turn "$1" "$subject_name|0" "$subject_name|$idle" "$bare_name|0" "$bare_name|$idle")
}

print_table() {
    local name case
    printf '\nprocessor time of the server for each 20-byte message, 100 connections\n'
    printf 'median (least to most) of %d rounds\n\n' "$rounds"
    for name in "$subject_name" "$bare_name"; do
        for case in 0 "$idle"; do
            printf '  %-54s %s\n' "$name, $case idle, ns" "$(show_spread 0 ${cost_ns["$name|$case"]})"
            printf '  %-54s %s\n' "$name, $case idle, over the client's" "$(show_spread 3 ${relative["$name|$case"]})"
        done
        printf '  %-54s %s\n' "$name, $idle idle against none, ns" \
            "$(show_quotient "${cost_ns["$name|$idle"]}" "${cost_ns["$name|0"]}")"
        printf '  %-54s %s\n' "$name, $idle idle against none, over the client's" \
            "$(show_quotient "${relative["$name|$idle"]}" "${relative["$name|0"]}")"
    done
    printf '  %-54s %s\n' "$subject_name against $bare_name, none idle, ns" \
        "$(show_quotient "${cost_ns["$subject_name|0"]}" "${cost_ns["$bare_name|0"]}")"
    printf '  %-54s %s\n' "$subject_name against $bare_name, none idle, over the client's" \
        "$(show_quotient "${relative["$subject_name|0"]}" "${relative["$bare_name|0"]}")"
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
