"""`hcs agent`: one node's cards on the bus."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from hcs_agents.agent import Agent, AgentSettings
from hcs_agents.detectors.cambricon import CambriconDetector
from hcs_agents.detectors.huawei import HuaweiDetector
from hcs_agents.detectors.hygon import HygonDetector
from hcs_agents.detectors.mthreads import MooreThreadsDetector
from hcs_agents.detectors.nvidia import NvidiaDetector
from hcs_agents.detectors.port import Detector
from hcs_agents.hardware import BYTES_PER_GIB
from hcs_agents.watcher import Scan, scan_once
from hcs_bus import jetstream
from hcs_bus.names import NodeName
from hcs_control.health_server import serve
from hcs_edge.cli.options import NATS_URL_TYPE, listen_option
from hcs_edge.cli.runtime import run_service
from hcs_edge.local.home import Home

NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class NodeNameType(click.ParamType[NodeName]):
    """A Kubernetes node name."""

    name = "node"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NodeName:
        """Check a name."""
        if NODE_NAME.fullmatch(value) is None:
            self.fail(f"{value!r} is no node name: lower case letters, digits, '-' and '.'")
        return NodeName(value)


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
@click.option("--once", is_flag=True, help="Show what is found on this node, and end.")
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How --once shows it.",
)
def agent(
    node: NodeName,
    spool: Path | None,
    socket: Path | None,
    listen: str,
    nats_url: str | None,
    heartbeat_interval_s: float,
    once: bool,
    output: str,
) -> None:
    """Watch this node's cards and tell the bus about them.

    Example: hcs agent --node worker-3 --once

    Example: HCS_NATS_URL=nats://bus:4222 hcs agent --node worker-3
    """
    detectors: list[Detector] = [
        NvidiaDetector(),
        HuaweiDetector(),
        HygonDetector(),
        CambriconDetector(),
        MooreThreadsDetector(),
    ]
    if once:
        show([scan_once(detector) for detector in detectors], output)
        return
    if nats_url is None:
        raise click.UsageError("HCS_NATS_URL is not set: nats://user:password@host:port")
    home = Home.from_environment()
    settings = AgentSettings(
        node=node,
        version=version("hetero-compute-router"),
        spool=spool or home.spool / node,
        socket=socket or home.sockets / f"{node}.sock",
        heartbeat_interval_s=heartbeat_interval_s,
    )
    serve_agent(settings, detectors, nats_url=nats_url, listen=listen)


def serve_agent(
    settings: AgentSettings, detectors: list[Detector], *, nats_url: str, listen: str
) -> NoReturn:
    """Run the agent until a signal comes."""

    async def main() -> None:
        one = Agent(
            settings,
            detectors,
            connect=lambda: jetstream.connect(nats_url, name=f"agent-{settings.node}"),
        )
        async with serve(listen, registry=one.registry, ready=lambda: one.ready):
            await one.run()

    run_service(f"agent-{settings.node}", main)


def show(scans: list[Scan], output: str) -> None:
    """Print what the detectors found."""
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(scans)).decode())
        return
    for scan in scans:
        report = scan.report
        detail = f" ({report.detail})" if report.detail else ""
        click.echo(f"{report.vendor}: {report.state}{detail}, {len(scan.devices)} devices")
        for device in scan.devices:
            vram_gib = device.vram_bytes / BYTES_PER_GIB
            fabric = f"{len(device.links)} peers" if device.links else "no fabric"
            click.echo(
                f"  {device.index}  {device.model}  {vram_gib:g} GiB  {fabric}  {device.device_id}"
            )
