"""SQL as the store sends it: one text for both drivers, run on the driver's own cursor.

SQLAlchemy describes tables, renders the dialects' differences and keeps the connections. Rows
don't pass through its result layer: a fleet of 100,000 jobs is read in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Select, Table

Parameters = Mapping[str, Any]
Row = tuple[Any, ...]

_IDS_AT_ONCE = 500
_NAME = re.compile(r":([a-z_]+)")


class Statement:
    """SQL with `:names`, spelt for SQLite and for psycopg once, when it is declared."""

    __slots__ = ("_pyformat", "_sqlite")

    def __init__(self, sql: str, *, sqlite: str | None = None) -> None:
        self._sqlite = sql if sqlite is None else sqlite
        self._pyformat = _NAME.sub(r"%(\1)s", sql.replace("%", "%%"))

    def spelt(self, is_sqlite: bool) -> str:
        return self._sqlite if is_sqlite else self._pyformat


def insert(table: Table, conflict: str = "", *, leave_out: Iterable[str] = ()) -> Statement:
    """Insert one row given by column names. `conflict` is an ON CONFLICT clause."""
    skipped = frozenset(leave_out)
    names = [column.name for column in table.columns if column.name not in skipped]
    values = ", ".join(f":{name}" for name in names)
    return Statement(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) {conflict}")


def overwrite(table: Table, key: str, *, keep: Iterable[str] = ()) -> Statement:
    """Insert one row, or overwrite the one with this key, all but the columns to keep."""
    kept = {key, *keep}
    updates = ", ".join(
        f"{c.name} = excluded.{c.name}" for c in table.columns if c.name not in kept
    )
    return insert(table, f"ON CONFLICT ({key}) DO UPDATE SET {updates}")


class Tx:
    """One open transaction on one connection. Errors are the driver's own."""

    __slots__ = ("cursor", "dialect", "is_sqlite")

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self.cursor = cursor
        self.dialect = dialect
        self.is_sqlite = dialect.name == "sqlite"

    def run(self, statement: Statement, parameters: Parameters | None = None) -> int:
        """How many rows it changed."""
        self.cursor.execute(statement.spelt(self.is_sqlite), parameters or {})
        count: int = self.cursor.rowcount
        return count

    def many(self, statement: Statement, rows: Sequence[Parameters]) -> None:
        """Run it for each row. How many rows each one changed is not known afterwards."""
        if rows:
            self.cursor.executemany(statement.spelt(self.is_sqlite), rows)

    def all(self, statement: Statement, parameters: Parameters | None = None) -> list[Row]:
        self.cursor.execute(statement.spelt(self.is_sqlite), parameters or {})
        rows: list[Row] = self.cursor.fetchall()
        return rows

    def one(self, statement: Statement, parameters: Parameters | None = None) -> Row | None:
        self.cursor.execute(statement.spelt(self.is_sqlite), parameters or {})
        row: Row | None = self.cursor.fetchone()
        return row

    def select(self, query: Select[Any]) -> list[Row]:
        """Run a query that is put together at run time."""
        compiled = query.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        self.cursor.execute(str(compiled), compiled.params)
        rows: list[Row] = self.cursor.fetchall()
        return rows

    def command(self, sql: str) -> None:
        """SQL without parameters: BEGIN, COMMIT, SAVEPOINT, PRAGMA."""
        self.cursor.execute(sql)


@lru_cache(maxsize=8)
def columns(table: Table, *leave_out: str) -> str:
    """The table's column names, for a SELECT list."""
    return ", ".join(column.name for column in table.columns if column.name not in leave_out)


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids in lists that one IN can take."""
    wanted = list(ids)
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        yield wanted[start : start + _IDS_AT_ONCE]
