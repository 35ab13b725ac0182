# What the scripts share that measure the same thing with and without, server and client on a core each. Sourced behind
# common.sh, never run.
#
# CORE=N         the server's core (0)
# CLIENT_CORE=N  the client's (1, or 0 if the server has 1)

client_core=${CLIENT_CORE:-$((core == 1 ? 0 : 1))}

need_two_cores() {
    local one
    need taskset
    [[ $core != "$client_core" ]] || usage_error "server and client need a core each, and both have $core"
    for one in "$core" "$client_core"; do
        taskset -c "$one" true 2>/dev/null || fail "there is no core $one here"
    done
}

# combine FORMULA LIST LIST: the formula for each round, where `a` and `b` are the numbers that the lists have for it.
combine() {
    awk -v left="$2" -v right="$3" "BEGIN {
        count = split(left, lefts, \" \")
        split(right, rights, \" \")
        for (i = 1; i <= count; i++) { a = lefts[i]; b = rights[i]; print $1 }
    }"
}

print_row() {
    printf '  %-62s %s\n' "$1" "$2"
}
