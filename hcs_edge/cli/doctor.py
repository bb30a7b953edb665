"""`hcs doctor`: what is here, what is missing, and which feature misses it."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.table import Table

from hcs_edge.cli.options import OUTPUT
from hcs_edge.cli.runtime import EXIT_FAILED
from hcs_edge.cli.tables import show
from hcs_edge.local import nats, postgres, programs
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import checkout

CONTAINER_ENGINE_TIMEOUT_S = 5.0
LIBRARIES = {  # what an agent on this node would load
    "NVIDIA cards": "libnvidia-ml.so.1",
    "Huawei Ascend cards": "libdcmi.so",
    "Hygon cards": "librocm_smi64.so.2",
    "Cambricon cards": "libcndev.so",
    "Moore Threads cards": "libmtml.so.2",
}


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
        yield _on_path("PostgreSQL when started by root", "setpriv", "install util-linux")
    yield _on_path("building the C libraries", "cc", "install gcc and the C library's headers")
    for name in ("sim/libnvidia-ml.so.1", "interceptor/libhcs_interceptor.so"):
        yield _located("simulated cards, quotas", name, partial(_built, name))
    for feature, library in LIBRARIES.items():
        yield _library(feature, library)
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


def _library(feature: str, name: str) -> Finding:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        detail = str(error)
        return Finding(feature=feature, needs=name, found=False, required=False, detail=detail)
    return Finding(feature=feature, needs=name, found=True, required=False, detail="loads")


def _container_engine() -> Finding:
    docker = shutil.which("docker")
    detail = "no `docker` on PATH"
    if docker is not None:
        try:
            done = subprocess.run(
                [docker, "info", "--format", "{{.ServerVersion}}"],
                capture_output=True,
                text=True,
                timeout=CONTAINER_ENGINE_TIMEOUT_S,
                check=False,
            )
            detail = (done.stdout if done.returncode == 0 else done.stderr).strip()
        except subprocess.TimeoutExpired:
            docker, detail = None, f"no answer in {CONTAINER_ENGINE_TIMEOUT_S:.0f} s"
        else:
            docker = docker if done.returncode == 0 else None
    return Finding(
        feature="container images",
        needs="container engine",
        found=docker is not None,
        required=False,
        detail=detail,
    )


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
        table = Table("FEATURE", "NEEDS", "", "WHERE, OR WHAT TO DO")
        for finding in findings:
            state = "ok" if finding.found else ("MISSING" if finding.required else "absent")
            table.add_row(finding.feature, finding.needs, state, finding.detail)
        show(table)
    sys.exit(EXIT_FAILED if any(f.required and not f.found for f in findings) else 0)
