"""Starts and stops a whole cluster in one `HCS_HOME`.

The order is one of waiting: what takes long to be ready (the API server) is started early and
waited for late, and the rest comes up meanwhile. `HCS_HOME/lock` is held during a start or a stop,
so two of them never interleave; a command that is killed gives the lock back, and `hcs down` finds
what it had started by the records in `HCS_HOME/run`. A stop goes by stages (`launcher.Stage`): who
still has something to say ends before who listens, and what does not need each other ends together.
"""

import enum
import fcntl
import itertools
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hcs_edge.local import (
    connection,
    control_plane,
    nats,
    passwords,
    pki,
    ports,
    postgres,
    process,
    services,
)
from hcs_edge.local.connection import Connection
from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import PRIVATE_DIRECTORY_MODE
from hcs_edge.local.home import Home
from hcs_edge.local.launcher import Launcher, Progress
from hcs_edge.local.process import ProcessRecord
from hcs_edge.local.services import SimulatedNode
from hcs_edge.local.settings import Settings

# Others may pass through, not look in: the servers' account must reach its own directories below.
HOME_MODE = 0o711


class Part(enum.Enum):
    """What a cluster is made of; a test may need less than all of it."""

    NATS = "nats"
    POSTGRES = "postgres"
    KUBERNETES = "kubernetes"
    SERVICES = "services"  # needs the other three


ALL = frozenset(Part)


@dataclass(frozen=True)
class Cluster:
    """What to start, and where."""

    home: Home
    fleet: Sequence[SimulatedNode]
    port_base: int = ports.DEFAULT_PORT_BASE
    parts: Collection[Part] = ALL


def up(cluster: Cluster, progress: Progress) -> Connection:
    """Start everything, or nothing: what was started before a failure is stopped again.

    Raises:
        LocalClusterError: a cluster runs in this `HCS_HOME`, a port is in use, a program failed.
    """
    home = cluster.home
    home.root.mkdir(mode=HOME_MODE, parents=True, exist_ok=True)
    with _locked(home):
        _refuse_if_running(home)
        nodes = [node.name for node in cluster.fleet]
        plan = ports.plan(cluster.port_base, [services.agent_name(node) for node in nodes])
        services.check_socket_paths(home.sockets, nodes)
        ports.check(plan)
        settings = _prepare(home, plan, nodes)
        try:
            _start(cluster, settings, Launcher(home, progress))
        except BaseException:  # an interruption too leaves nothing behind; it is raised again
            _stop_all(home)
            raise
        return _save_connection(settings)


def down(home: Home, progress: Progress, *, purge: bool = False) -> int:
    """Stop everything that was started here and return how many processes ran; idempotent.

    Raises:
        LocalClusterError: `hcs up` is at work here, or a process does not end.
    """
    if not home.root.is_dir():
        return 0
    with _locked(home):
        stopped = _stop_all(home, progress)
        if purge:
            for path in home.contents:
                _remove(path)
        return stopped


def status(home: Home) -> list[ProcessRecord]:
    """Return what was started here, what is stopped last coming first."""
    return process.load_all(home.run) if home.run.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    with home.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalClusterError(
                f"another `hcs up` or `hcs down` is at work in {home.root}: wait for it, "
                "or choose another HCS_HOME"
            ) from None
        yield


def _refuse_if_running(home: Home) -> None:
    records = status(home)
    running = sum(record.is_running for record in records)
    if running:
        raise LocalClusterError(
            f"a cluster is up in {home.root} ({running} of {len(records)} processes run): "
            "`hcs status` shows it, `hcs down` stops it, HCS_HOME chooses another"
        )
    for record in records:  # of a machine that was switched off
        process.forget(home.run, record.spec.name)


def _prepare(home: Home, plan: dict[str, int], nodes: Sequence[str]) -> Settings:
    for directory in (home.run, home.logs):
        directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
    home.connection.unlink(missing_ok=True)
    users = [
        *nats.SERVICES,
        *(nats.agent_user(node) for node in nodes),
        *postgres.USERS,
    ]
    return Settings(
        home=home,
        ports=plan,
        passwords=passwords.ensure(home, users),
        pki=pki.ensure(home.pki),
        nodes=tuple(nodes),
    )


def _start(cluster: Cluster, settings: Settings, launcher: Launcher) -> None:
    parts = cluster.parts
    if Part.KUBERNETES in parts:
        with launcher.step("etcd"):
            control_plane.start_etcd(launcher, settings)
            control_plane.await_etcd(launcher, settings)
        control_plane.start_apiserver(launcher, settings)
    if Part.NATS in parts:
        with launcher.step("nats"):
            nats.start(launcher, settings)
    if Part.POSTGRES in parts:
        with launcher.step("postgres"):
            postgres.start(launcher, settings)
    if Part.SERVICES in parts:
        with launcher.step("migrations"):
            services.migrate(settings)
        services.start_projector(launcher, settings)
        services.start_agents(launcher, settings, cluster.fleet)
    if Part.KUBERNETES in parts:
        with launcher.step("kube-apiserver"):
            control_plane.await_apiserver(launcher, settings)
        control_plane.start_controllers(launcher, settings)
    if Part.SERVICES in parts:
        services.start_extender(launcher, settings)
        services.start_webhook(launcher, settings)
    _await(parts, settings, launcher)


def _await(parts: Collection[Part], settings: Settings, launcher: Launcher) -> None:
    if Part.KUBERNETES in parts:
        with launcher.step("scheduler, controllers"):
            control_plane.await_controllers(launcher, settings)
        with launcher.step(f"{len(settings.nodes)} nodes"):
            control_plane.create_nodes(launcher, settings)
    if Part.SERVICES in parts:
        with launcher.step("projector, agents"):
            services.await_observers(launcher, settings)
        with launcher.step("extender, webhook"):
            services.await_edge(launcher, settings)
            control_plane.register_webhooks(settings)


def _save_connection(settings: Settings) -> Connection:
    made = Connection(
        nats_url=nats.url(settings, nats.READER),
        operator_nats_url=nats.url(settings, nats.OPERATOR),
        database_url=postgres.reader_url(settings),
        kubeconfig=str(settings.home.kubeconfig),
        ports=settings.ports,
        nodes=list(settings.nodes),
    )
    connection.save(settings.home, made)
    return made


def _stop_all(home: Home, progress: Progress | None = None) -> int:
    # First of all the promise that a cluster is up.
    home.connection.unlink(missing_ok=True)
    stopped = 0
    for _, stage in itertools.groupby(reversed(status(home)), key=lambda known: known.spec.order):
        stopped += _stop_together(list(stage), home, progress)
    return stopped


def _stop_together(stage: Sequence[ProcessRecord], home: Home, progress: Progress | None) -> int:
    """Stop processes at the same time, so that the slowest alone decides how long it takes."""
    began_s = time.monotonic()
    if progress is not None:
        progress.started(f"stopping {len(stage)} processes")
    ran = 0
    with ThreadPoolExecutor(max_workers=len(stage)) as pool:
        stopping = {pool.submit(_stop_one, known, home): known.spec.name for known in stage}
        for stopped in as_completed(stopping):
            ran += stopped.result()
            if progress is not None:
                progress.finished(stopping[stopped], time.monotonic() - began_s)
    return ran


def _stop_one(known: ProcessRecord, home: Home) -> bool:
    """Stop and forget one process; return whether it ran."""
    # A start that was killed may have forked a child that has not said yet who it is.
    record = process.await_record(home.run, known.spec.name) or known
    ran = record.is_running
    process.stop(record)
    process.forget(home.run, record.spec.name)
    return ran
