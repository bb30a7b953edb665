"""The hooks of CUDA's functions are declared as NVIDIA's headers declare them, in all their forms.

No vendor header is needed to build, so the compiler compares nothing. `data/cuda_forms.txt` has
what the headers say (`tests.support.cuda_forms`): a function's name stands for several forms, by
the version of CUDA from which each is handed out, and a form's parameters are pointers and numbers
of some size. A form that we do not know would be handed out unhooked, or hooked as another one.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.interceptor import SOURCES

FORMS = {
    (name, version): parameters
    for name, version, *parameters in (
        line.split()
        for line in (Path(__file__).parent / "data" / "cuda_forms.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}
ENTRY = re.compile(r'\{"(\w+)", (\d+), (\w+),\s*"(\w+)"\}')
ENTRIES = {
    (name, version + ("_ptsz" if flags == "PER_THREAD_STREAM" else "")): exported
    for name, version, flags, exported in ENTRY.findall(
        (SOURCES / "hooks_cuda_lookup.c").read_text()
    )
}
"""What the lookup hands out for each form."""

HOOK = re.compile(r'__attribute__\(\(visibility\("default"\)\)\) int (cu[A-Z]\w+) ?\(([^()]*)\);')
SIZES = {
    "int": "i4",
    "unsigned": "i4",
    "size_t": "i8",
    "uint64_t": "i8",
    "HANDLE": "i8",
    "struct ipc_handle": "s64",
}

ANOTHERS = {("cuGraphInstantiate", "12000"): ("cuGraphInstantiateWithFlags", "11040")}
"""Forms that the headers know by another name."""

OLD = {
    "cuArray3DCreate",
    "cuArrayCreate",
    "cuDeviceTotalMem",
    "cuMemAlloc",
    "cuMemAllocPitch",
    "cuMemFree",
    "cuMemGetInfo",
}
"""Names whose first form is from before CUDA 3.2: sizes and addresses of 32 bits."""


def _kind(parameter: str) -> str:
    """Return what a parameter of ours is, as the file has it."""
    return "p" if "*" in parameter else SIZES[parameter.rsplit(maxsplit=1)[0].strip()]


@cache
def _hooks() -> dict[str, list[str]]:
    """Return our hooks, with their parameters."""
    found = {}
    for source in sorted(SOURCES.glob("hooks_*.c")):
        command = ["cc", "-E", "-P", str(source)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for name, parameters in HOOK.findall(" ".join(text.split())):
            members = [] if parameters == "void" else parameters.split(",")
            found[name] = [_kind(member) for member in members]
    return found


@pytest.mark.parametrize("form", ENTRIES, ids=" ".join)
def test_a_hook_has_the_parameters_of_the_form_it_is_handed_out_for(form: tuple[str, str]) -> None:
    assert _hooks()[ENTRIES[form]] == FORMS[ANOTHERS.get(form, form)]


def test_each_hook_is_handed_out() -> None:
    assert set(_hooks()) == set(ENTRIES.values())


def test_each_form_of_what_is_hooked_is_hooked() -> None:
    names = {name for name, _ in ENTRIES}
    forms = {form for form in FORMS if form[0] in names}
    assert forms - set(ENTRIES) == {(name, "2000") for name in OLD}
