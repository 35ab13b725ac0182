#!/usr/bin/env bash
# How fast the flood connects from a source address of whose ports nine tenths are taken, against one tenth.
#
#     bench/ports.sh [--rounds N]
#
#   --rounds N    (3)
#
# In each round another address of 127.0.0.0/8 opens a tenth of the ports that connect(2) may choose from, seven tenths more,
# and another tenth, all to the same port of one server. The figure is the rate of the last tenth over that of the first. A
# connection that is lost, for want of a port or for anything else, ends the script; so does, at the end, a median below 0.8.

source "$(dirname "$0")/common.sh"

rounds=3
first=() last=()

read_arguments() {
    while (($#)); do
        case $1 in
        --rounds) (($# > 1)) || usage_error '--rounds wants a number'; read_count "$1" "$2"; rounds=$2; shift 2 ;;
        --help) print_help; exit 0 ;;
        *) usage_error "what is $1?" ;;
        esac
    done
    [[ -z ${SERVER:-} ]] || usage_error 'this measures a client: SERVER has no use here'
}

# How long a phase of the report took.
phase_seconds() {
    awk -v name="\"$1\"," '$1 == "\"name\":" { here = $2 == name } here && $1 == "\"seconds\":" { print $2 + 0; exit }' \
        "$out_dir/ports.json"
}

run_round() {
    local source="127.0.1.$1" tenth=$((ports / 10)) status=0
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    "$target_dir/release/steadfast" flood "ws://127.0.0.1:$server_port/echo" --source "$source" \
        --connections $((9 * tenth)) --json "$out_dir/ports.json" --phase "ramp connections=$tenth" \
        --phase "ramp connections=$((7 * tenth))" --phase "ramp connections=$tenth" >"$out_dir/ports.log" 2>&1 &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    ((status == 0)) || { cat "$out_dir/ports.log" >&2; fail "not all of $((9 * tenth)) connections came all the way"; }
    first+=("$(calculate "$tenth / $(phase_seconds ramp)")")
    last+=("$(calculate "$tenth / $(phase_seconds ramp3)")")
}

main() {
    local round from to
    read_arguments "$@"
    need awk sed sort
    build
    read -r from to </proc/sys/net/ipv4/ip_local_port_range
    ports=$((to - from + 1))
    start_steadfast "$ports"
    for ((round = 1; round <= rounds; round++)); do
        printf 'round %d of %d\n' "$round" "$rounds" >&2
        run_round "$round"
    done
    stop_server
    printf '\n%d ports of one source; median (least to most) of %d rounds\n\n' "$ports" "$rounds"
    printf '  %-44s %s\n' 'connects a second, the first tenth' "$(show_spread 0 "${first[@]}")"
    printf '  %-44s %s\n' 'connects a second, the ninth tenth' "$(show_spread 0 "${last[@]}")"
    printf '  %-44s %s\n' 'the ninth tenth against the first' "$(show_quotient "${last[*]}" "${first[*]}")"
    awk "BEGIN { exit !($(median_of "${last[@]}") >= 0.8 * $(median_of "${first[@]}")) }" ||
        fail 'the rate at nine tenths is below 0.8 of that at one tenth'
}

main "$@"
