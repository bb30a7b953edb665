"""The same remote-controlled program as `commands.c`, in Python: the libraries by ctypes."""

import ctypes
import os
import random
import select
import sys
from collections.abc import Callable
from typing import NamedTuple

_, runtime = sys.argv
blocks: list[ctypes.c_void_p] = []


class Api(NamedTuple):
    """How a runtime allocates: the names of its functions, and what follows their arguments."""

    library: str
    allocate: str
    release: str
    set_device: str = ""
    init: str = ""
    init_arguments: tuple[object, ...] = (0,)
    context: str = ""  # a driver: it makes a card's context current
    set_context: str = ""
    more: tuple[object, ...] = ()  # arguments of `allocate` behind the size


APIS = {
    "cuda": Api("libcuda.so.1", "cuMemAlloc_v2", "cuMemFree_v2", init="cuInit",
                context="cuDevicePrimaryCtxRetain", set_context="cuCtxSetCurrent"),
    "cudart": Api("libcudart.so.12", "cudaMalloc", "cudaFree", "cudaSetDevice"),
    "acl": Api("libascendcl.so", "aclrtMalloc", "aclrtFree", "aclrtSetDevice", "aclInit",
               init_arguments=(None,), more=(0,)),
    "rt": Api("libruntime.so", "rtMalloc", "rtFree", "rtSetDevice", more=(2, 0)),
    "hip": Api("libamdhip64.so", "hipMalloc", "hipFree", "hipSetDevice", "hipInit"),
    "cnrt": Api("libcnrt.so", "cnrtMalloc", "cnrtFree", "cnrtSetDevice"),
    "cndrv": Api("libcndrv.so", "cnMalloc", "cnFree", init="cnInit",
                 context="cnSharedContextAcquire", set_context="cnCtxSetCurrent"),
    "musart": Api("libmusart.so", "musaMalloc", "musaFree", "musaSetDevice"),
    "musa": Api("libmusa.so", "muMemAlloc_v2", "muMemFree_v2", init="muInit",
                context="muDevicePrimaryCtxRetain", set_context="muCtxSetCurrent"),
}  # fmt: skip
api = APIS[runtime]
library = ctypes.CDLL(api.library)


def function(name: str) -> Callable[..., int]:
    """Return one of the library's functions."""
    return library[name]


def use_device(number: int) -> int:
    """Make a card the current one."""
    if not api.context:
        return function(api.set_device)(number)
    context = ctypes.c_void_p()
    result = function(api.context)(ctypes.byref(context), number)
    return result or function(api.set_context)(context)


def allocate(pointer: ctypes.c_void_p, size: int) -> int:
    """Allocate."""
    return function(api.allocate)(ctypes.byref(pointer), ctypes.c_size_t(size), *api.more)


def fill(size: int) -> tuple[int, int]:
    """Allocate until refused."""
    count = 0
    while True:
        pointer = ctypes.c_void_p()
        result = allocate(pointer, size)
        if result != 0:
            return result, count
        blocks.append(pointer)
        count += 1


def let_go(number: int) -> None:
    """Free what it got itself: that it cannot is the end."""
    blocks[number], blocks[-1] = blocks[-1], blocks[number]
    if function(api.release)(blocks.pop()) != 0:
        sys.exit(3)


def churn(bytes_max: int) -> tuple[int, int]:
    """Allocate and free at random, until the next command has come."""
    choice = random.Random(os.getpid())
    count = refusals = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        pointer = ctypes.c_void_p()
        if blocks and choice.randrange(3) == 0:
            let_go(choice.randrange(len(blocks)))
        elif allocate(pointer, choice.randint(1, bytes_max)) == 0:
            blocks.append(pointer)
            count += 1
        else:
            refusals += 1
    return count, refusals


for line in sys.stdin:
    command, *arguments = line.split()
    argument = int(arguments[0]) if arguments else 0
    match command:
        case "begin":
            answer = f"{function(api.init)(*api.init_arguments) if api.init else 0}"
        case "device":
            answer = f"{use_device(argument)}"
        case "alloc":
            block = ctypes.c_void_p()
            answer = f"{allocate(block, argument)} {len(blocks)}"
            blocks.append(block)
        case "free":
            answer = f"{function(api.release)(blocks[argument])}"
        case "fill":
            answer = "{} {}".format(*fill(argument))
        case "churn":
            answer = "{} {}".format(*churn(argument))
        case "stop":
            answer = "0"
        case "drop":
            while blocks:
                let_go(len(blocks) - 1)
            answer = "0"
        case _:
            sys.exit(2)
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()
