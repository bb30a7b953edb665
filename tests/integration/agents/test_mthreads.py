"""What is Moore Threads' own: two error counters, and links that are down."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.sampling import SamplingProcess, put
from tests.support.simulated import DetectorProcess, environment, fabric_of

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
        lengths = [len(links) for links in fabric_of(detector.scan())]
    assert lengths == [2, 2, 3, 3, 3, 3, 3, 3]


TWO_CARDS = """
#include <string.h>
static char objects[2];
int mtmlLibraryInit(void **out) { *out = objects; return 0; }
int mtmlLibraryShutDown(void *library) { (void)library; return 0; }
int mtmlLibraryCountDevice(void *library, unsigned *n) { (void)library; *n = 2; return 0; }
int mtmlLibraryInitDeviceByIndex(void *library, unsigned i, void **out) {
    (void)library; *out = objects + i; return 0; }
int mtmlDeviceInitMemory(void *device, void **out) { *out = device; return 0; }
int mtmlDeviceGetUUID(char *device, char *out, unsigned n) {
    strcpy(out, device == objects ? "a" : "b"); return n < 2; }
int mtmlMemoryGetTotal(void *memory, unsigned long long *n) { (void)memory; *n = 7; return 0; }
int mtmlDeviceGetMtLinkSpec(void *device, unsigned *spec) {
    (void)device; memset(spec, 0, 28); spec[2] = 1; return 0; }
int mtmlDeviceGetMtLinkState(void *device, unsigned link, unsigned *state) {
    (void)device; *state = STATE; return (int)link; }
int mtmlDeviceGetMtLinkRemoteDevice(char *device, unsigned link, void **out) {
    *out = device == objects ? objects + 1 : objects; return (int)link; }
"""


@pytest.mark.parametrize(("state", "links"), [(0, 0), (1, 1), (2, 1)])
def test_a_link_at_lower_speed_is_a_link(state: int, links: int, tmp_path: Path) -> None:
    source = tmp_path / "two.c"
    source.write_text(TWO_CARDS)
    library = str(tmp_path / "libmtml.so.2")
    build = ["cc", "-shared", "-fPIC", f"-DSTATE={state}", "-o", library, str(source)]
    subprocess.run(build, check=True)
    with DetectorProcess(Vendor.MTHREADS, environment(tmp_path, None)) as detector:
        devices = detector.scan()
    assert [[link.peer for link in device.links] for device in devices] == [
        ["b"] * links,
        ["a"] * links,
    ]


def test_the_ends_of_links_are_asked_for_once_and_again_when_a_card_is_replaced(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mthreads-0")
    remote = "mtmlDeviceGetMtLinkRemoteDevice"
    with SamplingProcess(Vendor.MTHREADS, environment(libraries, file.path)) as detector:
        links = [device.links for device in detector.scan()]
        assert detector.calls()[remote] == 8 * 3
        for _ in range(3):
            assert [device.links for device in detector.scan()] == links
        assert detector.calls()[remote] == 0
        put(file, 1, id="another")
        assert {link.peer for link in fabric_of(detector.scan())[0]} == {
            "another",
            *(card.id for card in file.read().devices[2:4]),
        }
