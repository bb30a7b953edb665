"""What watching a node of eight cards costs, by vendor: CPU time and memory of all its processes.

A real `hcs agent` with its workers, a simulated node, a real nats-server; the intervals are the
defaults. CPU time is the kernel's own count for every thread. The baseline in the same run: the
same calls into the same library (scans, samples and waits as often as the agent makes them) by one
bare Python process, which is what any monitor in Python would pay. The libraries are simulated, so
what a real driver takes inside a call is in neither figure.

    make bench BENCH=agent
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcs_agents.agent import AgentSettings
from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_agents.watcher import WAIT_S
from hcs_bus.names import NodeName, Vendor
from tests.support.agent_process import COMMAND, free_port
from tests.support.backend import Backend, start_backend, stop_backend
from tests.support.simulated import (
    CHECKOUT,
    LIBRARIES,
    UNIFORM_NODES,
    _detector,
    build_libraries,
    environment,
)

ROUNDS = 3  # of the sampling interval
SETTLE_S = 4.0  # from the start to the first measured moment
SETTINGS = AgentSettings(node=NodeName("bench"), version="0", spool=Path(), socket=Path())
ROUND_S = SETTINGS.sample_interval_s
NANOSECONDS_PER_MILLISECOND = 1e6
KIB_PER_MB = 1024


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for one in found:
        with_children = Path(f"/proc/{one}/task/{one}/children")
        found += map(int, with_children.read_text().split())
    return found


def cpu_ms(pids: list[int]) -> float:
    """Return the CPU time of processes, as the scheduler counts it."""
    total_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / NANOSECONDS_PER_MILLISECOND


def memory_mb(pids: list[int], kind: str) -> float:
    """Return a kind of memory of processes together: `Rss` counts shared pages once per process."""
    total_kib = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total_kib / KIB_PER_MB


@contextmanager
def running(arguments: list[str], env: dict[str, str]) -> Iterator[int]:
    """Run a Python program; yield its process id."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=CHECKOUT, env=env, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def measure(pid: int) -> tuple[float, list[int]]:
    """Return the CPU time of one round, and the processes it was spent in."""
    time.sleep(SETTLE_S)
    pids = family(pid)
    before_ms = cpu_ms(pids)
    time.sleep(ROUNDS * ROUND_S)
    return (cpu_ms(pids) - before_ms) / ROUNDS, pids


def figures(vendor: Vendor, root: Path, libraries: Path, backend: Backend) -> dict[str, float]:
    """Return the figures of one vendor."""
    node = next(one for one in default_fleet() if one.node == UNIFORM_NODES[vendor])
    file = ScenarioFile(root / f"{node.node}.ini")
    file.write(node)
    installed = root / f"lib-{vendor}"  # a node has the library of its own vendor only
    installed.mkdir()
    (installed / LIBRARIES[vendor]).symlink_to(libraries / LIBRARIES[vendor])
    env = environment(installed, file.path) | {"HCS_NATS_URL": backend.nats_url}
    options = ["--node", str(node.node), "--listen", f"127.0.0.1:{free_port()}"]
    paths = ["--spool", str(root / f"spool-{vendor}"), "--socket", str(root / f"{vendor}.sock")]
    with running(["-c", COMMAND, "agent", *options, *paths], env) as pid:
        agent_ms, pids = measure(pid)
        rss_mb, pss_mb = memory_mb(pids, "Rss"), memory_mb(pids, "Pss")
    with running(["-m", "tests.bench.agent", vendor], env) as pid:
        bare_ms, pids = measure(pid)
        bare_mb = memory_mb(pids, "Pss")
    return {
        "cpu_ms_per_round": round(agent_ms, 1),
        "cpu_percent": round(agent_ms / (ROUND_S * 10), 2),
        "bare_calls_ms_per_round": round(bare_ms, 1),
        "ratio_to_bare_calls": round(agent_ms / bare_ms, 2),
        "rss_mb": round(rss_mb, 1),
        "pss_mb": round(pss_mb, 1),
        "bare_pss_mb": round(bare_mb, 1),
    }


def call_bare(vendor: Vendor) -> None:
    """Make the agent's calls into a vendor's library, and nothing else, until killed."""
    detector = _detector(vendor)
    detector.open()
    scan_at_s = sample_at_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        if now_s >= scan_at_s:
            detector.fingerprint()
            scan_at_s = now_s + SETTINGS.scan_interval_s
        if now_s >= sample_at_s:
            detector.sample()
            sample_at_s = now_s + SETTINGS.sample_interval_s
        detector.wait_faults(WAIT_S)


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    libraries = build_libraries()
    backend = start_backend(root)
    result: dict[str, object] = {"bench": "agent", "cards": 8, "round_s": ROUND_S}
    try:
        asyncio.run(_make_streams(backend))
        for vendor in Vendor:
            found = figures(vendor, root, libraries, backend)
            result |= {f"{vendor}_{key}": value for key, value in found.items()}
            print(vendor, found, file=sys.stderr)
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(result))


async def _make_streams(backend: Backend) -> None:
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    await bus.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        call_bare(Vendor(sys.argv[1]))
    else:
        main()
