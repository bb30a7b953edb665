"""Which cards serve a request."""

from hcs_bus.events import AllocationState, DeviceFingerprint
from hcs_bus.names import NodeName, Vendor
from hcs_control.placement import NoFit, Placement, place, scores
from hcs_control.placement_cache import SHAPES_MAX, PlacementCache
from hcs_control.policy import load_policy
from hcs_control.request import Request
from tests.support.facts import GIB, NODE, allocation, device, fault, fingerprint
from tests.support.folding import Folding


def request(vram_gib: int, tflops: int = 0) -> Request:
    """Return a request."""
    return Request(container="main", vram_bytes=vram_gib * GIB, fp16_gflops=tflops * 1000)


def node_of(*devices: DeviceFingerprint) -> Folding:
    """Return a fleet with one node."""
    folding = Folding(load_policy())
    folding.add(fingerprint(*devices))
    return folding


def chosen(folding: Folding, wanted: Request) -> list[str]:
    """Return the cards chosen."""
    found = place(folding.fleet, NODE, wanted)
    assert isinstance(found, Placement), found
    return [share.device_id for share in found.shares]


def refusal(folding: Folding, wanted: Request) -> str:
    """Return why nothing was chosen."""
    found = place(folding.fleet, NODE, wanted)
    assert isinstance(found, NoFit)
    return found.reason


def test_a_broken_card_is_filled_before_a_whole_one() -> None:
    folding = node_of(device("d0"), device("d1", index=1))
    folding.add(allocation(AllocationState.RESERVED, ("d1", 16, 50)))
    assert chosen(folding, request(16, 100)) == ["d1"]


def test_the_smallest_card_that_fits_is_taken() -> None:
    folding = node_of(device("d0"), device("d1", index=1, vram_gib=40, model="A100 PCIe 40GB"))
    assert chosen(folding, request(16, 100)) == ["d1"]
    assert chosen(folding, request(41, 100)) == ["d0"]


def test_what_no_card_holds_is_spread_over_the_fewest() -> None:
    folding = node_of(*(device(f"d{n}", index=n) for n in range(4)))
    found = place(folding.fleet, NODE, request(160, 600))
    assert isinstance(found, Placement)
    assert [share.device_id for share in found.shares] == ["d0", "d1"]
    assert {share.vram_bytes for share in found.shares} == {80 * GIB}
    assert {share.fp16_gflops for share in found.shares} == {300_000}


def test_free_halves_of_two_cards_do_not_make_one() -> None:
    folding = node_of(device("d0"), device("d1", index=1))
    folding.add(allocation(AllocationState.RESERVED, ("d0", 60, 1), ("d1", 60, 1)))
    assert "freest device has 20.0 GiB" in refusal(folding, request(32))
    assert chosen(folding, request(20)) == ["d0"]


def test_models_are_not_mixed() -> None:
    folding = node_of(
        device("d0"), device("d1", index=0, vendor=Vendor.HUAWEI, model="Ascend 910B3")
    )
    assert "freest device has 80.0 GiB" in refusal(folding, request(100))


def test_an_isolated_card_is_passed_over_and_said_so() -> None:
    folding = node_of(device("d0"), device("d1", index=1))
    folding.add(fault("d0"))
    assert chosen(folding, request(16)) == ["d1"]
    folding.add(fault("d1"))
    assert refusal(folding, request(16)) == "all 2 devices are isolated or absent"


def test_compute_runs_out_before_memory_does() -> None:
    folding = node_of(device("d0"))
    folding.add(allocation(AllocationState.RESERVED, ("d0", 1, 300)))
    assert "12 TFLOPS" in refusal(folding, request(1, 13))
    assert chosen(folding, request(1, 12)) == ["d0"]


def test_a_node_without_cards_says_so() -> None:
    assert "no accelerator" in refusal(Folding(load_policy()), request(1))


def test_a_share_is_rounded_up_never_down() -> None:
    folding = node_of(*(device(f"d{n}", index=n, vram_gib=1) for n in range(3)))
    found = place(
        folding.fleet, NODE, Request(container="m", vram_bytes=2 * GIB + 1, fp16_gflops=0)
    )
    assert isinstance(found, Placement)
    assert sum(share.vram_bytes for share in found.shares) >= 2 * GIB + 1


def test_the_tighter_the_fit_the_higher_the_score() -> None:
    found = {}
    for free_gib in (16, 32, 64, 80):
        placement = place(node_of(device("d0", vram_gib=free_gib)).fleet, NODE, request(16))
        assert isinstance(placement, Placement)
        found[NodeName(f"node-{free_gib}")] = placement
    assert list(scores(found).values()) == [10, 5, 2, 2]
    del found[NodeName("node-16")], found[NodeName("node-32")]
    assert list(scores(found).values()) == [10, 8]
    assert scores({}) == {}


class TestCache:
    """Remembered placements are those that would be found anew."""

    def test_a_change_of_a_card_is_seen(self) -> None:
        folding = node_of(device("d0"), device("d1", index=1))
        cache = PlacementCache(folding.fleet)
        before = cache.place(NODE, request(16))
        assert isinstance(before, Placement)
        assert cache.place(NODE, request(16)) is before
        folding.add(fault("d0"))
        assert cache.place(NODE, request(16)) == place(folding.fleet, NODE, request(16)) != before
        folding.add(allocation(AllocationState.RESERVED, ("d1", 80, 1)))
        assert isinstance(cache.place(NODE, request(16)), NoFit)
        folding.add(allocation(AllocationState.RELEASED))
        assert isinstance(cache.place(NODE, request(16)), Placement)

    def test_a_card_that_moves_changes_both_nodes(self) -> None:
        folding = node_of(device("d0"))
        cache = PlacementCache(folding.fleet)
        assert isinstance(cache.place(NODE, request(1)), Placement)
        assert isinstance(cache.place(NodeName("other"), request(1)), NoFit)
        folding.add(fingerprint(device("d0")), node=NodeName("other"))
        assert isinstance(cache.place(NODE, request(1)), NoFit)
        assert isinstance(cache.place(NodeName("other"), request(1)), Placement)

    def test_shapes_are_told_apart_and_the_oldest_is_forgotten(self) -> None:
        folding = node_of(device("d0", vram_gib=80))
        cache = PlacementCache(folding.fleet)
        for vram_gib in range(1, SHAPES_MAX + 10):
            found = cache.place(NODE, request(vram_gib))
            assert isinstance(found, Placement)
            assert found.shares[0].vram_bytes == vram_gib * GIB
        assert len(cache._answers_of_shape) == SHAPES_MAX
