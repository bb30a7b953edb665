"""Cambricon MLUs through CNDev.

What lasts is the health state: the incidents in force on a card, which are looked at again and
again. The driver pushes only Xids: occurrences, whose end it does not tell. Waiting for them blocks
in the driver, and is how the time between two looks is spent.
"""

import contextlib
import ctypes
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors import cambricon_abi as abi
from hcs_agents.detectors.cambricon_samples import Sampler, processes_of
from hcs_agents.detectors.cambricon_scan import Place, answer, describe_card, enumerate_cards
from hcs_agents.detectors.cards import Answer, KnownCards
from hcs_agents.detectors.pcie import PcieWays, measured
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
        self._cards: KnownCards[Place] = KnownCards()
        self._ways: PcieWays[Place] = PcieWays()
        self._faults = PolledFaults()
        self._lookout = Lookout(self._look, pause=self._pause)
        self._events: ctypes.c_void_p | None = None
        self._heard: set[DeviceId] = set()  # whose Xids come
        self._pushed: list[FaultSignal] = []

    # --- The port ---------------------------------------------------------------------------------

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load CNDev, enumerate, begin to listen; see the port."""
        self._cndev = abi.Cndev()
        self._sampler = Sampler(self._cndev)
        self._faults.remember(active)
        self._cards = KnownCards()
        self._ways = PcieWays()
        self._cards.note(enumerate_cards(self._cndev))
        self._listen(self._cndev, self._cards.places)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        cndev = self._opened()
        found = enumerate_cards(cndev)
        self._cards.note(found)
        self._listen(cndev, found.cards)
        described = {d: describe_card(cndev, d, found.cards, self._ways) for d in found.cards}
        # Asked afterwards: a card that went away while it was described is not reported half.
        told = self._cards.fingerprints(described, self._answers(cndev))
        completed = measured(pci.complete(device, self._sysfs) for device in told)
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask the cards that were seen; see the port."""
        if self._sampler is None:
            raise AssertionError("the detector is not open")
        by_index = sorted(self._cards.places.items(), key=lambda card: card[1])
        readings = [self._sampler.read(device_id, place.handle) for device_id, place in by_index]
        return bounds.readings(reading for reading in readings if reading is not None)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask the cards that were seen; see the port."""
        cndev = self._opened()
        found = []
        for device_id, place in self._cards.places.items():
            found += processes_of(cndev, device_id, place.handle)
        return bounds.processes(found)

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Look at the health states, listen for Xids in between; see the port."""
        return self._lookout.wait(timeout_s)

    def close(self) -> None:
        """Release CNDev; see the port."""
        cndev, self._cndev, self._sampler = self._cndev, None, None
        self._heard = set()
        if cndev is not None:
            with contextlib.suppress(LibraryBrokenError):
                self._forget_events(cndev)
            cndev.close()

    def _opened(self) -> abi.Cndev:
        if self._cndev is None:
            raise AssertionError("the detector is not open")
        return self._cndev

    # --- Events -----------------------------------------------------------------------------------

    def _listen(self, cndev: abi.Cndev, cards: Mapping[DeviceId, Place]) -> None:
        """Let the Xids of `cards` come too; the driver forgets a card that goes away."""
        deaf = {d: place for d, place in cards.items() if d not in self._heard}
        if not deaf:
            return
        if self._events is None:
            events = ctypes.c_void_p()
            self._heard |= deaf.keys()  # or never, with an old driver: health states remain
            if cndev.call("cndevEventHandleCreate", ctypes.byref(events)) != abi.OK:
                LOG.warning("no_xid_events")
                return
            self._events = events
        for device_id, place in deaf.items():
            kinds = ctypes.c_ulonglong(abi.EVENT_XID)
            result = cndev.call("cndevRegisterEvents", self._events, kinds, place.handle)
            if result in (abi.OK, *abi.LACKING):
                self._heard.add(device_id)
            else:
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
            try:
                result = cndev.call("cndevEventWait", self._events, ctypes.byref(data), timeout_ms)
            except LibraryBrokenError:
                if not number:
                    raise
                return True  # what came is told first; the next call breaks again
            if result != abi.OK:
                return number > 0
            self._note_xid(data)
        return True

    def _note_xid(self, data: abi.EventData) -> None:
        for device_id, place in self._cards.places.items():
            if place.handle == data.device and data.event_type == abi.EVENT_XID:
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
        # Told before a card is asked: what the driver has pushed may be why no call comes back.
        if self._pushed or self._drain(cndev, timeout_s=0):
            pushed, self._pushed = self._pushed, []
            return pushed
        signals = []
        places = self._cards.places
        answers = self._answers(cndev)
        for device_id in sorted(self._cards.lost(answers)):
            signals += self._faults.note_lost(device_id)
        self._cards.forget_replaced()
        answering = {d: place for d, place in places.items() if answers[d] is Answer.YES}
        self._heard &= answering.keys()
        self._listen(cndev, answering)
        for device_id, place in answering.items():
            signals += self._compare(device_id, _incidents(cndev, place.handle))
        return signals

    def _answers(self, cndev: abi.Cndev) -> dict[DeviceId, Answer]:
        return {d: answer(cndev, d, place.handle) for d, place in self._cards.places.items()}

    def _compare(self, device_id: DeviceId, incidents: dict[str, str] | None) -> list[FaultSignal]:
        if incidents is None:
            return self._faults.note(device_id, {})
        over = self._faults.told_of(device_id) - incidents.keys() - {LOST}
        counts = dict.fromkeys(over, 0) | dict.fromkeys(incidents, 1)
        return self._faults.note(device_id, counts, incidents)


def _incidents(cndev: abi.Cndev, handle: int) -> dict[str, str] | None:
    """Return the codes in force on a card with what the driver says; `None`: it does not say."""
    whole = abi.HealthV2()
    result = cndev.ask("cndevGetCardHealthStateV2", whole, handle)
    if result in abi.LACKING:
        return _health(cndev, handle)
    if result != abi.OK:
        return None
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
