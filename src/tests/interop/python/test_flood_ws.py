"""Our flood against a server of the `websockets` library: both must have counted the same."""

import re
from collections import Counter
from http import HTTPStatus

import pytest
from hosts import needs_ipv6
from peers import HangUp, tenth, websocket_peer
from steadfast import flood

CONNECTIONS = 100

# What a cause must speak of to be of use: when the upgrade was refused, and when a reply was not what had been sent.
REFUSED = re.compile(r"503|status|upgrade|handshake|refused", re.IGNORECASE)
WRONG_REPLY = re.compile(r"wrong|mismatch|differ|content|length|echo|unexpected", re.IGNORECASE)


@pytest.mark.parametrize("payload", [16, 125, 126, 65535, 65536, 200_000])
async def test_all_are_answered(tmp_path, payload):
    connections = 20 if payload > 1000 else CONNECTIONS
    async with websocket_peer() as peer:
        target = f"ws://127.0.0.1:{peer.port}/"
        result = await flood(target, tmp_path, connections=connections, messages=3, payload=payload)
        await peer.everyone_left.wait()
    result.assert_all(connections)
    peer.assert_asked(connections, 3, payload)
    peer.assert_agrees(result)
    assert {length for lengths in peer.lengths for length in lengths} == {payload}
    assert Counter(peer.codes) == {1000: connections}


async def test_many_and_the_report(tmp_path):
    async with websocket_peer() as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=500, messages=2, hold=2)
        await peer.everyone_left.wait()
    result.assert_all(500)
    peer.assert_asked(500, 2, 16)
    peer.assert_agrees(result)
    for phase in ("connect", "reply"):
        figures = result.report[phase]
        percentiles = [figures[name] for name in ("p50_us", "p90_us", "p99_us", "p99_9_us", "max_us")]
        assert percentiles == sorted(percentiles) and percentiles[-1] > 0
        assert figures["seconds"] > 0 and figures["per_second"] > 0
    assert "schema" in result.report
    assert str(peer.port) in str(result.report["target"])
    for side in ("server", "client"):
        assert {"user_bytes_per_connection", "kernel_bytes_per_connection"} <= set(result.report["memory"][side])


async def test_request_carries_the_given_fields(tmp_path):
    async with websocket_peer() as peer:
        await flood(f"ws://127.0.0.1:{peer.port}/some/path?a=b&c=%20", tmp_path, connections=1)
        await peer.everyone_left.wait()
    (request,) = peer.requests
    assert request.path == "/some/path?a=b&c=%20"
    assert request.headers["Host"] == f"127.0.0.1:{peer.port}"


async def test_each_connection_has_a_key_of_its_own(tmp_path):
    async with websocket_peer() as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS)
    result.assert_all(CONNECTIONS)
    assert len({request.headers["Sec-WebSocket-Key"] for request in peer.requests}) == CONNECTIONS


@needs_ipv6
async def test_ipv6(tmp_path):
    async with websocket_peer(host="::1") as peer:
        result = await flood(f"ws://[::1]:{peer.port}/", tmp_path, connections=20)
    result.assert_all(20)


async def test_pings_of_the_server_are_answered(tmp_path):
    async with websocket_peer(pinging=True) as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS, messages=2)
        await peer.everyone_left.wait()
    result.assert_all(CONNECTIONS)
    assert peer.pongs == CONNECTIONS


def in_fragments(_number, _turn, message):
    return [message[:1], message[:0], message[1:5], message[5:]]


async def test_replies_in_fragments(tmp_path):
    async with websocket_peer(in_fragments) as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS, payload=300)
    result.assert_all(CONNECTIONS)


def cut_at_once(number, _turn, message):
    if tenth(number):
        raise HangUp()
    return message


def cut_after_the_last_answer(number, turn, message):
    if tenth(number) and turn == 1:
        raise HangUp(None, message)
    return message


def close_with_a_code(number, _turn, message):
    if tenth(number):
        raise HangUp(1013)
    return message


def close_normally(number, turn, message):
    """A clean close by the server is still one that the flood did not ask for."""
    if tenth(number) and turn == 1:
        raise HangUp(1000, message)
    return message


# The causes of a connection that the server cut: the kernel decides whether its end or a reset arrives first.
CUT = ["closed by peer", "reset"]


@pytest.mark.parametrize(
    "reply, code, causes, unanswered",
    [
        (cut_at_once, 1006, CUT, 1),
        (cut_after_the_last_answer, 1006, CUT, 0),
        (close_with_a_code, 1013, ["close code 1013"], 1),
        (close_normally, 1000, ["close code 1000"], 0),
    ],
)
async def test_every_tenth_is_ended_by_the_server(tmp_path, reply, code, causes, unanswered):
    async with websocket_peer(reply) as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS, messages=2)
        await peer.everyone_left.wait()
    lost = CONNECTIONS // 10
    result.assert_lost(CONNECTIONS, lost)
    result.assert_causes(causes, lost)
    peer.assert_agrees(result, unanswered * lost)
    assert result.connections["opened"] == CONNECTIONS
    assert Counter(peer.codes) == Counter({1000: CONNECTIONS - lost}) + Counter({code: lost})


async def test_every_tenth_is_refused(tmp_path):
    asked = 0

    def refuse(connection, _request):
        nonlocal asked
        asked += 1
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n") if tenth(asked - 1) else None

    async with websocket_peer(process_request=refuse) as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS)
    result.assert_lost(CONNECTIONS, CONNECTIONS // 10)
    peer.assert_agrees(result)
    assert peer.opened == CONNECTIONS * 9 // 10
    assert all(REFUSED.search(cause) for cause in result.causes)


def one_bit_off(number, _turn, message):
    if not tenth(number):
        return message
    if isinstance(message, str):
        return message[:-1] + chr(ord(message[-1]) ^ 1)
    return message[:-1] + bytes([message[-1] ^ 1])


def one_byte_short(number, _turn, message):
    return message[:-1] if tenth(number) else message


def one_byte_long(number, _turn, message):
    return message + message[:1] if tenth(number) else message


@pytest.mark.parametrize("reply", [one_bit_off, one_byte_short, one_byte_long])
async def test_wrong_echo(tmp_path, reply):
    async with websocket_peer(reply) as peer:
        result = await flood(f"ws://127.0.0.1:{peer.port}/", tmp_path, connections=CONNECTIONS, payload=100)
    lost = CONNECTIONS // 10
    result.assert_lost(CONNECTIONS, lost)
    assert result.connections["opened"] == CONNECTIONS
    assert result.connections["answered"] == CONNECTIONS - lost
    wrong = {cause: count for cause, count in result.causes.items() if WRONG_REPLY.search(cause)}
    assert sum(wrong.values()) == lost, result.causes
