"""Reports become facts: only when something changed, at a bounded rate, at once when it matters."""

from unittest import mock

import pytest

from hcs_agents.quota.containers import (
    ENDED_CONTAINERS_MAX,
    NEVER_S,
    PROCESSES_KNOWN_MAX,
    Containers,
    UnknownClientError,
)
from hcs_agents.quota.wire import COUNT_MAX, DeviceQuota, DeviceUsage, Hello, Usage
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid

CARD = DeviceId("GPU-1")


def hello(
    pod_uid: str = "pod", *cards: str, process: int = 1, epoch: int = 1, container: str = "main"
) -> Hello:
    quotas = [DeviceQuota(device_id=DeviceId(card), quota_bytes=100) for card in cards or (CARD,)]
    return Hello(
        lost=0,
        pid=1,
        epoch_ns=epoch,
        process=process,
        pod_uid=PodUid(pod_uid),
        container=container,
        devices=tuple(quotas),
    )


def usage(
    used: int,
    *,
    peak: int = 0,
    refusals: int = 0,
    revision: int = 1,
    epoch: int = 1,
    launches: int = 0,
    unlimited: int = 0,
    cards: int = 1,
) -> Usage:
    device = DeviceUsage(used_bytes=used, peak_bytes=max(peak, used), refusals=refusals)
    return Usage(
        lost=0,
        epoch_ns=epoch,
        revision=revision,
        launches=launches,
        unlimited=unlimited,
        devices=(device,) * cards,
    )


@pytest.fixture
def containers() -> Containers:
    return Containers(interval_s=1.0, urgent_interval_s=0.1, launches_interval_s=30.0)


def due(containers: Containers, now_s: float) -> list[Quota]:
    return containers.due(now_s=now_s, at_ns=int(now_s * 1e9))


def test_the_first_report_is_said_at_once(containers: Containers) -> None:
    containers.hello(1, hello())
    assert due(containers, 0) == []
    containers.usage(1, usage(5, peak=7))
    assert due(containers, 0) == [
        Quota(
            at_ns=0,
            pod_uid=PodUid("pod"),
            container="main",
            device_id=CARD,
            quota_bytes=100,
            used_bytes=5,
            peak_bytes=7,
            refusals=0,
            processes=1,
        )
    ]


def test_nothing_new_is_not_said_again(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    due(containers, 0)
    containers.usage(1, usage(5, revision=2))
    assert due(containers, 100) == []
    assert containers.next_due_at_s() == NEVER_S


def test_changes_wait_for_the_interval_and_the_last_one_wins(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    due(containers, 10)
    for revision, used in enumerate((6, 7, 8), start=2):
        containers.usage(1, usage(used, revision=revision))
        assert due(containers, 10.5) == []
    assert containers.next_due_at_s() == 11
    assert [fact.used_bytes for fact in due(containers, 11)] == [8]


def test_a_refusal_does_not_wait_for_the_interval(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    due(containers, 10)
    containers.usage(1, usage(5, refusals=1, revision=2))
    assert containers.next_due_at_s() == pytest.approx(10.1)
    assert [fact.refusals for fact in due(containers, 10.2)] == [1]
    containers.usage(1, usage(6, refusals=1, revision=3))
    assert containers.next_due_at_s() == pytest.approx(11.2)


def test_an_older_report_changes_nothing(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.hello(2, hello())
    containers.usage(1, usage(9, revision=7))
    containers.usage(2, usage(3, revision=6))
    assert [fact.used_bytes for fact in due(containers, 0)] == [9]


def test_two_processes_are_one_container(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.hello(2, hello())
    containers.usage(1, usage(5))
    assert [fact.processes for fact in due(containers, 0)] == [2]
    assert containers.gone(1) == (2,)
    facts = due(containers, 0.2)
    assert [(fact.processes, fact.used_bytes) for fact in facts] == [(1, 5)]


def test_the_last_process_leaves_nothing_used_and_the_peak(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5, peak=9, refusals=3))
    due(containers, 0)
    assert containers.gone(1) == ()
    (fact,) = due(containers, 0.2)
    assert (fact.used_bytes, fact.peak_bytes, fact.refusals, fact.processes) == (0, 9, 3, 0)
    assert len(containers) == 0


def test_a_process_that_ended_before_it_was_heard_is_heard(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    containers.gone(1)
    (fact,) = due(containers, 0)
    assert (fact.used_bytes, fact.peak_bytes) == (0, 5)
    assert len(containers) == 0


def test_a_container_that_never_reported_is_forgotten_in_silence(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.gone(1)
    assert due(containers, 0) == []
    assert len(containers) == 0


def test_pods_are_kept_apart(containers: Containers) -> None:
    containers.hello(1, hello("one"))
    containers.hello(2, hello("two"))
    containers.usage(1, usage(1))
    containers.usage(2, usage(2))
    facts = due(containers, 0)
    assert {fact.pod_uid: fact.used_bytes for fact in facts} == {"one": 1, "two": 2}


def test_usage_without_hello_is_an_error(containers: Containers) -> None:
    with pytest.raises(UnknownClientError):
        containers.usage(1, usage(5))


def test_usage_of_other_cards_than_said_is_an_error(containers: Containers) -> None:
    containers.hello(1, hello("pod", "GPU-1", "GPU-2"))
    with pytest.raises(UnknownClientError):
        containers.usage(1, usage(5))


def test_usage_of_another_ledger_than_said_is_an_error(containers: Containers) -> None:
    containers.hello(1, hello(epoch=1))
    with pytest.raises(UnknownClientError):
        containers.usage(1, usage(5, epoch=2))


def told(containers: Containers) -> dict[tuple[str, str], tuple[int, int, bool]]:
    """Return of each container and card what it uses, by how many, and whether it is held to it."""
    return {
        (fact.container, fact.device_id): (fact.used_bytes, fact.processes, fact.enforced)
        for fact in containers.state(at_ns=0)
    }


def test_two_ledgers_at_once_are_no_quota_and_what_they_hold_is_the_sum(
    containers: Containers,
) -> None:
    containers.hello(1, hello(epoch=1))
    containers.usage(1, usage(5, peak=50, refusals=1, revision=9, epoch=1))
    assert [fact.enforced for fact in due(containers, 0)] == [True]
    containers.hello(2, hello(epoch=2))
    containers.usage(2, usage(7, peak=70, refusals=2, revision=1, epoch=2))
    (fact,) = due(containers, 1)
    assert (fact.enforced, fact.processes, fact.used_bytes) == (False, 2, 12)
    assert (fact.peak_bytes, fact.refusals) == (120, 3)
    containers.usage(1, usage(6, peak=50, refusals=1, revision=10, epoch=1))  # the older ledger
    assert told(containers) == {("main", CARD): (13, 2, False)}
    assert containers.gone(2) == ()  # nobody is left who could look into that ledger
    (fact,) = due(containers, 2)
    assert (fact.enforced, fact.processes, fact.used_bytes, fact.peak_bytes) == (True, 1, 6, 50)


def test_a_second_ledger_is_told_of_though_nothing_is_used_by_it(containers: Containers) -> None:
    containers.hello(1, hello(epoch=1))
    containers.usage(1, usage(5))
    due(containers, 0)
    containers.hello(2, hello(epoch=2))
    assert [fact.enforced for fact in due(containers, 1)] == [False]


def test_a_second_name_in_a_pod_is_a_second_quota_of_the_same_card(
    containers: Containers,
) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    assert [fact.enforced for fact in due(containers, 0)] == [True]
    containers.hello(2, hello(container="other", epoch=2))
    containers.usage(2, usage(7, epoch=2))
    facts = due(containers, 1)  # also of the container that did not say anything
    assert {(fact.container, fact.used_bytes, fact.enforced) for fact in facts} == {
        ("main", 5, False),
        ("other", 7, False),
    }
    containers.gone(2)
    facts = due(containers, 2)
    assert {(fact.container, fact.processes, fact.enforced) for fact in facts} == {
        ("main", 1, True),
        ("other", 0, True),
    }


def test_containers_with_cards_of_their_own_are_held_to_their_quotas(
    containers: Containers,
) -> None:
    containers.hello(1, hello("pod", "GPU-1", container="main", epoch=1))
    containers.hello(2, hello("pod", "GPU-2", container="other", epoch=2))
    containers.hello(3, hello("another pod", "GPU-1", epoch=3))
    containers.hello(4, hello("pod", "GPU-3", container="main", epoch=4))
    containers.usage(1, usage(5, epoch=1))
    containers.usage(2, usage(7, epoch=2))
    assert told(containers) == {("main", "GPU-1"): (5, 2, True), ("other", "GPU-2"): (7, 1, True)}


def test_a_ledger_that_replaces_one_whose_processes_ended_is_no_second_one(
    containers: Containers,
) -> None:
    for epoch in (1, 2, 3):  # a container that restarts before its last state was said, and after
        containers.hello(epoch, hello(epoch=epoch, process=epoch))
        containers.usage(epoch, usage(10 * epoch, peak=100 // epoch, epoch=epoch))
        assert told(containers) == {("main", CARD): (10 * epoch, 1, True)}
        (fact,) = due(containers, 2 * epoch)
        assert (fact.peak_bytes, fact.enforced) == (100 // epoch, True)
        containers.gone(epoch)
        assert told(containers) == {("main", CARD): (0, 0, True)}
    assert [(fact.processes, fact.used_bytes) for fact in due(containers, 9)] == [(0, 0)]
    assert len(containers) == 0


def test_a_process_that_does_not_keep_to_its_share_is_told_of_as_long_as_it_lives(
    containers: Containers,
) -> None:
    for client in (1, 2):
        containers.hello(client, hello("pod", "GPU-1", "GPU-2", process=client))
        containers.usage(client, usage(5, cards=2))
    assert [fact.enforced for fact in due(containers, 0)] == [True, True]
    containers.usage(2, usage(5, unlimited=0b10, revision=2, cards=2))
    containers.usage(1, usage(6, revision=3, cards=2))  # who keeps to it says nothing for another
    assert told(containers) == {("main", "GPU-1"): (6, 2, True), ("main", "GPU-2"): (6, 2, False)}
    assert [fact.enforced for fact in due(containers, 1)] == [True, False]
    containers.gone(2)
    assert told(containers) == {("main", "GPU-1"): (6, 1, True), ("main", "GPU-2"): (6, 1, True)}


def test_rivals_are_those_of_the_same_pod_with_another_ledger(containers: Containers) -> None:
    containers.hello(1, hello(epoch=1))
    containers.hello(2, hello("another pod", epoch=5))
    assert containers.rivals(hello(epoch=1)) == ()
    assert containers.rivals(hello(epoch=2)) == (1,)
    assert containers.rivals(hello(container="other", epoch=1)) == (1,)
    assert containers.rivals(hello("a third pod")) == ()
    containers.hello(3, hello(epoch=2))
    assert containers.rivals(hello(epoch=3)) == ()  # there are two already


def test_a_process_that_ends_before_it_reports_leaves_the_last_state_to_be_said(
    containers: Containers,
) -> None:
    containers.hello(1, hello(epoch=1))
    containers.usage(1, usage(5, epoch=1))
    due(containers, 0)
    containers.gone(1)
    containers.hello(2, hello(epoch=2))
    containers.gone(2)
    assert [(fact.processes, fact.used_bytes) for fact in due(containers, 1)] == [(0, 0)]
    assert len(containers) == 0


def test_ledgers_without_processes_are_forgotten(containers: Containers) -> None:
    containers.hello(0, hello(epoch=0))
    for epoch in range(1, 100):
        containers.hello(epoch, hello(epoch=epoch))
        if epoch < 50:
            containers.usage(epoch, usage(5, epoch=epoch))
        containers.gone(epoch)
    (pod,) = containers._pods.values()
    assert len(pod.containers["main"].ledgers) <= 2


def launched(containers: Containers) -> int:
    """Return what the only container has launched."""
    (fact,) = containers.state(at_ns=0)
    return fact.launches


def test_launches_are_the_sum_over_processes_whatever_the_order_of_their_reports(
    containers: Containers,
) -> None:
    containers.hello(1, hello(process=1))
    containers.hello(2, hello(process=2))
    containers.usage(1, usage(5, revision=7, launches=10))
    containers.usage(2, usage(5, revision=6, launches=200))  # older, and still its own launches
    containers.usage(1, usage(5, revision=8, launches=11))
    assert launched(containers) == 211


def test_a_process_that_ended_stays_in_the_sum(containers: Containers) -> None:
    containers.hello(1, hello(process=1))
    containers.hello(2, hello(process=2))
    containers.usage(1, usage(5, launches=10))
    containers.usage(2, usage(5, launches=20))
    containers.gone(1)
    containers.usage(2, usage(5, launches=25))
    assert launched(containers) == 35
    containers.gone(2)
    assert [fact.launches for fact in due(containers, 0)] == [35]


def test_a_process_that_comes_back_counts_once(containers: Containers) -> None:
    containers.hello(1, hello(process=1))
    containers.usage(1, usage(5, launches=10))
    containers.hello(2, hello(process=1))  # before the end of the first connection was seen
    containers.gone(1)
    containers.usage(2, usage(5, launches=12))
    assert launched(containers) == 12
    containers.gone(2)
    due(containers, 0)
    assert len(containers) == 0
    containers.hello(3, hello(process=1))
    containers.usage(3, usage(5, launches=15))
    assert launched(containers) == 15


def test_a_container_goes_on_counting_with_its_next_program(containers: Containers) -> None:
    for process in (1, 2, 3):
        containers.hello(process, hello(process=process))
        containers.usage(process, usage(5, launches=10))
        containers.gone(process)
        (fact,) = due(containers, process)
        assert fact.launches == 10 * process
        assert len(containers) == 0


def test_no_report_takes_launches_back_or_makes_more_than_a_fact_can_say(
    containers: Containers,
) -> None:
    containers.hello(1, hello(process=1))
    containers.usage(1, usage(5, launches=COUNT_MAX))
    containers.usage(1, usage(5, launches=3))
    assert launched(containers) == COUNT_MAX
    containers.hello(2, hello(process=2))
    containers.usage(2, usage(5, launches=COUNT_MAX))
    assert launched(containers) == COUNT_MAX


def test_launches_alone_wait_half_a_minute_on_each_card(containers: Containers) -> None:
    containers.hello(1, hello("pod", "GPU-1", "GPU-2"))
    device = DeviceUsage(used_bytes=5, peak_bytes=5, refusals=0)
    for second in range(100):
        report = Usage(
            lost=0, epoch_ns=1, revision=second, launches=1000 * second, devices=(device, device)
        )
        containers.usage(1, report)
        facts = due(containers, second)
        assert [fact.launches for fact in facts] == [1000 * second] * len(facts)
        assert len(facts) == (2 if second % 30 == 0 else 0), second
    assert containers.next_due_at_s() == 120


def test_what_else_changes_takes_the_launches_along(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5, launches=1))
    due(containers, 10)
    containers.usage(1, usage(6, revision=2, launches=2))
    assert [(fact.used_bytes, fact.launches) for fact in due(containers, 11)] == [(6, 2)]
    assert containers.next_due_at_s() == NEVER_S


def test_a_report_is_no_work_for_other_containers(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(512):
        containers.hello(number, hello(f"pod-{number}"))
        containers.usage(number, usage(5))
    assert len(due(containers, 0)) == 512
    compute = mock.Mock(wraps=containers._due_at_s)
    monkeypatch.setattr(containers, "_due_at_s", compute)
    for revision in range(2, 102):
        containers.usage(7, usage(5 + revision, revision=revision))
        assert containers.next_due_at_s() == 1
    assert compute.call_count <= 2 * 100
    assert len(containers._queue) <= 2
    assert [fact.pod_uid for fact in due(containers, 1)] == ["pod-7"]


def test_the_next_fact_is_the_earliest_whatever_came_last(containers: Containers) -> None:
    for number in (1, 2, 3):
        containers.hello(number, hello(f"pod-{number}"))
        containers.usage(number, usage(5))
        assert len(due(containers, number)) == 1
    containers.usage(3, usage(6, revision=2))
    assert containers.next_due_at_s() == 4
    containers.usage(1, usage(6, revision=2))
    assert containers.next_due_at_s() == 2
    containers.usage(2, usage(5, refusals=1, revision=2))
    assert containers.next_due_at_s() == 2
    containers.usage(1, usage(5, revision=3))  # as it was: nothing to say
    assert containers.next_due_at_s() == pytest.approx(2.1)
    assert [fact.pod_uid for fact in due(containers, 3)] == ["pod-2"]
    assert [fact.pod_uid for fact in due(containers, 4)] == ["pod-3"]
    assert containers.next_due_at_s() == NEVER_S


def test_a_state_that_comes_and_goes_does_not_fill_the_queue(containers: Containers) -> None:
    containers.hello(1, hello())
    containers.usage(1, usage(5))
    due(containers, 0)
    for revision in range(2, 1000):
        containers.usage(1, usage(5 + revision % 2, revision=revision))
        assert containers.next_due_at_s() == (1 if revision % 2 else NEVER_S)
        assert len(containers._queue) <= 2


def test_what_is_remembered_of_launches_is_bounded(containers: Containers) -> None:
    for number in range(2 * ENDED_CONTAINERS_MAX):
        containers.hello(number, hello(f"pod-{number}"))
        containers.usage(number, usage(5, launches=1))
        containers.gone(number)
        due(containers, number)
    containers.hello(0, hello("pod-0", process=2))
    containers.usage(0, usage(5, launches=1))
    assert launched(containers) == 1  # too long ago
    for number in range(1, 2 * PROCESSES_KNOWN_MAX):
        containers.hello(number, hello("pod-0", process=2 + number))
    assert all(len(ended.processes) == 1 for ended in containers._ended.values())
    assert len(containers._ended) <= ENDED_CONTAINERS_MAX
    alive = containers._pods[PodUid("pod-0")].containers["main"]
    assert len(alive.launches.processes) == PROCESSES_KNOWN_MAX
    containers.usage(0, usage(5, revision=2, launches=3))  # forgotten by number, but connected
    assert launched(containers) == 3
