"""The published schemas are those of the code, and say of an event what its decoder says."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from hcs_bus.envelope import TYPE_PREFIX, decode_decision, decode_envelope, decode_fact
from hcs_bus.errors import PoisonEventError
from hcs_bus.schemas import DIALECT, encode, schemas
from tests.support.every_kind import DECISIONS, FACTS

DIRECTORY = Path(__file__).parents[3] / "docs" / "schemas"
GOLDEN = Path(__file__).parents[2] / "golden"
EVENTS = sorted(GOLDEN.glob("events*/*.json"))  # today's, and the first release's
WRONG = {"neither": "a number", "nor": ["a text"]}


def validator(event: dict[str, Any]) -> Draft202012Validator:
    """Return the published schema of an event's type."""
    name = event["type"].removeprefix(TYPE_PREFIX) + ".json"
    return Draft202012Validator(json.loads((DIRECTORY / name).read_bytes()))


def refused(event: dict[str, Any]) -> bool:
    """Say whether the code refuses an event."""
    try:
        envelope = decode_envelope(msgspec.json.encode(event))
        (decode_fact if ".fact." in envelope.type else decode_decision)(envelope)
    except PoisonEventError:
        return True
    return False


def test_the_schemas_in_the_documentation_are_those_of_the_structs() -> None:
    # After a change that is meant: python -m hcs_bus.schemas docs/schemas
    found = {path.name: path.read_bytes() for path in DIRECTORY.iterdir()}
    assert found == {name: encode(schema) for name, schema in schemas().items()}


def test_a_schema_describes_the_whole_event() -> None:
    schema = schemas()["fact.fault.v1.json"]
    assert schema["properties"]["type"] == {"const": "io.hcs.fact.fault.v1"}
    assert set(schema["required"]) >= {"id", "source", "type", "time", "data", "hcsnode"}
    fault = schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert set(fault["required"]) >= {"device_id", "code", "severity", "state", "at_ns"}


@pytest.mark.parametrize("path", sorted(DIRECTORY.iterdir()), ids=lambda path: path.name)
def test_a_published_schema_is_a_schema_of_the_dialect_that_it_names(path: Path) -> None:
    schema = json.loads(path.read_bytes())
    assert schema["$schema"] == DIALECT == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_event_that_is_understood_is_valid(path: Path) -> None:
    event = json.loads(path.read_bytes())
    assert not refused(event)
    assert list(validator(event).iter_errors(event)) == []


@pytest.mark.parametrize("kind", [*FACTS, *DECISIONS])
def test_an_event_with_any_one_field_broken_is_neither_valid_nor_understood(kind: str) -> None:
    event = json.loads((GOLDEN / "events" / f"{kind}.v1.json").read_bytes())
    schema = validator(event)
    for field in event["data"]:
        changed = event | {"data": event["data"] | {field: WRONG}}
        assert [list(error.path) for error in schema.iter_errors(changed)] == [["data", field]]
        assert refused(changed), field


@pytest.mark.parametrize("kind", [*FACTS, *DECISIONS])
def test_an_event_that_lacks_what_it_needs_is_neither_valid_nor_understood(kind: str) -> None:
    event = json.loads((GOLDEN / "events" / f"{kind}.v1.json").read_bytes())
    schema = validator(event)
    for lacking in (event, event["data"]):
        for field in list(lacking):
            value = lacking.pop(field)
            assert schema.is_valid(event) != refused(event), field
            lacking[field] = value
    del event["data"]["at_ns"]  # which every event needs
    assert not schema.is_valid(event)
