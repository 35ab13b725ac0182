#!/usr/bin/env python3
"""Attacks the memory of `steadfast serve`, and compares the peak of its RssAnon with its limit.

    scripts/attacks.py [--binary target/release/steadfast] [--limits 4,64,512] [ATTACK ...]

Each attack runs against its own server. Attackers connect from 127.0.0.2. An honest client at 127.0.0.3 keeps a WebSocket open
and sends a message every 50 ms; more clients at that address request a page. The bar for the peak is the memory with all
connections open and idle, plus the limit, plus 64 KiB per reactor. Exit code 1 if an attack exceeds it or an honest client fails.
"""

import argparse
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

MIB = 1 << 20
REACTORS = 2
UPGRADE = (
    "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
NO_TAKEOVER = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"


def frame(first, payload, declared=None):
    """Makes a client's frame, masked with zeros; its header declares `declared` bytes if `payload` is only a part."""
    length = len(payload) if declared is None else declared
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + payload


def deflated(payload):
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Server:
    def __init__(self, binary, limit, arguments, places=18000):
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--reactors", str(REACTORS)]
        command += ["--max-connections", str(places), "--max-buffer-bytes", str(limit), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.port = int(line.split()[2].rsplit(":", 1)[1])
            if line.strip() == "ready":
                return
        raise SystemExit("the server did not start")

    def anonymous(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))

    def connect(self, host, buffer=0, timeout=10.0):
        peer = socket.socket()
        if buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        peer.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        peer.bind((host, 0))
        peer.settimeout(timeout)
        peer.connect(("127.0.0.1", self.port))
        return peer

    def stats(self):
        with self.connect("127.0.0.3") as peer:
            peer.sendall(b"GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := peer.recv(1 << 16):
                answer += piece
        return answer.split(b"\r\n\r\n", 1)[1]

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def read_head(peer):
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = peer.recv(4096)
        if not piece:
            break
        answer += piece
    return answer


def upgraded(server, host, fields="", buffer=0):
    peer = server.connect(host, buffer)
    peer.sendall((UPGRADE % fields).encode())
    head = read_head(peer)
    assert b" 101 " in head, head
    return peer


class Watch(threading.Thread):
    """Samples the memory, and runs the honest clients."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.peak, self.slowest, self.lost, self.done = server, 0, 0.0, None, False
        self.newcomers, self.refused, self.unanswered = 0, 0, 0
        self.honest = upgraded(server, "127.0.0.3")

    def run(self):
        sampler = threading.Thread(target=self.sample, daemon=True)
        sampler.start()
        while not self.done and self.lost is None:
            self.ask()
            time.sleep(0.05)
        sampler.join()

    def ask(self):
        since = time.monotonic()
        try:
            self.honest.sendall(frame(0x82, b"are you there?"))
            if len(self.honest.recv(100)) != 16:
                self.lost = "the honest connection ended"
        except OSError as error:
            self.lost = f"the honest connection: {error}"
        self.slowest = max(self.slowest, time.monotonic() - since)
        self.newcomers += 1
        try:
            with self.server.connect("127.0.0.3", timeout=2.0) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                head = read_head(peer)
            self.refused += b" 503 " in head
            self.unanswered += not head.startswith(b"HTTP/1.1 ")
        except OSError:
            self.unanswered += 1

    def sample(self):
        while not self.done:
            self.peak = max(self.peak, self.server.anonymous())
            time.sleep(0.002)


def push(peers, payload, seconds):
    """Sends `payload` on all connections as far as the server accepts it, without waiting for the others."""
    selector, left = selectors.DefaultSelector(), {}
    for peer in peers:
        peer.setblocking(False)
        left[peer] = memoryview(payload)
        selector.register(peer, selectors.EVENT_WRITE)
    until = time.monotonic() + seconds
    while left and time.monotonic() < until:
        for key, _ in selector.select(0.1):
            peer = key.fileobj
            try:
                left[peer] = left[peer][peer.send(left[peer]) :]
            except BlockingIOError:
                continue
            except OSError:
                left[peer] = b""
            if not left[peer]:
                selector.unregister(peer)
                del left[peer]
    return len(left)


def drip(peers, begin, seconds):
    """Sends `begin`, then one byte every 1.2 s, for messages that do not end."""
    push(peers, begin, 5)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        push(peers, b"x", 0.1)
        time.sleep(1.2)


# The attacks. ATTACKS below has for each: the function, flags of the server, fields of the upgrade, bytes per connection.
def fragments(limit, peers, seconds):
    push(peers, frame(0x42, deflated(os.urandom(240) + bytes(20000))), seconds)


def takeover(limit, peers, seconds):
    push(peers, frame(0xC2, deflated(b"a window of mine")), seconds)


def inflating(limit, peers, seconds):
    push(peers, frame(0x42, deflated(bytes(900_000))), seconds)


def partial(limit, peers, seconds):
    push(peers, frame(0x82, bytes(MIB - 1), MIB), seconds)


def bodies(limit, peers, seconds):
    push(peers, b"POST /any HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + bytes(MIB - 1), seconds)


def readers(limit, peers, seconds):
    push(peers, frame(0x82, bytes(MIB)), seconds)


def small(limit, peers, seconds):
    push(peers, frame(0x02, b"x" * 10), seconds)


def writers(limit, peers, seconds):
    drip(peers, frame(0x82, bytes(limit // len(peers)), MIB), seconds)


ATTACKS = {
    "fragments": (fragments, ["--compression"], NO_TAKEOVER, 24 << 10),
    "takeover": (takeover, ["--compression", "--compression-takeover", "--compression-window-bits", "15", "--compression-min-bytes", "1"], DEFLATE, 100 << 10),
    "inflating": (inflating, ["--compression"], NO_TAKEOVER, 512 << 10),
    "partial": (partial, [], "", 512 << 10),
    "bodies": (bodies, [], None, 512 << 10),
    "readers": (readers, ["--socket-send-buffer-bytes", "4096"], "", 512 << 10),
    "small": (small, [], "", 128),
    "writers": (writers, [], "", 20 << 10),
}


def run(binary, name, limit):
    attack, flags, fields, each = ATTACKS[name]
    server = Server(binary, limit, flags)
    try:
        watch = Watch(server)
        count = min(max(2 * limit // each, 8), 16_000)
        buffer = 4096 if name == "readers" else 0
        if fields is None:
            peers = [server.connect("127.0.0.2") for _ in range(count)]
        else:
            peers = [upgraded(server, "127.0.0.2", fields, buffer) for _ in range(count)]
        idle = server.anonymous()
        watch.start()
        attack(limit, peers, 20.0)
        time.sleep(1.0)
        watch.done = True
        watch.join()
        for peer in peers:
            peer.close()
        bar = limit + REACTORS * (64 << 10)
        grown = watch.peak - idle
        fine = grown <= bar and watch.lost is None and watch.unanswered == 0 and server.process.poll() is None
        print(
            f"{name:10} limit {limit // MIB:4} MiB, {count:6} peers: peak {grown / MIB:8.2f} MiB over idle, "
            f"bar {bar / MIB:8.2f}; honest: slowest {watch.slowest:.3f} s, {watch.refused} of {watch.newcomers} newcomers "
            f"503, {watch.unanswered} unanswered{', ' + watch.lost if watch.lost else ''}: {'ok' if fine else 'MISSED'}",
            flush=True,
        )
        return fine
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/steadfast")
    parser.add_argument("--limits", default="4,64,512", help="in MiB")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fine = True
    for limit in arguments.limits.split(","):
        for name in arguments.attacks or ATTACKS:
            fine &= run(arguments.binary, name, int(limit) * MIB)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
