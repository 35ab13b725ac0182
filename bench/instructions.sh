#!/usr/bin/env bash
# Counts the user-space instructions that the server spends on a message and on a handshake.
#
#     bench/instructions.sh [--json FILE] [--rounds N]
#
#   --json FILE   write the figures there too
#   --rounds N    count everything N times and take medians (1)
#
# The server runs under callgrind, the client does not. Each figure is the difference of two runs of different length,
# divided by the difference of what they did: start and end of the process fall out. Instructions in the kernel are not
# counted. SERVER='COMMAND {port}' measures another server in place of steadfast, see bench/common.sh.

source "$(dirname "$0")/common.sh"

# name | what is counted | how many more of it the long run does | flags of both runs | of the short run | of the long
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
    "deflate_message_20_bytes|20 bytes, permessage-deflate agreed upon|40000
        |--offer-deflate --connections 1000|--messages 10|--messages 50"
    "deflate_message_16_kib|16 KiB, the same, and sent as they are|10000
        |--offer-deflate --connections 1000 --payload 16384|--messages 5|--messages 15"
    "deflate_handshake|handshake that agrees upon it|2000
        |--offer-deflate --messages 0|--connections 500|--connections 2500"
)

# The bare server knows no extension.
is_measured() {
    [[ $1 == "$subject_name" || $2 != deflate_* ]]
}

json_file= rounds=1
declare -A samples

read_arguments() {
    while (($#)); do
        case $1 in
        --json) (($# > 1)) || usage_error '--json wants a file'; json_file=$2; shift 2 ;;
        --rounds) (($# > 1)) || usage_error '--rounds wants a number'; read_count "$1" "$2"; rounds=$2; shift 2 ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
}

# Leaves the number of instructions of one whole run in instructions.
count_run() {
    local name=$1 out="$out_dir/callgrind.out"
    shift
    rm -f "$out"
    start_server "$name" 3000 valgrind --tool=callgrind --separate-threads=no --callgrind-out-file="$out"
    run_load "$@"
    stop_server
    read_instructions "$out"
}

measure() {
    local name=$1 key what count both short long short_total
    IFS='|' read -r key what count both short long <<<"${2//$'\n'/}"
    is_measured "$name" "$key" || return 0
    server_flags=()
    [[ $key != deflate_* ]] || server_flags=(--compression)
    # Unquoted on purpose: each holds several flags.
    count_run "$name" $both $short
    short_total=$instructions
    count_run "$name" $both $long
    samples["$name $key"]+=" $(calculate "($instructions - $short_total) / $count" 1)"
}

print_table() {
    local measure key what rest
    printf '\nuser-space instructions of the server for each\n\n'
    printf '%-58s %12s %12s\n' '' "$subject_name" "$bare_name"
    for measure in "${measures[@]}"; do
        IFS='|' read -r key what rest <<<"$measure"
        printf '%-58s %12.0f' "$what" "$(median_of ${samples["$subject_name $key"]})"
        if is_measured "$bare_name" "$key"; then
            printf ' %12.0f\n' "$(median_of ${samples["$bare_name $key"]})"
        else
            printf ' %12s\n' -
        fi
    done
}

print_json() {
    local name measure key rest separator
    printf '{\n  "schema": "steadfast-instructions-1",\n  "valgrind": "%s",\n  "machine": "%s",\n  "rounds": %d,\n' \
        "$(valgrind --version)" "$(uname -m)" "$rounds"
    printf '  "instructions": {\n'
    for name in "$subject_name" "$bare_name"; do
        printf '    "%s": {' "$name"
        separator=
        for measure in "${measures[@]}"; do
            IFS='|' read -r key rest <<<"$measure"
            is_measured "$name" "$key" || continue
            printf '%s\n      "%s": %.1f' "$separator" "$key" "$(median_of ${samples["$name $key"]})"
            separator=,
        done
        printf '\n    }%s\n' "$([[ $name == "$bare_name" ]] || echo ,)"
    done
    printf '  }\n}\n'
}

main() {
    local round name measure
    read_arguments "$@"
    need valgrind awk sed sort tac
    build
    for ((round = 1; round <= rounds; round++)); do
        for name in "$subject_name" "$bare_name"; do
            for measure in "${measures[@]}"; do
                printf 'round %d of %d: %s, %s\n' "$round" "$rounds" "$name" "${measure%%|*}" >&2
                measure "$name" "$measure"
            done
        done
    done
    print_table
    [[ -z $json_file ]] || print_json >"$json_file"
}

main "$@"
