"""What is Moore Threads' own: two error counters, and links that are down."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.simulated import DetectorProcess, environment

MakeNode = Callable[[str], ScenarioFile]


def test_corrected_and_uncorrected_errors_are_told_apart(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mthreads-0")
    with DetectorProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        for code in ("ECC_CORRECTED", "ECC_UNCORRECTED"):
            file.update(partial(operations.raise_fault, number=3, code=code, at_ns=1))
            raised = detector.wait_until(lambda _: True)
            assert (raised.code, raised.device_id) == (code, file.read().devices[3].id)
        file.update(lambda s: operations.clear_faults(s, 3, None, at_ns=2))
        ended = {detector.wait_until(lambda _: True).code for _ in range(2)}
        assert ended == {"ECC_CORRECTED", "ECC_UNCORRECTED"}


def test_a_counter_that_falls_is_a_reset_and_what_follows_a_new_fault(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mthreads-0")
    for at_ns in range(3):
        raised = partial(operations.raise_fault, number=3, code="ECC_UNCORRECTED", at_ns=at_ns)
        file.update(raised)
    with DetectorProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        assert [signal.state for signal in detector.wait()] == [FaultState.RAISED]
        one = msgspec.structs.replace(file.read().faults[0], count=1)
        file.update(lambda s: msgspec.structs.replace(s, faults=(one,)))
        states = [signal.state for signal in detector.wait(3.0)]
        assert states == [FaultState.CLEARED, FaultState.RAISED]


def test_a_link_that_is_down_is_none(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("mthreads-0")
    scenario = file.read()
    first = msgspec.structs.replace(scenario.links[0], up=0)
    file.write(msgspec.structs.replace(scenario, links=(first, *scenario.links[1:])))
    with DetectorProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        assert [len(device.links) for device in detector.scan()] == [2, 2, 3, 3, 3, 3, 3, 3]
