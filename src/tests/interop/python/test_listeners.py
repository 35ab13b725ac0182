"""Where the server listens, and the protocol without frames."""

import asyncio
import os

import pytest
from client import opened, opened_at, opened_unix
from hosts import needs_ipv6
from steadfast import Server
from wire import Wire, upgrade


async def echoes(opening, message="grüße"):
    async with opening as client:
        await client.send(message)
        assert await client.recv() == message


async def test_announcement(fresh):
    assert fresh.protocols == {"ws"}
    host, port = fresh.address
    assert host == "127.0.0.1" and port > 0


async def test_unix_socket(tmp_path):
    path = tmp_path / "socket"
    with Server("--listen", f"unix:{path}") as server:
        assert server.places == [f"unix:{path}"]
        await echoes(opened_unix(path))
        await echoes(opened_unix(path), bytes(1 << 20))
        await asyncio.gather(*(echoes(opened_unix(path), str(number)) for number in range(50)))


@needs_ipv6
async def test_ipv6():
    with Server("--listen", "[::1]:0") as server:
        host, port = server.address
        assert host == "::1" and port > 0
        await echoes(opened(server))


@needs_ipv6
async def test_all_kinds_of_listeners_at_once(tmp_path):
    path = tmp_path / "socket"
    listens = ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0", f"unix:{path}"]
    with Server(*(part for place in listens for part in ("--listen", place))) as server:
        assert len(server.places) == len(set(server.places)) == len(listens)
        for place in server.places[:3]:
            await echoes(opened_at(f"ws://{place}/echo"), place)
        await echoes(opened_unix(path))


@pytest.fixture
def raw():
    with Server("--protocol", "tcp", "--listen", "127.0.0.1:0") as running:
        assert running.protocols == {"tcp"}
        yield running


async def test_tcp_echoes_bytes(raw):
    async with await Wire.to(raw) as wire:
        for data in (b"x", bytes(range(256)), upgrade(), b"\r\n\r\n", b"\x88\x80\x00\x00\x00\x00"):
            await wire.send(data)
            assert await wire.take(len(data)) == data


async def test_tcp_echoes_more_than_fits_into_its_buffers(raw):
    data = os.urandom(1 << 16) * 64
    async with await Wire.to(raw) as wire:
        _, back = await asyncio.gather(wire.send(data), wire.take(len(data)))
        assert back == data


async def test_tcp_half_close_still_receives_everything(raw):
    data = os.urandom(1 << 18)

    async def push(wire):
        await wire.send(data)
        wire.finish()

    async with await Wire.to(raw) as wire:
        _, back = await asyncio.gather(push(wire), wire.rest())
        assert back == data


async def test_each_of_many_tcp_connections_gets_its_own_bytes(raw):
    async def one(number):
        async with await Wire.to(raw) as wire:
            for turn in range(10):
                data = f"{number} {turn} ".encode() * (number + 1)
                await wire.send(data)
                assert await wire.take(len(data)) == data

    await asyncio.gather(*(one(number) for number in range(100)))


async def test_tcp_stops_with_connections_open(raw):
    async with await Wire.to(raw) as wire:
        await wire.send(b"known")
        assert await wire.take(5) == b"known"
        raw.signal()
        assert await wire.rest() == b""
    assert await asyncio.to_thread(raw.wait) == 0
