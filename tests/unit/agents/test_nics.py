"""RDMA network cards, read from a tree with the kernel's own layout."""

from pathlib import Path

import pytest

from hcs_agents.nics import rdma_nics
from hcs_bus.events import RdmaNic


def add_nic(
    root: Path,
    name: str,
    *,
    address: str = "0000:17:00.0",
    layer: str = "InfiniBand",
    rate: str = "400 Gb/sec (4X NDR)",
    state: str = "4: ACTIVE",
    numa: str = "0",
) -> Path:
    """Make a card as the kernel shows it, and return its directory."""
    device = root / "devices" / "pci0000:16" / "0000:16:01.0" / address
    entry = device / "infiniband" / name
    port = entry / "ports" / "1"
    port.mkdir(parents=True)
    (device / "numa_node").write_text(f"{numa}\n")
    (entry / "device").symlink_to("../..")
    for file, text in (("link_layer", layer), ("rate", rate), ("state", state)):
        (port / file).write_text(f"{text}\n")
    listed = root / "class" / "infiniband"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / name).symlink_to(entry)
    return entry


def test_a_node_without_the_class_has_none(tmp_path: Path) -> None:
    assert rdma_nics(tmp_path) == ()


def test_both_kinds_of_fabric_are_read_and_sorted_by_name(tmp_path: Path) -> None:
    add_nic(
        tmp_path,
        "mlx5_1",
        address="0000:b1:00.1",
        layer="Ethernet",
        rate="2.5 Gb/sec (1X SDR)",
        state="1: DOWN",
        numa="1",
    )
    add_nic(tmp_path, "mlx5_0")
    assert rdma_nics(tmp_path) == (
        RdmaNic(
            name="mlx5_0",
            pci_address="0000:17:00.0",
            numa_node=0,
            link_layer="InfiniBand",
            rate_gbps=400,
            up=True,
        ),
        RdmaNic(
            name="mlx5_1",
            pci_address="0000:b1:00.1",
            numa_node=1,
            link_layer="Ethernet",
            rate_gbps=2.5,
            up=False,
        ),
    )


def test_a_platform_that_does_not_say_where_is_no_error(tmp_path: Path) -> None:
    add_nic(tmp_path, "mlx5_0", numa="-1")
    assert [nic.numa_node for nic in rdma_nics(tmp_path)] == [-1]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("ports/1/rate", None),
        ("ports/1/rate", ""),
        ("ports/1/rate", "fast"),
        ("ports/1/rate", "-1 Gb/sec"),
        ("ports/1/link_layer", None),
        ("ports/1/state", None),
        ("device", None),
        ("../../numa_node", "none"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_the_others_stay(
    tmp_path: Path, file: str, text: str | None
) -> None:
    add_nic(tmp_path, "mlx5_0")
    broken = add_nic(tmp_path, "mlx5_1", address="0000:b1:00.0") / file
    broken.unlink()
    if text is not None:
        broken.write_text(text)
    assert [nic.name for nic in rdma_nics(tmp_path)] == ["mlx5_0"]


def test_a_card_in_software_is_none(tmp_path: Path) -> None:
    add_nic(tmp_path, "rxe0", address="net0")
    assert rdma_nics(tmp_path) == ()
