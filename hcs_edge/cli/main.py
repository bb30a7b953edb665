"""`hcs`: one command for everything. Subcommands are imported when used, to keep `--help` fast."""

import importlib

import click

COMMANDS = {  # name: "module:attribute"
    "up": "hcs_edge.cli.local:up",
    "down": "hcs_edge.cli.local:down",
    "status": "hcs_edge.cli.local:status",
    "env": "hcs_edge.cli.local:env",
    "agent": "hcs_edge.cli.agent:agent",
    "sim": "hcs_edge.cli.sim:sim",
    "migrate": "hcs_edge.cli.services:migrate",
    "projector": "hcs_edge.cli.services:projector",
    "extender": "hcs_edge.cli.services:extender",
    "webhook": "hcs_edge.cli.services:webhook",
    "watch": "hcs_edge.cli.read:watch",
    "inventory": "hcs_edge.cli.read:inventory",
    "dsn": "hcs_edge.cli.read:dsn",
}


class LazyGroup(click.Group):
    """A group whose commands are named in `COMMANDS` and imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; `None` when there is no such command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hetero-compute-router")
def main() -> None:
    """Ask for compute, not for a vendor's card.

    Exit codes: 0 success, 1 the operation failed, 2 the command line or configuration is wrong.
    """
