#!/usr/bin/env bash
# One flood from several hosts: all start at one time, and their reports become one.
#
#     scripts/shards.sh [--json FILE] [--html FILE] [--csv FILE] [--assert ASSERTION] [--reports FOLDER]
#         [--start-in SECONDS] HOST ... -- URL [FLAG ...]
#
#   HOST ...               where the shards run, one each, the first of them on the first host; what ssh(1) takes
#   URL [FLAG ...]         what `steadfast flood` is called with: --connections is the number of all shards together, and
#                          the addresses of --source are shared out in the order of the hosts
#   --json, --html, --csv FILE, --assert ASSERTION
#                          are for the merged report, as `steadfast report merge` takes them
#   --reports FOLDER       keeps those of the shards there, as shard-1.json and so on
#   --start-in SECONDS     how long from now all of them start (15); their clocks have to agree, as with NTP
#
# Needs GNU parallel and ssh here, and the program `steadfast` on the path here and on each host; none is copied there.
# What a flood says comes on stderr with its host in front, the merged table on stdout. Ctrl-C, or the end of this script
# by whatever cause, closes what the floods have opened. Exit code: the worst one of all shards, as that of a flood; 2 if
# what was asked cannot be done, or one of them gave no report, which ends the others.
#
# STEADFAST=PROGRAM is called in place of `steadfast`, here and on the hosts. SSH=COMMAND is called in place of
# `ssh -o BatchMode=yes`, with a host and a command line for a shell there.
set -euo pipefail

die() {
    printf 'shards.sh: %s\n' "$*" >&2
    exit 2
}

merged=() start_in_s=15 hosts=() json='' reports=''

while (($#)) && [[ $1 != -- ]]; do
    case $1 in
    --json | --html | --csv | --assert)
        (($# > 1)) || die "$1 wants something behind it"
        [[ $1 != --json ]] || json=$2
        merged+=("$1" "$2")
        shift 2
        ;;
    --reports)
        (($# > 1)) && mkdir -p -- "$2" || die '--reports wants a folder that can be written'
        reports=$2
        shift 2
        ;;
    --start-in)
        [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] || die "--start-in wants seconds, not '${2:-}'"
        start_in_s=$2
        shift 2
        ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    -*) die "what is '$1'? flags of the flood stand behind --, and --help tells which are right in front of it" ;;
    *) hosts+=("$1"); shift ;;
    esac
done
(($# > 1)) || die 'expected: scripts/shards.sh HOST ... -- URL [FLAG ...]'
((${#hosts[@]} > 0)) || die 'no host stands in front of --'
shift
for flag; do
    case ${flag%%=*} in
    --shard | --start-at) die "$flag: this script sets that itself" ;;
    --json | --html | --csv) die "$flag: in front of --, it is for the merged report" ;;
    esac
done
parallel --version 2>/dev/null | grep -q '^GNU parallel' || die 'needs GNU parallel (Debian: apt-get install parallel)'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What a host is asked to run, but for the number of its shard. The flood's words go to stderr, since stdout has its
# report. When the input ends, so does the flood: it closes what it has opened, and reports.
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
    # Unquoted on purpose: a list of words.
    ${SSH:-ssh -o BatchMode=yes} "$host" "$remote" <&"$input" >"$scratch/$shard.json" || status=$?
    echo "$status" >"$scratch/$shard.status"
    [[ ! -s $scratch/$shard.json ]] || return 0
    # Without it there is no flood of all shards, so that the others end too, and the first to fail is why.
    (set -o noclobber; echo "shard $shard on $host ended with $status and gave no report" >"$scratch/failed") 2>/dev/null
    # Not SIGHUP: under nohup(1) it is ignored, and bash cannot trap what was ignored when it began.
    kill -USR1 "$script"
}
export -f on_host

# As long as this script has the writing end of the pipe, the input of the floods does not end.
mkfifo "$scratch/hold"
exec {hold}<>"$scratch/hold" {input}<"$scratch/hold"
export input
trap 'exec {hold}>&-' INT TERM HUP USR1

# In a session of its own: Ctrl-C reaches this script alone, which waits for the reports.
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
