"""What is sent to many: broadcast, chat, push and long polling, to crowds and through proxies."""

import asyncio
import contextlib
import http.client
import json

import pytest
from client import opened_at
from proxies import PROXIES
from steadfast import DEADLINE, Server

CROWD = 200
MESSAGES = 50
# The bytes that are said at once in the chat, at most.
LIMIT = 16 << 10

each_proxy = pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.__name__)


@pytest.fixture
def quick():
    """A server that pushes often."""
    with Server("--listen", "127.0.0.1:0", "--push-interval", "0.05") as running:
        yield running


@contextlib.asynccontextmanager
async def crowd(uris):
    """Opens a connection for each; it receives all messages from then on."""
    # Every client reads what it is sent, or its end would be late.
    clients = await asyncio.gather(*(opened_at(uri, max_queue=None) for uri in uris))
    try:
        yield clients
    finally:
        await asyncio.gather(*(client.close() for client in clients))


async def heard(client, count):
    return [await client.recv() for _ in range(count)]


async def test_a_broadcast_reaches_everyone_in_order(server):
    messages = [f"{at} grüße" if at % 2 else f"{at}".encode() * at for at in range(MESSAGES)]
    async with crowd([server.uri("/broadcast")] * CROWD) as clients:
        listening = [asyncio.create_task(heard(client, MESSAGES)) for client in clients]
        for message in messages:
            await clients[0].send(message)
        # The sender receives its message too.
        for each in await asyncio.gather(*listening):
            assert each == messages


async def test_broadcasts_keep_the_order_of_each_sender(server):
    speakers = 5
    async with crowd([server.uri("/broadcast")] * CROWD) as clients:
        listening = [asyncio.create_task(heard(client, MESSAGES)) for client in clients]

        async def speak(who):
            for at in range(MESSAGES // speakers):
                await clients[who].send(f"{who} {at}")

        await asyncio.gather(*(speak(who) for who in range(speakers)))
        for each in await asyncio.gather(*listening):
            for who in range(speakers):
                own = [message for message in each if message.startswith(f"{who} ")]
                assert own == [f"{who} {at}" for at in range(MESSAGES // speakers)]


class Guest:
    """Who is in a room, and knows what happened there."""

    def __init__(self, client):
        self.client = client
        self.here = set()
        self.count = None
        self.said = []
        # The newest change of the room, and of each one in it: reactors may tell of theirs in any order.
        self.newest = 0
        self.changes = {}

    async def until(self, condition):
        while not condition(self):
            event = json.loads(await self.client.recv())
            if event["type"] == "message":
                self.said.append((event["name"], event["text"]))
            else:
                self.note(**event)

    def note(self, *, type, name, count, change, here=(), room=None):
        if type == "welcome":
            self.here = set(here)
            self.changes = dict.fromkeys(here, change)
        elif change <= self.changes.get(name, 0):
            return
        else:
            (self.here.add if type == "join" else self.here.discard)(name)
            self.changes[name] = change
        if change > self.newest:
            self.newest, self.count = change, count

    async def until_here(self, names):
        await self.until(lambda guest: guest.here == names)
        assert self.count == len(names)


async def test_full_room_receives_everything_in_order(server):
    uris = [server.uri(f"/chat/full?name=n{number}") for number in range(CROWD)]
    async with crowd(uris) as clients:
        guests = [Guest(client) for client in clients]
        listening = [asyncio.create_task(guest.until(lambda guest: len(guest.said) == MESSAGES)) for guest in guests]
        for at in range(MESSAGES):
            await clients[7].send(f"{at} <grüße>")
        await asyncio.gather(*listening)
    for guest in guests:
        assert guest.said == [("n7", f"{at} <grüße>") for at in range(MESSAGES)]


async def test_all_members_see_the_same_list(server):
    # Fewer than the names that a new member is sent, so that each can know all of them.
    names = [f"n{number}" for number in range(90)]
    first, second, third = names[:30], names[30:60], names[60:]

    def at(names):
        return crowd([server.uri(f"/chat/crowd?name={name}") for name in names])

    async with at(first) as staying:
        guests = [Guest(client) for client in staying]
        async with at(second):
            await asyncio.gather(*(guest.until_here({*first, *second}) for guest in guests))
        # Some leave while others join.
        async with at(third) as newcomers:
            guests += [Guest(client) for client in newcomers]
            await asyncio.gather(*(guest.until_here({*first, *third}) for guest in guests))


async def test_single_subscriber_receives_pushes():
    # It is on one of several reactors; the others have no subscriber.
    with Server("--listen", "127.0.0.1:0", "--reactors", "8", "--push-interval", "0.05") as server:
        async with opened_at(server.uri("/push")) as client:
            numbers = [json.loads(message)["n"] for message in await heard(client, 4)]
            assert numbers == sorted(numbers) and numbers[-1] > numbers[0]


@each_proxy
async def test_chat_through_a_proxy(kind, server, tmp_path):
    async with kind(server, tmp_path) as proxy:
        ada = Guest(await opened_at(proxy.uri("/chat/proxied?name=ada")))
        await ada.until_here({"ada"})
        bob = Guest(await opened_at(proxy.uri("/chat/proxied?name=bob")))
        for guest in (ada, bob):
            await guest.until_here({"ada", "bob"})
        await ada.client.send("grüße")
        await bob.until(lambda guest: guest.said)
        await bob.client.send("x" * LIMIT)
        for guest in (ada, bob):
            await guest.until(lambda guest: len(guest.said) == 2)
            assert guest.said == [("ada", "grüße"), ("bob", "x" * LIMIT)]
        await bob.client.send("x" * (LIMIT + 1))
        await bob.client.wait_closed()
        assert bob.client.close_code == 1009
        await ada.until_here({"ada"})
        await ada.client.close()


@each_proxy
async def test_push_through_a_proxy(kind, quick, tmp_path):
    async with kind(quick, tmp_path) as proxy, opened_at(proxy.uri("/push")) as client:
        first, *others = [json.loads(message) for message in await heard(client, 10)]
        assert first["interval_ms"] == 50 and "upgrade_bytes" in first
        numbers = [tick["n"] for tick in others]
        assert numbers == sorted(set(numbers))


def ask(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    tick = json.loads(response.read())
    assert (response.status, response.getheader("Cache-Control")) == (200, "no-store")
    return tick["n"]


def test_long_poll_after_a_restart_does_not_wait_for_an_old_tick(quick):
    """A request with a tick from before a restart is answered like one without a tick."""
    connection = http.client.HTTPConnection(*quick.address, timeout=DEADLINE)
    assert ask(connection, "/long-poll?after=1000000") < 1_000_000
    connection.close()


@each_proxy
async def test_long_poll_through_a_proxy(kind, quick, tmp_path):
    def follow(address):
        connection = http.client.HTTPConnection(*address, timeout=DEADLINE)
        connection.connect()
        own = connection.sock
        numbers = [ask(connection, "/long-poll")]
        for _ in range(10):
            numbers.append(ask(connection, f"/long-poll?after={numbers[-1]}"))
            assert connection.sock is own
        connection.close()
        return numbers

    async with kind(quick, tmp_path) as proxy:
        numbers = await asyncio.to_thread(follow, proxy.address)
    assert numbers == sorted(set(numbers))
