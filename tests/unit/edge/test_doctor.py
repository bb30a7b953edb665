"""What `hcs doctor` says of this machine, and of one where things are missing."""

import subprocess
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from click.testing import CliRunner

from hcs_agents.detectors import (
    cambricon_abi,
    huawei_abi,
    hygon_abi,
    hygon_kfd,
    mthreads_abi,
    pci,
)
from hcs_bus.names import Vendor
from hcs_edge.cli.doctor import Finding, doctor
from hcs_edge.local import nats
from hcs_edge.local.errors import LocalClusterError


def examined() -> tuple[int, dict[str, Finding]]:
    """Return the exit code and the findings by what they need."""
    done = CliRunner().invoke(doctor, ["--output", "json"])
    findings = msgspec.json.decode(done.stdout, type=list[Finding])
    return done.exit_code, {finding.needs: finding for finding in findings}


def test_a_prepared_machine_has_what_a_local_cluster_needs() -> None:
    exit_code, findings = examined()
    assert [f.needs for f in findings.values() if f.required and not f.found] == []
    assert exit_code == 0
    assert Path(findings["nats-server"].detail).exists()


def test_a_missing_program_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise LocalClusterError("run `make up`")

    monkeypatch.setattr(nats, "server_program", missing)
    exit_code, findings = examined()
    assert exit_code == 1
    assert not findings["nats-server"].found
    assert findings["nats-server"].detail == "run `make up`"


def test_an_absent_vendor_library_is_no_failure_and_all_its_places_are_named() -> None:
    _, findings = examined()
    finding = findings["libdcmi.so"]
    assert not finding.required and not finding.found
    assert finding.detail == f"not found: {', '.join(huawei_abi.LIBRARIES)}"


@pytest.mark.parametrize(
    ("abi", "needs"),
    [
        (huawei_abi, "libdcmi.so"),
        (hygon_abi, "librocm_smi64.so.2"),
        (cambricon_abi, "libcndev.so"),
        (mthreads_abi, "libmtml.so.2"),
    ],
)
def test_a_library_outside_of_the_linkers_path_is_found_where_the_agent_finds_it(
    abi: ModuleType, needs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "lib.so"  # it has no soname, so that no other test finds it by name
    subprocess.run(["cc", "-shared", "-x", "c", "/dev/null", "-o", str(library)], check=True)
    monkeypatch.setattr(abi, "LIBRARIES", (needs, str(tmp_path / "none.so"), str(library)))
    exit_code, findings = examined()
    assert exit_code == 0
    assert findings[needs].found
    assert findings[needs].detail == f"{library} loads"


def test_a_library_that_does_not_load_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "lib.so"
    library.write_text("no library")
    monkeypatch.setattr(huawei_abi, "LIBRARIES", ("libdcmi.so", str(library)))
    _, findings = examined()
    assert not findings["libdcmi.so"].found
    assert findings["libdcmi.so"].detail.startswith(f"is there and does not load: {library}: ")


def test_hygon_cards_are_seen_through_the_kernel_where_their_library_is_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pci, "SYSFS", tmp_path)
    _, findings = examined()
    assert not findings["librocm_smi64.so.2"].found
    card = tmp_path / hygon_kfd.NODES / "1"
    card.mkdir(parents=True)
    hygon = pci.VENDORS[Vendor.HYGON]
    (card / "properties").write_text(f"simd_count 480\nvendor_id {hygon}\nunique_id 7\n")
    _, findings = examined()
    assert findings["librocm_smi64.so.2"].found
    assert "the kernel tells of the cards" in findings["librocm_smi64.so.2"].detail


def test_a_path_is_shown_to_its_end_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    _, findings = examined()
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(doctor).stdout
    last_cells = [line.split("│")[-2].strip() for line in shown.splitlines() if "│" in line]
    assert findings["PostgreSQL"].detail in "".join(last_cells)
