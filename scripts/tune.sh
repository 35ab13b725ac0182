#!/usr/bin/env bash
# Reports what a host needs for many connections, and which limit a program has hit.
#
#     scripts/tune.sh N [FLAG ...]
#     scripts/tune.sh --watch PID|:PORT [--seconds N]
#     scripts/tune.sh --check [FILE]
#     scripts/tune.sh --shell
#
#   N                      builds Steadfast and runs `steadfast doctor --connections N` with these flags: what is
#                          available, what N connections need, how to set it and how to undo that
#   --watch PID            once a second, reads the network counters, descriptor tables, memory and CPU time of this
#   --watch :PORT          process, or of the one that listens on this port, and names the limit that is hit. Ends when
#                          the process does, at Ctrl-C, or after --seconds N. Exit code 0: no limit was hit; 1: one was
#   --check [FILE]         runs every block of scripts/TUNING.md and compares its output with the text below it
#   --shell                starts a shell in its own network namespace, to try the blocks without affecting the host
#
# STEADFAST=PROGRAM uses that program and builds none. scripts/TUNING.md explains each of the limits.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)

die() {
    printf 'tune.sh: %s\n' "$*" >&2
    exit 2
}

print_help() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

# need PROGRAM ...: fails with the names of all that are missing.
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

# Sets `apart` to a command prefix that runs a command in its own network namespace, with loopback up.
find_namespace() {
    local flags
    for flags in '--net' '--map-root-user --net'; do
        # Unquoted on purpose: it is a list of words.
        if unshare $flags true 2>/dev/null; then
            apart=(unshare $flags bash -c 'ip link set lo up && exec "$@"' bash)
            return
        fi
    done
    die 'cannot create a network namespace; run this as root, or allow user namespaces'
}

# ---- the guide, block by block

# Writes block K of the guide to K.sh, its expected output to K.text, and its line and heading to K.place.
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

# Prints why a block cannot run here, by its comments; prints nothing if it can.
obstacle() {
    local release required program
    release=$(uname -r)
    required=$(sed -n 's/^# Linux \([0-9.]*\) and newer$/\1/p' "$1")
    if [[ -n $required ]] && ! printf '%s\n' "$required" "${release%%[!0-9.]*}" | sort -CV; then
        echo "it needs Linux $required, this is $release"
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

# Succeeds if output matches a pattern line by line; runs of spaces count as one.
matches() {
    local -a lines patterns
    local at
    mapfile -t lines < <(sed 's/[[:space:]]\+/ /g; s/^ //; s/ $//; /^$/d' "$1")
    mapfile -t patterns < <(sed 's/[[:space:]]\+/ /g; s/^ //; s/ $//; /^$/d' "$2")
    ((${#lines[@]} == ${#patterns[@]})) || return 1
    for at in "${!patterns[@]}"; do
        # Unquoted on purpose: it is a pattern.
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
        # A block without expected output must exit with 0.
        if if [[ -e $block.text ]]; then matches "$block.out" "$block.text"; else ((status == 0)); fi; then
            passed=$((passed + 1))
            printf 'passed   %s\n' "$place"
        else
            failed=$((failed + 1))
            printf 'FAILED   %s (exit code %d); it printed\n' "$place" "$status"
            sed 's/^/    /' "$block.out"
            [[ ! -e $block.text ]] || { echo '  instead of'; sed 's/^/    /' "$block.text"; }
        fi
    done
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0 && passed > 0))
}

# ---- which limit is hit

# The counters of /proc/net/netstat that grow when a limit is hit, and what each means.
limits=(
    'ListenOverflows|a listen queue is full: raise net.core.somaxconn and the backlog of listen(2), or accept faster'
    'TCPReqQFullDrop|half-open connections fill a listener, and SYN cookies are off: net.ipv4.tcp_syncookies=1'
    'TCPReqQFullDoCookies|half-open connections fill a listener, which answers with SYN cookies: raise its backlog'
    'TCPTimeWaitOverflow|more sockets in TIME_WAIT than net.ipv4.tcp_max_tw_buckets: some were removed early'
    'TCPAbortOnMemory|connections were reset for lack of memory: too many orphans (net.ipv4.tcp_max_orphans), or net.ipv4.tcp_mem'
    'TCPMemoryPressures|queued data exceeded the second figure of net.ipv4.tcp_mem: buffers shrink'
    'TCPBacklogDrop|segments were dropped because a socket was busy: its receive buffer is small'
    'RcvPruned|received data was dropped because the receive buffer is full: net.ipv4.tcp_rmem or tcp_mem'
)
logged='[Pp]ossible SYN flooding|nf_conntrack: .*table full|out of memory -- consider tuning tcp_mem|too many orphaned'
logged+='|[Oo]ut of memory: Killed|oom-kill|file-max limit'

hit=0
report_limit() {
    hit=1
    printf 'LIMIT %s\n' "$*"
}

netstat_counters() {
    awk '$1 == "TcpExt:" { if (split(names, name) == 0) names = $0; else for (i = 2; i <= NF; i++) print name[i], $i }' \
        /proc/net/netstat
}

# Prints the number of descriptors in the fullest table of a process; each thread may have its own table.
fullest_table() {
    local count
    count=$(stat -c %s "/proc/$1"/task/*/fd 2>/dev/null | sort -n | tail -n 1) || true
    # Before Linux 6.2 the size of this folder is 0; then the entries of the first thread are counted.
    ((${count:-0} > 0)) || count=$(ls -U "/proc/$1/fd" 2>/dev/null | wc -l)
    echo "$count"
}

# Prints file NAME of the control group of a process, of either version; nothing if it is not visible.
group_file() {
    local pid=$1 controller=$2 path root
    path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
    root=/sys/fs/cgroup
    if [[ ! -e $root/cgroup.controllers ]]; then
        path=$(sed -n "s/^[0-9]*:[^:]*\b$controller\b[^:]*://p" "/proc/$pid/cgroup")
        root+=/$controller
    fi
    # In a container the path may be that of the host, which does not exist here.
    cat "$root$path/$3" 2>/dev/null || cat "$root/$3" 2>/dev/null || true
}

sum_of_dropped_packets() {
    local dropped sum=0
    while read -r _ dropped _; do
        sum=$((sum + 16#$dropped))
    done </proc/net/softnet_stat
    echo "$sum"
}

# Prints the number of sockets on the fullest route from one local address to one address and port, and the route.
fullest_route() {
    local low=$1 high=$2
    ss -Hant "sport ge :$low and sport le :$high" 2>/dev/null |
        awk '$1 != "LISTEN" { sub(/:[0-9]+$/, "", $4); count[$4 " to " $5]++ }
             END { for (route in count) if (count[route] > most) { most = count[route]; where = route } print most + 0, where }'
}

# Sets `now` to all counters that are compared between samples.
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

# Reports the counters that have grown since the previous sample.
compare() {
    local entry name grown memory='the control group is at its memory limit: caches are reclaimed, then processes are killed'
    for entry in "${limits[@]}" 'packets|the queue of a processor was full, packets were dropped: net.core.netdev_max_backlog' \
        "group_max|$memory" "group_failcnt|$memory" \
        'group_oom_kill|a process of the control group was killed for lack of memory' \
        'group_nr_throttled|the CPU quota of the control group (cpu.max) was used up'; do
        name=${entry%%|*}
        grown=$((${now[$name]:-0} - ${before[$name]:-0}))
        ((grown <= 0)) || report_limit "$grown times: ${entry#*|} [$name]"
    done
    [[ ${now[log]} == "${before[log]}" ]] || report_limit "the kernel says: ${now[log]}"
}

# Reports what is nearly full.
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
        report_limit "a descriptor table is full: $table of $limit: raise RLIMIT_NOFILE (prlimit --pid $pid --nofile=...)"
    fi
    # Divided first: by default it is the largest 64-bit number.
    ((open < most / 100 * 99)) || report_limit "files of the host: $open of $most: raise fs.file-max"
    if ((tcp + waiting >= high - low)); then
        read -r count where < <(fullest_route "$low" "$high")
        ((count * 100 < (high - low + 1) * 99)) ||
            report_limit "ports from $where: $count of $((high - low + 1)): more source addresses or destination ports," \
                'or a wider net.ipv4.ip_local_port_range'
    fi
    if [[ -r /proc/sys/net/netfilter/nf_conntrack_count ]]; then
        most_tracked=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
        count=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
        ((most_tracked == 0 || count * 100 < most_tracked * 99)) ||
            report_limit "connection tracking: $count of $most_tracked: raise net.netfilter.nf_conntrack_max, or notrack this traffic"
    fi
    # Only the host's network namespace has this file.
    if [[ -r /proc/sys/net/ipv4/tcp_max_orphans ]]; then
        ((orphans * 100 < $(cat /proc/sys/net/ipv4/tcp_max_orphans) * 99)) || report_limit "orphans: net.ipv4.tcp_max_orphans"
    fi
}

# Prints the process that listens on a port of this network namespace. `ss -p` is not enough: it reads only the descriptor
# table of the first thread.
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
        [[ -n $pid ]] || die "no process listens on port ${what#:}, or it belongs to another user: run this as root"
    elif [[ $what =~ ^[0-9]+$ ]]; then
        pid=$what
    else
        die "unknown argument '$what': expected a process id, or :PORT"
    fi
    [[ -r /proc/$pid/limits ]] || die "there is no process $pid, or it belongs to another user: run this as root"
    # /proc/net and /proc/sys/net show the network namespace of the reader.
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
    ((hit)) || echo 'no limit was hit'
    exit "$hit"
}

read_seconds() {
    [[ $1 == --seconds && $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "unknown argument '$1 $2': expected --seconds N"
}

case ${1:-} in
-h | --help) print_help ;;
--check) (($# <= 2)) || die '--check needs at most one file'; check "${@:2}" ;;
--shell) need ip unshare; find_namespace; exec "${apart[@]}" "${SHELL:-bash}" ;;
--watch)
    (($# == 2 || $# == 4)) || die 'expected --watch PID or --watch :PORT, and --seconds N'
    (($# == 2)) || read_seconds "$3" "$4"
    watch "$2" "${4:-}"
    ;;
'' | *[!0-9]* | 0*) die "unknown argument '${1:-}': expected a number of connections, --watch, --check, --shell or --help" ;;
*) doctor "$@" ;;
esac
