"""Which processes use a card without a quota: what a preload cannot reach, or was told to let go.

A static or setuid program, one that was started without the preload or the variables: no library of
ours is in it, so it never says hello. Nor does one whose interceptor finds no ledger that it may
use, or cannot tell which card is meant. The driver sees it all the same. A process of a Pod that is
on a card and has not named that card on the quota socket for longer than a grace is therefore told
of, once per Pod and card, and its end too. (Connected for another card it is held to a quota there,
and not here.) Processes outside of Pods are only counted: a node's owner may run what he likes.

Only lists count, never the time since one: a process that ends is connected no more, and stands in
the last list until the next one comes.

`Enforcement` decides, without a clock and without /proc; `look_up` asks /proc.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.quota.credentials import PROC, pod_of
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid, Vendor

GRACE_S = 10.0  # a process has connected by then: it tries again after eight at the latest
INTERVAL_S = 10.0  # between two facts of one Pod and card, unless it begins or ends


class SeenProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a card, and whose it is."""

    device_id: DeviceId
    pid: int
    used_bytes: int  # 0 also when the driver does not say
    pod_uid: PodUid | None  # `None`: of no Pod
    exists: bool = True  # false: ended since, or not to be seen from our pid namespace


class Strangers(msgspec.Struct, frozen=True, kw_only=True):
    """The processes on a card that belong to no Pod."""

    processes: int = 0
    used_bytes: int = 0
    unseen: int = 0  # beside those: listed by the driver and not by our /proc

    def joined_by(self, process: SeenProcess) -> Self:
        """Return these and one more."""
        if not process.exists:
            return msgspec.structs.replace(self, unseen=self.unseen + 1)
        return msgspec.structs.replace(
            self, processes=self.processes + 1, used_bytes=self.used_bytes + process.used_bytes
        )


def look_up(processes: Iterable[DeviceProcess], *, proc: Path = PROC) -> list[SeenProcess]:
    """Find out whose processes these are."""
    return [
        SeenProcess(
            device_id=process.device_id,
            pid=process.pid,
            used_bytes=process.used_bytes or 0,
            pod_uid=pod_of(process.pid, proc=proc),
            exists=(proc / str(process.pid)).exists(),
        )
        for process in processes
    ]


@dataclass(frozen=True, slots=True)
class _State:
    """What a fact about a Pod and a card says."""

    processes: int
    used_bytes: int

    def joined_by(self, process: SeenProcess) -> Self:
        return type(self)(self.processes + 1, self.used_bytes + process.used_bytes)


@dataclass(frozen=True, slots=True)
class _Told:
    state: _State
    at_s: float


_Key = tuple[DeviceId, int]
_Place = tuple[PodUid, DeviceId]
_NOBODY = _State(0, 0)


class Enforcement:
    """Takes in what is on the cards and who is connected for which, gives out facts."""

    def __init__(self, *, grace_s: float = GRACE_S, interval_s: float = INTERVAL_S) -> None:
        self._grace_s = grace_s
        self._interval_s = interval_s
        self._seen: dict[Vendor, list[SeenProcess]] = {}
        self._alone: dict[Vendor, dict[_Key, float]] = {}  # since when, not connected
        self._unenforced: dict[Vendor, dict[_Place, _State]] = {}
        self._told: dict[_Place, _Told] = {}

    def note(
        self,
        vendor: Vendor,
        seen: Iterable[SeenProcess],
        *,
        connected: Mapping[int, Collection[DeviceId]],
        now_s: float,
    ) -> None:
        """Take in the list of a vendor's cards, and which ones the connected processes named.

        Of a vendor that fails, the last list holds.
        """
        before = self._alone.get(vendor, {})
        self._seen[vendor] = list(seen)
        alone: dict[_Key, float] = {}
        unenforced: dict[_Place, _State] = {}
        for process in self._seen[vendor]:
            if process.pod_uid is None or process.device_id in connected.get(process.pid, ()):
                continue
            key = (process.device_id, process.pid)
            alone[key] = before.get(key, now_s)
            if now_s - alone[key] >= self._grace_s:
                place = (process.pod_uid, process.device_id)
                unenforced[place] = unenforced.get(place, _NOBODY).joined_by(process)
        self._alone[vendor] = alone
        self._unenforced[vendor] = unenforced

    def due(self, *, now_s: float, at_ns: int) -> list[Quota]:
        """Return the facts whose time has come; they count as told."""
        states = {place: state for of in self._unenforced.values() for place, state in of.items()}
        facts = []
        for place in sorted(states.keys() | self._told.keys()):
            state = states.get(place, _NOBODY)
            if self._is_due(place, state, now_s):
                facts.append(_fact(place, state, at_ns))
                self._told[place] = _Told(state, now_s)
            if state == _NOBODY:
                self._told.pop(place, None)
        return facts

    def state(self, *, at_ns: int) -> list[Quota]:
        """Return what facts about the Pods that were told of would say now, for metrics."""
        return [_fact(place, told.state, at_ns) for place, told in self._told.items()]

    def strangers(self) -> dict[DeviceId, Strangers]:
        """Return the processes outside of Pods by card, for metrics."""
        found: dict[DeviceId, Strangers] = {}
        for process in (one for seen in self._seen.values() for one in seen):
            if process.pod_uid is None:
                before = found.get(process.device_id, Strangers())
                found[process.device_id] = before.joined_by(process)
        return found

    def _is_due(self, place: _Place, state: _State, now_s: float) -> bool:
        told = self._told.get(place)
        if told is None or state == _NOBODY:  # it begins, or ends
            return True
        return state != told.state and now_s - told.at_s >= self._interval_s


def _fact(place: _Place, state: _State, at_ns: int) -> Quota:
    pod_uid, device_id = place
    return Quota(
        at_ns=at_ns,
        pod_uid=pod_uid,
        container="",  # the control group names a container by its runtime's number alone
        device_id=device_id,
        quota_bytes=0,
        used_bytes=state.used_bytes,
        peak_bytes=state.used_bytes,
        refusals=0,
        processes=state.processes,
        enforced=False,
    )
