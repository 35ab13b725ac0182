"""Behind a proxy: WebSockets, plain and compressed; HTTP over connections that stay; health checks."""

import asyncio
import http.client
import json

import pytest
from client import opened_at
from messages import chaos, noise, words
from proxies import PROXIES, Haproxy
from steadfast import DEADLINE, Server
from websockets.exceptions import InvalidStatus
from wire import Wire, get

LIMIT = 1 << 20
COMPRESSION = {
    "off": [],
    "default": ["--compression"],
    "takeover": ["--compression", "--compression-takeover", "--compression-window-bits", "15"],
}


@pytest.fixture(params=PROXIES, ids=lambda kind: kind.__name__)
def proxied(request, tmp_path):
    """A server with compression, and a proxy to be opened in front of it."""
    with Server("--listen", "127.0.0.1:0", *COMPRESSION["takeover"]) as server:
        yield request.param(server, tmp_path)


@pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("flags", COMPRESSION.values(), ids=COMPRESSION)
async def test_websocket(kind, flags, tmp_path):
    with Server("--listen", "127.0.0.1:0", *flags) as server:
        async with kind(server, tmp_path) as proxy:
            async with opened_at(proxy.uri()) as client:
                assert ("Sec-WebSocket-Extensions" in client.response.headers) == bool(flags)
                for message in (words(0), words(1000), noise(70_000), chaos(70_000), words(1_000_000), chaos(100)):
                    await client.send(message)
                    assert await client.recv() == message
                await (await client.ping(b"through"))
                await client.close(4001, "grüße")
                assert client.protocol.close_rcvd.code == 4001


async def test_each_of_many_proxied_connections_gets_its_own_messages(proxied):
    async def one(number):
        async with opened_at(proxied.uri()) as client:
            for turn in range(5):
                message = f"{number} {turn} " * (number + 1) * 20
                await client.send(message)
                assert await client.recv() == message

    async with proxied:
        await asyncio.gather(*(one(number) for number in range(20)))


async def test_refused_upgrade_keeps_its_status(proxied):
    async with proxied:
        for path, options, status in (
            ("/nothing", {}, 404),
            ("/echo", {"origin": "http://example.org"}, 403),
            ("/stats", {}, 200),
        ):
            with pytest.raises(InvalidStatus) as refusal:
                await opened_at(proxied.uri(path), **options)
            assert refusal.value.response.status_code == status
        async with await Wire.to(proxied) as wire:
            await wire.send(get("/echo"))
            response = await wire.response()
            # Upgrade is a hop-by-hop field, so the proxy forwards the request without it.
            assert response.status == 426


async def test_stopping_server_closes_with_1001_through_the_proxy(proxied):
    async with proxied:
        async with opened_at(proxied.uri()) as client:
            await client.send("here")
            assert await client.recv() == "here"
            proxied.server.signal()
            await client.wait_closed()
            assert client.close_code == 1001
        assert await asyncio.to_thread(proxied.server.wait) == 0


def one_connection(address):
    """Sends requests of every kind over one connection; returns the first and the last statistics."""
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE)
    connection.connect()
    own = connection.sock

    def ask(method, path, body=None, **options):
        connection.request(method, path, body=body, **options)
        response = connection.getresponse()
        content = response.read()
        assert connection.sock is own, f"{method} {path}: the connection did not stay"
        return response.status, content

    def stats():
        status, content = ask("GET", "/stats")
        assert status == 200
        return json.loads(content)

    first = stats()
    for body in (b"", b"x", noise(1000), noise(70_000), noise(LIMIT)):
        assert ask("POST", "/echo", body) == (200, body)
        pieces = iter([body[: len(body) // 2], body[len(body) // 2 :]])
        assert ask("POST", "/echo", pieces, encode_chunked=True) == (200, body)
        assert ask("GET", "/nothing") == (404, b'Not Found: there is nothing at "/nothing"\n')
        assert ask("PUT", "/echo", body)[0] == 405
        assert ask("HEAD", "/") == (200, b"")
        assert ask("OPTIONS", "/echo") == (204, b"")
    last = stats()
    connection.close()
    return first, last


async def test_http_over_kept_connections(proxied):
    async with proxied:
        first, last = await asyncio.to_thread(one_connection, proxied.address)
    asked = last["counters"]["requests"] - first["counters"]["requests"]
    opened = last["connections"]["ever"] - first["connections"]["ever"]
    # The proxy keeps its connections to the server, and may open another if it cannot know whether one is still open.
    assert asked == 31 and opened <= 3, f"{opened} connections for {asked} requests"


async def test_oversize_body_is_answered_413_through_the_proxy(proxied):
    def post(body):
        connection = http.client.HTTPConnection(*proxied.address, timeout=DEADLINE)
        connection.request("POST", "/echo", body=body)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    async with proxied:
        assert await asyncio.to_thread(post, bytes(LIMIT + 1)) == 413
        assert await asyncio.to_thread(post, bytes(LIMIT)) == 200


@pytest.mark.parametrize(
    "check, status",
    [
        # OPTIONS by HTTP/1.0, without Host.
        ("option httpchk", "204"),
        ("option httpchk GET /stats", "200"),
        ("option httpchk HEAD / HTTP/1.1\n    http-check send hdr Host example.org", "200"),
        ("option httpchk OPTIONS * HTTP/1.1\n    http-check send hdr Host example.org", "204"),
    ],
    ids=["http-1.0", "stats", "head", "asterisk"],
)
async def test_health_check(server, tmp_path, check, status):
    proxy = Haproxy(server, tmp_path)
    proxy.check, proxy.checked = check, "check inter 50ms"
    async with proxy:
        assert await proxy.health() == ("UP", "L7OK", status)
        async with opened_at(proxy.uri()) as client:
            await client.send("healthy")
            assert await client.recv() == "healthy"


async def test_health_check_of_an_unknown_path_fails(server, tmp_path):
    proxy = Haproxy(server, tmp_path)
    proxy.check, proxy.checked = "option httpchk GET /nothing", "check inter 50ms fall 1"
    async with proxy:
        state, kind, status = await proxy.health()
        assert (state.split()[0], kind, status) == ("DOWN", "L7STS", "404")
