"""Bulk statements over arrays: one cached statement per table whatever the number of rows.

`INSERT … SELECT FROM unnest($1, $2, …) ON CONFLICT DO UPDATE`, through SQLAlchemy Core; why not
COPY or executemany stands in docs/decisions/003. An array column cannot be unnested row by row, so
it travels as PostgreSQL's array text and is cast back.
"""

import operator
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
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
from sqlalchemy.types import TypeEngine

from hcs_control.rows import AnyRow, RowKey


@cache
def upsert_statement(table: Table) -> Executable:
    """Return the statement that inserts rows or replaces those with the same key."""
    source = _unnested(list(table.columns))
    values = select(
        *(
            cast(source.c[col.name], col.type)
            if isinstance(col.type, ARRAY)
            else source.c[col.name]
            for col in table.columns
        )
    )
    statement = insert(table).from_select([col.name for col in table.columns], values)
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
    source = _unnested(keys)
    wanted = select(*(source.c[key.name] for key in keys))
    return delete(table).where(tuple_(*keys).in_(wanted))


def row_parameters(table: Table, rows: Sequence[AnyRow]) -> dict[str, list[Any]]:
    """Return one array per column."""
    return {col.name: _column_parameter(col, rows) for col in table.columns}


def key_parameters(table: Table, keys: Sequence[RowKey]) -> dict[str, list[Any]]:
    """Return one array per key column."""
    names = [key.name for key in table.primary_key.columns]
    return {name: [key[position] for key in keys] for position, name in enumerate(names)}


def _unnested(columns: list[Column[Any]]) -> TableValuedAlias:
    arrays = [bindparam(col.name, type_=ARRAY(_element_type(col))) for col in columns]
    names = [column(col.name, _element_type(col)) for col in columns]
    return func.unnest(*arrays).table_valued(*names).render_derived()


def _element_type(col: Column[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(col.type, ARRAY) else col.type


def _column_parameter(col: Column[Any], rows: Sequence[AnyRow]) -> list[Any]:
    values = map(operator.attrgetter(col.name), rows)
    return [_array_text(value) for value in values] if isinstance(col.type, ARRAY) else list(values)


def _array_text(items: tuple[object, ...]) -> str:
    return "{" + ",".join(msgspec.json.encode(str(item)).decode() for item in items) + "}"
