"""Whatever can happen to a card, from the vendor's library through the agent to the bus.

One agent per vendor, and everything happens to its two cards, as far as its library can tell: each
thing is on the stream with the right card and the right values, and once. All vendors' drivers are
restarted under one agent, for that takes a while.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from hcs_agents.counters import Growth
from hcs_agents.fault_catalogue import HANG, LOST, describe
from hcs_agents.simulation import operations
from hcs_agents.simulation.scenario import Scenario, ScenarioFile
from hcs_agents.simulation.sysfs import tree_of
from hcs_bus.events import DetectorState, DeviceSample, FaultState, Link, ThrottleReason
from hcs_bus.jetstream import JetStreamBus
from hcs_bus.names import DeviceId, LinkType, Vendor
from hcs_control.policy import load_policy
from tests.support.agent_process import AgentProcess, AgentStarter, Listener, listening
from tests.support.backend import Backend
from tests.support.folding import Folding

MakeNode = Callable[[str], ScenarioFile]
Change = Callable[[Scenario], Scenario]
Told = tuple[DeviceId, str, FaultState]
"""What a fault says: of which card, which code, that it begins or ends."""

QUICK = ("--sample-interval-s", "0.2", "--call-timeout-s", "1.5")
RAISED, CLEARED = FaultState.RAISED, FaultState.CLEARED
CORRECTED, UNCORRECTED, REPLAYS, LINK_ERRORS = 70, 3, 9, 5
CELSIUS, MEMORY_CELSIUS = 91, 97
SPEED_PERCENT = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What a vendor's library can tell, beside what all can."""

    vendor: Vendor
    lasting: tuple[str, ...]  # codes that are in force until they are cleared
    occurrences: tuple[str, ...] = ()  # codes that only happen
    ecc_faults: tuple[str, ...] = ()  # what counted memory errors are called
    throttle_reasons: tuple[ThrottleReason, ...] = ()  # of a card that is slow because it is hot
    measures_memory_heat: bool = True
    counts_wires: bool = True  # replays of PCIe, errors of the fabric


CASES = [
    Case(
        vendor=Vendor.NVIDIA,
        lasting=("48", "74", "79"),
        occurrences=("13", "31", "63", "94"),
        throttle_reasons=(ThrottleReason.THERMAL,),
    ),
    Case(vendor=Vendor.HUAWEI, lasting=("40F84E00", "80818C00", "80E18402")),
    Case(
        vendor=Vendor.HYGON,
        lasting=("DF_UE", "GFX_UE", "SDMA_UE", "UMC_UE"),
        ecc_faults=("UMC_UE",),
        throttle_reasons=(ThrottleReason.OTHER,),  # this library's bits are of unknown meaning
    ),
    Case(
        vendor=Vendor.CAMBRICON,
        lasting=("CNDEV_FR_DBE_VIOLATION", "CNDEV_FR_MLULINK_DOWN", "CNDEV_FR_TEMP_VIOLATION"),
        occurrences=("17", "1048576"),
        throttle_reasons=(ThrottleReason.THERMAL,),
    ),
    Case(
        vendor=Vendor.MTHREADS,
        lasting=("ECC_CORRECTED", "ECC_UNCORRECTED"),
        ecc_faults=("ECC_CORRECTED", "ECC_UNCORRECTED"),
        measures_memory_heat=False,
        counts_wires=False,
    ),
]


class Story:
    """One vendor's two cards, to which everything happens, and which faults that must give."""

    def __init__(
        self, case: Case, file: ScenarioFile, agent: AgentProcess, heard: Listener
    ) -> None:
        self._file = file
        self._agent = agent
        self._heard = heard
        self._devices = file.read().devices
        self._first, self._second = (
            number for number, device in enumerate(self._devices) if device.vendor is case.vendor
        )
        self.case = case
        self.faults: list[Told] = []  # that must have been told, and no others

    def card(self, number: int) -> DeviceId:
        """Return a card's name."""
        return DeviceId(self._devices[number].id)

    @property
    def cards(self) -> tuple[DeviceId, DeviceId]:
        """Return the names of both."""
        return self.card(self._first), self.card(self._second)

    async def everything(self) -> None:
        """Let it happen and wait until it is told: what leaves the cards there at the same time."""
        await self._heard.until(lambda: set(self.cards) <= self._heard.samples.keys(), "samples")
        links = self._links()
        assert all(links)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._codes())
            tasks.create_task(self._measured())
            tasks.create_task(self._counted())
            tasks.create_task(self._link())
        await self._lost()
        await self._hang()
        # Links are looked at seldom: waited for is the first look of the worker behind the hang.
        await self._heard.until(lambda: self._links() == links, "the link is up")

    async def _codes(self) -> None:
        """Faults of several codes, all in force at once, and their ends; then occurrences."""
        number, card = self._first, self.cards[0]
        for code in self.case.lasting:
            self._let(operations.raise_fault, number=number, code=code, at_ns=1)
        await self._expect((card, code, RAISED) for code in self.case.lasting)
        await self._shown(
            *(
                f'hcs_agent_device_fault{{code="{code}",device_id="{card}",'
                f'severity="{describe(self.case.vendor, code).severity}",'
                f'vendor="{self.case.vendor}"}} 1.0'
                for code in self.case.lasting
            )
        )
        self._let(operations.clear_faults, number=number, code=None, at_ns=2)
        await self._expect((card, code, CLEARED) for code in self.case.lasting)
        for code in self.case.occurrences:
            self._let(operations.raise_fault, number=number, code=code, at_ns=3)
        await self._expect((card, code, RAISED) for code in self.case.occurrences)
        shown = (await self._agent.get("/metrics")).splitlines()
        ours = [line for line in shown if line.startswith("hcs_agent_device_fault{")]
        assert [line for line in ours if card in line] == []

    async def _measured(self) -> None:
        """Heat, clocks and the PCIe link, at a moment and as they were again."""
        number, (neighbour, card) = self._second, self.cards
        usual, usual_neighbour = self._heard.samples[card], self._heard.samples[neighbour]
        self._let(
            operations.set_temperature,
            number=number,
            celsius=CELSIUS,
            memory_celsius=MEMORY_CELSIUS,
        )
        self._let(operations.set_pcie, number=number, generation=1, width=4)
        self._let(operations.set_speed, number=number, percent=SPEED_PERCENT, reason="thermal")
        await self._sampled(card, partial(self._is_troubled, usual), "heat, PCIe and clock")
        assert self._heard.samples[neighbour] == usual_neighbour
        clock_mhz = self._devices[number].core_clock_max_mhz * SPEED_PERCENT / 100
        labels = f'device_id="{card}",index="1",'
        vendor = f'vendor="{self.case.vendor}"'
        await self._shown(
            f"hcs_agent_device_pcie_generation{{{labels}{vendor}}} 1.0",
            f"hcs_agent_device_pcie_generation_max{{{labels}{vendor}}} 4.0",
            f"hcs_agent_device_pcie_width{{{labels}{vendor}}} 4.0",
            f"hcs_agent_device_core_clock_mhz{{{labels}{vendor}}} {clock_mhz:.1f}",
            *(
                f'hcs_agent_device_throttled{{{labels}reason="{reason}",{vendor}}} 1.0'
                for reason in self.case.throttle_reasons
            ),
        )
        before = self._devices[number]
        self._let(
            operations.set_temperature,
            number=number,
            celsius=before.temperature_c,
            memory_celsius=before.memory_temperature_c,
        )
        self._let(operations.reset_pcie, number=number)
        self._let(operations.set_speed, number=number, percent=100, reason="")
        await self._sampled(card, lambda sample: sample == usual, "all as before")

    def _is_troubled(self, usual: DeviceSample, sample: DeviceSample) -> bool:
        assert usual.core_clock_mhz is not None
        return (
            sample.temperature_celsius == CELSIUS
            and sample.memory_temperature_celsius
            == (MEMORY_CELSIUS if self.case.measures_memory_heat else None)
            and (sample.pcie_generation, sample.pcie_width) == (1, 4)
            and sample.core_clock_mhz == usual.core_clock_mhz * SPEED_PERCENT // 100
            and sample.throttle_reasons == self.case.throttle_reasons
        )

    async def _counted(self) -> None:
        """Memory errors, and packets sent again: their growth adds up to what happened."""
        number, card = self._second, self.cards[1]
        self._let(operations.count_ecc_errors, number=number, corrected=CORRECTED)
        self._let(operations.count_ecc_errors, number=number, uncorrected=UNCORRECTED)
        self._let(operations.set_pcie, number=number, replays=REPLAYS)
        await self._expect((card, code, RAISED) for code in self.case.ecc_faults)
        await self._heard.until(
            lambda: self._heard.grown[card] == self.counted(), "all errors, those of the link too"
        )

    def counted(self) -> Growth:
        """Return what must have been counted of the second card."""
        wires = self.case.counts_wires
        return Growth(
            ecc_corrected=CORRECTED,
            ecc_uncorrected=UNCORRECTED,
            pcie_replays=REPLAYS if wires else 0,
            link_errors=LINK_ERRORS if wires else 0,
        )

    async def _link(self) -> None:
        """The wire between the two, down and up again."""
        pair = {"a": self._first, "b": self._second}
        self._let(operations.set_link, **pair, up=False, errors=LINK_ERRORS)
        await self._heard.until(lambda: not any(self._links()), "the link is down")
        self._let(operations.set_link, **pair, up=True)

    def _links(self) -> list[tuple[Link, ...]]:
        """Return what wires each of the two: without their fabric they are left with PCIe."""
        devices = self._heard.devices()
        return [
            tuple(link for link in devices[card] if link.type is not LinkType.PCIE)
            for card in self.cards
        ]

    async def _lost(self) -> None:
        """A card that falls off the bus is a fault, and leaves the fingerprint till it is back."""
        card, everybody = self.cards[0], self._present()
        self._let(operations.pull, number=self._first)
        await self._expect([(card, LOST, RAISED)])
        await self._heard.until(lambda: self._present() == everybody - {card}, "it is gone")
        self._let(operations.plug, number=self._first)
        await self._expect([(card, LOST, CLEARED)])
        await self._heard.until(lambda: self._present() == everybody, "it is back")

    def _present(self) -> set[DeviceId]:
        return set(self._heard.devices())

    async def _hang(self) -> None:
        """A call that does not return makes a fault of every card that it may be about."""
        everybody = self._present()
        self._let(operations.set_hanging, number=self._second, hangs=True)
        await self._expect((card, HANG, RAISED) for card in self.cards)
        assert self._present() == everybody
        self._let(operations.set_hanging, number=self._second, hangs=False)
        await self._expect((card, HANG, CLEARED) for card in self.cards)
        await self._heard.until(
            lambda: self._heard.states()[self.case.vendor] is DetectorState.OK, "it works again"
        )
        await self._heard_more()

    # --- How -------------------------------------------------------------------------------------

    def _let(self, operation: Callable[..., Scenario], **arguments: object) -> None:
        self._file.update(lambda scenario: operation(scenario, **arguments))

    async def _expect(self, faults: Iterable[Told]) -> None:
        self.faults += faults
        wanted = set(self.faults)
        await self._heard.until(lambda: wanted <= set(told(self._heard)), str(self.faults[-3:]))

    async def _sampled(
        self, card: DeviceId, wanted: Callable[[DeviceSample], bool], what: str
    ) -> None:
        await self._heard.until(lambda: wanted(self._heard.samples[card]), what)

    async def _heard_more(self) -> None:
        """Let the agent look at all cards again: what it would tell twice it has told."""
        card = self.cards[1]
        enough = self._heard.samples_told[card] + 3
        await self._heard.until(lambda: self._heard.samples_told[card] >= enough, "more samples")

    async def _shown(self, *lines: str) -> None:
        """Prometheus is told the same."""
        shown = (await self._agent.get("/metrics")).splitlines()
        assert [line for line in lines if line not in shown] == []


def told(heard: Listener) -> list[Told]:
    """Return the faults that were told, in short."""
    return [(fault.device_id, fault.code, fault.state) for fault in heard.faults]


@pytest.fixture
def start(libraries: Path, backend: Backend, tmp_path: Path) -> AgentStarter:
    """Return what starts an agent on a node, with the same spool each time."""
    return AgentStarter(libraries, backend.nats_url, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=[case.vendor for case in CASES])
async def test_each_thing_that_happens_is_told_once(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode, case: Case
) -> None:
    file = node_of("every-0")
    sysfs = ("--sysfs", str(tree_of(file.path)))
    async with listening(bus) as heard, start(file, *QUICK, *sysfs) as agent:
        story = Story(case, file, agent, heard)
        await story.everything()
        await agent.end()
        await heard.to_the_end()
        assert sorted(told(heard)) == sorted(story.faults)
        for fault in heard.faults:
            meant = describe(case.vendor, fault.code)
            assert (fault.vendor, fault.name) == (case.vendor, meant.name)
            assert fault.severity is meant.severity
            assert fault.lasting == (fault.code not in case.occurrences)
        first, second = story.cards
        assert heard.grown[second] == story.counted()
        assert heard.grown[first].link_errors == story.counted().link_errors
        assert heard.grown[first].pcie_replays == 0
        others = heard.grown.keys() - {first, second}
        assert {heard.grown[card] for card in others} == {Growth()}


async def test_drivers_that_restart_lose_no_card_and_end_what_is_over(
    bus: JetStreamBus, start: AgentStarter, node_of: MakeNode
) -> None:
    file = node_of("every-0")
    devices = file.read().devices
    codes = {case.vendor: case.lasting[-1] for case in CASES}
    firsts = {number: codes[devices[number].vendor] for number in range(0, len(devices), 2)}
    cards = {number: (DeviceId(devices[number].id), code) for number, code in firsts.items()}
    async with listening(bus) as heard, start(file, *QUICK) as agent:
        await heard.until(lambda: len(heard.samples) == len(devices), "samples of all cards")
        for number, code in firsts.items():
            file.update(partial(operations.raise_fault, number=number, code=code, at_ns=1))
        raised = sorted((*fault, RAISED) for fault in cards.values())
        await heard.until(lambda: sorted(told(heard)) == raised, "all faults")
        for vendor in Vendor:
            file.update(partial(operations.set_driver, vendor=vendor, down=True))
        await heard.until(lambda: set(heard.states().values()) == {DetectorState.BROKEN}, "broken")
        assert sorted(told(heard)) == raised
        for number in firsts:
            file.update(partial(operations.clear_faults, number=number, code=None, at_ns=2))
        for vendor in Vendor:
            file.update(partial(operations.set_driver, vendor=vendor, down=False))
        cleared = sorted((*fault, CLEARED) for fault in cards.values())
        await heard.until(lambda: set(heard.states().values()) == {DetectorState.OK}, "back")
        await heard.until(lambda: set(cleared) <= set(told(heard)), "the end of all faults")
        await agent.end()
        await heard.to_the_end()
    assert sorted(told(heard)) == sorted(raised + cleared)
    assert heard.devices().keys() == {device.id for device in devices}
    folding = Folding(load_policy())
    for fact in heard.facts:
        folding.add(fact)
        assert all(row.present for row in folding.fleet.devices.values()), fact
