#!/usr/bin/env bash
# What the doctor forecasts against what then happens: six limits, each set up for real and run into. 3 min.
#
#     bench/walls.sh [WALL ...]
#
#   WALL   nofile, ports, memory, watches, max-connections, conntrack (all of them)
#
# The doctor is asked under each limit how many connections fit as both sides, and has to name it as the first one. Then
# `steadfast serve` and `steadfast flood` run into it, with at most 50,000 connections. Where excess connections are refused one
# by one, a tenth more is asked for, and those that are alive at the end are counted; else the largest number that is held is
# found by bisection. Fails if a forecast is more than 2 % off, or the doctor takes 2 s or longer.
#
# It needs root. Ports and conntrack are set up in network namespaces of its own, memory in a control group of its own.
# fs.epoll.max_user_watches is 90,000 for some seconds, with a user of its own (nobody), so that it meets no other user;
# net.netfilter.nf_conntrack_max binds only where something is hooked to it. Both are put back as they were.
# STEADFAST=PATH takes another binary than the release build of this folder.

source "$(dirname "$0")/common.sh"
read_flags '=nofile|ports|memory|watches|max-connections|conntrack' -- "$@"
((${#words[@]})) || words=(nofile ports memory watches max-connections conntrack)

scratch='' group='' holder='' old_watches='' old_conntrack=''
failures=0

drop_server() {
    end_process "$server_pid" 2>/dev/null || true
    server_pid=
}

# Puts back what one wall has changed.
restore() {
    local status=$?
    [[ -z $server_pid ]] || drop_server
    [[ -z $old_watches ]] || sysctl -qw "fs.epoll.max_user_watches=$old_watches"
    [[ -z $old_conntrack ]] || sysctl -qw "net.netfilter.nf_conntrack_max=$old_conntrack"
    leave_namespace
    # A group can go when the last of its processes has.
    [[ -z $group ]] || for _ in {1..50}; do rmdir "$group" 2>/dev/null && break; sleep 0.1; done
    old_watches='' old_conntrack='' group=''
    return "$status"
}

end_all() {
    local status=$?
    restore || true
    [[ -z $scratch ]] || rm -rf "$scratch"
    exit "$status"
}
trap end_all EXIT

leave_namespace() {
    [[ -z $holder ]] || { kill "$holder"; wait "$holder" || true; } 2>/dev/null
    holder=
}

# A network namespace of its own, with loopback, and the control group if there is one.
enter_namespace() {
    leave_namespace
    unshare --net sleep 1000 &
    holder=$!
    # unshare(1) becomes sleep(1) when it has left the namespace.
    until [[ $(<"/proc/$holder/comm") == sleep ]]; do sleep 0.05; done
    seed=(nsenter --target "$holder" --net)
    "${seed[@]}" ip link set lo up
    [[ -z $group ]] || seed+=(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group")
}

# ask_doctor WALL: leaves the forecast, and fails if another wall comes first or it takes too long.
ask_doctor() {
    local wall=$1 began=${EPOCHREALTIME/./} took text first
    text=$("${seed[@]}" "$steadfast" doctor --connections 1000 --json "${doctor_flags[@]}" 2>>"$scratch/doctor.err" | tr -d ' \n') || true
    took=$(((${EPOCHREALTIME/./} - began) / 1000))
    forecast=$(sed -nE 's/.*"both":\{"connections":([0-9]+),.*/\1/p' <<<"$text")
    first=$(sed -nE 's/.*"both":\{"connections":[0-9]+,"wall":"?([a-z_]+).*/\1/p' <<<"$text")
    [[ -n $forecast ]] || fail "the doctor forecasts nothing: $text"
    [[ $first == "$wall" ]] || fail "the doctor says that $first comes first (at $forecast), and not $wall"
    ((took < 2000)) || fail "the doctor took $took ms"
    took_ms=$took
}

# run_into CONNECTIONS: a server and a flood; leaves how many were alive at the end of the hold. The status is the flood's.
run_into() {
    local connections=$1 status=0 port said=$scratch/serve.out report=$scratch/flood.json
    held=0
    # A new namespace, too: sockets in TIME_WAIT of a run before would have the new ones find their ports' records made, and
    # charged to no group.
    [[ -z $group ]] || enter_namespace
    : >"$said"
    : >"$report"
    chmod 666 "$report"
    "${seed[@]}" "$steadfast" serve --listen 127.0.0.1:0 --max-connections "${server_max:-$connections}" \
        >>"$said" 2>>"$scratch/serve.err" &
    server_pid=$!
    await_text ^ready "$said" "$server_pid" || { drop_server; return 1; }
    port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$said")
    "${seed[@]}" "$steadfast" flood "ws://127.0.0.1:$port/echo" --connections "$connections" --server-pid "$server_pid" \
        --json "$report" "${flood_flags[@]}" >>"$scratch/flood.out" 2>>"$scratch/flood.err" || status=$?
    held=$(out_dir=$scratch figure connections.held)
    held=${held:-0}
    drop_server
    return "$status"
}

# The largest number that is held, to half a per cent of the forecast.
bisect() {
    local step=$((forecast / 200 + 1)) holds=0 fails=0 middle=$forecast
    while ((middle > 0 && (holds == 0 || fails == 0))); do
        if run_into "$middle"; then holds=$middle; else fails=$middle; fi
        if ((fails == 0)); then middle=$((holds + 4 * step)); else middle=$((fails - 4 * step)); fi
    done
    while ((fails - holds > step)); do
        middle=$(((holds + fails) / 2))
        if run_into "$middle"; then holds=$middle; else fails=$middle; fi
    done
    held=$holds
}

set_up() {
    local dir
    seed=() doctor_flags=() flood_flags=() server_max=
    case $1 in
    nofile)
        # So small that the tables run out: each holds the wake-ups of all, so more of them leave each less room.
        seed=(bash -c 'ulimit -n 200 && exec "$@"' bash)
        ;;
    ports)
        enter_namespace
        "${seed[@]}" sysctl -qw net.ipv4.ip_local_port_range='30000 39999'
        # The flood refuses what is beyond its ports, so that its own count of them is what is run into.
        "${seed[@]}" sysctl -qw net.ipv4.ip_local_reserved_ports='31000-32999'
        doctor_flags=(--sources 1) flood_flags=(--source 127.0.0.1)
        ;;
    memory)
        dir=/sys/fs/cgroup
        [[ ! -d $dir/memory ]] || dir=$dir/memory
        group=$dir/steadfast-walls.$$
        mkdir "$group"
        if [[ -e $group/memory.limit_in_bytes ]]; then
            echo $((100 << 20)) >"$group/memory.limit_in_bytes"
        elif [[ -e $group/memory.max ]]; then
            echo $((100 << 20)) >"$group/memory.max"
            echo 0 >"$group/memory.swap.max" 2>/dev/null || true
        else
            fail "no control group for memory can be made in $dir"
        fi
        enter_namespace
        ;;
    watches)
        old_watches=$(sysctl -n fs.epoll.max_user_watches)
        sysctl -qw fs.epoll.max_user_watches=90000
        seed=(setpriv --reuid 65534 --regid 65534 --clear-groups)
        ;;
    max-connections)
        server_max=5000
        doctor_flags=(--max-connections 5000) flood_flags=(--connect-timeout-s 3)
        ;;
    conntrack)
        enter_namespace
        "${seed[@]}" nft 'table inet steadfast { chain input { type filter hook input priority 0; ct state invalid counter; }; }'
        # The limit is the first namespace's, and holds for each one apart.
        old_conntrack=$(sysctl -n net.netfilter.nf_conntrack_max)
        sysctl -qw net.netfilter.nf_conntrack_max=20000
        flood_flags=(--connect-timeout-s 3 --in-flight 1000)
        ;;
    esac
}

# The doctor's own connections are tracked for ten seconds after their reset, and counted until the kernel comes by.
await_forgotten() {
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        (($("${seed[@]}" cat /proc/sys/net/netfilter/nf_conntrack_count) > 20)) || return 0
        sleep 1
    done
    fail 'conntrack does not forget the connections that the doctor has closed'
}

# What the doctor calls them, where that differs.
declare -A names=([memory]=group_memory [watches]=epoll_watches [max-connections]=max_connections)

try_wall() {
    local wall=$1 off verdict=ok
    set_up "$wall"
    ask_doctor "${names[$wall]:-$wall}"
    [[ $wall != conntrack ]] || await_forgotten
    # In braces, so that what bash says of processes that the kernel has killed goes to the file too.
    {
        case $wall in
        nofile | ports | memory) bisect ;;
        *) run_into $((forecast * 11 / 10)) || true ;;
        esac
    } 2>>"$scratch/bash.err"
    restore
    off=$(calculate "100 * ($forecast - $held) / ($held > 0 ? $held : 1)" 2)
    is_true "$off <= 2 && $off >= -2" || { verdict='MORE THAN 2 %'; failures=$((failures + 1)); }
    printf '%-16s %10d %10d %8s %%  %6d ms  %s\n' "$wall" "$forecast" "$held" "$off" "$took_ms" "$verdict"
}

needs_steadfast 'it measures the doctor'
((EUID == 0)) || fail 'these limits are set up by root'
need sysctl nsenter unshare setpriv ip nft
[[ -n ${STEADFAST:-} ]] || build
scratch=$(mktemp -d)
chmod 755 "$scratch"
# Where any user may run it.
cp "${STEADFAST:-$steadfast}" "$scratch/steadfast"
steadfast=$scratch/steadfast
printf '%-16s %10s %10s %10s  %9s\n' wall forecast held off doctor
for wall in "${words[@]}"; do try_wall "$wall"; done
((failures == 0))
