#!/usr/bin/env bash
# What a connection and a GET cost `steadfast flood`, against what they cost the clients that others use.
#
#     bench/rivals.sh [--connections N] [--rounds N] [--pages N] [--seconds S] [--ws | --http]
#
#   --connections N   WebSockets that each client opens in a run (5000)
#   --rounds N        (7)
#   --pages N         connections of the clients that get pages (100)
#   --seconds S       that wrk gets pages for in a run; the flood gets as many (1)
#   --ws, --http      only the one half or the other
#
# WebSocket: the flood, and scripts of what a Node (`ws`) and a Python (`websockets`) program would do in a few lines.
# Each opens all connections, 256 connects under way at a time, has one message of 20 bytes echoed on each, and closes
# them in order. HTTP: the flood and wrk, one GET under way on each connection, all of them working at a time; the flood
# compares every page with what it has to be, wrk does not look at it.
#
# One server, steadfast with one reactor, serves all runs of all rounds; server and client share one core, so that
# neither ever waits for the other to wake up. A client's processor time is all of its life, user space and kernel, as
# wait4(2) tells it.
#
# Fails if one of the scripts takes less than 5 times our processor time for each connection, or if wrk gets more pages
# for each second of its processor time than the flood, each as the median of the rounds; or if anything is lost. The
# latter counts in seconds of the server, which does the same for both and runs in between: that repeats within a few
# per cent, where seconds of the clock differ by more than the two clients do while something else keeps the machine busy.
# SERVER='COMMAND {port} {connections}' measures against another server (that has a page at /, too), FLOOD=PROGRAM with
# another build of the flood; CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
source "$bench_dir/pairs.sh"

connections=5000 rounds=7 pages=100 seconds=1 halves='ws http'
under_way=256
least_times=5
flood=${FLOOD:-$target_dir/release/steadfast}
peers_dir=$root_dir/src/tests/interop
peers_target=$target_dir/interop
messages=
declare -A samples

read_arguments() {
    local name
    while (($#)); do
        case $1 in
        --connections | --rounds | --pages | --seconds)
            (($# > 1)) || usage_error "$1 wants a number"
            read_count "$1" "$2"
            name=${1#--}
            printf -v "$name" %d "$2"
            shift 2
            ;;
        --ws | --http) halves=${1#--}; shift ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    ((connections <= 15000)) || usage_error '--connections wants no more than 15000'
    ((pages <= 15000)) || usage_error '--pages wants no more than 15000'
}

get_peers() {
    need node npm python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail 'missing here: python3-venv; install that first'
    source "$peers_dir/peers.sh"
    mkdir -p "$peers_target"
    install_python
    install_node
}

# rival_argv: what starts the client `name`.
plan_rival() {
    local name=$1 place=127.0.0.1:$server_port
    case $name in
    flood)
        # Without messages of the phase for them, there is the one that asks whether the connection is alive.
        rival_argv=("$flood" flood "ws://$place/echo" --connections "$connections" --in-flight "$under_way"
            --messages 0 --payload 20 --json "$out_dir/flood.json")
        ;;
    ws) rival_argv=(node "$bench_dir/rivals/ws.mjs" "$peers_target/node/package.json" "ws://$place/echo"
        "$connections" "$under_way") ;;
    websockets) rival_argv=("$peers_target/venv/bin/python" -B "$bench_dir/rivals/websockets_client.py"
        "ws://$place/echo" "$connections" "$under_way") ;;
    pages)
        rival_argv=("$flood" flood "http://$place/" --connections "$pages" --in-flight "$pages"
            --messages "$messages" --json "$out_dir/flood.json")
        ;;
    wrk) rival_argv=(wrk --threads 1 --connections "$pages" --duration "${seconds}s" "http://$place/") ;;
    esac
}

# Leaves the line of cost.c in load_line, and what the client said in said.
run_rival() {
    local name=$1 status=0
    plan_rival "$name"
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    taskset -c "$core" "$out_dir/cost" --server-pid "$server_pid" "$out_dir/cost.json" "${rival_argv[@]}" \
        >"$out_dir/rival.out" 2>"$out_dir/rival.err" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    if ((status != 0)); then
        cat "$out_dir/rival.out" "$out_dir/rival.err" >&2
        fail "a run of ${name/pages/flood} went wrong: status $status"
    fi
    load_line=$(<"$out_dir/cost.json")
    said=$(<"$out_dir/rival.out")
}

# A number of the flood's report: `of SECTION NAME`.
of() {
    sed -n "/\"$1\": {/,/}/s/.*\"$2\": \([0-9.e-]*\).*/\1/p" "$out_dir/flood.json" | head -n 1
}

note() {
    samples["$1 $2"]+=" $3"
}

measure_connections() {
    local name=$1 took
    run_rival "$name"
    if [[ $name == flood ]]; then
        took=$(of connect seconds)
    else
        [[ $said == *"\"opened\":$connections,\"echoed\":$connections,\"closed\":$connections,"* ]] ||
            fail "$name did not open, echo and close all: $said"
        took=$(sed -n 's/.*"handshakes_seconds":\([0-9.e-]*\).*/\1/p' <<<"$said")
    fi
    note "$name" per_s "$(calculate "$connections / $took" 1)"
    note "$name" cpu_us "$(calculate "($(field user_seconds) + $(field sys_seconds)) * 1e6 / $connections" 3)"
    note "$name" user_us "$(calculate "$(field user_seconds) * 1e6 / $connections" 3)"
    note "$name" server_us "$(calculate "$(field server_seconds) * 1e6 / $connections" 3)"
}

# How many pages the client that ran last has got.
pages_got() {
    if [[ $1 == pages ]]; then
        sed -n 's/^  "replies": \([0-9]*\).*/\1/p' "$out_dir/flood.json"
    else
        # Said only if there were any.
        ! grep -Eq 'Socket errors|Non-2xx' <<<"$said" || fail "wrk had errors: $said"
        sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' <<<"$said"
    fi
}

measure_pages() {
    local name=$1 got
    run_rival "$name"
    got=$(pages_got "$name")
    note "$name" per_cpu_s "$(calculate "$got / ($(field user_seconds) + $(field sys_seconds))" 1)"
    note "$name" cpu_us "$(calculate "($(field user_seconds) + $(field sys_seconds)) * 1e6 / $got" 4)"
    note "$name" user_us "$(calculate "$(field user_seconds) * 1e6 / $got" 4)"
    note "$name" server_us "$(calculate "$(field server_seconds) * 1e6 / $got" 4)"
}

# wrk knows no number of pages but a time: a run that is not counted tells how many that is here.
plan_messages() {
    local got
    run_rival wrk
    got=$(pages_got wrk)
    messages=$((got / pages))
    ((messages >= 1 && messages <= 65535)) ||
        fail "$got pages on $pages connections are too many or too few for the flood, which gets 1 to 65535 on each;" \
            "take other --pages or --seconds"
}

# print_ratio WHAT LIST LIST: of the first to the second in each round; the median is left in `times`. Unquoted on purpose,
# here as below: a list is one word for each number.
print_ratio() {
    local ratios
    ratios=$(combine 'a / b' "$2" "$3")
    times=$(median_of $ratios)
    print_row "$1" "$(show_spread 2 $ratios)"
}

# relative CLIENT: its processor time over the server's in each round: a machine that is slower for a while slows both.
relative() {
    combine 'a / b' "${samples["$1 cpu_us"]}" "${samples["$1 server_us"]}"
}

print_connections() {
    local name short= times
    printf '\n%d WebSockets opened, one message echoed on each, closed; %d under way at a time\n' \
        "$connections" "$under_way"
    printf 'median (least to most) of %d rounds\n\n' "$rounds"
    for name in flood ws websockets; do
        print_row "$name, handshakes a second" "$(show_spread 0 ${samples["$name per_s"]})"
        print_row "$name, processor time for each connection, us" "$(show_spread 1 ${samples["$name cpu_us"]})"
        print_row '  in user space, us' "$(show_spread 1 ${samples["$name user_us"]})"
        print_row '  that of the server, us' "$(show_spread 1 ${samples["$name server_us"]})"
    done
    for name in ws websockets; do
        print_ratio "flood against $name, handshakes a second" "${samples["flood per_s"]}" "${samples["$name per_s"]}"
        print_ratio "$name against flood, processor time for each connection" "${samples["$name cpu_us"]}" \
            "${samples["flood cpu_us"]}"
        (($(calculate "($times >= $least_times)" 0))) || short+=" $name"
    done
    [[ -z $short ]] || missed+="; less than $least_times times our processor time for each connection:$short"
}

print_pages() {
    local name times
    printf '\n%d connections, %d GETs on each, of the page at /\nmedian (least to most) of %d rounds\n\n' \
        "$pages" "$messages" "$rounds"
    for name in pages wrk; do
        print_row "${name/pages/flood}, GETs for each second of processor time" \
            "$(show_spread 0 ${samples["$name per_cpu_s"]})"
        print_row "${name/pages/flood}, processor time for each GET, us" "$(show_spread 2 ${samples["$name cpu_us"]})"
        print_row '  in user space, us' "$(show_spread 2 ${samples["$name user_us"]})"
        print_row '  that of the server, us' "$(show_spread 2 ${samples["$name server_us"]})"
    done
    print_ratio 'flood against wrk, GETs for each second' "${samples["pages per_cpu_s"]}" "${samples["wrk per_cpu_s"]}"
    print_ratio 'the same, over the time of the server' "$(relative wrk)" "$(relative pages)"
    (($(calculate "($times >= 1)" 0))) || missed+='; fewer GETs than wrk for each second of processor time'
}

# measure_all HALF CASE ...
measure_all() {
    local half=$1 round name
    shift
    for ((round = 1; round <= rounds; round++)); do
        while IFS= read -r name; do
            printf 'round %d of %d: %s\n' "$round" "$rounds" "${name/pages/flood}" >&2
            "measure_$half" "$name"
        done < <(in_turn "$round" "$@")
    done
}

main() {
    local missed=
    read_arguments "$@"
    need taskset awk sed sort tac
    [[ $halves == ws ]] || need wrk
    [[ $halves == http ]] || get_peers
    build
    cc -O2 -o "$out_dir/cost" "$bench_dir/cost.c"
    [[ -x $flood ]] || fail "no program at $flood: cargo build --release, or set FLOOD"
    start_server "$subject_name" $((connections > pages ? connections + 100 : pages + 100)) taskset -c "$core"
    if [[ $halves != http ]]; then measure_all connections flood ws websockets; fi
    if [[ $halves != ws ]]; then
        plan_messages
        measure_all pages pages wrk
    fi
    stop_server
    [[ $halves == http ]] || print_connections
    [[ $halves == ws ]] || print_pages
    [[ -z $missed ]] || fail "${missed#; }"
    printf '\nwithin the limits: yes\n'
}

main "$@"
