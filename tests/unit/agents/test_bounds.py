"""Whatever a driver says, an event can say: a field that cannot be true is unknown, no more."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_agents.detectors import bounds
from hcs_agents.detectors.port import Counters, DeviceProcess, Reading
from hcs_bus.events import DeviceFingerprint, DeviceSample, Fingerprint, Link, Samples
from hcs_bus.names import DeviceId, LinkType
from tests.support.detectors import fingerprint_of, reading_of

CARD = DeviceId("card-0")
NUMBERS = st.one_of(
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.sampled_from([32767, 65535, 2**31, 2**32 - 1, 2**63, 2**64 - 1, math.nan, math.inf, -275]),
)
SAMPLE_FIELDS = [
    name for name in DeviceSample.__struct_fields__ if name not in ("device_id", "throttle_reasons")
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("power_watts", math.nan),
        ("power_watts", math.inf),
        ("power_watts", -0.1),
        ("power_watts", 4_294_967.295),  # all ones, in milliwatts
        ("temperature_celsius", 32767),
        ("memory_temperature_celsius", -275),
        ("utilization_percent", 101),
        ("memory_utilization_percent", -1),
        ("core_clock_mhz", 65_535),
        ("memory_clock_mhz", 2**32 - 1),
        ("vram_used_bytes", 2**64 - 1),
        ("vram_used_bytes", -1),
        ("pcie_generation", 255),
        ("pcie_width", 65_535),
    ],
)
def test_an_impossible_value_is_unknown_and_leaves_the_others(field: str, value: float) -> None:
    good = reading_of(0, used_bytes=7)
    bad = Reading(sample=msgspec.structs.replace(good.sample, **{field: value}))
    (told,) = bounds.readings([bad])
    assert getattr(told.sample, field) is None
    assert msgspec.structs.replace(told.sample, **{field: None}) == msgspec.structs.replace(
        good.sample, **{field: None}
    )


def test_what_is_possible_is_left_as_it_is() -> None:
    extreme = DeviceSample(
        device_id=CARD,
        utilization_percent=100,
        power_watts=2_300,
        temperature_celsius=-40,
        core_clock_mhz=3_000,
        vram_used_bytes=288 * 1024**3,
        pcie_generation=7,
        pcie_width=32,
    )
    reading = Reading(sample=extreme, counters=Counters(ecc_corrected=2**53 - 1, link_errors=0))
    assert bounds.readings([reading]) == (reading,)
    assert bounds.fingerprints([fingerprint_of(0)]) == (fingerprint_of(0),)


def test_a_counter_that_no_card_can_have_reached_is_not_counted() -> None:
    counters = Counters(ecc_corrected=2**64 - 1, pcie_replays=-1, link_errors=3)
    (told,) = bounds.readings([Reading(sample=reading_of(0).sample, counters=counters)])
    assert told.counters == Counters(link_errors=3)


@pytest.mark.parametrize("name", ["", "x" * 129])
def test_a_card_without_a_usable_name_is_left_out(name: str) -> None:
    card = msgspec.structs.replace(fingerprint_of(0), device_id=DeviceId(name))
    assert bounds.fingerprints([card, fingerprint_of(1)]) == (fingerprint_of(1),)
    sample = msgspec.structs.replace(reading_of(0).sample, device_id=DeviceId(name))
    assert bounds.readings([Reading(sample=sample), reading_of(1)]) == (reading_of(1),)


@pytest.mark.parametrize(
    ("field", "value", "unknown"),
    [
        ("numa_node", -7, -1),
        ("numa_node", 2**31, -1),
        ("vram_bytes", 2**64 - 1, 0),
        ("memory_bandwidth_gbytes_s", math.nan, 0),
        ("matrix_cores", -432, 0),
        ("pcie_width_max", 255, 0),
        ("serial", "x" * 254, ""),
        ("driver_version", "\0", ""),
    ],
)
def test_a_fingerprints_impossible_fact_is_one_that_nobody_knows(
    field: str, value: float | str, unknown: float | str
) -> None:
    bad = msgspec.structs.replace(fingerprint_of(0), **{field: value})
    expected = msgspec.structs.replace(fingerprint_of(0), **{field: unknown})
    assert bounds.fingerprints([bad]) == (expected,)


def test_an_impossible_link_is_no_link() -> None:
    good = Link(peer=DeviceId("card-1"), type=LinkType.NVLINK, lanes=12, bandwidth_gbytes_s=600)
    bad = [
        msgspec.structs.replace(good, lanes=-1),
        msgspec.structs.replace(good, bandwidth_gbytes_s=math.inf),
        msgspec.structs.replace(good, peer=DeviceId("")),
    ]
    (told,) = bounds.fingerprints([msgspec.structs.replace(fingerprint_of(0), links=(*bad, good))])
    assert told.links == (good,)


def test_a_process_without_a_number_is_none_and_memory_that_cannot_be_is_unknown() -> None:
    found = [DeviceProcess(device_id=CARD, pid=pid, used_bytes=5) for pid in (0, -1, 2**32 - 1, 7)]
    wild = DeviceProcess(device_id=CARD, pid=8, used_bytes=2**64 - 1)
    assert bounds.processes([*found, wild]) == (
        DeviceProcess(device_id=CARD, pid=7, used_bytes=5),
        DeviceProcess(device_id=CARD, pid=8),
    )


@given(st.dictionaries(st.sampled_from(SAMPLE_FIELDS), NUMBERS))
def test_every_sample_can_be_sent_and_read(values: dict[str, float]) -> None:
    wild = Reading(sample=DeviceSample(device_id=CARD, **values))  # type: ignore[arg-type]  # all are numbers
    told = tuple(reading.sample for reading in bounds.readings([wild]))
    samples = Samples(at_ns=1, interval_s=1, devices=told)
    assert msgspec.json.decode(msgspec.json.encode(samples), type=Samples) == samples


@given(
    st.dictionaries(
        st.sampled_from(
            [
                name
                for name, value in msgspec.structs.asdict(fingerprint_of(0)).items()
                if isinstance(value, int | float) and name != "index"
            ]
        ),
        NUMBERS,
    )
)
def test_every_fingerprint_can_be_sent_and_read(values: dict[str, float]) -> None:
    wild: DeviceFingerprint = msgspec.structs.replace(fingerprint_of(0), **values)
    told = Fingerprint(
        at_ns=1, agent_version="1", detectors=(), devices=bounds.fingerprints([wild])
    )
    assert len(told.devices) == 1
    assert msgspec.json.decode(msgspec.json.encode(told), type=Fingerprint) == told
