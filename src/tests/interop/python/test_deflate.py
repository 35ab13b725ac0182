"""permessage-deflate with the `websockets` client: negotiation, echoes, and the bytes saved."""

import json

import pytest
from client import opened
from messages import chaos, noise, words
from steadfast import Server
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from wire import Wire, get

LIMIT = 1 << 20
SIZES = [0, 1, 100, 1000, 70_000, 1_000_000]

# Flags of the server: whether it keeps windows, and the most bits of one.
SERVERS = {
    "default": ((), False, 12),
    "takeover-15": (("--compression-takeover", "--compression-window-bits", "15"), True, 15),
    "takeover-11": (("--compression-takeover", "--compression-window-bits", "11"), True, 11),
    "all-of-it": (("--compression-min-bytes=0", "--compression-level=9", "--compression-window-bits=9"), False, 9),
}

OFFERS = {
    "plain": dict(client_max_window_bits=None),
    "client-bits": dict(client_max_window_bits=True),
    "server-forgets": dict(server_no_context_takeover=True),
    "client-forgets": dict(client_no_context_takeover=True),
    "both-forget": dict(server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=None),
    "server-8": dict(server_max_window_bits=8),
} | {f"both-{bits}": dict(server_max_window_bits=bits, client_max_window_bits=bits) for bits in range(9, 16)}


@pytest.fixture(scope="module", params=SERVERS)
def deflating(request):
    """A server with compression, whether it keeps windows, and the most bits of one."""
    flags, keeps, bits = SERVERS[request.param]
    with Server("--listen", "127.0.0.1:0", "--compression", *flags) as running:
        yield running, keeps, bits


@pytest.fixture
def deflating_server(deflating):
    return deflating[0]


def offering(server, **offer):
    return opened(server, compression=None, extensions=[ClientPerMessageDeflateFactory(**offer)])


def agreed(offer, keeps, bits):
    """The answer that RFC 7692, section 7.1, leaves a server with these bounds, parameter by parameter."""
    server_bits = offer.get("server_max_window_bits")
    client_bits = offer.get("client_max_window_bits", True)
    limit = bits if client_bits is True else client_bits and min(bits, client_bits)
    # A client that did not say that its window can be limited may use 15 bits.
    client_keeps = keeps and not offer.get("client_no_context_takeover") and (limit or 15) <= bits
    return {
        "server_no_context_takeover": offer.get("server_no_context_takeover", False) or not keeps,
        "client_no_context_takeover": not client_keeps,
        "server_max_window_bits": server_bits and min(bits, server_bits),
        "client_max_window_bits": limit if client_keeps else None,
    }


def parameters(value):
    name, *rest = [part.strip() for part in value.split(";")]
    assert name == "permessage-deflate"
    found = dict.fromkeys(("server_no_context_takeover", "client_no_context_takeover"), False)
    found |= dict.fromkeys(("server_max_window_bits", "client_max_window_bits"))
    for part in rest:
        key, equals, number = part.partition("=")
        assert key in found and not found[key], f"unknown, or twice: {value}"
        found[key] = int(number) if equals else True
    return found


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_negotiated_parameters_and_echoes(deflating, offer):
    server, keeps, bits = deflating
    async with offering(server, **offer) as client:
        assert len(client.protocol.extensions) == 1
        assert parameters(client.response.headers["Sec-WebSocket-Extensions"]) == agreed(offer, keeps, bits)
        for size in SIZES:
            # The same thing twice: with a window that is kept, the second refers to the first.
            for message in (words(size), noise(size), chaos(size), chaos(size)):
                await client.send(message)
                assert await client.recv() == message


async def test_default_client_negotiates_compression(deflating_server):
    async with opened(deflating_server) as client:
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        await client.send(words(5000))
        assert await client.recv() == words(5000)


async def test_compression_is_not_negotiated_without_an_offer(deflating_server):
    async with opened(deflating_server, compression=None) as client:
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        await client.send(words(5000))
        assert await client.recv() == words(5000)


async def test_ping_between_compressed_fragments(deflating_server):
    async with opened(deflating_server) as client:
        parts = [words(3000), "", words(100_000), "end"]

        async def pieces():
            for part in parts:
                yield part
                await (await client.ping(b"in the middle"))

        for _ in range(2):
            await client.send(pieces())
            assert await client.recv() == "".join(parts)


async def closed_with(client):
    with pytest.raises(ConnectionClosed):
        await client.recv()
    return client.close_code


async def test_oversize_inflated_message_is_closed_with_1009(deflating_server):
    async with opened(deflating_server) as client:
        await client.send(bytes(LIMIT))
        assert await client.recv() == bytes(LIMIT)
        # A thousandth of that on the wire.
        await client.send(bytes(LIMIT + 1))
        assert await closed_with(client) == 1009


async def test_invalid_utf_8_after_inflation_is_closed_with_1007(deflating_server):
    async with opened(deflating_server) as client:
        await client.send(b"\xc3\x28" * 500, text=True)
        assert await closed_with(client) == 1007


async def traffic(server, exchange):
    """The bytes that `exchange` made the server receive and send."""
    async with await Wire.to(server) as wire:

        async def counted():
            await wire.send(get("/stats"))
            return await wire.response()

        before = await counted()
        await exchange()
        after = json.loads((await counted()).body)["bytes"]
        first = json.loads(before.body)["bytes"]
        head = 1024  # more than the first answer's, which is counted with the second
        return after["in"] - first["in"], after["out"] - first["out"] - len(before.body) - head


@pytest.mark.parametrize(
    "flags, size, short",
    [
        ((), 4000, False),
        (("--compression-takeover",), 3000, True),
        (("--compression-takeover", "--compression-window-bits", "15"), 4000, True),
        (("--compression-takeover", "--compression-window-bits", "9"), 4000, False),
        (("--compression-takeover", "--compression-min-bytes", "5000"), 4000, False),
        (("--compression-takeover", "--compression-min-bytes", "0"), 200, True),
        (("--compression-takeover",), 200, False),
    ],
)
async def test_repeated_message_is_short_if_the_window_is_kept(flags, size, short):
    times = 30
    with Server("--listen", "127.0.0.1:0", "--compression", *flags) as server:
        async with opened(server) as client:

            async def exchange():
                for _ in range(times):
                    await client.send(chaos(size))
                    assert await client.recv() == chaos(size)

            _, sent = await traffic(server, exchange)
    assert (sent < times * size // 2) == short, f"{sent} bytes"


async def test_text_is_compressed_on_the_wire(deflating_server):
    async with opened(deflating_server) as client:

        async def exchange():
            await client.send(words(1_000_000))
            assert await client.recv() == words(1_000_000)

        received, sent = await traffic(deflating_server, exchange)
    assert received < 100_000 and sent < 100_000
