"""Rows travel by the names of their fields, so these must be the tables' columns."""

import json

import msgspec
import pytest
from sqlalchemy import Table

from hcs_bus.names import NodeName, StreamSeq
from hcs_control.rows import AnyRow, SourcePositionRow
from hcs_control.store.bulk import key_parameters, row_parameters
from hcs_control.store.tables import SOURCE_POSITION, TABLE_OF_ROW


@pytest.mark.parametrize(("row_type", "table"), TABLE_OF_ROW.items())
def test_a_row_has_the_columns_of_its_table_and_no_others(
    row_type: type[AnyRow], table: Table
) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(row_type)}
    assert fields == {column.name for column in table.columns}


def test_a_row_says_also_what_is_as_always() -> None:
    row = SourcePositionRow(
        seq=StreamSeq(7), node_name=NodeName("a"), incarnation="b", last_n=2**62
    )
    assert json.loads(row_parameters([row])["rows"]) == [
        {
            "seq": 7,
            "node_name": "a",
            "incarnation": "b",
            "last_n": 2**62,
            "missing": [],
            "ahead": [],
        }
    ]


def test_a_key_is_named_column_by_column() -> None:
    parameters = key_parameters(SOURCE_POSITION, [("a", "b")])
    assert json.loads(parameters["rows"]) == [{"node_name": "a", "incarnation": "b"}]
