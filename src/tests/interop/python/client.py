"""How the tests open a `websockets` client."""

from websockets.asyncio.client import connect, unix_connect

# A proxy of the environment is not for loopback; keepalive pings would mix with those that a test sends; and a host that is
# busy may take its time, up to the test's own deadline.
QUIET = dict(proxy=None, ping_interval=None, max_size=None, open_timeout=None)


def opened(server, **options):
    return opened_at(server.uri(), **options)


def opened_at(uri, **options):
    return connect(uri, **QUIET | options)


def opened_unix(path, **options):
    return unix_connect(str(path), uri="ws://localhost/echo", **QUIET | options)
