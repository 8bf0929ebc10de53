"""The process beside a pull that reads the service: its own core, its own memory limit.

What a service sends is received, unpacked and taken apart here, while the pull's process
decodes and stores the page before. The two speak over a socket pair: an order, then one
answer for each question. A question is asked as soon as the page before was received, and
no page is fetched without one: that keeps the reader one page ahead and no further, and a
pull that may not ask its host any more only has to be silent. Neither the database's
connections nor another thread are in this process; it ends with the one it serves. Before
a request to a host with a rate it asks for its turn, in the place of a page.
"""

import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NoReturn

import msgspec

from app.connectors import errors
from app.connectors.base import Page
from app.connectors.registry import ReadOrder, connector_for_order
from app.core.errors import SimpulError, TransientError
from jobs.leash import die_with_parent

log = logging.getLogger("simpul.reader")
_LENGTH_BYTES = 4
_ASK = b"?"


class ReaderLostError(TransientError):
    """The reading process ended without a word: killed, or out of memory."""

    code = "reader_lost"

    def __init__(self) -> None:
        super().__init__("The process that reads the service ended unexpectedly.")


class _Head(msgspec.Struct, omit_defaults=True):
    """What goes before the bytes of a page; nothing set: the end.

    ``error`` set: what was raised instead of a page; ``turn``: the pair to be asked next.
    """

    position: dict[str, Any] | None = None
    index: int = 0
    row_count: int = 0
    declared_total: int | None = None
    rows_bytes: int = 0
    turn: str = ""
    error: str = ""
    message: str = ""
    code: str = ""
    params: dict[str, Any] = {}
    retry_after_seconds: float | None = None
    pair: str = ""


_ERRORS = {
    each.__name__: each
    for each in (
        errors.SourceSettingsError,
        errors.SourceUnavailableError,
        errors.SourceRefusedError,
        errors.SourceAnswerError,
    )
}


class Reader:
    """The pull's end. Start it before this process has a second thread; close it.

    Raises ``OSError`` when the system has no process or descriptor left.
    """

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        parent = os.getpid()
        try:
            self._pid = os.fork()
        except OSError:
            self._channel.close()
            theirs.close()
            raise
        if not self._pid:
            _be_reader(theirs, parent)
        theirs.close()

    def close(self) -> None:
        """End the process, whatever it is at. Once is enough, twice does no harm."""
        self._channel.close()
        pid, self._pid = self._pid, 0
        if pid:
            os.kill(pid, signal.SIGKILL)  # until we wait for it, the number is its own
            os.waitpid(pid, 0)

    def break_off(self) -> None:
        """End the process from another thread; the pull's own meets ``ReaderLostError``."""
        pid = self._pid
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pages(
        self,
        order: ReadOrder,
        await_turn: Callable[[str], None],
        may_go_on: Callable[[], bool],
    ) -> Iterator[tuple[Page, dict[str, Any]]]:
        """Yield what ``Connector.pages`` yields, and raise what it raises. Call it once.

        ``await_turn`` returns when one of ``order.paced`` may be asked. When ``may_go_on``
        says no, the page at hand is the last. Raises ``ReaderLostError`` when the process
        ends before its work.
        """
        try:
            _send(self._channel, msgspec.msgpack.encode(order))
            self._channel.sendall(_ASK)
            while (got := self._next(await_turn)) is not None:
                # Behind the last page nobody is asked any more.
                goes_on = bool(got[1].get("done")) or may_go_on()
                if goes_on:
                    self._channel.sendall(_ASK)
                yield got
                if not goes_on:
                    return
        except (EOFError, ConnectionError):
            raise ReaderLostError from None

    def _next(
        self, await_turn: Callable[[str], None]
    ) -> tuple[Page, dict[str, Any]] | None:
        while (head := self._head()).turn:
            await_turn(head.turn)
            self._channel.sendall(_ASK)
        if head.error:
            raise _error_of(head)
        if head.position is None:
            return None
        page = Page(
            index=head.index,
            row_count=head.row_count,
            rows_json=_exactly(self._channel, head.rows_bytes),
            digests=_received(self._channel),
            declared_total=head.declared_total,
        )
        return page, head.position

    def _head(self) -> _Head:
        return msgspec.msgpack.decode(_received(self._channel), type=_Head)


def _error_of(head: _Head) -> BaseException:
    """Return the error that ended the reading, as it was raised there."""
    if head.error == MemoryError.__name__:
        return MemoryError()
    kind = _ERRORS.get(head.error)
    if kind is None:
        return RuntimeError(f"the reader failed by {head.error}; its log lines are above")
    error = kind(head.message, code=head.code, **head.params)
    if isinstance(error, errors.SourceUnavailableError):
        error.retry_after_seconds = head.retry_after_seconds
        error.pair = head.pair
    return error


def _be_reader(channel: socket.socket, parent: int) -> NoReturn:
    """Be the other end: serve one order and end."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pull's process decides
        die_with_parent(parent)
        _close_all_but(channel.fileno())
        _serve(channel)
    except (EOFError, ConnectionError):
        log.debug("nobody listens any more")
    except BaseException:
        log.exception("the reader failed")
    finally:
        os._exit(os.EX_OK)


def _close_all_but(kept: int) -> None:
    """Close what was open before the fork; the three standard streams stay."""
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)
    os.closerange(3, kept)
    os.closerange(kept + 1, limit)


def _serve(channel: socket.socket) -> None:
    order = msgspec.msgpack.decode(_received(channel), type=ReadOrder)
    line = _Line(channel, frozenset(order.paced))
    try:
        line.await_question()
        with closing(_pages_of(order, line.await_turn)) as pages:
            for page, position in pages:
                line.say(_head_of(page, position), page.rows_json)
                _send(channel, page.digests)
                del page
                line.await_question()  # then fetched while this one is worked on
        line.say(_Head())
    except (EOFError, ConnectionError):
        raise
    except SimpulError as error:
        line.say(_head_of_error(error))
    except BaseException as error:
        line.say(_Head(error=type(error).__name__))
        raise


class _Line:
    """The reader's end of the conversation: one answer to each question, no more."""

    def __init__(self, channel: socket.socket, paced: frozenset[str]) -> None:
        self._channel = channel
        self._paced = paced
        self._is_asked = False

    def say(self, head: _Head, rest: bytes = b"") -> None:
        """Answer the question at hand, or the next one."""
        self.await_question()
        self._is_asked = False
        _send(self._channel, msgspec.msgpack.encode(head, enc_hook=str))
        self._channel.sendall(rest)

    def await_turn(self, pair: str) -> None:
        """Say who is to be asked; the next question is the permission."""
        if pair in self._paced:
            self.say(_Head(turn=pair))
            self.await_question()

    def await_question(self) -> None:
        """Return when there is a question that has no answer yet."""
        if not self._is_asked and self._channel.recv(1) != _ASK:
            raise EOFError
        self._is_asked = True


def _pages_of(order: ReadOrder, await_turn: Callable[[str], None]) -> Any:
    return connector_for_order(order, await_turn).pages(order.position)


def _head_of(page: Page, position: dict[str, Any]) -> _Head:
    return _Head(
        position=position,
        index=page.index,
        row_count=page.row_count,
        declared_total=page.declared_total,
        rows_bytes=len(page.rows_json),
    )


def _head_of_error(error: SimpulError) -> _Head:
    return _Head(
        error=type(error).__name__,
        message=error.message,
        code=error.code,
        params=dict(error.params),
        retry_after_seconds=getattr(error, "retry_after_seconds", None),
        pair=getattr(error, "pair", ""),
    )


def _send(channel: socket.socket, data: bytes) -> None:
    channel.sendall(len(data).to_bytes(_LENGTH_BYTES, "big") + data)


def _received(channel: socket.socket) -> bytes:
    return _exactly(channel, int.from_bytes(_exactly(channel, _LENGTH_BYTES), "big"))


def _exactly(channel: socket.socket, count: int) -> bytes:
    """Receive so many bytes; raises ``EOFError`` when the other end has gone."""
    data = channel.recv(count, socket.MSG_WAITALL) if count else b""
    parts = [data]
    left = count - len(data)
    while left and parts[-1]:
        parts.append(channel.recv(left, socket.MSG_WAITALL))
        left -= len(parts[-1])
    if left:
        raise EOFError
    return data if len(parts) == 1 else b"".join(parts)
