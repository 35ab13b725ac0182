"""One flood in several shards: `scripts/shards.sh` between network namespaces, and what its Kubernetes manifest runs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from hosts import needs_root
from steadfast import BINARY, DEADLINE, ROOT, Server

SHARDS = ROOT / "scripts" / "shards.sh"
# Enough to be there in time, also on a host that has much to do.
START_IN_S = 4
MANIFEST = ROOT / "scripts" / "shards.k8s.yaml"

needs_parallel = pytest.mark.skipif(shutil.which("parallel") is None, reason="no GNU parallel")

# Called as ssh is, with a host and a line for its shell: here a host is a network namespace.
REMOTE = """#!/bin/sh
host=$1
shift
exec ip netns exec "$host" sh -c "$*"
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, timeout=DEADLINE)


class Network:
    """A server's namespace, and those of two clients, each joined to it by a cable; nothing leads to the host."""

    def __init__(self, folder):
        self.hub, *self.clients = (f"steadfast-{os.getpid()}-{name}" for name in ("hub", "left", "right"))
        self.remote = folder / "remote"
        self.remote.write_text(REMOTE)
        self.remote.chmod(0o755)

    def __enter__(self):
        try:
            for name in (self.hub, *self.clients):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("-n", self.hub, "address", "add", "10.99.0.1/32", "dev", "lo")
            for number, name in enumerate(self.clients, 1):
                self._join(number, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _join(self, number, name):
        ours, theirs = f"hub{number}", "uplink"
        ip("-n", self.hub, "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        ip("-n", self.hub, "address", "add", f"10.99.{number}.1/24", "dev", ours)
        for last in (2, 3):
            ip("-n", name, "address", "add", f"10.99.{number}.{last}/24", "dev", theirs)
        ip("-n", self.hub, "link", "set", ours, "up")
        ip("-n", name, "link", "set", theirs, "up")
        ip("-n", name, "route", "add", "default", "via", f"10.99.{number}.1")

    def __exit__(self, *_):
        for name in (self.hub, *self.clients):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, timeout=DEADLINE)

    def inside(self, name):
        return ["ip", "netns", "exec", name]

    def processes(self):
        """Those that are in the clients' namespaces."""
        found = [subprocess.check_output(["ip", "netns", "pids", name], text=True) for name in self.clients]
        return " ".join(found).split()

    def stats(self, port):
        """Reads the server's /stats in its network namespace."""
        get = f"import urllib.request as r; print(r.urlopen('http://10.99.0.1:{port}/stats').read().decode())"
        command = [*self.inside(self.hub), "python3", "-c", get]
        return json.loads(subprocess.check_output(command, text=True, timeout=DEADLINE))

    def shards(self, *arguments):
        """Starts `scripts/shards.sh`."""
        return subprocess.Popen(
            [str(part) for part in (SHARDS, "--start-in", START_IN_S, *arguments)],
            env=dict(os.environ, SSH=str(self.remote), STEADFAST=BINARY),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended(process):
    try:
        out, err = process.communicate(timeout=2 * DEADLINE)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE)
        raise AssertionError(f"it did not end:\n{out}\n{err}") from None
    return process.returncode, out, err


@pytest.fixture
def network(tmp_path):
    with Network(tmp_path) as joined:
        yield joined


@pytest.fixture
def serving(network):
    with Server("--listen", "10.99.0.1:0", inside=network.inside(network.hub)) as server:
        yield server


def added(reports, *path):
    """The sum of one figure of several reports."""
    total = 0
    for report in reports:
        for part in path:
            report = report[part]
        total += report
    return total


@needs_root
@needs_parallel
def test_reports_of_two_shards_are_merged(tmp_path, network, serving):
    merged, folder = tmp_path / "merged.json", tmp_path / "reports"
    flags = ["--connections", 1001, "--messages", 3, "--source", "10.99.1.2-10.99.1.3", "--source", "10.99.2.2-10.99.2.3"]
    told = ["--json", merged, "--html", tmp_path / "merged.html", "--assert", "lost == 0", "--reports", folder]
    asked_at_s = time.time()
    code, out, err = ended(network.shards(*told, *network.clients, "--", serving.uri(), *flags))
    assert code == 0, err + out
    report = json.loads(merged.read_text())
    whole = dict.fromkeys(("planned", "opened", "answered", "held", "closed"), 1001)
    assert whole.items() <= report["connections"].items() and report["connections"]["lost"] == 0
    assert report["ok"] is True and "1,001" in out

    singles = [json.loads((folder / f"shard-{number}.json").read_text()) for number in (1, 2)]
    assert sorted(single["connections"]["planned"] for single in singles) == [500, 501]
    for name in report["connections"]:
        assert report["connections"][name] == added(singles, "connections", name), name
    for path in (("sent",), ("replies",), ("connect", "samples"), ("reply", "samples"), ("alive", "samples")):
        assert added([report], *path) == added(singles, *path), path
    assert report["connect"]["max_us"] == max(single["connect"]["max_us"] for single in singles)

    # Beside them, each shard and this test asked it for its figures.
    assert network.stats(serving.address[1])["connections"]["ever"] >= 1001
    # Each host is named with what its flood said.
    assert all(re.search(rf"^{name}\t", err, re.MULTILINE) for name in network.clients), err
    # None began before the time that was set for all of them.
    assert min(single["started_at_s"] for single in singles) >= int(asked_at_s) + START_IN_S
    assert len(report["assertions"]) == 1 and "<html" in (tmp_path / "merged.html").read_text()
    assert network.processes() == []


@needs_root
@needs_parallel
def test_missing_host_ends_the_other_shards(tmp_path, network, serving):
    hosts = [network.clients[0], "steadfast-nowhere"]
    code, out, err = ended(network.shards("--json", tmp_path / "merged.json", *hosts, "--", serving.uri(), "--hold", 600))
    assert code == 2, err + out
    last = err.splitlines()[-1]
    assert last.startswith("shards.sh: shard 2 on steadfast-nowhere ended with ") and "nothing is merged" in last
    assert not (tmp_path / "merged.json").exists()
    assert network.processes() == []


@needs_root
@needs_parallel
def test_interrupted_shards_close_and_are_merged(tmp_path, network, serving):
    merged = tmp_path / "merged.json"
    script = network.shards("--json", merged, *network.clients, "--", serving.uri(), "--connections", 200, "--hold", 600)
    holding = set()
    while len(holding) < 2:
        line = script.stderr.readline()
        assert line, "it ended before it held"
        holding.update(re.findall(r"^(\S+)\thold", line))
    script.send_signal(signal.SIGTERM)
    code, out, err = ended(script)
    assert code == 1, err + out
    connections = json.loads(merged.read_text())["connections"]
    assert (connections["planned"], connections["opened"], connections["lost"]) == (200, 200, 0)
    assert network.processes() == []


@needs_root
@needs_parallel
def test_failed_assertion_of_the_merged_report_sets_the_exit_code(network, serving):
    # It would hold for one shard.
    told = ["--assert", "opened == 10"]
    code, out, err = ended(network.shards(*told, *network.clients, "--", serving.uri(), "--connections", 20))
    assert code == 3, err + out


@needs_root
@needs_parallel
def test_invalid_flood_flags_are_reported_by_the_shards(network, serving):
    code, out, err = ended(network.shards(*network.clients, "--", serving.uri(), "--connections", "many"))
    assert code == 2, err + out
    assert "--connections" in err and "many" in err and "nothing is merged" in err


@needs_parallel
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("left right", "shards.sh HOST ... -- URL"),
        ("-- ws://127.0.0.1/", "no host"),
        ("left --", "shards.sh HOST ... -- URL"),
        ("left -- ws://127.0.0.1/ --shard 1/2", "--shard"),
        ("left -- ws://127.0.0.1/ --start-at=5", "--start-at"),
        ("left -- ws://127.0.0.1/ --json FILE", "before --"),
        ("--start-in soon left -- ws://127.0.0.1/", "not 'soon'"),
        ("--jason FILE left -- ws://127.0.0.1/", "--jason"),
        ("--json", "--json needs an argument"),
    ],
)
def test_wrong_usage_is_reported_on_one_line(arguments, said):
    command = [SHARDS, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEADLINE)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def job():
    return yaml.safe_load(MANIFEST.read_text())


def test_manifest_is_an_indexed_job_with_one_shard_per_pod():
    manifest = job()
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    spec = manifest["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert spec["backoffLimitPerIndex"] == 0 and spec["template"]["spec"]["restartPolicy"] == "Never"
    (container,) = spec["template"]["spec"]["containers"]
    set_in = {one["name"]: one["value"] for one in container["env"]}
    assert int(set_in["SHARDS"]) == spec["completions"]
    assert all(isinstance(value, str) for value in set_in.values())
    (sysctl,) = spec["template"]["spec"]["securityContext"]["sysctls"]
    assert sysctl == {"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_kubectl_sets_the_start_time(tmp_path):
    # Its first command, up to the one that would need a cluster.
    command = re.search(r"^#     (kubectl set env .*) \| kubectl create", MANIFEST.read_text(), re.MULTILINE)[1]
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    now = yaml.safe_load(done.stdout)
    (container,) = now["spec"]["template"]["spec"]["containers"]
    (start,) = [one["value"] for one in container["env"] if one["name"] == "START_AT"]
    assert 0 < int(start) - time.time() <= 120
    # kubectl has parsed the rest as a Job: unknown fields would be missing.
    assert now["spec"].items() >= {"completionMode": "Indexed", "backoffLimitPerIndex": 0}.items()
    assert now["spec"]["template"]["spec"].keys() == job()["spec"]["template"]["spec"].keys()


def pod(folder, index, target, **changed):
    """Runs the command of a pod, with its files in a separate folder."""
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    program = folder / f"pod-{index}"
    program.mkdir()
    (program / "steadfast").symlink_to(BINARY)
    shell, flag, text = container["command"]
    text = text.replace("/tmp/report.json", shlex.quote(str(program / "report.json"))).replace("--hold 60", "--hold 1")
    told = {one["name"]: one["value"] for one in container["env"]}
    told |= {"TARGET": target, "CONNECTIONS": "202", "JOB_COMPLETION_INDEX": str(index)} | changed
    path = f"{program}:{os.environ['PATH']}"
    command = [shell, flag, text]
    done = subprocess.run(
        command, env=told | {"PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * DEADLINE
    )
    return done.returncode, done.stdout


def test_reports_of_the_pods_are_merged(tmp_path, server):
    start = str(int(time.time()) + START_IN_S)
    pods = range(job()["spec"]["completions"])
    with ThreadPoolExecutor(len(pods)) as pool:
        done = list(pool.map(lambda index: pod(tmp_path, index, server.uri(), START_AT=start), pods))
    files = []
    for index, (code, log) in enumerate(done):
        assert code == 0, log
        # As the manifest says to read a pod's log.
        cut = subprocess.run(["sed", "1,/^== report$/d"], input=log, capture_output=True, text=True, check=True)
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(cut.stdout)
    merged = tmp_path / "merged.json"
    command = [BINARY, "report", "merge", *files, "--json", merged]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE)
    connections = json.loads(merged.read_text())["connections"]
    assert (connections["planned"], connections["closed"], connections["lost"]) == (202, 202, 0)


def test_pod_without_a_start_time_says_what_is_missing(tmp_path):
    code, log = pod(tmp_path, 0, "ws://127.0.0.1:9/", START_AT="")
    assert code == 2 and "START_AT is not set" in log
