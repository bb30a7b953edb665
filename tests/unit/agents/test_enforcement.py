"""Who is on a card without a quota: told after the grace, at a bounded rate, its end at once."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from hcs_agents.detectors.port import DeviceProcess
from hcs_agents.enforcement import Enforcement, SeenProcess, Strangers, look_up
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid, Vendor

POD = PodUid("6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51")
OTHER_POD = PodUid("11111111-35a7-5d36-9e0e-0b0c4b1a6a51")
CARD, OTHER_CARD = DeviceId("GPU-a"), DeviceId("GPU-b")


def seen(
    pid: int,
    *,
    used_bytes: int = 5,
    pod: PodUid | None = POD,
    card: DeviceId = CARD,
    exists: bool = True,
) -> SeenProcess:
    """Return a process on a card."""
    return SeenProcess(device_id=card, pid=pid, used_bytes=used_bytes, pod_uid=pod, exists=exists)


class Node:
    """An `Enforcement` whose lists come one after the other."""

    def __init__(self) -> None:
        self.enforcement = Enforcement(grace_s=10, interval_s=10)

    def at(
        self,
        now_s: float,
        *processes: SeenProcess,
        connected: Iterable[int] = (),
        vendor: Vendor = Vendor.NVIDIA,
        card: DeviceId = CARD,
    ) -> list[Quota]:
        """Take in a list, and who is connected for a card; return the facts."""
        cards = {pid: {card} for pid in connected}
        self.enforcement.note(vendor, processes, connected=cards, now_s=now_s)
        return self.enforcement.due(now_s=now_s, at_ns=int(now_s))


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_process_that_never_connects_is_told_of_after_the_grace(node: Node) -> None:
    assert node.at(100, seen(7)) == []
    assert node.at(109, seen(7)) == []
    (fact,) = node.at(110, seen(7))
    assert (fact.pod_uid, fact.device_id, fact.container) == (POD, CARD, "")
    assert (fact.processes, fact.used_bytes, fact.quota_bytes) == (1, 5, 0)
    assert (fact.enforced, fact.at_ns) == (False, 110)


def test_a_process_that_connects_within_the_grace_is_never_told_of(node: Node) -> None:
    assert node.at(0, seen(7)) == []
    assert node.at(8, seen(7), connected=[7]) == []
    assert node.at(12, seen(7)) == []  # it lost its connection, and has a grace again
    assert node.at(21, seen(7)) == []
    assert len(node.at(22, seen(7))) == 1


@pytest.mark.parametrize("end", ["gone", "connected"])
def test_the_end_is_told_once_and_at_once(node: Node, end: str) -> None:
    node.at(0, seen(7))
    assert len(node.at(10, seen(7))) == 1
    after = node.at(11) if end == "gone" else node.at(11, seen(7), connected=[7])
    assert [(fact.processes, fact.used_bytes, fact.enforced) for fact in after] == [(0, 0, False)]
    assert node.at(30) == []


def test_a_change_waits_for_the_interval_and_what_does_not_change_is_not_repeated(
    node: Node,
) -> None:
    node.at(0, seen(7), seen(8))
    assert [fact.used_bytes for fact in node.at(10, seen(7), seen(8))] == [10]
    assert node.at(15, seen(7), seen(8, used_bytes=6)) == []
    assert [fact.used_bytes for fact in node.at(20, seen(7), seen(8, used_bytes=6))] == [11]
    assert node.at(40, seen(7), seen(8, used_bytes=6)) == []


def test_processes_of_one_pod_are_told_together_and_each_card_and_pod_apart(node: Node) -> None:
    processes = (
        seen(1),
        seen(2),
        seen(3, card=OTHER_CARD),
        seen(4, pod=OTHER_POD),
    )
    node.at(0, *processes)
    facts = node.at(10, *processes)
    assert {(fact.pod_uid, fact.device_id): fact.processes for fact in facts} == {
        (POD, CARD): 2,
        (POD, OTHER_CARD): 1,
        (OTHER_POD, CARD): 1,
    }


def test_who_is_connected_for_one_card_is_told_of_on_another_one(node: Node) -> None:
    processes = (seen(7, card=CARD), seen(7, card=OTHER_CARD, used_bytes=6))
    node.at(0, *processes, connected=[7])
    (fact,) = node.at(10, *processes, connected=[7])
    assert (fact.device_id, fact.processes, fact.used_bytes) == (OTHER_CARD, 1, 6)
    (ended,) = node.at(20, *processes, connected=[7], card=OTHER_CARD)  # the other way round
    assert (ended.device_id, ended.processes) == (OTHER_CARD, 0)
    (begun,) = node.at(30, *processes, connected=[7], card=OTHER_CARD)
    assert (begun.device_id, begun.processes, begun.used_bytes) == (CARD, 1, 5)


def test_the_time_since_a_list_does_not_count(node: Node) -> None:
    node.at(0, seen(7))  # it may have ended right after
    assert node.enforcement.due(now_s=1000, at_ns=1) == []


def test_the_list_of_one_vendor_says_nothing_about_the_cards_of_another(node: Node) -> None:
    node.at(0, seen(7))
    assert len(node.at(10, seen(7))) == 1
    assert node.at(11, vendor=Vendor.HUAWEI) == []


def test_processes_outside_of_pods_are_counted_and_not_told(node: Node) -> None:
    strangers = (seen(1, pod=None), seen(2, pod=None, used_bytes=6), seen(3, card=OTHER_CARD))
    ended = seen(9, pod=None, card=OTHER_CARD, exists=False)
    node.at(0, *strangers, ended, connected=[3], card=OTHER_CARD)
    assert node.at(100, *strangers, ended, connected=[3], card=OTHER_CARD) == []
    assert node.enforcement.strangers() == {
        CARD: Strangers(processes=2, used_bytes=11),
        OTHER_CARD: Strangers(unseen=1),
    }


def test_proc_says_whose_a_process_is(tmp_path: Path) -> None:
    for pid, group in ((7, f"0::/kubepods/pod{POD}/abc\n"), (8, "0::/system.slice/x.service\n")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(group)
    listed = [DeviceProcess(device_id=CARD, pid=pid) for pid in (7, 8, 9)]
    found = look_up(listed, proc=tmp_path)
    assert [(one.pid, one.pod_uid, one.exists) for one in found] == [
        (7, POD, True),
        (8, None, True),
        (9, None, False),
    ]
