"""What an agent says when the clock of its node is set."""

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from hcs_agents.agent import Agent, AgentSettings
from hcs_bus.memory import MemoryBus
from hcs_bus.names import NodeName
from tests.support.detectors import ScriptedDetector, ThreadWorkers, fingerprint_of
from tests.support.facts import SECOND, START_NS

HEARTBEAT_S = 0.01
DEADLINE_S = 20


class Clocks:
    """A node's two clocks: a heartbeat's look at them takes a second."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self._now_ns = 0

    def wall_ns(self) -> int:
        """Return the time."""
        return START_NS + self._now_ns + self.ahead_ns

    def monotonic_ns(self) -> int:
        """Return how long it has been; only heartbeats ask."""
        now_ns = self._now_ns
        self._now_ns += SECOND
        return now_ns

    async def pass_heartbeats(self, count: int) -> None:
        """Wait for so many looks at the clocks."""
        until_ns = self._now_ns + count * SECOND
        async with asyncio.timeout(DEADLINE_S):
            while self._now_ns < until_ns:
                await asyncio.sleep(HEARTBEAT_S)


async def test_a_clock_that_is_set_is_said_and_counted_once_each_time(tmp_path: Path) -> None:
    bus, clocks, detector = MemoryBus(), Clocks(), ScriptedDetector()
    detector.cards = (fingerprint_of(0),)

    async def connect() -> MemoryBus:
        return bus

    settings = AgentSettings(
        node=NodeName("node-1"),
        version="1.2.3",
        spool=tmp_path / "spool",
        socket=tmp_path / "quota.sock",
        heartbeat_interval_s=HEARTBEAT_S,
    )
    agent = Agent(
        settings,
        ThreadWorkers([detector]),
        connect=connect,
        clock_ns=clocks.wall_ns,
        monotonic_ns=clocks.monotonic_ns,
    )
    with capture_logs() as said:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(agent.run())
            for ahead_s in (0, 3_600, 0):  # somebody sets it an hour ahead, and back
                clocks.ahead_ns = ahead_s * SECOND
                await clocks.pass_heartbeats(3)
            task.cancel()
    warnings = [one for one in said if one["event"] == "clock_stepped"]
    assert [(one["log_level"], one["step_s"]) for one in warnings] == [
        ("warning", 3_600.0),
        ("warning", -3_600.0),
    ]
    assert agent.registry.get_sample_value("hcs_agent_clock_steps_total") == 2
