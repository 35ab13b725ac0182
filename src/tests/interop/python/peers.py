"""Third-party servers for the flood. Each records what it received."""

import asyncio
import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.asyncio.server import serve


class HangUp(Exception):
    """Raised by a reply to end the connection in its place."""


def echo(_number, _turn, message):
    return message


def tenth(number):
    return number % 10 == 9


class Ledger:
    """Who came, what they said, how they left."""

    def __init__(self):
        self.lengths = []
        self.codes = []
        self.everyone_left = asyncio.Event()
        self.everyone_left.set()

    def enter(self):
        self.everyone_left.clear()
        self.lengths.append([])
        return len(self.lengths) - 1

    def leave(self, code=None):
        self.codes.append(code)
        if len(self.codes) == len(self.lengths):
            self.everyone_left.set()

    @property
    def opened(self):
        return len(self.lengths)

    @property
    def messages(self):
        return sum(map(len, self.lengths))

    def assert_agrees(self, flood, unanswered=0):
        """Checks the flood's counts of connections and replies against those counted here; `unanswered` messages got no reply."""
        assert self.opened == flood.connections["opened"], flood.output
        assert self.messages - unanswered == flood.report["replies"], flood.output

    def assert_asked(self, connections, messages, payload):
        """Everyone sent all its messages; the trickle of the hold may come on top."""
        assert self.opened == connections
        assert all(len(lengths) >= messages for lengths in self.lengths)
        assert all(set(lengths[:messages]) <= {payload} for lengths in self.lengths)


@contextlib.asynccontextmanager
async def websocket_peer(reply=echo, *, host="127.0.0.1", process_request=None, pinging=False):
    """An echo server of `websockets`; `reply` decides what connection `number` gets for its message `turn`."""
    ledger = Ledger()
    ledger.pongs = 0
    ledger.requests = []

    async def ping(connection):
        await (await connection.ping(b"are you there"))
        ledger.pongs += 1

    async def one(connection):
        number = ledger.enter()
        ledger.requests.append(connection.request)
        try:
            async for message in connection:
                turn = len(ledger.lengths[number])
                ledger.lengths[number].append(len(message))
                await connection.send(reply(number, turn, message))
                if pinging and turn == 0:
                    await ping(connection)
        except HangUp as end:
            await hang_up(connection, *end.args)
        finally:
            ledger.leave(connection.close_code)

    async with serve(one, host, 0, process_request=process_request, max_size=None, ping_interval=None) as server:
        ledger.port = server.sockets[0].getsockname()[1]
        yield ledger


async def hang_up(connection, code=None, last=None):
    if last is not None:
        await connection.send(last)
    if code is None:
        connection.transport.abort()
        # Until then it has no code to be written down.
        await connection.wait_closed()
    else:
        await connection.close(code)


@contextlib.asynccontextmanager
async def tcp_peer(reply=echo):
    """An echo server of asyncio's streams; a reply is for each piece that arrives, not for each message."""
    ledger = Ledger()

    async def one(reader, writer):
        number = ledger.enter()
        try:
            while piece := await reader.read(65536):
                turn = len(ledger.lengths[number])
                ledger.lengths[number].append(len(piece))
                writer.write(reply(number, turn, piece))
                await writer.drain()
        except (HangUp, ConnectionError):
            writer.transport.abort()
        finally:
            ledger.leave()
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=1024)
    async with server:
        ledger.port = server.sockets[0].getsockname()[1]
        yield ledger


class StockHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.number = len(self.server.requests)
            self.server.requests.append([])

    def do_GET(self):
        requests = self.server.requests[self.number]
        requests.append(self.path)
        try:
            status = self.server.status(self.number, len(requests) - 1)
        except HangUp:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        """A line for each request would bury what failed."""


class StockServer(ThreadingHTTPServer):
    # The library's 5 would make connecting wait for retransmissions.
    request_queue_size = 1024
    # A thread that still waits for a request must not keep the test from ending.
    daemon_threads = True

    def __init__(self, status):
        super().__init__(("127.0.0.1", 0), StockHandler)
        self.status = status
        self.lock = threading.Lock()
        self.requests = []

    def handle_error(self, *_):
        """That a client resets a connection which it gave up is its right."""


@contextlib.contextmanager
def http_peer(status=lambda _number, _turn: 200):
    """Python's stock HTTP server with keep-alive; `status` decides what connection `number` gets at `turn`."""
    server = StockServer(status)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
