"""The cluster's certificates: made once per `HCS_HOME`, kept over `hcs down`, useless elsewhere.

Two authorities: etcd trusts only its own, so that a certificate which opens the API server never
opens its store. The directory is built beside its place and renamed, so it is whole or absent; it
is made anew when this module asks for other certificates than the ones it holds.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import trustme

from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE, write_private

CLUSTER_CA = "ca"
ETCD_CA = "etcd-ca"
FORMAT = 1  # grows when `_make` makes the same list in another way


@dataclass(frozen=True)
class Certificate:
    """One certificate: `identities` (subject alternative names) make it a server's."""

    name: str
    identities: tuple[str, ...] = ()
    common_name: str | None = None  # the user, to the API server
    organization: str | None = None  # the group, to the API server
    authority: str = CLUSTER_CA


_LOOPBACK = ("localhost", "127.0.0.1")
CERTIFICATES = (
    Certificate(
        "kube-apiserver",
        identities=(
            *_LOOPBACK,
            "10.0.0.1",  # the first address of the service range: `kubernetes.default.svc`
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ),
    ),
    Certificate(
        "kube-components", identities=_LOOPBACK
    ),  # scheduler's and controller-manager's health
    Certificate("extender-server", identities=_LOOPBACK),
    Certificate("webhook-server", identities=_LOOPBACK),
    Certificate("admin", common_name="kubernetes-admin", organization="system:masters"),
    Certificate("kube-scheduler", common_name="system:kube-scheduler"),
    Certificate("kube-controller-manager", common_name="system:kube-controller-manager"),
    Certificate("extender", common_name="hcs-extender"),
    Certificate("kwok", common_name="hcs-kwok"),
    Certificate("scheduler-to-extender", common_name="hcs-scheduler-to-extender"),
    # Only its key is used, to sign service account tokens.
    Certificate("service-account", common_name="service-account"),
    Certificate("etcd", identities=_LOOPBACK, authority=ETCD_CA),
    Certificate("etcd-client", common_name="kube-apiserver", authority=ETCD_CA),
)


@dataclass(frozen=True)
class Pki:
    """Where the certificates and keys lie."""

    directory: Path

    def certificate(self, name: str) -> Path:
        """Return the path of a certificate, or of an authority's."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return the path of a private key."""
        return self.directory / f"{name}.key"


def ensure(directory: Path) -> Pki:
    """Return the certificates, making all of them if they are missing or for another list."""
    pki = Pki(directory)
    if not _is_current(directory):
        _make(directory)
    return pki


def _fingerprint() -> str:
    return hashlib.sha256(repr((FORMAT, CERTIFICATES)).encode()).hexdigest()


def _is_current(directory: Path) -> bool:
    fingerprint = directory / "made-for"
    return fingerprint.is_file() and fingerprint.read_text() == _fingerprint()


def _make(directory: Path) -> None:
    building = directory.with_name(f"{directory.name}.new")
    for path in (building, directory):
        shutil.rmtree(path, ignore_errors=True)
    building.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True)
    authorities = {name: trustme.CA() for name in (CLUSTER_CA, ETCD_CA)}
    made = Pki(building)
    for name, authority in authorities.items():
        write_private(made.certificate(name), authority.cert_pem.bytes())
    for wanted in CERTIFICATES:
        leaf = authorities[wanted.authority].issue_cert(
            # Go refuses a certificate whose list of names is empty, even a client's.
            *(wanted.identities or (wanted.name,)),
            common_name=wanted.common_name,
            organization_name=wanted.organization,
        )
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        write_private(made.certificate(wanted.name), chain)
        write_private(made.key(wanted.name), leaf.private_key_pem.bytes())
    write_private(building / "made-for", _fingerprint().encode())
    building.rename(directory)
