"""Many connections at once: none mixes with another, none suffers from another."""

import asyncio
import contextlib

from client import opened
from websockets.exceptions import ConnectionClosed
from wire import BINARY, TEXT, Wire, frame, get, upgrade

CONNECTIONS = 200


async def test_each_of_many_connections_gets_its_own_messages(server):
    everyone_is_open = asyncio.Barrier(CONNECTIONS)

    async def one(number):
        messages = [f"{number}/{at} " + "ß" * (number * at) for at in range(5)]
        messages += [bytes([number % 256]) * (number + 1)]
        async with opened(server) as client:
            await everyone_is_open.wait()
            for message in messages:
                await client.send(message)
            assert [await client.recv() for _ in messages] == messages
            # None leaves while another still talks.
            await everyone_is_open.wait()
            await client.close()
            return client.close_code

    codes = await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    assert codes == [1000] * CONNECTIONS


async def test_connections_that_come_and_go(server):
    async def one(number):
        for turn in range(10):
            async with opened(server) as client:
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    await asyncio.gather(*(one(number) for number in range(20)))


async def rude(server, number):
    """One way of being no WebSocket client, another for each number; ends when the server has ended it."""
    if number % 4 == 3:
        wire = await Wire.upgraded(server)
        # A reset within a frame that was announced long.
        await wire.send(frame(BINARY, length=b"\x7f" + (1 << 19).to_bytes(8, "big")) + bytes(number))
        wire.reset()
        return
    async with await Wire.to(server) as wire:
        if number % 4 == 0:
            await wire.send(bytes(range(256)) * 8)
        elif number % 4 == 1:
            await wire.send(upgrade() + frame(TEXT, b"\xff\xfe") + frame(TEXT, b"more") * number)
        else:
            await wire.send(get("/echo") + upgrade(Sec_WebSocket_Key="no") + bytes(number))
        wire.finish()
        await wire.rest()


async def test_garbage_on_one_connection_does_not_affect_others(server):
    done = asyncio.Event()

    async def polite(number):
        turns = 0
        async with opened(server) as client:
            while not done.is_set() or turns < 3:
                await client.send(f"{number} {turns}")
                assert await client.recv() == f"{number} {turns}"
                turns += 1

    # Enough of both that each reactor has both.
    talking = [asyncio.create_task(polite(number)) for number in range(16)]
    await asyncio.gather(*(rude(server, number) for number in range(64)))
    done.set()
    await asyncio.gather(*talking)


# More than the kernel's buffers take in on both sides, so that some of it stays with the server.
PIECE = bytes(1 << 16)
STUFFING = frame(BINARY, PIECE) * 256


async def test_slow_reader_does_not_delay_others(server):
    async with await Wire.upgraded(server) as slow, opened(server) as client:
        stuffing = asyncio.create_task(slow.send(STUFFING))
        for turn in range(200):
            await client.send(str(turn))
            assert await client.recv() == str(turn)
        for _ in range(256):
            assert await slow.frame() == (0x82, PIECE)
        await stuffing


async def test_vanished_peer_with_unread_replies_is_ended(server):
    slow = await Wire.upgraded(server)
    async with opened(server) as client:
        stuffing = asyncio.create_task(slow.send(STUFFING))
        for turn in range(50):
            await client.send(str(turn))
            assert await client.recv() == str(turn)
        stuffing.cancel()
        await asyncio.gather(stuffing, return_exceptions=True)
        slow.reset()
        await client.send("after")
        assert await client.recv() == "after"


async def test_client_that_vanishes_silently_is_ended(server):
    async with opened(server) as stays:
        leaves = await opened(server)
        leaves.transport.abort()
        with contextlib.suppress(ConnectionClosed):
            await leaves.recv()
        await stays.send("here")
        assert await stays.recv() == "here"
