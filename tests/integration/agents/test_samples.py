"""What cards do, from the libraries to the bus, the metrics and the table for people."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_bus.events import DeviceSample, Fact, Fingerprint, Samples
from hcs_bus.jetstream import JetStreamBus
from tests.support.agent_process import COMMAND, AgentStarter, read_until
from tests.support.backend import Backend
from tests.support.simulated import CHECKOUT, environment
from tests.support.terminal import on_terminal
from tests.unit.agents.test_nics import add_nic

MakeNode = Callable[[str], ScenarioFile]
ONCE = (sys.executable, "-c", COMMAND, "agent", "--node", "n", "--once")
QUICK = ("--sample-interval-s", "0.2")
USED_BYTES = 3 * 1024**3


@pytest.fixture
def start(libraries: Path, backend: Backend, tmp_path: Path) -> AgentStarter:
    """Return what starts an agent on a node, with the same spool each time."""
    return AgentStarter(libraries, backend.nats_url, tmp_path)


def change(file: ScenarioFile, number: int, **fields: int) -> None:
    """Change a card."""

    def changed(scenario: Scenario) -> Scenario:
        devices = list(scenario.devices)
        devices[number] = msgspec.structs.replace(devices[number], **fields)
        return msgspec.structs.replace(scenario, devices=tuple(devices))

    file.update(changed)


def of_card(fact: Fact, card: str) -> DeviceSample | None:
    """Return what a fact says of a card."""
    devices = fact.devices if isinstance(fact, Samples) else ()
    return next((one for one in devices if one.device_id == card), None)


async def test_all_vendors_cards_are_in_one_fact(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("every-0")
    cards = [device.id for device in file.read().devices]
    for number in range(len(cards)):
        change(file, number, memory_used_bytes=USED_BYTES, temperature_c=50 + number)
    async with start(file, *QUICK):
        seen, _ = await read_until(
            bus, lambda fact: isinstance(fact, Samples) and len(fact.devices) == len(cards)
        )
    samples = seen[-1][1]
    assert isinstance(samples, Samples)
    assert samples.interval_s == 0.2
    assert [one.device_id for one in samples.devices] == cards
    assert [one.temperature_celsius for one in samples.devices] == [50 + n for n in range(10)]
    assert {one.vram_used_bytes for one in samples.devices} == {USED_BYTES}


async def test_counters_arrive_as_growth_and_add_up(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("a100-0")
    card = file.read().devices[0].id
    change(file, 0, pcie_replays=100)
    async with start(file, *QUICK) as agent:
        seen, after = await read_until(bus, lambda fact: of_card(fact, card) is not None)
        first = of_card(seen[-1][1], card)
        assert first is not None
        assert first.pcie_replays == 0, "nobody knows when those were"
        total = 0
        for count, grown in ((107, 7), (3, 3)):  # then a reset
            change(file, 0, pcie_replays=count)
            seen, after = await read_until(
                bus,
                lambda fact: (
                    (sample := of_card(fact, card)) is not None and sample.pcie_replays > 0
                ),
                after,
            )
            sample = of_card(seen[-1][1], card)
            assert sample is not None
            assert sample.pcie_replays == grown
            total += grown
        series = f'hcs_agent_device_pcie_replays_total{{device_id="{card}",index="0"'
        assert f'{series},vendor="nvidia"}} {total}.0' in await agent.get("/metrics")


async def test_a_card_that_is_gone_has_no_samples_and_no_series(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    first, second = (device.id for device in file.read().devices[:2])
    change(file, 0, utilization_percent=77)
    series = f'hcs_agent_device_utilization_percent{{device_id="{first}",index="0",vendor="nvidia"'
    async with start(file, *QUICK) as agent:
        _, after = await read_until(bus, lambda fact: of_card(fact, first) is not None)
        assert f"{series}}} 77.0" in await agent.get("/metrics")
        file.update(lambda scenario: operations.pull(scenario, 0))
        _, after = await read_until(
            bus, lambda fact: isinstance(fact, Fingerprint) and len(fact.devices) == 3, after
        )
        _, after = await read_until(
            bus,
            lambda fact: of_card(fact, second) is not None and of_card(fact, first) is None,
            after,
        )
        assert series not in await agent.get("/metrics")


async def test_a_node_without_cards_sends_no_samples(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    file.update(lambda scenario: msgspec.structs.replace(scenario, devices=(), links=()))
    async with start(file, *QUICK):
        heartbeats = 0

        def enough(fact: Fact) -> bool:
            nonlocal heartbeats
            heartbeats += type(fact).__name__ == "Heartbeat"
            return heartbeats == 5

        seen, _ = await read_until(bus, enough)
    assert not any(isinstance(fact, Samples) for _, fact in seen)


def once(libraries: Path, file: ScenarioFile, *options: str) -> str:
    """Return what `hcs agent --once` prints into a pipe, whose width nobody states."""
    env = environment(libraries, file.path)
    env.pop("COLUMNS", None)
    done = subprocess.run(
        [*ONCE, *options],
        cwd=CHECKOUT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_one_look_shows_people_what_each_card_does(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("a100-0")
    change(file, 0, memory_used_bytes=16 * 1024**3, temperature_c=61, utilization_percent=87)
    change(file, 0, pcie_generation=1, pcie_width=8)
    shown = once(libraries, file)
    assert "nvidia: ok, 8 cards" in shown
    (row,) = re.findall(r"(?m)^nvidia +0 .*$", shown)
    for cell in ("A100 SXM4 80GB", "64/80 GiB", "61 °C", "87 %", "1x8 of 4x16"):
        assert cell in row


def test_one_look_shows_people_what_each_card_is(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("every-0")
    shown = once(libraries, file)
    facts = json.loads(once(libraries, file, "--output", "json"))
    devices = msgspec.convert(facts["fingerprint"], Fingerprint).devices
    assert len(devices) == 10
    blocks = dict(re.findall(r"(?m)^[a-z]+ \d+: (\S+)\n((?:  .+\n)+)", shown))
    assert list(blocks) == [device.device_id for device in devices], "an ID was cut or folded"
    for device in devices:
        told = dict(line.strip().split(": ", 1) for line in blocks[device.device_id].splitlines())
        for name, said in {
            "model": device.model,
            "serial": device.serial,
            "CPUs": device.cpu_affinity,
            "driver": device.driver_version,
            "library": device.library_version,
            "runtime": device.runtime_version,
            "firmware": device.firmware_version,
        }.items():
            assert told.get(name, "") == said
        assert told["PCI"].startswith(device.pci_address)
        assert told["memory"].endswith(f", {device.memory_bandwidth_gbytes_s:g} GB/s")
        assert {link.type for link in device.links} <= told.keys()


def test_one_look_shows_people_the_network_cards(
    libraries: Path, node_of: MakeNode, tmp_path: Path
) -> None:
    add_nic(tmp_path, "mlx5_7", address="0000:17:00.0", layer="InfiniBand", numa="1")
    shown = once(libraries, node_of("mixed-0"), "--sysfs", str(tmp_path))
    assert "mlx5_7: InfiniBand, 400 Gb/s, up, PCI 0000:17:00.0, NUMA node 1\n" in shown


def test_one_look_shows_programs_the_facts(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("mixed-0")
    facts = json.loads(once(libraries, file, "--output", "json"))
    fingerprint = msgspec.convert(facts["fingerprint"], Fingerprint)
    samples = msgspec.convert(facts["samples"], Samples)
    cards = [device.id for device in file.read().devices]
    assert [one.device_id for one in fingerprint.devices] == cards
    assert [one.device_id for one in samples.devices] == cards


def test_one_look_at_a_card_that_hangs_ends_and_says_so(libraries: Path, node_of: MakeNode) -> None:
    file = node_of("mixed-0")
    change(file, 0, hangs=1)
    shown = once(libraries, file, "--call-timeout-s", "0.3")
    assert "nvidia: broken (no return from " in shown
    assert "huawei: ok, 2 cards" in shown


def test_one_look_tells_a_terminal_that_it_takes_a_while(
    libraries: Path, node_of: MakeNode
) -> None:
    file = node_of("mixed-0")
    ended = on_terminal(ONCE, environment(libraries, file.path))
    assert ended.returncode == 0, ended.screen
    assert "looking at this node's cards" in ended.screen
    assert ended.stdout == once(libraries, file)
