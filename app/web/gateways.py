"""The two worlds behind one port: the API on the event loop, the pages in threads.

``Front`` is what is served. ``Mounted`` lets any other server of WSGI, and tests, have the
API too, at the cost of a thread for each request.
"""

import asyncio
import atexit
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from a2wsgi import WSGIMiddleware

from app.core.asgi import Message, Receive, Scope, Send, Wsgi, put

LARGEST_BODY = 8 * 1024 * 1024
MOST_BODIES = 8 * LARGEST_BODY  # of one process, in bytes, until they are answered
BODY_SECONDS = 300.0
LINGER_SECONDS = 2.0
STALLED_SECONDS = 60.0  # a reader who takes nothing for so long loses the answer
_REST = "simpul.rest"
_ASCII = "".join(map(chr, range(128)))
_BUSY = (
    "Terlalu banyak kiriman sedang diterima. Coba lagi sebentar lagi.\n"
    "Too much is being received just now. Try again in a moment.\n"
)
_LATE = (
    "Kiriman terlalu lambat datang dan dihentikan. Coba lagi.\n"
    "What was sent came too slowly and was broken off. Try again.\n"
)


class AsgiDoor(Protocol):
    """What answers below /api."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def close(self) -> None: ...


class Front:
    """The ASGI application of one process, with ``threads`` for the pages."""

    def __init__(self, door: AsgiDoor, pages: Wsgi, threads: int) -> None:
        self._door = door
        self._pages = Pages(pages, threads)
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if _is_of_api(scope["path"]):
            await self._door(scope, receive, send)
            return
        body = await self._bodies.received(scope, receive, send)
        if body is None:
            return
        try:
            await self._pages(_for_pages(scope, body), _once(body, receive), send)
        finally:
            self._bodies.forget(body)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._door.close()
        await send({"type": "lifespan.shutdown.complete"})


class Pages:
    """The pages as an ASGI application: a thread makes an answer, none waits for its reader."""

    def __init__(self, pages: Wsgi, threads: int) -> None:
        self._wsgi = pages
        application: Any = self._begin  # its own names for the same types
        self._bridge: Any = WSGIMiddleware(application, workers=threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; raises ``TimeoutError`` when nothing was taken for long."""

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = message["headers"]  # the server names the date by itself
                message["headers"] = [each for each in named if each[0] != b"date"]
            elif not message.get("more_body", False):
                async for part in self._parts(scope[_REST]):
                    more = {**message, "body": part, "more_body": True}
                    await put(send, more, STALLED_SECONDS)
            await put(send, message, STALLED_SECONDS)

        try:
            await self._bridge(scope, receive, pass_on)
        finally:
            if _REST in scope and not scope[_REST].is_closed:
                self._bridge.executor.submit(scope[_REST].close)

    def _begin(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Make an answer and return its first part: most have no other."""
        rest = _Rest(self._wsgi(environ, start_response))
        environ["asgi.scope"][_REST] = rest
        return (rest.next_part(),)

    async def _parts(self, rest: "_Rest") -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while not rest.is_closed:
            yield await loop.run_in_executor(self._bridge.executor, rest.next_part)


class _Rest:
    """What of an answer is not sent yet, in parts of some size; closed at its end."""

    SIZE = 64 * 1024

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._iterator = iter(chunks)
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self.is_closed = False

    def next_part(self) -> bytes:
        with self._lock:
            return b"" if self.is_closed else self._context.run(self._gather)

    def close(self) -> None:
        """Close it, as soon as nobody reads from it."""
        with self._lock:
            if not self.is_closed:
                self._context.run(self._end)

    def _gather(self) -> bytes:
        parts, size = [], 0
        for chunk in self._iterator:
            parts.append(chunk)
            size += len(chunk)
            if size >= self.SIZE:
                break
        else:
            self._end()
        return b"".join(parts)

    def _end(self) -> None:
        self.is_closed = True
        getattr(self._chunks, "close", lambda: None)()


class Mounted:
    """A WSGI application that has the door beside the pages, on a loop in a thread."""

    def __init__(self, pages: Wsgi, door: AsgiDoor) -> None:
        self.pages = pages
        self.door = door

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not _is_of_api(environ.get("PATH_INFO", "")):
            return self.pages(environ, start_response)
        talk = _Talk(self._loop, self.door, _scope_of(environ))
        start = talk.next_message()
        if start is None:
            raise talk.failure()
        phrase = HTTPStatus(start["status"]).phrase
        named = [
            (name.decode(), value.decode("latin-1")) for name, value in start["headers"]
        ]
        start_response(f"{start['status']} {phrase}", named)
        return talk

    @functools.cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        atexit.register(
            lambda: asyncio.run_coroutine_threadsafe(self.door.close(), loop).result(3)
        )
        return loop


class _Talk:
    """One request at the door on a loop, seen from a thread of WSGI."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, door: AsgiDoor, scope: Scope
    ) -> None:
        self._loop = loop
        self._said: asyncio.Queue[Message | None] = asyncio.Queue()
        self._talk = asyncio.run_coroutine_threadsafe(
            door(scope, self._receive, self._send), loop
        )
        self._talk.add_done_callback(lambda _: self._call(self._said.put_nowait, None))

    def next_message(self) -> Message | None:
        """Wait for what the door says next; None at its end."""
        return asyncio.run_coroutine_threadsafe(self._said.get(), self._loop).result()

    def failure(self) -> BaseException:
        """Return why the talk ended early."""
        return self._talk.exception() or RuntimeError("the door said nothing")

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body; raises what broke it off. Given up in the middle, it ends the talk."""
        try:
            self._call(self._said.task_done)
            while (message := self.next_message()) is not None:
                yield message["body"]
                self._call(self._said.task_done)
            self._talk.result()
        finally:
            self._talk.cancel()

    def close(self) -> None:
        """End the talk: the server calls it, also when it has read nothing."""
        self._talk.cancel()

    def _call(self, what: Callable[..., Any], *given: Any) -> None:
        self._loop.call_soon_threadsafe(what, *given)

    async def _send(self, message: Message) -> None:
        self._said.put_nowait(message)
        await self._said.join()  # until the thread has passed it on

    @staticmethod
    async def _receive() -> Message:
        """Nothing more comes: the door reads no bodies, and is cancelled at the end."""
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def _scope_of(environ: dict[str, Any]) -> Scope:
    """Return what the door reads of a WSGI environment."""
    headers = [
        (name[5:].replace("_", "-").lower().encode(), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),
        "query_string": _in_ascii(environ.get("QUERY_STRING", "").encode("latin-1")),
        "client": (environ.get("REMOTE_ADDR", ""), 0),
        "headers": headers,
    }


class Bodies:
    """Receives the bodies of requests before a page begins: slow ones hold no thread."""

    def __init__(self) -> None:
        self._size = 0

    async def received(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """Return a body, or what of it is enough to refuse it; None when it was answered.

        It is counted until ``forget``: those that wait for a thread fill memory as well.
        """
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > LARGEST_BODY:
            return b""  # the pages refuse it by its length
        body = bytearray()
        is_whole = False
        try:
            async with asyncio.timeout(BODY_SECONDS):
                is_whole = await self._gather(body, receive, send)
        except TimeoutError:
            await _refuse(receive, send, 408, _LATE)
        finally:
            if not is_whole:
                self.forget(body)
        return bytes(body) if is_whole else None

    def forget(self, body: bytes | bytearray) -> None:
        self._size -= len(body)

    async def _gather(self, body: bytearray, receive: Receive, send: Send) -> bool:
        """Tell whether all of it came, or enough to refuse it."""
        while len(body) <= LARGEST_BODY:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            if self._size + len(part) > MOST_BODIES:
                self.forget(body)
                body.clear()  # now, not after the answer: it would push out the next one too
                await _refuse(receive, send, 503, _BUSY)
                return False
            body += part
            self._size += len(part)
            if not message.get("more_body", False):
                break
        return True


async def _refuse(receive: Receive, send: Send, status: int, words: str) -> None:
    """Answer, and throw away for a moment what still comes.

    A connection that is closed with something unread is reset: the answer would be lost.
    """
    body = words.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"5"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b""})


def _for_pages(scope: Scope, body: bytes) -> Scope:
    """Return it with the body's true length, and without names that only look like others.

    ``X_Forwarded_For`` would be read as ``X-Forwarded-For``, and win over the proxy's; a
    quotation mark in front would swallow what the proxy has added.
    """
    left_out = {b"transfer-encoding"} | ({b"content-length"} if body else set())
    headers = [
        (name, value.replace(b'"', b"") if name == b"x-forwarded-for" else value)
        for name, value in scope["headers"]
        if name not in left_out and b"_" not in name
    ]
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    return {**scope, "headers": headers}


def _once(body: bytes, receive: Receive) -> Receive:
    """Return what hands out a body that was received, then listens on."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _is_of_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _in_ascii(query: bytes) -> bytes:
    """Return a query as addresses should have it; some programs send bare UTF-8."""
    return query if query.isascii() else quote(query, safe=_ASCII).encode()
