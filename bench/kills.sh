#!/usr/bin/env bash
# Whether the flood loses exactly those connections that the server ends, and both sides say the same. 2 min.
#
#     bench/kills.sh [--connections N] [--how close|abort|hold|all]
#
#   --connections N   (100000)
#   --how HOW         the server ends every hundredth connection with a Close of 4000 instead of the answer to its first
#                     message (close), or with a reset instead of that (abort), or with a Close when all have been
#                     answered (hold); or all three, one after the other (all)
#
# The server is `src/tests/flood/kills.rs`. What has to add up, or the script fails:
#   - exactly one of a hundred is lost, with the cause that it has;
#   - the states sum to N in each line of progress, and in each row of the report;
#   - what the server's /stats says is what the flood says.

source "$(dirname "$0")/common.sh"
read_flags connections=100000 'how=all|close|abort|hold' -- "$@"

# What the states of each line of progress sum to, and how many lines have that sum.
sums_of_lines() {
    awk '/ s: / { sub(/.*; /, ""); gsub(/,/, ""); sum = 0; for (i = 2; i <= NF; i += 2) sum += $i; print sum }' \
        "$out_dir/flood.log" | sort | uniq -c
}

# The same for the report: its own states, and those of its phases and its rows.
sums_of_states() {
    awk '/"states": \{/ { inside = 1; sum = 0; next }
        inside && /\}/ { inside = 0; print sum }
        inside { sub(/,$/, "", $2); sum += $2 }' "$out_dir/flood.json" | sort | uniq -c
}

# check_sums WHAT LINES: there is one sum, and it is N.
check_sums() {
    local count sum rest
    read -r count sum rest <<<"$2"
    [[ $sum == "$connections" && $(wc -l <<<"$2") == 1 ]] || fail "the states of $1 do not sum to $connections: $2"
    print_row "$1" "$count of $count sum to $sum"
}

kill_some() {
    local cause='close code 4000' lost=$((connections / 100)) status=0 found
    [[ $1 != abort ]] || cause='closed by peer'
    SERVER="$target_dir/release/examples/kills 127.0.0.1:{port} {connections} $1"
    start_server kills "$connections"
    run_flood / --connections "$connections" --hold 3 || status=$?
    end_process "$server_pid" || true
    server_pid=
    printf '\n%s: of %d connections\n' "$1" "$connections"
    found=$(figures lost_by_cause)
    [[ $found == "lost_by_cause.$cause $lost" ]] || fail "lost are ${found:-none}, and not $lost: $cause"
    print_row lost "$lost, $cause"
    check_sums 'lines of progress' "$(sums_of_lines)"
    check_sums 'rows of the report' "$(sums_of_states)"
    [[ $(figure reconciliation.agrees) == true ]] || fail 'the server and the flood do not agree'
    print_row 'both sides' agree
    ((status == 1)) || fail "the exit code is $status, and not 1"
}

needs_steadfast 'it starts one that ends connections'
need uniq wc
cargo_flags=(--bin steadfast --example kills)
build
[[ $how != all ]] || how='close abort hold'
for one in $how; do kill_some "$one"; done
