"""Bulk statements over JSON: one cached statement and one parameter per table, however many rows.

`INSERT … SELECT FROM json_to_recordset($1) ON CONFLICT DO UPDATE`, through SQLAlchemy Core; why not
arrays, COPY or executemany stands in docs/decisions/003.
"""

from collections.abc import Sequence
from functools import cache

import msgspec
from sqlalchemy import (
    JSON,
    Column,
    Executable,
    Table,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import TableValuedAlias

from hcs_control.rows import AnyRow, RowKey

ENCODER = msgspec.json.Encoder()


@cache
def upsert_statement(table: Table) -> Executable:
    """Return the statement that inserts rows or replaces those with the same key."""
    names = [col.name for col in table.columns]
    source = _recordset(list(table.columns))
    values = select(*(source.c[name] for name in names))
    statement = insert(table).from_select(names, values)
    return statement.on_conflict_do_update(
        index_elements=[col.name for col in table.primary_key],
        set_={
            col.name: statement.excluded[col.name] for col in table.columns if not col.primary_key
        },
    )


@cache
def delete_statement(table: Table) -> Executable:
    """Return the statement that deletes rows by key."""
    keys = list(table.primary_key.columns)
    source = _recordset(keys)
    wanted = select(*(source.c[key.name] for key in keys))
    return delete(table).where(tuple_(*keys).in_(wanted))


def row_parameters(rows: Sequence[AnyRow]) -> dict[str, str]:
    """Return what `upsert_statement` takes: columns are found by the names of the rows' fields."""
    return {"rows": ENCODER.encode(rows).decode()}


def key_parameters(table: Table, keys: Sequence[RowKey]) -> dict[str, str]:
    """Return what `delete_statement` takes."""
    names = [key.name for key in table.primary_key.columns]
    return {"rows": ENCODER.encode([dict(zip(names, key, strict=True)) for key in keys]).decode()}


def _recordset(columns: "list[Column[object]]") -> TableValuedAlias:
    rows = cast(bindparam("rows", type_=Text()), JSON)
    typed = [column(col.name, col.type) for col in columns]
    return func.json_to_recordset(rows).table_valued(*typed).render_derived(with_types=True)
