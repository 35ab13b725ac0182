#!/usr/bin/env bash
# Counts the user-space instructions that the server spends on a message and on a handshake. 10 s a round.
#
#     bench/instructions.sh [--json FILE] [--rounds N]
#
#   --json FILE   write the figures there too
#   --rounds N    count everything N times and take medians (1)
#
# The server runs under callgrind, the client does not. Each figure is the difference of two runs of different length,
# divided by the difference of what they did, so that start and end of the process cancel out. Instructions in the kernel
# are not counted. SERVER='COMMAND {port}' measures another server in place of steadfast, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags json= rounds=1 -- "$@"

# name | what is counted | how many more of it the long run does | flags of both runs | of the short run | of the long
# Only steadfast is asked for compression.
measures=(
    "message_20_bytes|echoed 20-byte message, 1,000 connections, 1 in flight|40000
        |--connections 1000|--messages 10|--messages 50"
    "message_20_bytes_pipelined|the same, 100 connections, 16 in flight|64000
        |--connections 100 --in-flight 16|--messages 160|--messages 800"
    "message_16_kib|echoed 16 KiB message, 1,000 connections, 1 in flight|10000
        |--connections 1000 --payload 16384|--messages 5|--messages 15"
    "handshake|handshake, opened and ended|2000
        |--messages 0|--connections 500|--connections 2500"
    "handshake_close_frames|the same, ended with Close frames|2000
        |--messages 0 --close|--connections 500|--connections 2500"
    "deflate_message_20_bytes|20 bytes, permessage-deflate negotiated|40000
        |--offer-deflate --connections 1000|--messages 10|--messages 50"
    "deflate_message_16_kib|16 KiB, the same, sent uncompressed|10000
        |--offer-deflate --connections 1000 --payload 16384|--messages 5|--messages 15"
    "deflate_handshake|handshake that negotiates it|2000
        |--offer-deflate --messages 0|--connections 500|--connections 2500"
)

measure() {
    local name=${1%%|*} both short long few
    IFS='|' read -r _ _ count both short long <<<"${rows[${1#*|}]}"
    server_flags=(--reactors 1)
    [[ $1 != *'|deflate_'* ]] || server_flags+=(--compression)
    # Unquoted on purpose: each holds several flags.
    count_instructions "$name" 3000 run_client echo $both $short
    few=$instructions
    count_instructions "$name" 3000 run_client echo $both $long
    note instructions "($instructions - $few) / $count" 1
}

print_json() {
    local name key separator=
    printf '{"schema": "steadfast-instructions-1", "valgrind": "%s", "machine": "%s", "rounds": %d, "instructions": {' \
        "$(valgrind --version)" "$(uname -m)" "$rounds"
    for name in "$subject_name" "$bare_name"; do
        printf '%s\n  "%s": {' "$separator" "$name"
        separator=
        for key in "${keys[@]}"; do
            [[ -n ${samples["$name|$key instructions"]:-} ]] || continue
            printf '%s\n    "%s": %.1f' "$separator" "$key" "$(median_of ${samples["$name|$key instructions"]})"
            separator=,
        done
        printf '\n  }'
    done
    printf '\n}}\n'
}

need valgrind
build echo client
declare -A rows
keys=() cases=() bare_cases=()
for entry in "${measures[@]}"; do
    key=${entry%%|*}
    [[ $key != deflate_* || -z ${SERVER:-} ]] || continue
    keys+=("$key") rows[$key]=${entry//$'\n'/} cases+=("$subject_name|$key")
    [[ $key == deflate_* ]] || bare_cases+=("$bare_name|$key")
done
run_rounds "${cases[@]}" "${bare_cases[@]}"
printf '\nuser-space instructions of the server for each\n\n%-58s %12s %12s\n' '' "$subject_name" "$bare_name"
for key in "${keys[@]}"; do
    IFS='|' read -r _ what _ <<<"${rows[$key]}"
    bare=${samples["$bare_name|$key instructions"]:-}
    printf '%-58s %12.0f %12s\n' "$what" "$(median_of ${samples["$subject_name|$key instructions"]})" \
        "$([[ -z $bare ]] && echo - || printf %.0f "$(median_of $bare)")"
done
[[ -z $json ]] || print_json >"$json"
