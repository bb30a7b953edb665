"""The two streams as HCS needs them.

What an operator has set beside that on a stream that exists (a larger limit, compression, where its
replicas are) stays: a projector that starts must not throw facts away by lowering a limit. When a
stream is full the oldest messages go; the projector stops at the gap, with its bounds.

How often the server syncs (`sync_interval`) is no property of a stream and is not told to clients;
it stands in the server's configuration (`hcs_edge/local/nats.py` for a cluster on one machine).
"""

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from hcs_bus.errors import ConfigError, TransientError
from hcs_bus.jetstream_connection import wrapped_errors
from hcs_bus.subjects import DECISIONS_STREAM, DECISIONS_SUBJECTS, FACTS_STREAM, FACTS_SUBJECTS

DUPLICATES_WINDOW_S = 120.0  # the server forgets ids after this; the fold's own check does not
# The oldest facts go first, and a projector that missed any stops. A node of 8 cards says 350 bytes
# a second (samples and heartbeats, every 10 s): this is 100 minutes of 1,000 nodes, 10 of 10,000.
FACTS_BYTES_MAX = 2 * 1024**3
DECISIONS_BYTES_MAX = 256 * 1024**2
UNLIMITED = -1

NAME_IN_USE = 10058  # err_code: the stream is there, with another configuration
# Err_codes of what no waiting helps against: a configuration that is not allowed, subjects that
# another stream has, replicas on a server without a cluster.
CONFIG_ERRORS = {10052, 10065, 10074}


def stream_configs(replicas: int, facts_bytes_max: int) -> list[StreamConfig]:
    """Return what a new stream gets."""

    def config(name: str, subjects: str, bytes_max: int) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=[subjects],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            max_bytes=bytes_max,
            duplicate_window=DUPLICATES_WINDOW_S,
            num_replicas=replicas,
        )

    return [
        config(FACTS_STREAM, FACTS_SUBJECTS, facts_bytes_max),
        config(DECISIONS_STREAM, DECISIONS_SUBJECTS, DECISIONS_BYTES_MAX),
    ]


async def ensure_streams(context: JetStreamContext, *, replicas: int, facts_bytes_max: int) -> None:
    """Create the streams, or bring those that exist up to date; the larger limit stays.

    Raises:
        ConfigError: the server can never have them so.
        TransientError: the server did not answer, JetStream is off, or has no room now.
    """
    for wanted in stream_configs(replicas, facts_bytes_max):
        with wrapped_errors():
            try:
                await _ensure(context, wanted)
            except nats.js.errors.APIError as error:
                message = f"stream {wanted.name}: {error.description}"
                if error.err_code in CONFIG_ERRORS:
                    raise ConfigError(message) from error
                raise TransientError(message) from error


async def _ensure(context: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        await context.add_stream(wanted)
    except nats.js.errors.APIError as error:
        if error.err_code != NAME_IN_USE:
            raise
        held = (await context.stream_info(str(wanted.name))).config
        await context.update_stream(
            held.evolve(
                subjects=wanted.subjects,
                discard=wanted.discard,
                duplicate_window=wanted.duplicate_window,
                num_replicas=wanted.num_replicas,
                max_bytes=_larger(held.max_bytes, wanted.max_bytes),
            )
        )


def _larger(held: int | None, wanted: int | None) -> int | None:
    if held is None or wanted is None or held == UNLIMITED:
        return held
    return max(held, wanted)
