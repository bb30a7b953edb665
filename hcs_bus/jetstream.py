"""The bus on NATS JetStream. Nobody but this module and its `jetstream_*` parts imports `nats`."""

from collections.abc import Sequence

import nats.js.errors

from hcs_bus.envelope import Message
from hcs_bus.errors import BusError, ConflictError, TransientError
from hcs_bus.jetstream_connection import Connection, wrapped_errors
from hcs_bus.jetstream_follower import JetStreamFollower
from hcs_bus.jetstream_publisher import WindowedPublisher, results
from hcs_bus.jetstream_streams import FACTS_BYTES_MAX, ensure_streams
from hcs_bus.names import StreamSeq
from hcs_bus.port import PublishAck, PublishRefused, PublishResult, StreamState

WRONG_LAST_SEQUENCE = 10071  # err_code of a failed Nats-Expected-Last-Subject-Sequence


class JetStreamBus:
    """The port on a NATS connection; make one with `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._publisher = WindowedPublisher(connection)

    async def ensure_streams(
        self, *, replicas: int = 1, facts_bytes_max: int = FACTS_BYTES_MAX
    ) -> None:
        """Create the streams, or bring their configuration up to date; no limit is lowered.

        Raises:
            ConfigError: the server can never have them so.
            TransientError: the server did not answer, JetStream is off, or has no room now.
        """
        await ensure_streams(
            self._connection.context, replicas=replicas, facts_bytes_max=facts_bytes_max
        )

    async def publish_many(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Publish with a bounded number of acknowledgements in flight; see the port."""
        return results(messages, await self._publisher.send(messages))

    async def append(
        self, message: Message, *, subjects: str, expected_seq: StreamSeq
    ) -> StreamSeq:
        """Publish under the server's own comparison; see the port."""
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(expected_seq),
            "Nats-Expected-Last-Subject-Sequence-Subject": subjects,
        }
        [outcome] = await self._publisher.send([message], headers=headers)
        if isinstance(outcome, PublishAck):
            return outcome.seq
        problem = f"{message.subject}: {outcome.reason}"
        if isinstance(outcome, PublishRefused):
            raise BusError(problem)
        if outcome.err_code == WRONG_LAST_SEQUENCE:
            raise ConflictError(problem)
        raise TransientError(problem)

    async def follow(
        self, stream: str, *, after: StreamSeq, subjects: Sequence[str] = ()
    ) -> JetStreamFollower:
        """Read from behind `after`; see the port."""
        return JetStreamFollower(self._connection, stream, after, subjects)

    async def last_seq(self, stream: str, subjects: str) -> StreamSeq:
        """Ask the server for the last matching message; see the port."""
        with wrapped_errors():
            try:
                message = await self._connection.context.get_last_msg(stream, subjects)
            except nats.js.errors.NotFoundError:
                return StreamSeq(0)
        return StreamSeq(message.seq or 0)

    async def stream_state(self, stream: str) -> StreamState:
        """Ask the server; see the port."""
        with wrapped_errors():
            state = (await self._connection.context.stream_info(stream)).state
        return StreamState(first_seq=StreamSeq(state.first_seq), last_seq=StreamSeq(state.last_seq))

    async def close(self) -> None:
        """Disconnect. Nothing is pending: every publish has waited for its acknowledgement."""
        await self._connection.close()


async def connect(url: str, *, name: str) -> JetStreamBus:
    """Connect, and stay connected: lost connections are re-made for ever.

    Raises:
        TransientError: no server at `url` in time.
    """
    connection = Connection(url, name=name)
    await connection.open()
    return JetStreamBus(connection)
