"""The same remote-controlled program as `commands.c`, in Python: the libraries by ctypes."""

import ctypes
import sys

_, runtime = sys.argv
blocks: list[ctypes.c_void_p] = []


class Cuda:
    """The driver API."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")

    def begin(self) -> int:
        return int(self.library.cuInit(0))

    def device(self, number: int) -> int:
        context = ctypes.c_void_p()
        result = self.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), number)
        return int(result or self.library.cuCtxSetCurrent(context))

    def alloc(self, pointer: ctypes.c_void_p, size: int) -> int:
        return int(self.library.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)))

    def free(self, pointer: ctypes.c_void_p) -> int:
        return int(self.library.cuMemFree_v2(pointer))


class Cudart:
    """The runtime API."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcudart.so.12")

    def begin(self) -> int:
        return 0

    def device(self, number: int) -> int:
        return int(self.library.cudaSetDevice(number))

    def alloc(self, pointer: ctypes.c_void_p, size: int) -> int:
        return int(self.library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(size)))

    def free(self, pointer: ctypes.c_void_p) -> int:
        return int(self.library.cudaFree(pointer))


class Acl:
    """Ascend's runtime."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libascendcl.so")

    def begin(self) -> int:
        return int(self.library.aclInit(None))

    def device(self, number: int) -> int:
        return int(self.library.aclrtSetDevice(number))

    def alloc(self, pointer: ctypes.c_void_p, size: int) -> int:
        return int(self.library.aclrtMalloc(ctypes.byref(pointer), ctypes.c_size_t(size), 0))

    def free(self, pointer: ctypes.c_void_p) -> int:
        return int(self.library.aclrtFree(pointer))


APIS: dict[str, type[Cuda | Cudart | Acl]] = {"cuda": Cuda, "cudart": Cudart, "acl": Acl}
api = APIS[runtime]()


def fill(size: int) -> tuple[int, int]:
    """Allocate until refused."""
    count = 0
    while True:
        pointer = ctypes.c_void_p()
        result = api.alloc(pointer, size)
        if result != 0:
            return result, count
        blocks.append(pointer)
        count += 1


for line in sys.stdin:
    command, *arguments = line.split()
    argument = int(arguments[0]) if arguments else 0
    match command:
        case "begin":
            answer = f"{api.begin()}"
        case "device":
            answer = f"{api.device(argument)}"
        case "alloc":
            block = ctypes.c_void_p()
            answer = f"{api.alloc(block, argument)} {len(blocks)}"
            blocks.append(block)
        case "free":
            answer = f"{api.free(blocks[argument])}"
        case "fill":
            answer = "{} {}".format(*fill(argument))
        case _:
            sys.exit(2)
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()
