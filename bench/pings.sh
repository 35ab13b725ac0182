#!/usr/bin/env bash
# What keep-alive pings and sweeps cost while many connections are idle, and what they leave for other work.
#
#     bench/pings.sh [--connections N] [--hold SECONDS] [--without] [--binary FILE]
#
#   --connections N   (100000)
#   --hold SECONDS    how long the connections are silent (120)
#   --without         the server sends no pings
#   --binary FILE     measures another build of the server (the client stays this one)
#
# Opens the connections, has each answered, holds them in silence, asks each whether it is alive, and closes all. Prints
# the pings of each second of the silence (the most in any ten seconds over their mean), the processor time of the server
# in it, and how long the check and the drain took. A run with pings and one with --without make a pair.

source "$(dirname "$0")/common.sh"

connections=100000 hold_s=120 flags=() binary=''

while (($#)); do
    case $1 in
    --connections) (($# > 1)) || usage_error '--connections wants a number'; [[ $2 =~ ^[1-9][0-9]{0,7}$ ]] || usage_error "--connections wants a number, not $2"; connections=$2; shift 2 ;;
    --hold) (($# > 1)) || usage_error '--hold wants seconds'; read_count "$1" "$2"; hold_s=$2; shift 2 ;;
    --without) flags=(--ping-interval-s 86400 --idle-timeout-s 172800); shift ;;
    --binary) (($# > 1)) || usage_error '--binary wants a file'; binary=$(realpath -- "$2"); shift 2 ;;
    --help) print_help; exit 0 ;;
    *) usage_error "what is $1?" ;;
    esac
done
need python3
cargo build --release --quiet
steadfast=${CARGO_TARGET_DIR:-target}/release/steadfast

exec python3 - "$steadfast" "${binary:-$steadfast}" "$connections" "$hold_s" "${flags[@]}" <<'PYTHON'
import glob, json, re, subprocess, sys, tempfile, time, urllib.request

client, server_binary, connections, hold_s, *flags = sys.argv[1:]
listen = ["serve", "--listen", "127.0.0.1:0", "--max-connections", str(int(connections) + 1000)]
server = subprocess.Popen([server_binary, *listen, *flags], stdout=subprocess.PIPE, text=True)
try:
    line = server.stdout.readline()
    port = re.search(r"127\.0\.0\.1:(\d+)", line)[1]
    while server.stdout.readline().strip() != "ready":
        pass
    report = tempfile.NamedTemporaryFile(suffix=".json")
    flood = subprocess.Popen(
        [client, "flood", f"ws://127.0.0.1:{port}/echo", "--connections", connections, "--hold", hold_s]
        + ["--trickle", "0", "--server-pid", str(server.pid), "--json", report.name],
        stdout=subprocess.DEVNULL,
    )

    def sample():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=30) as answer:
            counters = json.load(answer)["counters"]
        # Nanoseconds on a processor: the ticks of /proc/PID/stat miss work that is shorter than one.
        tasks = glob.glob(f"/proc/{server.pid}/task/*/schedstat")
        cpu = sum(int(open(task).read().split()[0]) for task in tasks) / 1e9
        # What peers did: in a silence they answer pings, and do nothing else.
        did = [counters[name] for name in ("messages_in", "upgraded", "pings_in", "ended")]
        return time.monotonic(), counters["pings_out"], counters["upgraded"], did, cpu

    samples = [sample()]
    while flood.poll() is None:
        time.sleep(1)
        try:
            samples.append(sample())
        except OSError:
            pass  # the server may be busy or gone; the pause shows as a longer step
    # The silence: all are open, and no message, ping or end of a connection comes but those of the questions above.
    OF_QUESTIONS = 2
    whole = int(connections)
    silent = [
        (later[0] - before[0], later[1] - before[1], later[4] - before[4])
        for before, later in zip(samples, samples[1:])
        if before[2] >= whole and before[3][:3] == later[3][:3] and later[3][3] - before[3][3] <= OF_QUESTIONS
    ]
    silent = silent[1:-1]
    result = json.load(open(report.name))
    print(f"exit code of the flood {flood.returncode}; {whole} connections, {len(silent)} seconds of silence")
    seconds = sum(step for step, _, _ in silent)
    print(f"server CPU in the silence: {sum(cpu for _, _, cpu in silent) / seconds:.3f} s each second")
    first = next((at for at, (_, pings, _) in enumerate(silent) if pings > whole / 1000), None)
    if first is not None:
        due = silent[first:]
        mean = sum(pings for _, pings, _ in due) / sum(step for step, _, _ in due)
        windows = [due[at : at + 10] for at in range(len(due) - 9)]
        most = max(sum(p for _, p, _ in w) / sum(s for s, _, _ in w) for w in windows)
        print(f"pings from the first on: {mean:.0f} a second; the most in ten seconds {most:.0f}, {most / mean:.2f} of the mean")
    for phase in result.get("phases", []):
        took = phase.get("seconds", phase.get("took_s"))
        print(f"  {phase.get('name', '?'):10} {took}")
    sys.exit(flood.returncode)
finally:
    server.kill()
    server.wait()
PYTHON
