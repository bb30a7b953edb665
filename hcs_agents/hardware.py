"""What a model can do, by the name under which its vendor's library reports it.

The table is `data/hardware.csv`. An unknown name is not an error: the card is reported with the
name as its model and without performance figures, so that it is seen but gets no work by TFLOPS.
"""

import csv
import functools
import importlib.resources
from typing import Annotated

import msgspec

from hcs_bus.names import Vendor

GFLOPS_PER_TFLOPS = 1000
BYTES_PER_GIB = 1024**3

Figure = Annotated[float, msgspec.Meta(ge=0)]


class HardwareProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; 0 means that the vendor publishes no figure."""

    vendor: Vendor
    alias: str  # as the management library reports it
    model: str  # as we call it
    vram_gib: Figure
    memory_bandwidth_gbytes_s: Figure
    fp16_tflops: Figure  # dense
    fp32_tflops: Figure
    int8_tops: Figure  # dense
    lane_gbytes_s: Figure  # one lane of the card's fabric, both directions together

    @property
    def vram_bytes(self) -> int:
        """Return what the data sheet says, in bytes."""
        return round(self.vram_gib * BYTES_PER_GIB)

    @property
    def fp16_gflops(self) -> int:
        """Return dense FP16 performance."""
        return round(self.fp16_tflops * GFLOPS_PER_TFLOPS)

    @property
    def fp32_gflops(self) -> int:
        """Return FP32 performance."""
        return round(self.fp32_tflops * GFLOPS_PER_TFLOPS)

    @property
    def int8_gops(self) -> int:
        """Return dense INT8 performance."""
        return round(self.int8_tops * GFLOPS_PER_TFLOPS)


@functools.cache
def profiles() -> dict[tuple[Vendor, str], HardwareProfile]:
    """Read the table, once; a duplicate alias is a mistake in it."""
    text = importlib.resources.files("hcs_agents.data").joinpath("hardware.csv").read_text("utf-8")
    rows = msgspec.convert(
        list(csv.DictReader(text.splitlines())), list[HardwareProfile], strict=False
    )
    table = {(row.vendor, row.alias): row for row in rows}
    if len(table) != len(rows):
        raise AssertionError("hardware.csv names an alias twice")
    return table


def profile_of(vendor: Vendor, alias: str) -> HardwareProfile:
    """Return the row of a reported name, or one that knows nothing but the name."""
    known = profiles().get((vendor, alias))
    return known or HardwareProfile(
        vendor=vendor,
        alias=alias,
        model=alias,
        vram_gib=0,
        memory_bandwidth_gbytes_s=0,
        fp16_tflops=0,
        fp32_tflops=0,
        int8_tops=0,
        lane_gbytes_s=0,
    )
