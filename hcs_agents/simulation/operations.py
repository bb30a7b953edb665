"""What can happen to a simulated card, as pure changes of a scenario.

Raising a fault adds an event, which the driver tells about once, and puts the fault in force, which
the driver tells whoever asks. NVIDIA's driver knows no list of Xids in force: there the lasting
trace is the recovery action, and an Xid that asks for none leaves no trace. Other drivers have
error counters: raising a fault again counts it up, clearing it is the reset that zeroes it.
"""

import msgspec

from hcs_agents.fault_catalogue import Recovery, describe
from hcs_agents.simulation.scenario import Scenario, SimDevice, SimEvent, SimFault
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor

RECOVERY_ACTIONS = {Recovery.NONE: 0, Recovery.RESET: 1, Recovery.REBOOT: 2}
"""NVML's numbers: NONE, GPU_RESET, NODE_REBOOT. The larger one asks for more."""


class FaultNotActiveError(Exception):
    """There is no such fault to clear."""


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


def _with_device(scenario: Scenario, number: int, **fields: int) -> Scenario:
    device: SimDevice = msgspec.structs.replace(scenario.devices[number], **fields)
    devices = (*scenario.devices[:number], device, *scenario.devices[number + 1 :])
    return msgspec.structs.replace(scenario, devices=devices)
