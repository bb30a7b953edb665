"""NVIDIA cards through NVML (`pynvml`).

Xids come from an event set; waiting on it blocks in the driver. What was heard there is told before
any card is asked anything, because a card that has just failed may not answer, and NVML does not
repeat an Xid. NVML never says that an Xid is over either: what lasts is the driver's recovery
action (field 230). So a fatal Xid ends when the action is NONE again and the card answers, and one
for which no action was ever seen ends after a settling time, because the driver sets the action a
little after the event. Other Xids are occurrences without an end. An action that no Xid explains is
a fault of its own: that is how an Xid is noticed which came while nobody listened.

A card that answers GPU_IS_LOST has the fault `lost` until it answers again; one that refuses
otherwise has it after several looks, unless all cards of several refuse: then it is the library
that is broken. While a lost card is in an event set every wait on the set fails, so the set is made
anew without it. NVML sees a card that was plugged in again only after a new init, so while one is
awaited there are such, more and more seldom; a card in whose place another one sits is not awaited.
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
    SESSION_OVER,
    UNSUPPORTED,
    Handle,
    field_value,
    told,
    unless_refused,
    wrap_exceptions,
)
from hcs_agents.detectors.nvidia_describe import NvidiaCard, NvidiaDescriber, pci_address
from hcs_agents.detectors.nvidia_samples import NvidiaSampler, processes_of
from hcs_agents.detectors.port import (
    ActiveFault,
    DeviceProcess,
    FaultSignal,
    LibraryBrokenError,
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
REFUSALS = 3  # looks in a row at which a card refuses, and then it is lost,
REFUSALS_S = 1.0  # if they took so long
REOPEN_S_INITIAL = 5.0  # from a loss to the next init, which is slow; doubles
REOPEN_S_MAX = 3600.0
ACTION_MAX = 15  # twice what recovery actions there are: more is not an action
ANSWERS = (*UNSUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION)
"""What a card may say of its memory, and be well."""


@dataclass(kw_only=True)
class _Raised:
    since_s: float  # monotonic
    action_seen: bool = False  # the driver has asked for a recovery since


@dataclass(kw_only=True)
class _Refusal:
    since_s: float  # monotonic
    looks: int = 0
    reason: str = ""


class NvidiaDetector:
    """The NVML adapter; see the module's docstring."""

    vendor = Vendor.NVIDIA

    def __init__(
        self, sysfs: Path = pci.SYSFS, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._sysfs = sysfs
        self._monotonic_s = monotonic_s
        self._open = False
        self._cards: dict[DeviceId, NvidiaCard] = {}  # those that were seen in this session
        self._places: dict[DeviceId, str] = {}  # where on PCI a card was when last seen
        self._replaced: set[DeviceId] = set()  # lost cards in whose place there is another
        self._raised: dict[tuple[DeviceId, str], _Raised] = {}
        self._refusals: dict[DeviceId, _Refusal] = {}  # of cards that are not lost
        self._pending: list[FaultSignal] = []
        self._look_next = False  # before waiting: there was something to tell the last time
        self._events: ctypes.c_void_p | None = None
        self._registered: set[DeviceId] = set()  # with the event set
        self._relisten = False  # the event set is not of the cards that answer
        self._sampler = NvidiaSampler()
        self._describer = NvidiaDescriber(sysfs, monotonic_s=monotonic_s)
        self._reopen_wait_s = REOPEN_S_INITIAL
        self._reopen_due_s = 0.0

    # --- The port ---------------------------------------------------------------------------------

    def open(self, active: Iterable[ActiveFault] = ()) -> None:
        """Load NVML, enumerate, begin to listen; see the port."""
        load_library((LIBRARY,))  # pynvml cannot tell a missing library from a broken one
        for fault in active:  # beside what this object knows from before its last `close`
            key = (fault.device_id, fault.code)
            self._raised.setdefault(key, _Raised(since_s=self._monotonic_s()))
        self._await_lost()
        self._init()

    def fingerprint(self) -> tuple[DeviceFingerprint, ...]:
        """Enumerate anew; see the port."""
        with wrap_exceptions("scan"):
            self._enumerate()
            found = self._describer.describe(self._not_lost())
        return bounds.fingerprints(sorted(found, key=lambda device: device.index))

    def sample(self) -> tuple[Reading, ...]:
        """Ask each card; see the port."""
        readings = []
        with wrap_exceptions("sample"):
            for device_id, card in sorted(self._not_lost().items(), key=lambda item: item[1].index):
                with unless_refused():
                    readings.append(self._sampler.read(device_id, card.handle))
        return bounds.readings(readings)

    def processes(self) -> tuple[DeviceProcess, ...]:
        """Ask each card; see the port."""
        found = []
        with wrap_exceptions("processes"):
            for device_id, card in self._not_lost().items():
                with unless_refused():
                    found += processes_of(device_id, card.handle)
        return bounds.processes(found)

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Wait on the event set, and look for what NVML does not push; see the port."""
        try:
            with wrap_exceptions("events"):
                self._hear_and_look(timeout_s)
        except LibraryBrokenError:
            if not self._pending:
                raise  # else it will say so again, when these are told
        signals, self._pending = self._pending, []
        self._look_next = bool(signals)
        return signals

    def close(self) -> None:
        """Shut NVML down; see the port."""
        with contextlib.suppress(pynvml.NVMLError):  # it may be what made us close
            self._shutdown()
        self._open = False

    # --- The session ------------------------------------------------------------------------------

    def _init(self) -> None:
        with wrap_exceptions("init"):
            pynvml.nvmlInit()
            self._open = True
            self._sampler = NvidiaSampler()
            self._describer = NvidiaDescriber(self._sysfs, monotonic_s=self._monotonic_s)
            self._enumerate()
            self._listen()

    def _shutdown(self) -> None:
        if not self._open:
            return
        if self._registered:
            with contextlib.suppress(pynvml.NVMLError):
                self._drain(self._events, timeout_ms=0)  # nobody repeats these
        events, self._events = self._events, None
        self._registered = set()
        self._cards = {}
        self._refusals = {}
        self._open = False
        if events is not None:
            with contextlib.suppress(pynvml.NVMLError):  # a driver that went away took it along
                pynvml.nvmlEventSetFree(events)
        pynvml.nvmlShutdown()

    def _await_lost(self) -> None:
        """Begin to count the time until NVML is asked anew for cards that are lost."""
        self._reopen_wait_s = REOPEN_S_INITIAL
        self._reopen_due_s = self._monotonic_s() + self._reopen_wait_s

    def _reopen_for_lost(self) -> None:
        awaited = {of for of, code in self._raised if code == LOST} - self._replaced
        if not awaited or self._monotonic_s() < self._reopen_due_s:
            return
        self._hear(timeout_ms=0)
        if self._pending:
            return  # tell it first: an init may hang
        self._shutdown()
        self._init()
        self._reopen_wait_s = min(2 * self._reopen_wait_s, REOPEN_S_MAX)
        self._reopen_due_s = self._monotonic_s() + self._reopen_wait_s

    def _enumerate(self) -> None:
        """Bring `_cards` up to date: who sits where, and who has come."""
        found: dict[DeviceId, NvidiaCard] = {}
        for index in numbered(pynvml.nvmlDeviceGetCount()):
            with unless_refused():
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                device_id = DeviceId(pynvml.nvmlDeviceGetUUID(handle))
                known = self._cards.get(device_id)
                place = known.pci_address if known else ""
                found[device_id] = NvidiaCard(index=index, handle=handle, pci_address=place)
        for device_id, card in found.items():
            with unless_refused():
                card.pci_address = card.pci_address or pci_address(card.handle)
                self._places[device_id] = card.pci_address
        taken = {card.pci_address for card in found.values() if card.pci_address}
        self._replaced = {
            one for one, place in self._places.items() if one not in found and place in taken
        }
        staying = {one: card for one, card in self._cards.items() if one not in self._replaced}
        self._relisten |= not found.keys() <= self._cards.keys()
        self._cards = staying | found

    # --- Events -----------------------------------------------------------------------------------

    def _hear_and_look(self, timeout_s: float) -> None:
        """Hear, look, wait, until there is something to tell.

        A look asks the cards, so it may hang or fail, and comes only when nothing waits to be told.
        After something was told it comes first: else it never would in a storm of Xids.
        """
        if not self._pending and not self._look_next:
            self._hear(timeout_ms=0)
        if not self._pending:
            self._look()
        if not self._pending:
            self._wait(timeout_s)

    def _look(self) -> None:
        self._reopen_for_lost()
        for device_id in list(self._cards):
            if self._pending:
                return  # tell it first: the next card may hang
            self._check(device_id)
        self._judge_refusals()
        if self._relisten and not self._pending:
            self._listen()

    def _wait(self, timeout_s: float) -> None:
        if not self._registered:
            time.sleep(timeout_s)  # an event set with nothing in it may not block
            return
        if self._hear(timeout_ms=max(1, round(timeout_s * 1000))):
            return
        if not self._pending:
            self._look()
        if not self._pending:
            time.sleep(timeout_s)  # the set fails, and no card says why

    def _hear(self, *, timeout_ms: int) -> bool:
        """Note what has happened; false when the event set is of no use any more."""
        if self._registered and not self._drain(self._events, timeout_ms=timeout_ms):
            self._relisten = True
            return False
        return True

    def _listen(self) -> None:
        """Register the cards that answer with a new event set, then empty and free the old one.

        In this order nothing falls between the two; an Xid may be seen in both, which makes an
        occurrence count twice and changes nothing for a lasting fault.
        """
        old, was_registered = self._events, self._registered
        self._events, self._registered, self._relisten = None, set(), False
        with unless_refused():  # a driver without events: polling remains
            self._events = pynvml.nvmlEventSetCreate()
            for device_id, card in self._not_lost().items():
                self._register(device_id, card)
        if old is not None:
            if was_registered:
                self._drain(old, timeout_ms=0)
            with unless_refused():
                pynvml.nvmlEventSetFree(old)

    def _register(self, device_id: DeviceId, card: NvidiaCard) -> None:
        try:
            pynvml.nvmlDeviceRegisterEvents(
                card.handle, pynvml.nvmlEventTypeXidCriticalError, self._events
            )
        except pynvml.NVMLError as error:
            if error.value in SESSION_OVER:
                raise
            LOG.warning("no_xid_events", device=device_id, error=str(error))
        else:
            self._registered.add(device_id)

    def _drain(self, events: ctypes.c_void_p | None, *, timeout_ms: int) -> bool:
        """Note what a set has heard; false when it fails, as it does once a card of it is lost."""
        for _ in range(EVENTS_DRAINED_MAX):
            try:
                data = pynvml.nvmlEventSetWait(events, timeout_ms)
            except pynvml.NVMLError as error:
                if error.value in SESSION_OVER:
                    raise
                return bool(error.value == pynvml.NVML_ERROR_TIMEOUT)
            self._note_xid(data)
            timeout_ms = 0
        return True

    def _note_xid(self, data: "pynvml.c_nvmlEventData_t") -> None:
        address = _address(data.device)
        for device_id, card in self._cards.items():
            if _address(card.handle) == address:
                self._raise(device_id, str(data.eventData))

    # --- States -----------------------------------------------------------------------------------

    def _check(self, device_id: DeviceId) -> None:
        """See whether a card answers, and whether its faults are over."""
        card = self._cards[device_id]
        try:
            pynvml.nvmlDeviceGetMemoryInfo(card.handle)
        except pynvml.NVMLError as error:
            if error.value in SESSION_OVER:
                raise
            if error.value not in ANSWERS:
                self._note_refusal(device_id, error)
                return
        if self._refusals.pop(device_id, None) is not None:
            self._relisten |= device_id not in self._registered
        with unless_refused():
            if self._is_lost(device_id):
                if pynvml.nvmlDeviceGetUUID(card.handle) != device_id:
                    return  # another card is in its place
                self._clear(device_id, LOST)
                self._relisten = True
            self._follow_recovery(device_id, card)

    def _note_refusal(self, device_id: DeviceId, error: pynvml.NVMLError) -> None:
        if self._is_lost(device_id):
            return
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            self._lose(device_id)
            return
        new = _Refusal(since_s=self._monotonic_s())
        refusal = self._refusals.setdefault(device_id, new)
        refusal.looks += 1
        refusal.reason = str(error)

    def _judge_refusals(self) -> None:
        now_s = self._monotonic_s()
        gone = {
            device_id: refusal.reason
            for device_id, refusal in self._refusals.items()
            if refusal.looks >= REFUSALS and now_s - refusal.since_s >= REFUSALS_S
        }
        if len(gone) > 1 and not self._not_lost().keys() - self._refusals.keys():
            raise LibraryBrokenError(f"NVML: no card answers: {', '.join({*gone.values()})}")
        for device_id, reason in gone.items():
            self._lose(device_id, detail=f"NVML answers: {reason}")

    def _lose(self, device_id: DeviceId, detail: str = "") -> None:
        self._refusals.pop(device_id, None)
        self._raise(device_id, LOST, detail)
        self._relisten = True
        self._await_lost()

    def _follow_recovery(self, device_id: DeviceId, card: NvidiaCard) -> None:
        """See what the driver asks for; without a known cause that is a fault of its own."""
        action = _recovery_action(card.handle)
        if action is None:  # the driver cannot say: an operator has to release the card
            return
        if action != pynvml.NVML_GPU_RECOVERY_ACTION_NONE:
            if not self._raised_of(device_id):
                self._hear(timeout_ms=0)  # its Xid may have come in this moment
            if not self._raised_of(device_id):
                self._raise(device_id, RECOVERY, detail=f"recovery action {action}")
            for raised in self._raised_of(device_id).values():
                raised.action_seen = True
            return
        for code, raised in self._raised_of(device_id).items():
            settled = self._monotonic_s() - raised.since_s > SETTLE_S
            if raised.action_seen or settled:
                self._clear(device_id, code)

    def _raised_of(self, device_id: DeviceId) -> dict[str, _Raised]:
        return {code: raised for (of, code), raised in self._raised.items() if of == device_id}

    def _not_lost(self) -> dict[DeviceId, NvidiaCard]:
        return {one: card for one, card in self._cards.items() if not self._is_lost(one)}

    def _is_lost(self, device_id: DeviceId) -> bool:
        return (device_id, LOST) in self._raised

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
    action = None if fields is None else field_value(fields[0])
    return action if action is not None and 0 <= action <= ACTION_MAX else None
