#!/usr/bin/env bash
# How much longer many polite connections wait for their echoes when one more takes all that it can get. 4 min.
#
#     bench/fair.sh [--connections N] [--per-s RATE] [--seconds S] [--rounds R]
#
#   --connections N   that echo 20 bytes at a constant rate, one message in flight on each (5000)
#   --per-s RATE      of those messages in a second, over all connections (6000)
#   --seconds S       of each run, after a second that is not counted (10)
#   --rounds R        (5)
#
# Every round has three runs, each with a fresh server that has one reactor: without a greedy connection, with one that
# sends messages of 20 bytes, and with one that sends 16 KiB, as fast as its socket takes them; it checks all that comes
# back. The polite ones are `steadfast flood`: a response counts from when its message was due, lag is what the flood itself
# was late. The server has a core to itself; the greedy connection has what the polite ones leave of the other core
# (SCHED_IDLE). The rate is to leave the server more than half idle without the greedy one. A server that sleeps between two
# messages has to wake up for each, so that the median may well be better with a greedy client than without.
#
# Fails if 99 of 100 take more than three times as long with one of them as without; or if anything is lost or wrong.
# SERVER='COMMAND {port} {connections}' measures another server in place of steadfast, such as the yardstick, echo.c;
# CORE=N and CLIENT_CORE=N pin elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags connections=5000..15000 per_s=6000 seconds=10 rounds=5 -- "$@"

begin_greedy() {
    # About 100 KiB at a time.
    local in_flight=$((1 + 100 * 1024 / ($1 + 14)))
    "${client_wrapper[@]}" chrt --idle 0 "$out_dir/client" echo --port "$server_port" --payload "$1" \
        --in-flight "$in_flight" --greedy >"$out_dir/client.json" 2>"$out_dir/client.log" &
    other_pids=($!)
    # The flood compares its figures with those of a server that has no other client when it begins.
    await_text ^open "$out_dir/client.log" "${other_pids[0]}" || fail "no greedy connection: $(<"$out_dir/client.log")"
}

end_greedy() {
    local pid=${other_pids[0]}
    other_pids=()
    kill -TERM "$pid"
    wait "$pid" || fail "the greedy connection failed: $(<"$out_dir/client.log")"
    client_line=$(<"$out_dir/client.json")
    note greedy_per_s "$(field replies) / $(field seconds)" 0
}

# measure BYTES, of the greedy one's messages; 0 is for none.
measure() {
    local key
    start_server "$subject_name" $((connections + 100))
    (($1 == 0)) || begin_greedy "$1"
    run_flood /echo --connections "$connections" --payload 20 --server-pid "$server_pid" --phase ramp \
        --phase "rate total_per_s=$per_s for_s=1" --phase "rate total_per_s=$per_s for_s=$seconds" ||
        flood_failed "with a greedy connection of $1 bytes (0: without one)"
    (($1 == 0)) || end_greedy
    stop_server
    for key in response.p50_us response.p99_us response.max_us service.p99_us lag.p99_us; do
        note "$key" "$(figure "phases.2.latencies.$key")" 0
    done
    note busy "($(figure cpu.server.user_s) + $(figure cpu.server.system_s)) / $(figure seconds)" 2
}

need chrt
pin_apart
build client
run_rounds 0 20 16384
print_heading "$connections connections, $per_s round trips of 20 bytes a second for $seconds s"
for greedy in 0 20 16384; do
    if ((greedy == 0)); then echo 'without a greedy connection'; else echo "with one that sends $greedy bytes a time"; fi
    print_spread "$greedy response.p50_us" 0 'response, median, us'
    print_spread "$greedy response.p99_us" 0 'response, 99 of 100, us'
    print_spread "$greedy response.max_us" 0 'response, slowest, us'
    print_spread "$greedy service.p99_us" 0 'from when it was sent, 99 of 100, us'
    print_spread "$greedy lag.p99_us" 0 'lag of the flood itself, 99 of 100, us'
    print_spread "$greedy busy" 2 'server, part of its core'
    ((greedy == 0)) || print_spread "$greedy greedy_per_s" 0 'echoes of the greedy one in a second'
done
beyond=
echo 'with a greedy connection against without'
for greedy in 20 16384; do
    print_quotient "$greedy response.p50_us" '0 response.p50_us' "$greedy bytes a time, median" 2
    print_quotient "$greedy response.p99_us" '0 response.p99_us' "$greedy bytes a time, 99 of 100" 2
    ! is_true "$quotient > 3" || beyond+=" $greedy"
done
[[ -z $beyond ]] || fail "more than 3 times as long with one that sends so many bytes a time:$beyond"
