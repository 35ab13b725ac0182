"""The HTTP side of the port: pages, statistics, and every upgrade that is refused."""

import asyncio
import json

import pytest
from client import opened
from wire import ACCEPT, TEXT, Wire, frame, get, upgrade

HEAD_LIMIT = 16 * 1024


async def answer(server, request):
    async with await Wire.to(server) as wire:
        await wire.send(request)
        return await wire.response()


async def only_answer(server, request):
    """Returns the response to a request that must end the connection: bytes after it are not read as a request."""
    async with await Wire.to(server) as wire:
        await wire.send(request + get("/stats"))
        response = await wire.response()
        assert "close" in response.tokens("connection")
        wire.finish()
        assert await wire.rest() == b""
        return response


async def test_page(server):
    response = await answer(server, get("/"))
    assert response.status == 200
    assert response.headers["content-type"].lower().startswith("text/html")
    for name in (b"status", b"message", b"send", b"log"):
        assert name in response.body


async def test_keep_alive_and_pipelined_requests(server):
    async with await Wire.to(server) as wire:
        await wire.send(get("/") + get("/stats") + get("/"))
        page, stats, again = [await wire.response() for _ in range(3)]
        assert page.status == stats.status == again.status == 200
        assert page.body == again.body != stats.body
        await wire.send(get("/stats", extra="Connection: close\r\n"))
        last = await wire.response()
        assert last.status == 200 and "close" in last.tokens("connection")
        assert await wire.rest() == b""


async def test_upgrade_after_keep_alive(server):
    async with await Wire.to(server) as wire:
        await wire.send(get("/"))
        assert (await wire.response()).status == 200
        await wire.send(upgrade())
        assert (await wire.response()).status == 101
        await wire.send(frame(TEXT, b"now a socket"))
        assert await wire.frame() == (0x81, b"now a socket")


async def test_head_request_has_no_body(server):
    async with await Wire.to(server) as wire:
        await wire.send(get("/", method="HEAD", extra="Connection: close\r\n"))
        assert (await wire.response(bodiless=True)).status in (200, 405)
        assert await wire.rest() == b""


async def connections(wire):
    await wire.send(get("/stats"))
    response = await wire.response()
    assert response.headers["content-type"].lower().startswith("application/json")
    return json.loads(response.body)["connections"]


async def until(wire, expected):
    """Asks until the statistics say so: reactors may publish a moment later. The test's deadline bounds it."""
    while (seen := await connections(wire))["now"] != expected["now"] or seen["ever"] != expected["ever"]:
        await asyncio.sleep(0.05)


async def test_stats_count_connections(fresh):
    async with await Wire.to(fresh) as wire:
        await until(wire, {"now": 1, "ever": 1})
        clients = await asyncio.gather(*(opened(fresh) for _ in range(20)))
        await until(wire, {"now": 21, "ever": 21})
        await asyncio.gather(*(client.close() for client in clients))
        await until(wire, {"now": 1, "ever": 21})


async def test_upgrade_answers_the_example_of_the_rfc(server):
    response = await answer(server, upgrade())
    assert response.status == 101
    assert response.headers["sec-websocket-accept"] == ACCEPT
    assert response.headers["upgrade"].lower() == "websocket"
    assert "upgrade" in response.tokens("connection")
    assert "sec-websocket-extensions" not in response.headers
    assert "sec-websocket-protocol" not in response.headers


async def test_upgrade_names_and_tokens_ignore_case(server):
    head = upgrade(Connection="keep-alive, UPGRADE", Upgrade="WebSocket").decode()
    names = ("Host", "Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
    for name, odd in zip(names, (str.upper, str.lower, str.swapcase, str.lower, str.upper), strict=True):
        head = head.replace(f"{name}:", f"{odd(name)}:")
    assert (await answer(server, head.encode())).status == 101


async def test_upgrade_byte_by_byte(server):
    async with await Wire.to(server) as wire:
        for byte in upgrade() + frame(TEXT, b"drop by drop"):
            await wire.send(bytes([byte]))
        assert (await wire.response()).status == 101
        assert await wire.frame() == (0x81, b"drop by drop")


async def test_frames_in_the_same_segment_as_the_head(server):
    async with await Wire.to(server) as wire:
        await wire.send(upgrade() + frame(TEXT, b"one") + frame(TEXT, b"two"))
        assert (await wire.response()).status == 101
        assert await wire.frame() == (0x81, b"one")
        assert await wire.frame() == (0x81, b"two")


async def test_upgrade_path_may_carry_a_query(server):
    assert (await answer(server, upgrade("/echo?who=me&why=%2F"))).status == 101


BAD = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "words": b"hello there, how are you\r\n\r\n",
    "no-version": b"GET /\r\n\r\n",
    "control-in-target": b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "header-without-colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
    "no-key": upgrade(Sec_WebSocket_Key=None),
    "empty-key": upgrade(Sec_WebSocket_Key=""),
    "short-key": upgrade(Sec_WebSocket_Key="c2hvcnQ="),
    "long-key": upgrade(Sec_WebSocket_Key="bG9uZ2VyIHRoYW4gc2l4dGVlbiBieXRlcw=="),
    "key-not-base64": upgrade(Sec_WebSocket_Key="!" * 22 + "=="),
    "no-host": upgrade(Host=None),
}


@pytest.mark.parametrize("request_bytes", BAD.values(), ids=BAD)
async def test_bad_request(server, request_bytes):
    assert (await only_answer(server, request_bytes)).status == 400


@pytest.mark.parametrize("request_bytes", [upgrade("/nowhere"), upgrade("/echo/"), upgrade("/ECHO")])
async def test_upgrade_of_an_unknown_path(server, request_bytes):
    assert (await only_answer(server, request_bytes)).status == 404


@pytest.mark.parametrize("path", ["/nowhere", "/echo/more", "/favicon.ico", "/../etc/passwd", "/%00"])
async def test_unknown_path(server, path):
    assert (await answer(server, get(path))).status == 404


@pytest.mark.parametrize("path", ["/", "/echo", "/stats"])
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_wrong_method_is_answered_with_allow(server, method, path):
    response = await answer(server, get(path, method=method, extra="Content-Length: 0\r\n"))
    assert response.status == 405
    assert "get" in response.tokens("allow")
    assert method.lower() not in response.tokens("allow")


async def test_upgrade_with_a_wrong_method(server):
    response = await answer(server, upgrade().replace(b"GET", b"PUT"))
    assert response.status == 405
    assert "get" in response.tokens("allow")


NO_UPGRADE = {
    "plain": get("/echo"),
    "browser-like": get("/echo", extra="Connection: keep-alive\r\nAccept: */*\r\n"),
    "to-something-else": upgrade(Upgrade="h2c"),
    "no-upgrade-header": upgrade(Upgrade=None),
}


@pytest.mark.parametrize("request_bytes", NO_UPGRADE.values(), ids=NO_UPGRADE)
async def test_missing_upgrade_is_answered_426(server, request_bytes):
    response = await answer(server, request_bytes)
    assert response.status == 426
    assert response.tokens("upgrade") == {"websocket"}


@pytest.mark.parametrize("version", ["0", "8", "12", "14", "113"])
async def test_wrong_version_is_answered_with_the_supported_one(server, version):
    response = await only_answer(server, upgrade(Sec_WebSocket_Version=version))
    assert response.status == 426
    assert response.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("version", ["thirteen", "", None])
async def test_invalid_version_is_refused(server, version):
    assert (await only_answer(server, upgrade(Sec_WebSocket_Version=version))).status in (400, 426)


async def test_upgrade_without_connection_upgrade_is_refused(server):
    assert (await only_answer(server, upgrade(Connection="keep-alive"))).status in (400, 426)


async def test_upgrade_of_http_1_0(server):
    response = await answer(server, upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert response.status in (400, 426, 505)


def padded(size):
    """A head that is not ended and has exactly `size` bytes."""
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Padding: "
    return head + b"x" * (size - len(head))


async def test_head_below_the_limit(server):
    response = await answer(server, padded(HEAD_LIMIT - 100) + b"\r\n\r\n")
    assert response.status == 200


ENDLESS = {
    "one-header": padded(HEAD_LIMIT + 1),
    "many-headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % at for at in range(2000)),
    "upgrade": upgrade(Cookie="x" * HEAD_LIMIT)[:-2],
    "target": b"GET /" + b"x" * HEAD_LIMIT,
}


@pytest.mark.parametrize("head", ENDLESS.values(), ids=ENDLESS)
async def test_head_that_never_ends(server, head):
    async with await Wire.to(server) as wire:
        await wire.send(head)
        response = await wire.response()
        # RFC 9112 section 3: a request target that is too long has a separate status.
        assert response.status == 431 or head is ENDLESS["target"] and response.status == 414
        assert "close" in response.tokens("connection")
        wire.finish()
        assert await wire.rest() == b""
