"""A container gets exactly the memory its Pod asked for, and SQL says so while it runs.

KWOK starts no containers, so the test does what the kubelet would: it resolves the environment of
the bound Pod and runs a program in it. Only the places of files differ from a real node's.
"""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.interceptor import (
    ACL_OUT_OF_MEMORY,
    ACL_PADDING_BYTES,
    CAMBRICON_OUT_OF_MEMORY,
    CUDA_GRANULARITY_BYTES,
    CUDA_OUT_OF_MEMORY,
    DEVICES_MAX,
    HIP_GRANULARITY_BYTES,
    INTERCEPTOR,
    MIB,
    PROGRAMS,
    SIMULATED,
    Program,
    build_libraries,
    compile_c,
    link,
)
from tests.support.local_cluster import DEADLINE_S, eventually
from tests.support.workloads import Json, Workloads, pod

QUOTA_BYTES = 1024 * MIB
CHARGE_BYTES = 64 * MIB  # of each block that the programs allocate
BLOCKS = QUOTA_BYTES // CHARGE_BYTES
ANNOTATION = "metadata.annotations['"


@dataclass(frozen=True)
class Runtime:
    """One vendor's runtime: a node that has it, and how its memory behaves."""

    node: str
    card: str  # the whole of one card, as a quantity
    define: str
    library: str
    out_of_memory: int
    block_bytes: int  # charged as `CHARGE_BYTES`, for the runtime makes it larger


RUNTIMES = [
    Runtime(
        node="a100-0",
        card="80Gi",
        define='-DRUNTIME="runtime_cuda.h"',
        library="libcuda.so.1",
        out_of_memory=CUDA_OUT_OF_MEMORY,
        block_bytes=CHARGE_BYTES - CUDA_GRANULARITY_BYTES + 1,  # rounded up
    ),
    Runtime(
        node="ascend-0",
        card="64Gi",
        define='-DRUNTIME="runtime_acl.h"',
        library="libascendcl.so",
        out_of_memory=ACL_OUT_OF_MEMORY,
        block_bytes=CHARGE_BYTES - ACL_PADDING_BYTES,  # padded
    ),
    Runtime(
        node="hygon-0",
        card="64Gi",
        define='-DRUNTIME="runtime_hip.h"',
        library="libamdhip64.so",
        out_of_memory=CUDA_OUT_OF_MEMORY,
        block_bytes=CHARGE_BYTES - HIP_GRANULARITY_BYTES + 1,  # rounded up
    ),
    Runtime(
        node="cambricon-0",
        card="48Gi",
        define='-DRUNTIME="runtime_cnrt.h"',
        library="libcnrt.so",
        out_of_memory=CAMBRICON_OUT_OF_MEMORY,
        block_bytes=CHARGE_BYTES,
    ),
    Runtime(
        node="mthreads-0",
        card="48Gi",
        define='-DRUNTIME="runtime_musart.h"',
        library="libmusart.so",
        out_of_memory=CUDA_OUT_OF_MEMORY,
        block_bytes=CHARGE_BYTES - CUDA_GRANULARITY_BYTES + 1,  # rounded up
    ),
]


@dataclass(frozen=True)
class Container:
    """The one container of a bound Pod, and the program in it."""

    workloads: Workloads
    runtime: Runtime
    program: Path
    pod: Json

    @property
    def uid(self) -> str:
        """The Pod's UID."""
        return str(self.pod["metadata"]["uid"])

    @property
    def device_id(self) -> str:
        """The card that the Binding brought."""
        return str(self.pod["metadata"]["annotations"]["hcs.io/devices"])

    @property
    def scenario(self) -> Path:
        """The node's simulated hardware."""
        return self.workloads.cluster.home.scenarios / f"{self.runtime.node}.ini"

    def environment(self) -> dict[str, str]:
        """Return what the kubelet would give, but for the places of files."""
        [container] = self.pod["spec"]["containers"]
        given = {item["name"]: self._resolve(item) for item in container["env"]}
        assert given["LD_PRELOAD"].endswith("/libhcs_interceptor.so")
        return given | {
            "LD_PRELOAD": str(INTERCEPTOR),
            "HCS_AGENT_SOCKET": str(
                self.workloads.cluster.home.sockets / f"{self.runtime.node}.sock"
            ),
            "LD_LIBRARY_PATH": str(SIMULATED),
            "HCS_SIM_SCENARIO": str(self.scenario),
        }

    def _resolve(self, item: Json) -> str:
        if "value" in item:
            return str(item["value"])
        path: str = item["valueFrom"]["fieldRef"]["fieldPath"]
        if path == "metadata.uid":
            return self.uid
        assert path.startswith(ANNOTATION), path
        # The kubelet takes a missing annotation for an empty one.
        key = path.removeprefix(ANNOTATION).removesuffix("']")
        return str(self.pod["metadata"]["annotations"].get(key, ""))

    @contextmanager
    def run(self) -> Iterator[Program]:
        """Run the program; it has chosen its first card."""
        with subprocess.Popen(
            [str(self.program)],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Program(process).begin()
            finally:
                process.kill()

    def usage(self) -> dict[str, Any] | None:
        """Return the container's row of `quota_usage`, if there is one."""
        rows = self.workloads.sql(
            "SELECT container, device_id, node_name, quota_bytes, used_bytes, peak_bytes, "
            "refusals, processes FROM quota_usage WHERE pod_uid = $1",
            self.uid,
        )
        assert len(rows) <= 1
        return rows[0] if rows else None

    def wait_for_usage(self, **expected: int) -> dict[str, Any]:
        """Wait until the row says this and return it."""
        eventually(lambda: expected.items() <= (self.usage() or {}).items())
        return self.usage() or {}

    def device_index(self) -> int:
        """Return the card's number on its node."""
        [row] = self.workloads.sql(
            "SELECT device_index FROM device WHERE device_id = $1", self.device_id
        )
        return int(row["device_index"])

    def card_peak_bytes(self) -> int:
        """Return the most that the card ever had allocated, by the card's own books."""
        books = self.scenario.with_name(self.scenario.name + ".memory").read_bytes()
        return int(struct.unpack_from(f"={DEVICES_MAX}Q", books, 8)[self.device_index()])


@pytest.fixture(params=RUNTIMES, ids=lambda runtime: runtime.node)
def container(
    request: pytest.FixtureRequest, workloads: Workloads, tmp_path: Path
) -> Iterator[Container]:
    """Bind a Pod to the second card of a node: its program must not find its way by chance."""
    runtime: Runtime = request.param
    build_libraries()
    program = compile_c(
        tmp_path / "program", str(PROGRAMS / "commands.c"), runtime.define, link(runtime.library)
    )
    workloads.bound(workloads.create(pod("first", vram=runtime.card, node=runtime.node)))
    name = workloads.create(pod("quota", vram="1Gi", node=runtime.node))
    workloads.bound(name)
    made = Container(workloads, runtime, program, workloads.pod(name))
    assert made.device_index() == 1
    yield made
    # A real container's /dev/shm goes with it.
    for ledger in Path("/dev/shm").glob(f"hcs-{made.uid}-*"):  # noqa: S108  # where the library keeps it
        ledger.unlink()


def test_a_program_is_stopped_at_its_quota_and_sql_shows_it(container: Container) -> None:
    runtime = container.runtime
    with container.run() as program:
        assert program.ask(f"fill {runtime.block_bytes}") == [runtime.out_of_memory, BLOCKS]
        assert program.ask("alloc 1")[0] == runtime.out_of_memory
        row = container.wait_for_usage(used_bytes=QUOTA_BYTES, refusals=2)
        assert row == {
            "container": "main",
            "device_id": container.device_id,
            "node_name": runtime.node,
            "quota_bytes": QUOTA_BYTES,
            "used_bytes": QUOTA_BYTES,
            "peak_bytes": QUOTA_BYTES,
            "refusals": 2,
            "processes": 1,
        }
        assert container.card_peak_bytes() == QUOTA_BYTES
        assert program.close() == 0
    ended = container.wait_for_usage(used_bytes=0, processes=0)
    assert (ended["peak_bytes"], ended["refusals"]) == (QUOTA_BYTES, 2)


def test_the_usage_goes_with_the_pod(container: Container) -> None:
    with container.run() as program:
        program.ask(f"alloc {container.runtime.block_bytes}")
        container.wait_for_usage(used_bytes=CHARGE_BYTES)
    container.wait_for_usage(used_bytes=0)
    container.workloads.delete_all_pods()
    assert container.usage() is None
    rows = container.workloads.sql("SELECT state FROM allocation WHERE pod_uid = $1", container.uid)
    assert [row["state"] for row in rows] == ["released"]


def test_processes_of_one_container_share_its_quota_to_the_byte(container: Container) -> None:
    runtime = container.runtime
    with container.run() as first, container.run() as second:
        for _ in range(BLOCKS // 4):
            assert first.ask(f"alloc {runtime.block_bytes}")[0] == 0
        assert second.ask(f"fill {runtime.block_bytes}") == [
            runtime.out_of_memory,
            BLOCKS - BLOCKS // 4,
        ]
        assert first.ask("alloc 1")[0] == runtime.out_of_memory
        container.wait_for_usage(used_bytes=QUOTA_BYTES, refusals=2, processes=2)
        assert container.card_peak_bytes() == QUOTA_BYTES
        second.kill()
        left_bytes = BLOCKS // 4 * CHARGE_BYTES
        container.wait_for_usage(used_bytes=left_bytes, peak_bytes=QUOTA_BYTES, processes=1)
        # What the killed one had is the other's to take.
        assert first.ask(f"fill {runtime.block_bytes}") == [
            runtime.out_of_memory,
            BLOCKS - BLOCKS // 4,
        ]
    container.wait_for_usage(used_bytes=0, processes=0)


@contextmanager
def top(workloads: Workloads) -> Iterator[Iterator[list[Json]]]:
    """Watch the cluster with `hcs top`; give what it shows, look by look."""
    with subprocess.Popen(
        [
            *(str(Path(sys.executable).parent / "hcs"), "top", "--watch"),
            *("--interval-s", "0.1", "--output", "json"),
        ],
        env={"HCS_HOME": str(workloads.cluster.home.root), "PATH": "/usr/bin:/bin", "HOME": "/"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()


def test_top_shows_the_programs_of_a_container_live(container: Container) -> None:
    runtime = container.runtime
    with top(container.workloads) as looks, container.run() as first, container.run() as second:

        def shows(**expected: object) -> Json:
            """Look until the container is as expected."""
            deadline_s = time.monotonic() + DEADLINE_S
            for rows in looks:
                assert time.monotonic() < deadline_s
                for row in rows:
                    if row["pod_uid"] == container.uid and expected.items() <= row.items():
                        return row
            raise AssertionError("hcs top has ended")

        assert first.ask(f"alloc {runtime.block_bytes}")[0] == 0
        row = shows(used_bytes=CHARGE_BYTES, processes=1, refusals=0)
        assert (row["namespace"], row["pod_name"], row["container"]) == ("default", "quota", "main")
        assert (row["node_name"], row["device_id"]) == (runtime.node, container.device_id)
        assert (row["quota_bytes"], row["enforced"]) == (QUOTA_BYTES, True)
        assert second.ask(f"fill {runtime.block_bytes}") == [runtime.out_of_memory, BLOCKS - 1]
        shows(used_bytes=QUOTA_BYTES, peak_bytes=QUOTA_BYTES, processes=2, refusals=1)
        second.kill()
        shows(used_bytes=CHARGE_BYTES, peak_bytes=QUOTA_BYTES, processes=1)
        assert first.close() == 0
        shows(used_bytes=0, peak_bytes=QUOTA_BYTES, processes=0)
