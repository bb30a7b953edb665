"""Asks a runtime's own lookup for functions, and says for each what it was given.

Reads lines "LOOKUP SYMBOL VERSION FLAGS" and answers each with "RESULT LIBRARY FUNCTION", after the
object that the address lies in and the name that it has there; "RESULT - -" for no address.
"""

import ctypes
import sys
from pathlib import Path


class Place(ctypes.Structure):
    """Dl_info."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


WITHOUT_STATUS = "cuGetProcAddress"  # CUDA's first form of it
_, library = sys.argv
runtime = ctypes.CDLL(library)
itself = ctypes.CDLL(None)


def where(function: ctypes.c_void_p) -> str:
    """Return what lies at an address."""
    place = Place()
    if not function.value or not itself.dladdr(function, ctypes.byref(place)):
        return "- -"
    exact = place.address == function.value
    name = place.name.decode() if exact and place.name else "?"
    return f"{Path(place.file.decode()).name} {name}"


for line in sys.stdin:
    lookup, symbol, version, flags = line.split()
    found = ctypes.c_void_p()
    arguments = [symbol.encode(), ctypes.byref(found), int(version), ctypes.c_uint64(int(flags))]
    if lookup != WITHOUT_STATUS:
        arguments.append(ctypes.byref(ctypes.c_int()))
    result = runtime[lookup](*arguments)
    sys.stdout.write(f"{result} {where(found)}\n")
