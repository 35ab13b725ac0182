"""How connections end, in both directions."""

import asyncio
import signal

import pytest
from client import opened
from steadfast import Server
from websockets.exceptions import ConnectionClosed
from wire import BINARY, CLOSE, PING, TEXT, Wire, frame, get, upgrade

LIMIT = 1 << 20


def coded(code, reason=b""):
    return code.to_bytes(2, "big") + reason


@pytest.mark.parametrize(
    "code, reason",
    [(1000, "done"), (1000, ""), (1001, "going"), (1011, "oops"), (3000, "grüße 🦀"), (4999, "x" * 123)],
)
async def test_close_code_is_echoed(server, code, reason):
    async with opened(server) as client:
        await client.send("last")
        assert await client.recv() == "last"
        await client.close(code, reason)
        received = client.protocol.close_rcvd
        assert received.code == code
        # An answer may leave the reason out, but not make one up.
        assert received.reason in ("", reason)
        assert client.protocol.close_rcvd_then_sent is False


async def test_empty_close_is_answered_by_a_close(server):
    async with await Wire.upgraded(server) as wire:
        await wire.send(frame(CLOSE))
        first, payload = await wire.frame()
        assert (first, payload) in [(0x88, b""), (0x88, coded(1000))]
        assert await wire.rest() == b""


async def test_data_after_a_close_is_ignored(server):
    async with await Wire.upgraded(server) as wire:
        await wire.send(frame(TEXT, b"before") + frame(CLOSE, coded(1000)) + frame(TEXT, b"behind"))
        assert await wire.frame() == (0x81, b"before")
        first, payload = await wire.frame()
        assert (first, payload[:2]) == (0x88, coded(1000))
        assert await wire.rest() == b""


async def refused(client, message):
    """Sends a message that is refused; the refusal may arrive while it is still being sent."""
    try:
        await client.send(message)
        await client.recv()
    except ConnectionClosed:
        return client.close_code
    raise AssertionError("was echoed")


async def pieces(*parts):
    for part in parts:
        yield part


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("message", [bytes(LIMIT + 1), "x" * (LIMIT + 1)], ids=["binary", "text"])
async def test_oversize(server, compression, message):
    async with opened(server, compression=compression) as client:
        assert await refused(client, message) == 1009


async def test_oversize_in_fragments(server):
    async with opened(server) as client:
        assert await refused(client, pieces(bytes(LIMIT), b"x")) == 1009


async def test_oversize_is_refused_by_its_length_alone(server):
    async with await Wire.upgraded(server) as wire:
        await wire.send(frame(BINARY, length=b"\x7f" + (LIMIT + 1).to_bytes(8, "big")))
        first, payload = await wire.frame()
        assert (first, payload[:2]) == (0x88, coded(1009))


VIOLATIONS = {
    "unmasked": (frame(TEXT, b"x", masked=False), {1002}),
    "rsv1": (frame(TEXT, b"x", first=0xC1), {1002}),
    "rsv2": (frame(TEXT, b"x", first=0xA1), {1002}),
    "rsv3": (frame(TEXT, b"x", first=0x91), {1002}),
    "reserved-data-opcode": (frame(3, b"x"), {1002}),
    "reserved-control-opcode": (frame(11, b"x"), {1002}),
    "fragmented-ping": (frame(PING, b"x", first=0x09), {1002}),
    "long-ping": (frame(PING, bytes(126)), {1002}),
    "continuation-of-nothing": (frame(0, b"x"), {1002}),
    "message-within-message": (frame(TEXT, b"x", first=0x01) + frame(TEXT, b"y"), {1002}),
    "length-not-minimal-16": (frame(TEXT, length=b"\x7e\x00\x05"), {1002}),
    "length-not-minimal-64": (frame(TEXT, length=b"\x7f" + (65535).to_bytes(8, "big")), {1002}),
    "length-of-64-bits": (frame(BINARY, length=b"\x7f" + b"\xff" * 8), {1002, 1009}),
    "text-not-utf-8": (frame(TEXT, b"\xc3\x28"), {1007}),
    "text-ends-in-a-character": (frame(TEXT, "🦀".encode()[:3]), {1007}),
    "text-not-utf-8-across-fragments": (frame(TEXT, b"\xf0\x9f", first=0x01) + frame(0, b"x"), {1007}),
    "text-not-utf-8-in-a-first-fragment": (frame(TEXT, b"\xff", first=0x01), {1007}),
    "close-of-one-byte": (frame(CLOSE, b"\x03"), {1002}),
    "close-1005": (frame(CLOSE, coded(1005)), {1002}),
    "close-1006": (frame(CLOSE, coded(1006)), {1002}),
    "close-999": (frame(CLOSE, coded(999)), {1002}),
    "close-5000": (frame(CLOSE, coded(5000)), {1002}),
    "close-reason-not-utf-8": (frame(CLOSE, coded(1000, b"\xff")), {1002, 1007}),
}


@pytest.mark.parametrize("bad, codes", VIOLATIONS.values(), ids=VIOLATIONS)
async def test_violation_is_closed_with_the_code_of_the_rfc(server, bad, codes):
    async with await Wire.upgraded(server) as wire:
        await wire.send(frame(TEXT, b"still fine") + bad)
        assert await wire.frame() == (0x81, b"still fine")
        first, payload = await wire.frame()
        assert first == 0x88
        assert int.from_bytes(payload[:2], "big") in codes
        wire.finish()
        assert await wire.rest() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_signal_closes_all_with_1001_and_ends_with_0(number):
    with Server("--listen", "127.0.0.1:0") as server:
        clients = await asyncio.gather(*(opened(server) for _ in range(50)))
        for client in clients[::2]:
            await client.send("not all of them are idle")
            await client.recv()
        server.signal(number)
        await asyncio.gather(*(client.wait_closed() for client in clients))
        assert {client.close_code for client in clients} == {1001}
        assert {client.protocol.close_rcvd_then_sent for client in clients} == {True}
        assert await asyncio.to_thread(server.wait) == 0


async def test_signal_closes_one_that_is_within_a_message():
    with Server("--listen", "127.0.0.1:0") as server:
        async with await Wire.upgraded(server) as wire:
            # The pong shows that the server has read everything before the ping.
            await wire.send(frame(TEXT, b"half a", first=0x01) + frame(PING, b"seen"))
            assert await wire.frame() == (0x8A, b"seen")
            server.signal()
            first, payload = await wire.frame()
            assert (first, payload[:2]) == (0x88, coded(1001))
            await wire.send(frame(CLOSE, coded(1001)))
            assert await wire.rest() == b""
        assert await asyncio.to_thread(server.wait) == 0


async def test_signal_ends_connections_without_upgrade():
    with Server("--listen", "127.0.0.1:0") as server:
        async with await Wire.to(server) as idle, await Wire.to(server) as half, await Wire.to(server) as kept:
            await half.send(upgrade()[:40])
            await kept.send(get("/stats"))
            assert (await kept.response()).status == 200
            server.signal()
            for wire in (idle, half, kept):
                assert await wire.rest() == b""
        assert await asyncio.to_thread(server.wait) == 0


async def test_second_signal_does_not_wait_for_a_silent_peer():
    server = Server("--listen", "127.0.0.1:0")
    try:
        async with await Wire.upgraded(server) as wire:
            server.signal()
            first, payload = await wire.frame()
            assert (first, payload[:2]) == (0x88, coded(1001))
            server.signal()
            await asyncio.to_thread(server.wait)
    finally:
        server.kill()
