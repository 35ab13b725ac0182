#!/usr/bin/env bash
# How much longer many polite connections wait for their echoes when one more takes all that it can get.
#
#     bench/fair.sh [--connections N] [--per-s RATE] [--seconds S] [--rounds R]
#
#   --connections N   that play ping-pong with 20 bytes, one message in flight on each (5000)
#   --per-s RATE      of those messages in a second, all connections together, each at a constant pace (6000)
#   --seconds S       of each run, behind a second that is not counted (10)
#   --rounds R        (5)
#
# Every round has three runs, each with a fresh server that has one reactor: without a greedy connection, with one that
# sends messages of 20 bytes, and with one that sends 16 KiB, as fast as its socket takes them; it reads all that comes
# back. All bytes are checked. A round trip counts from when its message was due. The rate is to leave the server more
# than half idle without the greedy one, and that one is to leave it little rest: the table shows how busy it was.
#
# The server has a core to itself. The greedy connection has what the polite ones leave of the other core, by
# SCHED_IDLE: when an echo comes for them or a message is due, they run at once. How long they had to wait for
# themselves all the same is measured (see fair.c) and printed, and so are the round trips without that: should the two
# tell different stories, it is the client that is unfair. A server that sleeps between two messages has to wake up for
# each, and one that has a greedy client seldom sleeps, so that the median may well be better with it than without.
#
# Fails if 99 of 100 take more than three times as long with one of them as without, as the median of the rounds; or if
# anything is lost or wrong.
# SERVER='COMMAND {port} {connections}' measures another server in place of steadfast, such as the yardstick, echo.c;
# CORE=N and CLIENT_CORE=N pin elsewhere, see bench/common.sh and bench/pairs.sh.

source "$(dirname "$0")/common.sh"
source "$bench_dir/pairs.sh"

connections=5000 per_s=6000 seconds=10 rounds=5
most_times=3
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
    ((connections <= 15000)) || usage_error '--connections wants no more than 15000'
}

# measure GREEDY_BYTES
measure() {
    local greedy=$1 status=0 key
    start_server "$subject_name" $((connections + 100)) taskset -c "$core"
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    taskset -c "$client_core" "$out_dir/fair" --port "$server_port" --server-pid "$server_pid" \
        --connections "$connections" --per-s "$per_s" --seconds "$seconds" --greedy "$greedy" >"$out_dir/fair.json" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    load_line=$(<"$out_dir/fair.json")
    ((status == 0)) || fail "a run with a greedy connection of $greedy bytes (0: without one) went wrong: $load_line"
    stop_server
    for key in p50_us p99_us max_us server_p99_us client_p99_us greedy_per_s client_busy server_busy; do
        samples["$greedy $key"]+=" $(field "$key")"
    done
}

# Unquoted on purpose, here as below: a list is one word for each number.
show() {
    show_spread "$3" ${samples["$1 $2"]}
}

print_run() {
    local greedy=$1 what=$2
    printf '%s\n' "$what"
    print_row 'round trip, median, us' "$(show "$greedy" p50_us 0)"
    print_row 'round trip, 99 of 100, us' "$(show "$greedy" p99_us 0)"
    print_row 'round trip, slowest, us' "$(show "$greedy" max_us 0)"
    print_row 'the same without what the client waited for itself, 99 of 100' "$(show "$greedy" server_p99_us 0)"
    print_row 'what the client waited for itself, 99 of 100, us' "$(show "$greedy" client_p99_us 0)"
    print_row 'server, part of its core' "$(show "$greedy" server_busy 2)"
    print_row 'polite client, part of its core' "$(show "$greedy" client_busy 2)"
    ((greedy == 0)) || print_row 'echoes of the greedy one in a second' "$(show "$greedy" greedy_per_s 0)"
}

# Leaves the median in `times`.
print_ratio() {
    local greedy=$1 key=$2 what=$3 ratios
    ratios=$(combine 'a / b' "${samples["$greedy $key"]}" "${samples["0 $key"]}")
    times=$(median_of $ratios)
    print_row "$what" "$(show_spread 2 $ratios)"
}

# Fails if one of the medians is beyond the limit.
print_table() {
    local greedy beyond= times
    printf '\n%d connections, %d round trips of 20 bytes a second for %d s\nmedian (least to most) of %d rounds\n\n' \
        "$connections" "$per_s" "$seconds" "$rounds"
    print_run 0 'without a greedy connection'
    for greedy in 20 16384; do print_run "$greedy" "with one that sends $greedy bytes a time"; done
    printf 'with a greedy connection against without, in each round\n'
    for greedy in 20 16384; do
        print_ratio "$greedy" p50_us "$greedy bytes a time, median"
        print_ratio "$greedy" server_p99_us "$greedy bytes a time, 99 of 100 without the client's own wait"
        print_ratio "$greedy" p99_us "$greedy bytes a time, 99 of 100"
        (($(calculate "($times > $most_times)" 0) == 0)) || beyond+=" $greedy"
    done
    [[ -z $beyond ]] || fail "more than $most_times times as long with one that sends so many bytes a time:$beyond"
    printf '99 of 100 take at most %d times as long with it: yes\n' "$most_times"
}

main() {
    local round greedy
    read_arguments "$@"
    need awk sed sort tac
    need_two_cores
    build
    cc -O2 -o "$out_dir/fair" "$bench_dir/fair.c"
    for ((round = 1; round <= rounds; round++)); do
        while IFS= read -r greedy; do
            printf 'round %d of %d: greedy with %d bytes a time\n' "$round" "$rounds" "$greedy" >&2
            measure "$greedy"
        done < <(in_turn "$round" 0 20 16384)
    done
    print_table
}

main "$@"
