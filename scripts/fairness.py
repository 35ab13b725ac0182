#!/usr/bin/env python3
"""Takes all that one source can get of `steadfast serve`, and counts how many requests of another source are answered in time.

    scripts/fairness.py [--binary target/release/steadfast] [--seconds 60] [ATTACK ...]

Each attack runs against its own server, from 127.0.0.2: 1,500 silent sockets where a source may have 10 of 200 places
(sources), 90 upgrades per second where the server accepts 10 (upgrades), 32 readers of a file at 3 KB/s (files), 200
connections that request large echoes and read 200 B/s (readers). An honest client at 127.0.0.3 sends two requests per second,
each on a new connection. The bar: 95 of 100 of its requests are answered correctly within a second. Exit code 1 if an attack
misses it.
"""

import argparse
import resource
import selectors
import socket
import sys
import tempfile
import threading
import time

from attacks import MIB, UPGRADE, Server, frame, read_head, upgraded

FILE_BYTES = 256 << 10
BAR = 0.95
PAGE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
FILE = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Honest(threading.Thread):
    """Sends a request every half second, and counts those that are answered within a second."""

    def __init__(self, server, ask):
        super().__init__(daemon=True)
        self.server, self.ask, self.asked, self.answered, self.slowest, self.done = server, ask, 0, 0, 0.0, False

    def run(self):
        while not self.done:
            since = time.monotonic()
            try:
                is_right = self.ask(self.server)
            except OSError:
                is_right = False
            took = time.monotonic() - since
            self.asked += 1
            self.answered += is_right and took <= 1.0
            self.slowest = max(self.slowest, took)
            time.sleep(max(0.0, 0.5 - took))


def ask(server, request):
    with server.connect("127.0.0.3", timeout=5.0) as peer:
        peer.sendall(request)
        answer = b""
        while piece := peer.recv(1 << 16):
            answer += piece
    return answer


def ask_page(server):
    return ask(server, PAGE).startswith(b"HTTP/1.1 200 ")


def ask_file(server):
    answer = ask(server, FILE)
    return answer.startswith(b"HTTP/1.1 200 ") and len(answer) > FILE_BYTES


def ask_upgrade(server):
    with server.connect("127.0.0.3", timeout=5.0) as peer:
        peer.sendall((UPGRADE % "").encode())
        return read_head(peer).startswith(b"HTTP/1.1 101 ")


def begun(server, buffer=0):
    """Starts to open a connection, without waiting for it."""
    peer = socket.socket()
    if buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    peer.bind(("127.0.0.2", 0))
    peer.setblocking(False)
    peer.connect_ex(("127.0.0.1", server.port))
    return peer


def sources(server, until):
    """Keeps 1,500 sockets open: those that the server closes are opened again."""
    selector = selectors.DefaultSelector()
    for _ in range(1500):
        selector.register(begun(server), selectors.EVENT_READ)
    while time.monotonic() < until:
        for key, _ in selector.select(0.1)[:100]:
            try:
                is_open = bool(key.fileobj.recv(4096))
            except BlockingIOError:
                continue
            except OSError:
                is_open = False
            if not is_open:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                selector.register(begun(server), selectors.EVENT_READ)


def upgrades(server, until):
    peers = []
    while time.monotonic() < until:
        peer = server.connect("127.0.0.2")
        peer.sendall((UPGRADE % "").encode())
        peers.append(peer)
        if len(peers) > 900:
            peers.pop(0).close()
        time.sleep(1 / 90)


def take_slowly(peers, bytes_per_s, until):
    """Reads at `bytes_per_s`, a tenth of a second's share at a time."""
    for peer in peers:
        peer.setblocking(False)
    while time.monotonic() < until:
        for peer in peers:
            try:
                peer.recv(max(1, bytes_per_s // 10))
            except OSError:
                pass
        time.sleep(0.1)


def files(server, until):
    peers = [server.connect("127.0.0.2", 4096) for _ in range(32)]
    for peer in peers:
        peer.sendall(FILE)
    take_slowly(peers, 3000, until)


def readers(server, until):
    peers = [upgraded(server, "127.0.0.2", "", 4096) for _ in range(200)]
    for peer in peers:
        peer.setblocking(False)
        try:
            peer.send(frame(0x82, bytes(MIB // 4)))
        except OSError:
            pass
    take_slowly(peers, 200, until)


ATTACKS = {
    "sources": (sources, ask_page, 200, ["--max-connections-per-source", "10"]),
    "upgrades": (upgrades, ask_upgrade, 18000, ["--max-upgrades-per-s", "10"]),
    "files": (files, ask_file, 18000, ["--socket-send-buffer-bytes", "4096"]),
    "readers": (readers, ask_page, 18000, ["--socket-send-buffer-bytes", "4096"]),
}


def run(binary, name, seconds):
    attack, ask_honestly, places, flags = ATTACKS[name]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/large", "wb") as large:
            large.write(bytes(FILE_BYTES))
        server = Server(binary, 1024 * MIB, ["--static", folder, *flags], places)
        try:
            honest = Honest(server, ask_honestly)
            honest.start()
            attack(server, time.monotonic() + seconds)
            honest.done = True
            honest.join()
        finally:
            server.stop()
    share = honest.answered / honest.asked
    fine = share >= BAR
    print(
        f"{name:9} {seconds:3} s: {honest.answered} of {honest.asked} honest requests answered within a second, "
        f"{share:.3f} (bar {BAR}); slowest {honest.slowest:.3f} s: {'ok' if fine else 'MISSED'}",
        flush=True,
    )
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/steadfast")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = [run(arguments.binary, name, arguments.seconds) for name in arguments.attacks or ATTACKS]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
