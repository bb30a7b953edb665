"""What a Moore Threads card does at the moment, as MTML tells it.

MTML has one function per quantity. None tells the memory's temperature, why a card runs slower than
it could, or errors of PCIe and MTLink.
"""

import ctypes

from hcs_agents.detectors import mthreads_abi as abi
from hcs_agents.detectors.calls import celsius, percent, positive
from hcs_agents.detectors.mthreads_scan import Card, ecc_count, vram_bytes
from hcs_agents.detectors.port import Counters, Reading
from hcs_bus.events import DeviceSample
from hcs_bus.names import DeviceId

MILLIWATTS_PER_WATT = 1_000


def read_card(mtml: abi.Mtml, device_id: DeviceId, card: Card) -> Reading | None:
    """Return what a card does; `None` when it does not answer."""
    milliwatts = mtml.number("mtmlDeviceGetPowerUsage", card.device)
    pci = mtml.pci(card.device)
    counters = Counters(
        ecc_corrected=ecc_count(mtml, card, abi.CORRECTED),
        ecc_uncorrected=ecc_count(mtml, card, abi.UNCORRECTED),
    )
    sample = DeviceSample(
        device_id=device_id,
        utilization_percent=percent(_of_gpu(mtml, "mtmlGpuGetUtilization", card.gpu)),
        memory_utilization_percent=percent(mtml.number("mtmlMemoryGetUtilization", card.memory)),
        power_watts=None if milliwatts is None else milliwatts / MILLIWATTS_PER_WATT,
        temperature_celsius=celsius(_of_gpu(mtml, "mtmlGpuGetTemperature", card.gpu)),
        core_clock_mhz=positive(_of_gpu(mtml, "mtmlGpuGetClock", card.gpu)),
        memory_clock_mhz=positive(mtml.number("mtmlMemoryGetClock", card.memory)),
        pcie_generation=None if pci is None else positive(pci.current_generation),
        pcie_width=None if pci is None else positive(pci.current_width),
        vram_used_bytes=mtml.number("mtmlMemoryGetUsed", card.memory),
    )
    # Asked last: a card that went away meanwhile is left out, not told of half.
    answers = sample.vram_used_bytes is not None or vram_bytes(mtml, card) is not None
    return Reading(sample=sample, counters=counters) if answers else None


def _of_gpu(mtml: abi.Mtml, name: str, gpu: ctypes.c_void_p | None) -> int | None:
    return None if gpu is None else mtml.number(name, gpu)
