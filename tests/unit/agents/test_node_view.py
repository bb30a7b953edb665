"""What is known of a node: what stays when a worker fails, and what a sample says once."""

import msgspec
import pytest

from hcs_agents.counters import Growth
from hcs_agents.detectors.port import Reading
from hcs_agents.node_view import NodeView
from hcs_agents.worker import Failure, FailureKind
from hcs_agents.worker_frames import ENCODER, Sampled, Scan
from hcs_bus.events import DetectorReport, DetectorState, DeviceSample
from hcs_bus.names import DeviceId, Vendor
from tests.support.detectors import fingerprint_of, reading_of

VENDOR = Vendor.NVIDIA
OTHER = Vendor.HUAWEI
CARDS = (fingerprint_of(0), fingerprint_of(1))


def scan(state: DetectorState = DetectorState.OK, *, vendor: Vendor = VENDOR) -> Scan:
    """Return a scan that found both cards if the library works."""
    devices = CARDS if state is DetectorState.OK and vendor is VENDOR else ()
    return Scan(report=DetectorReport(vendor=vendor, state=state), devices=devices)


def sampled(*readings: Reading, vendor: Vendor = VENDOR) -> Sampled:
    """Return what a worker says of its cards."""
    raws = tuple(msgspec.Raw(ENCODER.encode(reading)) for reading in readings)
    return Sampled(vendor=vendor, readings=raws)


@pytest.fixture
def node() -> NodeView:
    """Return a node with two cards of one vendor and none of another."""
    view = NodeView((VENDOR, OTHER))
    view.note_scan(scan())
    view.note_scan(scan(DetectorState.ABSENT, vendor=OTHER))
    return view


def test_it_is_complete_with_a_word_of_every_vendor() -> None:
    node = NodeView((VENDOR, OTHER))
    node.note_scan(scan())
    assert not node.is_complete
    node.note_failure(Failure(vendor=OTHER, kind=FailureKind.HANG, detail="no return from open"))
    assert node.is_complete


@pytest.mark.parametrize("kind", FailureKind)
def test_a_failed_worker_leaves_its_cards_where_they_were(
    node: NodeView, kind: FailureKind
) -> None:
    node.note_failure(Failure(vendor=VENDOR, kind=kind, detail="worker ended by signal 11"))
    told = node.fingerprint(at_ns=1, agent_version="1")
    assert told.devices == CARDS
    assert told.detectors[0] == DetectorReport(
        vendor=VENDOR, state=DetectorState.BROKEN, detail="worker ended by signal 11"
    )


def test_a_library_that_says_it_is_broken_has_no_cards(node: NodeView) -> None:
    node.note_scan(scan(DetectorState.BROKEN))
    assert node.fingerprint(at_ns=1, agent_version="1").devices == ()


@pytest.mark.parametrize("state", [DetectorState.BROKEN, DetectorState.ABSENT])
def test_which_cards_there_were_is_known_until_the_library_works_again(
    node: NodeView, state: DetectorState
) -> None:
    node.note_scan(scan(state))
    node.note_failure(Failure(vendor=VENDOR, kind=FailureKind.HANG, detail="no return from open"))
    assert node.last_seen_of(VENDOR) == ("card-0", "card-1")
    node.note_scan(msgspec.structs.replace(scan(), devices=CARDS[1:]))
    assert node.last_seen_of(VENDOR) == ("card-1",)
    assert node.last_seen_of(OTHER) == ()


def test_a_sample_is_told_once_with_what_has_grown(node: NodeView) -> None:
    node.note_samples(sampled(reading_of(0, replays=5), reading_of(1)), at_ns=10)
    first = node.take_samples(interval_s=10)
    assert first is not None
    assert [one.pcie_replays for one in first.devices] == [0, 0]
    assert (first.at_ns, first.interval_s) == (10, 10)
    assert node.take_samples(interval_s=10) is None
    for replays in (6, 8):
        node.note_samples(sampled(reading_of(0, replays=replays), reading_of(1)), at_ns=20)
    second = node.take_samples(interval_s=10)
    assert second is not None
    assert [one.pcie_replays for one in second.devices] == [3, 0]


def test_all_vendors_are_in_one_fact(node: NodeView) -> None:
    other = Reading(sample=DeviceSample(device_id=DeviceId("npu-0")))
    node.note_samples(sampled(other, vendor=OTHER), at_ns=1)
    node.note_samples(sampled(reading_of(0)), at_ns=2)
    samples = node.take_samples(interval_s=10)
    assert samples is not None
    assert [one.device_id for one in samples.devices] == ["card-0", "npu-0"]


def test_no_cards_make_no_fact(node: NodeView) -> None:
    assert node.take_samples(interval_s=10) is None
    node.note_samples(sampled(), at_ns=1)
    assert node.take_samples(interval_s=10) is None


def test_a_reading_that_cannot_be_true_costs_only_itself(node: NodeView) -> None:
    wild = msgspec.structs.replace(reading_of(0).sample, utilization_percent=400)
    node.note_samples(sampled(Reading(sample=wild), reading_of(1)), at_ns=1)
    samples = node.take_samples(interval_s=10)
    assert samples is not None
    assert [one.device_id for one in samples.devices] == ["card-1"]
    assert node.malformed == 1


def test_a_card_shows_its_totals_until_it_is_gone_or_its_vendor_fails(node: NodeView) -> None:
    for replays in (1, 4):
        node.note_samples(sampled(reading_of(0, replays=replays), reading_of(1)), at_ns=1)
        node.take_samples(interval_s=10)
    assert [(one.device.index, one.total) for one in node.devices_now()] == [
        (0, Growth(pcie_replays=3)),
        (1, Growth()),
    ]
    node.note_scan(msgspec.structs.replace(scan(), devices=CARDS[1:]))
    assert [one.device.index for one in node.devices_now()] == [1]
    node.note_failure(Failure(vendor=VENDOR, kind=FailureKind.HANG, detail=""))
    assert list(node.devices_now()) == []
    assert node.take_samples(interval_s=10) is None
