"""`hcs agent --once`: looks at this node's cards, shows them, and is done."""

import asyncio
import time
from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from hcs_agents.detectors.port import Detector
from hcs_agents.worker_nursery import Nursery, NurseryError
from hcs_agents.worker_once import look_once
from hcs_bus.events import Fingerprint, Samples
from hcs_edge.cli.node_lines import card_lines, library_lines, nic_lines, now_table
from hcs_edge.cli.options import DISTRIBUTION
from hcs_edge.cli.runtime import failure
from hcs_edge.cli.tables import show as show_table
from hcs_edge.cli.tables import waiting


def show_once(
    detectors: list[Detector], *, call_timeout_s: float, sysfs: Path, output: str
) -> None:
    """Look at this node once and print what was found."""
    show(*look(detectors, call_timeout_s=call_timeout_s, sysfs=sysfs), output)


def look(
    detectors: list[Detector], *, call_timeout_s: float, sysfs: Path
) -> tuple[Fingerprint, Samples | None]:
    """Look at this node once."""
    nursery = Nursery.fork(detectors)  # before what shows the wait has a thread
    at_ns = time.time_ns()
    try:
        with waiting("looking at this node's cards"):
            looking = look_once(nursery, call_timeout_s=call_timeout_s, at_ns=at_ns, sysfs=sysfs)
            node = asyncio.run(looking)
    except NurseryError as error:
        raise failure(str(error)) from error
    fingerprint = node.fingerprint(at_ns=at_ns, agent_version=version(DISTRIBUTION))
    return fingerprint, node.take_samples(interval_s=0)


def show(fingerprint: Fingerprint, samples: Samples | None, output: str) -> None:
    """Print what was found: for people, or the facts as they would be published."""
    if output == "json":
        facts = {"fingerprint": fingerprint, "samples": samples}
        click.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    for line in (*library_lines(fingerprint), *nic_lines(fingerprint.nics)):
        click.echo(line)
    if fingerprint.devices:
        click.echo()
        show_table(now_table(fingerprint.devices, samples))
    for line in card_lines(fingerprint.devices):
        click.echo(line)
