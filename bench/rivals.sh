#!/usr/bin/env bash
# What a connection and a GET cost `steadfast flood`, against what they cost the clients that others use. 2 min.
#
#     bench/rivals.sh [--connections N] [--rounds N] [--pages N] [--seconds S] [--ws | --http]
#
#   --connections N   WebSockets that each client opens in a run (5000)
#   --rounds N        (7)
#   --pages N         connections of the clients that get pages (100)
#   --seconds S       that wrk gets pages for in a run; the flood gets as many (1)
#   --ws, --http      only one half or the other
#
# WebSocket: the flood, and scripts of what a Node (`ws`) and a Python (`websockets`) program would do in a few lines. Each
# opens all connections, 256 connects in progress at a time, has one message of 20 bytes echoed on each, and closes them in
# order. HTTP: the flood and wrk, one GET in progress on each connection; only the flood compares the pages.
#
# One server, steadfast with one reactor, serves all runs; server and client share one core, so that neither waits for the
# other to wake up. A client's processor time is that of its whole life, user space and kernel, from wait4(2).
#
# Fails if one of the scripts takes less than 5 times our processor time for each connection, or if wrk gets more pages than
# the flood for each second of its processor time, counted in seconds of the server; or if anything is lost.
# SERVER='COMMAND {port} {connections}' measures against another server (that has a page at /, too), FLOOD=PROGRAM with
# another build of the flood; CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags connections=5000..15000 rounds=7 pages=100..15000 seconds=1 ws http -- "$@"

under_way=256
flood=${FLOOD:-$steadfast}
peers_target=$target_dir/interop
http_only=$http ws_only=$ws

get_peers() {
    need node npm python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail 'missing here: python3-venv; install that first'
    peers_dir=$root_dir/src/tests/interop
    source "$peers_dir/peers.sh"
    mkdir -p "$peers_target"
    install_python
    install_node
}

# Leaves in rival_argv what starts a client.
plan_rival() {
    local place=127.0.0.1:$server_port
    case $1 in
    # Without messages of the phase for them, there is the one that asks whether the connection is alive.
    flood) rival_argv=("$flood" flood "ws://$place/echo" --connections "$connections" --in-flight "$under_way"
        --messages 0 --payload 20 --json "$out_dir/flood.json") ;;
    ws) rival_argv=(node "$bench_dir/rivals/ws.mjs" "$peers_target/node/package.json" "ws://$place/echo"
        "$connections" "$under_way") ;;
    websockets) rival_argv=("$peers_target/venv/bin/python" -B "$bench_dir/rivals/websockets_client.py"
        "ws://$place/echo" "$connections" "$under_way") ;;
    'flood of pages') rival_argv=("$flood" flood "http://$place/" --connections "$pages" --in-flight "$pages"
        --messages "$messages" --json "$out_dir/flood.json") ;;
    wrk) rival_argv=(wrk --threads 1 --connections "$pages" --duration "${seconds}s" "http://$place/") ;;
    esac
}

# Leaves what cost.c prints in client_line, what the client printed in said, and how much it did in done_units.
run_rival() {
    plan_rival "$1"
    run "$out_dir/cost" "$server_pid" "$out_dir/cost.json" "${rival_argv[@]}" \
        >"$out_dir/rival.out" 2>"$out_dir/rival.err" || {
        cat "$out_dir/rival.out" "$out_dir/rival.err" >&2
        fail "a run of $1 failed"
    }
    client_line=$(<"$out_dir/cost.json") said=$(<"$out_dir/rival.out") done_units=$connections
    case $1 in
    'flood of pages') done_units=$(figure replies) ;;
    wrk)
        # Printed only if there were any.
        ! grep -Eq 'Socket errors|Non-2xx' <<<"$said" || fail "wrk had errors: $said"
        done_units=$(sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' <<<"$said")
        ;;
    esac
}

measure() {
    local took cpu
    run_rival "$1"
    cpu="($(field user_seconds) + $(field sys_seconds))"
    case $1 in
    flood) took=$(figure connect.seconds) ;;
    ws | websockets)
        [[ $said == *"\"opened\":$connections,\"echoed\":$connections,\"closed\":$connections,"* ]] ||
            fail "$1 did not open, echo and close all: $said"
        took=$(sed -n 's/.*"handshakes_seconds":\([0-9.e-]*\).*/\1/p' <<<"$said")
        ;;
    *) took=$cpu ;;
    esac
    note per_s "$done_units / $took" 1
    note cpu_us "$cpu * 1e6 / $done_units" 4
    note user_us "$(field user_seconds) * 1e6 / $done_units" 4
    note server_us "$(field server_seconds) * 1e6 / $done_units" 4
    note relative "$cpu / $(field server_seconds)"
}

# print_client NAME RATE UNIT
print_client() {
    print_spread "$1 per_s" 0 "$1, $2"
    print_spread "$1 cpu_us" 2 "$1, processor time for each $3, us"
    print_spread "$1 user_us" 2 '  in user space, us'
    print_spread "$1 server_us" 2 '  that of the server, us'
}

missed=
pin_together
[[ -n $ws_only ]] || need wrk
[[ -n $http_only ]] || get_peers
build cost
[[ -x $flood ]] || fail "no program at $flood: cargo build --release, or set FLOOD"
start_server "$subject_name" $((connections + pages + 100))
[[ -n $http_only ]] || run_rounds flood ws websockets
if [[ -z $ws_only ]]; then
    # wrk knows no number of pages but a time: a run that is not counted tells how many that is here.
    run_rival wrk
    messages=$((done_units / pages))
    ((messages >= 1 && messages <= 65535)) ||
        fail "$done_units pages on $pages connections are too many or too few for the flood, which gets 1 to 65535 on" \
            'each; take other --pages or --seconds'
    run_rounds 'flood of pages' wrk
fi
stop_server
if [[ -z $http_only ]]; then
    print_heading "$connections WebSockets opened, one message echoed on each, closed; $under_way in progress at a time"
    for name in flood ws websockets; do print_client "$name" 'handshakes a second' connection; done
    for name in ws websockets; do
        print_quotient 'flood per_s' "$name per_s" "flood against $name, handshakes a second" 2
        print_quotient "$name cpu_us" 'flood cpu_us' "$name against flood, processor time for each connection" 2
        is_true "$quotient >= 5" || missed+="; less than 5 times our processor time for each connection: $name"
    done
fi
if [[ -z $ws_only ]]; then
    print_heading "$pages connections, $messages GETs on each, of the page at /"
    for name in 'flood of pages' wrk; do print_client "$name" 'GETs for each second of processor time' GET; done
    print_quotient 'flood of pages per_s' 'wrk per_s' 'flood against wrk, GETs for each second' 2
    print_quotient 'wrk relative' 'flood of pages relative' 'the same, over the time of the server' 2
    is_true "$quotient >= 1" || missed+='; fewer GETs than wrk for each second of processor time'
fi
[[ -z $missed ]] || fail "${missed#; }"
printf '\nwithin the limits: yes\n'
