"""The certificates: private, complete, kept, and made anew when their list changes."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from hcs_edge.local import pki


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.ensure(tmp_path_factory.mktemp("home") / "pki")


def _decoded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _organization(path: Path) -> str:
    [attribute] = _decoded(path).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(attribute.value)


def _names(path: Path) -> set[str]:
    extension = _decoded(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


def test_nobody_else_may_read_the_keys(made: pki.Pki) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700


def test_every_certificate_fits_its_key(made: pki.Pki) -> None:
    for wanted in pki.CERTIFICATES:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(made.certificate(wanted.name), made.key(wanted.name))


def test_the_api_server_is_reached_by_all_its_names(made: pki.Pki) -> None:
    names = _names(made.certificate("kube-apiserver"))
    assert {"localhost", "127.0.0.1", "10.0.0.1", "kubernetes.default.svc"} <= names


def test_the_administrator_is_in_the_group_of_masters(made: pki.Pki) -> None:
    assert _organization(made.certificate("admin")) == "system:masters"


def test_only_the_administrator_is_in_the_group_of_masters(made: pki.Pki) -> None:
    masters = [
        wanted.name
        for wanted in pki.CERTIFICATES
        if _organization(made.certificate(wanted.name)) == "system:masters"
    ]
    assert masters == ["admin"]


def test_a_client_certificate_has_a_name_because_go_refuses_an_empty_list(made: pki.Pki) -> None:
    for wanted in pki.CERTIFICATES:
        assert _names(made.certificate(wanted.name))


def test_etcd_trusts_no_certificate_of_the_api_servers_clients(made: pki.Pki) -> None:
    assert (
        made.certificate(pki.ETCD_CA).read_bytes() != made.certificate(pki.CLUSTER_CA).read_bytes()
    )
    etcd = {wanted.name for wanted in pki.CERTIFICATES if wanted.authority == pki.ETCD_CA}
    assert etcd == {"etcd", "etcd-client"}


def test_certificates_are_kept(made: pki.Pki) -> None:
    before = made.key("admin").read_bytes()
    assert pki.ensure(made.directory).key("admin").read_bytes() == before


def test_certificates_are_made_anew_for_another_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pki, "CERTIFICATES", (pki.Certificate("one", common_name="one"),))
    first = pki.ensure(tmp_path / "pki")
    monkeypatch.setattr(pki, "CERTIFICATES", (pki.Certificate("two", common_name="two"),))
    second = pki.ensure(tmp_path / "pki")
    assert second.key("two").exists()
    assert not first.key("one").exists()


def test_a_half_made_directory_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_text("half")
    made = pki.ensure(tmp_path / "pki")
    assert b"BEGIN CERTIFICATE" in made.certificate(pki.CLUSTER_CA).read_bytes()
