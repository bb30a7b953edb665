"""The published schemas are those of the code."""

from pathlib import Path

from hcs_bus.schemas import encode, schemas

DIRECTORY = Path(__file__).parents[3] / "docs" / "schemas"


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
