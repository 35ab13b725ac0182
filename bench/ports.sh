#!/usr/bin/env bash
# How fast the flood connects from a source address of whose ports nine tenths are taken, against one tenth. 1 min.
#
#     bench/ports.sh [--rounds N]
#
#   --rounds N    (3)
#
# In each round another address of 127.0.0.0/8 opens a tenth of the ports that connect(2) may choose from, seven tenths more,
# and another tenth, all to the same port of one server. The figure is the rate of the last tenth over that of the first.
# Fails if it is below 0.8, or if a connection is lost, for want of a port or for anything else.

source "$(dirname "$0")/common.sh"
read_flags rounds=3 -- "$@"

measure() {
    source_number=$((source_number + 1))
    run_flood /echo --source "127.0.1.$source_number" --connections $((9 * tenth)) --phase "ramp connections=$tenth" \
        --phase "ramp connections=$((7 * tenth))" --phase "ramp connections=$tenth" ||
        flood_failed "not all of $((9 * tenth)) connections completed the scenario"
    note first "$tenth / $(figure phases.0.seconds)" 1
    note ninth "$tenth / $(figure phases.2.seconds)" 1
}

needs_steadfast 'it measures the flood'
build
read -r from to </proc/sys/net/ipv4/ip_local_port_range
tenth=$(((to - from + 1) / 10)) source_number=0 server_flags=()
start_server steadfast $((10 * tenth))
run_rounds tenths
stop_server
print_heading "$((10 * tenth)) ports of one source"
print_spread 'tenths first' 0 'connects a second, the first tenth'
print_spread 'tenths ninth' 0 'connects a second, the ninth tenth'
print_quotient 'tenths ninth' 'tenths first' 'the ninth tenth against the first'
is_true "$quotient >= 0.8" || fail 'the rate at nine tenths is below 0.8 of that at one tenth'
