"""A process is its id and its start time, read from one line that the program can dress up."""

import os
from pathlib import Path

import msgspec
import pytest

from hcs_edge.local import process
from hcs_edge.local.process import ProcessIdentity, ProcessRecord, ProcessSpec

STAT = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 99 0 0 0 1 2 0 0 20 0 1 0 {started} 1 1 1 1\n"


def _spec(name: str, order: int) -> ProcessSpec:
    return ProcessSpec(name=name, order=order, argv=["x"], environment={}, log="/dev/null")


def _remember(run: Path, spec: ProcessSpec, stat: str | None) -> None:
    (run / f"{spec.name}.json").write_bytes(msgspec.json.encode(spec))
    if stat is not None:
        (run / f"{spec.name}.stat").write_text(stat)


def _own_stat() -> str:
    return Path("/proc/self/stat").read_text()


def test_a_program_name_with_parentheses_and_spaces_is_read_over() -> None:
    identity, state = process.parse_stat(STAT.format(started=777))
    assert identity == ProcessIdentity(pid=4242, started_ticks=777)
    assert state == "S"


@pytest.mark.parametrize("line", ["", "4242", "4242 (sh)", "4242 (sh) S 1 2 3"])
def test_a_line_that_is_no_stat_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of /proc"):
        process.parse_stat(line)


def test_an_id_with_another_start_time_is_another_process() -> None:
    identity, _ = process.parse_stat(_own_stat())
    assert identity.pid == os.getpid()
    assert process.is_running(identity)
    reused = msgspec.structs.replace(identity, started_ticks=identity.started_ticks - 1)
    assert not process.is_running(reused)


def test_a_process_whose_id_was_given_to_another_is_not_signalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity, _ = process.parse_stat(_own_stat())
    reused = msgspec.structs.replace(identity, started_ticks=identity.started_ticks - 1)
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: signals.append(number))
    process.stop(ProcessRecord(spec=_spec("nats", 1), identity=reused))
    assert signals == []


def test_records_come_back_by_stage_with_what_is_stopped_last_in_front(tmp_path: Path) -> None:
    for name, order in (("beta", 2), ("zeta", 1), ("alpha", 2)):
        _remember(tmp_path, _spec(name, order), _own_stat())
    assert [record.spec.name for record in process.load_all(tmp_path)] == ["zeta", "alpha", "beta"]


def test_a_start_that_was_killed_before_its_fork_left_a_record_without_a_process(
    tmp_path: Path,
) -> None:
    _remember(tmp_path, _spec("nats", 1), None)
    [record] = process.load_all(tmp_path)
    assert record.identity is None
    assert not record.is_running


def test_the_last_lines_of_a_long_log_are_its_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert process.last_lines(log, lines_max=2) == "line 9998\nline 9999"


def test_a_missing_log_is_said_to_be_missing(tmp_path: Path) -> None:
    assert process.last_lines(tmp_path / "none.log") == "(no log)"
