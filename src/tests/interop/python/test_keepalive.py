"""A proxy ends silent connections: the server's pings keep a WebSocket open."""

import asyncio
import contextlib

import pytest
from client import opened_at
from proxies import PROXIES, StockHaproxy, StockNginx
from steadfast import Server

# The proxy ends what has been silent for longer; the server speaks long before, and the test waits far beyond it.
IDLE_S = 4
PING_S = 1
SILENT_S = 10

each_proxy = pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.__name__)


def started(kind, folder, ping_s):
    server = Server("--listen", "127.0.0.1:0", "--ping-interval-s", str(ping_s))
    proxy = kind(server, folder)
    proxy.idle_s = IDLE_S
    return server, proxy


async def stays_open(kind, folder):
    server, proxy = started(kind, folder, PING_S)
    with server:
        async with proxy, opened_at(proxy.uri()) as client:
            # It is the time itself that is tested: nothing happens meanwhile that could be awaited, unless it fails.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.wait_closed(), SILENT_S)
            await client.send("still here")
            assert await client.recv() == "still here"


async def test_pings_keep_the_proxied_connection_open(tmp_path):
    # All at once, as each does nothing but wait.
    async with asyncio.TaskGroup() as group:
        for kind in PROXIES:
            folder = tmp_path / kind.__name__
            folder.mkdir()
            group.create_task(stays_open(kind, folder))


@each_proxy
async def test_proxy_ends_a_connection_without_pings(kind, tmp_path):
    server, proxy = started(kind, tmp_path, 60)
    with server:
        async with proxy, opened_at(proxy.uri()) as client:
            await client.wait_closed()
            assert client.close_code == 1006


# As many as the stock files hold; each had a chance of one in twenty to be pinged too late.
STOCK_CONNECTIONS = 40
STOCK_SILENT_S = 64


async def stays_open_behind_stock(kind, folder):
    server = Server("--listen", "127.0.0.1:0")
    with server:
        async with kind(server, folder) as proxy, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(opened_at(proxy.uri())) for _ in range(STOCK_CONNECTIONS)]
            await asyncio.sleep(STOCK_SILENT_S)
            for client in clients:
                await client.send("still here")
                assert await client.recv() == "still here"


async def stay_open_behind_stock(tmp_path):
    async with asyncio.TaskGroup() as group:
        for kind in [StockHaproxy, StockNginx]:
            folder = tmp_path / kind.__name__
            folder.mkdir()
            group.create_task(stays_open_behind_stock(kind, folder))


# Without the deadline of other tests: the timeouts are longer.
def test_default_pings_outlast_the_timeouts_of_stock_files(tmp_path):
    asyncio.run(stay_open_behind_stock(tmp_path))
