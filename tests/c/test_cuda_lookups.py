"""What CUDA's runtimes and libraries look up in the driver is hooked, or has its reason.

The runtime, linked or static, reaches the driver by `cuGetProcAddress` alone, and so do the
libraries above it: a function that they get unhooked is memory beyond the quota or work beyond the
share. `data/cuda_lookups` has, by package, the names that they ask for, of the runtimes with
version and flags; the first lines of each file say of which package, and how they were listed.
NVIDIA's own bindings have all names that there are. Each is hooked, or in the table here.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.interceptor import CHECKOUT, INTERCEPTOR, MIB, PROGRAMS, Rig

EXPORTED = (CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split()
HOOKED = {name.partition("_")[0] for name in EXPORTED if re.match("cu[A-Z]", name)}
"""As they are asked for: which form of it, a version and flags say."""

FILES = sorted((Path(__file__).parent / "data" / "cuda_lookups").glob("*.txt"))
OF_RUNTIMES = [file for file in FILES if file.stem.startswith("nvidia-cuda-runtime")]
HEADER = ["package", "version", "command"]

NOT_HOOKED = {
    r"cuInit|cu\w*Get\w+|cu\w+Query|cu\w+Enumerate\w+|cuOccupancy\w+|cuFuncIsLoaded"
    r"|cuStreamIsCapturing|cuDevice(Get|CanAccessPeer|ComputeCapability)|cuEventElapsedTime": (
        "asks, of nothing that the quota changes"
    ),
    r"cu\w+Set\w*(Attribute|Params?|Flags?|Limit|Config|Enabled|Access|AllocationClass)"
    r"|cu(Tex|Surf)\w*Ref\w+|cuParamSet\w+|cuFuncSet\w+|cuGraph\w+SetEvent|cuCoredumpSet\w+"
    r"|cuThreadExchangeStreamCaptureMode|cuCtx(En|Dis)ablePeerAccess"
    r"|cu(Device|Mem)SetMemPool|cuMemAdvise|cuCtxResetPersistingL2Cache|cuGraphicsResourceSet\w+"
    r"|cu(Stream|GraphKernelNode)Copy\w+|cuGLSetBufferObjectMapFlags": "a setting",
    r"cuMem(cpy|set)\w+|cuMemcpy|cuMem(Discard|Prefetch|BatchDecompress)\w+|cuFabricCpyBatchAsync"
    r"|cuStreamAttachMemAsync|cuFlushGPUDirectRDMAWrites": "moves or fills what was allocated",
    r"cuMem(AllocHost|FreeHost|Host\w+)": "memory of the host",
    r"cuMemAddress\w+": "addresses, with nothing behind them",
    r"cuMem(Pool)?(Export|Import)\w+|cuIpc\w+MemHandle": "charged to who created it",
    r"cu(Import|Destroy)External\w+|cu(Signal|Wait)External\w+": "memory of another interface",
    r"cuMulticast\w+|cuLogicalEndpoint\w+|cuMemMapArrayAsync": (
        "binds what has its handle: charged as long as that, or a mapping of it, is there"
    ),
    r"cuCtx(Attach|SetCurrent|PushCurrent|PopCurrent|FromGreenCtx)|cuGreenCtx\w+"
    r"|cuDev(Sm)?Resource\w+|cuGLCtxCreate|cuVDPAUCtxCreate|cuGLInit": (
        "what a context takes for itself is the driver's"
    ),
    r"cuCtxDetach": "the first CUDA's; what its context held stays charged until the process ends",
    r"cuModule\w+|cuLibrary\w+|cuLink\w+|cuFuncLoad|cuKernel\w+": (
        "what a module takes is the driver's"
    ),
    r"cuGraph(Add|Create|Clone|Destroy|DestroyNode|Remove|Debug|NodeFind|Conditional)\w*"
    r"|cuGraphExecUpdate|cuStream(Begin|End|UpdateCapture)\w+": (
        "read from the graph when it is made executable; then its allocations cannot change"
    ),
    r"cu(Graph\w+)?UserObject\w*|cuGraph(Retain|Release)UserObject": "objects of the program",
    r"cu(Stream|Event)(Create|Destroy|Record|Wait)\w*|cuCtx(Record|Wait)Event"
    r"|cuIpcOpenEventHandle|cuStream(Write|Wait)Value\d+|cuStreamBatchMemOp": "streams and events",
    r"cuLaunchHostFunc|cuStreamAddCallback": "work of the host",
    r"cu(Tex|Surf)Object\w+|cuTensorMap\w+": "a view of what was allocated",
    r"cu(GL|EGL|VDPAU|Graphics)\w+|cuEventCreateFromEGLSync": "memory of graphics",
    r"cuCheckpoint\w+|cuCoredump\w+|cuLogs\w+|cuProfiler\w+|cuDevice(Unr|R)egister\w+": (
        "for tools"
    ),
}
"""Patterns of names, and why they need no hook."""


def _header(file: Path) -> dict[str, str]:
    """Return what the first lines of a file say of it."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("#")]
    return dict(line.removeprefix("# ").split(": ", 1) for line in lines)


def _questions(file: Path) -> list[list[str]]:
    """Return what a package asks for: names, of some with version and flags."""
    lines = file.read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def _not_hooked() -> set[str]:
    names = {name for file in FILES for name, *_ in _questions(file)}
    return names - HOOKED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_it_lists_and_has_each_line_once(file: Path) -> None:
    header = _header(file)
    assert (list(header), header["package"]) == (HEADER, file.stem)
    assert _questions(file) == sorted(_questions(file))
    assert len({" ".join(question) for question in _questions(file)}) == len(_questions(file))
    assert HOOKED & {name for name, *_ in _questions(file)}


def test_all_that_is_hooked_is_somebodys_question() -> None:
    assert HOOKED - {name for file in FILES for name, *_ in _questions(file)} == set()


def test_what_is_looked_up_is_hooked_or_has_its_reason() -> None:
    reasons = [re.compile(pattern) for pattern in NOT_HOOKED]
    left = [name for name in _not_hooked() if not any(one.fullmatch(name) for one in reasons)]
    assert left == []


def test_no_reason_is_left_of_what_nobody_looks_up() -> None:
    names = _not_hooked()
    idle = [one for one in NOT_HOOKED if not any(re.fullmatch(one, name) for name in names)]
    assert idle == []


@pytest.mark.parametrize("file", OF_RUNTIMES, ids=lambda file: file.stem)
@pytest.mark.usefixtures("programs")
def test_whatever_form_of_it_a_runtime_asks_for_is_the_hook(rig: Rig, file: Path) -> None:
    asked = [question for question in _questions(file) if question[0] in HOOKED]
    done = subprocess.run(
        [sys.executable, "-I", str(PROGRAMS / "proc_addresses.py"), "libcuda.so.1"],
        input="".join(f"cuGetProcAddress_v2 {' '.join(question)}\n" for question in asked),
        env=rig.environment(HCS_VRAM_QUOTA=str(MIB)),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [line.split()[:2] for line in done.stdout.splitlines()]
    wrong = [
        (question, answer)
        for question, answer in zip(asked, answers, strict=True)
        if answer != ["0", INTERCEPTOR.name]
    ]
    assert wrong == []
