#!/usr/bin/env bash
# Counts the system calls that the server makes for a message and for a handshake. 20 s.
#
#     bench/syscalls.sh
#
# The server runs under strace. Each figure is the difference of two runs of different length, divided by the
# difference of what they did; every call that occurs is listed. How many messages share one epoll_wait depends on how
# many are ready when it returns: strace makes the server slow, so that here it is nearly all of them.
# SERVER='COMMAND {port}' measures another server in place of steadfast, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags -- "$@"

# what is counted | how many more of it the long run does | flags of both runs | of the short run | of the long
measures=(
    "echoed 20-byte message, 1,000 connections, 1 in flight|20000
        |--connections 1000|--messages 5|--messages 25"
    "echoed 20-byte message, 100 connections, 16 in flight|32000
        |--connections 100 --in-flight 16|--messages 160|--messages 480"
    "handshake, opened and ended|1000
        |--messages 0|--connections 500|--connections 1500"
)

# count_run NAME FILE FLAG ...: leaves a line "call number" in the file for each system call of one whole run.
count_run() {
    local out="$out_dir/strace.out"
    rm -f "$out"
    # -D leaves the server as our own child, with strace beside it: the process to stop is the one we started.
    server_wrapper=(strace -D -f -c -o "$out")
    start_server "$1" 2000
    run_client echo "${@:3}"
    stop_server
    # strace writes its table after the server has gone.
    await_text ' total$' "$out" $$ || true
    awk '$1 ~ /^[0-9.]+$/ && $NF != "total" { print $NF, $4 }' "$out" | sort >"$2"
    [[ -s $2 ]] || fail "strace left no table for $1"
}

measure() {
    local name=$1 what count both short long
    IFS='|' read -r what count both short long <<<"${2//$'\n'/}"
    # Unquoted on purpose: each holds several flags.
    count_run "$name" "$out_dir/calls.short" $both $short
    count_run "$name" "$out_dir/calls.long" $both $long
    printf '\n%s: %s\n' "$name" "$what"
    awk -v count="$count" '
        NR == FNR { short[$1] = $2; next }
        { more[$1] = $2 - short[$1] }
        END {
            for (call in more) {
                sum += more[call]
                if (more[call] > 0) printf "    %-20s %8.3f\n", call, more[call] / count | "sort -k2,2gr"
            }
            close("sort -k2,2gr")
            printf "    %-20s %8.3f\n", "all", sum / count
        }' "$out_dir/calls.short" "$out_dir/calls.long"
}

need strace
build echo client
for entry in "${measures[@]}"; do measure "$subject_name" "$entry"; done
for entry in "${measures[@]}"; do measure "$bare_name" "$entry"; done
