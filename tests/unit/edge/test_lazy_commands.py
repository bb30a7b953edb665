"""A command imports what it uses: services are many, and what they hold is held on every node."""

import subprocess
import sys

import pytest

IMPORTED = """
import sys
from hcs_edge.cli.main import main
{imports}
assert main.get_command(None, "{command}") is not None
assert "structlog" in sys.modules
print("rich" in sys.modules)
"""


def holds_rich(command: str, imports: str = "") -> bool:
    """Say whether rich is there once a command's module is, in a process of its own."""
    program = IMPORTED.format(command=command, imports=imports)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout == "True\n"


@pytest.mark.parametrize("service", ["agent", "projector", "extender", "webhook"])
def test_a_service_holds_nothing_that_draws_tables(service: str) -> None:
    assert not holds_rich(service)


@pytest.mark.parametrize("command", ["inventory", "top"])
def test_a_command_that_draws_tables_has_what_draws_them(command: str) -> None:
    assert holds_rich(command)


def test_what_was_imported_before_stays() -> None:
    assert holds_rich("agent", "import rich")
