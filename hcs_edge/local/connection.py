"""How to reach the running cluster: `HCS_HOME/connection.json`, written last by `hcs up`.

It holds what people need and no more: a bus user that may only read, one that may also say what an
operator decides, a database user that may only select, and the administrator's kubeconfig. Its
absence means that no cluster is up.
"""

import msgspec

from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import write_private
from hcs_edge.local.home import Home


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of one local cluster."""

    nats_url: str  # user `reader`: consumes both streams, publishes nothing
    operator_nats_url: str  # user `operator`: reads, and publishes what people decide
    database_url: str  # user `hcs_read`: selects, changes nothing; as libpq and asyncpg read it
    kubeconfig: str
    ports: dict[str, int]
    nodes: list[str]  # the simulated nodes


def save(home: Home, connection: Connection) -> None:
    """Write the file; it holds passwords."""
    write_private(home.connection, msgspec.json.format(msgspec.json.encode(connection)))


def load(home: Home) -> Connection:
    """Read the file.

    Raises:
        LocalClusterError: no cluster is up in this `HCS_HOME`, or one of another release.
    """
    try:
        return msgspec.json.decode(home.connection.read_bytes(), type=Connection)
    except FileNotFoundError:
        raise LocalClusterError(
            f"no cluster is up in {home.root}: `hcs up` (or `make up`) starts one; "
            "HCS_HOME chooses another"
        ) from None
    except msgspec.DecodeError as error:
        raise LocalClusterError(
            f"{home.connection} is of another release ({error}): `hcs down`, then `hcs up`"
        ) from error
