#!/usr/bin/env bash
# Whether the flood loses exactly those connections that the server ends, and both sides say the same.
#
#     bench/kills.sh [--connections N] [--how close|abort|hold]
#
#   --connections N   (100000)
#   --how HOW         the server ends every hundredth connection with a Close of 4000 instead of the answer to its first
#                     message, or without a word instead of that, or with a Close when all have been answered (all three,
#                     one after the other)
#
# The server is `src/tests/flood/kills.rs`. What has to add up, or the script fails:
#   - exactly one of a hundred is lost, with the cause that it has;
#   - the states sum to N in each line of progress, and in each row of the report;
#   - what the server's /stats says is what the flood says.

source "$(dirname "$0")/common.sh"

connections=100000
hows=(close abort hold)

read_arguments() {
    while (($#)); do
        case $1 in
        --connections)
            (($# > 1)) || usage_error '--connections wants a number'
            read_count "$1" "$2"
            connections=$2
            shift 2
            ;;
        --how)
            [[ ${2:-} =~ ^(close|abort|hold)$ ]] || usage_error '--how wants close, abort or hold'
            hows=("$2")
            shift 2
            ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    [[ -z ${SERVER:-} ]] || usage_error 'this starts its own server, which has to end connections'
}

# What the states of each line of progress sum to, and how many lines have that sum.
sums_of_lines() {
    awk '/ s: / { sub(/.*; /, ""); gsub(/,/, ""); sum = 0; for (i = 2; i <= NF; i += 2) sum += $i; print sum }' \
        "$out_dir/kills.log" | sort | uniq -c
}

# The same for the report: its own states, and those of its phases and its rows.
sums_of_states() {
    awk '/"states": \{/ { inside = 1; sum = 0; next }
        inside && /\}/ { inside = 0; print sum }
        inside { sub(/,$/, "", $2); sum += $2 }' "$out_dir/kills.json" | sort | uniq -c
}

# check_sums WHAT LINES: there is one sum, and it is N.
check_sums() {
    local count sum rest
    read -r count sum rest <<<"$2"
    [[ $sum == "$connections" && $(wc -l <<<"$2") == 1 ]] || fail "the states of $1 do not sum to $connections: $2"
    printf '  %-28s %s of %s sum to %s\n' "$1" "$count" "$count" "$sum"
}

run() {
    local how=$1 cause='close code 4000' lost=$((connections / 100)) status=0 found
    [[ $how != abort ]] || cause='closed by peer'
    SERVER="$target_dir/release/examples/kills 127.0.0.1:{port} {connections} $how"
    start_server kills "$connections"
    "$target_dir/release/steadfast" flood "ws://127.0.0.1:$server_port/" --connections "$connections" --hold 3 \
        --json "$out_dir/kills.json" >"$out_dir/kills.out" 2>"$out_dir/kills.log" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    end_process "$server_pid" || true
    server_pid=
    printf '\n%s: of %d connections\n' "$how" "$connections"
    found=$(awk '/^  "lost_by_cause": \{/ { inside = 1; next } inside && /\}/ { exit } inside' "$out_dir/kills.json")
    found=$(tr -s ' \n' ' ' <<<"$found")
    [[ $found == " \"$cause\": $lost " ]] || fail "lost are$found, and not \"$cause\": $lost"
    printf '  %-28s %s\n' 'lost' "$lost, $cause"
    check_sums 'lines of progress' "$(sums_of_lines)"
    check_sums 'rows of the report' "$(sums_of_states)"
    grep -q '^    "agrees": true' "$out_dir/kills.json" || fail 'the server and the flood do not agree'
    printf '  %-28s %s\n' 'both sides' 'agree'
    ((status == 1)) || fail "the exit code is $status, and not 1"
}

main() {
    local how
    read_arguments "$@"
    need cargo awk sort uniq tr wc
    mkdir -p "$out_dir"
    (cd "$root_dir" && cargo build --release --quiet --bin steadfast --example kills)
    for how in "${hows[@]}"; do
        run "$how"
    done
}

main "$@"
