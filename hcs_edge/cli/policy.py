"""`hcs policy`: the rules by which cards are isolated and released."""

from pathlib import Path

import click
import msgspec
from rich.table import Table

from hcs_bus.errors import ConfigError
from hcs_bus.events import PolicyDocument
from hcs_bus.names import StreamSeq
from hcs_bus.subjects import CLUSTER_NODE
from hcs_control.policy import DEFAULT_POLICY_PATH, parse_policy
from hcs_control.store.readmodel import PolicyRow, policies
from hcs_edge.cli.options import (
    EXISTING_FILE,
    LOCAL_DATABASE_URL,
    LOCAL_NATS_URL,
    OUTPUT,
    operator_bus,
    reader_database,
)
from hcs_edge.cli.runtime import errors_end_the_command, run_command
from hcs_edge.cli.tables import show as show_table
from hcs_edge.cli.word import WAIT, WHO, WHY, encode, now_ns, say

FILE = click.argument("file", type=EXISTING_FILE)


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What `hcs policy apply` prints."""

    position: StreamSeq  # in HCS_FACTS, from which on it holds
    version: str


@click.group()
def policy() -> None:
    """Show, check and replace the rules by which cards are isolated and released.

    A policy is a TOML file as a whole. It is put in force by the log, so a replay knows which one
    held when.

    Example: hcs policy show > rules.toml && hcs policy check rules.toml
    """


@policy.command()
@LOCAL_DATABASE_URL
@OUTPUT
def show(*, database_url: str | None, output: str) -> None:
    """Print the policy in force, as TOML that may be applied again.

    Example: hcs policy show > rules.toml
    """
    url = reader_database(database_url)
    found = run_command("policy", policies(url))
    newest = found[0] if found else None
    if output == "json":
        click.echo(msgspec.json.encode(newest or _shipped()))
    elif newest is not None:
        click.echo(f"# {_told(newest)}\n{newest.document}", nl=not newest.document.endswith("\n"))
    else:
        click.echo("# Ships with HCS: the log has put none in force.")
        click.echo(DEFAULT_POLICY_PATH.read_text("utf-8"), nl=False)


@policy.command()
@FILE
@OUTPUT
def check(*, file: Path, output: str) -> None:
    """Say whether a file is a policy. Exit code 2, and which field, if it is none.

    Example: hcs policy check rules.toml
    """
    with errors_end_the_command():
        version = _read(file, who="nobody", why="to be checked").version
    if output == "json":
        click.echo(msgspec.json.encode({"file": str(file), "version": version}))
    else:
        click.echo(f"{file}: policy {version!r} is well-formed")


@policy.command()
@FILE
@WHY
@WHO
@LOCAL_NATS_URL
@LOCAL_DATABASE_URL
@WAIT
@OUTPUT
def apply(
    *,
    file: Path,
    why: str,
    who: str,
    nats_url: str | None,
    database_url: str | None,
    wait_s: float,
    output: str,
) -> None:
    """Put a policy in force: for every fact from now on, in this cluster.

    Example: hcs policy apply rules.toml --why "two more Xids"
    """
    with errors_end_the_command():
        fact = _read(file, who=who, why=why)
    said = say(
        fact,
        node=CLUSTER_NODE,
        nats_url=operator_bus(nats_url),
        database_url=reader_database(database_url),
        wait_s=wait_s,
    )
    applied = Applied(position=run_command("policy", said), version=fact.version)
    if output == "json":
        click.echo(msgspec.json.encode(applied))
    else:
        click.echo(f"policy {applied.version!r} is in force from position {applied.position} on")


@policy.command()
@LOCAL_DATABASE_URL
@OUTPUT
def history(*, database_url: str | None, output: str) -> None:
    """Show which policy held from when on, who put it in force and why; the newest first.

    Example: hcs policy history
    """
    found = run_command("policy", policies(reader_database(database_url)))
    if output == "json":
        click.echo(msgspec.json.encode(found))
        return
    table = Table("POSITION", "FROM", "VERSION", "WHO", "WHY")
    for row in found:
        moment = f"{row.put_in_force_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(row.policy_seq), moment, row.policy_version, row.who, row.why)
    table.add_row("0", "the start", parse_policy(_shipped()["document"]).version, "HCS", "it ships")
    show_table(table)


def _shipped() -> dict[str, str]:
    document = DEFAULT_POLICY_PATH.read_text("utf-8")
    return {"policy_version": parse_policy(document).version, "document": document}


def _told(row: PolicyRow) -> str:
    moment = f"{row.put_in_force_at:%Y-%m-%d %H:%M:%S}"
    return f"In force since {moment} UTC, position {row.policy_seq}, by {row.who}: " + " ".join(
        row.why.split()
    )


def _read(file: Path, *, who: str, why: str) -> PolicyDocument:
    """Return a policy as it would be published.

    Raises:
        ConfigError: it is none; the message names the file and the field.
    """
    try:
        document = file.read_text("utf-8")
        version = parse_policy(document).version
        fact = PolicyDocument(at_ns=now_ns(), version=version, document=document, who=who, why=why)
        encode(fact, node=CLUSTER_NODE)
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"policy {file}: {error}") from error
    return fact
