"""HTTP and frames by hand, for what a well-behaved library refuses to send."""

import asyncio
import contextlib
import os
import socket
import struct
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9

# The example of RFC 6455, section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass
class Response:
    status: int
    headers: dict
    body: bytes

    def tokens(self, name):
        return {token.strip().lower() for token in self.headers.get(name, "").split(",")}


def upgrade(path="/echo", **changes):
    """Returns the head of a valid upgrade; None drops a header, and underscores become hyphens."""
    headers = {
        "Host": "localhost",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def get(path="/", method="GET", extra=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode()


def frame(opcode, payload=b"", *, first=None, masked=True, length=None):
    """Makes a client's frame; `first` replaces its first byte, `length` its length field and everything after it."""
    head = bytes([0x80 | opcode if first is None else first])
    flag = 0x80 if masked else 0
    if length is not None:
        head += bytes([flag | length[0]]) + length[1:]
    elif len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 65536:
        head += bytes([flag | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + len(payload).to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Wire:
    """One raw connection.

    Not asyncio's streams: those drop what they have read once a reset follows it, and a server may well end what it
    refuses with a reset behind its answer.
    """

    def __init__(self, connected):
        self.socket = connected
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()

    @classmethod
    async def to(cls, server):
        host, port = server.address
        connected = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        connected.setblocking(False)
        # Bytes that a test sends apart should also arrive apart.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = cls(connected)
        try:
            await wire.loop.sock_connect(connected, (host, port))
        except BaseException:
            connected.close()
            raise
        return wire

    @classmethod
    async def upgraded(cls, server):
        wire = await cls.to(server)
        await wire.send(upgrade())
        assert (await wire.response()).status == 101
        return wire

    async def send(self, data):
        # The peer may close on an error; what it sent before is still readable.
        with contextlib.suppress(ConnectionError):
            await self.loop.sock_sendall(self.socket, data)

    async def _more(self):
        try:
            part = await self.loop.sock_recv(self.socket, 65536)
        except ConnectionResetError:
            part = b""
        self.buffer += part
        return len(part)

    async def take(self, count):
        while len(self.buffer) < count:
            assert await self._more(), f"ended after {bytes(self.buffer[:200])}, {count} bytes were due"
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def response(self, bodiless=False):
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            assert await self._more(), f"ended within a head: {bytes(self.buffer[:200])}"
        status, *lines = (await self.take(end + 4)).decode("latin-1").split("\r\n")[:-2]
        pairs = [line.partition(":") for line in lines]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        code = int(status.split()[1])
        length = 0 if bodiless or code == 101 else int(headers.get("content-length", 0))
        return Response(code, headers, await self.take(length))

    async def frame(self):
        """First byte and payload of the server's next frame, which must not be masked."""
        first, length = await self.take(2)
        assert length < 128, "masked by the server"
        if length > 125:
            length = int.from_bytes(await self.take(2 if length == 126 else 8), "big")
        return first, await self.take(length)

    async def rest(self):
        """Returns everything that arrives until the peer ends the connection in any way."""
        while await self._more():
            pass
        return await self.take(len(self.buffer))

    def finish(self):
        """Half-closes: sends the end of the stream, and continues to read."""
        # After a reset there is nothing left to close.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.socket.close()
