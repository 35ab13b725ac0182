#!/usr/bin/env bash
# What the flood says of a server that stalls for a second, against what is true. 1 min.
#
#     bench/stall.sh [--connections N] [--per-s RATE] [--seconds S] [--rounds R]
#
#   --connections N   (20: so few messages wait when it goes on that catching up takes no time)
#   --per-s RATE      messages a second on each connection (10)
#   --seconds S       of each run, 4 to 15 (10)
#   --rounds R        (3)
#
# In the middle of each run the server gets SIGSTOP, and SIGCONT a second later. Messages are due all the time, and evenly: of
# all of them one second's worth waits, from not at all to the whole second. With ten seconds one message of a hundred waits
# for 900 ms or more, and one of twenty for 500 ms or more. A client that waits for an answer before it sends again has that
# happen to one message of each connection, which is what the service time shows.
#
# Fails if the median response time's p99 or p95 differs from that by more than 5 %, or if not every message that was due is
# sent, answered and measured.

source "$(dirname "$0")/common.sh"
read_flags connections=20 per_s=10 seconds=10..15 rounds=3 -- "$@"

measure() {
    local key quantile since due=$((connections * per_s * seconds))
    start_server steadfast $((connections + 100))
    begin_flood /echo --connections "$connections" --phase ramp --phase "rate per_s=$per_s for_s=$seconds"
    await_phase rate
    sleep $((seconds / 2 - 1))
    kill -STOP "$server_pid"
    since=$EPOCHREALTIME
    sleep 1
    kill -CONT "$server_pid"
    note stopped "1000 * ($EPOCHREALTIME - $since)" 1
    await_client || flood_failed 'while the server was stopped'
    stop_server
    for key in schedule.due schedule.sent schedule.answered response.samples service.samples; do
        (($(figure "$key") == due)) || fail "$key is $(figure "$key"), and not $due"
    done
    for key in response service; do
        for quantile in p95 p99; do note "$key $quantile" "$(figure "$key.${quantile}_us") / 1000" 1; done
    done
}

needs_steadfast 'it measures the flood'
((seconds >= 4)) || usage_error '--seconds needs 4 to 15: time to stall in, which one of twenty has to notice'
build
run_rounds stall
print_heading "$connections connections, $per_s messages a second on each for $seconds seconds, the server stopped for one of
them; ms, of every message that was due"
off=
for quantile in p95 p99; do
    for key in response service; do print_spread "stall $key $quantile" 1 "$key, $quantile"; done
    expected=$(calculate "1000 * (1 - 0.0$((100 - ${quantile#p})) * $seconds)" 1)
    print_row "expected, $quantile" "$expected"
    ! is_true "($(median_of ${samples["stall response $quantile"]}) / $expected - 1)^2 > 0.05^2" || off+=" $quantile"
done
print_spread 'stall stopped' 1 stopped
[[ -z $off ]] || fail "the response times are off by more than 5 %:$off"
