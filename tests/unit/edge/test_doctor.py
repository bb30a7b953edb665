"""What `hcs doctor` says of this machine, and of one where things are missing."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

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


def test_an_absent_vendor_library_is_no_failure() -> None:
    _, findings = examined()
    assert not findings["libdcmi.so"].required
