"""JSON Schema of every event, generated from the structs: the contract for outsiders.

    python -m hcs_bus.schemas DIRECTORY

writes one file per kind; a test compares them with `docs/schemas`.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from hcs_bus.envelope import TYPE_PREFIX, TYPE_VERSION, Envelope
from hcs_bus.events import DECISION_KINDS, FACT_KINDS, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Return file names and schemas; each schema is of the whole CloudEvent."""
    kinds: dict[str, type[Event]] = {f"fact.{kind}": fact for kind, fact in FACT_KINDS.items()}
    kinds |= {f"decision.{kind}": struct for kind, struct in DECISION_KINDS.items()}
    return {f"{word}{TYPE_VERSION}.json": _schema(word, struct) for word, struct in kinds.items()}


def _schema(word: str, struct: type[Event]) -> dict[str, Any]:
    (envelope, payload), definitions = msgspec.json.schema_components([Envelope, struct])
    event_type = f"{TYPE_PREFIX}{word}{TYPE_VERSION}"
    cloud_event = definitions.pop(envelope["$ref"].rpartition("/")[2])
    properties = cloud_event["properties"] | {"data": payload, "type": {"const": event_type}}
    return {
        "$schema": DIALECT,
        "$id": event_type,
        **cloud_event,
        "title": event_type,
        "properties": properties,
        "$defs": definitions,
    }


def write(directory: Path) -> None:
    """Write every schema."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (directory / name).write_bytes(encode(schema))


def encode(schema: dict[str, Any]) -> bytes:
    """Return the bytes of a schema's file."""
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted")) + b"\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
