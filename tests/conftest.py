"""For all tests: no setting of the developer's own shell leaks in."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove `HCS_*` and `KUBECONFIG` from the environment."""
    for name in list(os.environ):
        if name.startswith("HCS_") or name == "KUBECONFIG":
            monkeypatch.delenv(name)
