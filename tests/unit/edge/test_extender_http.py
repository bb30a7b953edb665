"""Who may use the extender's verbs."""

from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from hcs_edge.extender.http import SCHEDULER_COMMON_NAME, refuse_stranger
from hcs_edge.local.pki import CERTIFICATES

Peer = dict[str, Any] | None


def asked_by(peer: Peer) -> web.Request:
    """Return a request over a connection whose peer has shown this certificate."""
    transport = Mock()
    transport.get_extra_info.side_effect = {"peercert": peer}.get
    return make_mocked_request("POST", "/bind", transport=transport)


def certificate(*names: str) -> Peer:
    """Return a certificate as the TLS layer tells of it."""
    organization = (("organizationName", SCHEDULER_COMMON_NAME),)
    return {"subject": (organization, *((("commonName", name),) for name in names))}


def test_the_scheduler_may() -> None:
    assert refuse_stranger(asked_by(certificate(SCHEDULER_COMMON_NAME))) is None


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (None, 401),
        ({}, 401),
        (certificate(), 403),
        (certificate("hcs-kwok"), 403),
        (certificate(SCHEDULER_COMMON_NAME + "x"), 403),
        (certificate("hcs-kwok", SCHEDULER_COMMON_NAME), 403),
    ],
)
def test_nobody_else_may(peer: Peer, status: int) -> None:
    refusal = refuse_stranger(asked_by(peer))
    assert refusal is not None
    assert refusal.status == status


def test_the_local_clusters_scheduler_has_that_name() -> None:
    [made] = [made for made in CERTIFICATES if made.name == "scheduler-to-extender"]
    assert made.common_name == SCHEDULER_COMMON_NAME
