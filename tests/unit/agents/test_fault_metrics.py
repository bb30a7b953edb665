"""What Prometheus is told of faults in force and of slow cards: what holds now, and never too much.

That an agent shows them at all is in `tests/integration/agents/test_every_happening.py`.
"""

import msgspec
import pytest

from hcs_agents.counters import Growth
from hcs_agents.metrics import (
    DEVICE_COUNTERS,
    FAULTS_SHOWN_MAX,
    DeviceCollector,
    FaultCollector,
)
from hcs_agents.node_view import DeviceNow
from hcs_bus.events import DeviceSample, FaultState, ThrottleReason
from tests.support.detectors import fingerprint_of
from tests.support.facts import fault

CARD = "card-0"

Labels = dict[str, str]


@pytest.fixture
def collector() -> FaultCollector:
    """Return one that knows of no fault."""
    return FaultCollector()


def shown(collector: FaultCollector | DeviceCollector) -> dict[str, list[tuple[Labels, float]]]:
    """Return each metric's labels and values."""
    return {
        family.name.removeprefix("hcs_agent_device_"): [
            (sample.labels, sample.value) for sample in family.samples
        ]
        for family in collector.collect()
    }


def test_a_fault_is_shown_while_it_is_in_force(collector: FaultCollector) -> None:
    for raised in (
        fault(CARD, code="79"),
        fault(CARD, code="48"),
        fault(CARD, code="79"),
    ):  # one of them repeated
        collector.note(raised)
    labels = [labels for labels, _ in shown(collector)["fault"]]
    assert [of["code"] for of in labels] == ["79", "48"]
    assert labels[0] == {
        "vendor": "nvidia",
        "device_id": CARD,
        "code": "79",
        "severity": "fatal",
    }
    collector.note(fault(CARD, code="79", state=FaultState.CLEARED))
    assert [of["code"] for of, _ in shown(collector)["fault"]] == ["48"]


def test_what_has_no_end_is_not_in_force(collector: FaultCollector) -> None:
    collector.note(msgspec.structs.replace(fault(CARD, code="31"), lasting=False))
    assert shown(collector)["fault"] == []


def test_the_end_of_a_fault_that_nobody_knew_of_changes_nothing(collector: FaultCollector) -> None:
    collector.note(fault(CARD, state=FaultState.CLEARED))
    assert shown(collector) == {"fault": [], "faults_unshown": [({}, 0)]}


def test_the_number_of_series_is_bounded_and_what_is_left_out_counted(
    collector: FaultCollector,
) -> None:
    for number in range(FAULTS_SHOWN_MAX + 100):
        collector.note(fault(CARD, code=str(number)))
    assert len(shown(collector)["fault"]) == FAULTS_SHOWN_MAX
    assert shown(collector)["faults_unshown"] == [({}, 100)]
    collector.note(fault(CARD, code="0", state=FaultState.CLEARED))
    assert shown(collector)["fault"][-1][0]["code"] == str(FAULTS_SHOWN_MAX)  # it moved up


def test_what_a_library_does_not_tell_has_no_series() -> None:
    device = msgspec.structs.replace(fingerprint_of(0), pcie_width_max=16)
    sample = DeviceSample(
        device_id=device.device_id, pcie_width=8, throttle_reasons=(ThrottleReason.POWER,)
    )
    now = DeviceNow(device=device, sample=sample, total=Growth())
    found = shown(DeviceCollector(lambda: [now]))
    card = {"vendor": "nvidia", "device_id": CARD, "index": "0"}
    assert {name: found[name] for name in found if found[name] and name not in DEVICE_COUNTERS} == {
        "throttled": [({**card, "reason": "power"}, 1)],
        "pcie_width": [(card, 8)],
        "pcie_width_max": [(card, 16)],
    }
