#!/usr/bin/env bash
# Runs one flood from several hosts: all start at the same time, and their reports are merged.
#
#     scripts/shards.sh [--json FILE] [--html FILE] [--csv FILE] [--assert ASSERTION] [--reports FOLDER]
#         [--start-in SECONDS] HOST ... -- URL [FLAG ...]
#
#   HOST ...               hosts that run a shard each, in this order; as for ssh(1)
#   URL [FLAG ...]         arguments of `steadfast flood`: --connections is the number of all shards together, and the
#                          addresses of --source are distributed in the order of the hosts
#   --json, --html, --csv FILE, --assert ASSERTION
#                          for the merged report, as for `steadfast report merge`
#   --reports FOLDER       keeps the reports of the shards there, as shard-1.json and so on
#   --start-in SECONDS     time until all of them start (15); their clocks must agree, e.g. by NTP
#
# Needs GNU parallel and ssh here, and the program `steadfast` on the path here and on each host; it is not copied. The
# floods' messages are printed to stderr with the host in front, the merged table to stdout. Ctrl-C, or the end of this
# script for any reason, closes what the floods have opened. Exit code: the largest of all shards, as for a flood; 2 if the
# arguments are wrong, or if a shard wrote no report, which ends the others.
#
# STEADFAST=PROGRAM replaces `steadfast`, here and on the hosts. SSH=COMMAND replaces `ssh -o BatchMode=yes`; it is called
# with a host and a command line for a shell there.
set -euo pipefail

die() {
    printf 'shards.sh: %s\n' "$*" >&2
    exit 2
}

merged=() start_in_s=15 hosts=() json='' reports=''

while (($#)) && [[ $1 != -- ]]; do
    case $1 in
    --json | --html | --csv | --assert)
        (($# > 1)) || die "$1 needs an argument"
        [[ $1 != --json ]] || json=$2
        merged+=("$1" "$2")
        shift 2
        ;;
    --reports)
        (($# > 1)) && mkdir -p -- "$2" || die '--reports needs a writable folder'
        reports=$2
        shift 2
        ;;
    --start-in)
        [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] || die "--start-in needs seconds, not '${2:-}'"
        start_in_s=$2
        shift 2
        ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) die "unknown argument '$1': flags of the flood go after --, and --help lists those that go before it" ;;
    *) hosts+=("$1"); shift ;;
    esac
done
(($# > 1)) || die 'expected: scripts/shards.sh HOST ... -- URL [FLAG ...]'
((${#hosts[@]} > 0)) || die 'no host is named before --'
shift
for flag; do
    case ${flag%%=*} in
    --shard | --start-at) die "$flag: this script sets it" ;;
    --json | --html | --csv) die "$flag: move it before --, where it is for the merged report" ;;
    esac
done
parallel --version 2>/dev/null | grep -q '^GNU parallel' || die 'needs GNU parallel (Debian: apt-get install parallel)'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The command for a host, without the number of its shard. The flood's messages go to stderr, since stdout carries its
# report. When the input ends, the flood is ended: it closes its connections and reports.
flood=$(printf '%q ' "${STEADFAST:-steadfast}" flood "$@" --start-at $(($(date +%s) + start_in_s)))
export flood shards=${#hosts[@]} scratch script=$$

on_host() {
    local host=$1 shard=$2 status=0
    local remote="report=\$(mktemp) || exit
        $flood --shard $shard/$shards --json \"\$report\" >&2 </dev/null & flood=\$!
        exec 3<&0
        (read -r _ <&3; kill \$flood) 2>/dev/null & watcher=\$!
        wait \$flood; status=\$?
        kill \$watcher 2>/dev/null
        cat \"\$report\"; rm -f \"\$report\"
        exit \$status"
    # Unquoted on purpose: it is a list of words.
    ${SSH:-ssh -o BatchMode=yes} "$host" "$remote" <&"$input" >"$scratch/$shard.json" || status=$?
    echo "$status" >"$scratch/$shard.status"
    [[ ! -s $scratch/$shard.json ]] || return 0
    # Without its report nothing can be merged, so the others are ended too. The first shard to fail is named.
    (set -o noclobber; echo "shard $shard on $host ended with $status and wrote no report" >"$scratch/failed") 2>/dev/null
    # Not SIGHUP: under nohup(1) it is ignored, and bash cannot trap what was ignored when it began.
    kill -USR1 "$script"
}
export -f on_host

# The input of the floods ends when this script closes the writing end of the pipe.
mkfifo "$scratch/hold"
exec {hold}<>"$scratch/hold" {input}<"$scratch/hold"
export input
trap 'exec {hold}>&-' INT TERM HUP USR1

# In its own session, so that Ctrl-C reaches only this script, which waits for the reports.
SHELL=$BASH setsid parallel --will-cite --jobs 0 --line-buffer --tagstring '{1}' on_host '{1}' '{#}' ::: "${hosts[@]}" \
    </dev/null >&2 {hold}>&- &
running=$!
while kill -0 "$running" 2>/dev/null; do
    wait "$running" || true
done

[[ ! -e $scratch/failed ]] || die "$(<"$scratch/failed"), so nothing is merged"
worst=0 files=()
for ((shard = 1; shard <= shards; shard++)); do
    status=$(<"$scratch/$shard.status")
    ((status <= worst)) || worst=$status
    files+=("$scratch/$shard.json")
    [[ -z $reports ]] || cp "$scratch/$shard.json" "$reports/shard-$shard.json"
done
[[ -n $json ]] || merged+=(--json "$scratch/merged")
"${STEADFAST:-steadfast}" report merge "${files[@]}" "${merged[@]}" || { status=$?; ((status <= worst)) || worst=$status; }
exit "$worst"
