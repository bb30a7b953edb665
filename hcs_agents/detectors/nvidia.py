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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pynvml
import structlog

from hcs_agents.detectors.nvidia_links import nvlinks
from hcs_agents.detectors.port import (
    ActiveFault,
    FaultSignal,
    LibraryBrokenError,
    load_library,
)
from hcs_agents.fault_catalogue import LOST, RECOVERY, describe
from hcs_agents.hardware import profile_of
from hcs_bus.events import DeviceFingerprint, FaultState, Link
from hcs_bus.names import DeviceId, LinkType, Severity, Vendor

LOG = structlog.get_logger()

LIBRARY = "libnvidia-ml.so.1"
NUMA_WORDS = 16  # 64-bit words of node mask: 1024 NUMA nodes, Linux's own limit
EVENTS_DRAINED_MAX = 1000  # per call of `wait_faults`; the rest comes with the next
SETTLE_S = 5.0  # a driver has set its recovery action by then
REOPEN_S = 30.0  # NVML sees a replaced card only after a new init, which is slow: not at each scan

UNSUPPORTED = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)


@dataclass(kw_only=True)
class _Card:
    index: int
    handle: ctypes.c_void_p


@dataclass(kw_only=True)
class _Raised:
    since_s: float  # monotonic
    action_seen: bool = False  # the driver has asked for a recovery since


class NvidiaDetector:
    """The NVML adapter; see the module's docstring."""

    vendor = Vendor.NVIDIA

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._open = False
        self._cards: dict[DeviceId, _Card] = {}  # those that were seen since `open`
        self._raised: dict[tuple[DeviceId, str], _Raised] = {}
        self._pending: list[FaultSignal] = []
        self._events: ctypes.c_void_p | None = None
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
        with _wrap_exceptions("scan"):
            if self._is_any_lost() and self._monotonic_s() - self._opened_s > REOPEN_S:
                self._shutdown()
                self._init()
            if self._enumerate():
                self._listen()
            handles = {d: c.handle for d, c in self._cards.items() if not self._is_lost(d)}
            links = nvlinks(handles)
            found = []
            for device_id in handles:
                with _unless_lost():
                    found.append(self._describe(device_id, links[device_id]))
        return tuple(sorted(found, key=lambda device: device.index))

    def wait_faults(self, timeout_s: float) -> list[FaultSignal]:
        """Wait on the event set, then look for what NVML does not push; see the port."""
        with _wrap_exceptions("events"):
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
        with _wrap_exceptions("init"):
            pynvml.nvmlInit()
            self._open = True
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
            pynvml.nvmlEventSetFree(events)
        pynvml.nvmlShutdown()

    def _enumerate(self) -> bool:
        """Bring `_cards` up to date; true when there is a card that is not listened to yet."""
        grown = False
        for index in range(pynvml.nvmlDeviceGetCount()):
            with _unless_lost():
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                device_id = DeviceId(pynvml.nvmlDeviceGetUUID(handle))
                grown |= device_id not in self._cards
                self._cards[device_id] = _Card(index=index, handle=handle)
        return grown

    def _describe(self, device_id: DeviceId, lanes: Mapping[DeviceId, int]) -> DeviceFingerprint:
        card = self._cards[device_id]
        profile = profile_of(self.vendor, str(pynvml.nvmlDeviceGetName(card.handle)))
        return DeviceFingerprint(
            device_id=device_id,
            vendor=self.vendor,
            model=profile.model,
            index=card.index,
            pci_address=_pci_address(card.handle),
            numa_node=_numa_node(card.handle),
            vram_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(card.handle).total),
            memory_bandwidth_gbytes_s=profile.memory_bandwidth_gbytes_s,
            fp16_gflops=profile.fp16_gflops,
            fp32_gflops=profile.fp32_gflops,
            driver_version=str(pynvml.nvmlSystemGetDriverVersion()),
            links=tuple(
                Link(
                    peer=peer,
                    type=LinkType.NVLINK,
                    lanes=count,
                    bandwidth_gbytes_s=count * profile.lane_gbytes_s,
                )
                for peer, count in sorted(lanes.items())
            ),
        )

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
            with _unless_lost():
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
        with _unless_lost():
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
        with _unless_lost():
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


@contextlib.contextmanager
def _wrap_exceptions(what: str) -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise LibraryBrokenError(f"NVML {what}: {error}") from error


@contextlib.contextmanager
def _unless_lost() -> Iterator[None]:
    """Leave the block when the card falls off the bus; `_check` tells about it."""
    try:
        yield
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_GPU_IS_LOST:
            raise


def _address(handle: ctypes.c_void_p) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _pci_address(handle: ctypes.c_void_p) -> str:
    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"


def _numa_node(handle: ctypes.c_void_p) -> int:
    """Return the node of the card's memory, -1 when the platform does not say."""
    try:
        scope = pynvml.NVML_AFFINITY_SCOPE_NODE
        words = pynvml.nvmlDeviceGetMemoryAffinity(handle, NUMA_WORDS, scope)
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        return -1
    mask: int = sum(int(word) << (64 * place) for place, word in enumerate(words))
    return (mask & -mask).bit_length() - 1


def _recovery_action(handle: ctypes.c_void_p) -> int | None:
    """Return what the driver asks for; `None` when this driver cannot say."""
    try:
        fields = pynvml.nvmlDeviceGetFieldValues(
            handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
        )
    except pynvml.NVMLError as error:
        if error.value not in UNSUPPORTED:
            raise
        return None
    if fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(fields[0].value.uiVal)
