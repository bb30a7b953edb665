"""No hook goes without a program that calls it: its parameters and its charge were seen to work."""

import re

import pytest

from tests.support.interceptor import CHECKOUT, PROGRAMS

EXPORTS = CHECKOUT / "tests" / "golden" / "interceptor_exports.txt"
HOOKS = re.compile("(acl|rt|cn|mu)[a-z]*[A-Z]")  # Ascend's, Cambricon's and Moore Threads'


def _hooks() -> list[str]:
    return [name for name in EXPORTS.read_text().split() if HOOKS.match(name)]


@pytest.fixture(scope="module")
def words() -> set[str]:
    """All words in the tests of the C library and their programs."""
    sources = (CHECKOUT / "tests" / "c").rglob("*.[chp]*")
    texts = (source.read_text() for source in sources if source.suffix in (".c", ".h", ".py"))
    found = {word for text in texts for word in re.findall(r"\w+", text)}
    shared = (PROGRAMS / "launch_driver.h").read_text()  # of CUDA's shape: DRIVER(LaunchKernel)
    return found | {f"mu{name}" for name in re.findall(r"DRIVER\((\w+)\)", shared)}


@pytest.mark.parametrize("hook", _hooks())
def test_a_program_calls(hook: str, words: set[str]) -> None:
    assert hook in words
