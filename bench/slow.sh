#!/usr/bin/env bash
# What receivers that never read cost: those who do read, in time, and the server and the kernel, in memory.
#
#     bench/slow.sh [--connections N] [--stalled-percent P] [--payload BYTES] [--per-s RATE] [--seconds S]
#                   [--rounds R] [--overflow POLICY]
#
#   --connections N       receivers, the publisher among them (10000)
#   --stalled-percent P   of them, that read nothing behind the answer to their handshake (1)
#   --payload BYTES       of each message, 12 or more (1024)
#   --per-s RATE          messages that are published in a second (4)
#   --seconds S           (60)
#   --rounds R            (3)
#   --overflow POLICY     close, drop-newest, drop-oldest or keep-latest, as `steadfast serve` has it (close)
#
# Every round has two runs, each with a fresh server: without the stalled ones, and with them; those who read are as
# many in both. The stalled ones have a receive buffer of 4 KiB, and nobody looks at them until all is measured. The
# latency of a message counts from when it was due.
#
# With the defaults what a stalled one is sent is more than the kernel and the server keep for it, so that the policy is
# asked. `close` gives the memory back before the end, and the largest values show what was seen meanwhile;
# `drop-oldest` shows what is held. What the kernel counts for a buffer is more than the bytes in it. The deadline that
# ends who takes nothing for 30 s is put off: it would end them before the limits are reached.
#
# What has to add up, or the script fails:
#   - every byte that arrives is the one that has to come, messages are whole and in order, nobody who reads is lost;
#   - messages in = published; out = delivered + dropped + queued; and out = published to each connection, unless some
#     were closed;
#   - without stalled ones: delivered = received, queued = 0, bytes out = bytes received;
#   - with them: delivered - received is what their sockets took, and the bytes out beyond those received are so many
#     messages and at most a part of one more for each of them;
#   - when they have read, in the end, what is there for them: queued = 0, out is what it was, delivered = received and
#     bytes out = bytes received, exactly. Of those that were closed the kernel has thrown away what it had; they must
#     be as many as closed_slow says, and the bytes out must be what their messages come to.
# A publication that is dropped for all because 1,024 wait already is counted as dropped for each: more is published
# then than can be sent, and all of the above holds all the same.
#
# Up to 15,000 connections server and client have a core each and the server has one reactor; beyond that nothing is
# pinned. CORE=N and CLIENT_CORE=N pin elsewhere, see bench/pairs.sh. It reads /stats: it measures steadfast and no
# other server.

source "$(dirname "$0")/common.sh"
source "$bench_dir/pairs.sh"

connections=10000 stalled_percent=1 payload=1024 per_s=4 seconds=60 rounds=3 overflow=close
pinned_connections=15000 receive_buffer=4096
stalled=
# The defaults of steadfast that bound what waits for a connection: in the kernel, and in the server.
kernel_cap_kib=128 user_cap_kib=64
declare -A samples

read_arguments() {
    local name
    while (($#)); do
        case $1 in
        --connections | --stalled-percent | --payload | --per-s | --seconds | --rounds)
            (($# > 1)) || usage_error "$1 wants a number"
            read_count "$1" "$2"
            name=${1#--}
            printf -v "${name//-/_}" %d "$2"
            shift 2
            ;;
        --overflow)
            case ${2:-} in
            close | drop-newest | drop-oldest | keep-latest) overflow=$2 ;;
            *) usage_error '--overflow wants close, drop-newest, drop-oldest or keep-latest' ;;
            esac
            shift 2
            ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    [[ -z ${SERVER:-} ]] || usage_error 'this reads what steadfast has at /stats, and measures no other server'
    ((payload >= 12)) || usage_error '--payload wants 12 or more: a number and a time are in it'
    stalled=$((connections * stalled_percent / 100))
    ((stalled > 0 && stalled < connections)) || usage_error 'that leaves nobody to stall, or nobody to read'
}

is_pinned() {
    ((connections <= pinned_connections))
}

# In place of that of common.sh: as many reactors as the connections need, and no pings, which are no part of this.
plan_server() {
    local port=$2 held=$3
    server_argv=("$target_dir/release/steadfast" serve --listen "127.0.0.1:$port" --max-connections "$held"
        --overflow "$overflow" --ping-interval-s 86400 --idle-timeout-s 172800 --stalled-timeout-s 86400)
    if is_pinned; then server_argv+=(--reactors 1); fi
}

# measure CASE: `without` or `with`.
measure() {
    local case=$1 status=0 key what before server_wrapper=() client_wrapper=() flags=(--connections "$connections")
    if [[ $case == without ]]; then
        flags=(--connections $((connections - stalled)))
    else
        flags+=(--stalled "$stalled" --receive-buffer "$receive_buffer")
        [[ $overflow != close ]] || flags+=(--closes)
    fi
    if is_pinned; then
        server_wrapper=(taskset -c "$core")
        client_wrapper=(taskset -c "$client_core")
    fi
    start_server "$subject_name" $((connections + 100)) "${server_wrapper[@]}"
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    "${client_wrapper[@]}" "$out_dir/slow" --port "$server_port" --server-pid "$server_pid" --payload "$payload" \
        --per-s "$per_s" --seconds "$seconds" "${flags[@]}" >"$out_dir/slow.json" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    load_line=$(<"$out_dir/slow.json")
    ((status == 0)) || fail "a run $case stalled receivers went wrong: $load_line"
    stop_server
    for key in p50_us p99_us max_us late_p99_us published received missed out delivered dropped queued closed_slow \
        stalled_took; do
        samples["$case $key"]+=" $(field "$key")"
    done
    for what in user tcp slab; do
        before=$(field "${what}_before_kib")
        samples["$case ${what}_growth"]+=" $(($(field "${what}_after_kib") - before))"
        samples["$case ${what}_peak"]+=" $(($(field "${what}_peak_kib") - before))"
    done
}

# Unquoted on purpose, here as below: a list is one word for each number.
show() {
    show_spread "$3" ${samples["$1 $2"]}
}

print_case() {
    local case=$1
    printf '%s stalled receivers\n' "$case"
    print_row 'arrival at those who read, median, us' "$(show "$case" p50_us 0)"
    print_row 'arrival at those who read, 99 of 100, us' "$(show "$case" p99_us 0)"
    print_row 'arrival at those who read, last, us' "$(show "$case" max_us 0)"
    print_row 'of that, until the publisher sent it, 99 of 100, us' "$(show "$case" late_p99_us 0)"
    print_row 'messages published' "$(show "$case" published 0)"
    print_row 'received by those who read' "$(show "$case" received 0)"
    print_row 'dropped, and so missed by those who read' "$(show "$case" missed 0)"
    print_row 'out' "$(show "$case" out 0)"
    print_row '  = delivered' "$(show "$case" delivered 0)"
    print_row '  + dropped' "$(show "$case" dropped 0)"
    print_row '  + queued' "$(show "$case" queued 0)"
    [[ $case == without ]] || print_row 'delivered into sockets that nobody reads' "$(show "$case" stalled_took 0)"
    [[ $case == without ]] || print_row 'closed with 1008' "$(show "$case" closed_slow 0)"
    print_row 'growth of memory, KiB: server' "$(show "$case" user_growth 0)"
    print_row '  kernel, TCP buffers of the host' "$(show "$case" tcp_growth 0)"
    print_row '  kernel, slab of the host' "$(show "$case" slab_growth 0)"
    print_row 'the largest seen meanwhile, KiB: server' "$(show "$case" user_peak 0)"
    print_row '  kernel, TCP buffers of the host' "$(show "$case" tcp_peak 0)"
    print_row '  kernel, slab of the host' "$(show "$case" slab_peak 0)"
}

# print_share KEY TEXT: what the growth of the two runs differs by, for each stalled one.
print_share() {
    print_row "$2" \
        "$(show_spread 1 $(combine "(a - b) / $stalled" "${samples["with $1"]}" "${samples["without $1"]}"))"
}

print_table() {
    local key
    printf '\n%d messages of %d bytes a second for %d s to %d that read; %d that do not; policy %s\n' \
        "$per_s" "$payload" "$seconds" $((connections - stalled)) "$stalled" "$overflow"
    printf 'median (least to most) of %d rounds\n\n' "$rounds"
    print_case without
    print_case with
    printf 'with against without, in each round\n'
    for key in p50_us p99_us max_us; do
        print_row "arrival, ${key%_us}" \
            "$(show_spread 3 $(combine 'a / b' "${samples["with $key"]}" "${samples["without $key"]}"))"
    done
    printf 'for each stalled receiver, the difference of the two, KiB\n'
    print_share user_growth "server ($user_cap_kib may be queued; beside records of messages)"
    print_share user_peak '  the largest seen meanwhile'
    print_share tcp_growth "TCP buffers ($kernel_cap_kib may be unsent; beside what is in flight)"
    print_share tcp_peak '  the largest seen meanwhile, with bursts to those who read'
    print_share slab_growth 'slab'
    print_row 'messages that its socket took, in their bytes' "$(show_spread 1 $(combine \
        "a * ($payload + ($payload < 126 ? 2 : $payload < 65536 ? 4 : 10)) / 1024 / $stalled" \
        "${samples["with stalled_took"]}" "${samples["with stalled_took"]}"))"
    printf 'for all of them together, KiB: the server may keep %d, the kernel %d unsent\n' \
        $((stalled * user_cap_kib)) $((stalled * kernel_cap_kib))
    printf 'all adds up, in all %d runs: see --help for what that is\n' $((rounds * 2))
}

main() {
    local round case
    read_arguments "$@"
    need awk sed sort tac
    if is_pinned; then need_two_cores; fi
    build
    cc -O2 -pthread -o "$out_dir/slow" "$bench_dir/slow.c"
    for ((round = 1; round <= rounds; round++)); do
        while IFS= read -r case; do
            printf 'round %d of %d: %s stalled receivers\n' "$round" "$rounds" "$case" >&2
            measure "$case"
        done < <(in_turn "$round" without with)
    done
    print_table
}

main "$@"
