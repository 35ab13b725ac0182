"""Echoes: every kind and size of message, fragments, pings."""

import asyncio

import pytest
from client import opened
from messages import noise, words
from websockets.exceptions import InvalidStatus

# The edges of the three length encodings, and the largest message that is allowed.
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]


@pytest.fixture(params=[None, "deflate"], ids=["plain", "deflate-offered"])
def compression(request):
    return request.param


async def drained(pieces):
    for piece in pieces:
        yield piece


async def test_offered_compression_is_declined(server):
    async with opened(server, compression="deflate") as client:
        assert "permessage-deflate" in client.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        assert client.protocol.extensions == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("content", [noise, words])
async def test_message(server, compression, content, size):
    message = content(size)
    async with opened(server, compression=compression) as client:
        await client.send(message)
        assert await client.recv() == message


async def test_types_and_sizes_in_turn_on_one_connection(server, compression):
    messages = [content(size) for size in SIZES for content in (words, noise)]
    async with opened(server, compression=compression) as client:
        for message in messages:
            await client.send(message)
            assert await client.recv() == message


async def test_many_in_flight_come_back_in_order(server, compression):
    messages = [words(at) if at % 2 else noise(at) for at in range(500)]

    async def push(client):
        for message in messages:
            await client.send(message)

    async with opened(server, compression=compression) as client:
        pushing = asyncio.create_task(push(client))
        assert [await client.recv() for _ in messages] == messages
        await pushing


@pytest.mark.parametrize(
    "pieces",
    [
        [b"one", b"two", b"three"],
        ["ein", "ß", "世界", "🦀"],
        [b"", b"", b""],
        ["", "only the second says something", ""],
        [noise(125), noise(126), noise(65536)],
        [noise(1 << 18)] * 4,
        [b"x"] * 1000,
    ],
    ids=["binary", "text", "empty", "part-empty", "lengths", "limit-exactly", "thousand"],
)
async def test_fragments(server, compression, pieces):
    async with opened(server, compression=compression) as client:
        await client.send(drained(pieces))
        assert await client.recv() == pieces[0][:0].join(pieces)
        await client.send("and whole again")
        assert await client.recv() == "and whole again"


async def test_ping_between_fragments_is_answered_at_once(server):
    async with opened(server) as client:

        async def pieces():
            yield "before "
            # The message only goes on when the pong is there, so the server cannot have waited for its end.
            await (await client.ping(b"in the middle"))
            yield "after"

        await client.send(pieces())
        assert await client.recv() == "before after"


@pytest.mark.parametrize("payload", [b"", b"x", "grüße".encode(), noise(125)], ids=len)
async def test_ping(server, compression, payload):
    async with opened(server, compression=compression) as client:
        # The library resolves this only for a pong with the very same payload.
        await (await client.ping(payload))


async def test_pings_among_messages(server):
    async with opened(server) as client:
        pongs = []
        for at in range(100):
            await client.send(str(at))
            pongs.append(await client.ping(f"ping {at}"))
        assert [await client.recv() for _ in range(100)] == [str(at) for at in range(100)]
        await asyncio.gather(*pongs)


async def test_unsolicited_pong_is_ignored(server):
    async with opened(server) as client:
        await client.pong(b"unsolicited")
        await client.pong()
        await client.send("still here")
        assert await client.recv() == "still here"


async def test_unsupported_subprotocol_is_not_chosen(server):
    async with opened(server, subprotocols=["chat", "superchat"]) as client:
        assert client.subprotocol is None


async def test_unknown_headers_are_ignored(server):
    headers = {"Cookie": "a=b; c=d", "X-Long": "x" * 4000}
    async with opened(server, additional_headers=headers) as client:
        await client.send("in")
        assert await client.recv() == "in"


async def test_only_pages_of_the_same_origin_may_connect(server):
    own = server.uri("").replace("ws", "http", 1)
    async with opened(server, origin=own) as client:
        await client.send("in")
        assert await client.recv() == "in"
    for foreign in ("https://example.org", "http://localhost:1", "null"):
        with pytest.raises(InvalidStatus) as refusal:
            await opened(server, origin=foreign)
        assert refusal.value.response.status_code == 403
