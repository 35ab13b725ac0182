#!/usr/bin/env bash
# What keep-alive pings and sweeps cost while many connections are idle, and what they leave for other work. Over 2 min.
#
#     bench/pings.sh [--connections N] [--hold SECONDS] [--without] [--binary FILE]
#
#   --connections N   (100000)
#   --hold SECONDS    how long the connections are silent (120)
#   --without         the server sends no pings
#   --binary FILE     measures another build of the server (the client stays this one)
#
# Opens the connections, has each answered, holds them in silence, asks each whether it is alive, and closes all. Prints the
# pings of each second of the silence (the most in any ten seconds over their mean), the processor time of the server in it,
# and how long each phase took. A run with pings and one with --without make a pair.

source "$(dirname "$0")/common.sh"
read_flags connections=100000 hold=120 without binary= -- "$@"

# A line: the time, pings sent, connections opened, what peers did otherwise (in a silence they only answer pings), ended
# connections, and seconds on a processor, since the ticks of /proc/PID/stat miss work that is shorter than one.
sample() {
    local stats name
    stats=$(read_stats) || return 0
    printf '%s' "$EPOCHREALTIME"
    for name in pings_out upgraded messages_in pings_in ended; do printf ' %s' "$(counter "$name" "$stats")"; done
    awk '{ sum += $1 } END { printf " %.9f\n", sum / 1e9 }' "/proc/$server_pid/task/"*/schedstat
}

needs_steadfast 'use --binary'
build
server_flags=()
[[ -z $without ]] || server_flags=(--ping-interval-s 86400 --idle-timeout-s 172800)
flood=$steadfast steadfast=${binary:-$steadfast}
start_server steadfast $((connections + 1000))
begin_flood /echo --connections "$connections" --hold "$hold" --trickle 0 --server-pid "$server_pid"
while kill -0 "$client_pid" 2>/dev/null; do
    sample
    sleep 1
done >"$out_dir/pings.samples"
await_client || flood_failed 'not all connections completed the scenario'
stop_server
# The silence: all are open, and no message, ping or end of a connection comes but those of the questions above. Its first
# and last second are left out. The windows of ten seconds begin with the first pings.
awk -v connections="$connections" '
    NR > 1 && was[3] >= connections && $3 == was[3] && $4 == was[4] && $5 == was[5] && $6 - was[6] <= 2 {
        step[++count] = $1 - was[1]; pings[count] = $2 - was[2]; cpu[count] = $7 - was[7]
    }
    { split($0, was, " ") }
    END {
        for (i = 2; i < count; i++) {
            seconds += step[i]; spent += cpu[i]
            if (!first && pings[i] > connections / 1000) first = i
            if (first) { due += step[i]; sent += pings[i] }
        }
        printf "%d connections, %.0f seconds of silence\n", connections, seconds
        if (seconds > 0) printf "  server, processor time in the silence, s each second: %.3f\n", spent / seconds
        if (!first) exit
        for (i = first; i + 9 < count; i++) {
            in_ten = of_ten = 0
            for (j = i; j < i + 10; j++) { in_ten += pings[j]; of_ten += step[j] }
            if (in_ten / of_ten > most) most = in_ten / of_ten
        }
        printf "  pings a second, from the first on: %.0f; the most in ten seconds %.0f, %.2f of that\n", \
            sent / due, most, most * due / sent
    }' "$out_dir/pings.samples"
figures phases | awk '
    $1 ~ /^phases\.[0-9]+\.name$/ { name = $2 }
    $1 ~ /^phases\.[0-9]+\.seconds$/ { printf "  %s, s: %s\n", name, $2 }'
