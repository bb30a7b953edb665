"""A fuzzer of our own, with a seed, so that a failure comes again: what can be put in our way.

The environment, the ledger's file, and what an agent says. What arrives at the agent is fuzzed from
its side in `tests/unit/quota/test_wire.py`; here, that it reads what the C side lays out, field by
field.
"""

import random
import subprocess
from pathlib import Path

import pytest

from hcs_agents.quota import wire
from hcs_bus.names import DeviceId, PodUid
from tests.support.interceptor import PROGRAMS, SANITIZE, SOURCES, compile_c

SEEDS = (1, 2)
ENVIRONMENTS = 100_000  # of each seed
LEDGERS = 5_000
PACKETS = 100_000
MESSAGES = 500


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the programs of this module, and return where they lie."""
    out = tmp_path_factory.mktemp("fuzzers")
    parts = [str(SOURCES / f"{part}.c") for part in ("cards", "debug", "process")]
    compile_c(out / "interceptor", str(PROGRAMS / "fuzz_interceptor.c"), *parts, *SANITIZE)
    parts = [
        str(SOURCES / f"{part}.c") for part in ("config", "debug", "ledger", "lock", "process")
    ]
    compile_c(out / "agent", str(PROGRAMS / "fuzz_agent.c"), *parts, *SANITIZE)
    compile_c(out / "wire", str(PROGRAMS / "wire_write.c"), *SANITIZE)
    return out


def fuzz(
    fuzzers: Path, *arguments: str | int | Path, program: str = "interceptor"
) -> tuple[int, int]:
    """Return how many cases there were, and how many of them were accepted."""
    done = subprocess.run(
        [str(fuzzers / program), *map(str, arguments)],
        env={"ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{arguments}\n{done.stderr}"
    cases, accepted = map(int, done.stdout.split())
    return cases, accepted


@pytest.mark.parametrize("seed", SEEDS)
def test_no_environment_makes_the_interceptor_stray(fuzzers: Path, seed: int) -> None:
    cases, accepted = fuzz(fuzzers, "environment", seed, ENVIRONMENTS)
    assert cases == ENVIRONMENTS
    assert 0.02 * cases < accepted < 0.5 * cases  # it tries good and bad ones


@pytest.mark.parametrize("seed", SEEDS)
def test_no_ledger_makes_the_interceptor_stray(fuzzers: Path, tmp_path: Path, seed: int) -> None:
    cases, accepted = fuzz(fuzzers, "ledger", seed, LEDGERS, tmp_path)
    assert cases == LEDGERS
    assert 0.5 * cases < accepted < 0.95 * cases
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_no_agent_makes_the_interceptor_stray(fuzzers: Path, seed: int) -> None:
    packets, believed = fuzz(fuzzers, seed, PACKETS, program="agent")
    assert packets == PACKETS
    assert 0.3 * packets < believed < 0.7 * packets


def _word(choice: random.Random, length_max: int) -> str:
    alphabet = "ABCxyz0189._:/-"
    return "".join(choice.choices(alphabet, k=choice.randint(1, length_max)))


def _messages(choice: random.Random) -> tuple[wire.Hello, wire.Usage]:
    def number() -> int:
        return choice.getrandbits(choice.randint(0, 63))

    count = choice.randint(1, wire.DEVICES_MAX)
    hello = wire.Hello(
        lost=choice.getrandbits(32),
        pid=choice.getrandbits(31),
        epoch_ns=choice.getrandbits(64),
        process=choice.getrandbits(64),
        pod_uid=PodUid(_word(choice, wire.POD_UID_BYTES - 1)),
        container=_word(choice, wire.CONTAINER_BYTES - 1),
        devices=tuple(
            wire.DeviceQuota(
                device_id=DeviceId(_word(choice, wire.DEVICE_ID_BYTES - 1)), quota_bytes=number()
            )
            for _ in range(count)
        ),
    )
    usage = wire.Usage(
        lost=choice.getrandbits(32),
        epoch_ns=choice.getrandbits(64),
        revision=choice.getrandbits(64),
        launches=number(),
        devices=tuple(
            wire.DeviceUsage(used_bytes=number(), peak_bytes=number(), refusals=number())
            for _ in range(count)
        ),
    )
    return hello, usage


def test_python_reads_whatever_c_writes(fuzzers: Path) -> None:
    choice = random.Random(1)
    expected: list[wire.Hello | wire.Usage] = []
    lines = []
    for _ in range(MESSAGES):
        hello, usage = _messages(choice)
        expected += [hello, usage]
        quotas = [f"{device.device_id} {device.quota_bytes}" for device in hello.devices]
        used = [f"{card.used_bytes} {card.peak_bytes} {card.refusals}" for card in usage.devices]
        lines += [
            f"hello {hello.lost} {hello.pid} {hello.epoch_ns} {hello.process} {hello.pod_uid}"
            f" {hello.container} {len(quotas)} {' '.join(quotas)}",
            f"usage {usage.lost} {usage.epoch_ns} {usage.revision} {usage.launches}"
            f" {len(used)} {' '.join(used)}",
        ]
    done = subprocess.run(
        [str(fuzzers / "wire")], input="\n".join(lines).encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    raw, read = done.stdout, []
    while raw:
        size = wire.HEADER.unpack_from(raw)[3]
        read.append(wire.decode(raw[:size]))
        raw = raw[size:]
    assert read == expected
