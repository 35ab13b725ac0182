"""`scripts/tune.sh`: its guide is true on this kernel, and it names the limit that a program hits."""

import json
import os
import pathlib
import re
import subprocess

import pytest
from hosts import SANDBOX, needs_sandbox
from steadfast import BINARY, DEADLINE, ROOT

TUNE = ROOT / "scripts" / "tune.sh"
GUIDE = ROOT / "scripts" / "TUNING.md"

# Far above what all blocks of the guide take together, some of which wait for a second or two.
GUIDE_DEADLINE = 300

# What these counters see is of the whole host, and others may be at work there.
OF_THE_HOST = ("[packets]", "[group_", "the kernel says", "files of the host")


def run(*command, deadline=DEADLINE, **options):
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline,
        **options,
    )


def settings():
    """All that may be set for the network of this host, but for what changes by itself."""
    found = {}
    for file in sorted(pathlib.Path("/proc/sys/net").rglob("*")):
        if not file.is_file() or "count" in file.name or "key" in file.name:
            continue
        try:
            found[file] = file.read_text()
        except OSError:
            pass
    return found


@needs_sandbox
def test_every_statement_of_the_guide_holds_on_this_kernel():
    before = settings()
    done = run(TUNE, "--check", deadline=GUIDE_DEADLINE)
    assert done.returncode == 0, done.stdout
    blocks = GUIDE.read_text().count("\n```sh\n")
    told = [line.split()[0] for line in done.stdout.splitlines()[:-1]]
    assert len(told) == blocks and set(told) <= {"passed", "skipped"}, done.stdout
    assert told.count("passed") > blocks / 2, done.stdout
    assert settings() == before


def test_every_link_of_the_guide_leads_to_a_heading():
    text = GUIDE.read_text()
    headings = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
    anchors = {
        "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_").replace(" ", "-")
        for heading in headings
    }
    links = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert len(links) > 5
    assert links <= anchors, links - anchors


@needs_sandbox
@pytest.mark.parametrize(
    ("block", "printed", "holds"),
    [
        ("echo 12 of 13", "12 of 1?", True),
        ("echo 12 of 13", "12 of 2?", False),
        ("echo one; echo two", "one", False),
        ("echo one", "one\ntwo", False),
        ("echo '  spaces   do not count '", "spaces do not count", True),
        ("echo failed; exit 3", "failed", True),
        ("echo failed; exit 3", None, False),
        ("true", None, True),
        ("# Linux 99.0 and newer\nfalse", "anything", None),
        ("# needs a-program-of-no-host\nfalse", "anything", None),
        ("ss -Hant | wc -l", "0", True),
    ],
)
def test_false_statement_is_found(tmp_path, block, printed, holds):
    guide = tmp_path / "guide.md"
    text = f"# First\n```sh\necho here\n```\n```text\nhere\n```\n\n# Second\n\n```sh\n{block}\n```\n"
    guide.write_text(text + ("" if printed is None else f"```text\n{printed}\n```\n"))
    done = run(TUNE, "--check", guide)
    counts = {True: "2 passed, 0 failed, 0 skipped", False: "1 passed, 1 failed, 0 skipped"}
    assert done.stdout.splitlines()[-1] == counts.get(holds, "1 passed, 0 failed, 1 skipped")
    assert done.returncode == (1 if holds is False else 0)
    word = {True: "passed", False: "FAILED"}.get(holds, "skipped")
    assert f"{word:8} 11: Second" in done.stdout


# Programs that hit a limit again and again, so that each sample shows it: the setup, the loop's body, the counter, the advice.
LISTEN = """
import itertools, os, resource, socket, time
def listener(port, backlog): return socket.create_server(("127.0.0.1", port), backlog=backlog)
def reach(port):
    client = socket.socket(); client.setblocking(False); client.connect_ex(("127.0.0.1", port)); kept.append(client)
kept = []
"""
HALF_OPEN = """
half = listener(7000, 4); half.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
def turn(): reach(7000)
"""
SEEDS = {
    "listen queue": ("", "full = listener(7000, 1)\ndef turn(): reach(7000)", "[ListenOverflows]", "a listen queue"),
    "SYN cookies": ("", HALF_OPEN, "[TCPReqQFullDoCookies]", "SYN cookies: raise its backlog"),
    "no SYN cookies": ("echo 0 >/proc/sys/net/ipv4/tcp_syncookies", HALF_OPEN, "[TCPReqQFullDrop]", "tcp_syncookies=1"),
    "TIME_WAIT": (
        "echo 1 >/proc/sys/net/ipv4/tcp_max_tw_buckets",
        """
echo = listener(7000, 100)
def turn():
    client = socket.create_connection(("127.0.0.1", 7000)); server, _ = echo.accept(); server.close(); client.close()
""",
        "[TCPTimeWaitOverflow]",
        "tcp_max_tw_buckets",
    ),
    "ports": (
        "echo 40000 40009 >/proc/sys/net/ipv4/ip_local_port_range",
        "echo = listener(7000, 100)\ndef turn(): len(kept) < 10 and reach(7000)",
        "ports from 127.0.0.1 to 127.0.0.1:7000: 10 of 10",
        "more source addresses",
    ),
    "descriptors": (
        "ulimit -n 64",
        """
def turn():
    try:
        while True: os.dup(0)
    except OSError: pass
""",
        "a descriptor table is full",
        "RLIMIT_NOFILE",
    ),
    "a table of a thread": (
        "ulimit -n 64",
        """
import ctypes, threading
def fill():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES
    try:
        while True: os.dup(0)
    except OSError: threading.Event().wait()
threading.Thread(target=fill, daemon=True).start()
def turn(): pass
""",
        "a descriptor table is full",
        "RLIMIT_NOFILE",
    ),
}


def watched(tmp_path, setup, program, what="$!"):
    """Runs the watcher on a program in its own network namespace; returns what it printed."""
    seed = tmp_path / "seed.py"
    turns = "for _ in itertools.count():\n    turn()\n    time.sleep(0.05)\n"
    seed.write_text(f"{LISTEN}\n{program}\nprint('begun', flush=True)\n{turns}")
    script = f"""
        ip link set lo up
        {setup}
        coproc python3 {seed}
        read -r _ <&"${{COPROC[0]}}"
        (ulimit -Sn "$(ulimit -Hn)"; exec {TUNE} --watch {what} --seconds 2)
        code=$?
        kill $!
        exit "$code"
    """
    return run(*SANDBOX, "bash", "-c", script)


@needs_sandbox
@pytest.mark.parametrize("name", SEEDS)
def test_limit_that_is_hit_is_named(tmp_path, name):
    setup, program, counter, advice = SEEDS[name]
    done = watched(tmp_path, setup, program)
    named = [line for line in done.stdout.splitlines() if line.startswith("LIMIT") and counter in line]
    assert named and all(advice in line for line in named), done.stdout
    assert done.returncode == 1, done.stdout


@needs_sandbox
def test_program_within_its_limits_is_reported_as_such(tmp_path):
    done = watched(tmp_path, "", "echo = listener(7000, 100)\ndef turn(): len(kept) < 5 and reach(7000)", what=":7000")
    limits = [line for line in done.stdout.splitlines() if line.startswith("LIMIT")]
    assert "10 TCP sockets" in done.stdout or "11 TCP sockets" in done.stdout, done.stdout
    assert all(any(mark in line for mark in OF_THE_HOST) for line in limits), done.stdout
    assert limits or (done.returncode == 0 and "no limit was hit" in done.stdout), done.stdout


@needs_sandbox
def test_every_descriptor_table_of_a_server_is_counted(tmp_path):
    # The limit is so low that every reactor has its own table; the connections fill one of them.
    script = f"""
        ip link set lo up
        coproc (ulimit -n 200; exec {BINARY} serve --listen 127.0.0.1:7000 --max-connections 500)
        server=$!
        while read -r line <&"${{COPROC[0]}}" && [[ $line != ready ]]; do :; done
        {BINARY} flood ws://127.0.0.1:7000/echo --connections 500 --hold 600 2>{tmp_path}/said >&2 & flood=$!
        while kill -0 $flood && ! grep -q '^hold' {tmp_path}/said; do sleep 0.1; done
        {TUNE} --watch :7000 --seconds 2
        kill $flood; wait $flood
        kill $server; wait $server
    """
    done = run(*SANDBOX, "bash", "-c", script)
    assert "steadfast serve" in done.stdout.splitlines()[0], done.stdout
    counts = re.findall(r"(\d+) of 200 descriptors", done.stdout)
    # Seven reactors share 500, and the first thread has none of them.
    assert counts and all(500 / 7 <= int(count) <= 200 for count in counts), done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "unknown argument ''"),
        (["--whatch", "1"], "unknown argument '--whatch'"),
        (["--watch"], "--watch PID or --watch :PORT"),
        (["--watch", "x1"], "unknown argument 'x1'"),
        (["--watch", "4194305"], "no process 4194305"),
        (["--watch", "1", "--seconds", "0"], "'--seconds 0'"),
        (["--check", "/nowhere/guide.md"], "cannot read /nowhere/guide.md"),
    ],
)
def test_wrong_usage_is_reported_on_one_line(arguments, said):
    done = run(TUNE, *arguments)
    assert done.returncode == 2 and said in done.stdout and done.stdout.count("\n") == 1, done.stdout


def test_number_argument_runs_the_doctor():
    done = run(TUNE, 1000, "--no-measure", "--json", env=dict(os.environ, STEADFAST=BINARY))
    assert json.loads(done.stdout)["connections"] == 1000
