"""What one look at a node shows to people."""

import msgspec
import pytest
from rich.console import Console

from hcs_bus.events import (
    DetectorReport,
    DetectorState,
    DeviceSample,
    Fingerprint,
    Link,
    RdmaNic,
    Samples,
)
from hcs_bus.names import DeviceId, LinkType, Vendor
from hcs_edge.cli.node_lines import card_lines, library_lines, nic_lines, now_table
from tests.support.detectors import fingerprint_of
from tests.support.every_kind import FINGERPRINT

CARD = fingerprint_of(0)
RICH_CARD = msgspec.structs.replace(FINGERPRINT.devices[0], links=())


def link(number: int, *, lanes: int = 12, latency_ns: int = 0) -> Link:
    """Return a link to `card-<number>`."""
    return Link(
        peer=DeviceId(f"card-{number}"),
        type=LinkType.NVLINK,
        lanes=lanes,
        bandwidth_gbytes_s=50.0 * lanes,
        latency_ns=latency_ns,
    )


def told(*links: Link) -> list[str]:
    """Return the lines about links of the first of four cards."""
    cards = [msgspec.structs.replace(CARD, links=links), *map(fingerprint_of, (1, 2, 3))]
    return [line for line in card_lines(cards) if line.startswith("  nvlink: ")]


def row(sample: DeviceSample | None, **changed: int | str) -> str:
    """Return a card's row of the table."""
    samples = None if sample is None else Samples(at_ns=1, interval_s=0, devices=(sample,))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(now_table([msgspec.structs.replace(RICH_CARD, **changed)], samples))
    return captured.get().splitlines()[1].strip()


def test_a_card_shows_everything_that_its_library_says() -> None:
    assert list(card_lines([RICH_CARD])) == [
        "",
        "nvidia 0: GPU-0",
        "  model: A100 SXM4 80GB",
        "  serial: 1324021045678",
        "  PCI: 0000:07:00.0, NUMA node 0",
        "  CPUs: 0-31,64-95",
        "  memory: 80 GiB, 2039 GB/s",
        "  compute: FP16 312 TFLOPS, FP32 19.5 TFLOPS, INT8 624 TOPS",
        "  matrix cores: 432",
        "  PCIe: generation 4, 16 lanes",
        "  driver: 570.124.06",
        "  library: 12.570.124.06",
        "  runtime: 12.8",
        "  firmware: 92.00.45.00.03",
    ]


def test_what_a_library_does_not_say_is_left_out() -> None:
    unknown = msgspec.structs.replace(
        CARD, numa_node=-1, memory_bandwidth_gbytes_s=0, fp16_gflops=0, fp32_gflops=0
    )
    assert list(card_lines([unknown])) == [
        "",
        "nvidia 0: card-0",
        "  model: A100 SXM4 80GB",
        "  PCI: 0000:00:00.0",
        "  memory: 80 GiB",
        "  driver: 550",
    ]


def test_links_that_differ_in_nothing_but_their_end_share_a_line() -> None:
    assert told(link(3), link(1), link(2, lanes=1, latency_ns=900)) == [
        "  nvlink: 12 lanes, 600 GB/s to each of 1 3",
        "  nvlink: 1 lane, 50 GB/s, 900 ns to 2",
    ]


def test_a_link_to_a_card_that_is_not_told_of_names_its_id() -> None:
    assert told(link(9)) == ["  nvlink: 12 lanes, 600 GB/s to card-9"]


def test_a_link_of_which_nothing_is_known_names_its_end() -> None:
    assert told(link(2, lanes=0)) == ["  nvlink: to 2"]


def test_libraries_and_network_cards_have_a_line_each() -> None:
    reports = (
        DetectorReport(vendor=Vendor.NVIDIA, state=DetectorState.OK),
        DetectorReport(vendor=Vendor.HUAWEI, state=DetectorState.ABSENT, detail="no libdcmi.so"),
    )
    nic = RdmaNic(
        name="mlx5_0",
        pci_address="0000:3b:00.0",
        numa_node=1,
        link_layer="InfiniBand",
        rate_gbps=100,
        up=False,
    )
    node = Fingerprint(at_ns=1, agent_version="1", detectors=reports, devices=(CARD,), nics=(nic,))
    assert list(library_lines(node)) == [
        "nvidia: ok, 1 card",
        "huawei: absent (no libdcmi.so), 0 cards",
    ]
    assert list(nic_lines(node.nics)) == [
        "mlx5_0: InfiniBand, 100 Gb/s, down, PCI 0000:3b:00.0, NUMA node 1"
    ]


@pytest.mark.parametrize(
    ("generation", "width", "best", "shown"),
    [
        (4, 16, (4, 16), "4x16"),
        (1, 8, (4, 16), "1x8 of 4x16"),
        (3, 8, (0, 0), "3x8"),
        (None, None, (4, 16), "4x16"),
        (None, None, (0, 16), "?x16"),
        (None, None, (0, 0), "-"),
    ],
)
def test_the_pcie_link_is_shown_as_it_is_and_as_it_could_be(
    generation: int | None, width: int | None, best: tuple[int, int], shown: str
) -> None:
    sample = DeviceSample(
        device_id=RICH_CARD.device_id, pcie_generation=generation, pcie_width=width
    )
    line = row(sample, pcie_generation_max=best[0], pcie_width_max=best[1])
    assert line.endswith(f"  {shown}")


def test_a_card_without_a_sample_has_a_row_of_dashes() -> None:
    assert row(None).split() == [
        *("nvidia", "0", "A100", "SXM4", "80GB", "-/80", "GiB", "-", "-", "-", "4x16")
    ]


def test_a_model_is_no_markup() -> None:
    assert " A[red]100 " in row(None, model="A[red]100")
