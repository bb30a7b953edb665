"""The `hcs` command as a user meets it on a machine without a cluster: help, errors, exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click import Command, Group
from click.testing import CliRunner, Result

from hcs_agents.simulation.fleet import default_fleet
from hcs_agents.simulation.scenario import ScenarioFile
from hcs_control.policy import DEFAULT_POLICY_PATH
from hcs_edge.cli.main import COMMANDS, main
from hcs_edge.cli.policy import policy
from hcs_edge.cli.sim import sim
from hcs_edge.cli.snapshot import snapshot
from hcs_edge.local import pki
from hcs_edge.local.cluster import Part
from tests.support.local_cluster import LocalCluster, running_cluster

HCS = Path(sys.executable).parent / "hcs"
RUN_TIMEOUT_S = 60


def subcommands(group: Command) -> list[str]:
    """Return the commands of a group as they are typed."""
    assert isinstance(group, Group)
    return [f"{group.name} {name}" for name in group.commands]


EVERY_COMMAND = [*COMMANDS, *subcommands(policy), *subcommands(sim), *subcommands(snapshot)]
SERVICES = ("projector", "extender", "webhook")
GROUPS = ("policy", "sim", "snapshot")
NEED_A_CLUSTER = [
    "inventory",
    "top",
    "watch",
    "parked",
    "psql",
    "dsn",
    "env",
    "isolate a100-0/3 --why w",
    "release a100-0/3 --why w",
    "policy show",
    "policy history",
    f"policy apply {DEFAULT_POLICY_PATH} --why w",
    "replay",
    "replay --verify",
    "snapshot save hcs.snapshot",
]

ALL_EXIT_CODES = "0 done, 1 failed, 2 nothing was tried"
NO_SERVER = "127.0.0.1:1"  # a port that no server may have
NATS_AWAY = f"nats://control:secret@{NO_SERVER}"
DATABASE_AWAY = f"postgresql://hcs:secret@{NO_SERVER}/hcs"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user whose `HCS_HOME` is empty."""
    return {"HCS_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}


def hcs(environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [str(HCS), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )


def in_process(*arguments: str) -> Result:
    """Run a command in this process: one that only reads its command line needs none of its own."""
    return CliRunner().invoke(main, arguments, prog_name="hcs", terminal_width=80)


# --- Help and wrong command lines ----------------------------------------------------------------


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = in_process(*command.split(), "--help")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"Usage: hcs {command}")
    # On one line, so that it can be copied; beginnings of other commands do not count.
    assert re.search(rf"^  Example: .*\bhcs {command}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_the_help_of_every_command_ends_with_its_exit_codes(command: str) -> None:
    *_, last = in_process(*command.split(), "--help").stdout.splitlines()
    codes = "1 no cluster is up, else psql's own" if command == "psql" else ALL_EXIT_CODES
    assert last == f"  Exit codes: {codes}; more in `hcs --help`."


def test_the_help_of_hcs_names_every_command_and_the_exit_codes(
    environment: dict[str, str],
) -> None:
    done = hcs(environment, "--help")
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z]+)  ", done.stdout, re.MULTILINE) == list(COMMANDS)
    assert re.findall(r"^    ([0-9]+)  ", done.stdout, re.MULTILINE) == ["0", "1", "2"]
    assert "143" in done.stdout


@pytest.mark.parametrize(
    "command", [name for name in EVERY_COMMAND if name not in (*SERVICES, *GROUPS, "psql")]
)
def test_every_command_that_ends_speaks_json(command: str) -> None:
    # Services log JSON, and `hcs psql` is psql.
    assert "--output [text|json]" in in_process(*command.split(), "--help").stdout


@pytest.mark.parametrize("command", [name for name in EVERY_COMMAND if name != "psql"])
def test_an_unknown_option_is_refused(command: str) -> None:
    # `hcs psql` leaves its options to psql.
    done = in_process(*command.split(), "--no-such-option")
    assert done.exit_code == 2
    assert "No such option '--no-such-option'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("explode", "No such command 'explode'"),
        ("up --port-base 5", "5 is not in the range"),
        ("status --output xml", "'xml' is not one of 'text', 'json'"),
        ("watch --kind noise", "'noise' is not one of"),
        ("watch --nats-url http://h", "must be nats://user:password@host:port"),
        ("inventory --database-url h", "must be postgresql://user:password"),
        ("migrate --database-url postgresql://h:x/y", "must be postgresql://user:password"),
        ("migrate", "Missing option '--database-url' (env var: 'HCS_DATABASE_URL')"),
        ("projector", "Missing option '--nats-url' (env var: 'HCS_NATS_URL')"),
        ("watch --since soon", "'soon' is no time: use"),
        ("watch --severity bad", "'bad' is not one of 'info', 'warning'"),
        ("inventory --at soon", "'soon' is no time: use"),
        ("top --interval-s 0", "0.0 is not in the range"),
        ("isolate a100-0/3", "Missing option '--why'"),
        ("release", "Missing argument 'DEVICE|NODE'"),
        ("policy check /no/such", "'/no/such' does not exist"),
        ("policy apply /no/such --why w", "'/no/such' does not exist"),
        ("snapshot restore /no/such", "'/no/such' does not exist"),
        ("snapshot save /tmp", "'/tmp' is a directory"),
        ("replay --snapshot /no/such", "'/no/such' does not exist"),
        ("sim temperature a100-0/3 hot", "'hot' is not a valid integer"),
        ("agent --node Upper_Case --once", "'Upper_Case' is no node name"),
        ("agent --node a", "HCS_NATS_URL is not set"),
        ("agent --node a --listen 9094", "--listen '9094': must be HOST:PORT, e.g. 127.0.0.1:9090"),
        ("webhook --tls-cert /no/such --tls-key /no/such", "'/no/such' does not exist"),
        (f"projector --nats-url {NATS_AWAY}", "Missing option '--database-url'"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(
    arguments: str, complaint: str, environment: dict[str, str]
) -> None:
    done = hcs(environment, *arguments.split())
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variable", ["HCS_NATS_URL", "HCS_DATABASE_URL"])
def test_a_secret_in_a_malformed_address_is_not_shown(
    variable: str, environment: dict[str, str]
) -> None:
    addresses = {"HCS_NATS_URL": NATS_AWAY, "HCS_DATABASE_URL": DATABASE_AWAY}
    done = hcs(environment | addresses | {variable: "wrong://hcs:secret@h"}, "projector")
    assert done.returncode == 2
    assert "secret" not in done.stderr


# --- Without a cluster ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", NEED_A_CLUSTER)
def test_a_command_that_needs_a_cluster_says_so(command: str, environment: dict[str, str]) -> None:
    done = hcs(environment, *command.split())
    assert done.returncode == 1
    assert f"no cluster is up in {environment['HCS_HOME']}: `hcs up`" in done.stderr
    assert done.stdout == ""


def test_watching_a_server_that_is_away_ends_with_a_message(environment: dict[str, str]) -> None:
    done = hcs(environment, "watch", "--nats-url", NATS_AWAY)
    assert done.returncode == 1
    assert f"no nats-server at {NO_SERVER}" in done.stderr
    assert "secret" not in done.stderr


def test_status_says_that_no_cluster_runs(environment: dict[str, str]) -> None:
    done = hcs(environment, "status")
    assert done.returncode == 1
    assert f"No cluster runs in {environment['HCS_HOME']}" in done.stdout
    shown = hcs(environment, "status", "--output", "json")
    assert shown.returncode == 1
    assert json.loads(shown.stdout) == {
        "home": environment["HCS_HOME"],
        "up": False,
        "processes": [],
    }


def test_down_where_nothing_runs_is_no_error(environment: dict[str, str]) -> None:
    done = hcs(environment, "down")
    assert done.returncode == 0
    assert "Nothing runs" in done.stdout
    shown = hcs(environment, "down", "--output", "json")
    assert json.loads(shown.stdout) == {"home": environment["HCS_HOME"], "stopped": 0}


def test_a_connection_file_of_another_release_is_said_so(environment: dict[str, str]) -> None:
    home = Path(environment["HCS_HOME"])
    home.mkdir()
    (home / "connection.json").write_text('{"nats_url": "nats://h"}')
    done = hcs(environment, "dsn")
    assert done.returncode == 1
    assert "is of another release" in done.stderr and "`hcs down`, then `hcs up`" in done.stderr


def test_a_card_that_is_not_simulated_cannot_be_hurt(environment: dict[str, str]) -> None:
    done = hcs(environment, "sim", "fault", "a100-0/0")
    assert done.returncode == 2
    assert "no simulated cards" in done.stderr and "`hcs up` makes some" in done.stderr


def test_sim_prints_json(environment: dict[str, str]) -> None:
    scenarios = Path(environment["HCS_HOME"]) / "scenarios"
    scenarios.mkdir(parents=True)
    scenario = default_fleet()[0]
    ScenarioFile(scenarios / f"{scenario.node}.ini").write(scenario)
    for command, present, faults in (
        ("fault", True, ["79"]),
        ("clear", True, []),
        ("pull", False, []),
        ("plug", True, []),
    ):
        done = hcs(environment, "sim", command, f"{scenario.node}/1", "--output", "json")
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert (shown["present"], shown["faults"]) == (present, faults)
        assert shown["device_id"] == scenario.devices[1].id


def test_an_agent_without_any_vendor_library_says_what_it_found(
    environment: dict[str, str],
) -> None:
    done = hcs(environment, "agent", "--node", "worker-3", "--once", "--output", "json")
    assert done.returncode == 0, done.stderr
    detectors = json.loads(done.stdout)["fingerprint"]["detectors"]
    reports = {report["vendor"]: report for report in detectors}
    assert reports["huawei"]["state"] == "absent"
    assert "libdcmi.so" in reports["huawei"]["detail"]


def test_a_database_that_is_away_is_an_error_of_one_line(environment: dict[str, str]) -> None:
    for command in ("migrate", "inventory", "top", "parked", "policy show", "snapshot save x"):
        done = hcs(environment, *command.split(), "--database-url", DATABASE_AWAY)
        assert done.returncode == 1
        assert done.stderr.startswith("hcs: ") and done.stderr.count("\n") == 1
        assert "secret" not in done.stderr


# --- Services ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ("version = 1", "Expected `str`, got `int` - at `$.version`"),
        ('version = "1"\n[[rule]]\nname = "a"', "missing required field `vendor` - at `$.rule[0]`"),
        ('version = "1"\nrule = []\nrules = []', "unknown field `rules`"),
        ("version = ", "Invalid value (at end of document)"),
    ],
)
def test_a_wrong_policy_ends_the_projector_naming_the_field(
    rules: str, complaint: str, environment: dict[str, str], tmp_path: Path
) -> None:
    policy = tmp_path / "wrong.toml"
    policy.write_text(rules)
    done = hcs(
        environment | {"HCS_NATS_URL": NATS_AWAY, "HCS_DATABASE_URL": DATABASE_AWAY},
        *("projector", "--policy", str(policy)),
    )
    assert done.returncode == 2, done.stderr
    [message] = [line for line in done.stderr.splitlines() if line.startswith("hcs: ")]
    assert str(policy) in message and complaint in message


def test_a_port_in_use_ends_the_webhook_with_a_clear_message(
    environment: dict[str, str], tmp_path: Path
) -> None:
    made = pki.ensure(tmp_path / "pki")
    cert, key = made.certificate("webhook-server"), made.key("webhook-server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = hcs(
            environment,
            *("webhook", "--listen", address, "--tls-cert", str(cert), "--tls-key", str(key)),
        )
    assert done.returncode == 2
    assert re.search(rf"(?m)^hcs: --listen {address}: .*address already in use$", done.stderr)


def test_a_key_that_is_none_ends_the_webhook_with_a_clear_message(
    environment: dict[str, str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no key\n")
    done = hcs(environment, "webhook", "--tls-cert", str(wrong), "--tls-key", str(wrong))
    assert done.returncode == 2
    assert f"hcs: TLS files {wrong}, {wrong}: " in done.stderr


@pytest.fixture(scope="module")
def bus() -> Iterator[LocalCluster]:
    """Run a nats-server and nothing else."""
    with running_cluster({Part.NATS}) as started:
        yield started


@contextmanager
def projector(environment: dict[str, str], *, nats_url: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a projector whose database is away."""
    with subprocess.Popen(
        [str(HCS), "projector", "--listen", "127.0.0.1:0"],
        env=environment | {"HCS_NATS_URL": nats_url, "HCS_DATABASE_URL": DATABASE_AWAY},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_logged(process: "subprocess.Popen[str]", event: str) -> dict[str, str]:
    """Read a service's log up to an event."""
    assert process.stderr is not None
    for line in process.stderr:
        record: dict[str, str] = json.loads(line)
        if record["event"] == event:
            return record
    raise AssertionError(f"it ended with {process.wait()} and never said {event}")


def test_a_projector_waits_for_its_database_and_ends_well(
    bus: LocalCluster, environment: dict[str, str]
) -> None:
    with projector(environment, nats_url=bus.nats_url("control")) as process:
        for _ in range(2):  # once is no waiting
            waiting = until_logged(process, "projecting_interrupted")
            assert "Connection refused" in waiting["detail"]
            assert "secret" not in str(waiting)
        process.send_signal(signal.SIGTERM)
        until_logged(process, "ended")
        assert process.wait(timeout=RUN_TIMEOUT_S) == 0


def test_a_projector_waits_for_the_bus_and_ends_well(environment: dict[str, str]) -> None:
    with projector(environment, nats_url=NATS_AWAY) as process:
        for _ in range(2):
            assert "no nats-server" in until_logged(process, "waiting")["detail"]
        process.send_signal(signal.SIGTERM)
        until_logged(process, "ended")
        assert process.wait(timeout=RUN_TIMEOUT_S) == 0
