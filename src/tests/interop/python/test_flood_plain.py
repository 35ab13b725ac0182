"""Our flood against servers that speak no WebSocket: HTTP with keep-alive, and bare TCP."""

import re
import socket

import pytest
from peers import HangUp, http_peer, tcp_peer, tenth
from steadfast import flood

CONNECTIONS = 100

# What a cause must speak of to be of use when the answer was an error.
REFUSED = re.compile(r"500|status|http|answer|refused", re.IGNORECASE)


async def test_http_all_are_answered(tmp_path):
    with http_peer() as peer:
        target = f"http://127.0.0.1:{peer.server_port}/some/path?a=b"
        result = await flood(target, tmp_path, connections=CONNECTIONS, messages=3)
    result.assert_all(CONNECTIONS)
    assert len(peer.requests) == CONNECTIONS
    assert sum(map(len, peer.requests)) == result.report["replies"]
    assert all(len(paths) >= 3 for paths in peer.requests)
    assert {path for paths in peer.requests for path in paths} == {"/some/path?a=b"}


def hang_up_at_once(number, _turn):
    if tenth(number):
        raise HangUp()
    return 200


def hang_up_at_the_second(number, turn):
    if tenth(number) and turn == 1:
        raise HangUp()
    return 200


def fail(number, _turn):
    return 500 if tenth(number) else 200


@pytest.mark.parametrize("status", [hang_up_at_once, hang_up_at_the_second, fail])
async def test_http_every_tenth_goes_wrong(tmp_path, status):
    with http_peer(status) as peer:
        target = f"http://127.0.0.1:{peer.server_port}/"
        result = await flood(target, tmp_path, connections=CONNECTIONS, messages=2)
    result.assert_lost(CONNECTIONS, CONNECTIONS // 10)
    assert len(peer.requests) == result.connections["opened"] == CONNECTIONS
    if status is fail:
        assert all(REFUSED.search(cause) for cause in result.causes)


@pytest.mark.parametrize("payload", [16, 1000, 200_000])
async def test_tcp_all_are_answered(tmp_path, payload):
    async with tcp_peer() as peer:
        target = f"tcp://127.0.0.1:{peer.port}"
        result = await flood(target, tmp_path, connections=CONNECTIONS, messages=3, payload=payload)
        await peer.everyone_left.wait()
    result.assert_all(CONNECTIONS)
    assert peer.opened == CONNECTIONS
    assert all(sum(lengths) >= 3 * payload for lengths in peer.lengths)


def cut(number, _turn, piece):
    if tenth(number):
        raise HangUp()
    return piece


def flip(number, _turn, piece):
    return bytes([piece[0] ^ 1]) + piece[1:] if tenth(number) else piece


@pytest.mark.parametrize("reply", [cut, flip])
async def test_tcp_every_tenth_goes_wrong(tmp_path, reply):
    async with tcp_peer(reply) as peer:
        target = f"tcp://127.0.0.1:{peer.port}"
        result = await flood(target, tmp_path, connections=CONNECTIONS, messages=2)
        await peer.everyone_left.wait()
    result.assert_lost(CONNECTIONS, CONNECTIONS // 10)
    assert peer.opened == result.connections["opened"] == CONNECTIONS


@pytest.mark.parametrize("scheme", ["ws", "http", "tcp"])
async def test_refused_connect_is_reported(tmp_path, scheme):
    # Bound and not listening: refuses, and no other process can take the port meanwhile.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        target = f"{scheme}://127.0.0.1:{holder.getsockname()[1]}"
        result = await flood(target, tmp_path, connections=10)
    result.assert_lost(10, 10)
    assert result.connections["opened"] == 0
    assert any("refused" in cause.lower() for cause in result.causes)
