"""What holds of every vendor's samples, against its simulated library."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.names import Vendor
from tests.support.sampling import ANSWER_S, WORKING, SamplingProcess, drivers_down, put
from tests.support.simulated import UNIFORM_NODES, environment

MakeNode = Callable[[str], ScenarioFile]


class SamplingContract:
    """Inherited by a test class that names its vendor."""

    vendor: ClassVar[Vendor]
    env: dict[str, str]

    @pytest.fixture
    def file(self, libraries: Path, node_of: MakeNode) -> ScenarioFile:
        """Return the scenario of a node with eight cards of the vendor."""
        file = node_of(UNIFORM_NODES[self.vendor])
        self.env = environment(libraries, file.path)
        return file

    def test_each_card_has_its_own_sample_in_the_order_of_the_indices(
        self, file: ScenarioFile
    ) -> None:
        for number in range(8):
            put(file, number, temperature_c=50 + number)
        with SamplingProcess(self.vendor, self.env) as detector:
            samples = [reading.sample for reading in detector.sample()]
        assert [sample.device_id for sample in samples] == [d.id for d in file.read().devices]
        assert [sample.temperature_celsius for sample in samples] == list(range(50, 58))

    def test_what_changes_while_a_card_works_is_in_the_sample_and_not_in_the_fingerprint(
        self, file: ScenarioFile
    ) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            fingerprints, idle = detector.scan(), detector.sample()
            put(file, 2, **WORKING)
            working = detector.sample()
            assert detector.scan() == fingerprints
        assert [now == then for now, then in zip(working, idle, strict=True)] == [
            number != 2 for number in range(8)
        ]

    def test_a_link_that_loses_lanes_is_seen_and_its_recovery_too(self, file: ScenarioFile) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            seen = []
            for generation, width in ((4, 16), (4, 4), (1, 1), (4, 16)):
                put(file, 3, pcie_generation=generation, pcie_width=width)
                sample = detector.sample()[3].sample
                seen.append((sample.pcie_generation, sample.pcie_width))
        assert seen == [(4, 16), (4, 4), (1, 1), (4, 16)]

    def test_counters_are_told_as_they_stand_also_when_they_fall(self, file: ScenarioFile) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            seen = []
            for corrected in (0, 7, 1_000_000, 3):
                put(file, 1, ecc_corrected=corrected)
                seen.append(detector.sample()[1].counters.ecc_corrected)
        assert seen == [0, 7, 1_000_000, 3]

    def test_a_lost_card_is_left_out_until_it_is_back(self, file: ScenarioFile) -> None:
        ids = [device.id for device in file.read().devices]
        with SamplingProcess(self.vendor, self.env) as detector:
            assert len(detector.sample()) == 8
            file.update(lambda s: operations.pull(s, 4))
            assert [r.sample.device_id for r in detector.sample()] == ids[:4] + ids[5:]
            file.update(lambda s: operations.plug(s, 4))
            assert [r.sample.device_id for r in detector.sample()] == ids

    @pytest.mark.parametrize("command", ["sample", "scan", "wait 5"])
    def test_a_driver_that_is_not_loaded_is_no_fault_of_the_cards(
        self, command: str, file: ScenarioFile
    ) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            before = detector.sample()
            drivers_down(file, self.vendor)
            assert detector.error_of(command) == "LibraryBrokenError"
            assert detector.error_of("reopen") == "LibraryBrokenError"
            drivers_down(file, "")
            detector.reopen()
            assert detector.sample() == before
            assert detector.wait(0.05) == []

    def test_another_vendors_driver_may_be_down(self, file: ScenarioFile) -> None:
        others = " ".join(vendor for vendor in Vendor if vendor is not self.vendor)
        drivers_down(file, others)
        with SamplingProcess(self.vendor, self.env) as detector:
            assert len(detector.sample()) == len(detector.scan()) == 8

    def test_a_call_about_a_card_that_hangs_returns_when_the_hang_ends(
        self, file: ScenarioFile
    ) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            detector.scan()
            put(file, 5, hangs=1)
            detector.begin("sample")
            assert not detector.has_answered(0.1)
            put(file, 5, hangs=0, temperature_c=64)
            # What was changed with the end of the hang is in the answer: it was waited for.
            assert detector.end()[5].sample.temperature_celsius == 64

    def test_a_node_can_be_opened_when_its_hanging_card_lets_go(self, file: ScenarioFile) -> None:
        with SamplingProcess(self.vendor, self.env) as detector:
            put(file, 0, hangs=1)
            detector.begin("reopen")
            assert not detector.has_answered(0.1)
            put(file, 0, hangs=0)
            assert detector.has_answered(ANSWER_S)
            assert "error" not in detector._answer()
            assert len(detector.scan()) == 8
