#!/usr/bin/env bash
# Counts the user-space instructions that steadfast spends on a request head that arrives one byte at a time, of 8 KiB
# and of 16 KiB, which is the longest that it takes. Twice the bytes have to be about twice the work, whatever the head
# holds: it ends with an error if they are more than 2.2 times the work.
#
#     bench/head.sh
#
# The server runs under callgrind, the client does not: it sends a byte when the server has received the one before and
# sleeps again, so that each is received alone (see drip.c). Each figure is the difference of two runs, of which the
# longer one has four more heads: start and end of the process fall out. Instructions in the kernel are not counted.

source "$(dirname "$0")/common.sh"

limit=2.2 short_bytes=8192 long_bytes=16384 few_heads=2 more_heads=4

# how drip fills the head | what that is
shapes=(
    'field|one long field'
    'fields|eighty fields'
    'line|a request line of up to 8 KiB, and one field'
)

# count_run SHAPE BYTES HEADS: leaves the number of instructions of one whole run in instructions.
count_run() {
    local shape=$1 bytes=$2 heads=$3 out="$out_dir/callgrind.out" status=0
    local socket="${TMPDIR:-/tmp}/steadfast-head-$$"
    rm -f "$out"
    # What one byte costs does not depend on how long the next one takes, and that one may take long here.
    server_flags=(--listen "unix:$socket" --head-timeout-s 3600)
    start_server "$subject_name" 100 valgrind --tool=callgrind --separate-threads=no --callgrind-out-file="$out"
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    "$out_dir/drip" "$socket" "$server_pid" "$shape" "$bytes" "$heads" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    ((status == 0)) || fail "$heads heads of $bytes bytes ($shape) were not taken as they must be"
    stop_server
    read_instructions "$out"
}

# Leaves the instructions for each head of `bytes` in per_head.
measure() {
    local shape=$1 bytes=$2 few
    count_run "$shape" "$bytes" "$few_heads"
    few=$instructions
    count_run "$shape" "$bytes" $((few_heads + more_heads))
    per_head=$(calculate "($instructions - $few) / $more_heads" 0)
}

main() {
    local entry shape what short quotient too_much=0
    case ${1:-} in
    '') ;;
    --help) print_help; exit 0 ;;
    *) usage_error "what is $1?" ;;
    esac
    [[ -z ${SERVER:-} ]] || usage_error 'SERVER is not for this one: it looks into the threads of steadfast'
    need valgrind awk sed
    build
    cc -O2 -o "$out_dir/drip" "$bench_dir/drip.c"
    printf 'user-space instructions of the server for each request head that arrives one byte at a time\n\n'
    printf '%-48s %12s %12s %9s\n' '' "$((short_bytes >> 10)) KiB" "$((long_bytes >> 10)) KiB" quotient
    for entry in "${shapes[@]}"; do
        shape=${entry%%|*} what=${entry##*|}
        measure "$shape" "$short_bytes"
        short=$per_head
        measure "$shape" "$long_bytes"
        quotient=$(calculate "$per_head / $short" 3)
        printf '%-48s %12d %12d %9s\n' "$what" "$short" "$per_head" "$quotient"
        too_much=$(calculate "$too_much + ($quotient > $limit)" 0)
    done
    ((too_much == 0)) || fail "$too_much of them take more than $limit times the work for twice the bytes"
}

main "$@"
