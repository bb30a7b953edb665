"""`hcs`: one command for everything.

A subcommand is imported when it is used, because some of them stand on heavy libraries; what
`hcs --help` says of each is therefore kept here.
"""

import importlib
import sys
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """Where a command is, and what it does in a few words."""

    target: str  # "module:attribute"
    summary: str


COMMANDS = {
    "up": Entry("local:up", "Start a whole cluster on this machine."),
    "down": Entry("local:down", "Stop it."),
    "status": Entry("local:status", "Show its processes."),
    "env": Entry("local:env", 'Print shell settings that reach it: eval "$(hcs env)".'),
    "doctor": Entry("doctor:doctor", "Say what is missing for which feature."),
    "inventory": Entry("read:inventory", "Show every card, what is free of it, its health."),
    "top": Entry("top:top", "Show what each container uses of its cards."),
    "watch": Entry("watch:watch", "Show events as they happen, or happened."),
    "parked": Entry("read:parked", "Show messages that could not be folded, and why."),
    "psql": Entry("read:psql", "Open a read-only SQL prompt."),
    "dsn": Entry("read:dsn", "Print the read-only address of the database."),
    "isolate": Entry("operator:isolate", "Give a card, or a node's cards, no new work."),
    "release": Entry("operator:release", "Give it work again."),
    "policy": Entry("policy:policy", "Show, check and replace the rules that isolate cards."),
    "replay": Entry("replay:replay", "Fold the log again, and compare with the tables."),
    "snapshot": Entry("snapshot:snapshot", "Keep the projection in a file, and go on from it."),
    "sim": Entry("sim:sim", "Make something happen to a simulated card."),
    "agent": Entry("agent:agent", "Service: watch this node's cards."),
    "projector": Entry("projector:projector", "Service: fold facts into PostgreSQL and decide."),
    "extender": Entry("extender:extender", "Service: answer kube-scheduler."),
    "webhook": Entry("webhook:webhook", "Service: complete and guard Pods at admission."),
    "migrate": Entry("migrate:migrate", "Bring the database to this release's schema."),
}


EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 nothing was tried; more in `hcs --help`."


class LazyGroup(click.Group):
    """A group of the commands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; `None` when there is no such command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        _import_structlog()
        module, attribute = entry.target.split(":")
        command: click.Command = getattr(
            importlib.import_module(f"hcs_edge.cli.{module}"), attribute
        )
        _name_exit_codes(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def _import_structlog() -> None:
    """Import structlog without rich, which it takes for coloured tracebacks that nobody prints.

    Each service would hold 5 MB of it. A command that draws tables imports rich by itself.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python marks what is not there
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]


def _name_exit_codes(command: click.Command) -> None:
    """Let the help of a command, and of those below it, end with its exit codes."""
    command.epilog = command.epilog or EXIT_CODES
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _name_exit_codes(one)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hetero-compute-router")
def main() -> None:
    """Ask for compute, not for a vendor's card.

    \b
    Exit codes:
      0  done; a service or a live view was told to end
      1  it failed: a server is away, a fact was refused, a check found something
      2  nothing was tried: the command line or a configuration file is wrong
    `hcs up` that was terminated ends with 143, `hcs psql` with psql's own.

    Example: hcs COMMAND --help
    """  # noqa: D301  # click looks for the character itself
