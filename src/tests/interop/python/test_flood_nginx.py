"""Our flood against nginx, which counts for itself: connections and requests in its status page, what it answered on
which connection in its access log."""

import re
import urllib.request
from collections import Counter

import pytest
from proxies import Proxy, program
from steadfast import flood

CONNECTIONS = 100

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1000; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format counts '$connection $connection_requests $status';
    access_log {folder}/access counts;
    keepalive_requests 1000000;
    keepalive_timeout 3600s;
    # Connections are numbered one after the other.
    map $connection $is_tenth {{ default 0; ~9$ 1; }}
    map $connection_requests $is_second {{ default 0; 2 1; }}
    map $is_tenth$is_second $ends {{ default 0; 11 1; }}
    server {{
        listen 127.0.0.1:{front} backlog=1024;
        root {folder}/pages;
        location / {{ }}
        location /ends-at-once {{ if ($is_tenth) {{ return 444; }} return 200 "a page\\n"; }}
        location /ends-at-the-second {{ if ($ends) {{ return 444; }} return 200 "a page\\n"; }}
        location /fails {{ if ($is_tenth) {{ return 500; }} return 200 "a page\\n"; }}
        location /thrice {{ keepalive_requests 3; return 200 "a page\\n"; }}
        location /status {{ access_log off; stub_status; }}
    }}
}}
"""

# The causes of a connection that the server ended: the kernel decides whether its end or a reset arrives first.
CUT = ["closed by peer", "reset"]


class CountingNginx(Proxy):
    """nginx with test pages."""

    def __init__(self, folder):
        super().__init__(None, folder)

    def command(self, front):
        pages = self.folder / "pages"
        pages.mkdir(exist_ok=True)
        (pages / "small.txt").write_text("a page\n")
        (pages / "large.txt").write_text("one line of a page\n" * 10_000)
        file = self.folder / "config"
        file.write_text(CONFIGURATION.format(folder=self.folder, front=front))
        return [program("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(file)]

    def url(self, path):
        return f"http://127.0.0.1:{self.front}{path}"

    def counted(self):
        """How many connections it has taken and requests it has got, those for this question included."""
        with urllib.request.urlopen(self.url("/status")) as page:
            accepts, _handled, requests = map(int, re.search(r"(\d+) (\d+) (\d+)", page.read().decode()).groups())
        return accepts, requests

    def answers_by_status(self):
        """Requests in its log for each status, and how many connections they came on."""
        lines = [line.split() for line in (self.folder / "access").read_text().splitlines()]
        return Counter(int(status) for *_, status in lines), len({connection for connection, *_ in lines})


async def run(tmp_path, path, messages):
    """A flood, and what nginx counted meanwhile: connections, requests, the answers in its log."""
    async with CountingNginx(tmp_path) as peer:
        accepts, requests = peer.counted()
        result = await flood(peer.url(path), tmp_path, connections=CONNECTIONS, messages=messages)
        accepts_now, requests_now = peer.counted()
        statuses, connections = peer.answers_by_status()
    # The second status request was itself one connection and one request.
    assert accepts_now - accepts - 1 == connections == CONNECTIONS == result.connections["opened"]
    assert requests_now - requests - 1 == statuses.total()
    return result, statuses


@pytest.mark.parametrize("path", ["/small.txt", "/large.txt"])
async def test_all_are_answered(tmp_path, path):
    result, statuses = await run(tmp_path, path, messages=3)
    result.assert_all(CONNECTIONS)
    # Three and one more on each, and those of the hold.
    assert result.report["replies"] >= 4 * CONNECTIONS
    assert statuses == {200: result.report["replies"]}
    assert result.report["reply_check"] == "content"


@pytest.mark.parametrize(
    "path, status, causes",
    [
        # 444 is how nginx calls it that it closed without an answer.
        ("/ends-at-once", 444, CUT),
        ("/ends-at-the-second", 444, CUT),
        ("/fails", 500, ["status 500"]),
    ],
)
async def test_every_tenth_connection_ended_by_the_server_is_reported(tmp_path, path, status, causes):
    lost = CONNECTIONS // 10
    result, statuses = await run(tmp_path, path, messages=2)
    result.assert_lost(CONNECTIONS, lost)
    result.assert_causes(causes, lost)
    assert statuses == {200: result.report["replies"], status: lost}


async def test_keep_alive_limit_of_the_server_is_reported(tmp_path):
    result, statuses = await run(tmp_path, "/thrice", messages=3)
    result.assert_lost(CONNECTIONS, CONNECTIONS)
    result.assert_causes(CUT, CONNECTIONS)
    assert (result.connections["answered"], result.connections["held"]) == (CONNECTIONS, 0)
    assert statuses == {200: result.report["replies"]} == {200: 3 * CONNECTIONS}
