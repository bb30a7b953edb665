"""The snapshot's file: what comes back from it, and what is refused."""

import gzip
import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from hcs_bus.names import StreamSeq
from hcs_control.snapshot import header_of, load, save
from hcs_control.store.port import Contents, SnapshotError
from tests.support.store_contract import contents_of, full_folding, ignore, in_order

CONTENTS = contents_of(full_folding())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a snapshot of every kind of row."""
    path = tmp_path / "hcs.snapshot"
    save(path, CONTENTS, progress=ignore)
    return path


def lines_of(file: Path) -> list[bytes]:
    """Return a snapshot's lines."""
    return gzip.decompress(file.read_bytes()).splitlines(keepends=True)


def rewrite(file: Path, lines: list[bytes], *, sign: bool = True) -> None:
    """Put other lines in place; signed, the checksum is theirs."""
    if sign:
        digest = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
        lines = [*lines[:-1], json.dumps({"sha256": digest}).encode() + b"\n"]
    file.write_bytes(gzip.compress(b"".join(lines)))


def test_everything_comes_back_as_it_was(file: Path) -> None:
    assert in_order(load(file, progress=ignore)) == in_order(CONTENTS)


def test_an_empty_projection_comes_back_as_well(tmp_path: Path) -> None:
    empty = Contents(position=StreamSeq(0), rows=[], decisions=[], parked=[], published={})
    save(tmp_path / "empty", empty, progress=ignore)
    assert load(tmp_path / "empty", progress=ignore) == empty


def test_the_same_projection_gives_the_same_bytes_in_whatever_order(
    file: Path, tmp_path: Path
) -> None:
    turned = msgspec.structs.replace(
        CONTENTS, rows=CONTENTS.rows[::-1], parked=CONTENTS.parked[::-1]
    )
    save(tmp_path / "again", turned, progress=ignore)
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
    assert file.read_bytes()[4:8] == bytes(4)  # gzip's time, which would tell them apart


def test_the_first_line_tells_what_is_in_it(file: Path) -> None:
    header = json.loads(lines_of(file)[0])
    assert header["hcs_snapshot"] == 1
    assert header["position"] == CONTENTS.position
    assert header["policy_version"] == "site-7"
    assert header["rows"]["device"] == 4 and header["rows"]["health_policy"] == 1
    assert (header["decisions"], header["parked"]) == (2, 2)


def test_progress_is_told_line_by_line_both_ways(tmp_path: Path) -> None:
    items = header_of(CONTENTS).items
    heard: list[int] = []
    save(tmp_path / "file", CONTENTS, progress=heard.append)
    assert heard == list(range(items + 1))
    heard.clear()
    load(tmp_path / "file", progress=heard.append)
    assert heard == list(range(1, items + 1))


def test_a_file_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = tmp_path / "cut"
    for length in [*range(0, len(whole), 29), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(SnapshotError, match=str(cut)):
            load(cut, progress=ignore)


def test_a_file_cut_between_two_lines_and_packed_again_is_refused(file: Path) -> None:
    lines = lines_of(file)
    for count in range(len(lines)):
        rewrite(file, lines[:count], sign=False)
        with pytest.raises(SnapshotError):
            load(file, progress=ignore)


def test_a_changed_value_is_refused(file: Path) -> None:
    changed = [line.replace(b"site-7", b"site-8") for line in lines_of(file)]
    rewrite(file, changed, sign=False)
    with pytest.raises(SnapshotError, match="checksum differs"):
        load(file, progress=ignore)


def test_a_row_taken_out_with_its_checksum_mended_is_refused(file: Path) -> None:
    lines = lines_of(file)
    rewrite(file, [*lines[:3], *lines[4:]])
    with pytest.raises(SnapshotError):
        load(file, progress=ignore)


def test_a_row_in_place_of_another_is_refused(file: Path) -> None:
    lines = lines_of(file)
    [node, *_] = [n for n, line in enumerate(lines) if line.startswith(b'["node",')]
    [parked, *_] = [n for n, line in enumerate(lines) if line.startswith(b'["parked",')]
    lines[node] = lines[parked]
    rewrite(file, lines)
    with pytest.raises(SnapshotError, match="other contents"):
        load(file, progress=ignore)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (b'"hcs_snapshot":1', b'"hcs_snapshot":2', "format 2; this release reads 1"),
        (b'"hcs_snapshot":1', b'"something":1', "no snapshot of HCS"),
        (b'["node",{"seq"', b'["node",{"new_field":1,"seq"', "other fields"),
        (b'["node",{"seq"', b'["mode",{"seq"', "'mode' is nothing that this release keeps"),
        (b'["node",{"seq":', b'["node",{"seq":"', "line 2: "),
    ],
)
def test_what_another_release_wrote_is_refused_with_the_reason(
    before: bytes, after: bytes, complaint: str, file: Path
) -> None:
    lines = lines_of(file)
    changed = [line.replace(before, after) for line in lines]
    assert changed != lines
    rewrite(file, changed)
    with pytest.raises(SnapshotError, match=complaint):
        load(file, progress=ignore)


def test_what_follows_the_last_line_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + gzip.compress(b"more"))
    with pytest.raises(SnapshotError, match="something follows"):
        load(file, progress=ignore)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("hello\n")
    with pytest.raises(SnapshotError, match="other: .*gzip"):
        load(other, progress=ignore)
    with pytest.raises(SnapshotError, match="No such file"):
        load(tmp_path / "none", progress=ignore)


def test_a_snapshot_that_fails_half_way_leaves_the_one_before(
    file: Path,
) -> None:
    before = file.read_bytes()

    def fail(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(file, CONTENTS, progress=fail)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="No such file or directory"):
        save(tmp_path / "no" / "where", CONTENTS, progress=ignore)
