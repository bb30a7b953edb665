"""The fold: what each fact does to the fleet."""

import msgspec
import pytest

from hcs_bus.errors import PoisonEventError
from hcs_bus.events import (
    AllocationState,
    DetectorReport,
    DetectorState,
    FaultState,
    Isolate,
    Release,
    Tick,
)
from hcs_bus.names import DeviceId, NodeName, PodUid, Vendor
from hcs_control.fold_isolation import fold_decision
from hcs_control.fold_source import MISSING_MAX
from hcs_control.policy import load_policy
from hcs_control.rows import DeviceValidityRow, FaultEpisodeRow, Health
from tests.support.facts import (
    GIB,
    NODE,
    SECOND,
    START_NS,
    allocation,
    device,
    fault,
    fingerprint,
    heartbeat,
    link,
    quota,
)
from tests.support.folding import Folding

D0, D1 = DeviceId("d0"), DeviceId("d1")
OTHER = NodeName("gpu-1")


@pytest.fixture
def folding() -> Folding:
    """Return a fleet of one node with two linked cards."""
    made = Folding(load_policy())
    made.add(fingerprint(device("d0", links=(link("d1"),)), device("d1", index=1)))
    return made


def tick(folding: Folding, after_s: float) -> None:
    """Let time pass since the start."""
    folding.add(Tick(at_ns=START_NS + int(after_s * SECOND)), node=NodeName("cluster"))


class TestFingerprint:
    """The whole of a node."""

    def test_what_it_lists_is_present(self, folding: Folding) -> None:
        assert [row.device_id for row in folding.fleet.devices_of(NODE)] == ["d0", "d1"]
        assert folding.fleet.links_of_device[D0][D1].lanes == 12

    def test_what_it_omits_is_absent_and_comes_back(self, folding: Folding) -> None:
        folding.add(fingerprint(device("d0")))
        assert not folding.fleet.devices[D1].present
        assert not folding.fleet.links_of_device[D0]
        folding.add(fingerprint(device("d0"), device("d1", index=1)))
        assert folding.fleet.devices[D1].present

    def test_a_broken_library_makes_no_card_vanish(self, folding: Folding) -> None:
        report = DetectorReport(vendor=Vendor.NVIDIA, state=DetectorState.BROKEN, detail="hangs")
        mute = msgspec.structs.replace(fingerprint(), detectors=(report,))
        folding.add(mute)
        assert [row.present for row in folding.fleet.devices_of(NODE)] == [True, True]
        absent = msgspec.structs.replace(report, state=DetectorState.ABSENT)
        folding.add(msgspec.structs.replace(mute, detectors=(absent,)))
        assert [row.present for row in folding.fleet.devices_of(NODE)] == [False, False]

    def test_a_page_of_a_librarys_words_is_cut(self, folding: Folding) -> None:
        wordy = DetectorReport(
            vendor=Vendor.NVIDIA, state=DetectorState.BROKEN, detail="d" * 10_000
        )
        folding.add(msgspec.structs.replace(fingerprint(), detectors=(wordy,)))
        detectors = folding.fleet.nodes[NODE].detectors
        assert detectors == f"nvidia: broken ({'d' * 4_096})"

    def test_a_card_that_moved_belongs_to_its_new_node(self, folding: Folding) -> None:
        folding.add(fingerprint(device("d1")), node=OTHER)
        assert [row.device_id for row in folding.fleet.devices_of(OTHER)] == ["d1"]
        assert [row.device_id for row in folding.fleet.devices_of(NODE)] == ["d0"]

    def test_it_changes_neither_health_nor_what_is_given_out(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        folding.add(fault("d0"))
        folding.add(fingerprint(device("d0"), device("d1", index=1)))
        row = folding.fleet.devices[D0]
        assert row.health is Health.ISOLATED
        assert row.vram_allocated_bytes == 16 * GIB

    def test_a_card_that_shrank_is_marked_overcommitted(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 60, 100)))
        folding.add(fingerprint(device("d0", vram_gib=40), device("d1", index=1)))
        assert folding.fleet.devices[D0].overcommitted
        assert folding.fleet.devices[D0].vram_free_bytes == 0
        folding.add(allocation(AllocationState.RELEASED))
        assert not folding.fleet.devices[D0].overcommitted

    def test_a_card_listed_twice_is_refused(self, folding: Folding) -> None:
        with pytest.raises(PoisonEventError, match="twice"):
            folding.add(fingerprint(device("d0"), device("d0")))


class TestValidity:
    """The past of a card."""

    def past(self, folding: Folding) -> list[tuple[int, int | None, bool, Health]]:
        """Return the stretches of d0's past, in seconds since the start."""
        rows = [r for r in folding.changes.values() if isinstance(r, DeviceValidityRow)]
        return [
            (
                (row.valid_from_ns - START_NS) // SECOND,
                None if row.valid_to_ns is None else (row.valid_to_ns - START_NS) // SECOND,
                row.present,
                row.health,
            )
            for row in rows
            if row.device_id == D0
        ]

    def test_a_stretch_ends_where_the_next_begins(self, folding: Folding) -> None:
        folding.add(fault("d0", at_ns=START_NS + 10 * SECOND))
        folding.add(fingerprint(device("d1", index=1), at_ns=START_NS + 20 * SECOND))
        assert self.past(folding) == [
            (0, 10, True, Health.HEALTHY),
            (10, 20, True, Health.ISOLATED),
            (20, None, False, Health.ISOLATED),
        ]

    def test_what_is_given_out_makes_no_stretch(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        folding.add(fingerprint(device("d0"), device("d1", index=1), at_ns=START_NS + SECOND))
        assert self.past(folding) == [(0, None, True, Health.HEALTHY)]

    def test_a_clock_that_steps_back_makes_no_stretch_of_negative_length(
        self, folding: Folding
    ) -> None:
        folding.add(fault("d0", at_ns=START_NS - 10 * SECOND))
        assert self.past(folding) == [
            (0, 0, True, Health.HEALTHY),
            (0, None, True, Health.ISOLATED),
        ]


class TestFault:
    """Isolation and release."""

    def test_a_code_of_the_policy_isolates_with_its_evidence(self, folding: Folding) -> None:
        folding.add(fault("d0", "79"))
        [decision] = folding.decisions
        assert isinstance(decision, Isolate)
        assert (decision.device_id, decision.code) == ("d0", "79")
        assert decision.rule == "nvidia-device-unreachable"
        assert decision.fact_seqs == (folding.seq,)
        assert "79" in decision.evidence and "fallen off the bus" in decision.evidence
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        assert folding.fleet.devices[D1].health is Health.HEALTHY

    def test_a_code_outside_the_policy_does_nothing(self, folding: Folding) -> None:
        folding.add(fault("d0", "13"))
        assert folding.decisions == []
        assert folding.fleet.devices[D0].health is Health.HEALTHY

    def test_a_second_code_is_one_isolation_that_waits_for_both(self, folding: Folding) -> None:
        folding.add(fault("d0", "79"))
        folding.add(fault("d0", "48"))
        folding.add(fault("d0", "79", state=FaultState.CLEARED))
        tick(folding, 1)
        tick(folding, 1000)
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        assert folding.fleet.isolations[D0].active_codes == ("48",)
        assert len(folding.decisions) == 1

    def test_release_waits_from_the_first_tick_without_faults(self, folding: Folding) -> None:
        folding.add(fault("d0", "79"))
        folding.add(fault("d0", "79", state=FaultState.CLEARED))
        tick(folding, 100)
        tick(folding, 114)
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        tick(folding, 115)
        assert folding.fleet.devices[D0].health is Health.HEALTHY
        assert isinstance(folding.decisions[-1], Release)
        assert D0 not in folding.fleet.isolations

    def test_a_fault_that_comes_back_starts_the_wait_again(self, folding: Folding) -> None:
        folding.add(fault("d0", "79"))
        folding.add(fault("d0", "79", state=FaultState.CLEARED))
        tick(folding, 100)
        folding.add(fault("d0", "79"))
        tick(folding, 200)
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        folding.add(fault("d0", "79", state=FaultState.CLEARED))
        tick(folding, 300)
        tick(folding, 310)
        assert folding.fleet.devices[D0].health is Health.ISOLATED

    def test_an_agents_clock_ahead_of_ours_does_not_hasten_the_release(
        self, folding: Folding
    ) -> None:
        folding.add(fault("d0", "79"))
        folding.add(fault("d0", state=FaultState.CLEARED, at_ns=START_NS - 3600 * SECOND))
        tick(folding, 1)
        assert folding.fleet.devices[D0].health is Health.ISOLATED

    def test_a_page_of_a_drivers_words_is_cut_and_the_fault_counts(self, folding: Folding) -> None:
        wordy = msgspec.structs.replace(fault("d0"), name="n" * 300, detail="d" * 10_000)
        folding.add(wordy, event_id="gpu-0/a/2")
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        episode = folding.fleet.episodes[D0, "79"]
        assert (len(episode.fault_name), len(episode.detail)) == (253, 4_096)
        late = msgspec.structs.replace(wordy, code="48")
        folding.add(fault("d0", "48", state=FaultState.CLEARED), event_id="gpu-0/a/4")
        [told] = [
            row
            for row in folding.add(late, event_id="gpu-0/a/3").changes
            if isinstance(row, FaultEpisodeRow)
        ]
        assert (len(told.fault_name), len(told.detail)) == (253, 4_096)

    def test_a_fault_on_another_nodes_card_is_refused(self, folding: Folding) -> None:
        with pytest.raises(PoisonEventError, match="node gpu-0 has that device"):
            folding.add(fault("d0"), node=OTHER)

    def test_a_fault_on_an_unknown_card_is_refused(self, folding: Folding) -> None:
        with pytest.raises(PoisonEventError, match="no node has"):
            folding.add(fault("d9"))


class TestLedger:
    """Reserved, bound, released."""

    def test_a_reservation_takes_and_a_release_gives_back(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100), ("d1", 16, 100)))
        assert folding.fleet.devices[D0].vram_free_bytes == 64 * GIB
        assert folding.fleet.devices[D1].fp16_free_gflops == 212_000
        folding.add(allocation(AllocationState.BOUND))
        rows = folding.fleet.allocations[PodUid("pod-1")].values()
        assert {row.state for row in rows} == {AllocationState.BOUND}
        folding.add(allocation(AllocationState.RELEASED, reason="Pod deleted"))
        assert folding.fleet.devices[D0].vram_allocated_bytes == 0
        assert not folding.fleet.allocations

    @pytest.mark.parametrize("share", [("d0", 65, 1), ("d0", 1, 213)])
    def test_a_grant_that_would_overcommit_is_refused(
        self, folding: Folding, share: tuple[str, int, int]
    ) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        with pytest.raises(PoisonEventError, match="over-commit"):
            folding.add(allocation(AllocationState.RESERVED, share, pod="pod-2"))

    def test_a_pod_is_reserved_once(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        with pytest.raises(PoisonEventError, match="already"):
            folding.add(allocation(AllocationState.RESERVED, ("d1", 16, 100)))

    def test_a_grant_on_another_nodes_card_is_refused(self, folding: Folding) -> None:
        with pytest.raises(PoisonEventError, match="gpu-1 has no device d0"):
            folding.add(allocation(AllocationState.RESERVED, ("d0", 1, 1), node=OTHER))

    def test_binding_what_was_never_reserved_is_refused(self, folding: Folding) -> None:
        with pytest.raises(PoisonEventError, match="never reserved"):
            folding.add(allocation(AllocationState.BOUND))

    def test_a_second_release_changes_nothing(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        folding.add(allocation(AllocationState.RELEASED))
        assert folding.add(allocation(AllocationState.RELEASED)).changes == []

    def test_usage_ends_with_the_grant(self, folding: Folding) -> None:
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        folding.add(quota("d0"))
        assert folding.fleet.usage_of_pod[PodUid("pod-1")]
        folding.add(allocation(AllocationState.RELEASED))
        assert not folding.fleet.usage_of_pod


def test_the_last_word_of_a_released_container_leaves_no_row(folding: Folding) -> None:
    folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
    folding.add(quota("d0"))
    ended = msgspec.structs.replace(quota("d0"), processes=0, used_bytes=0)
    folding.add(ended)
    assert folding.fleet.usage_of_pod  # the grant lives: its peak is still of interest
    folding.add(allocation(AllocationState.RELEASED))
    folding.add(quota("d0"))  # still running, overtaken by the release
    assert folding.fleet.usage_of_pod
    folding.add(ended)
    assert not folding.fleet.usage_of_pod
    assert folding.add(ended).changes[:-1] == []


class TestResends:
    """What a spool sends twice counts once."""

    def test_an_event_under_a_known_number_is_a_duplicate(self, folding: Folding) -> None:
        assert not folding.add(fault("d0"), event_id="gpu-0/a/1").duplicate
        again = folding.add(fault("d0", state=FaultState.CLEARED), event_id="gpu-0/a/1")
        assert again.duplicate and again.changes == []

    def test_a_late_event_that_was_overtaken_still_counts(self, folding: Folding) -> None:
        folding.add(heartbeat(at_ns=3), event_id="gpu-0/a/3")
        assert not folding.add(fault("d0"), event_id="gpu-0/a/1").duplicate
        assert folding.fleet.devices[D0].health is Health.ISOLATED
        assert not folding.add(heartbeat(at_ns=2), event_id="gpu-0/a/2").duplicate
        assert folding.add(heartbeat(at_ns=2), event_id="gpu-0/a/2").duplicate

    def test_another_incarnation_counts_anew(self, folding: Folding) -> None:
        folding.add(heartbeat(at_ns=9), event_id="gpu-0/a/9")
        assert not folding.add(heartbeat(at_ns=1), event_id="gpu-0/b/1").duplicate

    def test_a_number_that_is_too_far_behind_is_forgotten_with_what_waited_for_it(
        self, folding: Folding
    ) -> None:
        folding.add(heartbeat(), event_id="gpu-0/a/2")  # 1 never comes
        codes = [str(code) for code in range(40)]
        for n, code in enumerate(codes, start=3):
            folding.add(fault("d0", code), event_id=f"gpu-0/a/{n}")
        source = folding.fleet.sources["gpu-0", "a"]
        assert source.missing == (1,) and len(source.ahead) == len(codes)
        folding.add(heartbeat(), event_id=f"gpu-0/a/{MISSING_MAX + 1}")
        assert folding.fleet.sources["gpu-0", "a"].missing[0] == 1
        folding.add(heartbeat(), event_id=f"gpu-0/a/{MISSING_MAX + 2}")
        assert folding.fleet.sources["gpu-0", "a"].missing[0] == len(codes) + 3
        assert folding.fleet.sources["gpu-0", "a"].ahead == ()
        assert folding.add(heartbeat(), event_id="gpu-0/a/1").duplicate

    def test_a_source_remembers_no_more_numbers_than_its_bound(self, folding: Folding) -> None:
        for n in (2, 5_000, 5_002, 1_000_000, 1_000_010):
            folding.add(heartbeat(), event_id=f"gpu-0/a/{n}")
            assert len(folding.fleet.sources["gpu-0", "a"].missing) <= MISSING_MAX
        missing = folding.fleet.sources["gpu-0", "a"].missing
        assert missing[0] == 1_000_010 - MISSING_MAX and missing[-1] == 1_000_009
        assert list(missing) == sorted(set(missing)) and 1_000_000 not in missing

    def test_a_heartbeat_between_leaves_what_waits_for_a_number_as_it_is(
        self, folding: Folding
    ) -> None:
        folding.add(fault("d0", state=FaultState.CLEARED), event_id="gpu-0/a/2")
        folding.add(heartbeat(), event_id="gpu-0/a/4")
        assert folding.add(fault("d0"), event_id="gpu-0/a/1").stale
        folding.add(heartbeat(), event_id="gpu-0/a/3")
        source = folding.fleet.sources["gpu-0", "a"]
        assert (source.missing, source.ahead) == ((), ())

    def test_the_largest_number_that_a_column_holds_is_the_last(self, folding: Folding) -> None:
        folding.add(heartbeat(), event_id=f"gpu-0/a/{2**63 - 1}")
        assert folding.fleet.sources["gpu-0", "a"].last_n == 2**63 - 1
        for n in (2**63, 10**300):
            with pytest.raises(PoisonEventError, match="n of at most 9223372036854775807"):
                folding.add(heartbeat(), event_id=f"gpu-0/a/{n}")

    @pytest.mark.parametrize("event_id", ["gpu-1/a/1", "gpu-0/a", "gpu-0/a/x", "", "gpu-0/a/1/2"])
    def test_an_id_of_another_form_or_node_is_refused(
        self, folding: Folding, event_id: str
    ) -> None:
        with pytest.raises(PoisonEventError, match="id"):
            folding.add(heartbeat(), event_id=event_id or "/")


def test_an_isolation_that_overtakes_its_card_waits_for_it(folding: Folding) -> None:
    folding.add(fault("d0"))
    late = Folding(load_policy())
    late.fleet.apply(fold_decision(late.fleet, folding.decisions[0]))
    late.add(fingerprint(device("d0")))
    assert late.fleet.devices[D0].health is Health.ISOLATED


def test_the_same_log_folds_to_the_same_fleet_and_decisions() -> None:
    def run() -> Folding:
        folding = Folding(load_policy())
        folding.add(fingerprint(device("d0"), device("d1", index=1)), event_id="gpu-0/a/1")
        folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100)))
        folding.add(fault("d1"), event_id="gpu-0/a/2")
        folding.add(fault("d1", state=FaultState.CLEARED), event_id="gpu-0/a/3")
        tick(folding, 10)
        tick(folding, 40)
        return folding

    first, second = run(), run()
    assert vars(first.fleet) == vars(second.fleet)
    assert first.decisions == second.decisions
