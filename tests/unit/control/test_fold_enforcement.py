"""What no interceptor holds to a quota: a row beside the container's own, gone with its end."""

import pytest

from hcs_bus.events import AllocationState
from hcs_bus.names import PodUid
from hcs_control.policy import load_policy
from tests.support.facts import allocation, device, fingerprint, quota, unenforced
from tests.support.folding import Folding

POD = PodUid("pod-1")


@pytest.fixture
def folding() -> Folding:
    """Return a fleet with one card, part of which a Pod holds."""
    made = Folding(load_policy())
    made.add(fingerprint(device("d0")))
    made.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
    return made


def test_it_is_told_beside_what_the_interceptor_counts(folding: Folding) -> None:
    folding.add(quota("d0", used_gib=2))
    folding.add(unenforced("d0", pod=POD, used_gib=5, processes=3))
    rows = folding.fleet.usage_of_pod[POD].values()
    assert {(row.container, row.enforced, row.used_bytes >> 30, row.processes) for row in rows} == {
        ("main", True, 2, 1),
        ("", False, 5, 3),
    }


def test_its_end_leaves_no_row_though_the_grant_goes_on(folding: Folding) -> None:
    folding.add(quota("d0"))
    folding.add(unenforced("d0", pod=POD))
    folding.add(unenforced("d0", pod=POD, used_gib=0, processes=0))
    assert [row.enforced for row in folding.fleet.usage_of_pod[POD].values()] == [True]
    again = folding.add(unenforced("d0", pod=POD, used_gib=0, processes=0))
    assert again.changes[:-1] == []


@pytest.mark.parametrize(("granted_gib", "enforced"), [(16, True), (15, False)])
def test_a_container_with_a_larger_quota_than_its_grant_is_not_held_to_it(
    granted_gib: int, enforced: bool
) -> None:
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0")))
    folding.add(allocation(AllocationState.RESERVED, ("d0", granted_gib, 100)))
    folding.add(quota("d0"))
    assert [row.enforced for row in folding.fleet.usage_of_pod[POD].values()] == [enforced]
