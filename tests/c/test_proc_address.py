"""A runtime's own lookup hands out our hook of the very form that it would have handed out itself.

What that is depends on the version and the flags that the program asks with. The evidence are the
addresses: each is asked for without the interceptor and with it.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.interceptor import CHECKOUT, INTERCEPTOR, MIB, PROGRAMS, Rig

EXPORTED = (CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split()
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2
FLAGS = (0, LEGACY_STREAM, PER_THREAD_STREAM)


@dataclass(frozen=True)
class Runtime:
    """A library, its lookups, the versions to ask with, and how its hooks' names begin."""

    library: str
    lookups: tuple[str, ...]
    versions: tuple[int, ...]
    prefixes: tuple[str, ...]

    def hooks(self) -> set[str]:
        """Return all that the interceptor exports of it."""
        return {name for name in EXPORTED if name.startswith(self.prefixes)}

    def symbols(self) -> set[str]:
        """Return what a program asks for: names without what a version or a flag stands for."""
        names = {name.partition("_")[0].removesuffix("R0600") for name in self.hooks()}
        return names | self.not_hooked

    @property
    def not_hooked(self) -> set[str]:
        """Names that the runtime has and the interceptor leaves alone."""
        return {f"{self.prefixes[0]}{name}" for name in ("Init", "StreamCreate", "NoSuchFunction")}


CUDA = Runtime(
    "libcuda.so.1",
    ("cuGetProcAddress", "cuGetProcAddress_v2"),
    (2000, 3020, 7000, 10000, 11000, 11030, 12000, 12090, 13050),
    ("cu",),
)
HIP = Runtime(
    "libamdhip64.so", ("hipGetProcAddress", "hipGetProcAddress_spt"), (0, 500, 600, 70000), ("hip",)
)
RUNTIMES = {"cuda": CUDA, "hip": HIP}


@dataclass(frozen=True, order=True)
class Question:
    """One call of a lookup."""

    lookup: str
    symbol: str
    version: int
    flags: int


def questions(runtime: Runtime) -> list[Question]:
    """Return all of them."""
    each = itertools.product(runtime.lookups, sorted(runtime.symbols()), runtime.versions, FLAGS)
    return list(itertools.starmap(Question, each))


def answers(rig: Rig, runtime: Runtime, **settings: str) -> dict[Question, list[str]]:
    """Ask in one program; return for each: the result, the library and the function there."""
    asked = questions(runtime)
    lines = [f"{one.lookup} {one.symbol} {one.version} {one.flags}\n" for one in asked]
    done = subprocess.run(
        [sys.executable, "-I", str(PROGRAMS / "proc_addresses.py"), runtime.library],
        input="".join(lines),
        env=rig.environment(**settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(asked, (line.split() for line in done.stdout.splitlines()), strict=True))


def instead(runtime: Runtime, answer: list[str]) -> list[str]:
    """Return what the interceptor makes of the runtime's own answer."""
    result, library, function = answer
    return [result, INTERCEPTOR.name if function in runtime.hooks() else library, function]


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_answer_is_the_hook_of_what_the_runtime_answers(rig: Rig, name: str) -> None:
    runtime = RUNTIMES[name]
    without = answers(rig, runtime, LD_PRELOAD="")
    assert {library for _, library, _ in without.values()} == {runtime.library, "-"}
    found = answers(rig, runtime, HCS_VRAM_QUOTA=str(MIB))
    wrong = {
        question: (found[question], expected)
        for question, answer in without.items()
        if found[question] != (expected := instead(runtime, answer))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", RUNTIMES)
def test_there_is_no_hook_that_a_lookup_does_not_find(rig: Rig, name: str) -> None:
    runtime = RUNTIMES[name]
    found = answers(rig, runtime, HCS_VRAM_QUOTA=str(MIB)).values()
    assert {function for _, library, function in found if library == INTERCEPTOR.name} == (
        runtime.hooks()
    )


def expected_forms() -> Iterator[tuple[str, Question, str]]:
    """Say by name what some answers are, as the vendors document them."""
    old, new = CUDA.lookups
    for lookup in CUDA.lookups:
        for version, form in (
            (10000, "cuGraphInstantiate"),
            (11000, "cuGraphInstantiate_v2"),
            (12090, "cuGraphInstantiateWithFlags"),
        ):
            yield "cuda", Question(lookup, "cuGraphInstantiate", version, 0), form
        for flags, suffix in ((0, ""), (LEGACY_STREAM, ""), (PER_THREAD_STREAM, "_ptsz")):
            launch = Question(lookup, "cuLaunchKernel", 12090, flags)
            yield "cuda", launch, f"cuLaunchKernel{suffix}"
        for version, form in ((12090, "cuCtxSynchronize"), (13050, "cuCtxSynchronize_v2")):
            yield "cuda", Question(lookup, "cuCtxSynchronize", version, 0), form
        yield "cuda", Question(lookup, "cuMemAlloc", 3020, 0), "cuMemAlloc_v2"
        yield "cuda", Question(lookup, "cuGetProcAddress", 11030, 0), old
        yield "cuda", Question(lookup, "cuGetProcAddress", 12000, 0), new
    plain, of_thread = HIP.lookups
    properties = "hipGetDeviceProperties"
    yield "hip", Question(plain, properties, 500, 0), properties
    yield "hip", Question(plain, properties, 600, 0), f"{properties}R0600"
    for lookup, flags, suffix in (
        (plain, 0, ""),
        (plain, LEGACY_STREAM, ""),
        (plain, PER_THREAD_STREAM, "_spt"),
        (of_thread, 0, "_spt"),
        (of_thread, LEGACY_STREAM, ""),
    ):
        yield "hip", Question(lookup, "hipLaunchKernel", 600, flags), f"hipLaunchKernel{suffix}"
        yield "hip", Question(lookup, "hipMalloc", 600, flags), "hipMalloc"


def test_version_and_flags_decide_which_form_is_handed_out(rig: Rig) -> None:
    found = {name: answers(rig, runtime) for name, runtime in RUNTIMES.items()}
    for name, question, form in expected_forms():
        assert found[name][question] == ["0", INTERCEPTOR.name, form], question


@pytest.mark.parametrize("lookup", CUDA.lookups)
def test_what_is_newer_than_the_program_is_not_handed_out(rig: Rig, lookup: str) -> None:
    found = answers(rig, CUDA)
    for symbol, version in (("cuMemAlloc", 2000), ("cuMemAllocAsync", 11000)):
        _, library, _ = found[Question(lookup, symbol, version, 0)]
        assert library == "-"
