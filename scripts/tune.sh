#!/usr/bin/env bash
# What a host needs for many connections, and which wall a program has hit.
#
#     scripts/tune.sh N [FLAG ...]
#     scripts/tune.sh --watch PID|:PORT [--seconds N]
#     scripts/tune.sh --check [FILE]
#     scripts/tune.sh --shell
#
#   N                      builds Steadfast and runs `steadfast doctor --connections N` with these flags: what is there,
#                          what N connections need, how to set it and how to undo that
#   --watch PID            looks once a second at the counters of the network that this process is in, at its descriptor
#   --watch :PORT          tables, memory and processor time, or at those of the program that listens on this port; says in words
#                          which wall is hit. Ends when the process does, at Ctrl-C, or after --seconds N. Exit code 0:
#                          none was hit; 1: one was
#   --check [FILE]         runs every block of scripts/TUNING.md and compares what it prints with what stands below it
#   --shell                a shell in a network of its own, where the blocks may be tried and nothing touches the host
#
# STEADFAST=PROGRAM takes that one and builds none. scripts/TUNING.md says what is behind each of the limits.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)

die() {
    printf 'tune.sh: %s\n' "$*" >&2
    exit 2
}

print_help() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

# need PROGRAM ...: names all that are missing at once.
need() {
    local program missing=()
    for program; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    ((${#missing[@]} == 0)) || die "needs ${missing[*]} (Debian: iproute2, python3, util-linux)"
}

# ---- the doctor

doctor() {
    local program=${STEADFAST:-}
    if [[ -z $program ]]; then
        cd "$here/.."
        cargo build --release --quiet
        program=${CARGO_TARGET_DIR:-target}/release/steadfast
    fi
    exec "$program" doctor --connections "$@"
}

# ---- a network of its own

# Leaves in `apart` the command that runs another one in a network namespace of its own, with its loopback up.
find_namespace() {
    local flags
    for flags in '--net' '--map-root-user --net'; do
        # Unquoted on purpose: a list of words.
        if unshare $flags true 2>/dev/null; then
            apart=(unshare $flags bash -c 'ip link set lo up && exec "$@"' bash)
            return
        fi
    done
    die 'may make no network namespace here: run it as root, or where users may have namespaces of their own'
}

# ---- the guide, block by block

# Writes block K of the guide as K.sh, what it has to print as K.text, and where it stands as K.place.
extract() {
    awk -v to="$2" '
        /^#/ && !fence { heading = $0; sub(/^#+ */, "", heading) }
        /^```/ {
            if (fence) { fence = ""; next }
            fence = substr($0, 4)
            if (fence == "sh") { file = to "/" ++count ".sh"; print NR ": " heading >(to "/" count ".place") }
            else if (fence == "text" && count) file = to "/" count ".text"
            else file = ""
            if (file) printf "" >file
            next
        }
        fence && file { print >file }
    ' "$1"
}

# Why a block cannot be run here, as far as its comments tell; says nothing if it can.
obstacle() {
    local release wanted program
    release=$(uname -r)
    wanted=$(sed -n 's/^# Linux \([0-9.]*\) and newer$/\1/p' "$1")
    if [[ -n $wanted ]] && ! printf '%s\n' "$wanted" "${release%%[!0-9.]*}" | sort -CV; then
        echo "it needs Linux $wanted, this is $release"
        return
    fi
    for program in $(sed -n 's/^# needs \(.*\)$/\1/p' "$1"); do
        command -v "$program" >/dev/null || { echo "it needs $program"; return; }
    done
    if grep -q '/proc/sys/net.*"w"\|>/proc/sys/' "$1" && [[ $(findmnt -no OPTIONS -T /proc/sys 2>/dev/null) == ro* ]]; then
        echo '/proc/sys is read-only here, as in a container'
    elif grep -qx '# on the host' "$1" && [[ ! -e /proc/sys/net/ipv4/tcp_mem ]]; then
        echo 'this is not the network of the host, but that of a container'
    fi
}

# Whether lines of output are those of a pattern, line for line; spaces in a row count as one.
is_as_said() {
    local -a lines patterns
    local at
    mapfile -t lines < <(sed 's/[[:space:]]\+/ /g; s/^ //; s/ $//; /^$/d' "$1")
    mapfile -t patterns < <(sed 's/[[:space:]]\+/ /g; s/^ //; s/ $//; /^$/d' "$2")
    ((${#lines[@]} == ${#patterns[@]})) || return 1
    for at in "${!patterns[@]}"; do
        # Unquoted on purpose: a pattern.
        [[ ${lines[at]} == ${patterns[at]} ]] || return 1
    done
}

check() {
    local guide=${1:-$here/TUNING.md} block place why status passed=0 failed=0 skipped=0
    local -a runner
    need awk ip nstat python3 ss timeout unshare
    [[ -r $guide ]] || die "cannot read $guide"
    find_namespace
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    extract "$guide" "$scratch"
    for block in $(cd "$scratch" && ls -- *.sh 2>/dev/null | sort -n); do
        block=$scratch/${block%.sh}
        place=$(<"$block.place")
        why=$(obstacle "$block.sh")
        if [[ -n $why ]]; then
            skipped=$((skipped + 1))
            printf 'skipped  %s (%s)\n' "$place" "$why"
            continue
        fi
        runner=("${apart[@]}")
        ! grep -qx '# on the host' "$block.sh" || runner=()
        status=0
        timeout --kill-after=5 60 "${runner[@]}" bash "$block.sh" >"$block.out" 2>&1 </dev/null || status=$?
        # What is shown to fail prints that it did; where nothing is said, it has to end well.
        if if [[ -e $block.text ]]; then is_as_said "$block.out" "$block.text"; else ((status == 0)); fi; then
            passed=$((passed + 1))
            printf 'passed   %s\n' "$place"
        else
            failed=$((failed + 1))
            printf 'FAILED   %s (exit code %d); it printed\n' "$place" "$status"
            sed 's/^/    /' "$block.out"
            [[ ! -e $block.text ]] || { echo '  in place of'; sed 's/^/    /' "$block.text"; }
        fi
    done
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0 && passed > 0))
}

# ---- which wall it is

# What grows in /proc/net/netstat when a wall is hit, and what that means.
walls=(
    'ListenOverflows|a listen queue is full: raise net.core.somaxconn and the backlog of listen(2), or accept faster'
    'TCPReqQFullDrop|half-open connections fill a listener, and SYN cookies are off: net.ipv4.tcp_syncookies=1'
    'TCPReqQFullDoCookies|half-open connections fill a listener, which answers with SYN cookies: raise its backlog'
    'TCPTimeWaitOverflow|more in TIME_WAIT than net.ipv4.tcp_max_tw_buckets: some were forgotten early'
    'TCPAbortOnMemory|reset for want of memory: too many orphans (net.ipv4.tcp_max_orphans), or net.ipv4.tcp_mem'
    'TCPMemoryPressures|what is queued came over the second figure of net.ipv4.tcp_mem: buffers shrink'
    'TCPBacklogDrop|segments were dropped because a socket was busy: its receive buffer is small'
    'RcvPruned|what had arrived was thrown away for want of receive buffer: net.ipv4.tcp_rmem or tcp_mem'
)
logged='[Pp]ossible SYN flooding|nf_conntrack: .*table full|out of memory -- consider tuning tcp_mem|too many orphaned'
logged+='|[Oo]ut of memory: Killed|oom-kill|file-max limit'

hit=0
wall() {
    hit=1
    printf 'WALL %s\n' "$*"
}

netstat_counters() {
    awk '$1 == "TcpExt:" { if (split(names, name) == 0) names = $0; else for (i = 2; i <= NF; i++) print name[i], $i }' \
        /proc/net/netstat
}

# Descriptors of the fullest table of the process: each thread may have one of its own.
fullest_table() {
    local count
    count=$(stat -c %s "/proc/$1"/task/*/fd 2>/dev/null | sort -n | tail -n 1) || true
    # Before Linux 6.2 the size of this folder is 0; then the entries of the first thread are counted.
    ((${count:-0} > 0)) || count=$(ls -U "/proc/$1/fd" 2>/dev/null | wc -l)
    echo "$count"
}

# File NAME of the control group of a process, of either version; nothing where it cannot be seen.
group_file() {
    local pid=$1 controller=$2 path root
    path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
    root=/sys/fs/cgroup
    if [[ ! -e $root/cgroup.controllers ]]; then
        path=$(sed -n "s/^[0-9]*:[^:]*\b$controller\b[^:]*://p" "/proc/$pid/cgroup")
        root+=/$controller
    fi
    # In a container the path may be that of the host, which is not there.
    cat "$root$path/$3" 2>/dev/null || cat "$root/$3" 2>/dev/null || true
}

sum_of_dropped_packets() {
    local dropped sum=0
    while read -r _ dropped _; do
        sum=$((sum + 16#$dropped))
    done </proc/net/softnet_stat
    echo "$sum"
}

# Sockets of the fullest route from one address of this network to one address and port, if ports may be the wall.
fullest_route() {
    local low=$1 high=$2
    ss -Hant "sport ge :$low and sport le :$high" 2>/dev/null |
        awk '$1 != "LISTEN" { sub(/:[0-9]+$/, "", $4); count[$4 " to " $5]++ }
             END { for (route in count) if (count[route] > most) { most = count[route]; where = route } print most + 0, where }'
}

# Sets `now` to all that is compared from sample to sample.
sample() {
    local pid=$1 name value
    while read -r name value; do
        now[$name]=$value
    done < <(netstat_counters)
    now[packets]=$(sum_of_dropped_packets)
    while read -r name value; do
        now[group_$name]=$value
    done < <(group_file "$pid" memory memory.events; echo "failcnt $(group_file "$pid" memory memory.failcnt)"
             group_file "$pid" cpu cpu.stat)
    now[log]=$(dmesg 2>/dev/null | grep -E "$logged" | tail -n 1) || true
}

# What has grown since the sample before.
compare() {
    local entry name grown memory='the control group is at its memory limit: first its caches go, then its processes'
    for entry in "${walls[@]}" 'packets|the queue of a processor was full, packets were dropped: net.core.netdev_max_backlog' \
        "group_max|$memory" "group_failcnt|$memory" \
        'group_oom_kill|a process of the control group was killed for want of memory' \
        'group_nr_throttled|the processor quota of the control group (cpu.max) was used up'; do
        name=${entry%%|*}
        grown=$((${now[$name]:-0} - ${before[$name]:-0}))
        ((grown <= 0)) || wall "$grown times: ${entry#*|} [$name]"
    done
    [[ ${now[log]} == "${before[log]}" ]] || wall "the kernel says: ${now[log]}"
}

# What is nearly full.
levels() {
    local pid=$1 limit table open most most_tracked low high count='' where tcp orphans waiting pages
    limit=$(awk '/^Max open files/ { print $4 }' "/proc/$pid/limits" 2>/dev/null) || true
    table=$(fullest_table "$pid")
    read -r open _ most </proc/sys/fs/file-nr
    read -r low high </proc/sys/net/ipv4/ip_local_port_range
    read -r tcp orphans waiting pages < <(awk '$1 == "TCP:" { print $3, $5, $7, $11 }' /proc/net/sockstat)
    printf '%(%T)T %d TCP sockets, %d orphans, %d in TIME_WAIT, %d pages queued; %d of %s descriptors, %d of %s files\n' \
        -1 "$tcp" "$orphans" "$waiting" "$pages" "$table" "${limit:-?}" "$open" "$most"
    if [[ $limit =~ ^[0-9]+$ ]] && ((table * 100 >= limit * 99)); then
        wall "a descriptor table is full: $table of $limit: raise RLIMIT_NOFILE (prlimit --pid $pid --nofile=...)"
    fi
    # Divided first: by default it is the largest number there is.
    ((open < most / 100 * 99)) || wall "files of the host: $open of $most: raise fs.file-max"
    if ((tcp + waiting >= high - low)); then
        read -r count where < <(fullest_route "$low" "$high")
        ((count * 100 < (high - low + 1) * 99)) ||
            wall "ports from $where: $count of $((high - low + 1)): more source addresses or destination ports," \
                'or a wider net.ipv4.ip_local_port_range'
    fi
    if [[ -r /proc/sys/net/netfilter/nf_conntrack_count ]]; then
        most_tracked=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
        count=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
        ((most_tracked == 0 || count * 100 < most_tracked * 99)) ||
            wall "connection tracking: $count of $most_tracked: raise net.netfilter.nf_conntrack_max, or notrack this traffic"
    fi
    # Their own figures stand in the network of the host alone.
    if [[ -r /proc/sys/net/ipv4/tcp_max_orphans ]]; then
        ((orphans * 100 < $(cat /proc/sys/net/ipv4/tcp_max_orphans) * 99)) || wall "orphans: net.ipv4.tcp_max_orphans"
    fi
}

# The process that listens on a port of this network. `ss -p` does not do: of each process it sees one table alone, that of
# the first thread.
listener_of() {
    local inode
    inode=$(ss -Hltne "sport = :$1" | sed -n 's/.* ino:\([0-9]*\).*/\1/p' | head -n 1)
    [[ -n $inode ]] || return 0
    find /proc/[0-9]*/task/*/fd -maxdepth 1 -lname "socket:\[$inode\]" -print -quit 2>/dev/null | cut -d / -f 3 || true
}

watch() {
    local what=$1 seconds=$2 pid left
    local -A before now
    if [[ $what =~ ^:[0-9]+$ ]]; then
        pid=$(listener_of "${what#:}")
        [[ -n $pid ]] || die "nobody whom I may see listens on port ${what#:}"
    elif [[ $what =~ ^[0-9]+$ ]]; then
        pid=$what
    else
        die "what is '$what'? expected a process id, or :PORT"
    fi
    [[ -r /proc/$pid/limits ]] || die "there is no process $pid, or it is another user's: run it as root"
    # All that is below /proc/net and /proc/sys/net is of the network that its reader is in.
    if [[ $(readlink "/proc/$pid/ns/net") != "$(readlink /proc/self/ns/net)" ]]; then
        exec nsenter "--net=/proc/$pid/ns/net" bash "$0" --watch "$pid" ${seconds:+--seconds "$seconds"}
    fi
    trap 'exit "$hit"' INT TERM
    sample "$pid"
    echo "watching $pid ($(tr '\0\n' '  ' <"/proc/$pid/cmdline" | cut -c 1-60))"
    for ((left = ${seconds:--1}; left != 0; left--)); do
        sleep 1
        before=()
        for name in "${!now[@]}"; do before[$name]=${now[$name]}; done
        sample "$pid"
        [[ -e /proc/$pid/limits ]] || break
        levels "$pid"
        compare
    done
    ((hit)) || echo 'no wall was hit'
    exit "$hit"
}

read_seconds() {
    [[ $1 == --seconds && $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "what is '$1 $2'? expected --seconds N"
}

case ${1:-} in
-h | --help) print_help ;;
--check) (($# <= 2)) || die '--check wants one file at most'; check "${@:2}" ;;
--shell) need ip unshare; find_namespace; exec "${apart[@]}" "${SHELL:-bash}" ;;
--watch)
    (($# == 2 || $# == 4)) || die 'expected --watch PID or --watch :PORT, and --seconds N'
    (($# == 2)) || read_seconds "$3" "$4"
    watch "$2" "${4:-}"
    ;;
'' | *[!0-9]* | 0*) die "what is '${1:-}'? expected a number of connections, --watch, --check, --shell or --help" ;;
*) doctor "$@" ;;
esac
