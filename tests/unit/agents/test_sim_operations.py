"""What can happen to a simulated card, as pure changes: what changes, what stays, what adds up."""

from collections.abc import Callable

import msgspec
import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import Scenario, decode, encode
from hcs_bus.names import Vendor

A100, MIXED = default_fleet()[0], default_fleet()[3]
CHANGES: dict[str, Callable[[Scenario], Scenario]] = {
    "temperature": lambda s: operations.set_temperature(s, 2, 97, 105),
    "ecc": lambda s: operations.count_ecc_errors(s, 2, corrected=3, uncorrected=1),
    "link": lambda s: operations.set_link(s, 2, 3, up=False, errors=4),
    "pcie": lambda s: operations.set_pcie(s, 2, generation=1, width=4, replays=7),
    "slow": lambda s: operations.set_speed(s, 2, 30, reason="thermal"),
    "busy": lambda s: operations.set_load(s, 2, 80, vram_bytes=1 << 30),
    "hang": lambda s: operations.set_hanging(s, 2, hangs=True),
    "driver": lambda s: operations.set_driver(s, Vendor.NVIDIA, down=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_survives_the_file_and_leaves_the_other_cards_alone(name: str) -> None:
    changed = CHANGES[name](A100)
    assert changed != A100
    assert decode(encode(changed)) == changed
    others = [n for n in range(8) if n not in (2, 3)]
    assert [changed.devices[n] for n in others] == [A100.devices[n] for n in others]


def test_every_field_that_can_change_is_changed_by_something() -> None:
    scenario = A100
    for change in CHANGES.values():
        scenario = change(scenario)
    left = set(operations.CHANGING_FIELDS) - operations.unusual(scenario.devices[2]).keys()
    assert left == {"memory_clock_mhz"}  # no operation yet


def test_errors_add_up() -> None:
    twice = CHANGES["ecc"](CHANGES["ecc"](A100)).devices[2]
    assert (twice.ecc_corrected, twice.ecc_uncorrected) == (6, 2)
    twice = CHANGES["pcie"](CHANGES["pcie"](A100)).devices[2]
    assert (twice.pcie_replays, twice.pcie_generation, twice.pcie_width) == (14, 1, 4)
    twice = CHANGES["link"](CHANGES["link"](A100)).devices[3]
    assert twice.link_errors == 8


def test_half_a_change_of_pcie_keeps_the_other_half() -> None:
    narrow = operations.set_pcie(A100, 0, width=4)
    slow = operations.set_pcie(narrow, 0, generation=2)
    assert (slow.devices[0].pcie_generation, slow.devices[0].pcie_width) == (2, 4)
    assert operations.reset_pcie(slow, 0) == A100


def test_a_busy_card_keeps_its_memory_unless_told() -> None:
    busy = operations.set_load(A100, 0, 80, vram_bytes=1 << 30)
    assert operations.set_load(busy, 0, 10).devices[0].memory_used_bytes == 1 << 30


def test_slowness_follows_the_cards_own_clock() -> None:
    fast = msgspec.structs.replace(A100.devices[0], core_clock_mhz=2_000, core_clock_max_mhz=2_000)
    scenario = msgspec.structs.replace(A100, devices=(fast,), links=())
    slow = operations.set_speed(scenario, 0, 25, reason="power").devices[0]
    assert (slow.core_clock_mhz, slow.throttle, slow.speed_percent) == (500, "power", 25)
    assert operations.unusual(fast) == {}


@pytest.mark.parametrize(("a", "b"), [(0, 2), (2, 0), (1, 1)])
def test_a_link_that_is_not_there_cannot_fail(a: int, b: int) -> None:
    with pytest.raises(operations.ImpossibleError, match="no link"):
        operations.set_link(MIXED, a, b, up=False)


def test_drivers_down_are_kept_in_one_order() -> None:
    first = operations.set_driver(MIXED, Vendor.HUAWEI, down=True)
    both = operations.set_driver(first, Vendor.NVIDIA, down=True)
    assert both.drivers_down == "nvidia huawei"
    assert operations.set_driver(both, Vendor.NVIDIA, down=True) == both
    assert operations.set_driver(both, Vendor.HUAWEI, down=False).drivers_down == "nvidia"
