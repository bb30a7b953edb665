"""One real nats-server and one real PostgreSQL per session; empty streams and database per test.

With `--backends=wheels,containers` each test that uses them runs once with either kind.
"""

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hcs_bus.jetstream import JetStreamBus
from hcs_control.store import postgres
from hcs_control.store.migrate import migrate
from hcs_control.store.postgres import PostgresStore
from tests.support.backend import WHEELS, Backend, start_backend, stop_backend

_database_numbers = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the servers once for each kind that is wanted."""
    if "backend" in metafunc.fixturenames:
        kinds = metafunc.config.getoption("backends", default=(WHEELS,))
        metafunc.parametrize("backend", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Start both servers in a directory of their own."""
    root = Path(tempfile.mkdtemp(prefix="hcs-it-"))
    started = start_backend(root, request.param)
    yield started
    stop_backend(started)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(backend: Backend) -> str:
    """Migrate one database; tests get copies of it, which are made in a few milliseconds."""
    backend.create_database("hcs_template")
    migrate(backend.database_url("hcs_template"))
    return "hcs_template"


@pytest.fixture
def database_url(backend: Backend, template_database: str) -> str:
    """Return the URL of a migrated database of the test's own."""
    name = f"hcs_test_{next(_database_numbers)}"
    backend.create_database(name, template=template_database)
    return backend.database_url(name)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Return a store on the test's own database."""
    made = postgres.connect(database_url)
    yield made
    await made.close()


@pytest.fixture
async def bus(backend: Backend) -> AsyncIterator[JetStreamBus]:
    """Return a connected bus with empty streams."""
    made = await backend.connect_bus()
    try:
        await backend.make_streams(made)
        yield made
        await backend.delete_streams()
    finally:  # left open, it would fail whichever test finds it next
        await made.close()
