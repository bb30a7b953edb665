"""Drivers whose cards answer with something else than yes or no: busy, not allowed, timed out.

The libraries here look into a file for what each of their two cards answers, a status and a name,
whenever they are asked.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hcs_agents.detectors.cards import LOST_AFTER_S
from hcs_bus.events import FaultState
from hcs_bus.names import Vendor
from tests.support.sampling import SamplingProcess
from tests.support.simulated import LIBRARIES, environment

HEAD = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int card(unsigned number, char name[32]) {
    int status = -1;
    FILE *file = fopen(getenv("HCS_TEST_CARDS"), "r");
    for (unsigned i = 0; file && i <= number; i++)
        if (fscanf(file, "%d %31s", &status, name) != 2)
            abort();
    if (file)
        fclose(file);
    return status;
}
"""
SOURCES = {
    Vendor.HUAWEI: """
int dcmi_init(void) { return 0; }
int dcmi_get_card_list(int *n, int *list, int length) {
    *n = length > 1 ? 2 : 0; list[0] = 0; list[1] = 1; return 0; }
int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
    *max = card < 2; *mcu = *cpu = -1; return 0; }
int dcmi_get_device_elabel_info(int number, int device, char *out) {
    char name[32]; int status = card((unsigned)number, name);
    if (!status && !device) strcpy(out + 1024, name);
    return status; }
int dcmi_get_device_health(int number, int device, unsigned *health) {
    char name[32]; *health = 0; return device ? -1 : card((unsigned)number, name); }
""",
    Vendor.HYGON: """
int rsmi_init(uint64_t flags) { return (int)flags; }
int rsmi_shut_down(void) { return 0; }
int rsmi_num_monitor_devices(uint32_t *n) { *n = 2; return 0; }
int rsmi_dev_vendor_id_get(uint32_t i, uint16_t *id) {
    char name[32]; *id = 0x1d94; return card(i, name); }
int rsmi_dev_unique_id_get(uint32_t i, uint64_t *id) {
    char name[32]; int status = card(i, name);
    if (!status) *id = strtoull(name, NULL, 16);
    return status; }
""",
    Vendor.CAMBRICON: """
int cndevInit(int reserved) { return reserved; }
int cndevRelease(void) { return 0; }
int cndevGetDeviceCount(int *out) { out[1] = 2; return 0; }
int cndevGetUUID(char *out, int number) {
    char name[32]; int status = card((unsigned)number, name);
    if (!status) strcpy(out + 4, name + 4); /* without the MLU- */
    return status; }
int cndevGetCardHealthState(int *out, int number) {
    char name[32]; out[1] = out[2] = 1; out[3] = 4; return card((unsigned)number, name); }
""",
    Vendor.MTHREADS: """
static char objects[2];
int mtmlLibraryInit(void **out) { *out = objects; return 0; }
int mtmlLibraryShutDown(void *library) { (void)library; return 0; }
int mtmlLibraryCountDevice(void *library, unsigned *n) { (void)library; *n = 2; return 0; }
int mtmlLibraryInitDeviceByIndex(void *library, unsigned i, void **out) {
    char name[32]; (void)library; *out = objects + i; return card(i, name); }
int mtmlDeviceInitMemory(void *device, void **out) { *out = device; return 0; }
int mtmlDeviceGetUUID(char *device, char *out, unsigned n) {
    char name[32]; int status = card((unsigned)(device - objects), name);
    if (!status && n >= 32) strcpy(out, name);
    return status; }
int mtmlMemoryGetTotal(char *memory, unsigned long long *n) {
    char name[32]; *n = 7; return card((unsigned)(memory - objects), name); }
""",
}
ODD = {
    Vendor.HUAWEI: (-8020, -8006, -8005),  # occupied, timed out, an error inside
    Vendor.HYGON: (16, 4, 2),  # busy, no permission, not supported
    Vendor.CAMBRICON: (17, 13, 7),  # timed out, no permission, unknown
    Vendor.MTHREADS: (12, 11, 5),  # busy, timed out, no permission
}
GONE = {Vendor.HUAWEI: -8008, Vendor.HYGON: -1, Vendor.CAMBRICON: 18, Vendor.MTHREADS: 669}
NAMES = {
    Vendor.HUAWEI: ("BOARD-A", "BOARD-B"),
    Vendor.HYGON: ("000000000000000a", "000000000000000b"),
    Vendor.CAMBRICON: ("MLU-a", "MLU-b"),
    Vendor.MTHREADS: ("a", "b"),
}

Cards = Callable[[int, int], None]


@pytest.fixture
def cards(vendor: Vendor, tmp_path: Path) -> Cards:
    """Return what sets the statuses that both cards answer with; they are fine now."""

    def put(first: int, second: int) -> None:
        lines = zip((first, second), NAMES[vendor], strict=True)
        new = tmp_path / "cards.new"
        new.write_text("".join(f"{status} {name}\n" for status, name in lines))
        new.replace(tmp_path / "cards")

    (tmp_path / "odd.c").write_text(HEAD + SOURCES[vendor])
    library = str(tmp_path / LIBRARIES[vendor])
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "odd.c")], check=True)
    put(0, 0)
    return put


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that finds the library."""
    return environment(tmp_path, None) | {"HCS_TEST_CARDS": str(tmp_path / "cards")}


def wait_out(detector: SamplingProcess) -> None:
    """Wait for longer than any card may be silent; nothing is told meanwhile."""
    end_s = time.monotonic() + LOST_AFTER_S + 1
    while time.monotonic() < end_s:
        assert detector.wait() == []


def ids(detector: SamplingProcess) -> tuple[str, ...]:
    """Return the cards in the fingerprint."""
    return tuple(device.device_id for device in detector.scan())


@pytest.mark.parametrize("vendor", SOURCES)
def test_an_odd_answer_of_all_cards_at_once_takes_none_out_of_service(
    vendor: Vendor, cards: Cards, env: dict[str, str]
) -> None:
    with SamplingProcess(vendor, env) as detector:
        assert ids(detector) == NAMES[vendor]
        for status in ODD[vendor]:
            cards(status, status)
            assert ids(detector) == NAMES[vendor]
            assert detector.wait(0.05) == []
            cards(0, 0)
            assert detector.wait(1.1) == []  # long enough for another look
            assert ids(detector) == NAMES[vendor]


@pytest.mark.parametrize("vendor", SOURCES)
def test_one_look_at_which_all_cards_seem_gone_loses_none(
    vendor: Vendor, cards: Cards, env: dict[str, str]
) -> None:
    with SamplingProcess(vendor, env) as detector:
        assert ids(detector) == NAMES[vendor]
        cards(GONE[vendor], GONE[vendor])
        assert detector.wait(0.05) == []
        cards(0, 0)
        wait_out(detector)
        assert ids(detector) == NAMES[vendor]


@pytest.mark.parametrize("vendor", SOURCES)
def test_a_card_that_goes_on_answering_oddly_is_lost_and_its_neighbour_is_not(
    vendor: Vendor, cards: Cards, env: dict[str, str]
) -> None:
    with SamplingProcess(vendor, env) as detector:
        assert ids(detector) == NAMES[vendor]
        cards(ODD[vendor][0], 0)
        lost = detector.wait_until(lambda _: True)
        assert (lost.device_id, lost.code) == (NAMES[vendor][0], "lost")
        assert lost.state is FaultState.RAISED
        assert ids(detector) == NAMES[vendor][1:]
        cards(0, 0)
        back = detector.wait_until(lambda _: True)
        assert (back.device_id, back.code) == (NAMES[vendor][0], "lost")
        assert back.state is FaultState.CLEARED
        assert ids(detector) == NAMES[vendor]


@pytest.mark.parametrize("vendor", SOURCES)
def test_a_library_whose_cards_all_go_on_answering_oddly_is_broken(
    vendor: Vendor, cards: Cards, env: dict[str, str]
) -> None:
    status = ODD[vendor][0]
    with SamplingProcess(vendor, env) as detector:
        assert ids(detector) == NAMES[vendor]
        cards(status, status)
        with pytest.raises(AssertionError, match="LibraryBrokenError"):
            detector.wait_until(lambda _: True)
        assert detector.error_of("reopen") == "LibraryBrokenError"  # and not a node without cards
        cards(0, 0)
        detector.open()
        assert ids(detector) == NAMES[vendor]
        assert detector.wait(0.05) == []
