"""`hcs doctor`: what is here, what is missing, and which feature misses it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.table import Table

from hcs_agents.detectors import cambricon_abi, huawei_abi, hygon_abi, mthreads_abi, nvidia, pci
from hcs_agents.detectors.hygon_kfd import KfdTopology
from hcs_agents.detectors.port import LibraryBrokenError, LibraryMissingError, load_library
from hcs_edge.cli.options import OUTPUT
from hcs_edge.cli.runtime import EXIT_FAILED
from hcs_edge.cli.tables import show
from hcs_edge.local import nats, postgres, programs
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import checkout

CONTAINER_ENGINE_TIMEOUT_S = 5.0
ENGINE_OK = " answers"
OWN_ENGINE_NEEDS = ("dockerd", "unshare", "apt-get")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a feature needs."""

    feature: str
    needs: str
    found: bool
    required: bool  # for `hcs up` and the tests; the others are for features of their own
    detail: str  # where it is, or what to do


def examine() -> Iterator[Finding]:
    """Look at everything, what a local cluster needs first."""
    yield _located("local cluster", "nats-server", nats.server_program)
    yield _located("local cluster", "PostgreSQL", lambda: postgres.programs() / "postgres")
    for name in ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kwok"):
        yield _located("local cluster", name, partial(programs.program, name))
    yield _located("trying things out", "kubectl", partial(programs.program, "kubectl"))
    if os.geteuid() == 0:
        yield _on_path("NATS and PostgreSQL when started by root", "setpriv", "install util-linux")
    yield _on_path("building the C libraries", "cc", "install gcc and the C library's headers")
    yield _on_path("building the C libraries", "make", "install make")
    for name in ("sim/libnvidia-ml.so.1", "interceptor/libhcs_interceptor.so"):
        yield _located("simulated cards, quotas", name, partial(_built, name))
    yield _library("NVIDIA cards", (nvidia.LIBRARY,))
    yield _library("Huawei Ascend cards", huawei_abi.LIBRARIES)
    yield _hygon_library()
    yield _library("Cambricon cards", cambricon_abi.LIBRARIES)
    yield _library("Moore Threads cards", mthreads_abi.LIBRARIES)
    yield _container_engine()


def _located(feature: str, needs: str, find: Callable[[], Path]) -> Finding:
    try:
        path = find()
    except LocalClusterError as error:
        return Finding(feature=feature, needs=needs, found=False, required=True, detail=str(error))
    return Finding(feature=feature, needs=needs, found=True, required=True, detail=str(path))


def _built(name: str) -> Path:
    path = checkout() / "c" / "build" / name
    if not path.exists():
        raise LocalClusterError("not built: run `make up`, or `make -C c`")
    return path


def _on_path(feature: str, program: str, remedy: str) -> Finding:
    path = shutil.which(program)
    return Finding(
        feature=feature, needs=program, found=path is not None, required=True, detail=path or remedy
    )


def _library(feature: str, names: Sequence[str]) -> Finding:
    """Load a vendor's library as an agent on this node would."""
    found = False
    try:
        library = load_library(names)
        found, detail = True, f"{library._name} loads"  # noqa: SLF001  # nothing else tells it
    except LibraryMissingError:
        detail = f"not found: {', '.join(names)}"
    except LibraryBrokenError as error:
        detail = f"is there and does not load: {error}"
    return Finding(feature=feature, needs=names[0], found=found, required=False, detail=detail)


def _hygon_library() -> Finding:
    """Find what tells of Hygon's cards: their library, else the kernel."""
    finding = _library("Hygon cards", hygon_abi.LIBRARIES)
    if finding.found or not KfdTopology(pci.SYSFS).has_cards():
        return finding
    detail = f"{finding.detail}; the kernel tells of the cards, but not of their memory errors"
    return msgspec.structs.replace(finding, found=True, detail=detail)


def _container_engine() -> Finding:
    """Find the engine at hand, or what root needs to start one (docs/decisions/006)."""
    detail = _engine_at_hand()
    found = detail.endswith(ENGINE_OK)
    if not found and os.geteuid() == 0:
        missing = [name for name in OWN_ENGINE_NEEDS if shutil.which(name) is None]
        found = not missing or missing == ["dockerd"]  # apt-get brings it
        detail += f"; root can start one, missing for that: {', '.join(missing) or 'nothing'}"
    return Finding(
        feature="integration tests on containers",
        needs="container engine",
        found=found,
        required=False,
        detail=detail,
    )


def _engine_at_hand() -> str:
    docker = shutil.which("docker")
    if docker is None:
        return "no `docker` on PATH"
    query = "{{.ServerVersion}} {{.SecurityOptions}}"
    try:
        done = subprocess.run(
            [docker, "info", "--format", query],
            capture_output=True,
            text=True,
            timeout=CONTAINER_ENGINE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {CONTAINER_ENGINE_TIMEOUT_S:.0f} s"
    if done.returncode != 0:
        return done.stderr.strip()
    if "rootless" in done.stdout:
        return "a rootless engine: its containers have a loopback of their own"
    return f"{docker}{ENGINE_OK}"


@click.command()
@OUTPUT
def doctor(output: str) -> None:
    """Say what is missing for which feature. Exit code 1 if a local cluster could not run.

    Example: hcs doctor
    """
    findings = list(examine())
    if output == "json":
        click.echo(msgspec.json.encode(findings))
    else:
        table = Table("FEATURE", "NEEDS", "")
        table.add_column("WHERE, OR WHAT TO DO", overflow="fold")  # a path is of no use without end
        for finding in findings:
            state = "ok" if finding.found else ("MISSING" if finding.required else "absent")
            table.add_row(finding.feature, finding.needs, state, finding.detail)
        show(table)
    sys.exit(EXIT_FAILED if any(f.required and not f.found for f in findings) else 0)
