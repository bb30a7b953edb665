"""docs/events.md shows each kind of event once, with the very sample that the golden file holds."""

import json
import re
from pathlib import Path

from hcs_bus.events import DECISION_KINDS, FACT_KINDS

ROOT = Path(__file__).parents[3]
SECTION = re.compile(r"^## (\w+)\n\n.+?\n\n```json\n(.+?)\n```$", re.MULTILINE | re.DOTALL)


def test_the_document_shows_the_golden_sample_of_each_kind() -> None:
    sections = dict(SECTION.findall((ROOT / "docs" / "events.md").read_text()))
    assert sections.keys() == FACT_KINDS.keys() | DECISION_KINDS.keys()
    for kind, sample in sections.items():
        golden = (ROOT / "tests" / "golden" / "events" / f"{kind}.v1.json").read_text()
        assert json.loads(sample) == json.loads(golden), kind
