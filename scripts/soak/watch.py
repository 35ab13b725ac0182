#!/usr/bin/env python3
"""Runs a soak and checks its results; scripts/soak.sh starts this with the release build.

    watch.py PROGRAM MINUTES CONNECTIONS CSV WORK_FOLDER
"""
import collections
import csv
import http.client
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

PROGRAM, MINUTES, CONNECTIONS, CSV, WORK = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
SECONDS = MINUTES * 60
SCALE = CONNECTIONS / 50_000
RAMP_S = 50
MIB = 1 << 20

# The gauges that must stay flat, and how much each may grow over the second half of the samples, besides 2 % of its median:
# room for other work of the host, the timing of storms and the allocator.
SLACK = {
    "user_bytes": 4 * MIB,
    "tcp_bytes": 32 * MIB,
    "slab_bytes": 64 * MIB,
    "sockets": 1000,
    "orphans": 500,
    "descriptors": 500,
    "connections": 500,
    "queued": 500,
    "flood_user_bytes": 16 * MIB,
}
GROWTH = 0.02

children = []


class Failed(Exception):
    """The soak has failed, for this reason."""


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def start(name, command, **options):
    log = open(f"{WORK}/{name}.log", "wb")
    options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL} | options
    child = subprocess.Popen(command, **options)
    children.append((name, child))
    return child


def end_all():
    """Ends the processes that this script started, and no others."""
    for _, child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + 5
    for _, child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class Server:
    def __init__(self):
        self.files, self.unix = f"{WORK}/files", f"{WORK}/unix"
        os.makedirs(self.files, exist_ok=True)
        for name, size in [("small.bin", 1000), ("long.bin", 200_000), ("longer.bin", 400_000)]:
            with open(f"{self.files}/{name}", "wb") as file:
                file.write(random.randbytes(size))
        command = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--listen", f"unix:{self.unix}", "--compression"]
        command += ["--static", self.files, "--push-interval", "5", "--max-connections", str(max(1000, CONNECTIONS * 6 // 5))]
        self.child = start("serve", command, stdout=subprocess.PIPE, text=True)
        self.port, self.has_own_tables = 0, False
        for line in self.child.stdout:
            print(line.rstrip())
            if line.startswith("listening on 127.0.0.1:"):
                self.has_own_tables = "a descriptor table for each" in line
                self.port = int(line.split(":")[1].split(" ")[0].split(",")[0])
            if line == "ready\n":
                break
        if not self.port:
            raise Failed(f"the server does not start: {open(f'{WORK}/serve.log').read().strip()}")
        self.connection = None
        self.at_start, self.kinds_at_start = self.descriptors(), self.kinds()

    def stats(self):
        """Requests /stats over one connection that is kept open, so that the server always has a place for it."""
        for attempt in range(3):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                self.connection.request("GET", "/stats", headers={"Host": "soak"})
                return json.loads(self.connection.getresponse().read())
            except (OSError, http.client.HTTPException) as error:
                # The server may close between two requests (keep-alive); a new connection must be answered.
                self.connection.close()
                self.connection, last = None, error
        raise Failed(f"/stats is not answered: {last}")

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def tables(self):
        """Yields the folders of all descriptor tables: that of the process, and those of reactors with their own table. Other
        threads share the table of the process."""
        yield f"/proc/{self.child.pid}/fd"
        folder = f"/proc/{self.child.pid}/task"
        for task in os.listdir(folder) if self.has_own_tables else []:
            with open(f"{folder}/{task}/comm") as name:
                if name.read().startswith("reactor-"):
                    yield f"{folder}/{task}/fd"

    def descriptors(self):
        return sum(len(os.listdir(table)) for table in self.tables())

    def kinds(self):
        """Counts the descriptors by kind, for a message that says which were left."""
        kinds = collections.Counter()
        for table in self.tables():
            for name in os.listdir(table):
                try:
                    kinds[re.sub(r":\[\d+\]$", "", os.readlink(f"{table}/{name}"))] += 1
                except OSError:
                    pass  # that descriptor is closed
        return dict(kinds)


def kib_of(path, name):
    with open(path) as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), 0)


def slab_bytes():
    """Returns the slab memory of the host without file caches, which grow with other work of the host.

    /proc/slabinfo is readable by root only (slabinfo(5)); without it, file caches are included."""
    total = kib_of("/proc/meminfo", "Slab:")
    files = re.compile(r"buffer_head|dentry|extent_status|radix_tree_node|(?!sock_)\w*inode_cache")
    try:
        with open("/proc/slabinfo") as file:
            caches = [line.split() for line in file if files.match(line)]
    except OSError:
        return total
    return total - sum(int(objects) * int(size) for _, _, objects, size, *_ in caches)


def cpu_s(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def sample(server, floods, began):
    stats = server.stats()
    messages, tcp = stats["messages"], {}
    with open("/proc/net/sockstat") as file:
        words = next(line for line in file if line.startswith("TCP:")).split()
        tcp = {name: int(value) for name, value in zip(words[1::2], words[2::2])}
    total = messages["delivered"] + messages["dropped"] + messages["queued"]
    if messages["out"] != total:
        raise Failed(f"out is {messages['out']}, delivered + dropped + queued is {total}: {messages}")
    row = {
        "seconds": round(time.monotonic() - began, 1),
        "connections": stats["connections"]["now"],
        "ever": stats["connections"]["ever"],
        "user_bytes": kib_of(f"/proc/{server.child.pid}/status", "RssAnon:"),
        "flood_user_bytes": sum(kib_of(f"/proc/{f.pid}/status", "RssAnon:") for f in floods if f.poll() is None),
        "tcp_bytes": tcp["mem"] * os.sysconf("SC_PAGE_SIZE"),
        "slab_bytes": slab_bytes(),
        "sockets": tcp["alloc"],
        "orphans": tcp["orphan"],
        "descriptors": server.descriptors(),
        "cpu_s": stats["cpu"]["user_s"] + stats["cpu"]["system_s"],
        "client_cpu_s": round(sum(cpu_s(child.pid) for _, child in children if child is not server.child), 2),
    }
    row |= {name: messages[name] for name in ("in", "out", "delivered", "dropped", "queued")}
    # All other gauges of memory in /stats: bytes in use.
    for name, value in stats.get("memory", {}).items():
        if isinstance(value, int) and name not in ("user_bytes", "user_bytes_when_ready"):
            row[f"memory.{name}"] = value
    return row


class Floods:
    """The floods of a soak: some run all the time, and one is started again and again."""

    def __init__(self, server):
        self.url = f"127.0.0.1:{server.port}"
        self.running, self.number, self.finished, self.lives = {}, 0, 0, 0
        hold = SECONDS + 20
        n = lambda count: max(10, round(count * SCALE))
        steady = lambda name, count, path, rate, *more: self.start(
            name, n(count), path, [f"ramp over_s={RAMP_S}", f"rate for_s={hold} total_per_s={max(1, rate * SCALE):.1f}"], *more
        )
        steady("echo", 28_500, "ws:/echo", 400, "--payload", "20-2000")
        steady("compressed", 8_000, "ws:/echo", 100, "--payload", "600-4000", "--compression")
        # A request must arrive within the head timeout, and the next one within the keep-alive timeout.
        gets = ["ramp over_s=4", "reply", f"rate for_s={RAMP_S + hold} total_per_s={max(1, 60 * SCALE):.1f}"]
        self.start("http", n(1_000), "http:/small.bin", gets)
        self.start("push", n(6_000), "ws:/push", [f"ramp over_s={RAMP_S}", f"receive for_s={hold}"])
        self.start("slow", n(500), "ws:/push", [f"ramp over_s={RAMP_S}", f"slow for_s={hold} share=0.5 bytes_per_s=20"])
        storm = ["rate for_s=20 total_per_s=20", "storm share=0.3", "check"]
        self.start("storm", n(4_000), "ws:/echo", [f"ramp over_s={RAMP_S}", *storm * (int((SECONDS + 30) / 20) + 1)])
        self.churn_connections = n(500)
        self.churn()

    def churn(self):
        """Starts a flood whose connections are opened, used and closed."""
        self.lives += 1
        phases = ["ramp over_s=8", "reply messages=2", "rate for_s=8 total_per_s=30", "drain over_s=5"]
        self.start("churn", self.churn_connections, "ws:/", phases, "--compression")

    def start(self, name, connections, where, phases, *more):
        scheme, path = where.split(":")
        self.number += 1
        # Each flood has its own source addresses, since ports are counted per address.
        base = {"churn": 100 + self.lives % 50}.get(name, self.number * 8)
        sources = f"127.0.{base}.1-127.0.{base}.4"
        command = [PROGRAM, "flood", f"{scheme}://{self.url}{path}", "--connections", str(connections), "--source", sources]
        command += ["--json", f"{WORK}/{name}.json", "--in-flight", "64", "--reply-timeout-s", "60", "--connect-timeout-s", "60"]
        for phase in phases:
            command += ["--phase", phase]
        self.running[name] = start(name, [*command, *more])

    def check(self, goes_on):
        """Checks the floods that have ended."""
        for name, child in list(self.running.items()):
            if child.poll() is None:
                continue
            del self.running[name]
            children.remove((name, child))
            log = open(f"{WORK}/{name}.log").read()
            try:
                report = json.load(open(f"{WORK}/{name}.json"))
            except (OSError, ValueError):
                raise Failed(f"the flood '{name}' ended with {child.returncode}: {log[-2000:]}") from None
            # The exit code is not used: the server counts other clients too, so its figures differ from the flood's.
            counts, due = report["connections"], report["schedule"]
            if counts["lost"] or counts["closed"] != counts["planned"] or due["answered"] != due["due"]:
                raise Failed(f"the flood '{name}' lost {counts['lost']}: {report['lost_by_cause']}, {due}: {log[-2000:]}")
            os.remove(f"{WORK}/{name}.json")
            self.finished += report["connections"]["opened"]
            if name == "churn" and goes_on:
                self.churn()
            elif goes_on:
                raise Failed(f"the flood '{name}' ended too early: {log[-2000:]}")


def peers_state():
    try:
        return json.load(open(f"{WORK}/peers.json"))
    except (OSError, ValueError):
        return {"did": {}, "lost": 0, "by_kind": {}, "reasons": []}


def check_peers(child):
    state = peers_state()
    if state["lost"]:
        raise Failed(f"{state['lost']} healthy peers were lost: {state['by_kind']}: {state['reasons']}")
    if child.poll() is not None and child.returncode != 0:
        raise Failed(f"peers.py ended with {child.returncode}: {open(f'{WORK}/peers.log').read()[-2000:]}")


def growth(rows, name):
    """Returns how much a line through the samples rises from the first to the last: the median of all slopes (Theil-Sen)."""
    points = [(row["seconds"], row.get(name, 0)) for row in rows]
    if len(points) > 400:
        points = points[:: len(points) // 400 + 1]
    pairs = ((a, b) for at, a in enumerate(points) for b in points[at + 1 :])
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0]]
    return statistics.median(slopes) * (points[-1][0] - points[0][0]) if slopes else 0.0


def judge(rows):
    half = rows[len(rows) // 2 :]
    names = [*SLACK, *(name for name in rows[-1] if name.startswith("memory."))]
    grown = []
    print(f"\n{'gauge':28} {'first':>14} {'median':>14} {'last':>14} {'growth':>12} {'allowed':>12}   (second half, {len(half)} samples)")
    for name in names:
        values = [row.get(name, 0) for row in half]
        rise, middle = growth(half, name), statistics.median(values)
        allowed = GROWTH * middle + SLACK.get(name, 4 * MIB)
        print(f"{name:28} {values[0]:14} {middle:14.0f} {values[-1]:14} {rise:12.0f} {allowed:12.0f}")
        if rise > allowed:
            grown.append(f"{name} grew by {rise:.0f} in {half[-1]['seconds'] - half[0]['seconds']:.0f} s, {allowed:.0f} are allowed")
    first, last = rows[0], rows[-1]
    took = max(1.0, last["seconds"] - first["seconds"])
    print(f"server {(last['cpu_s'] - first['cpu_s']) / took:.2f} cores, {last['in'] - first['in']} messages in, "
          f"{last['out'] - first['out']} out, {last['ever'] - first['ever']} connections opened in {took:.0f} s")
    if grown:
        raise Failed("; ".join(grown))


def wait_for(what, seconds, reached):
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s for {what}")
        time.sleep(0.5)


def watch(server, floods, peers):
    """Takes samples while the number of connections is constant."""
    began, rows = time.monotonic(), []
    interval = min(10.0, max(1.0, SECONDS / 120))
    with open(CSV, "w", newline="") as file:
        writer = None
        told = 0.0
        while time.monotonic() - began < SECONDS:
            row = sample(server, list(floods.running.values()), began)
            if writer is None:
                writer = csv.DictWriter(file, row.keys(), extrasaction="ignore", restval=0)
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            rows.append(row)
            floods.check(goes_on=True)
            check_peers(peers)
            if server.child.poll() is not None:
                raise Failed(f"the server ended with {server.child.returncode}: {open(f'{WORK}/serve.log').read()[-2000:]}")
            if time.monotonic() - told >= 30:
                told = time.monotonic()
                say(f"{row['seconds']:.0f} s: {row['connections']} connections, {row['ever']} ever, user {row['user_bytes'] / MIB:.1f} MiB, "
                    f"tcp {row['tcp_bytes'] / MIB:.1f} MiB, slab {row['slab_bytes'] / MIB:.0f} MiB, {row['descriptors']} descriptors, "
                    f"{row['queued']} queued, {row['dropped']} dropped, server {row['cpu_s']:.0f} s of CPU, clients {row['client_cpu_s']:.0f} s")
            time.sleep(max(0.0, began + len(rows) * interval - time.monotonic()))
    return rows


def finish(server, floods, peers):
    """Ends all clients, and checks that nothing is left of them."""
    say("all clients leave")
    peers.terminate()

    def gone():
        floods.check(goes_on=False)
        check_peers(peers)
        return not floods.running and peers.poll() is not None

    # The storms may take longer than planned.
    wait_for("the clients to finish", 180 + SECONDS, gone)
    state = peers_state()
    say(f"peers: {json.dumps(state['did'])}")
    idle = [kind for kind in ("broadcast heard", "chat heard", "long polls", "unix echoes", "files", "garbage") if not state["did"].get(kind)]
    if idle:
        raise Failed(f"these peers did nothing: {', '.join(idle)}")
    stats = {}

    def empty():
        nonlocal stats
        stats = server.stats()
        return stats["connections"]["now"] == 1 and stats["messages"]["queued"] == 0

    # Connections that do not close are reset after some deadlines.
    wait_for("the last connection to end", 180, empty)
    server.close()
    try:
        wait_for("the descriptors of the start", 60, lambda: server.descriptors() == server.at_start)
    except Failed as failed:
        raise Failed(f"{failed}: {server.kinds_at_start} were there, {server.kinds()} are") from None
    server.child.terminate()
    wait_for("the server to stop", 90, lambda: server.child.poll() is not None)
    said = open(f"{WORK}/serve.log").read()
    if server.child.returncode != 0 or said:
        raise Failed(f"the server ended with {server.child.returncode}: {said[-2000:]}")


def soak():
    server = Server()
    say(f"opening {CONNECTIONS} connections within {RAMP_S} s")
    floods = Floods(server)
    peers = start("peers", [sys.executable, os.path.join(os.path.dirname(__file__), "peers.py"), "127.0.0.1", str(server.port),
                            server.unix, server.files, f"{WORK}/peers.json", str(SCALE)])

    def all_open():
        floods.check(goes_on=True)
        return server.stats()["connections"]["now"] >= 0.97 * CONNECTIONS

    wait_for("the connections", RAMP_S * 3, all_open)
    rows = watch(server, floods, peers)
    finish(server, floods, peers)
    say(f"{floods.finished} connections of the floods were opened and closed, and none was lost")
    judge(rows)


def interrupted(_signal, _frame):
    raise Failed("interrupted")


signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, interrupted)
try:
    soak()
except Failed as why:
    print(f"not flat: {why}", flush=True)
    sys.exit(1)
finally:
    end_all()
print("flat")
