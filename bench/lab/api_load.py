"""Asks one server again and again over kept connections, as programs of agencies do.

Bare sockets and ready-made requests: on a small machine the client's own work would be
taken for the server's.
"""

import http.client
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from email.message import Message
from statistics import quantiles
from typing import Any

_LENGTH = b"content-length:"
_LARGEST = 1 << 20  # bytes of an answer


class Kept:
    """One kept connection."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        # One buffer for all answers: a new one for each costs more than to receive it.
        self._buffer = memoryview(bytearray(_LARGEST))

    def ask(self) -> bytes:
        """Send the request once more; return the head of the answer, once all is there."""
        self._socket.sendall(self._request)
        size, end = 0, -1
        while end < 0:
            size += self._receive(size)
            end = self._buffer.obj.find(b"\r\n\r\n", 0, size)
        head = bytes(self._buffer[:end])
        lowered = head.lower()
        if b"chunked" in lowered:
            while bytes(self._buffer[size - 5 : size]) != b"0\r\n\r\n":
                size += self._receive(size)
            return head
        at = lowered.find(_LENGTH)
        length = int(lowered[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        while size < end + 4 + length:
            size += self._receive(size)
        return head

    def _receive(self, size: int) -> int:
        more = self._socket.recv_into(self._buffer[size:])
        if not more:
            raise SystemExit("a server closed a connection, or its answer is too large")
        return more

    def close(self) -> None:
        self._socket.close()


def load(
    port: int,
    path: str,
    *,
    seconds: float,
    threads: int,
    headers: Mapping[str, str],
    status: int = 200,
) -> dict[str, Any]:
    """Ask one path from several threads; return how many a second, and milliseconds of one."""
    times: list[list[float]] = [[] for _ in range(threads)]
    errors: list[str] = []
    end = time.perf_counter() + seconds
    wanted = f" {status} ".encode()

    def work(number: int) -> None:
        kept = Kept(port, path, headers)
        while (asked := time.perf_counter()) < end and not errors:
            head = kept.ask()
            if wanted not in head[:20]:
                errors.append(repr(head))
            times[number].append(time.perf_counter() - asked)
        kept.close()

    begun = time.perf_counter()
    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    spent = time.perf_counter() - begun
    if errors:
        raise SystemExit(f"an answer was not the one expected: {errors[0]}")
    whole = [each for some in times for each in some]
    return {"requests": len(whole), "seconds": spent, "per_s": len(whole) / spent} | (
        percentiles(whole)
    )


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th and the 95th percentile of some times, in milliseconds."""
    if len(seconds) < 2:
        raise SystemExit("too few requests for a percentile: measure longer")
    parts = quantiles(seconds, n=20, method="inclusive")
    return {"p50": parts[9] * 1000, "p95": parts[18] * 1000}


def one(port: int, path: str, headers: Mapping[str, str]) -> tuple[bytes, Message]:
    """Ask once; return the body and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=dict(headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {body[:300]!r}")
    return body, answer.headers


def drain(port: int, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Read a whole stream; return its lines, bytes and seconds."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path, headers=dict(headers))
    answer = connection.getresponse()
    lines = size = 0
    while chunk := answer.read(1 << 16):
        lines += chunk.count(b"\n")
        size += len(chunk)
    connection.close()
    return {"rows": lines - 1, "bytes": size, "seconds": time.perf_counter() - begun}
