"""What the reading commands hand to other programs."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from hcs_edge.cli import read
from hcs_edge.cli.options import without_password
from hcs_edge.local import postgres
from hcs_edge.local.connection import Connection

ADDRESS = "postgresql://hcs_read:se%3Acr%40et@127.0.0.1:5432/hcs"


@pytest.mark.parametrize(
    ("url", "bare", "password"),
    [
        (ADDRESS, "postgresql://hcs_read@127.0.0.1:5432/hcs", "se:cr@et"),
        (
            "postgresql://u:p@[::1]:5/d?sslmode=require",
            "postgresql://u@[::1]:5/d?sslmode=require",
            "p",
        ),
        ("postgresql://u:@h/d", "postgresql://u@h/d", ""),
        ("postgresql://u@h/d", "postgresql://u@h/d", None),
        ("postgresql://h/d", "postgresql://h/d", None),
    ],
)
def test_a_password_is_taken_out_of_a_url(url: str, bare: str, password: str | None) -> None:
    assert without_password(url) == (bare, password)


def test_psql_gets_the_password_where_no_process_list_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connection = Connection(
        nats_url="", operator_nats_url="", database_url=ADDRESS, kubeconfig="", ports={}, nodes=[]
    )
    started: list[tuple[str, list[str], dict[str, str]]] = []

    def execve(program: str, arguments: list[str], environment: dict[str, str]) -> None:
        started.append((program, arguments, dict(environment)))

    monkeypatch.setattr(read, "local_connection", lambda: connection)
    monkeypatch.setattr(postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("PGPASSWORD", "somebody else's")
    done = CliRunner().invoke(read.psql, ["-c", "TABLE device"])
    assert done.exception is None, done.output
    [(program, arguments, environment)] = started
    assert program == str(tmp_path / "psql")
    assert arguments[1:] == ["postgresql://hcs_read@127.0.0.1:5432/hcs", "-c", "TABLE device"]
    assert environment["PGPASSWORD"] == "se:cr@et"
    assert environment["PATH"] == os.environ["PATH"]
