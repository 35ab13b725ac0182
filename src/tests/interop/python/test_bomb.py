"""A compressed bomb: a megabyte that would be a gibibyte. It is refused at the limit, and never held beyond it."""

import asyncio
import contextlib
import functools
import pathlib
import re
import resource
import subprocess
import threading
import zlib

import pytest
import steadfast
from wire import BINARY, PING, TEXT, Wire, frame, upgrade

LIMIT = 1 << 20
# Memory besides the message so far: the decompressor with its window, and malloc's own.
SLACK = 64 << 10

MODES = {"shared": ["--compression"], "takeover": ["--compression", "--compression-takeover"]}


@functools.cache
def bomb():
    """1 GiB of zeros: 64 times the same 16 MiB, none of which refers to what is before it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = deflater.compress(bytes(1 << 24)) + deflater.flush(zlib.Z_FULL_FLUSH)
    inflater = zlib.decompressobj(-15)
    assert [len(inflater.decompress(part)) for _ in range(2)] == [1 << 24] * 2
    whole = (part * 64).removesuffix(b"\0\0\xff\xff")
    # Below the limit of the compressed size, so that it is not refused before it is inflated.
    assert LIMIT * 9 // 10 < len(whole) < LIMIT
    return whole


def deflated(data):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def compressed_frames(opcode, parts):
    """Only the first has RSV1 (RFC 7692 section 6.1), only the last FIN."""
    firsts = [0x40 | opcode] + [0] * (len(parts) - 1)
    firsts[-1] |= 0x80
    return [frame(opcode, part, first=first) for first, part in zip(firsts, parts, strict=True)]


@pytest.fixture(params=MODES.values(), ids=MODES)
def compressing(request):
    # One reactor has one heap, and one of everything that connections share.
    with steadfast.Server("--listen", "127.0.0.1:0", "--reactors", "1", *request.param) as running:
        yield running


async def opened(server):
    wire = await Wire.to(server)
    await wire.send(upgrade(Sec_WebSocket_Extensions="permessage-deflate"))
    response = await wire.response()
    assert response.status == 101
    assert response.headers["sec-websocket-extensions"].startswith("permessage-deflate")
    return wire


async def echoed(wire, data):
    await wire.send(frame(BINARY, deflated(data), first=0xC2))
    first, payload = await wire.frame()
    # Whether an answer is compressed is the server's own business.
    if first & 0x40:
        payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
    assert (first & 0xBF, payload) == (0x82, data)


async def assert_refused(wire):
    first, payload = await wire.frame()
    assert (first, int.from_bytes(payload[:2], "big")) == (0x88, 1009)
    wire.finish()
    assert await wire.rest() == b""


def proc(server, file, name):
    text = pathlib.Path(f"/proc/{server.process.pid}/{file}").read_text()
    return int(re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)[1]) * 1024


def user_bytes(server):
    """Its anonymous pages, as its page tables have them; RssAnon is dozens of pages wrong on some kernels."""
    return proc(server, "smaps_rollup", "Anonymous")


def is_at_rest(server):
    """Whether all its threads are there, the one that waits for signals too, and all of them sleep."""
    stats = [path.read_text() for path in pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/stat")]
    return len(stats) >= 3 and all(stat.rpartition(") ")[2].startswith("S") for stat in stats)


async def warmed_up(server):
    """What the server has when it has compressed and inflated before: what it keeps for that is there."""
    async with await opened(server) as wire:
        await echoed(wire, b"a message, a message, a message")
    # There is no event for the start of the last thread, nor for the end of a connection.
    while not is_at_rest(server):
        await asyncio.sleep(0)
    return user_bytes(server)


@contextlib.contextmanager
def no_more_than(server, bytes_more):
    """Has the kernel give the server no more memory than this, beyond what it has.

    What it wants in vain ends it, so a peak counts that is over before anyone looks. What the kernel notes of the
    highest RSS is less exact than what is asked for here.
    """
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_DATA)
    most = proc(server, "status", "VmData") + bytes_more
    resource.prlimit(pid, resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    except (AssertionError, OSError) as error:
        # The server takes a moment to end after its connections have ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = server.process.wait(1)
            raise AssertionError(f"ended with {code}: wanted more than {bytes_more} bytes") from error
        raise
    resource.prlimit(pid, resource.RLIMIT_DATA, before)


@contextlib.contextmanager
def sampled(server):
    """Gives a list of one number: the most memory that was seen of the server meanwhile."""
    peak, done = [user_bytes(server)], threading.Event()

    def sample():
        # What has ended has nothing to be read.
        with contextlib.suppress(OSError, TypeError):
            while not done.is_set():
                peak[0] = max(peak[0], user_bytes(server))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("size", [LIMIT, 1100, 64], ids=["whole", "in-a-thousand", "in-crumbs"])
async def test_compression_bomb_is_refused_without_keeping_it(compressing, opcode, size):
    idle = await warmed_up(compressing)
    frames = b"".join(compressed_frames(opcode, pieces(bomb(), size)))
    with no_more_than(compressing, LIMIT + SLACK), sampled(compressing) as peak:
        # Several, because malloc may keep what one has needed, and serve the next one otherwise.
        for _ in range(4):
            async with await opened(compressing) as wire:
                await wire.send(frames)
                await assert_refused(wire)
    assert peak[0] - idle <= LIMIT + SLACK
    # The limit is where it is said to be, and the server is well.
    async with await opened(compressing) as wire:
        await echoed(wire, bytes(LIMIT))


async def test_memory_is_that_of_the_inflated_part(compressing):
    """Fragment by fragment, and the server at rest after each."""
    idle = await warmed_up(compressing)
    inflater, inflated = zlib.decompressobj(-15), 0
    parts = pieces(bomb(), 64)
    async with await opened(compressing) as wire:
        for part, sent in zip(parts, compressed_frames(BINARY, parts), strict=True):
            inflated += len(inflater.decompress(part))
            await wire.send(sent)
            if inflated > LIMIT:
                break
            await wire.send(frame(PING, b"taken?"))
            assert await wire.frame() == (0x8A, b"taken?")
            assert user_bytes(compressing) - idle <= min(2 * inflated, LIMIT) + SLACK
        await assert_refused(wire)
