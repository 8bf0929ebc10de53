"""A page server as fast as they come: whole answers from memory, one process of its own."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

from bench.lab import records
from ops.leash import ask_for_death_signal

Answers = dict[tuple[str, int], bytes]


def _answers(total: int, variants: tuple[str, ...]) -> Answers:
    count = -(-total // records.PAGE_SIZE)
    return {
        (variant, number): _head_and(records.page(number, total, variant))
        # One page beyond the last: a client may look for the end there.
        for variant in variants
        for number in range(count + 1)
    }


def _head_and(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _serve(connection: socket.socket, answers: Answers) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as requests:
        while line := requests.readline():
            while requests.readline().strip():
                pass  # headers tell us nothing
            address = urlsplit(line.split()[1].decode())
            number = int(dict(parse_qsl(address.query)).get("page", "1")) - 1
            connection.sendall(answers[address.path.strip("/"), number])


def _run(listener: socket.socket, total: int, variants: tuple[str, ...]) -> None:
    answers = _answers(total, variants)
    os.write(ready_pipe[1], b"1")
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, answers), daemon=True).start()


ready_pipe = (-1, -1)


@contextmanager
def page_server(total: int, variants: tuple[str, ...]) -> Iterator[int]:
    """Serve ``total`` records in every variant at ``/VARIANT?page=N``; yield the port."""
    global ready_pipe  # noqa: PLW0603 - shared with the child alone
    listener = socket.create_server(("127.0.0.1", 0))
    ready_pipe = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            ask_for_death_signal(signal.SIGKILL)
            _run(listener, total, variants)
        finally:
            os._exit(1)
    try:
        os.read(ready_pipe[0], 1)
        yield listener.getsockname()[1]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        listener.close()
