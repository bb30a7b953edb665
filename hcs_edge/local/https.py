"""Asks a program of the cluster over HTTPS whether it is ready."""

import http.client
import ssl

from hcs_edge.local.pki import CLUSTER_CA, Pki
from hcs_edge.local.ports import LOOPBACK

ANSWER_TIMEOUT_S = 2.0


def is_ready(
    pki: Pki,
    port: int,
    path: str,
    *,
    client: str | None = None,
    authority: str = CLUSTER_CA,
) -> bool:
    """Return whether `https://127.0.0.1:<port><path>` answers 200 to the named client."""
    context = ssl.create_default_context(cafile=pki.certificate(authority))
    if client is not None:
        context.load_cert_chain(pki.certificate(client), pki.key(client))
    connection = http.client.HTTPSConnection(
        LOOPBACK, port, timeout=ANSWER_TIMEOUT_S, context=context
    )
    return _answers_200(connection, path)


def is_ready_plain(port: int, path: str) -> bool:
    """Return whether `http://127.0.0.1:<port><path>` answers 200."""
    return _answers_200(http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_TIMEOUT_S), path)


def _answers_200(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
