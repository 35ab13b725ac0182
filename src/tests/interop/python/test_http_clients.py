"""HTTP with the clients that are everywhere: Python's own, and curl."""

import http.client

import pytest
from curl import curl, needs_curl
from messages import noise
from steadfast import DEADLINE, Server

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def roomy():
    """A server for bodies that are larger than the default lets through."""
    with Server("--listen", "127.0.0.1:0", "--max-body-bytes", str(4 * LIMIT)) as running:
        yield running


def test_one_connection_for_all(server):
    connection = http.client.HTTPConnection(*server.address, timeout=DEADLINE)
    connection.connect()
    own = connection.sock

    def ask(method, path, body=None, **options):
        connection.request(method, path, body=body, **options)
        response = connection.getresponse()
        content = response.read()
        # What says that it closes is not used again.
        assert (connection.sock is own) == (response.getheader("Connection") is None)
        assert response.getheader("Date")
        return response.status, content

    for size in (0, 1, 1000, 65_536, 70_000, LIMIT):
        assert ask("POST", "/echo", noise(size)) == (200, noise(size))
        pieces = (noise(size)[at : at + 50_000] for at in range(0, size, 50_000))
        assert ask("POST", "/echo", pieces, encode_chunked=True) == (200, noise(size))
    for method, path, status in (
        ("HEAD", "/", 200),
        ("OPTIONS", "/echo", 204),
        ("GET", "/nothing", 404),
        ("DELETE", "/stats", 405),
        ("GET", "/", 200),
    ):
        assert ask(method, path)[0] == status
    # A server may close after its response; this client then opens another connection by itself.
    assert ask("GET", "/echo")[0] == 426
    connection.request("GET", "/stats")
    assert connection.getresponse().status == 200
    connection.close()


# How long curl waits for a missing "100 Continue": longer than the whole test may take.
PATIENT = ["--expect100-timeout", str(2 * DEADLINE)]


@needs_curl
@pytest.mark.parametrize("size", [0, 1000, LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT])
@pytest.mark.parametrize("ask", [[], ["--header", "Expect: 100-continue"]], ids=["by-size", "always"])
async def test_curl_sends_a_file(roomy, tmp_path, size, ask):
    # Above a size that differs between versions, curl sends Expect by itself.
    file = tmp_path / "file"
    file.write_bytes(noise(size))
    back = await curl(roomy, "--data-binary", f"@{file}", *PATIENT, *ask)
    assert back == (noise(size), 0)


@needs_curl
async def test_curl_upload_is_refused_at_once(server, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(noise(2 * LIMIT))
    small = tmp_path / "small"
    small.write_bytes(noise(1000))
    told = ["--output", "/dev/null", "--write-out", "%{http_code} %{size_upload}", "--header"]
    for path, body, status in (("/echo", file, 413), ("/nothing", small, 404), ("/stats", small, 405)):
        back = await curl(server, "--data-binary", f"@{body}", *PATIENT, *told, "Expect: 100-continue", path=path)
        assert back == (f"{status} 0".encode(), 0)
    # A client without Expect sends the body, and gets the refusal all the same.
    output, _ = await curl(server, "--data-binary", f"@{file}", *told, "Expect:")
    assert output.split()[0] == b"413"


@needs_curl
async def test_curl_sends_in_chunks(roomy):
    body = noise(2 * LIMIT)
    arguments = ["--header", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    assert await curl(roomy, *arguments, *PATIENT, stdin=body) == (body, 0)
    put = await curl(roomy, "--upload-file", "-", "--output", "/dev/null", "--write-out", "%{http_code}", stdin=b"x")
    assert put == (b"405", 0)


@needs_curl
async def test_curl_keeps_its_connection(server):
    host, port = server.address
    before = [f"http://{host}:{port}{path}" for path in ("/stats", "/nothing", "/")]
    nowhere = ["--output", "/dev/null"] * (len(before) + 1)
    arguments = [*before, *nowhere, "--write-out", "%{http_code} %{num_connects}\n"]
    output, code = await curl(server, *arguments, path="/")
    assert (output, code) == (b"200 1\n404 0\n200 0\n200 0\n", 0)


@needs_curl
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
async def test_curl_of_another_version(server, version):
    # What offers HTTP/2 in an upgrade is answered by HTTP/1.1 (RFC 9110, section 7.8).
    arguments = [version, "--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"]
    output, code = await curl(server, *arguments, path="/")
    if code == 2:
        pytest.skip("this curl has no HTTP/2")
    assert (output, code) == (b"200 1.1", 0)
