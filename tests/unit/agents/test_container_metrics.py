"""What Prometheus is told of containers: each figure once, and never without end."""

import msgspec
import pytest

from hcs_agents.metrics import CONTAINER_DEVICES_SHOWN_MAX, ContainerCollector
from hcs_agents.node_view import NodeView
from hcs_agents.worker_frames import Scan
from hcs_bus.events import DetectorReport, DetectorState, Quota
from hcs_bus.names import Vendor
from tests.support.detectors import fingerprint_of
from tests.support.facts import GIB, quota, unenforced

Labels = dict[str, str]


@pytest.fixture
def node() -> NodeView:
    """Return a node with one card."""
    view = NodeView((Vendor.HUAWEI,))
    report = DetectorReport(vendor=Vendor.HUAWEI, state=DetectorState.OK)
    view.note_scan(Scan(report=report, devices=(fingerprint_of(0, Vendor.HUAWEI),)))
    return view


def series(node: NodeView, *usage: Quota) -> dict[str, list[tuple[Labels, float]]]:
    """Return each metric's labels and values."""
    families = ContainerCollector(lambda: list(usage), node).collect()
    return {
        family.name.removeprefix("hcs_agent_container_"): [
            (sample.labels, sample.value) for sample in family.samples
        ]
        for family in families
    }


def test_each_container_and_card_has_its_figures(node: NodeView) -> None:
    fact = msgspec.structs.replace(
        quota("card-0", used_gib=3), peak_bytes=4 * GIB, refusals=5, launches=6
    )
    shown = series(node, fact)
    whose = {"pod_uid": "pod-1", "container": "main"}
    where = {"vendor": "huawei", "device_id": "card-0", **whose}
    assert shown == {
        "quota_bytes": [(where, 16 * GIB)],
        "used_bytes": [(where, 3 * GIB)],
        "peak_bytes": [(where, 4 * GIB)],
        "enforced": [(where, 1)],
        "refusals": [(where, 5)],
        "launches": [(whose, 6)],
        "devices_unshown": [({}, 0)],
    }


def test_launches_count_once_however_many_cards_a_container_has(node: NodeView) -> None:
    cards = [quota(f"card-{number}", launches=7) for number in range(4)]
    shown = series(node, *cards, quota("card-0", pod="pod-2", launches=1))
    assert [value for _, value in shown["launches"]] == [7, 1]
    assert len(shown["used_bytes"]) == 5


def test_a_card_that_is_not_the_nodes_is_of_no_vendor(node: NodeView) -> None:
    (labels, _) = series(node, quota("card-9"))["used_bytes"][0]
    assert labels["vendor"] == ""


def test_of_what_only_the_driver_sees_there_is_no_quota(node: NodeView) -> None:
    shown = series(node, unenforced("card-0", used_gib=2))
    assert [value for _, value in shown["used_bytes"]] == [2 * GIB]
    assert [value for _, value in shown["enforced"]] == [0]
    assert {name for name, values in shown.items() if values} == {
        "used_bytes",
        "enforced",
        "devices_unshown",
    }


def test_the_number_of_series_is_bounded_and_what_is_left_out_counted(node: NodeView) -> None:
    many = [quota("card-0", pod=f"pod-{number}") for number in range(2000)]
    shown = series(node, *many)
    for name in ("quota_bytes", "used_bytes", "peak_bytes", "enforced", "refusals", "launches"):
        assert len(shown[name]) == CONTAINER_DEVICES_SHOWN_MAX, name
    assert shown["used_bytes"][-1][0]["pod_uid"] == f"pod-{CONTAINER_DEVICES_SHOWN_MAX - 1}"
    assert shown["devices_unshown"] == [({}, 2000 - CONTAINER_DEVICES_SHOWN_MAX)]
