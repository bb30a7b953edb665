"""What can happen to a simulated card, as pure changes of a scenario.

Raising a fault adds an event, which the driver tells about once, and puts the fault in force, which
the driver tells whoever asks. NVIDIA's driver knows no list of Xids in force: there the lasting
trace is the recovery action, and an Xid that asks for none leaves no trace. Other drivers have
error counters: raising a fault again counts it up, clearing it is the reset that zeroes it.

What is measured (temperature, clocks, counters) is set to what it shall be from now on: nothing
cools down or wears off by itself.
"""

import msgspec

from hcs_agents.fault_catalogue import Recovery, describe
from hcs_agents.simulation.scenario import Scenario, SimDevice, SimEvent, SimFault
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor

RECOVERY_ACTIONS = {Recovery.NONE: 0, Recovery.RESET: 1, Recovery.REBOOT: 2}
"""NVML's numbers: NONE, GPU_RESET, NODE_REBOOT. The larger one asks for more."""


IDLE_POWER_MW = 60_000
BUSY_POWER_MW = 300_000
FULL_SPEED_PERCENT = 100

CHANGING_FIELDS = (
    "temperature_c",
    "memory_temperature_c",
    "power_mw",
    "utilization_percent",
    "memory_utilization_percent",
    "memory_used_bytes",
    "core_clock_mhz",
    "memory_clock_mhz",
    "throttle",
    "speed_percent",
    "ecc_corrected",
    "ecc_uncorrected",
    "pcie_replays",
    "link_errors",
    "pcie_generation",
    "pcie_width",
    "hangs",
)
"""What the operations below change of a card, but for its presence and its faults."""

MAXIMUM_OF = {
    "core_clock_mhz": "core_clock_max_mhz",
    "pcie_generation": "pcie_generation_max",
    "pcie_width": "pcie_width_max",
}
"""Fields that are usually at a maximum which each card has for itself."""


class FaultNotActiveError(Exception):
    """There is no such fault to clear."""


class ImpossibleError(Exception):
    """No such hardware could be like that."""


def raise_fault(scenario: Scenario, number: int, code: str, *, at_ns: int) -> Scenario:
    """Let card `number` report a fault."""
    device = scenario.devices[number]
    before = [fault for fault in scenario.faults if (fault.device, fault.code) == (number, code)]
    faults = scenario.faults
    if _lasts(device.vendor, code):
        count = 1 + sum(fault.count for fault in before)
        others = (fault for fault in faults if fault not in before)
        faults = (*others, SimFault(device=number, code=code, count=count))
    changed = _with_event(scenario, number, code, FaultState.RAISED, at_ns)
    return _with_faults(changed, number, faults)


def clear_faults(scenario: Scenario, number: int, code: str | None, *, at_ns: int) -> Scenario:
    """End one fault of card `number`, or all of them.

    Raises:
        FaultNotActiveError: no such fault is in force; the message says which are.
    """
    active = active_codes(scenario, number)
    ended = active if code is None else tuple(found for found in active if found == code)
    if not ended:
        wanted = "no fault" if code is None else f"fault {code} not"
        raise FaultNotActiveError(f"{wanted} in force; in force: {', '.join(active) or 'none'}")
    for one in ended:
        scenario = _with_event(scenario, number, one, FaultState.CLEARED, at_ns)
    left = tuple(f for f in scenario.faults if f.device != number or f.code not in ended)
    return _with_faults(scenario, number, left)


def pull(scenario: Scenario, number: int) -> Scenario:
    """Take card `number` off the bus."""
    return _with_device(scenario, number, present=0)


def plug(scenario: Scenario, number: int) -> Scenario:
    """Put card `number` back."""
    return _with_device(scenario, number, present=1)


def set_temperature(
    scenario: Scenario, number: int, celsius: int, memory_celsius: int | None = None
) -> Scenario:
    """Let card `number` be so hot; its memory stays as it is unless told."""
    before = scenario.devices[number].memory_temperature_c
    memory_temperature_c = before if memory_celsius is None else memory_celsius
    return _with_device(
        scenario, number, temperature_c=celsius, memory_temperature_c=memory_temperature_c
    )


def count_ecc_errors(
    scenario: Scenario, number: int, *, corrected: int = 0, uncorrected: int = 0
) -> Scenario:
    """Let card `number` count memory errors on top of those it has counted."""
    device = scenario.devices[number]
    return _with_device(
        scenario,
        number,
        ecc_corrected=device.ecc_corrected + corrected,
        ecc_uncorrected=device.ecc_uncorrected + uncorrected,
    )


def set_link(scenario: Scenario, a: int, b: int, *, up: bool, errors: int = 0) -> Scenario:
    """Let the fabric between two cards work or not; both count the errors.

    Raises:
        ImpossibleError: there is no link between the two.
    """
    a, b = sorted((a, b))
    if not any((link.a, link.b) == (a, b) for link in scenario.links):
        raise ImpossibleError(f"no link between cards {a} and {b} of {scenario.node}")
    links = tuple(
        msgspec.structs.replace(link, up=int(up)) if (link.a, link.b) == (a, b) else link
        for link in scenario.links
    )
    for number in (a, b):
        counted = scenario.devices[number].link_errors + errors
        scenario = _with_device(scenario, number, link_errors=counted)
    return msgspec.structs.replace(scenario, links=links)


def set_pcie(
    scenario: Scenario,
    number: int,
    *,
    generation: int | None = None,
    width: int | None = None,
    replays: int = 0,
) -> Scenario:
    """Let card `number` talk slower over PCIe than it could, and count replays.

    Raises:
        ImpossibleError: the card or its slot cannot do so much.
    """
    device = scenario.devices[number]
    generation = device.pcie_generation if generation is None else generation
    width = device.pcie_width if width is None else width
    if generation > device.pcie_generation_max or width > device.pcie_width_max:
        raise ImpossibleError(
            f"PCIe {generation} x{width}: card and slot can do "
            f"{device.pcie_generation_max} x{device.pcie_width_max} at most"
        )
    return _with_device(
        scenario,
        number,
        pcie_generation=generation,
        pcie_width=width,
        pcie_replays=device.pcie_replays + replays,
    )


def reset_pcie(scenario: Scenario, number: int) -> Scenario:
    """Let card `number` talk over PCIe as fast as it can."""
    device = scenario.devices[number]
    return set_pcie(
        scenario, number, generation=device.pcie_generation_max, width=device.pcie_width_max
    )


def set_speed(scenario: Scenario, number: int, percent: int, *, reason: str) -> Scenario:
    """Let card `number` compute so much of what its model can; at 100 nothing throttles it."""
    device = scenario.devices[number]
    return _with_device(
        scenario,
        number,
        speed_percent=percent,
        core_clock_mhz=device.core_clock_max_mhz * percent // 100,
        throttle=reason if percent < FULL_SPEED_PERCENT else "",
    )


def set_load(
    scenario: Scenario, number: int, percent: int, *, vram_bytes: int | None = None
) -> Scenario:
    """Let card `number` be so busy, and draw the power for it; memory stays in use unless told.

    Raises:
        ImpossibleError: the card has not so much memory.
    """
    device = scenario.devices[number]
    used_bytes = device.memory_used_bytes if vram_bytes is None else vram_bytes
    if used_bytes > device.vram_bytes:
        raise ImpossibleError(f"{used_bytes} bytes in use: the card has {device.vram_bytes}")
    return _with_device(
        scenario,
        number,
        utilization_percent=percent,
        memory_utilization_percent=percent,
        memory_used_bytes=used_bytes,
        power_mw=IDLE_POWER_MW + (BUSY_POWER_MW - IDLE_POWER_MW) * percent // 100,
    )


def set_hanging(scenario: Scenario, number: int, *, hangs: bool) -> Scenario:
    """Let calls about card `number` not return, or return again."""
    return _with_device(scenario, number, hangs=int(hangs))


def set_driver(scenario: Scenario, vendor: Vendor, *, down: bool) -> Scenario:
    """Unload a vendor's driver, or load it again.

    Raises:
        ImpossibleError: the node has no card of that vendor.
    """
    if all(device.vendor is not vendor for device in scenario.devices):
        raise ImpossibleError(f"{scenario.node} has no card of {vendor}")
    now_down = {*drivers_down(scenario), vendor} if down else {*drivers_down(scenario)} - {vendor}
    words = " ".join(one for one in Vendor if one in now_down)
    return msgspec.structs.replace(scenario, drivers_down=words)


def drivers_down(scenario: Scenario) -> tuple[Vendor, ...]:
    """Return whose drivers are not loaded now."""
    return tuple(Vendor(word) for word in scenario.drivers_down.split())


def unusual(device: SimDevice) -> dict[str, int | str]:
    """Return what is not as on an idle card without trouble, with its values."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(SimDevice)}
    found: dict[str, int | str] = {}
    for name in CHANGING_FIELDS:
        value = getattr(device, name)
        maximum = MAXIMUM_OF.get(name)
        if value != (defaults[name] if maximum is None else getattr(device, maximum)):
            found[name] = value
    return found


def active_codes(scenario: Scenario, number: int) -> tuple[str, ...]:
    """Return the faults in force on card `number`."""
    return tuple(fault.code for fault in scenario.faults if fault.device == number)


def _lasts(vendor: Vendor, code: str) -> bool:
    """Say whether a fault is in force until it is cleared: Xids that ask for nothing are not."""
    if vendor is Vendor.NVIDIA:
        return describe(vendor, code).recovery is not Recovery.NONE
    return vendor is not Vendor.CAMBRICON or not code.isdecimal()


def _with_event(
    scenario: Scenario, number: int, code: str, state: FaultState, at_ns: int
) -> Scenario:
    last = scenario.events[-1].number if scenario.events else 0
    event = SimEvent(number=last + 1, device=number, code=code, state=state, at_ns=at_ns)
    return msgspec.structs.replace(scenario, events=(*scenario.events, event))


def _with_faults(scenario: Scenario, number: int, faults: tuple[SimFault, ...]) -> Scenario:
    scenario = msgspec.structs.replace(scenario, faults=faults)
    device = scenario.devices[number]
    if device.vendor is not Vendor.NVIDIA:
        return scenario
    codes = active_codes(scenario, number)
    actions = (RECOVERY_ACTIONS[describe(device.vendor, code).recovery] for code in codes)
    return _with_device(scenario, number, recovery_action=max(actions, default=0))


def _with_device(scenario: Scenario, number: int, **fields: int | str) -> Scenario:
    device: SimDevice = msgspec.structs.replace(scenario.devices[number], **fields)
    devices = (*scenario.devices[:number], device, *scenario.devices[number + 1 :])
    return msgspec.structs.replace(scenario, devices=devices)
