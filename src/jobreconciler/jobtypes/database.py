"""The databases of jobs: a transaction on what a secret's SQLAlchemy URL names.

Imported by a run alone: SQLAlchemy costs more than checking a file. No error says anything of the
URL but which secret it is; drivers' own words have its password taken out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from jobreconciler.errors import Invalid, JobReconcilerError, Transient

CONNECT_SECONDS = 10
BUSY_SECONDS = 30.0
"""How long SQLite waits for somebody else's lock."""
_WAITS: Mapping[str, Mapping[str, float]] = {
    "postgresql": {"connect_timeout": CONNECT_SECONDS},
    "sqlite": {"timeout": BUSY_SECONDS},
}
"""Which of a driver's arguments says so, where the URL does not."""
_LONGEST_WORDS = 500
_STEPS = 50_000
"""SQLite's own instructions between two looks at the clock: some milliseconds."""
_PASSING_STATES = ("08", "40", "53", "55P03", "57")
"""SQLSTATEs that another try may not meet: connection, conflicts, resources, stopped by others."""

Execute = Callable[[str, str], int]
"""(what it is called in errors, SQL) → how many rows it returned or changed."""


class JobDatabase:
    """The database behind one secret.

    `statement_timeout` is in seconds. `stopped` is asked now and then where the driver hears no
    signal while it works.
    """

    def __init__(
        self,
        url: str,
        reference: Mapping[str, str],
        *,
        statement_timeout: int,
        stopped: Callable[[], bool],
    ) -> None:
        self._named = f"the database of {_shown(reference)}"
        self._url = self._parsed(url)
        self._timeout = statement_timeout
        self._stopped = stopped
        self._deadline = 0.0
        self._passwords = _spellings(self._url.password)

    @contextmanager
    def transaction(self, *, keep: bool) -> Iterator[Execute]:
        """One transaction: committed at the end with `keep`, else taken back, as by any error.

        Raises Transient for what another try may not meet, Invalid for everything else.
        """
        engine = self._engine()
        try:
            with self._connected(engine) as connection:
                yield lambda what, sql: self._run(connection, what, sql)
                try:
                    connection.commit() if keep else connection.rollback()
                except DBAPIError as error:
                    raise self._explained("the commit", error) from None
        finally:
            engine.dispose()

    def _parsed(self, text: str) -> URL:
        try:
            url = make_url(text.strip())
        except ArgumentError:
            raise _bad_url(f"{self._named}: that secret is no SQLAlchemy URL") from None
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        return url

    def _engine(self) -> Engine:
        backend = self._url.get_backend_name()
        waits = {
            name: n for name, n in _WAITS.get(backend, {}).items() if name not in self._url.query
        }
        try:
            engine = create_engine(self._url, poolclass=NullPool, connect_args=waits)
        except NoSuchModuleError:
            raise _bad_url(f"{self._named}: there is no dialect {self._url.drivername!r}") from None
        except ImportError as error:
            raise Invalid(
                f"{self._named} needs the Python module {error.name!r}, which is not installed",
                reason="DriverMissing",
                hint="install it into the daemon's Python environment; for PostgreSQL: "
                "pip install 'jobreconciler[postgres]'",
            ) from None
        except (ArgumentError, TypeError, ValueError) as error:
            raise _bad_url(f"{self._named}: {self._words(error)}") from None
        if backend == "sqlite":
            self._prepare_sqlite(engine)
        elif self._url.drivername == "postgresql+psycopg":
            event.listen(engine, "do_execute_no_params", _execute_one)
        return engine

    def _prepare_sqlite(self, engine: Engine) -> None:
        """The driver would leave table definitions outside of the transaction."""

        def connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            connection.set_progress_handler(self._must_end, _STEPS)

        event.listen(engine, "connect", connected)
        event.listen(
            engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
        )

    def _must_end(self) -> bool:
        return self._stopped() or (self._deadline > 0 and time.monotonic() > self._deadline)

    @contextmanager
    def _connected(self, engine: Engine) -> Iterator[Connection]:
        try:
            connection = engine.connect()
            connection.begin()
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{self._timeout}s'")
        except DBAPIError as error:
            raise self._explained(self._named, error, connecting=True) from None
        with connection:
            yield connection

    def _run(self, connection: Connection, what: str, sql: str) -> int:
        self._deadline = time.monotonic() + self._timeout
        # Without parameters: a per cent sign or a colon in it is nobody's placeholder.
        try:
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            rows = sum(1 for _ in result) if result.returns_rows else max(0, result.rowcount)
        except DBAPIError as error:
            if self._stopped_sqlite(connection, error):
                raise self._given_up(what) from None
            raise self._explained(what, error) from None
        finally:
            self._deadline = 0.0
        if not _in_transaction(connection):
            raise Invalid(
                f"{what} ended the transaction: what came before it cannot be taken back any more",
                reason="TransactionEnded",
                hint="all statements are one transaction; leave its control to the program",
            )
        return rows

    def _stopped_sqlite(self, connection: Connection, error: DBAPIError) -> bool:
        return connection.dialect.name == "sqlite" and "interrupted" in str(error.orig)

    def _given_up(self, what: str) -> Transient:
        if self._stopped():
            return Transient(f"{what} was stopped", reason="Stopped")
        return Transient(
            f"{what} took longer than {self._timeout} s and was given up", reason="StatementTimeout"
        )

    def _explained(
        self, what: str, error: DBAPIError, *, connecting: bool = False
    ) -> JobReconcilerError:
        message = f"{what}: {self._words(error.orig or error)}"
        if connecting or error.connection_invalidated or _may_pass(error.orig):
            return Transient(message, reason="DatabaseUnavailable" if connecting else "Database")
        return Invalid(message, reason="Database")

    def _words(self, error: BaseException) -> str:
        """What a driver says, on one line and without the password."""
        words = " ".join(str(error).split())
        for password in self._passwords:
            words = words.replace(password, "***")
        return words[:_LONGEST_WORDS] or type(error).__name__


def _execute_one(cursor: Any, statement: str, _context: Any) -> bool:
    """Prepared, so that the server refuses a second statement after a semicolon.

    Whoever stops the run stops the statement: the server would go on with it.
    """
    try:
        cursor.execute(statement, prepare=True)
    except Exception:
        raise
    except BaseException:
        cursor.connection.cancel()
        raise
    return True


def _in_transaction(connection: Connection) -> bool:
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return bool(raw.in_transaction)
    if connection.dialect.driver == "psycopg":
        return bool(raw.info.transaction_status == raw.info.transaction_status.INTRANS)
    return True


def _may_pass(error: BaseException | None) -> bool:
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(_PASSING_STATES)
    # SQLITE_BUSY and SQLITE_LOCKED, in their extended forms too.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (5, 6)


def _spellings(password: Any) -> tuple[str, ...]:
    from urllib.parse import quote, quote_plus

    plain = str(password) if password else ""
    found = {plain, quote(plain, safe=""), quote_plus(plain)} - {""}
    return tuple(sorted(found, key=len, reverse=True))


def _shown(reference: Mapping[str, str]) -> str:
    ((kind, name),) = reference.items()
    return f"{{{kind}: {name}}}"


def _bad_url(message: str) -> Invalid:
    return Invalid(
        message,
        reason="DatabaseUrl",
        hint="write postgresql://user:password@host/database or sqlite:////absolute/path.db",
    )
