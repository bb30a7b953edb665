"""Allocates GPU memory in blocks of 64 MiB until the runtime says that there is no more.

It knows nothing of HCS: it calls the CUDA runtime as any program does, and runs unchanged on a
real card. Under a quota it is refused where the quota ends.
"""

import ctypes

BLOCK_BYTES = 64 * 1024**2
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation

runtime = ctypes.CDLL("libcudart.so.12")
pointer = ctypes.c_void_p()
blocks = 0
while (code := runtime.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(BLOCK_BYTES))) == 0:
    blocks += 1
assert code == OUT_OF_MEMORY, f"cudaMalloc returned {code}"
print(f"stopped after {blocks * BLOCK_BYTES / 1024**2:.0f} MiB")
