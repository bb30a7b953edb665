"""NVIDIA cards through NVML (`pynvml`).

Xids come from an event set; waiting on it blocks in the driver. NVML never says that an Xid is
over: what lasts is the driver's recovery action (field 230). So a fatal Xid ends when the action is
NONE again and the card answers, and one for which no action was ever seen ends after a settling
time, because the driver sets the action a little after the event. Other Xids are occurrences
without an end. A card that answers GPU_IS_LOST has the fault `lost` until it answers again; while
one is in an event set every wait on the set fails, so the set is made anew without it.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pynvml
import structlog

from hcs_agents.detectors import bounds, pci
from hcs_agents.detectors.calls import numbered
from hcs_agents.detectors.nvidia_calls import (
    UNSUPPORTED,
    Handle,
    field_value,
    told,
    unless_lost,
    wrap_exceptions,
)
from hcs_agents.detectors.nvidia_describe import Versions, describe_card
from hcs_agents.detectors.nvidia_links import nvlinks
from hcs_agents.detectors.nvidia_samples import NvidiaSampler, processes_of
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    Reading,
    load_library,
)
from hcs_agents.fault_catalogue import LOST, RECOVERY, describe
from hcs_bus.events import DeviceFingerprint, FaultState
from hcs_bus.names import DeviceId, Severity, Vendor

LOG = structlog.get_logger()

LIBRARY = "libnvidia-ml.so.1"
EVENTS_DRAINED_MAX = 1000  # per call of `wait_faults`; the rest comes with the next
SETTLE_S = 5.0  # a driver has set its recovery action by then
REOPEN_S = 30.0  # NVML sees a replaced card only after a new init, which is slow: not at each scan


@dataclass(kw_only=True)
class _Card:
    index: int
    handle: Handle


@dataclass(kw_only=True)
class _Raised:
    since_s: float  # monotonic
    action_seen: bool = False  # the driver has asked for a recovery since


class NvidiaDetector:
    """The NVML adapter; see the module's docstring."""

    vendor = Vendor.NVIDIA

    def __init__(
        self, sysfs: Path = pci.SYSFS, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._sysfs = sysfs
        self._monotonic_s = monotonic_s
        self._open = False
        self._cards: dict[DeviceId, _Card] = {}  # those that were seen since `open`
        self._raised: dict[tuple[DeviceId, str], _Raised] = {}
        self._pending: list[FaultSignal] = []
        self._events: ctypes.c_void_p | None = None
        self._sampler = NvidiaSampler()
        self._opened_s = 0.0

    # --- The port ---------------------------------------------------------------------------------

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load NVML, enumerate, begin to listen; see the port."""
        load_library((LIBRARY,))  # pynvml cannot tell a missing library from a broken one
        for fault in active:  # beside what this object knows from before its last `close`
            key = (fault.device_id, fault.code)
            self._raised.setdefault(key, _Raised(since_s=self._monotonic_s()))
        self._init()
        for device_id, card in self._cards.items():
            self._look_at_recovery(device_id, card)

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        with wrap_exceptions("scan"):
            if self._is_any_lost() and self._monotonic_s() - self._opened_s > REOPEN_S:
                self._shutdown()
                self._init()
            if self._enumerate():
                self._listen()
            handles = {d: c.handle for d, c in self._cards.items() if not self._is_lost(d)}
            wires, versions = nvlinks(handles), Versions.read()
            found = []
            for device_id, handle in handles.items():
                index = self._cards[device_id].index
                with unless_lost():
                    found.append(
                        describe_card(
                            device_id,
                            handle,
                            index=index,
                            versions=versions,
                            wires=wires[device_id],
                        )
                    )
        completed = [pci.complete(device, self._sysfs) for device in found]
        return bounds.fingerprints(sorted(completed, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask each card; see the port."""
        readings = []
        with wrap_exceptions("sample"):
            for device_id, card in sorted(self._cards.items(), key=lambda item: item[1].index):
                with unless_lost():
                    readings.append(self._sampler.read(device_id, card.handle))
        return bounds.readings(readings)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask each card; see the port."""
        found = []
        with wrap_exceptions("processes"):
            for device_id, card in self._cards.items():
                with unless_lost():
                    found += processes_of(device_id, card.handle)
        return bounds.processes(found)

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Wait on the event set, then look for what NVML does not push; see the port."""
        with wrap_exceptions("events"):
            if not self._pending:
                self._wait(timeout_s)
            for device_id in list(self._cards):
                self._check(device_id)
        signals, self._pending = self._pending, []
        return signals

    def close(self) -> None:
        """Shut NVML down; see the port."""
        with contextlib.suppress(pynvml.NVMLError):  # it may be what made us close
            self._shutdown()
        self._open = False

    # --- Enumeration ------------------------------------------------------------------------------

    def _init(self) -> None:
        with wrap_exceptions("init"):
            pynvml.nvmlInit()
            self._open = True
            self._sampler = NvidiaSampler()
            self._opened_s = self._monotonic_s()
            self._enumerate()
            self._listen()

    def _shutdown(self) -> None:
        if not self._open:
            return
        events, self._events = self._events, None
        self._cards = {}
        self._open = False
        if events is not None:
            with contextlib.suppress(pynvml.NVMLError):  # a driver that went away took it along
                pynvml.nvmlEventSetFree(events)
        pynvml.nvmlShutdown()

    def _enumerate(self) -> bool:
        """Bring `_cards` up to date; true when there is a card that is not listened to yet."""
        grown = False
        for index in numbered(pynvml.nvmlDeviceGetCount()):
            with unless_lost():
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                device_id = DeviceId(pynvml.nvmlDeviceGetUUID(handle))
                grown |= device_id not in self._cards
                self._cards[device_id] = _Card(index=index, handle=handle)
        return grown

    # --- Events -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Register the cards that answer with a new event set, then empty and free the old one.

        In this order nothing falls between the two; an Xid may be seen in both, which makes an
        occurrence count twice and changes nothing for a lasting fault.
        """
        old, self._events = self._events, pynvml.nvmlEventSetCreate()
        for device_id, card in self._cards.items():
            if self._is_lost(device_id):
                continue
            with unless_lost():
                try:
                    pynvml.nvmlDeviceRegisterEvents(
                        card.handle, pynvml.nvmlEventTypeXidCriticalError, self._events
                    )
                except pynvml.NVMLError as error:
                    if error.value not in UNSUPPORTED:
                        raise
                    LOG.warning("no_xid_events", device=device_id)  # an old driver: polling remains
        if old is not None:
            self._drain(old, timeout_ms=0)
            pynvml.nvmlEventSetFree(old)

    def _wait(self, timeout_s: float) -> None:
        if all(self._is_lost(device_id) for device_id in self._cards):
            time.sleep(timeout_s)  # an event set with nothing in it may not block
        elif not self._drain(self._events, timeout_ms=max(1, round(timeout_s * 1000))):
            self._relisten_without_lost()

    def _drain(self, events: ctypes.c_void_p | None, *, timeout_ms: int) -> bool:
        """Note what has happened; false when a card of the set is lost."""
        for _ in range(EVENTS_DRAINED_MAX):
            try:
                data = pynvml.nvmlEventSetWait(events, timeout_ms)
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
                    return False
                if error.value == pynvml.NVML_ERROR_TIMEOUT:
                    return True
                raise
            self._note_xid(data)
            timeout_ms = 0
        return True

    def _relisten_without_lost(self) -> None:
        for device_id in self._cards:
            self._check(device_id)
        self._listen()

    def _note_xid(self, data: "pynvml.c_nvmlEventData_t") -> None:
        address = _address(data.device)
        for device_id, card in self._cards.items():
            if _address(card.handle) == address:
                self._raise(device_id, str(data.eventData))
                self._look_at_recovery(device_id, card)

    # --- States -----------------------------------------------------------------------------------

    def _check(self, device_id: DeviceId) -> None:
        """See whether a card answers, and whether its faults are over."""
        card = self._cards[device_id]
        answers = False
        with unless_lost():
            pynvml.nvmlDeviceGetMemoryInfo(card.handle)
            answers = True
        if not answers:
            if not self._is_lost(device_id):
                self._raise(device_id, LOST)
            return
        if self._is_lost(device_id):
            self._clear(device_id, LOST)
            self._listen()
        if any(of == device_id for of, _ in self._raised):
            self._end_recovered(device_id, card)

    def _end_recovered(self, device_id: DeviceId, card: _Card) -> None:
        action = _recovery_action(card.handle)
        if action is None:  # the driver cannot say: an operator has to release the card
            return
        for (of, code), raised in list(self._raised.items()):
            if of != device_id:
                continue
            settled = self._monotonic_s() - raised.since_s > SETTLE_S
            if action != pynvml.NVML_GPU_RECOVERY_ACTION_NONE:
                raised.action_seen = True
            elif raised.action_seen or settled:
                self._clear(device_id, code)

    def _look_at_recovery(self, device_id: DeviceId, card: _Card) -> None:
        """Note the recovery action; without a known cause it is a fault of its own."""
        with unless_lost():
            action = _recovery_action(card.handle)
            if action in (None, pynvml.NVML_GPU_RECOVERY_ACTION_NONE):
                return
            known = [raised for (of, _), raised in self._raised.items() if of == device_id]
            if not known:
                self._raise(device_id, RECOVERY, detail=f"recovery action {action}")
            for raised in known:
                raised.action_seen = True

    def _is_lost(self, device_id: DeviceId) -> bool:
        return (device_id, LOST) in self._raised

    def _is_any_lost(self) -> bool:
        return any(code == LOST for _, code in self._raised)

    def _raise(self, device_id: DeviceId, code: str, detail: str = "") -> None:
        lasting = describe(self.vendor, code).severity is Severity.FATAL
        if lasting:
            if (device_id, code) in self._raised:
                return
            self._raised[device_id, code] = _Raised(since_s=self._monotonic_s())
        self._pending.append(
            FaultSignal(
                device_id=device_id,
                code=code,
                state=FaultState.RAISED,
                lasting=lasting,
                detail=detail,
            )
        )

    def _clear(self, device_id: DeviceId, code: str) -> None:
        del self._raised[device_id, code]
        self._pending.append(FaultSignal(device_id=device_id, code=code, state=FaultState.CLEARED))


def _address(handle: Handle) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _recovery_action(handle: Handle) -> int | None:
    """Return what the driver asks for; `None` when this driver cannot say."""
    asked = [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
    fields = told(None, pynvml.nvmlDeviceGetFieldValues, handle, asked)
    return None if fields is None else field_value(fields[0])
