"""Reports become facts: only when something changed, at a bounded rate, at once when it matters."""

import pytest

from hcs_agents.quota.containers import NEVER_S, Containers, UnknownClientError
from hcs_agents.quota.wire import DeviceQuota, DeviceUsage, Hello, Usage
from hcs_bus.events import Quota
from hcs_bus.names import DeviceId, PodUid

CARD = DeviceId("GPU-1")


def hello(pod_uid: str = "pod", *cards: str) -> Hello:
    quotas = [DeviceQuota(device_id=DeviceId(card), quota_bytes=100) for card in cards or (CARD,)]
    return Hello(
        lost=0, pid=1, epoch_ns=1, pod_uid=PodUid(pod_uid), container="main", devices=tuple(quotas)
    )


def usage(
    used: int, *, peak: int = 0, refusals: int = 0, revision: int = 1, epoch: int = 1
) -> Usage:
    device = DeviceUsage(used_bytes=used, peak_bytes=max(peak, used), refusals=refusals)
    return Usage(lost=0, epoch_ns=epoch, revision=revision, devices=(device,))


@pytest.fixture
def containers() -> Containers:
    return Containers(interval_s=1.0, urgent_interval_s=0.1)


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
    containers.usage(2, usage(2, revision=1, epoch=2))
    assert [fact.used_bytes for fact in due(containers, 1)] == [2]


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
