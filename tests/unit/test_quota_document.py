"""`docs/quota.md` names what the interceptor reads and says, and nothing else."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "c" / "interceptor").glob("*.c"))
DOCUMENT = (ROOT / "docs" / "quota.md").read_text()


def _in_first_column(section: str) -> set[str]:
    rows = DOCUMENT.split(f"## {section}\n")[1].split("\n## ")[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def _in_sources(pattern: str) -> set[str]:
    return {name for source in SOURCES for name in re.findall(pattern, source.read_text())}


def test_every_variable_is_described() -> None:
    found = _in_sources(r'(?:getenv|read_text)\("(HCS_\w+)"')
    assert _in_first_column("Variables") == found


def test_every_event_is_described() -> None:
    assert _in_first_column("When it does not hold") == _in_sources(r'hcs_debug\("(\w+)"')
