"""`hcs agent`: one node's cards on the bus."""

import asyncio
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hcs_agents.agent import Agent, AgentSettings
from hcs_agents.detectors.cambricon import CambriconDetector
from hcs_agents.detectors.huawei import HuaweiDetector
from hcs_agents.detectors.hygon import HygonDetector
from hcs_agents.detectors.mthreads import MooreThreadsDetector
from hcs_agents.detectors.nvidia import NvidiaDetector
from hcs_agents.detectors.port import Detector
from hcs_agents.hardware import BYTES_PER_GIB
from hcs_agents.node_view import NodeView
from hcs_agents.worker_nursery import Nursery, NurseryError
from hcs_agents.worker_once import look_once
from hcs_bus import jetstream
from hcs_bus.events import DeviceFingerprint, DeviceSample, Fingerprint, Samples
from hcs_bus.names import NodeName
from hcs_control.health_server import serve
from hcs_edge.cli.options import NATS_URL_TYPE, listen_option
from hcs_edge.cli.runtime import EXIT_FAILED, configure_logging, run_service
from hcs_edge.local.home import Home

HEADINGS = ("VENDOR", "#", "MODEL", "VRAM FREE", "TEMP", "BUSY", "LINKS", "PCIE")
DISTRIBUTION = "hetero-compute-router"
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
        show(*look(detectors, call_timeout_s=call_timeout_s), output)
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

    run_service(service, main)


def look(detectors: list[Detector], *, call_timeout_s: float) -> tuple[Fingerprint, Samples | None]:
    """Look at this node once."""
    nursery = Nursery.fork(detectors)
    at_ns = time.time_ns()
    try:
        node: NodeView = asyncio.run(look_once(nursery, call_timeout_s=call_timeout_s, at_ns=at_ns))
    except NurseryError as error:
        click.echo(f"hcs: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error
    fingerprint = node.fingerprint(at_ns=at_ns, agent_version=version(DISTRIBUTION))
    return fingerprint, node.take_samples(interval_s=0)


def show(fingerprint: Fingerprint, samples: Samples | None, output: str) -> None:
    """Print what was found: for people, or the facts as they would be published."""
    if output == "json":
        facts = {"fingerprint": fingerprint, "samples": samples}
        click.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    for report in fingerprint.detectors:
        detail = f" ({report.detail})" if report.detail else ""
        count = sum(device.vendor is report.vendor for device in fingerprint.devices)
        click.echo(f"{report.vendor}: {report.state}{detail}, {count} devices")
    for nic in fingerprint.nics:
        state = "up" if nic.up else "down"
        click.echo(f"{nic.name}: {nic.link_layer}, {nic.rate_gbps:g} Gb/s, {state}")
    if fingerprint.devices:
        found = {} if samples is None else {one.device_id: one for one in samples.devices}
        table = Table(box=None)
        for heading in HEADINGS:
            table.add_column(heading, no_wrap=True)
        table.add_column("ID", overflow="fold")
        for device in fingerprint.devices:
            table.add_row(*_row(device, found.get(device.device_id)))
        Console().print(table)


def _row(device: DeviceFingerprint, sample: DeviceSample | None) -> list[str]:
    """Return a card's row; "-" stands for what its library does not say."""
    now = sample or DeviceSample(device_id=device.device_id)
    free_bytes = None if now.vram_used_bytes is None else device.vram_bytes - now.vram_used_bytes
    kinds = sorted({link.type for link in device.links})
    return [
        device.vendor,
        str(device.index),
        device.model,
        f"{_gib(free_bytes)}/{_gib(device.vram_bytes)} GiB",
        _or_dash(now.temperature_celsius, "{:.0f} °C"),
        _or_dash(now.utilization_percent, "{:.0f} %"),
        f"{len(device.links)} {'/'.join(kinds)}" if kinds else "-",
        _pcie(device, now),
        device.device_id,
    ]


def _pcie(device: DeviceFingerprint, sample: DeviceSample) -> str:
    """Return the link as it is and, where that differs, as it could be: "3x8 of 4x16"."""
    best = f"{device.pcie_generation_max or '?'}x{device.pcie_width_max or '?'}"
    if sample.pcie_generation is None or sample.pcie_width is None:
        return best if device.pcie_generation_max else "-"
    now = f"{sample.pcie_generation}x{sample.pcie_width}"
    return now if now == best or not device.pcie_generation_max else f"{now} of {best}"


def _gib(size_bytes: int | None) -> str:
    return _or_dash(None if size_bytes is None else size_bytes / BYTES_PER_GIB, "{:.4g}")


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
