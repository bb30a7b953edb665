"""Each hook of a runtime is called by its test programs: none is only compiled.

A signature or a charge that nothing calls may be wrong without anybody noticing.
"""

import re
import subprocess
from functools import cache

import pytest

from tests.support.interceptor import CHECKOUT, PROGRAMS

HOOKS = (CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split()
FORMS = (("commands.c", "runtime"), ("launches.c", "launch"))
NAMES = {
    "cuda": "cu[A-Z]",
    "hip": r"(_Z\d+)?hip[A-Z]",
    "acl": "acl[a-z]*[A-Z]",
    "rt": "rt[a-z]?[A-Z]",
    "cnrt": "cnrt[A-Z]",
    "cndrv": "cn[A-Z]",
    "musart": "musa[A-Z]",
    "musa": "mu[A-Z]",
}
"""How the names of each runtime's functions begin."""

LOOKUPS = re.compile(r"\w+GetProcAddress(_v2|_spt)?")
"""What looks others up is called by `proc_addresses.py`, by the names that its test has."""


@cache
def calls(runtime: str) -> frozenset[str]:
    """Return what a runtime's programs call, as the preprocessor leaves them."""
    text = "".join(
        subprocess.run(
            ["cc", "-E", "-P", f'-DRUNTIME="{prefix}_{runtime}.h"', str(PROGRAMS / source)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for source, prefix in FORMS
    )
    # A declaration has its type before the name.
    return frozenset(re.findall(r"(?<!\bint )\b(\w+) ?\(", text))


def test_the_programs_are_read() -> None:
    assert {"cuMemAlloc_v2", "cuLaunchKernelEx_ptsz"} <= calls("cuda")
    assert "cuDeviceGetGraphMemAttribute" not in calls("cuda")


@pytest.mark.parametrize("runtime", NAMES)
def test_each_hook_is_called_by_a_test_program(runtime: str) -> None:
    own = re.compile(NAMES[runtime])
    hooks = {name for name in HOOKS if own.match(name) and not LOOKUPS.fullmatch(name)}
    assert hooks
    assert hooks - calls(runtime) == set()


def test_every_hook_is_of_a_runtime_or_a_query_that_its_own_tests_ask() -> None:
    left = [name for name in HOOKS if not any(re.match(own, name) for own in NAMES.values())]
    queries = (PROGRAMS.parent / "test_management_libraries.py").read_text()
    loader = {"dlopen", "dlsym", "dlvsym"}
    assert [name for name in left if name not in loader and name not in queries] == []
