"""Pods on a real control plane, and what HCS made of them, read back from the API and from SQL."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from hcs_bus.names import DeviceId
from tests.support.local_cluster import DEADLINE_S, POLL_S, LocalCluster, eventually

CHECKOUT = Path(__file__).resolve().parents[2]
BASIC = CHECKOUT / "docs" / "examples" / "basic.yaml"

Json = dict[str, Any]


@dataclass(frozen=True)
class Workloads:
    """A cluster with HCS in it, as its users see it."""

    cluster: LocalCluster

    def sql(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """Run a query as the read-only user."""

        async def run() -> list[dict[str, Any]]:
            connection = await self._connect()
            try:
                return [dict(row) for row in await connection.fetch(query, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(run())

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return await asyncpg.connect(self.cluster.connection.database_url)
                except (OSError, asyncpg.CannotConnectNowError):  # killed, and coming back
                    await asyncio.sleep(POLL_S)

    def hcs(self, *arguments: str) -> str:
        """Run the `hcs` command and return what it prints."""
        done = self.try_hcs(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_hcs(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the `hcs` command, which may fail."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "hcs"), *arguments],
            env={"HCS_HOME": str(self.cluster.home.root), "PATH": "/usr/bin:/bin", "HOME": "/"},
            capture_output=True,
            text=True,
            check=False,
        )

    def create(self, manifest: Json | str) -> str:
        """Create one object, given as JSON or YAML, and return its name, e.g. "pod/basic-x7zk2"."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.cluster.kubectl("create", "-f", "-", "--output=name", text=text).strip()

    def pod(self, name: str) -> Json:
        """Return a Pod."""
        found: Json = json.loads(self.cluster.kubectl("get", name, "--output=json"))
        return found

    def bound(self, name: str) -> dict[str, str]:
        """Wait until a Pod has a node and return its annotations."""
        eventually(lambda: "nodeName" in self.pod(name)["spec"], deadline_s=40)
        annotations: dict[str, str] = self.pod(name)["metadata"]["annotations"]
        return annotations

    def create_basic(self) -> dict[str, str]:
        """Create the README's basic example, wait for its Binding and return its annotations."""
        manifest = BASIC.read_text().replace("name: basic", "generateName: basic-")
        return self.bound(self.create(manifest))

    def delete_all_pods(self) -> None:
        """Leave an empty cluster, with everything given back."""
        self.cluster.kubectl("delete", "pods,deployments", "--all", "--wait", "--grace-period=0")
        eventually(lambda: not self.sql("SELECT 1 FROM allocation WHERE state <> 'released'"))

    def health(self, device_id: str) -> str:
        """Return a card's health in the inventory."""
        [row] = self.sql("SELECT health FROM inventory WHERE device_id = $1", device_id)
        return str(row["health"])

    @contextmanager
    def faulty(self, device_id: DeviceId | str) -> Iterator[None]:
        """Raise a fault on a card while the block runs, and wait for both ends."""
        self.hcs("sim", "fault", device_id)
        eventually(lambda: self.health(device_id) == "isolated")
        try:
            yield
        finally:
            self.hcs("sim", "clear", device_id)
            eventually(lambda: self.health(device_id) == "healthy", deadline_s=60)


def pod(
    name: str, *, vram: str = "16Gi", tflops: str | None = None, node: str | None = None
) -> Json:
    """Return a Pod that asks for compute, on any node or on one."""
    requests = {"ai.compute/vram": vram}
    if tflops is not None:
        requests["ai.compute/tflops-fp16"] = tflops
    spec: Json = {
        "containers": [{"name": "main", "image": "none", "resources": {"requests": requests}}]
    }
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
