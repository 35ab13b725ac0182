"""Files of a folder, fetched by curl and by Python's client, and attempts to reach files outside of it."""

import asyncio
import hashlib
import http.client
import os
import time
from email.utils import formatdate

import pytest
from curl import curl, needs_curl
from messages import chaos
from steadfast import DEADLINE, Server
from wire import Wire, get

BIG = chaos(5 << 20)
SECRET = b"not for everyone"
TELL = ["--write-out", "%{http_code} %{size_download}"]
NOWHERE = ["--output", "/dev/null"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with a folder, and a file next to it that must not be served."""
    above = tmp_path_factory.mktemp("static")
    folder = above / "site"
    (folder / "sub").mkdir(parents=True)
    (above / "secret").write_bytes(SECRET)
    (folder / "big.bin").write_bytes(BIG)
    (folder / "small.txt").write_text("grüße")
    (folder / "empty").touch()
    (folder / "sub/index.html").write_text("<title>sub</title>")
    (folder / "odd/index.html").mkdir(parents=True)
    (folder / "with space & ü.txt").write_text("odd")
    (folder / ".hidden").write_bytes(SECRET)
    (folder / "out").symlink_to(above / "secret")
    (folder / "out-by-steps").symlink_to("../secret")
    (folder / "up").symlink_to("..")
    (folder / "within").symlink_to("sub/../small.txt")
    os.mkfifo(folder / "pipe")
    with Server("--listen", "127.0.0.1:0", "--static", str(folder)) as server:
        server.folder = folder
        yield server


def digest(data):
    return hashlib.sha256(data).hexdigest()


@needs_curl
@pytest.mark.parametrize("flags", [[], ["--compressed"], ["--http1.0"]], ids=["plain", "compressed", "http-1.0"])
async def test_curl_fetches_a_large_file(site, tmp_path, flags):
    file = tmp_path / "back"
    told, code = await curl(site, *flags, *TELL, "--output", str(file), path="/big.bin")
    assert (told, code) == (f"200 {len(BIG)}".encode(), 0)
    assert digest(file.read_bytes()) == digest(BIG)


def test_one_connection_for_all(site):
    connection = http.client.HTTPConnection(*site.address, timeout=DEADLINE)
    connection.connect()
    own = connection.sock

    def ask(method, path, **headers):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        assert connection.sock is own, f"{method} {path}: the connection did not stay"
        return response, content

    for path, content, kind in (
        ("/big.bin", BIG, "application/octet-stream"),
        ("/empty", b"", "application/octet-stream"),
        ("/small.txt", "grüße".encode(), "text/plain; charset=utf-8"),
        ("/small.txt?a=b", "grüße".encode(), "text/plain; charset=utf-8"),
        ("/with%20space%20&%20%C3%BC.txt", b"odd", "text/plain; charset=utf-8"),
        ("/sub/", b"<title>sub</title>", "text/html; charset=utf-8"),
        ("/within", "grüße".encode(), "application/octet-stream"),
    ):
        response, back = ask("GET", path)
        assert (response.status, digest(back)) == (200, digest(content)), path
        assert response.getheader("Content-Type") == kind
        head, nothing = ask("HEAD", path)
        assert (head.status, nothing) == (200, b"")
        assert head.getheader("Content-Length") == str(len(content))
        fields = ("Content-Length", "Content-Type", "Last-Modified")
        assert all(head.getheader(name) == response.getheader(name) for name in fields)
        same, nothing = ask("GET", path, If_Modified_Since=response.getheader("Last-Modified"))
        assert (same.status, nothing) == (304, b"")
        # A precondition for one file does not hold for another.
        long_ago = "Mon, 01 Jan 2001 00:00:00 GMT"
        assert ask("GET", path, If_Unmodified_Since=response.getheader("Last-Modified"))[0].status == 200
        assert ask("GET", path, If_Unmodified_Since=long_ago)[0].status == 412
        assert ask("GET", path, If_Match="*")[0].status == 200
        assert ask("GET", path, If_Match='"a tag"')[0].status == 412
    moved, _ = ask("GET", "/sub")
    assert (moved.status, moved.getheader("Location")) == (301, "/sub/")
    assert ask("GET", "/nothing")[0].status == 404
    assert ask("DELETE", "/small.txt")[0].status == 405
    # A range may be asked for, and all of it given (RFC 9110, section 14.2).
    whole, back = ask("GET", "/big.bin", Range="bytes=0-9")
    assert (whole.status, digest(back)) == (200, digest(BIG))
    connection.close()


@needs_curl
async def test_curl_conditional_request_is_answered_304(site, tmp_path):
    copy = tmp_path / "copy"
    # With the time that the server says.
    assert await curl(site, "--remote-time", *TELL, "--output", str(copy), path="/small.txt") == (b"200 7", 0)
    assert int(copy.stat().st_mtime) == int((site.folder / "small.txt").stat().st_mtime)
    assert await curl(site, "--time-cond", str(copy), *TELL, *NOWHERE, path="/small.txt") == (b"304 0", 0)
    modified = (site.folder / "small.txt").stat().st_mtime
    for since, told in ((modified - 1, b"200 7"), (modified, b"304 0"), (modified + 3600, b"304 0")):
        date = formatdate(since, usegmt=True)
        assert await curl(site, "--time-cond", date, *TELL, *NOWHERE, path="/small.txt") == (told, 0), date


@needs_curl
async def test_curl_sees_that_a_file_has_changed(site, tmp_path):
    file = site.folder / "changes.txt"
    file.write_text("before")
    # Times have whole seconds there: without this, a change within the second would be none.
    os.utime(file, (time.time() - 10,) * 2)
    copy = tmp_path / "copy"
    fetch = ["--remote-time", "--output", str(copy)]
    assert await curl(site, *fetch, path="/changes.txt") == (b"", 0)
    file.write_text("afterwards")
    assert await curl(site, "--time-cond", str(copy), path="/changes.txt") == (b"afterwards", 0)
    file.unlink()
    assert await curl(site, *TELL, *NOWHERE, path="/changes.txt") == (b"404 46", 0)


@needs_curl
@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/sub/../../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "/sub/%2e%2e/%2e%2e/secret",
        "/%252e%252e/secret",
        "/..%5csecret",
        "/..%c0%afsecret",
        "/%c0%ae%c0%ae/secret",
        "/..%ef%bc%8fsecret",
        "/.%00./secret",
        "/small.txt%00.html",
        "/./../secret",
        "/sub//..//../secret",
        "//../secret",
        "/{above}/secret",
        "//{above}/secret",
        "/%2f{above}/secret",
        "/out",
        "/out-by-steps",
        "/up/secret",
        "/up/site/small.txt",
        "/.hidden",
        "/%2ehidden",
        "/sub/../.hidden",
        "/sub/../small.txt",
        "/./small.txt",
        "/small.txt/",
        "/small.txt/../small.txt",
        "/pipe",
        "/odd/",
        "/up",
        "/up/",
        "/" + "a" * 300,
        "/" + "a/" * 3000,
    ],
    ids=lambda path: path[:30],
)
async def test_path_cannot_leave_the_folder(site, path):
    path = path.replace("{above}", str(site.folder.parent).strip("/"))
    told, code = await curl(site, "--path-as-is", "--write-out", " %{http_code}", path=path)
    assert (told.startswith(b"Not Found"), told.endswith(b" 404"), code) == (True, True, 0), told
    # Not that the server sees nothing at all.
    assert await curl(site, "--path-as-is", path="/small.txt") == ("grüße".encode(), 0)


async def test_slow_reader_of_a_file_does_not_delay_others(site):
    async def fetch():
        async with await Wire.to(site) as wire:
            await wire.send(get("/big.bin"))
            return digest((await wire.response()).body)

    async with await Wire.to(site) as slow:
        await slow.send(get("/big.bin") + get("/small.txt"))
        assert set(await asyncio.gather(*(fetch() for _ in range(16)))) == {digest(BIG)}
        assert digest((await slow.response()).body) == digest(BIG)
        assert (await slow.response()).body == "grüße".encode()
