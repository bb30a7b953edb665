"""The ordered pull consumer: a hole in what the server delivers is asked for again."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

from nats.js.api import ConsumerConfig

from hcs_bus.jetstream import JetStreamFollower
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import FACTS_STREAM


def delivery(consumer: int, stream: int) -> SimpleNamespace:
    """Return a message as the client hands it out."""
    sequence = SimpleNamespace(consumer=consumer, stream=stream)
    return SimpleNamespace(subject="s", data=b"", metadata=SimpleNamespace(sequence=sequence))


@dataclass
class Subscription:
    """Delivers what it was given, at once."""

    batches: list[list[SimpleNamespace]]

    async def fetch(self, _limit: int, *, timeout: float) -> list[SimpleNamespace]:
        """Return the next batch."""
        del timeout
        return self.batches.pop(0)

    async def unsubscribe(self) -> None:
        """Forget it."""


class Server:
    """Makes consumers; each delivers the next of the given lists of batches."""

    def __init__(self, *consumers: Iterable[list[SimpleNamespace]]) -> None:
        self.consumers = [Subscription(list(batches)) for batches in consumers]
        self.starts: list[int | None] = []

    async def add_consumer(self, _stream: str, config: ConsumerConfig) -> SimpleNamespace:
        """Note where the consumer starts."""
        self.starts.append(config.opt_start_seq)
        return SimpleNamespace(name=f"c{len(self.starts)}")

    async def pull_subscribe_bind(self, *, consumer: str, stream: str) -> Subscription:
        """Return the next consumer."""
        del consumer, stream
        return self.consumers.pop(0)


async def test_a_hole_is_asked_for_again_from_the_last_record_handed_out() -> None:
    server = Server(
        [[delivery(1, 10), delivery(3, 12)]],  # the second was lost with a connection
        [[delivery(1, 11), delivery(2, 12)]],
    )
    follower = JetStreamFollower(server, FACTS_STREAM, StreamSeq(9), ())  # type: ignore[arg-type]  # a stand-in
    seqs: list[int] = []
    while len(seqs) < 3:
        seqs += [record.seq for record in await follower.fetch(limit=10, timeout_s=1)]
    assert seqs == [10, 11, 12]
    assert server.starts == [10, 11]
