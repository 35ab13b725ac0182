"""The program under test: a server that runs, and a flood that ran."""

import asyncio
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[4]
BINARY = os.environ.get("STEADFAST", str(ROOT / "target" / "release" / "steadfast"))

# Nothing is measured against this: it only turns a hang into a failure, so it is far above what a slow host needs.
DEADLINE = 30

LISTENING = re.compile(r"listening on (.+) \((\w+)\)")


class Server:
    """`steadfast serve`, from `ready` until it was stopped; `inside` is what starts it elsewhere."""

    def __init__(self, *arguments, inside=()):
        self.process = subprocess.Popen(
            [*inside, BINARY, "serve", "--stats-max-age-ms", "0", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self._lines = queue.SimpleQueue()
        # Read to the end even after `ready`: a full pipe would block the server.
        threading.Thread(target=self._drain, daemon=True).start()
        try:
            self.announced = self._until_ready()
        except BaseException:
            self.kill()
            raise
        found = [LISTENING.search(line) for line in self.announced]
        self.places = [place for match in found if match for place in match[1].split()]
        self.protocols = {match[2] for match in found if match}

    def _drain(self):
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())
        self._lines.put(None)

    def _until_ready(self):
        lines = []
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"never said `ready`: {lines}") from None
            if line is None:
                raise AssertionError(f"ended with {self.process.wait()} before `ready`: {lines}")
            if line == "ready":
                return lines
            lines.append(line)

    @property
    def address(self):
        """Host and port of the first TCP listener."""
        place = next(place for place in self.places if not place.startswith("unix:"))
        host, port = place.rsplit(":", 1)
        return host.strip("[]"), int(port)

    def uri(self, path="/echo"):
        host, port = self.address
        return f"ws://{f'[{host}]' if ':' in host else host}:{port}{path}"

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("did not end after its signal") from None

    def stop(self):
        self.signal()
        return self.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.process.poll()
        if code is None:
            code = self.stop()
        # The body's own failure says more than the exit code that follows from it.
        if kind is None:
            assert code == 0, f"exit code {code}"


@dataclass
class Flood:
    """What a flood said when it had ended."""

    code: int
    report: dict
    output: str

    @property
    def connections(self):
        return self.report["connections"]

    @property
    def causes(self):
        return {cause: count for cause, count in self.report["lost_by_cause"].items() if count}

    def assert_causes(self, known, lost):
        """Those that were lost are so for one of the `known` causes."""
        assert sum(self.causes.get(cause, 0) for cause in known) == lost, self.causes

    def assert_all(self, planned):
        """Every connection went the whole way."""
        whole = dict.fromkeys(("planned", "opened", "answered", "held", "closed"), planned)
        assert self.connections == whole | {"lost": 0, "reopened": 0}, self.output
        assert not self.causes
        assert self.code == 0, self.output

    def assert_lost(self, planned, lost):
        """Exactly `lost` went astray, each with a cause, and all others went the whole way."""
        counted = self.connections
        assert (counted["planned"], counted["lost"]) == (planned, lost), self.output
        assert counted["closed"] + counted["lost"] == planned
        assert planned >= counted["opened"] >= counted["answered"] >= counted["held"] >= counted["closed"]
        assert sum(self.causes.values()) == lost, self.report["lost_by_cause"]
        assert self.code == 1, self.output


async def flood(target, folder, *, connections, messages=1, payload=16, hold=1):
    """Runs `steadfast flood` beside the event loop that serves it."""
    file = pathlib.Path(folder) / "flood.json"
    options = dict(connections=connections, messages=messages, payload=payload, hold=hold, json=file)
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(
        BINARY,
        "flood",
        target,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    text = output.decode(errors="replace")
    assert file.exists(), f"exit code {process.returncode} without a report:\n{text}"
    return Flood(process.returncode, json.loads(file.read_text()), text)
