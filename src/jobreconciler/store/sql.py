"""SQL as the store sends it: one text for both drivers, run on the driver's own cursor.

SQLAlchemy describes tables, renders the dialects' differences and keeps the connections. Rows
don't pass through its result layer: a fleet of 100,000 jobs is read in one go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Select, Table, Text, column, text

Parameters = Mapping[str, Any]
Row = tuple[Any, ...]

_NAME = re.compile(r":([a-z_]+)")
_IDS_OF_SQLITE = "SELECT value FROM json_each(:ids)"
_IDS_OF_POSTGRESQL = "SELECT unnest(CAST(:ids AS text[]))"


class Statement:
    """SQL with `:names`, spelt for each driver once, when it is declared.

    `{ids}` stands for a list of ids of any length, given as `Tx.ids`. Where the databases really
    differ, `sqlite` is the other text; it takes the same names.
    """

    __slots__ = ("pick", "postgresql", "sqlite")

    def __init__(self, sql: str, *, sqlite: str | None = None) -> None:
        for_sqlite = (sql if sqlite is None else sqlite).replace("{ids}", f"({_IDS_OF_SQLITE})")
        for_postgresql = sql.replace("{ids}", f"({_IDS_OF_POSTGRESQL})")
        names = _NAME.findall(for_postgresql)
        if names != _NAME.findall(for_sqlite):
            raise ValueError(f"both spellings must take the same names in one order: {sql}")
        self.sqlite = _NAME.sub("?", for_sqlite)
        self.postgresql = _NAME.sub("%s", for_postgresql.replace("%", "%%"))
        self.pick = _picker(names)


def _picker(names: Sequence[str]) -> Callable[[Parameters], Row]:
    """What takes a statement's values, in their order, out of values by name."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


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

    def run(self, statement: Statement, values: Parameters = {}) -> int:  # noqa: B006
        """How many rows it changed."""
        self._execute(statement, values)
        count: int = self.cursor.rowcount
        return count

    def many(self, statement: Statement, rows: Collection[Parameters]) -> None:
        """Run it for each row. How many rows each one changed is not known afterwards."""
        if rows:
            sql = statement.sqlite if self.is_sqlite else statement.postgresql
            self.cursor.executemany(sql, map(statement.pick, rows))

    def all_or_none(self, *steps: tuple[Statement, Collection[Parameters]]) -> bool:
        """Run each step for all of its rows. False, and nothing is changed, where the rows of a
        step that are not one each: many at once are quick, and say only how many there were."""
        self.command("SAVEPOINT steps")
        for statement, rows in steps:
            self.many(statement, rows)
            if rows and self.cursor.rowcount != len(rows):
                self.command("ROLLBACK TO SAVEPOINT steps")
                self.command("RELEASE SAVEPOINT steps")
                return False
        self.command("RELEASE SAVEPOINT steps")
        return True

    def all(self, statement: Statement, values: Parameters = {}) -> list[Row]:  # noqa: B006
        self._execute(statement, values)
        rows: list[Row] = self.cursor.fetchall()
        return rows

    def one(self, statement: Statement, values: Parameters = {}) -> Row | None:  # noqa: B006
        self._execute(statement, values)
        row: Row | None = self.cursor.fetchone()
        return row

    def _execute(self, statement: Statement, values: Parameters) -> None:
        sql = statement.sqlite if self.is_sqlite else statement.postgresql
        self.cursor.execute(sql, statement.pick(values))

    def select(self, query: Select[Any]) -> list[Row]:
        """Run a query that is put together at run time."""
        compiled = query.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        self.cursor.execute(str(compiled), compiled.params)
        rows: list[Row] = self.cursor.fetchall()
        return rows

    def ids(self, ids: Iterable[str]) -> Any:
        """The value for `{ids}`."""
        return json.dumps(list(ids)) if self.is_sqlite else list(ids)

    def among(self, wanted: ColumnElement[str], ids: Iterable[str]) -> ColumnElement[bool]:
        """`wanted IN {ids}` for a query that is put together at run time: one value, however many
        they are, where a database takes so many and no more."""
        listed = _IDS_OF_SQLITE if self.is_sqlite else _IDS_OF_POSTGRESQL
        query = text(listed).bindparams(ids=self.ids(ids))
        return wanted.in_(query.columns(column("id", Text)))

    def command(self, sql: str) -> None:
        """SQL without parameters: BEGIN, COMMIT, SAVEPOINT, PRAGMA."""
        self.cursor.execute(sql)


@lru_cache(maxsize=16)
def columns(table: Table, *leave_out: str) -> str:
    """The table's column names, for a SELECT list."""
    return ", ".join(column.name for column in table.columns if column.name not in leave_out)
