import asyncio
import inspect

import pytest
from steadfast import DEADLINE, Server


@pytest.fixture(scope="session")
def server():
    """One server for all tests that neither count nor stop it: a test must not affect the next one."""
    with Server("--listen", "127.0.0.1:0") as running:
        yield running


@pytest.fixture
def fresh():
    """A server of the test's own."""
    with Server("--listen", "127.0.0.1:0") as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs `async def` tests, so that no plugin is needed for that."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}

    async def bounded():
        async with asyncio.timeout(DEADLINE):
            await pyfuncitem.obj(**arguments)

    asyncio.run(bounded())
    return True
