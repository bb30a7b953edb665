"""A person's word: published on the bus, and followed until the projection has folded it.

The bus is the only way in: what an operator decides is a fact like any other, with who and why, and
a replay decides the same. So a command says it, waits until the projection stands there, and then
reads what came of it. A word that was said stays said, also when nobody is there to fold it now.
"""

import getpass
import time
import uuid

import click

from hcs_bus import jetstream
from hcs_bus.envelope import Message, decode_envelope, decode_fact, encode_fact
from hcs_bus.errors import ConfigError, PoisonEventError, TransientError
from hcs_bus.events import Operator, PolicyDocument
from hcs_bus.names import NodeName, StreamSeq
from hcs_bus.port import Bus, PublishAck, PublishRefused
from hcs_control.store.readmodel import await_position, parked_reason
from hcs_edge.cli.runtime import CommandFailedError
from hcs_edge.cli.tables import waiting

SOURCE = "/hcs/operator"
PUBLISH_TRIES_MAX = 2  # under one id, so it counts once; each waits for an acknowledgement


def login_name() -> str | None:
    """Return who runs the command; none where the account has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


WHY = click.option("--why", required=True, help="The reason, kept with the decision.")
WHO = click.option(
    "--who",
    required=True,
    default=login_name,
    show_default="the login name",
    help="Who decides this.",
)
WAIT = click.option(
    "--wait-s",
    type=click.FloatRange(min=0, max=600),
    default=10.0,
    show_default=True,
    help="How long to wait for the projection, in seconds.",
)


async def say(
    fact: Operator | PolicyDocument,
    *,
    node: NodeName,
    nats_url: str,
    database_url: str,
    wait_s: float,
) -> StreamSeq:
    """Publish a fact and return its position once it is folded.

    Raises:
        ConfigError: it would never be accepted; nothing was published.
        CommandFailedError: it was refused, or is not folded after `wait_s`.
        BusError: the bus did not take it.
        StoreUnavailableError: it is published, but what came of it cannot be read.
    """
    message = encode(fact, node=node)
    bus = await jetstream.connect(nats_url, name="operator")
    try:
        seq = await _publish(bus, message)
    finally:
        await bus.close()
    with waiting(f"waiting until the projection stands at {seq}"):
        position = await await_position(database_url, seq, timeout_s=wait_s)
    if position < seq:
        raise CommandFailedError(
            f"said at position {seq} of the log, but the projection stands at {position} after "
            f"{wait_s:g} s: does the projector run? It counts as soon as it is folded"
        )
    reason = await parked_reason(database_url, seq)
    if reason is not None:
        raise CommandFailedError(f"refused at position {seq} of the log: {reason}")
    return seq


def encode(fact: Operator | PolicyDocument, *, node: NodeName) -> Message:
    """Return a fact as it goes over the wire.

    Raises:
        ConfigError: a field is not as the projector wants it.
    """
    event_id = f"operator/{uuid.uuid4().hex}"
    message = encode_fact(fact, node=node, event_id=event_id, source=SOURCE)
    try:
        decode_fact(decode_envelope(message.payload))
    except PoisonEventError as error:
        raise ConfigError(str(error)) from error
    return message


def now_ns() -> int:
    """Return when something is said."""
    return time.time_ns()


async def _publish(bus: Bus, message: Message) -> StreamSeq:
    for _ in range(PUBLISH_TRIES_MAX):
        [result] = await bus.publish_many([message])
        if isinstance(result, PublishAck):
            return result.seq
        if isinstance(result, PublishRefused):
            raise CommandFailedError(f"the bus refuses {message.subject}: {result.reason}")
    raise TransientError(
        f"the bus does not acknowledge {message.subject}: whether it has it is unknown, "
        "and its user may have no right to say this"
    )
