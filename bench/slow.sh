#!/usr/bin/env bash
# What receivers that never read cost: those that do read, in time, and the server and the kernel, in memory. 7 min.
#
#     bench/slow.sh [--connections N] [--stalled-percent P] [--payload BYTES] [--per-s RATE] [--seconds S]
#                   [--rounds R] [--overflow POLICY]
#
#   --connections N       receivers at /broadcast (10000)
#   --stalled-percent P   of them, that read nothing after the answer to their handshake (1)
#   --payload BYTES       of each message, 17 to 65536 (1024)
#   --per-s RATE          messages that are published in a second, at most 100 (8)
#   --seconds S           (60)
#   --rounds R            (3)
#   --overflow POLICY     close, drop-newest, drop-oldest or keep-latest, as `steadfast serve` has it (close)
#
# Every round has two runs, each with a fresh server: without the stalled ones, and with them; those that read are as many
# in both. Two floods receive, one for each kind, and `steadfast connect` publishes. A message holds the time at which it
# is due, and its age counts from that. A stalled one is sent more than the kernel and the server keep for it (64 KiB,
# --max-queued-bytes), so that the policy is applied: `drop-oldest` shows what is held, `close` gives the memory back. The
# deadline that ends a connection that takes nothing for 30 s is put off: it would come first.
#
# What has to add up, or the script fails:
#   - no connection that reads is lost, and each of them receives every message that was not dropped for all;
#   - messages in = published; out = delivered + dropped + queued = published to each connection (but for policy close);
#   - as many of the stalled ones are lost as closed_slow says;
#   - when the stalled ones have read, in the end, what is there for them: queued = 0, out is what it was, and delivered =
#     received, unless some were closed, whose messages the kernel has thrown away.
#
# Up to 15,000 connections server and clients have a core each and the server has one reactor; beyond that nothing is
# pinned. CORE=N and CLIENT_CORE=N pin elsewhere, see bench/common.sh. It reads /stats: it measures no other server.

source "$(dirname "$0")/common.sh"
read_flags connections=10000 stalled_percent=1..99 payload=1024..65536 per_s=8..100 seconds=60 rounds=3 \
    'overflow=close|drop-newest|drop-oldest|keep-latest' -- "$@"

stalled=$((connections * stalled_percent / 100)) published=$((per_s * seconds))
readers=$((connections - stalled))
# No pings, which are no part of this. At most 64 KiB may wait in the server for a connection, and 128 in the kernel.
server_flags=(--overflow "$overflow" --max-message-bytes 65536 --max-queued-bytes 65536 --ping-interval-s 86400
    --idle-timeout-s 172800 --stalled-timeout-s 86400)

await_file() { until [[ -e $1 ]] || ! kill -0 $$ 2>/dev/null; do sleep 0.1; done; }

# A line for each message when it is due: that time in microseconds since 1970, and what fills it up. Stays until it may
# end, since the publisher ends with its input.
publish() {
    local number due_us left_us begin_us filling
    filling=$(printf "%$((payload - 17))s" '' | tr ' ' x)
    await_file "$out_dir/slow.begin"
    begin_us=$((${EPOCHREALTIME/./} + 100000))
    for ((number = 0; number < published; number++)); do
        due_us=$((begin_us + number * 1000000 / per_s))
        left_us=$((due_us - ${EPOCHREALTIME/./}))
        ((left_us <= 0)) || sleep "$((left_us / 1000000)).$(printf %06d $((left_us % 1000000)))"
        printf '%d %s\n' "$due_us" "$filling"
    done
    await_file "$out_dir/slow.end"
}

# Anonymous memory of the server, TCP buffers of the host with what they were granted and do not use, and slabs; KiB.
read_memory() {
    awk -v page_kib=$(($(getconf PAGESIZE) / 1024)) '
        /^RssAnon:/ { user = $2 } /^Slab:/ { slab = $2 } /^TCP:/ { tcp = $NF * page_kib }
        END { print user, tcp, slab }' "/proc/$server_pid/status" /proc/net/sockstat /proc/meminfo
}

# Leaves the sums of /stats in variables of their names.
look() {
    local stats
    stats=$(read_stats) || fail '/stats did not answer'
    closed_slow=$(counter closed_slow "$stats") stats=${stats#*'"messages":{'}
    in=$(counter in "$stats") out=$(counter out "$stats") delivered=$(counter delivered "$stats")
    dropped=$(counter dropped "$stats") queued=$(counter queued "$stats")
}

# Looks until all is published and nothing has moved for a second; keeps the largest memory meanwhile.
settle() {
    local same=0 before= now tries key
    for ((tries = 0; same < 4; tries++)); do
        ((tries < 4 * (seconds + 60))) || fail 'the messages do not come to rest'
        sleep 0.25
        look
        now="$in $out $delivered $dropped $queued"
        if [[ $now == "$before" ]] && ((in >= published)); then same=$((same + 1)); else same=0; fi
        before=$now
        read -r user tcp slab < <(read_memory)
        for key in user tcp slab; do
            peak[$key]=$((${!key} > peak[$key] ? ${!key} : peak[$key]))
        done
    done
}

expect() {
    (($1)) || fail "a run $case stalled receivers does not add up: $1: $(printf '%s=%s ' in "$in" out "$out" \
        delivered "$delivered" dropped "$dropped" queued "$queued" closed_slow "$closed_slow" received "$received" heard "$heard")"
}

# measure CASE: `without` or `with`.
measure() {
    local slow=$stalled status=0 key lost before_out early
    declare -A peak=([user]=0 [tcp]=0 [slab]=0)
    [[ $1 == with ]] || slow=0
    rm -f "$out_dir/slow.begin" "$out_dir/slow.end"
    start_server steadfast $((connections + 100))
    "${client_wrapper[@]}" "$steadfast" connect "ws://127.0.0.1:$server_port/broadcast" \
        < <(publish) >"$out_dir/slow.published" 2>&1 &
    other_pids=($!)
    await_text ^connected "$out_dir/slow.published" "${other_pids[0]}" || fail 'the publisher did not connect'
    if ((slow > 0)); then
        flood_name=stalled begin_flood /broadcast --connections "$slow" --phase ramp --phase "slow share=1 for_s=$((seconds + 15))"
        other_pids+=("$client_pid")
        flood_name=stalled await_phase slow
    fi
    begin_flood /broadcast --connections "$readers" --phase ramp --phase "receive for_s=$((seconds + 8))"
    await_phase receive
    sleep 1
    early=($(read_memory))
    : >"$out_dir/slow.begin"
    settle
    await_client || flood_failed 'a connection that reads was lost'
    received=$(figure received)
    # The publisher closes in order when its input ends, and has then printed all that it received.
    : >"$out_dir/slow.end"
    wait "${other_pids[0]}" || fail 'the publisher failed'
    heard=$(grep -c '^text: ' "$out_dir/slow.published") || true
    for key in p50_us p99_us max_us; do note "$key" "$(figure age.$key)" 0; done
    for key in user tcp slab; do
        note "${key}_growth" "${!key} - ${early[0]}" 0
        note "${key}_peak" "${peak[$key]} - ${early[0]}" 0
        early=("${early[@]:1}")
    done
    for key in received out delivered dropped queued closed_slow; do note "$key" "${!key}" 0; done
    note took "$delivered - $received - $heard" 0
    expect "in == published"
    expect "out == delivered + dropped + queued"
    [[ $overflow == close ]] || expect "out == published * (readers + slow + 1)"
    expect "slow > 0 || received + heard == delivered && queued == 0"
    expect "received + heard <= (readers + 1) * published"
    expect "dropped > 0 || received + heard == (readers + 1) * published"
    before_out=$out
    if ((slow > 0)); then
        client_pid=${other_pids[1]} other_pids=() flood_name=stalled
        await_client || status=$?
        look
        lost=$(figure connections.lost)
        received=$((received + $(figure received)))
        flood_name=flood
        expect "lost == closed_slow && (status == 0 || lost > 0)"
        expect "out == before_out && out == delivered + dropped && queued == 0"
        expect "closed_slow > 0 ? delivered >= received + heard : delivered == received + heard"
    fi
    other_pids=()
    stop_server
}

needs_steadfast 'it reads /stats of steadfast'
((payload >= 17)) || usage_error '--payload needs 17 or more: a time is in it'
((stalled > 0 && readers > 0)) || usage_error 'that leaves no connection to stall, or none to read'
need getconf grep
if ((connections <= 15000)); then
    pin_apart
    server_flags+=(--reactors 1)
fi
build
run_rounds without with
print_heading "$per_s messages of $payload bytes a second for $seconds s to $readers that read; $stalled that do not; \
policy $overflow"
for case in without with; do
    echo "$case stalled receivers"
    for key in p50_us p99_us max_us; do print_spread "$case $key" 0 "age at those that read, ${key%_us}, us"; done
    for key in received out delivered dropped queued closed_slow; do print_spread "$case $key" 0 "$key"; done
    print_spread "$case took" 0 'messages in sockets that are not read'
    for key in growth peak; do
        print_spread "$case user_$key" 0 "memory, $key, KiB: server"
        print_spread "$case tcp_$key" 0 '  kernel, TCP buffers of the host'
        print_spread "$case slab_$key" 0 '  kernel, slab of the host'
    done
done
echo 'with against without'
for key in p50_us p99_us max_us; do print_quotient "with $key" "without $key" "age, ${key%_us}"; done
echo "for each stalled receiver, the difference of the medians, KiB (the server may queue 64, the kernel 128)"
for key in user_growth user_peak tcp_growth tcp_peak slab_growth; do
    print_row "$key" "$(calculate \
        "($(median_of ${samples["with $key"]}) - ($(median_of ${samples["without $key"]}))) / $stalled" 1)"
done
echo "all adds up, in all $((rounds * 2)) runs: see --help for what that is"
