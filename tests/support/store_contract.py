"""What every store adapter does: inherited by the memory twin's tests and by PostgreSQL's."""

from typing import get_args

import msgspec
import pytest

from hcs_bus.envelope import Message
from hcs_bus.events import AllocationState
from hcs_bus.names import DeviceId, NodeName, PodUid, StreamSeq
from hcs_control.fleet import Fleet
from hcs_control.policy import load_policy
from hcs_control.rows import AllocationRow, AnyRow, DeviceLinkRow, Removed
from hcs_control.store.port import (
    Batch,
    Contents,
    FencedError,
    NotEmptyError,
    OutboxDecision,
    ParkedEvent,
    Store,
)
from tests.support.every_kind import FACTS, FINGERPRINT, SAMPLES
from tests.support.facts import GIB, allocation, device, fault, fingerprint, link, quota
from tests.support.folding import Folding

SPARE = device("spare", index=1)
NEWEST_KINDS = ("benchmark", "checkpoint", "pod", "compute_quota", "policy")

D0, D1 = DeviceId("d0"), DeviceId("d1")


def full_folding() -> Folding:
    """Return a fold that has touched every kind of row."""
    folding = Folding(load_policy())
    folding.add(fingerprint(device("d0", links=(link("d1"),)), device("d1", index=1)))
    folding.add(allocation(AllocationState.RESERVED, ("d0", 16, 100), ("d1", 16, 100)))
    folding.add(allocation(AllocationState.BOUND))
    folding.add(fault("d1"))
    folding.add(quota("d0"))
    told = {
        "fingerprint": msgspec.structs.replace(FINGERPRINT, devices=(*FINGERPRINT.devices, SPARE)),
        "samples": SAMPLES,
        **{kind: FACTS[kind] for kind in NEWEST_KINDS},
    }
    for fact in told.values():
        folding.add(fact, node=NodeName("gpu-1"))
    return folding


def contents_of(folding: Folding) -> Contents:
    """Return what a store holds after a fold, with two decisions: a published and a waiting one."""
    batch = folding.batch()
    rows = [row for row in batch.changes.values() if not isinstance(row, Removed)]
    return Contents(
        position=folding.seq,
        rows=rows,
        decisions=[
            OutboxDecision(
                fact_seq=StreamSeq(1), message=Message(subject="s", id=name, payload=b"\x00\xff")
            )
            for name in ("decision-1", "decision-2")
        ],
        parked=[
            ParkedEvent(stream_seq=StreamSeq(seq), subject="s", reason="why", payload=b"{\xff")
            for seq in (3, 5)
        ],
        published={"decision-1": StreamSeq(7)},
    )


def in_order(contents: Contents) -> Contents:
    """Return the same contents in one order: stores keep none."""
    return msgspec.structs.replace(
        contents,
        rows=sorted(contents.rows, key=lambda row: (type(row).__name__, row.key)),
        decisions=sorted(contents.decisions, key=lambda each: each.message.id),
        parked=sorted(contents.parked, key=lambda each: each.stream_seq),
    )


def ignore(_done: int) -> None:
    """Hear of progress and do nothing."""


def same_fleet(left: Fleet, right: Fleet) -> bool:
    """Say whether two fleets hold the same rows."""
    # Versions count changes since the start of a process; they are no part of the state.
    return vars(left) | {"version_of_node": {}} == vars(right) | {"version_of_node": {}}


class StoreContract:
    """The suite; subclasses give the fixture `store`, empty."""

    async def test_a_new_store_is_empty_at_position_zero(self, store: Store) -> None:
        loaded = await store.load()
        assert loaded.position == 0 and loaded.decision_seq == 0
        assert same_fleet(loaded.fleet, Fleet())

    async def test_what_was_committed_is_loaded_field_by_field(self, store: Store) -> None:
        folding = full_folding()
        await store.commit(folding.batch())
        loaded = await store.load()
        assert loaded.position == folding.seq
        assert same_fleet(loaded.fleet, folding.fleet)

    async def test_every_kind_of_row_comes_back_as_it_was_written(self, store: Store) -> None:
        folding = full_folding()
        written = {key: row for key, row in folding.changes.items() if not isinstance(row, Removed)}
        assert {row_type for row_type, _ in written} == set(get_args(AnyRow))
        await store.commit(folding.batch())
        contents = await store.contents()
        assert {(type(row), row.key): row for row in contents.rows} == written

    async def test_a_later_row_replaces_the_one_with_its_key(self, store: Store) -> None:
        folding = full_folding()
        await store.commit(folding.batch())
        folding.add(allocation(AllocationState.RELEASED))
        await store.commit(folding.batch())
        loaded = await store.load()
        assert same_fleet(loaded.fleet, folding.fleet)
        assert loaded.fleet.devices[D0].vram_allocated_bytes == 0
        assert PodUid("pod-1") not in loaded.fleet.allocations

    async def test_contents_hold_what_is_past_as_well(self, store: Store) -> None:
        folding = full_folding()
        folding.add(allocation(AllocationState.RELEASED, reason="Pod deleted"))
        await store.commit(folding.batch())
        contents = await store.contents()
        assert contents.position == folding.seq
        past = [row for row in contents.rows if isinstance(row, AllocationRow)]
        assert {row.state for row in past} == {AllocationState.RELEASED}
        assert len(past) == 2

    async def test_removed_rows_are_gone(self, store: Store) -> None:
        folding = full_folding()
        await store.commit(folding.batch())
        folding.add(fingerprint(device("d0"), device("d1", index=1)))
        assert any(
            isinstance(change, Removed) and change.row_type is DeviceLinkRow
            for change in folding.changes.values()
        )
        await store.commit(folding.batch())
        assert not (await store.load()).fleet.links_of_device.get(D0)

    async def test_a_projector_that_was_overtaken_is_fenced_and_writes_nothing(
        self, store: Store
    ) -> None:
        folding = full_folding()
        await store.commit(folding.batch())
        late = full_folding()
        late.add(fault("d0", "48"))
        with pytest.raises(FencedError):
            await store.commit(late.batch())
        loaded = await store.load()
        assert same_fleet(loaded.fleet, folding.fleet)
        assert loaded.position == folding.seq

    async def test_decisions_wait_in_the_outbox_until_marked(self, store: Store) -> None:
        decision = OutboxDecision(
            fact_seq=StreamSeq(1), message=Message(subject="s", id="decision-1", payload=b"x")
        )
        await store.commit(_batch(decisions=[decision]))
        assert await store.unpublished(10) == [decision]
        await store.mark_published({"decision-1": StreamSeq(7)})
        assert await store.unpublished(10) == []
        assert (await store.load()).decision_seq == 7

    async def test_a_parked_event_commits_with_the_position(self, store: Store) -> None:
        parked = ParkedEvent(
            stream_seq=StreamSeq(1), subject="hcs.fact.fault.x.fatal", reason="why", payload=b"\xff"
        )
        await store.commit(_batch(parked=[parked]))
        assert (await store.load()).position == 1

    async def test_capacity_is_kept_exactly(self, store: Store) -> None:
        folding = Folding(load_policy())
        folding.add(fingerprint(device("d0")), node=NodeName("node.with.dots"))
        await store.commit(folding.batch())
        row = (await store.load()).fleet.devices[D0]
        assert row.vram_bytes == 80 * GIB
        assert row.node_name == "node.with.dots"

    async def test_contents_restored_into_an_empty_store_are_the_same_there(
        self, store: Store
    ) -> None:
        folding = full_folding()
        contents = contents_of(folding)
        heard: list[int] = []
        await store.restore(contents, progress=heard.append)
        assert in_order(await store.contents()) == in_order(contents)
        assert heard[-1] == len(contents.rows) + 2 + 2
        loaded = await store.load()
        assert same_fleet(loaded.fleet, folding.fleet)
        assert (loaded.position, loaded.decision_seq) == (contents.position, 7)
        assert [each.message.id for each in await store.unpublished(9)] == ["decision-2"]

    async def test_a_restored_store_goes_on_behind_its_position(self, store: Store) -> None:
        folding = full_folding()
        await store.restore(contents_of(folding), progress=ignore)
        folding.add(allocation(AllocationState.RELEASED))
        await store.commit(folding.batch())
        loaded = await store.load()
        assert same_fleet(loaded.fleet, folding.fleet)
        assert loaded.position == folding.seq

    async def test_nothing_is_restored_over_a_projection(self, store: Store) -> None:
        before = full_folding()
        await store.commit(before.batch())
        held = in_order(await store.contents())
        with pytest.raises(NotEmptyError):
            await store.restore(contents_of(full_folding()), progress=ignore)
        assert in_order(await store.contents()) == held

    async def test_a_store_that_has_parked_but_folded_nothing_is_not_empty(
        self, store: Store
    ) -> None:
        parked = contents_of(full_folding()).parked[:1]
        await store.commit(_batch(parked=parked, position_to=StreamSeq(0)))
        with pytest.raises(NotEmptyError):
            await store.restore(contents_of(full_folding()), progress=ignore)
        assert (await store.contents()).rows == []


def _batch(
    *,
    decisions: list[OutboxDecision] | None = None,
    parked: list[ParkedEvent] | None = None,
    position_to: StreamSeq = StreamSeq(1),  # noqa: B008  # a number
) -> Batch:
    return Batch(
        position_from=StreamSeq(0),
        position_to=position_to,
        changes={},
        decisions=decisions or [],
        parked=parked or [],
    )
