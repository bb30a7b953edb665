"""The memory twin keeps the bus contract."""

import pytest

from hcs_bus.memory import MemoryBus, subject_matches
from hcs_bus.names import StreamSeq
from hcs_bus.port import Bus
from hcs_bus.subjects import FACTS_STREAM
from tests.support.bus_contract import BusContract


class TestMemoryBus(BusContract):
    """The contract, in memory."""

    @pytest.fixture
    def bus(self) -> MemoryBus:
        """Return an empty bus."""
        return MemoryBus()

    async def drop_oldest(self, bus: Bus, *, keep: int) -> None:
        """Drop all but the newest facts."""
        assert isinstance(bus, MemoryBus)
        state = await bus.stream_state(FACTS_STREAM)
        await bus.truncate(FACTS_STREAM, before=StreamSeq(state.last_seq - keep + 1))


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("hcs.fact.>", "hcs.fact.fault.a.fatal", True),
        ("hcs.fact.>", "hcs.fact", False),
        ("hcs.fact.allocation.*", "hcs.fact.allocation.a", True),
        ("hcs.fact.allocation.*", "hcs.fact.allocation.a.b", False),
        ("hcs.fact.allocation.*", "hcs.fact.fault.a", False),
    ],
)
def test_patterns_match_as_the_server_does(pattern: str, subject: str, expected: bool) -> None:
    assert subject_matches(pattern, subject) is expected
