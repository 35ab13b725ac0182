#!/usr/bin/env bash
# Counts the user-space instructions that steadfast spends on a request head that arrives one byte at a time, of 8 KiB
# and of 16 KiB, which is the longest that it takes. Fails if twice the bytes are more than 2.2 times the work. 30 s.
#
#     bench/head.sh
#
# The server runs under callgrind, the client does not: it sends a byte when the server has received the one before and
# sleeps again, so that each is received alone (see client_drip.h). Each figure is the difference of two runs, of which
# the longer one has four more heads. Instructions in the kernel are not counted.

source "$(dirname "$0")/common.sh"
read_flags -- "$@"

# how the head is filled | what that is
shapes=('field|one long field' 'fields|eighty fields' 'line|a request line of up to 8 KiB, and one field')
limit=2.2 few_heads=2 more_heads=4
socket="${TMPDIR:-/tmp}/steadfast-head-$$"
# What one byte costs does not depend on how long the next one takes, and that one may take long here.
server_flags=(--reactors 1 --listen "unix:$socket" --head-timeout-s 3600)

send_heads() {
    run "$out_dir/client" drip "$socket" "$server_pid" "$@" || fail "heads ($*) were not taken as they must be"
}

# measure SHAPE BYTES: leaves the instructions for each head in per_head.
measure() {
    local few
    count_instructions "$subject_name" 100 send_heads "$1" "$2" "$few_heads"
    few=$instructions
    count_instructions "$subject_name" 100 send_heads "$1" "$2" $((few_heads + more_heads))
    per_head=$(calculate "($instructions - $few) / $more_heads" 0)
}

needs_steadfast 'it looks into the threads of steadfast'
need valgrind
build client
too_much=0
printf 'user-space instructions of the server for each request head that arrives one byte at a time\n\n'
printf '%-48s %12s %12s %9s\n' '' '8 KiB' '16 KiB' quotient
for entry in "${shapes[@]}"; do
    measure "${entry%%|*}" 8192
    short=$per_head
    measure "${entry%%|*}" 16384
    printf '%-48s %12d %12d %9.3f\n' "${entry##*|}" "$short" "$per_head" "$(calculate "$per_head / $short")"
    ! is_true "$per_head / $short > $limit" || too_much=$((too_much + 1))
done
((too_much == 0)) || fail "$too_much of them take more than $limit times the work for twice the bytes"
