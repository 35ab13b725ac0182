"""Proxies that others put in front of a server: nginx and haproxy, each with the least configuration that works."""

import asyncio
import os
import pathlib
import shutil
import socket
import subprocess

from steadfast import DEADLINE, ROOT

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(ROOT / "target/interop/proxies/usr/sbin")])

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # What nginx's own guide says about WebSocket; nothing in Connection keeps the connection to the server.
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream steadfast {{ server {host}:{port}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{front};
        # The server's own limit is the one that is looked at.
        client_max_body_size 0;
        location / {{
            proxy_pass http://steadfast;
            proxy_http_version 1.1;
            proxy_request_buffering {buffering};
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout {idle_s}s;
        }}
    }}
}}
"""

HAPROXY = """
global
    stats socket {folder}/stats level admin
defaults
    mode http
    timeout connect 30s
    timeout client 30s
    timeout server 30s
    timeout tunnel {idle_s}s
frontend front
    bind 127.0.0.1:{front}
    default_backend steadfast
backend steadfast
    http-reuse always
    {check}
    server one {host}:{port} {checked}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """A proxy in front of `server`, from the time that it answers until it is ended."""

    # How long a WebSocket may be silent: what nginx has if nothing is said.
    idle_s = 60

    def __init__(self, server, folder):
        self.server = server
        self.folder = pathlib.Path(folder)
        self.process = None

    def command(self, front):
        raise NotImplementedError

    def write(self, text, **values):
        host, port = self.server.address
        file = self.folder / "config"
        file.write_text(text.format(folder=self.folder, host=host, port=port, idle_s=self.idle_s, **values))
        return file

    @property
    def address(self):
        return "127.0.0.1", self.front

    def uri(self, path="/echo"):
        return f"ws://127.0.0.1:{self.front}{path}"

    async def __aenter__(self):
        # A port that was free a moment ago may be taken by another program: then the proxy ends, and gets another.
        for _ in range(10):
            self.front = free_port()
            self.log = open(self.folder / "log", "wb")
            self.process = subprocess.Popen(self.command(self.front), stdout=self.log, stderr=self.log)
            if await self.answers():
                return self
            self.end()
        raise AssertionError(f"{self.process.args} did not start: {(self.folder / 'log').read_text()}")

    async def answers(self):
        while self.process.poll() is None:
            try:
                socket.create_connection(self.address, DEADLINE).close()
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            # Another program's listener would have ended this one's.
            return self.process.poll() is None
        return False

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    async def __aexit__(self, *_):
        self.end()


class Nginx(Proxy):
    buffering = "on"

    def command(self, front):
        file = self.write(NGINX, front=front, buffering=self.buffering)
        return [program("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(file)]


class NginxAsItComes(Nginx):
    """Hands a body on while it arrives, in chunks where it came in chunks."""

    buffering = "off"


class Haproxy(Proxy):
    check, checked = "", ""

    def command(self, front):
        file = self.write(HAPROXY, front=front, check=self.check, checked=self.checked)
        return [program("haproxy"), "-db", "-f", str(file)]

    async def health(self):
        """What it found the server to be, when it has looked: status, kind of check, HTTP status."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self.folder / "stats")
            except FileNotFoundError:
                # It gets its name when all else is up: the front may take connections already.
                await asyncio.sleep(0.02)
                continue
            writer.write(b"show stat\n")
            table = (await reader.read()).decode()
            writer.close()
            names, *rows = [line.split(",") for line in table.removeprefix("# ").splitlines() if line]
            row = next(dict(zip(names, row)) for row in rows if row[:2] == ["steadfast", "one"])
            # The asterisk is for a check that is under way.
            kind = row["check_status"].removeprefix("* ")
            if kind not in ("", "INI"):
                return row["status"], kind, row["check_code"]
            await asyncio.sleep(0.02)


def program(name):
    found = shutil.which(name, path=PLACES)
    assert found, f"no {name}: run src/tests/interop/run.sh, which gets it"
    return found


class StockNginx(Nginx):
    """With the timeout that nginx has if its file says nothing: 60 s."""

    def write(self, text, **values):
        lines = text.splitlines(keepends=True)
        return super().write("".join(line for line in lines if "proxy_read_timeout" not in line), **values)


class StockHaproxy(Haproxy):
    """With the defaults of the file that Debian's package installs: `timeout client 50000`, and no `timeout tunnel`."""

    def write(self, text, **values):
        places = [ROOT / "target/interop/proxies/etc/haproxy/haproxy.cfg", pathlib.Path("/etc/haproxy/haproxy.cfg")]
        stock = next(place for place in places if place.exists()).read_text()
        defaults = [line for line in stock[stock.index("defaults") :].splitlines() if "errorfile" not in line]
        assert any(line.split() == ["timeout", "client", "50000"] for line in defaults), stock
        before, after = text.index("defaults"), text.index("frontend")
        return super().write(text[:before] + "\n".join(defaults) + "\n" + text[after:], **values)


PROXIES = [Nginx, NginxAsItComes, Haproxy]
