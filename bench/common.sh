# What the scripts of this folder share. Sourced, never run.
#
# SERVER='COMMAND ... {port} ...'  measures another WebSocket server in place of steadfast. It has to echo at /echo on
#                                  127.0.0.1, to say `ready` at the start of a line, and to end at SIGTERM.
#                                  {connections} is replaced by the number of connections that it will have to hold.
# CORE=N                           the core that pinned runs share (0)

set -euo pipefail
export LC_ALL=C

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root_dir=$(dirname "$bench_dir")
target_dir=${CARGO_TARGET_DIR:-$root_dir/target}
out_dir=$target_dir/bench
core=${CORE:-0}

bare_name='bare C'
subject_name=steadfast
if [[ -n ${SERVER:-} ]]; then
    subject_name=${SERVER%% *}
    subject_name=${subject_name##*/}
fi

server_pid= server_port= load_pid=
# What steadfast is started with beside its port and its number of connections.
server_flags=()

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

usage_error() {
    printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
    exit 2
}

# The script's own first comment is its help.
print_help() {
    awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
}

need() {
    local tool missing=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    ((${#missing[@]} == 0)) || fail "missing here: ${missing[*]}; install that first (nothing was installed or started)"
}

build() {
    need cc
    mkdir -p "$out_dir"
    cc -O2 -o "$out_dir/echo" "$bench_dir/echo.c"
    cc -O2 -o "$out_dir/load" "$bench_dir/load.c"
    [[ -z ${SERVER:-} ]] || return 0
    need cargo
    (cd "$root_dir" && cargo build --release --quiet)
}

# Below the range from which the kernel gives ports to clients, so that no connection can take it first.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((10000 + RANDOM % 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail 'no free port found'
}

# server_argv: what starts the server `name` on `port` for `connections`.
plan_server() {
    local name=$1 port=$2 connections=$3 template
    if [[ $name == "$bare_name" ]]; then
        server_argv=("$out_dir/echo" --port "$port")
    elif [[ -n ${SERVER:-} ]]; then
        template=${SERVER//'{port}'/$port}
        read -ra server_argv <<<"${template//'{connections}'/$connections}"
    else
        server_argv=("$target_dir/release/steadfast" serve --listen "127.0.0.1:$port" --reactors 1
            --max-connections "$connections" "${server_flags[@]}")
    fi
}

# start_server NAME CONNECTIONS [WRAPPER ...]; the wrapper has to become the server by exec, or be its own process.
start_server() {
    local name=$1 connections=$2 log="$out_dir/server.log" tries
    shift 2
    for _ in {1..5}; do
        server_port=$(free_port)
        plan_server "$name" "$server_port" "$connections"
        # Emptied before the fork: the child may come to its own redirection after the first look for `ready`, which
        # would find that of the server before.
        : >"$log"
        "$@" "${server_argv[@]}" >>"$log" 2>&1 &
        server_pid=$!
        for ((tries = 0; tries < 1200; tries++)); do
            if grep -q '^ready' "$log"; then return; fi
            kill -0 "$server_pid" 2>/dev/null || break
            sleep 0.05
        done
        # The port may have been taken in between, which ends the server at once; another one will do then.
        end_process "$server_pid" || true
        server_pid=
    done
    cat "$log" >&2
    fail "$name did not get ready"
}

# SIGTERM, and SIGKILL when that did not help in half a minute. The status is that of the process.
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

# start_steadfast CONNECTIONS: with as many reactors as that takes, for what measures no single one.
start_steadfast() {
    local log="$out_dir/server.log" tries
    : >"$log"
    "$target_dir/release/steadfast" serve --listen 127.0.0.1:0 --max-connections "$1" >>"$log" 2>&1 &
    server_pid=$!
    for ((tries = 0; tries < 1200; tries++)); do
        if grep -q '^ready' "$log"; then
            server_port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$log")
            return
        fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$log" >&2
    fail 'the server did not get ready'
}

stop_server() {
    local pid=$server_pid status=0
    server_pid=
    end_process "$pid" || status=$?
    ((status == 0)) || fail "the server did not stop cleanly at SIGTERM: status $status, its log is in $out_dir"
}

# run_load [--pinned] FLAG ...; leaves the line that load prints in load_line.
run_load() {
    local wrapper=() status=0
    if [[ $1 == --pinned ]]; then
        wrapper=(taskset -c "$core")
        shift
    fi
    # In the background, because bash runs no trap while it waits for a process in the foreground.
    "${wrapper[@]}" "$out_dir/load" --port "$server_port" --server-pid "$server_pid" "$@" >"$out_dir/load.json" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=
    load_line=$(<"$out_dir/load.json")
    ((status == 0)) || fail "a run with $* went wrong: $load_line"
}

# Leaves in instructions what callgrind has counted in the run whose file is given.
read_instructions() {
    instructions=$(awk '$1 == "summary:" { print $2; exit }' "$1")
    [[ -n $instructions ]] || instructions=$(awk '$1 == "totals:" { print $2; exit }' "$1")
    [[ -n $instructions ]] || fail "callgrind left no total in $1"
}

clean_up() {
    local status=$?
    trap - EXIT
    [[ -z $load_pid ]] || end_process "$load_pid" || true
    [[ -z $server_pid ]] || end_process "$server_pid" || true
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A number out of load_line.
field() {
    sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" <<<"$load_line"
}

calculate() {
    awk "BEGIN { printf \"%.${2:-6}f\", $1 }"
}

# "median least most" of the numbers given.
spread() {
    printf '%s\n' "$@" | sort -g | awk '
        { value[NR] = $1 }
        END {
            median = NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2
            print median, value[1], value[NR]
        }'
}

# "12.3 (11.9 to 13.0)" of the numbers given, with `digits` behind the point.
show_spread() {
    local digits=$1 median least most
    shift
    read -r median least most <<<"$(spread "$@")"
    printf "%.${digits}f (%.${digits}f to %.${digits}f)" "$median" "$least" "$most"
}

# "0.25 (rounds: 0.24 to 0.26)": the quotient of two lists' medians, and how far those of the single rounds lie apart.
# Both lists hold one number for each round, in the same order.
show_quotient() {
    local over=$1 under=$2 quotients least most _
    quotients=$(awk -v over="$over" -v under="$under" 'BEGIN {
        count = split(over, a, " ")
        split(under, b, " ")
        for (i = 1; i <= count; i++) print a[i] / b[i]
    }')
    # Unquoted on purpose, here as in the callers: a list is one word for each number.
    read -r _ least most <<<"$(spread $quotients)"
    printf '%.3f (rounds: %.3f to %.3f)' "$(calculate "$(median_of $over) / $(median_of $under)")" "$least" "$most"
}

median_of() {
    local median rest
    read -r median rest <<<"$(spread "$@")"
    echo "$median"
}

# Rounds run forwards and backwards in turn: whatever drifts while they run then meets every case alike.
in_turn() {
    local round=$1 case
    shift
    if ((round % 2)); then
        printf '%s\n' "$@"
    else
        for case in "$@"; do echo "$case"; done | tac
    fi
}

read_count() {
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || usage_error "$1 wants a number, not '$2'"
}
