"""`hcs agent`: one node's cards on the bus."""

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click

from hcs_agents.agent import Agent, AgentSettings
from hcs_agents.detectors.cambricon import CambriconDetector
from hcs_agents.detectors.huawei import HuaweiDetector
from hcs_agents.detectors.hygon import HygonDetector
from hcs_agents.detectors.mthreads import MooreThreadsDetector
from hcs_agents.detectors.nvidia import NvidiaDetector
from hcs_agents.detectors.port import Detector
from hcs_agents.worker_nursery import Nursery
from hcs_bus import jetstream
from hcs_bus.names import NodeName
from hcs_control.health_server import serve
from hcs_edge.cli.options import DISTRIBUTION, NATS_URL_TYPE, NodeNameType, listen_option
from hcs_edge.cli.runtime import configure_logging, run_service
from hcs_edge.local.home import Home


@click.command()
@click.option("--node", type=NodeNameType(), required=True, help="Name of the Kubernetes node.")
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for what the bus has not got yet. [default: $HCS_HOME/spool/NODE]",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="Where containers report their memory. [default: $HCS_HOME/sockets/NODE.sock]",
)
@listen_option("127.0.0.1:9094")
@click.option(
    "--nats-url",
    envvar="HCS_NATS_URL",
    type=NATS_URL_TYPE,
    help="nats://user:password@host:port; better by $HCS_NATS_URL, which no process list shows.",
)
@click.option(
    "--heartbeat-interval-s",
    type=click.FloatRange(min=0.1, max=600),
    default=10.0,
    show_default=True,
    help="Seconds between two heartbeats.",
)
@click.option(
    "--sample-interval-s",
    type=click.FloatRange(min=0.1, max=600),
    default=10.0,
    show_default=True,
    help="Seconds between two samples of what the cards do.",
)
@click.option(
    "--call-timeout-s",
    type=click.FloatRange(min=0.1, max=600),
    default=10.0,
    show_default=True,
    help="Seconds after which a call into a vendor's library counts as hanging.",
)
@click.option(
    "--sysfs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/sys",
    show_default=True,
    help="Where the kernel shows its devices.",
)
@click.option("--once", is_flag=True, help="Show this node and what its cards do, and end.")
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How --once shows it.",
)
def agent(
    *,
    node: NodeName,
    spool: Path | None,
    socket: Path | None,
    listen: str,
    nats_url: str | None,
    heartbeat_interval_s: float,
    sample_interval_s: float,
    call_timeout_s: float,
    sysfs: Path,
    once: bool,
    output: str,
) -> None:
    """Watch this node's cards and tell the bus about them.

    Example: hcs agent --node worker-3 --once

    Example: HCS_NATS_URL=nats://bus:4222 hcs agent --node worker-3
    """
    detectors: list[Detector] = [
        NvidiaDetector(sysfs),
        HuaweiDetector(sysfs),
        HygonDetector(sysfs),
        CambriconDetector(sysfs),
        MooreThreadsDetector(sysfs),
    ]
    if once:
        configure_logging(f"agent-{node}")
        # Imported here: a service need not hold what draws tables.
        agent_once = importlib.import_module("hcs_edge.cli.agent_once")
        agent_once.show_once(detectors, call_timeout_s=call_timeout_s, sysfs=sysfs, output=output)
        return
    if nats_url is None:
        raise click.UsageError("HCS_NATS_URL is not set: nats://user:password@host:port")
    home = Home.from_environment()
    settings = AgentSettings(
        node=node,
        version=version(DISTRIBUTION),
        spool=spool or home.spool / node,
        socket=socket or home.sockets / f"{node}.sock",
        heartbeat_interval_s=heartbeat_interval_s,
        sample_interval_s=sample_interval_s,
        call_timeout_s=call_timeout_s,
        sysfs=sysfs,
    )
    serve_agent(settings, detectors, nats_url=nats_url, listen=listen)


def serve_agent(
    settings: AgentSettings, detectors: list[Detector], *, nats_url: str, listen: str
) -> NoReturn:
    """Run the agent until a signal comes."""
    service = f"agent-{settings.node}"
    configure_logging(service)
    nursery = Nursery.fork(detectors)  # before there are threads and sockets

    async def main() -> None:
        one = Agent(
            settings,
            nursery,
            connect=lambda: jetstream.connect(nats_url, name=service),
        )
        async with serve(listen, registry=one.registry, ready=lambda: one.ready):
            await one.run()

    run_service(service, main, is_busy=False)
