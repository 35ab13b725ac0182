#!/usr/bin/env python3
"""Clients of scripts/soak.sh that the flood lacks: chat rooms, broadcasts, long polls, files, uploads, a unix socket, and peers
that misbehave. Healthy clients check every byte; lost ones are counted, with the reason, in a JSON file that is rewritten
every second.

    peers.py HOST PORT UNIX_SOCKET FILES_FOLDER STATE_FILE SCALE
"""
import asyncio
import collections
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys

HOST, PORT, UNIX, FOLDER, STATE, SCALE = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6], float(sys.argv[6])
# A healthy client that waits longer than this is lost.
PATIENCE_S = 60
did, lost, reasons = collections.Counter(), collections.Counter(), []
leaving = asyncio.Event()


class Wrong(Exception):
    """The server did something wrong."""


def source():
    """Returns a random source address: ports in TIME_WAIT are not free, so one address is not enough."""
    return f"127.0.9.{random.randrange(1, 200)}", 0


def frame(opcode, payload, fin=0x80):
    head = bytes([fin | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += bytes([0xFE]) + struct.pack(">H", size) if size < 65536 else bytes([0xFF]) + struct.pack(">Q", size)
    mask = random.randbytes(4)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big") if size else b""
    return head + mask + masked


class Peer:
    """A connection: HTTP at first, and a WebSocket after `upgrade`."""

    async def open(self, unix=False, buffer=None, limit=65536):
        if unix:
            self.read, self.write = await asyncio.open_unix_connection(UNIX)
            return self
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind(source())
        try:
            await asyncio.get_running_loop().sock_connect(sock, (HOST, PORT))
        except OSError:
            sock.close()
            raise
        self.read, self.write = await asyncio.open_connection(sock=sock, limit=limit)
        return self

    async def head(self):
        head = (await self.read.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split(" ", 2)[1])
        length = next((int(l[15:]) for l in head.split("\r\n") if l.lower().startswith("content-length:")), 0)
        return status, length

    async def upgrade(self, path):
        self.write.write(
            f"GET {path} HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        status, _ = await self.head()
        if status != 101:
            raise Wrong(f"{status} for an upgrade at {path}")
        return self

    async def frame(self):
        """Returns the payload of the next frame; pings are answered and skipped."""
        while True:
            first, size = await self.read.readexactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self.read.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.read.readexactly(8))
            payload = await self.read.readexactly(size)
            if first == 0x89:
                self.write.write(frame(0xA, payload))
                continue
            if first == 0x88:
                raise Wrong(f"closed with {payload!r}")
            return payload

    async def leave(self):
        """Closes with a closing handshake."""
        self.write.write(frame(8, struct.pack(">H", 1000)))
        try:
            while True:
                await self.frame()
        except Wrong as closed:
            if "\\x03\\xe8" not in str(closed):
                raise

    def abort(self):
        self.write.transport.abort()


async def pause(seconds):
    """Sleeps; returns True, early, when the soak ends."""
    try:
        await asyncio.wait_for(leaving.wait(), seconds)
        return True
    except asyncio.TimeoutError:
        return False


def healthy(kind):
    """Runs a healthy client again and again; any error counts as a loss."""

    def wrap(client):
        async def forever(*arguments):
            await pause(random.random() * 20)
            while not leaving.is_set():
                peer = Peer()
                try:
                    await client(peer, *arguments)
                    did[kind] += 1
                except (OSError, EOFError, Wrong, asyncio.TimeoutError) as error:
                    lost[kind] += 1
                    reasons.append(f"{kind}: {type(error).__name__}: {error}"[:200])
                    await pause(1)
                finally:
                    if hasattr(peer, "write"):
                        peer.abort()

        return forever

    return wrap


def patient(waited):
    return asyncio.wait_for(waited, PATIENCE_S)


async def speak(peer, say, interval, hear):
    """Sends the result of `say` at an interval, and passes received messages to `hear`, until the client's time is over."""
    over = asyncio.get_running_loop().time() + random.uniform(60, 240)

    async def listen():
        while True:
            hear(await peer.frame())

    listener = asyncio.ensure_future(listen())
    try:
        while asyncio.get_running_loop().time() < over:
            if await pause(interval * random.uniform(0.5, 1.5)) or listener.done():
                break
            if say:
                peer.write.write(frame(1, say()))
        if listener.done():
            listener.result()
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
    await patient(peer.leave())


@healthy("broadcast")
async def broadcast(peer, name, speaks):
    """Checks that all messages of each sender arrive in order."""
    await patient(peer.open())
    await patient(peer.upgrade("/broadcast"))
    next_of, own, life = {}, [0], random.randrange(1 << 40)

    def hear(payload):
        who, number = payload.split(b" ")[:2]
        if int(number) != next_of.get(who, int(number)):
            raise Wrong(f"message {int(number)} of {who.decode()} for {next_of[who]}")
        next_of[who] = int(number) + 1
        did["broadcast heard"] += 1

    def say():
        own[0] += 1
        return f"{name}.{life} {own[0]} ".encode() + b"x" * random.randrange(4000)

    await speak(peer, say if speaks else None, 4, hear)


@healthy("chat")
async def chat(peer, room, name):
    """Checks that everyone in a room receives each sender's messages in order."""
    await patient(peer.open())
    await patient(peer.upgrade(f"/chat/soak-{room}?name=n{name}"))
    next_of, own, life = {}, [0], random.randrange(1 << 40)

    def hear(payload):
        event = json.loads(payload)
        if event["type"] != "message":
            return
        who, number = event["text"].split(" ")
        if int(number) != next_of.get(who, int(number)):
            raise Wrong(f"message {number} of {who} for {next_of[who]}")
        next_of[who] = int(number) + 1
        did["chat heard"] += 1

    def say():
        own[0] += 1
        return f"{life} {own[0]}".encode()

    await speak(peer, say, 15, hear)


@healthy("unix")
async def unix(peer):
    await patient(peer.open(unix=True))
    await patient(peer.upgrade("/echo"))
    for _ in range(30):
        message = random.randbytes(random.choice([0, 20, 1000, 50_000]))
        peer.write.write(frame(2, message))
        if await patient(peer.frame()) != message:
            raise Wrong("another message came back")
        did["unix echoes"] += 1
        if await pause(2):
            break
    await patient(peer.leave())


@healthy("long poll")
async def long_poll(peer):
    await patient(peer.open())
    after = -1
    for _ in range(20):
        query = "" if after < 0 else f"?after={after}"
        peer.write.write(f"GET /long-poll{query} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
        status, length = await patient(peer.head())
        body = json.loads(await patient(peer.read.readexactly(length)))
        if status != 200 or body["n"] <= after:
            raise Wrong(f"{status} and {body['n']} after {after}")
        after = body["n"]
        did["long polls"] += 1
        if leaving.is_set():
            return


@healthy("files")
async def files(peer, is_slow):
    """Downloads long files and uploads long bodies; a slow reader reads about 20 KB/s."""
    name = random.choice(sorted(os.listdir(FOLDER)))
    with open(os.path.join(FOLDER, name), "rb") as file:
        right = file.read()
    await patient(peer.open(buffer=8192 if is_slow else None, limit=8192))
    peer.write.write(f"GET /{name} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
    status, length = await patient(peer.head())
    if status == 503:  # too many long files at a time; try again later
        did["files put off"] += 1
        await pause(random.uniform(1, 5))
        return
    if status != 200 or length != len(right):
        raise Wrong(f"{status}, {length} bytes for {name}")
    hash_, got = hashlib.sha1(), 0
    while got < length:
        piece = await patient(peer.read.read(4096 if is_slow else 65536))
        if not piece:
            raise Wrong(f"the end after {got} of {length} bytes of {name}")
        hash_.update(piece)
        got += len(piece)
        if is_slow:
            await asyncio.sleep(0.2)
            if leaving.is_set():
                return
    if hash_.digest() != hashlib.sha1(right).digest():
        raise Wrong(f"{name} differs")
    content = random.randbytes(random.randrange(100_000))
    peer.write.write(f"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
    status, length = await patient(peer.head())
    if status != 200 or await patient(peer.read.readexactly(length)) != content:
        raise Wrong(f"{status} for a content of {len(content)} bytes, or it differs")
    await pause(random.uniform(1, 5))


async def misbehave(kind):
    """Runs one misbehaving peer; any end of its connection is fine."""
    peer = Peer()
    try:
        await peer.open(buffer=4096)
        did[kind] += 1
        if kind == "garbage":
            peer.write.write(random.randbytes(random.randrange(1, 20_000)))
        elif kind == "half head":
            peer.write.write(b"GET /echo HTTP/1.1\r\nHost: so")
        elif kind == "silent":
            pass
        else:
            await peer.upgrade("/broadcast" if kind == "never reads" else "/echo")
            if kind == "bad frames":
                peer.write.write(bytes([random.randrange(256), random.randrange(256)]) + random.randbytes(500))
            elif kind == "half message":
                peer.write.write(frame(2, random.randbytes(30_000), fin=0) + frame(0, random.randbytes(60_000))[:40_000])
            elif kind == "never reads":
                peer.read._transport.pause_reading()
            elif kind == "reset":
                peer.write.write(frame(2, random.randbytes(60_000)) * 4)
                return
        if kind == "never reads":
            await pause(60)
        else:
            await asyncio.wait_for(peer.read.read(-1), random.uniform(1, 40))
    except (OSError, EOFError, Wrong, asyncio.TimeoutError):
        pass
    finally:
        if hasattr(peer, "write"):
            sock = peer.write.get_extra_info("socket")
            if sock is not None and random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.abort()


async def bad(kind, per_s):
    running = set()
    while not await pause(random.expovariate(per_s)):
        if len(running) < 60:
            task = asyncio.ensure_future(misbehave(kind))
            running.add(task)
            task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def write_state():
    state = {"did": did, "lost": sum(lost.values()), "by_kind": lost, "reasons": reasons[-20:]}
    with open(STATE + ".new", "w") as file:
        json.dump(state, file)
    os.replace(STATE + ".new", STATE)


async def main():
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, leaving.set)
    many = lambda count: range(max(1, round(count * SCALE)))
    tasks = [broadcast(f"b{i}", i < 6) for i in many(200)]
    tasks += [chat(i % 20, i) for i in many(200)]
    tasks += [unix() for _ in many(100)] + [long_poll() for _ in many(200)]
    tasks += [files(False) for _ in many(10)] + [files(True) for _ in many(10)]
    tasks += [bad("garbage", 2), bad("half head", 1), bad("silent", 1), bad("bad frames", 2)]
    tasks += [bad("half message", 1), bad("never reads", 0.5), bad("reset", 1)]
    all_ = asyncio.gather(*tasks)
    while not all_.done():
        write_state()
        await asyncio.wait([all_], timeout=1)
    await all_
    write_state()


asyncio.run(main())
