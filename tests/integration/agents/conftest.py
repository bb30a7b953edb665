"""Simulated nodes: the libraries once per session, a scenario file per test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import ScenarioFile
from tests.support.simulated import build_libraries, every_vendor


@pytest.fixture(scope="session")
def libraries() -> Path:
    """Return the directory of the simulated management libraries."""
    return build_libraries()


@pytest.fixture
def node_of(tmp_path: Path) -> Callable[[str], ScenarioFile]:
    """Return a function that puts a node of the default fleet, or `every-0`, on disk."""

    def make(name: str) -> ScenarioFile:
        file = ScenarioFile(tmp_path / f"{name}.ini")
        file.write(next(one for one in (*default_fleet(), every_vendor()) if one.node == name))
        return file

    return make
