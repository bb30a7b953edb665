"""What a fault code means: its name and how bad it is, from `data/nvidia_xid.csv` and the like.

The catalogue rates; it does not decide. What follows from a fault is the health policy's business.
"""

import csv
import enum
import functools
import importlib.resources

import msgspec

from hcs_bus.names import Severity, Vendor

LOST = "lost"
"""Our code for a card that does not answer any more."""

RECOVERY = "recovery"
"""Our code for a card found in need of a recovery action, when the fault itself was not seen."""

HANG = "hang"
"""Our code for a card whose management library did not return from a call."""

UNHEALTHY = "unhealthy"
"""Our code for a card that its driver calls unhealthy without naming a failure."""

FILES = {
    Vendor.NVIDIA: "nvidia_xid.csv",
    Vendor.HUAWEI: "ascend_dcmi.csv",
    Vendor.HYGON: "hygon_ras.csv",
    Vendor.CAMBRICON: "cambricon_health.csv",
    Vendor.MTHREADS: "mthreads_ecc.csv",
}
WORDS = {
    Vendor.NVIDIA: "Xid",
    Vendor.HUAWEI: "DCMI event",
    Vendor.HYGON: "RAS error",
    Vendor.CAMBRICON: "CNDev Xid",
    Vendor.MTHREADS: "MTML counter",
}


class Recovery(enum.StrEnum):
    """What the driver asks for after a fault."""

    NONE = ""
    RESET = "reset"
    REBOOT = "reboot"


class FaultDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a catalogue."""

    code: str
    name: str
    severity: Severity
    recovery: Recovery = Recovery.NONE


@functools.cache
def catalogue(vendor: Vendor) -> dict[str, FaultDescription]:
    """Read a vendor's table, once; a duplicate code is a mistake in it."""
    path = importlib.resources.files("hcs_agents.data").joinpath(FILES[vendor])
    rows = msgspec.convert(
        list(csv.DictReader(path.read_text("utf-8").splitlines())), list[FaultDescription]
    )
    table = {row.code: row for row in rows}
    if len(table) != len(rows):
        raise AssertionError(f"{FILES[vendor]} names a code twice")
    return table


def describe(vendor: Vendor, code: str) -> FaultDescription:
    """Return what is known about a code; one that nobody knows is worth a look, so a warning."""
    known = catalogue(vendor).get(code)
    name = (known.name if known else "") or f"{WORDS[vendor]} {code}"
    if known is None:
        return FaultDescription(code=code, name=name, severity=Severity.WARNING)
    return msgspec.structs.replace(known, name=name)
