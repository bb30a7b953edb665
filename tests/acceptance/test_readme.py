"""Runs the README's own commands, in order, in one shell, as somebody would who has just cloned."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hcs_edge.local import cluster
from hcs_edge.local.home import Home
from tests.support.backend import free_port_base
from tests.support.local_cluster import temporary_home

CHECKOUT = Path(__file__).resolve().parents[2]
README = CHECKOUT / "README.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST_COMMAND = "make test\n"
RUN_TIMEOUT_S = 900  # the first run builds the control plane, if no other test has


def blocks() -> list[str]:
    """Return the shell blocks of the README."""
    return BLOCK.findall(README.read_text())


@pytest.fixture(scope="module")
def transcript() -> Iterator[str]:
    """Run every block but the test command; between blocks, print a line that tells them apart."""
    with temporary_home() as home:
        script = "set -euo pipefail\n" + "echo '=== block'\n".join(
            [*(block for block in blocks() if block != TEST_COMMAND), ""]
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=CHECKOUT,
            env=os.environ
            | {"HCS_HOME": str(home.root), "PORT_BASE": str(free_port_base()), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert left_running(home) == []
        yield done.stdout


def left_running(home: Home) -> list[str]:
    """Return the processes that `make down` should have stopped."""
    return [record.spec.name for record in cluster.status(home) if record.is_running]


def section(transcript: str, number: int) -> str:
    """Return what one block printed."""
    return transcript.split("=== block\n")[number]


@pytest.mark.timeout(RUN_TIMEOUT_S)
def test_the_basic_example_gets_a_card_with_its_vendor_and_quota(transcript: str) -> None:
    annotations = section(transcript, 1)
    assert '"hcs.io/vram-quota":"17179869184"' in annotations
    assert re.search(r'"hcs.io/vendor":"(nvidia|huawei|hygon|cambricon|mthreads)"', annotations)
    card = re.search(r'"hcs.io/devices":"([^"]+)"', annotations)
    assert card is not None
    assert card[1] in section(transcript, 2)
    assert "17179869184" in section(transcript, 2)


def test_the_broken_card_is_isolated_and_the_same_example_lands_elsewhere(transcript: str) -> None:
    card = re.search(r'"hcs.io/devices":"([^"]+)"', section(transcript, 1))
    assert card is not None
    broken = section(transcript, 3)
    rows = [line.split("|") for line in broken.splitlines() if "|" in line]
    [row] = [cells for cells in rows if cells[0].strip() == card[1]]
    assert "code" in row[-1]  # the evidence
    elsewhere = re.search(r"condition met\n(\S+?)([a-z0-9]+)-0/\d", broken)
    assert elsewhere is not None, broken
    assert elsewhere[1] != card[1]


def test_the_program_is_stopped_at_its_quota_and_sql_shows_it(transcript: str) -> None:
    quota = section(transcript, 4)
    assert "stopped after 1024 MiB" in quota
    [row] = [line for line in quota.splitlines() if line.strip().startswith("main")]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells == ["main", "1073741824", "0", "1073741824", "1"]


def test_the_readme_names_the_test_command() -> None:
    assert TEST_COMMAND in blocks()
    assert blocks()[0] == "make up\n"
