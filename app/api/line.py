"""A connection to PostgreSQL driven by the events of its socket, for short statements.

Psycopg's cursors do the same with more comfort, for some 60 µs more of the 700 that a page
costs (decision 0010). Connecting, types and errors are psycopg's here too.
"""

import asyncio
import functools
import os
import re
from collections.abc import Mapping
from typing import Any, Self

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from app.core.line import PARAMETERS

PATIENCE_SECONDS = 10.0  # with an answer: twice what a statement may take
MOST_PREPARED = 100  # then the connection has done its work
_NAME = re.compile(r"%\((\w+)\)s|%%")
_GOOD = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}
Params = Mapping[str, Any]


class ApiLine:
    """One connection; one statement at a time, each a transaction of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._types = Transformer(connection)
        self._prepared: dict[str, bytes] = {}
        self._answer: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None
        # A descriptor of its own: libpq closes the other without a word when a line breaks,
        # and the loop would go on watching whatever gets its number next.
        self._watched = os.dup(self._pgconn.socket)
        self._let_go = False
        self._loop.add_reader(self._watched, self._read)

    @classmethod
    async def connect(cls, url: str, options: str) -> Self:
        """Connect; raises ``psycopg.OperationalError``, without a descriptor as well."""
        try:
            connection = await psycopg.AsyncConnection.connect(
                url, autocommit=True, options=options, **PARAMETERS
            )
            return cls(connection)
        except OSError as error:
            text = f"no line to the database: {error.strerror}"
            raise psycopg.OperationalError(text) from error

    async def ask(self, sql: str, params: Params) -> PGresult:
        """Run a statement with named parameters; return its rows, all values as texts.

        Raises psycopg's errors; an answer that does not come in time ends the connection.
        """
        numbered, names = _numbered(sql)
        name = self._prepared.get(numbered)
        if name is None:
            name = f"s{len(self._prepared)}".encode()
            self._pgconn.send_prepare(name, numbered.encode())
            await self._answered()
            self._prepared[numbered] = name
        values = [params[each] for each in names]
        dumped = self._types.dump_sequence(values, [PyFormat.TEXT] * len(values))
        self._pgconn.send_query_prepared(name, dumped)
        return await self._answered()

    def is_usable(self) -> bool:
        """Tell whether it may be lent again: nothing is left open and nobody hung up."""
        return (
            self._pgconn.transaction_status == TransactionStatus.IDLE
            and len(self._prepared) < MOST_PREPARED
        )

    def is_ended(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Let go of it, broken or not; a second time does nothing."""
        if self._let_go:
            return
        self._let_go = True
        self._loop.remove_reader(self._watched)
        self._loop.remove_writer(self._watched)
        self._pgconn.finish()
        os.close(self._watched)

    async def _answered(self) -> PGresult:
        self._answer = self._loop.create_future()
        timer = self._loop.call_later(PATIENCE_SECONDS, self._give_up)
        self._write()
        try:
            result = await self._answer
        finally:
            timer.cancel()
            self._answer = None
        if result.status not in _GOOD:
            raise error_from_result(result)
        return result

    def _write(self) -> None:
        """Send what libpq still has; the rest when the socket takes it."""
        try:
            rest = self._pgconn.flush()
        except psycopg.OperationalError as error:
            self._fail(error)
            return
        if rest:
            self._loop.add_writer(self._watched, self._write)
        else:
            self._loop.remove_writer(self._watched)

    def _read(self) -> None:
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            if self._answer is None:  # nobody asked: the server says that it hangs up
                self.close()
                return
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._tell()
                    return
                self._result = result
        except psycopg.OperationalError as error:
            self._fail(error)

    def _tell(self) -> None:
        result, self._result = self._result, None
        answer = self._answer
        if result is not None and answer is not None and not answer.done():
            answer.set_result(result)

    def _fail(self, error: psycopg.OperationalError) -> None:
        answer = self._answer
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def _give_up(self) -> None:
        """End a line: an answer that comes later must not be taken for another's."""
        self._fail(psycopg.OperationalError("the database does not answer"))


@functools.lru_cache(maxsize=1000)
def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement as PostgreSQL has it, and the names of its parameters in order."""
    names: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        return names.setdefault(found[1], f"${len(names) + 1}")

    return _NAME.sub(number, sql), tuple(names)
