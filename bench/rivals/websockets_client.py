"""Opens WebSocket connections as fast as Python and its package `websockets` do, has one message echoed on each, and
closes them.

    python websockets_client.py URL CONNECTIONS UNDER_WAY

All are open before the first message is sent, as with `steadfast flood`; so many connects, messages and closes are
in progress at a time. Prints one line of JSON.
"""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect


async def each(count, under_way, work):
    """Awaits `work(number)` for each connection, by so many tasks."""
    numbers = iter(range(count))

    async def worker():
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(under_way):
            group.create_task(worker())


async def main(url, count, under_way):
    connections = [None] * count
    seen = {"opened": 0, "echoed": 0, "closed": 0}

    async def open_one(number):
        # Without compression, as the flood offers none either, and without pings.
        connections[number] = await connect(url, compression=None, ping_interval=None, open_timeout=None, proxy=None)
        seen["opened"] += 1

    async def echo(number):
        text = f"{number:020}"
        await connections[number].send(text)
        assert await connections[number].recv() == text, "an echo is wrong"
        seen["echoed"] += 1

    async def close(number):
        await connections[number].close()
        assert connections[number].close_code == 1000, f"closed with {connections[number].close_code}"
        seen["closed"] += 1

    began = time.perf_counter()
    await each(count, under_way, open_one)
    seen["handshakes_seconds"] = time.perf_counter() - began
    await each(count, under_way, echo)
    await each(count, under_way, close)
    print(json.dumps(seen, separators=(",", ":")))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
