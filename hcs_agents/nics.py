"""The RDMA network cards of a node, as the kernel lists them in `/sys/class/infiniband`.

A card that is taken out while it is read, or whose files say what cannot be, is left out: the next
look sees what is true then. The kernel answers some of these files by asking the card, so whoever
must not wait reads them elsewhere than in its event loop.
"""

import re
from pathlib import Path

import msgspec

from hcs_bus.events import RdmaNic

CLASS = Path("class/infiniband")
PORT = Path("ports/1")
PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
ACTIVE = "4: ACTIVE"  # of INIT, ARMED, ACTIVE and others, the only state that carries data


def rdma_nics(root: Path = Path("/sys")) -> tuple[RdmaNic, ...]:
    """Return the cards by name; none on a node whose kernel has no such class."""
    found = []
    try:
        entries = sorted((root / CLASS).iterdir())
    except OSError:
        return ()
    for entry in entries:
        try:
            found.append(_read(entry))
        except (OSError, ValueError):  # a ValidationError is one
            continue
    return tuple(found)


def _read(entry: Path) -> RdmaNic:
    device = (entry / "device").resolve(strict=True)
    if PCI_ADDRESS.fullmatch(device.name) is None:
        raise ValueError(f"{entry.name} is virtual: software on top of another network card")
    fields = {
        "name": entry.name,
        "pci_address": device.name,
        "numa_node": int(_text(device / "numa_node")),
        "link_layer": _text(entry / PORT / "link_layer"),
        "rate_gbps": float(_text(entry / PORT / "rate").partition(" ")[0]),  # "100 Gb/sec (4X EDR)"
        "up": _text(entry / PORT / "state") == ACTIVE,
    }
    return msgspec.convert(fields, RdmaNic)


def _text(path: Path) -> str:
    return path.read_text("ascii").strip()
