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

# check_sums WHAT: of the numbers "WHERE NUMBER" on stdin, those of each place sum to N.
check_sums() {
    awk -v what="$1" -v connections="$connections" '
        { sums[$1] += $NF }
        END {
            for (place in sums) { count++; if (sums[place] != connections) wrong = wrong " " sums[place] }
            if (count == 0 || wrong) exit 1
            printf "  %-62s %d of %d sum to %d\n", what, count, count, connections
        }' || fail "the states of $1 do not sum to $connections"
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
    # "ramp 1.0 s: 12 opened; open 12, planned 88", and every member `states` of the report.
    awk '/ s: / { sub(/.*; /, ""); gsub(/,/, ""); for (i = 2; i <= NF; i += 2) print NR, $i }' "$out_dir/flood.log" |
        check_sums 'lines of progress'
    awk '/"states": \{/ { at = NR } /\}/ { at = 0 } at && NR > at { sub(/,$/, ""); print at, $2 }' "$out_dir/flood.json" |
        check_sums 'rows of the report'
    [[ $(figure reconciliation.agrees) == true ]] || fail 'the server and the flood do not agree'
    print_row 'both sides' agree
    ((status == 1)) || fail "the exit code is $status, and not 1"
}

needs_steadfast 'it starts one that ends connections'
cargo_flags=(--bin steadfast --example kills)
build
[[ $how != all ]] || how='close abort hold'
for one in $how; do kill_some "$one"; done
