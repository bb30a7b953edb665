"""Huawei Ascend cards through DCMI.

The driver keeps a list of error codes in force per chip, and pushes events when it changes. The
list is the truth: it is compared with what was told, at the start and whenever nothing was pushed
for a while, so nothing stays unnoticed. The events make it quick, and tell of one-shot faults,
which are never in the list. Reading them blocks per chip, so each chip has a thread that does
nothing else and puts them into a bounded queue.
"""

import ctypes
import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors import huawei_abi as abi
from hcs_agents.detectors.cards import Answer, KnownCards
from hcs_agents.detectors.huawei_samples import HuaweiSampler, processes_of
from hcs_agents.detectors.huawei_scan import (
    Chip,
    answer,
    describe_chip,
    enumerate_chips,
    found_chips,
    health_of,
)
from hcs_agents.detectors.pcie import measured
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryBrokenError,
    Reading,
    load_library,
)
from hcs_agents.fault_catalogue import LOST, UNHEALTHY
from hcs_bus.events import DeviceFingerprint, FaultState
from hcs_bus.names import DeviceId, Severity, Vendor

LOG = structlog.get_logger()

EVENTS_QUEUED_MAX = 1000  # at the limit the chip threads wait; the driver queues behind them
EVENT_WAIT_MS = 500  # how long a chip thread may take to notice `close`
RETRY_S = 1.0  # after a chip did not let us wait for its events
JOIN_S = 2.0  # a chip thread that takes longer hangs in the driver, and is left behind
SEVERITIES = (Severity.INFO, Severity.WARNING, Severity.DEGRADED, Severity.FATAL)
"""DCMI's event severities 0 to 3: suggestion, minor, major, critical."""


@dataclass(frozen=True, kw_only=True)
class _Pushed:
    """What a chip thread has seen: an event, or only that it is worth looking."""

    device_id: DeviceId
    event: abi.FaultEvent | None


@dataclass(frozen=True, kw_only=True)
class _Listener:
    """A chip's thread, and how to end it."""

    chip: Chip
    thread: threading.Thread
    stop: threading.Event


class HuaweiDetector:
    """The DCMI adapter; see the module's docstring."""

    vendor = Vendor.HUAWEI

    def __init__(self, sysfs: Path = pci.SYSFS) -> None:
        self._sysfs = sysfs
        self._dcmi: abi.Dcmi | None = None
        self._chips: KnownCards[Chip] = KnownCards()
        self._raised: set[tuple[DeviceId, str]] = set()
        self._sampler = HuaweiSampler(sysfs)
        self._pushed: queue.Queue[_Pushed] = queue.Queue(EVENTS_QUEUED_MAX)
        self._listeners: dict[DeviceId, _Listener] = {}

    # --- The port ---------------------------------------------------------------------------------

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load DCMI, enumerate, begin to listen; see the port."""
        dcmi = abi.Dcmi(load_library(abi.LIBRARIES))
        result = dcmi.call("dcmi_init")
        if result != abi.OK:
            raise LibraryBrokenError(f"dcmi_init: {result}")
        self._dcmi = dcmi
        self._chips = KnownCards()
        self._sampler = HuaweiSampler(self._sysfs)
        self._raised |= {(fault.device_id, fault.code) for fault in active}
        self._enumerate(dcmi)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        dcmi = self._opened()
        self._enumerate(dcmi)
        chips = self._chips.places
        described = {device_id: describe_chip(dcmi, device_id, chips) for device_id in chips}
        # Asked afterwards: a chip that went away while it was described is not reported half.
        told = self._chips.fingerprints(described, self._answers(dcmi))
        completed = measured(pci.complete(device, self._sysfs) for device in told)
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask each chip; see the port."""
        dcmi = self._opened()
        chips = sorted(self._chips.places.items(), key=lambda item: item[1].position)
        readings = [self._sampler.read(dcmi, device_id, chip) for device_id, chip in chips]
        answered = [reading for reading in readings if reading is not None]
        if not answered:
            enumerate_chips(dcmi)  # is it the chips, or the driver?
        return bounds.readings(answered)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask each chip; see the port."""
        dcmi = self._opened()
        chips = self._chips.places.items()
        lists = [processes_of(dcmi, device_id, chip) for device_id, chip in chips]
        answered = [processes for processes in lists if processes is not None]
        if not answered:
            enumerate_chips(dcmi)  # is it the chips, or the driver?
        return bounds.processes(process for processes in answered for process in processes)

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Take what the chip threads saw; compare when they saw nothing; see the port."""
        dcmi = self._opened()
        signals = self._compare(dcmi) if self._pushed.empty() else []
        if signals:
            return signals
        try:
            pushed = self._pushed.get(timeout=timeout_s)
        except queue.Empty:
            return []
        return self._note(pushed) or self._compare(dcmi)

    def close(self) -> None:
        """Stop the chip threads; DCMI itself knows no shutdown."""
        for listener in self._listeners.values():
            listener.stop.set()
        for listener in self._listeners.values():
            listener.thread.join(JOIN_S)
        self._listeners = {}
        self._dcmi = None

    # --- Enumeration ------------------------------------------------------------------------------

    def _opened(self) -> abi.Dcmi:
        if self._dcmi is None:
            raise AssertionError("the detector is not open")
        return self._dcmi

    def _enumerate(self, dcmi: abi.Dcmi) -> None:
        self._chips.note(found_chips(dcmi))
        chips = self._chips.places
        for device_id, listener in list(self._listeners.items()):
            if chips.get(device_id) != listener.chip:  # another chip is there now
                listener.stop.set()
                del self._listeners[device_id]
        for device_id in chips.keys() - self._listeners.keys():
            self._listeners[device_id] = self._begin_to_listen(dcmi, device_id, chips[device_id])

    def _answers(self, dcmi: abi.Dcmi) -> dict[DeviceId, Answer]:
        """Ask all chips whether they are there.

        Raises:
            LibraryBrokenError: none is, for the driver is not.
        """
        chips = self._chips.places
        answers = {device_id: answer(dcmi, device_id, chip) for device_id, chip in chips.items()}
        if Answer.YES not in answers.values():
            enumerate_chips(dcmi)
        return answers

    # --- Events, on the chip's own thread ---------------------------------------------------------

    def _begin_to_listen(self, dcmi: abi.Dcmi, device_id: DeviceId, chip: Chip) -> _Listener:
        stop = threading.Event()
        thread = threading.Thread(
            target=self._listen,
            args=(dcmi, device_id, chip, stop),
            name=f"dcmi-{device_id}",
            daemon=True,
        )
        thread.start()
        return _Listener(chip=chip, thread=thread, stop=stop)

    def _listen(
        self, dcmi: abi.Dcmi, device_id: DeviceId, chip: Chip, stop: threading.Event
    ) -> None:
        event = abi.Event()
        arguments = (*chip.place, EVENT_WAIT_MS, abi.EventFilter(), ctypes.byref(event))
        answered = True
        while not stop.is_set():
            result = dcmi.call("dcmi_get_fault_event", *arguments)
            if result in abi.UNSUPPORTED:
                LOG.warning("no_fault_events", device=device_id, result=result)
                return  # comparing the list remains
            if result == abi.OK:
                copied = abi.FaultEvent.from_buffer_copy(event.dms_event)
                self._push(_Pushed(device_id=device_id, event=copied), stop)
            elif result != abi.TIME_OUT:
                if answered:
                    self._push(_Pushed(device_id=device_id, event=None), stop)
                stop.wait(RETRY_S)
            answered = result in (abi.OK, abi.TIME_OUT)

    def _push(self, pushed: _Pushed, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._pushed.put(pushed, timeout=RETRY_S)
            except queue.Full:
                continue
            return

    # --- States -----------------------------------------------------------------------------------

    def _note(self, pushed: _Pushed) -> list[FaultSignal]:
        """Turn an event into a signal, unless comparing was quicker."""
        event = pushed.event
        if event is None or pushed.device_id not in self._listeners:
            return []
        key = (pushed.device_id, f"{event.event_id:08X}")
        severity = SEVERITIES[min(event.severity, len(SEVERITIES) - 1)]
        detail = abi.text_of(event.event_name)
        if event.assertion == abi.ASSERTION_RECOVERED:
            return self._clear(key)
        lasting = event.assertion == abi.ASSERTION_RAISED
        return self._raise(key, lasting=lasting, severity=severity, detail=detail)

    def _compare(self, dcmi: abi.Dcmi) -> list[FaultSignal]:
        """Compare the faults in force with those told of."""
        signals, answers = [], self._answers(dcmi)
        for device_id in sorted(self._chips.lost(answers)):
            # A card that is away cannot say that its other faults are over.
            signals += self._raise((device_id, LOST))
        self._chips.forget_replaced()
        for device_id, chip in self._chips.places.items():
            if answers[device_id] is not Answer.YES:
                continue
            told = {code for of, code in self._raised if of == device_id} - {LOST}
            codes = _codes_in_force(dcmi, chip, told)
            signals += self._clear((device_id, LOST))
            for code in sorted(codes - told):
                signals += self._raise((device_id, code), detail=_error_text(dcmi, chip, code))
            for code in sorted(told - codes):
                signals += self._clear((device_id, code))
        return signals

    def _raise(
        self,
        key: tuple[DeviceId, str],
        *,
        lasting: bool = True,
        severity: Severity | None = None,
        detail: str = "",
    ) -> list[FaultSignal]:
        if key in self._raised:
            return []
        if lasting:
            self._raised.add(key)
        return [
            FaultSignal(
                device_id=key[0],
                code=key[1],
                state=FaultState.RAISED,
                lasting=lasting,
                severity=severity,
                detail=detail,
            )
        ]

    def _clear(self, key: tuple[DeviceId, str]) -> list[FaultSignal]:
        if key not in self._raised:
            return []
        self._raised.remove(key)
        return [FaultSignal(device_id=key[0], code=key[1], state=FaultState.CLEARED)]


def _codes_in_force(dcmi: abi.Dcmi, chip: Chip, told: set[str]) -> set[str]:
    """Return the codes in force on a chip, by its list, or as told while it does not give one.

    A chip in critical health that names no code is unhealthy, whatever the reason.
    """
    listed = _codes_listed(dcmi, chip)
    codes = told - {UNHEALTHY} if listed is None else listed
    result, health = health_of(dcmi, chip)
    if codes or result != abi.OK or health != abi.HEALTH_CRITICAL:
        return codes
    return _codes_listed(dcmi, chip) or {UNHEALTHY}  # it may have come between the two


def _codes_listed(dcmi: abi.Dcmi, chip: Chip) -> set[str] | None:
    count = ctypes.c_int()
    codes = (ctypes.c_uint * abi.ERROR_CODES_MAX)()
    result = dcmi.call(
        "dcmi_get_device_errorcode_v2",
        *chip.place,
        ctypes.byref(count),
        codes,
        ctypes.c_uint(abi.ERROR_CODES_MAX),
    )
    if result != abi.OK:
        return None
    return {f"{code:08X}" for code in codes[: count.value]}


def _error_text(dcmi: abi.Dcmi, chip: Chip, code: str) -> str:
    if code == UNHEALTHY:
        return "critical, and no code says why"
    buffer = ctypes.create_string_buffer(abi.TEXT_BYTES)
    number = ctypes.c_uint(int(code, 16))
    result = dcmi.call(
        "dcmi_get_device_errorcode_string", *chip.place, number, buffer, abi.TEXT_BYTES
    )
    return abi.text_of(buffer.value) if result == abi.OK else ""
