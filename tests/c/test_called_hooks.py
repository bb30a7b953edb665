"""Each hook of CUDA and HIP is called by some test program: none is only compiled.

A signature or a charge that nothing calls may be wrong without anybody noticing.
"""

import re
import subprocess
from functools import cache

import pytest

from tests.support.interceptor import CHECKOUT, PROGRAMS

HOOKS = (CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split()
FORMS = (("commands.c", "runtime"), ("launches.c", "launch"))
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


@pytest.mark.parametrize(("runtime", "prefix"), [("cuda", "cu"), ("hip", "hip")])
def test_each_hook_is_called_by_a_test_program(runtime: str, prefix: str) -> None:
    hooks = {name for name in HOOKS if name.startswith(prefix) and not LOOKUPS.fullmatch(name)}
    assert hooks - calls(runtime) == set()
