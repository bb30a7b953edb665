"""Arbitrary scenarios for property tests."""

import string

from hypothesis import strategies as st

from hcs_agents.simulation.scenario import (
    INT64_MAX,
    UINT32_MAX,
    Scenario,
    SimDevice,
    SimEvent,
    SimFault,
    SimLink,
)
from hcs_bus.events import FaultState
from hcs_bus.names import LinkType, NodeName, Vendor

VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))
WORDS = st.text(VISIBLE, min_size=1, max_size=95)
TEXTS = st.text(VISIBLE + " ", max_size=95).map(str.strip)
CODES = st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=47)
PCI = st.builds(
    "{:04x}:{:02x}:{:02x}.{:x}".format,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 0x1F),
    st.integers(0, 7),
)
DEVICES = st.builds(
    SimDevice,
    vendor=st.sampled_from(Vendor),
    model=TEXTS,
    id=WORDS,
    pci=PCI,
    numa=st.integers(-1, 1023),
    vram_bytes=st.integers(0, INT64_MAX),
    memory_used_bytes=st.integers(0, INT64_MAX),
    temperature_c=st.integers(-273, 1000),
    power_mw=st.integers(0, UINT32_MAX),
    present=st.integers(0, 1),
    recovery_action=st.integers(0, UINT32_MAX),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Return a node with up to six cards, links between them, events and faults."""
    devices = tuple(draw(st.lists(DEVICES, max_size=6, unique_by=lambda one: one.pci)))
    numbers = range(len(devices))
    pairs = [(a, b) for a in numbers for b in numbers if a < b]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    types = st.sampled_from([one for one in LinkType if one is not LinkType.PCIE])
    touched = st.sampled_from(numbers) if devices else st.nothing()
    faults = draw(st.lists(st.tuples(touched, CODES), unique=True, max_size=5)) if devices else []
    said = draw(st.lists(st.tuples(touched, CODES), max_size=5)) if devices else []
    first = draw(st.integers(1, 10**12))
    return Scenario(
        node=NodeName(draw(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True))),
        generation=draw(st.integers(0, INT64_MAX)),
        nvidia_driver=draw(TEXTS),
        ascend_driver=draw(TEXTS),
        hygon_driver=draw(TEXTS),
        cambricon_driver=draw(TEXTS),
        mthreads_driver=draw(TEXTS),
        rocm_smi_wide=draw(st.integers(0, 1)),
        devices=devices,
        links=tuple(
            SimLink(
                a=a,
                b=b,
                type=draw(types),
                lanes=draw(st.integers(0, UINT32_MAX)),
                up=draw(st.integers(0, 1)),
            )
            for a, b in chosen
        ),
        events=tuple(
            SimEvent(
                number=first + place,
                device=device,
                code=code,
                state=draw(st.sampled_from(FaultState)),
                at_ns=draw(st.integers(0, INT64_MAX)),
            )
            for place, (device, code) in enumerate(said)
        ),
        faults=tuple(
            SimFault(device=device, code=code, count=draw(st.integers(1, INT64_MAX)))
            for device, code in faults
        ),
    )
