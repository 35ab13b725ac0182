#!/usr/bin/env bash
# What the flood says of a server that stalls for a second, against what is true.
#
#     bench/stall.sh [--connections N] [--per-s RATE] [--seconds S] [--rounds R]
#
#   --connections N   (20: so few messages are behind when it goes on that catching up takes no time)
#   --per-s RATE      messages a second on each connection (10)
#   --seconds S       of each run (10)
#   --rounds R        (3)
#
# In the middle of each run the server gets SIGSTOP, and SIGCONT a second later. Messages are due all the time, and
# evenly, so that of all of them one second's worth waits, from not at all to the whole second: with ten seconds one
# message of a hundred waits for 900 ms or more, and one of twenty for 500 ms or more. A client that waits for an answer
# before it sends again has that happen to one message of each connection, which is what the service time shows.
#
# The figures are those of the median round. Fails if the response time's p99 or p95 differs from that by more than 5 %,
# or if not every message that was due is sent, answered and measured.

source "$(dirname "$0")/common.sh"

connections=20 per_s=10 seconds=10 rounds=3
most_off=0.05 stopped_ms=
declare -A samples

read_arguments() {
    local name
    while (($#)); do
        case $1 in
        --connections | --per-s | --seconds | --rounds)
            (($# > 1)) || usage_error "$1 wants a number"
            read_count "$1" "$2"
            name=${1#--}
            printf -v "${name//-/_}" %d "$2"
            shift 2
            ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    ((seconds >= 4 && seconds <= 15)) ||
        usage_error '--seconds wants 4 to 15: room for a second to stall in, which one of twenty has to notice'
    [[ -z ${SERVER:-} ]] || usage_error 'this measures the flood, and starts the server for it itself'
}

# A number out of one part of the flood's report.
figure() {
    awk -v part="$1" -v name="\"$2\":" '
        $0 ~ "^  \"" part "\": \\{" { inside = 1 }
        inside && $1 == name { sub(/,$/, "", $2); print $2; exit }
        inside && /^  \}/ { exit }' "$out_dir/stall.json"
}

# Waits for the line that says that messages are being sent.
await_rate() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        if grep -q '^rate' "$out_dir/stall.log"; then return; fi
        kill -0 "$load_pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$out_dir/stall.log" >&2
    fail 'the flood did not begin to send'
}

measure() {
    local status=0 key since
    start_server "$subject_name" $((connections + 100))
    : >"$out_dir/stall.log"
    "$target_dir/release/steadfast" flood "ws://127.0.0.1:$server_port/echo" --connections "$connections" \
        --phase ramp --phase "rate per_s=$per_s for_s=$seconds" --json "$out_dir/stall.json" \
        >"$out_dir/stall.out" 2>"$out_dir/stall.log" &
    load_pid=$!
    await_rate
    sleep $((seconds / 2 - 1))
    kill -STOP "$server_pid"
    since=$EPOCHREALTIME
    sleep 1
    kill -CONT "$server_pid"
    stopped_ms+=" $(calculate "1000 * ($EPOCHREALTIME - $since)" 1)"
    wait "$load_pid" || status=$?
    load_pid=
    ((status == 0)) || fail "the flood went wrong: $(<"$out_dir/stall.out")"
    stop_server
    for key in due sent answered; do
        (($(figure schedule "$key") == connections * per_s * seconds)) ||
            fail "$(figure schedule "$key") messages were $key, and not $((connections * per_s * seconds))"
    done
    for key in response service; do
        (($(figure "$key" samples) == connections * per_s * seconds)) || fail "$key has $(figure "$key" samples) samples"
        samples[$key p95]+=" $(calculate "$(figure "$key" p95_us) / 1000" 1)"
        samples[$key p99]+=" $(calculate "$(figure "$key" p99_us) / 1000" 1)"
    done
}

# What a share of the messages waits for at the least.
expected_ms() {
    calculate "1000 * (1 - $1 * $seconds)" 1
}

main() {
    local round key quantile expected off=0
    read_arguments "$@"
    need cargo awk sort
    mkdir -p "$out_dir"
    (cd "$root_dir" && cargo build --release --quiet)
    for ((round = 1; round <= rounds; round++)); do
        printf 'round %d of %d\n' "$round" "$rounds" >&2
        measure
    done
    printf '\n%d connections, %d messages a second on each for %d seconds, the server stopped for one of them\n' \
        "$connections" "$per_s" "$seconds"
    printf 'median (least to most) of %d rounds, ms; every message that was due is in it\n\n' "$rounds"
    for quantile in p95 p99; do
        expected=$(expected_ms "0.0$((100 - ${quantile#p}))")
        for key in response service; do
            printf '  %-9s %s   %s\n' "$key" "$quantile" "$(show_spread 1 ${samples[$key $quantile]})"
        done
        printf '  %-9s %s   %s\n' 'is to be' "$quantile" "$expected"
        # In brackets: to awk a bare > behind printf names a file.
        off=$((off | $(calculate "(($(median_of ${samples[response $quantile]}) / $expected - 1)^2 > $most_off^2)" 0)))
    done
    printf '  %-9s       %s\n' 'stopped' "$(show_spread 1 $stopped_ms)"
    ((off == 0)) || fail 'the response times are off by more than 5 %'
}

main "$@"
