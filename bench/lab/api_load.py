"""Asks one server again and again over kept connections, as programs of agencies do."""

import http.client
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any


def load(
    port: int,
    paths: Sequence[str],
    *,
    seconds: float,
    threads: int,
    headers: Mapping[str, str],
    status: int = 200,
) -> dict[str, Any]:
    """Ask the paths in turn from several threads; return requests and seconds."""
    counts = [0] * threads
    errors: list[str] = []
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        place = number
        while time.perf_counter() < end and not errors:
            connection.request("GET", paths[place % len(paths)], headers=dict(headers))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != status:
                errors.append(f"{answer.status}: {body[:300]!r}")
            counts[number] += 1
            place += threads
        connection.close()

    begun = time.perf_counter()
    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    spent = time.perf_counter() - begun
    if errors:
        raise SystemExit(f"an answer was not the one expected: {errors[0]}")
    return {"requests": sum(counts), "seconds": spent, "per_s": sum(counts) / spent}


def one(
    port: int, path: str, headers: Mapping[str, str]
) -> tuple[bytes, Mapping[str, str]]:
    """Ask once; return the body and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=dict(headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {body[:300]!r}")
    return body, dict(answer.getheaders())


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
