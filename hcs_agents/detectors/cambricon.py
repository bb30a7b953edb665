"""Cambricon MLUs through CNDev.

What lasts is the health state: the incidents in force on a card, which are looked at again and
again. The driver pushes only Xids: occurrences, whose end it does not tell. Waiting for them blocks
in the driver, and is how the time between two looks is spent.
"""

import contextlib
import ctypes
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.cambricon_samples import Sampler, processes_of
from hcs_agents.detectors.cambricon_scan import describe_card, enumerate_cards
from hcs_agents.detectors.polled import Lookout, PolledFaults
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryBrokenError,
    Reading,
)
from hcs_agents.fault_catalogue import LOST, UNHEALTHY
from hcs_bus.events import DeviceFingerprint, FaultState
from hcs_bus.names import DeviceId, Severity, Vendor

LOG = structlog.get_logger()

MILLISECONDS = 1000
XIDS_DRAINED_MAX = 1000  # per look; the rest comes with the next


class CambriconDetector:
    """The CNDev adapter; see the module's docstring."""

    vendor = Vendor.CAMBRICON

    def __init__(self, sysfs: Path = pci.SYSFS) -> None:
        self._sysfs = sysfs
        self._cndev: abi.Cndev | None = None
        self._sampler: Sampler | None = None
        self._cards: dict[DeviceId, int] = {}  # those that were seen since `open`
        self._faults = PolledFaults()
        self._lookout = Lookout(self._look, pause=self._pause)
        self._events: ctypes.c_void_p | None = None
        self._pushed: list[FaultSignal] = []

    # --- The port ---------------------------------------------------------------------------------

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load CNDev, enumerate, begin to listen; see the port."""
        self._cndev = abi.Cndev()
        self._sampler = Sampler(self._cndev)
        self._faults.remember(active)
        self._cards = enumerate_cards(self._cndev)
        self._listen(self._cndev)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        cndev = self._opened()
        present = enumerate_cards(cndev)
        if not present.keys() <= self._cards.keys():
            self._cards |= present
            self._listen(cndev)
        found = [describe_card(cndev, device_id, present) for device_id in present]
        # Asked afterwards: a card that went away while it was described is not reported half.
        answering = [d for d in found if _incidents(cndev, present[d.device_id]) is not None]
        return bounds.fingerprints(pci.complete(device, self._sysfs) for device in answering)

    def sample(self) -> tuple[Reading, ...]:
        """Ask the cards that were seen; see the port."""
        if self._sampler is None:
            raise AssertionError("the detector is not open")
        by_handle = sorted(self._cards.items(), key=lambda card: card[1])
        readings = [self._sampler.read(device_id, handle) for device_id, handle in by_handle]
        return bounds.readings(reading for reading in readings if reading is not None)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask the cards that were seen; see the port."""
        cndev = self._opened()
        found = []
        for device_id, handle in self._cards.items():
            found += processes_of(cndev, device_id, handle)
        return bounds.processes(found)

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Look at the health states, listen for Xids in between; see the port."""
        return self._lookout.wait(timeout_s)

    def close(self) -> None:
        """Release CNDev; see the port."""
        cndev, self._cndev, self._sampler = self._cndev, None, None
        self._cards = {}
        if cndev is not None:
            with contextlib.suppress(LibraryBrokenError):
                self._forget_events(cndev)
            cndev.close()

    def _opened(self) -> abi.Cndev:
        if self._cndev is None:
            raise AssertionError("the detector is not open")
        return self._cndev

    # --- Events -----------------------------------------------------------------------------------

    def _listen(self, cndev: abi.Cndev) -> None:
        """Register all cards that answer with a new event handle; the old one is emptied first."""
        self._drain(cndev, timeout_s=0)
        self._forget_events(cndev)
        events = ctypes.c_void_p()
        if cndev.call("cndevEventHandleCreate", ctypes.byref(events)) != abi.OK:
            LOG.warning("no_xid_events")  # an old driver: health states remain
            return
        self._events = events
        for device_id, handle in self._cards.items():
            kinds = ctypes.c_ulonglong(abi.EVENT_XID)
            result = cndev.call("cndevRegisterEvents", events, kinds, handle)
            if result != abi.OK:
                LOG.debug("card_without_events", device=device_id, result=result)

    def _forget_events(self, cndev: abi.Cndev) -> None:
        events, self._events = self._events, None
        if events is not None:
            cndev.call("cndevEventHandleDestroy", events)

    def _pause(self, seconds: float) -> bool:
        """Wait for Xids; true when one came."""
        cndev, end_s = self._opened(), time.monotonic() + seconds
        if self._drain(cndev, timeout_s=seconds):
            return True
        time.sleep(max(0.0, end_s - time.monotonic()))  # a driver that does not block
        return False

    def _drain(self, cndev: abi.Cndev, *, timeout_s: float) -> bool:
        """Note the Xids that came; true when there was one."""
        if self._events is None:
            return False
        for number in range(XIDS_DRAINED_MAX):
            data = abi.EventData(version=cndev.version)
            timeout_ms = 0 if number else round(timeout_s * MILLISECONDS)
            result = cndev.call("cndevEventWait", self._events, ctypes.byref(data), timeout_ms)
            if result != abi.OK:
                return number > 0
            self._note_xid(data)
        return True

    def _note_xid(self, data: abi.EventData) -> None:
        for device_id, handle in self._cards.items():
            if handle == data.device and data.event_type == abi.EVENT_XID:
                self._pushed.append(
                    FaultSignal(
                        device_id=device_id,
                        code=str(data.event_data),
                        state=FaultState.RAISED,
                        lasting=False,
                        severity=Severity.WARNING,
                    )
                )

    # --- States -----------------------------------------------------------------------------------

    def _look(self) -> list[FaultSignal]:
        cndev = self._opened()
        signals, self._pushed = self._pushed, []
        for device_id, handle in self._cards.items():
            signals += self._compare(device_id, _incidents(cndev, handle))
        if any(s.code == LOST and s.state is FaultState.CLEARED for s in signals):
            self._listen(cndev)  # the driver has forgotten that card's registration
        return signals

    def _compare(self, device_id: DeviceId, incidents: dict[str, str] | None) -> list[FaultSignal]:
        if incidents is None:
            return self._faults.note_lost(device_id)
        over = self._faults.told_of(device_id) - incidents.keys() - {LOST}
        counts = dict.fromkeys(over, 0) | dict.fromkeys(incidents, 1)
        return self._faults.note(device_id, counts, incidents)


def _incidents(cndev: abi.Cndev, handle: int) -> dict[str, str] | None:
    """Return the codes in force on a card with what the driver says; `None`: it does not answer."""
    whole = abi.HealthV2()
    if not cndev.fill("cndevGetCardHealthStateV2", whole, handle):
        return _health(cndev, handle)
    incidents = whole.incidents[: min(whole.incident_count, abi.INCIDENTS_MAX)]
    found = [one for one in incidents if one.health != abi.RESULT_PASS and one.code != 0]
    codes = {abi.health_code(one.code): abi.text_of(one.message) for one in found}
    if any(one.health >= abi.RESULT_FAIL for one in found):
        return codes  # that is why the card is not healthy
    return codes | _unhealthy(whole)


def _health(cndev: abi.Cndev, handle: int) -> dict[str, str] | None:
    """As above from a driver that knows no incidents; the oldest fill in the first field alone."""
    state = abi.Health(device_state=abi.DEVICE_GOOD, driver_state=abi.DRIVER_RUNNING)
    return _unhealthy(state) if cndev.fill("cndevGetCardHealthState", state, handle) else None


def _unhealthy(state: abi.Health | abi.HealthV2) -> dict[str, str]:
    """Judge as Cambricon's own device plugin does."""
    good = (abi.HEALTH_GOOD, abi.DEVICE_GOOD, abi.DRIVER_RUNNING)
    if (state.health, state.device_state, state.driver_state) == good:
        return {}
    states = f"device {state.device_state}, driver {state.driver_state}"
    return {UNHEALTHY: f"health {state.health}, {states}"}
