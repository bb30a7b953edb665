"""What frameworks call of the vendors' libraries to take memory or to launch work is hooked.

A function that a framework calls and that nobody hooked is memory beyond the quota or work beyond
the share. `data/framework_imports` has, by package, the names that its binaries import or look up;
the first lines of each file say of which version, and by which command they were listed. A name
that sounds like memory or a launch and needs no hook is in the table here, with the reason.
"""

import re
from pathlib import Path

import pytest

from tests.support.interceptor import CHECKOUT

HOOKS = set((CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split())
FILES = sorted((Path(__file__).parent / "data" / "framework_imports").glob("*.txt"))
HEADER = ("package", "version", "command")

CONCERNED = re.compile(
    "alloc|free|mem|map|import|open|pool|graph|launch|execute|enqueue|reset|deviceinfo|hbm",
    re.IGNORECASE,
)
"""What the names of functions that take memory, give it back, tell of it or launch have in them."""

OF_HIP = {
    r"hip(Drv)?Mem(cpy|set)\w*": "moves or fills what was allocated",
    r"hip(Drv)?Graph(?!ics)\w+|hipStreamBeginCaptureToGraph": "builds or reads a graph; what it "
    "allocates is counted when it is made executable",
    r"hipDevice[GS]etGraphMemAttribute": "asked for what graphs hold",
    r"hipGraphics\w+|hip\w*External\w+": "memory of OpenGL, Vulkan and their like",
    r"hip(Host(Alloc|Malloc|Free)|(Malloc|MemAlloc|Free)Host)": "memory of the host",
    r"hipLaunchHostFunc(_spt)?": "work of the host",
    r"hipLaunchByPtr": "calls hipModuleLaunchKernel as a program would",
    r"hipMemAddress(Free|Reserve)": "addresses, with nothing behind them",
    r"hipMem(ExportTo|ImportFrom)ShareableHandle|hipMemPool(Export|Import)\w+|hipIpc\w*MemHandle": (
        "charged to who allocated it"
    ),
    r"hipIpcOpenEventHandle": "events",
    r"hipMemPool(Create|[GS]et\w+)|hipDevice[GS]et(Default)?MemPool": "of a pool's blocks each is "
    "seen, and what it holds is asked for",
    r"hipMem(Advise|Prefetch|[GS]etAccess|GetA|PtrGetInfo|RangeGetA|MapArrayAsync)\w*": (
        "about memory that is charged already"
    ),
    r"hip\w+SharedMemConfig|hipTexRef\w+|hipBindTexture\w+|hip\w*MipmappedArray(Get)?Level": (
        "settings, and views of arrays"
    ),
    r"hipStream(AttachMemAsync|BatchMemOp)": "no work of a kernel's",
    r"hipDevicePrimaryCtxReset": "AMD's does nothing",
}
"""For all that lists the functions of HIP."""

OF_ASCEND = {
    r"(acl)?rtMem(cpy|set)\w*|acl_memcpy_\w+": "moves or fills what was allocated",
    r"(acl)?rt(Malloc|Free)Host\w*": "memory of the host",
    r"aclrt(Reserve|Release)MemAddress\w*": "addresses, with nothing behind them",
    r"aclrtMem(ExportTo|SetPidTo)ShareableHandle(V2)?|aclrtIpcMem(Close|GetExportKey|SetImportPid)|"
    r"rtIpc(CloseMemory|\w+MemoryName)|rtSetIpcMemorySuperPodPid": "charged to who allocated it",
    r"aclrtMem(SetAccess|GetAllocationGranularity)": "about memory that is charged already",
    r"aclrtIpc\w+EventHandle|aclrt(WaitAnd)?Reset(Event|Notify)": "events",
    r"aclrtLaunch(Callback|HostFunc)": "work of the host",
    r"aclopCompileAndExecute(V2)?|aclmdl(Execute(Async)?|LoadFromMem)": (
        "calls the layer below, which is hooked"
    ),
    r"rtGetDeviceInfo": "of processors and links: it has no sizes of memory",
}
"""For all packages for Ascend."""

NOT_HOOKED: dict[str, dict[str, str]] = {
    "libamdhip64": OF_HIP,
    "memfabric_hybrid": OF_ASCEND,
    "mooncake_transfer_engine_musa": {
        r"musaMem(cpy|set)\w*|muMemoryTransferBatchAsync": "moves or fills what was allocated",
        r"musa(MallocHost|HostAlloc|FreeHost)": "memory of the host",
        r"muMemAddress(Free|Reserve)": "addresses, with nothing behind them",
        r"muMem(ExportTo|ImportFrom)ShareableHandle|musaIpc\w+MemHandle": "charged to who made it",
        r"muMem(SetAccess|GetA\w+)": "about memory that is charged already",
    },
    "mooncake_transfer_engine_npu": OF_ASCEND,
    "onnxruntime_cann": OF_ASCEND,
    "rocm_bindings_hip": {
        **OF_HIP,
        r"hip(Drv)?MemDiscard\w+": "its contents",
        r"hipMemGetHandleForAddressRange": "charged to who allocated it",
        r"hipMem[GS]et(Default)?MemPool": "of a pool's blocks each is seen",
        r"hipMipmappedArrayGetMemoryRequirements|hipOccupancy\w+SMem\w+": "figures",
    },
    "torch_mlu": {
        r"cnrtMem(cpy|set)\w*": "moves or fills what was allocated",
        r"cnrt(HostMalloc|FreeHost)": "memory of the host",
        r"cnrt(Acquire|Map|UnMap)MemHandle": "charged to who allocated it",
        r"cnGetMemAttribute": "about memory that is charged already",
        r"cnrtIpcOpenNotifierHandle": "events",
        r"cnrtMalloc(MaybeCapturing|_count)": "the package's own",
    },
    "torch_musa": {
        r"musaMem(cpy|set)\w*": "moves or fills what was allocated",
        r"musa(HostAlloc|FreeHost)": "memory of the host",
        r"musaIpc\w*MemHandle\w*": "charged to who allocated it",
        r"musaIpcOpenEventHandle": "events",
        r"musaMemPool[GS]etAttribute|musaDeviceGetDefaultMemPool": "of a pool's blocks each is "
        "seen, and what it holds is asked for",
        r"musaGraph\w+": "nobody says what a graph's allocations look like: docs/critiques.md",
        r"muMem\w+_|musaMallocMaybeCapturing": "the package's own",
    },
    "torch_npu": {
        **OF_ASCEND,
        r"aclrtGetMemUsageInfo": "what each component of this process holds, without a total",
        r"aclrtMemUceRepair|aclrtGetMemUceInfo": "memory that is damaged, and its repair",
        r"aclshmem\w+": "of a library that calls the hooked ones",
        r"aclrt(Reset|Set)(Device|Stream|Op)(ResLimit|ExecuteTimeOut\w*)": "settings",
        r"acl\w*GraphDumpOpt|aclGenGraphAndDumpForOp|aclDestroyAclOpExecutor": "of the host",
    },
    "triton_ascend": OF_ASCEND,
    "vllm_ascend": OF_ASCEND,
}
"""Patterns of names, with the reason; by package."""


def _header(file: Path) -> dict[str, str]:
    """Return what the first lines of a file say of it."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("#")]
    return dict(line.removeprefix("# ").split(": ", 1) for line in lines)


def _names(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if not line.startswith("#")]


def _not_hooked(file: Path) -> list[str]:
    """Return the names that concern us and are nobody's hook."""
    return [name for name in _names(file) if CONCERNED.search(name) and name not in HOOKS]


def test_there_are_files_and_a_table_for_each() -> None:
    assert [file.stem for file in FILES] == sorted(NOT_HOOKED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_it_lists_and_has_each_name_once(file: Path) -> None:
    header = _header(file)
    assert tuple(header) == HEADER
    assert header["package"] == file.stem
    assert _names(file) == sorted(set(_names(file)))
    assert HOOKS & set(_names(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_takes_memory_or_launches_is_hooked_or_has_its_reason(file: Path) -> None:
    reasons = [re.compile(pattern) for pattern in NOT_HOOKED[file.stem]]
    left = [name for name in _not_hooked(file) if not any(p.fullmatch(name) for p in reasons)]
    assert left == []


def test_no_reason_is_left_of_what_is_not_called_any_more() -> None:
    used = {
        pattern
        for file in FILES
        for pattern in NOT_HOOKED[file.stem]
        if any(re.fullmatch(pattern, name) for name in _not_hooked(file))
    }
    assert {pattern for table in NOT_HOOKED.values() for pattern in table} - used == set()
