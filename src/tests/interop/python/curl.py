"""curl, as the tests run it."""

import asyncio
import shutil

import pytest
from steadfast import DEADLINE

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="this host has no curl")


async def curl(server, *arguments, path="/echo", stdin=b""):
    """What curl printed, and its exit code."""
    host, port = server.address
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--noproxy",
        "*",
        "--max-time",
        str(DEADLINE - 5),
        *arguments,
        f"http://{host}:{port}{path}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate(stdin)
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return output, process.returncode
