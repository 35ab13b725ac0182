# What the scripts of this folder share: flags, programs and servers, rounds, and tables. Sourced, never run.
#
# SERVER='COMMAND ... {port} ...'  measures another WebSocket server in place of steadfast. It has to echo at /echo on
#                                  127.0.0.1, to print `ready` at the start of a line, and to end at SIGTERM.
#                                  {connections} is replaced by the number of connections that it will have to hold.
# CORE=N                           the core that pinned runs share, or the server's where the client has another one (0)
# CLIENT_CORE=N                    the client's then (1, or 0 if the server has 1)

set -euo pipefail
export LC_ALL=C

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root_dir=$(dirname "$bench_dir")
target_dir=${CARGO_TARGET_DIR:-$root_dir/target}
out_dir=$target_dir/bench
steadfast=$target_dir/release/steadfast
core=${CORE:-0}
client_core=${CLIENT_CORE:-$((core == 1 ? 0 : 1))}

bare_name='bare C' bare_program=echo bare_flags=()
subject_name=steadfast
if [[ -n ${SERVER:-} ]]; then
    subject_name=${SERVER%% *}
    subject_name=${subject_name##*/}
fi

server_pid= server_port= client_pid= case= flood_name=flood
# What else ends with the script.
other_pids=()
# What steadfast is started with besides its port and its number of connections.
server_flags=(--reactors 1)
# What the server and the client run under, such as taskset.
server_wrapper=() client_wrapper=()
# Lists of figures, one for each round, by "CASE KEY".
declare -A samples

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

usage_error() {
    printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
    exit 2
}

needs_steadfast() { [[ -z ${SERVER:-} ]] || usage_error "SERVER is not for this script: $1"; }

need() {
    local tool missing=
    for tool in awk cut sed sort tac "$@"; do
        command -v "$tool" >/dev/null || missing+=" $tool"
    done
    [[ -z $missing ]] || fail "missing here:$missing; install that first (nothing was installed or started)"
}

# read_flags SPEC ... -- ARGUMENT ...: sets a variable for each flag, `per_s` for --per-s. A SPEC is NAME for a switch,
# NAME=5 for a number that is 5 if it is not given, NAME=5..9 for one of at most 9, NAME=one|two for one of some words, and
# NAME= for any text. Other arguments go to `words`, and have to be among those of a SPEC =one|two.
read_flags() {
    local spec name value flag limit
    declare -A specs=([words]=)
    words=()
    while [[ $1 != -- ]]; do
        name=${1%%=*} value=${1#*=}
        specs[${name:-words}]=$value
        [[ $1 == *=* ]] || specs[$name]=switch value=
        value=${value%%..*}
        [[ -z $name ]] || printf -v "$name" %s "${value%%|*}"
        shift
    done
    while shift && (($#)); do
        flag=$1 name=${1#--} name=${name//-/_} value=yes
        if [[ $flag == --help ]]; then
            # The script's own first comment.
            awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
            exit 0
        fi
        if [[ $flag != --* ]]; then
            [[ -n $flag && "|${specs[words]}|" == *"|$flag|"* ]] || usage_error "unknown argument: $flag"
            words+=("$flag")
            continue
        fi
        [[ $name != words && -v "specs[${name:-words }]" ]] || usage_error "unknown argument: $flag"
        spec=${specs[$name]}
        if [[ $spec != switch ]]; then
            shift
            (($#)) || usage_error "$flag needs a value"
            value=$1
        fi
        if [[ $spec =~ ^[0-9] ]]; then
            limit=9999999
            [[ $spec != *..* ]] || limit=${spec#*..}
            [[ $value =~ ^[1-9][0-9]{0,6}$ && $value -le $limit ]] ||
                usage_error "$flag is '$value'; expected a number from 1 to $limit"
        elif [[ $spec == *'|'* && "|$spec|" != *"|$value|"* ]]; then
            usage_error "$flag is '$value'; expected ${spec//'|'/, }"
        fi
        printf -v "$name" %s "$value"
    done
}

# build [PROGRAM ...]: steadfast, unless another server is measured, and the named C programs.
build() {
    local program
    mkdir -p "$out_dir"
    (($# == 0)) || need cc
    for program in "$@"; do
        cc -O2 -pthread -o "$out_dir/$program" "$bench_dir/$program.c"
    done
    [[ -z ${SERVER:-} ]] || return 0
    need cargo
    (cd "$root_dir" && cargo build --release --quiet "${cargo_flags[@]}")
}
cargo_flags=(--bin steadfast)

# pin_together: server and client share one core. pin_apart: each has one.
pin_together() {
    need taskset
    server_wrapper=(taskset -c "$core") client_wrapper=("${server_wrapper[@]}")
}

pin_apart() {
    local one
    need taskset
    [[ $core != "$client_core" ]] || usage_error "server and client need a core each, and both have $core"
    for one in "$core" "$client_core"; do
        taskset -c "$one" true 2>/dev/null || fail "there is no core $one here"
    done
    server_wrapper=(taskset -c "$core") client_wrapper=(taskset -c "$client_core")
}

# Below the range from which the kernel gives ports to clients, so that no connection can take it first.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((10000 + RANDOM % 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
    done
    fail 'no free port found'
}

# plan_server NAME PORT CONNECTIONS: leaves in server_argv what starts a server.
plan_server() {
    local template=${SERVER:-}
    if [[ $1 == "$bare_name" ]]; then
        server_argv=("$out_dir/$bare_program" --port "$2" "${bare_flags[@]}")
    elif [[ -n $template ]]; then
        template=${template//'{port}'/$2}
        read -ra server_argv <<<"${template//'{connections}'/$3}"
    else
        server_argv=("$steadfast" serve --listen "127.0.0.1:$2" --max-connections "$3" "${server_flags[@]}")
    fi
}

# await_text PATTERN FILE PID: waits for a line of a file that the process writes; false if it ends before that.
await_text() {
    local tries
    for ((tries = 0; tries < 12000; tries++)); do
        if grep -q "$1" "$2" 2>/dev/null; then return; fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.05
    done
    return 1
}

# start_server NAME CONNECTIONS, under server_wrapper, which has to become the server by exec, or be its own process.
start_server() {
    local name=$1 connections=$2 log="$out_dir/server.log"
    for _ in {1..5}; do
        server_port=$(free_port)
        plan_server "$name" "$server_port" "$connections"
        # Emptied before the fork: the child may come to its own redirection after the first look for `ready`, which
        # would find that of the server before.
        : >"$log"
        "${server_wrapper[@]}" "${server_argv[@]}" >>"$log" 2>&1 &
        server_pid=$!
        if await_text ^ready "$log" "$server_pid"; then return; fi
        # The port may have been taken in between, which ends the server at once; another one will do then.
        end_process "$server_pid" || true
        server_pid=
    done
    cat "$log" >&2
    fail "$name did not get ready"
}

# SIGTERM, and SIGKILL if that does not help in half a minute. The status is that of the process.
end_process() {
    local pid=$1 tries
    kill -TERM "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 600; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid"
}

stop_server() {
    local pid=$server_pid status=0
    server_pid=
    end_process "$pid" || status=$?
    ((status == 0)) || fail "the server did not stop cleanly at SIGTERM: status $status, its log is in $out_dir"
}

clean_up() {
    local status=$? pid
    trap - EXIT
    for pid in $client_pid "${other_pids[@]}" $server_pid; do end_process "$pid" 2>/dev/null || true; done
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command in the background, because bash runs no trap while it waits for one in the foreground. The status is that
# of the command.
run() {
    "${client_wrapper[@]}" "$@" &
    client_pid=$!
    await_client
}

await_client() {
    local status=0
    wait "$client_pid" || status=$?
    client_pid=
    return "$status"
}

# run_client MODE FLAG ...; leaves the line that the client prints in client_line.
run_client() {
    run "$out_dir/client" "$1" --port "$server_port" --server-pid "$server_pid" "${@:2}" >"$out_dir/client.json" ||
        fail "a client with $* failed"
    client_line=$(<"$out_dir/client.json")
}

# A number of client_line.
field() { sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" <<<"$client_line"; }

# run_flood PATH FLAG ...; the status is the flood's, and begin_flood does not wait for it. Named by flood_name, the report
# is in flood.json, the table in flood.out, and the lines of progress in flood.log.
begin_flood() {
    local files=$out_dir/$flood_name
    : >"$files.log"
    "${client_wrapper[@]}" "${flood:-$steadfast}" flood "ws://127.0.0.1:$server_port$1" --json "$files.json" "${@:2}" \
        >"$files.out" 2>"$files.log" &
    client_pid=$!
}

run_flood() { begin_flood "$@" && await_client; }

flood_failed() {
    cat "$out_dir/$flood_name.log" "$out_dir/$flood_name.out" >&2
    fail "the flood failed: $*"
}

# Waits until the flood has begun a phase.
await_phase() {
    await_text "^$1" "$out_dir/$flood_name.log" "$client_pid" || flood_failed "it did not begin its phase $1"
}

# A member of the flood's report, such as response.p99_us or phases.0.seconds. figures prints "PATH VALUE" for each below it.
figure() { figures "$1" | sed -n "s/^$1 //p"; }

figures() {
    awk -v wanted="$1" '
        { match($0, /^ */); depth = RLENGTH / 2; line = substr($0, RLENGTH + 1); sub(/,$/, "", line) }
        line ~ /^[]}]/ { next }
        {
            if (match(line, /^"([^"\\]|\\.)*": /)) {
                key = substr(line, 2, RLENGTH - 4)
                line = substr(line, RLENGTH + 1)
            } else key = places[depth]++
            paths[depth] = path = depth <= 1 ? key : paths[depth - 1] "." key
            places[depth + 1] = 0
            if (line ~ /[[{]$/ || (path != wanted && index(path, wanted ".") != 1)) next
            gsub(/^"|"$/, "", line)
            print path, line
        }' "$out_dir/$flood_name.json"
}

# The server's /stats as steadfast has them, and a counter in such a text; sums come before those of each reactor.
read_stats() {
    (exec 3<>"/dev/tcp/127.0.0.1/$server_port" &&
        printf 'GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3 && cat <&3) 2>/dev/null
}

counter() { [[ $2 =~ \"$1\":([0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }

# count_instructions NAME CONNECTIONS COMMAND ...: leaves in instructions what a server takes while the command runs.
count_instructions() {
    local out="$out_dir/callgrind.out"
    rm -f "$out"
    server_wrapper=(valgrind --tool=callgrind --separate-threads=no --callgrind-out-file="$out")
    start_server "$1" "$2"
    "${@:3}"
    stop_server
    read_instructions "$out"
}

read_instructions() {
    instructions=$(awk '$1 ~ /^(summary|totals):$/ { print $2; exit }' "$1")
    [[ -n $instructions ]] || fail "callgrind left no total in $1"
}

# run_rounds CASE ...: calls `measure CASE` for each in each of `rounds` rounds. Rounds run forwards and backwards in turn:
# what drifts while they run then meets every case alike.
run_rounds() {
    local round cases=()
    for ((round = 1; round <= rounds; round++)); do
        mapfile -t cases < <(printf '%s\n' "$@" | if ((round % 2)); then cat; else tac; fi)
        for case in "${cases[@]}"; do
            printf 'round %d of %d: %s\n' "$round" "$rounds" "${case//|/, }" >&2
            measure "$case"
        done
    done
}

# note KEY FORMULA [DIGITS]: adds a figure to those of the case at hand.
note() { samples["$case $1"]+=" $(calculate "$2" "${3:-6}")"; }

calculate() { awk "BEGIN { printf \"%.${2:-6}f\", $1 }"; }

is_true() { awk "BEGIN { exit !($1) }"; }

# "median least most" of the numbers given.
spread() {
    printf '%s\n' "$@" | sort -g | awk '
        { value[NR] = $1 }
        END {
            median = NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2
            print median, value[1], value[NR]
        }'
}

median_of() { spread "$@" | cut -d ' ' -f 1; }

print_row() { printf '  %-62s %s\n' "$1" "$2"; }

# print_spread "CASE KEY" DIGITS TEXT: a row with "12.3 (11.9 to 13.0)", median, least and most.
print_spread() {
    # Unquoted on purpose, here as below: a list is one word for each number.
    print_row "$3" "$(printf "%.${2}f (%.${2}f to %.${2}f)" $(spread ${samples[$1]}))"
}

# print_quotient "CASE KEY" "CASE KEY" TEXT [DIGITS]: a row with the quotient of the medians, and the least and the most
# of the single rounds. Leaves it in `quotient`.
print_quotient() {
    local digits=${4:-3} least most _
    quotient=$(calculate "$(median_of ${samples[$1]}) / $(median_of ${samples[$2]})")
    read -r _ least most <<<"$(spread $(awk -v over="${samples[$1]}" -v under="${samples[$2]}" 'BEGIN {
        count = split(over, a, " ")
        split(under, b, " ")
        for (i = 1; i <= count; i++) print a[i] / b[i]
    }'))"
    print_row "$3" "$(printf "%.${digits}f (rounds: %.${digits}f to %.${digits}f)" "$quotient" "$least" "$most")"
}

print_heading() { printf '\n%s\nmedian (least to most) of %d rounds\n\n' "$1" "$rounds"; }
