#!/usr/bin/env bash
# What an echo costs while many other connections are open and silent, against when there are none. 2 min.
#
#     bench/idle.sh [--rounds N] [--idle N]
#
#   --rounds N    (9)
#   --idle N      connections that stay silent (15000)
#
# 100 connections exchange messages of 20 bytes, one in flight on each; the idle ones are in between them. Server and client
# share one core. The figure is the server's processor time for each message, kernel included, over the client's own in the
# same run: a machine that is slower for a while slows both. Every round runs all cases, each with a server of its own.
# SERVER='COMMAND {port} {connections}' measures another server, CORE=N pins elsewhere, see bench/common.sh.

source "$(dirname "$0")/common.sh"
read_flags rounds=9 idle=15000 -- "$@"

measure() {
    start_server "${1%|*}" $((${1#*|} + 200))
    run_client echo --connections 100 --idle "${1#*|}" --messages 2000
    stop_server
    note ns "$(field server_ns) / $(field replies)" 2
    note relative "$(field server_ns) / $(field client_ns)"
}

limit=$(ulimit -Hn)
[[ $limit == unlimited ]] || ((idle + 200 <= limit)) ||
    fail "$idle idle connections do not fit under the hard limit of $limit descriptors (ulimit -Hn)"
pin_together
build echo client
run_rounds {"$subject_name","$bare_name"}'|'{0,"$idle"}
print_heading 'processor time of the server for each 20-byte message, 100 connections'
for name in "$subject_name" "$bare_name"; do
    for silent in 0 "$idle"; do
        print_spread "$name|$silent ns" 0 "$name, $silent idle, ns"
        print_spread "$name|$silent relative" 3 "$name, $silent idle, over the client's"
    done
    print_quotient "$name|$idle ns" "$name|0 ns" "$name, $idle idle against none, ns"
    print_quotient "$name|$idle relative" "$name|0 relative" "$name, $idle idle against none, over the client's"
done
print_quotient "$subject_name|0 ns" "$bare_name|0 ns" "$subject_name against $bare_name, none idle, ns"
print_quotient "$subject_name|0 relative" "$bare_name|0 relative" \
    "$subject_name against $bare_name, none idle, over the client's"
