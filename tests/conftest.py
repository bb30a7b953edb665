"""For all tests: which servers they use, and that no setting of the developer's shell leaks in."""

import argparse
import os

import hypothesis
import pytest

from tests.support.backend import CONTAINERS, KINDS, WHEELS

# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backends`."""
    parser.addoption(
        "--backends",
        type=_kinds,
        default=(WHEELS,),
        help=f"which NATS and PostgreSQL the integration tests use, of: {','.join(KINDS)}",
    )


def _kinds(text: str) -> tuple[str, ...]:
    """Return the kinds that are named, as pytest's argument parser wants it."""
    kinds = tuple(text.split(","))
    unknown = ", ".join(sorted(set(kinds) - set(KINDS)))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such kind: {unknown} (there is {', '.join(KINDS)})")
    return kinds


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this user may not do, and what `--backends` leaves out; pytest counts them."""
    absent = set() if os.geteuid() == 0 else {"root"}
    if CONTAINERS not in config.getoption("backends"):
        absent.add("containers")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in absent)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove `HCS_*` and `KUBECONFIG` from the environment."""
    for name in list(os.environ):
        if name.startswith("HCS_") or name == "KUBECONFIG":
            monkeypatch.delenv(name)
