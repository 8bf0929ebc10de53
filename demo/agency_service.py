"""The demo agency's web service: what a real office offers, in a process of its own.

``python -m demo.agency_service --port 8081`` serves, to who sends the key in ``X-API-Key``:

- ``/api/wilayah?page=1&per_page=1000``: region codes of a CSV file with the columns kode
  and nama; ``{"status": "success", "message", "data": {"total", "page", "per_page",
  "items": [{"kode", "nama"}]}}``
- ``/api/pegawai?offset=0&limit=500``: made-up civil servants with known faults;
  ``{"success": true, "total", "offset", "limit", "data": [...]}``
- ``/api/health``: needs no key.

The data changes over time by *generation* (see ``demo.civil_servants``), without a restart:
the number in the file named by ``--generation-file`` (read at each request), or
``?generation=2`` in a request, or the fixed ``--generation``. Region codes do not change.
"""

import argparse
import csv
import hmac
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs

import msgspec

from demo.civil_servants import DEFAULT_COUNT, civil_servants

DEFAULT_KEY = "demo-kunci-opd"
DEFAULT_REGIONS = Path(__file__).with_name("regions.csv")
MAX_PAGE_SIZE = 10_000
MAX_NUMBER = 10**9
MAX_GENERATION = 100
_encoder = msgspec.json.Encoder(decimal_format="number")  # 4500000.00 stays a number


class BadQueryError(Exception):
    """The caller's parameters; the text is shown to the caller."""


class Service:
    """The data of the agency and its pages, rendered once and kept."""

    def __init__(
        self,
        *,
        key: str = DEFAULT_KEY,
        regions_csv: Path = DEFAULT_REGIONS,
        people_count: int = DEFAULT_COUNT,
        generation: int = 1,
        generation_file: Path | None = None,
    ) -> None:
        self.key = key
        self._people_count = people_count
        self._fixed_generation = generation
        self._generation_file = generation_file
        self._cached_page = lru_cache(maxsize=256)(self._render)
        self._people = lru_cache(maxsize=4)(self._render_people)
        with regions_csv.open(encoding="utf-8", newline="") as file:
            self._regions = [
                _encoder.encode({"kode": row["kode"], "nama": row["nama"]})
                for row in csv.DictReader(file)
            ]

    def page(self, path: str, query: Mapping[str, str]) -> bytes | None:
        """The body for a path and its query; None when there is nothing at that path."""
        if path == "/api/health":
            return b'{"status":"ok"}'
        if path == "/api/wilayah":
            number = _whole(query, "page", 1, 1, MAX_NUMBER)
            size = _whole(query, "per_page", 1_000, 1, MAX_PAGE_SIZE)
            return self._cached_page(path, number, size, 1)
        if path == "/api/pegawai":
            offset = _whole(query, "offset", 0, 0, MAX_NUMBER)
            limit = _whole(query, "limit", 500, 1, MAX_PAGE_SIZE)
            generation = _whole(
                query, "generation", self._generation(), 1, MAX_GENERATION
            )
            return self._cached_page(path, offset, limit, generation)
        return None

    def _generation(self) -> int:
        if self._generation_file is None:
            return self._fixed_generation
        try:
            text = self._generation_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return self._fixed_generation
        known = text.isdecimal() and 1 <= int(text) <= MAX_GENERATION
        return int(text) if known else self._fixed_generation

    def _render(self, path: str, first: int, size: int, generation: int) -> bytes:
        if path == "/api/wilayah":
            items = b",".join(self._regions[(first - 1) * size : first * size])
            head = '{"status":"success","message":"Data wilayah","data":{"total":%d,"page":%d,'
            head += '"per_page":%d,"items":['
            return (head % (len(self._regions), first, size)).encode() + items + b"]}}"
        people = self._people(generation)
        items = b",".join(people[first : first + size])
        head = '{"success":true,"total":%d,"offset":%d,"limit":%d,"data":['
        return (head % (len(people), first, size)).encode() + items + b"]}"

    def _render_people(self, generation: int) -> list[bytes]:
        people = civil_servants(self._people_count, generation)
        return [_encoder.encode(person) for person in people]


def _whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name, str(default))
    if not (
        text.isascii()
        and text.isdecimal()
        and len(text) <= 10
        and low <= int(text) <= high
    ):
        raise BadQueryError(
            f"Parameter {name} harus bilangan bulat dari {low} sampai {high}."
        )
    return int(text)


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests. Answers are JSON, errors too."""

    protocol_version = "HTTP/1.1"
    server_version = "LayananDemo/1"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 60
    server: "AgencyServer"

    def do_GET(self) -> None:
        """Answer one request."""
        path, _, query_string = self.path.partition("?")
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = (
                True  # a body we do not read must not become a request
            )
        if path != "/api/health" and not self._has_key():
            self._fail(
                HTTPStatus.UNAUTHORIZED, "Kunci API tidak ada atau salah (X-API-Key)."
            )
            return
        query = {
            name: values[-1] for name, values in parse_qs(query_string, True).items()
        }
        try:
            body = self.server.service.page(path, query)
        except BadQueryError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return
        if body is None:
            self._fail(HTTPStatus.NOT_FOUND, "Alamat ini tidak ada.")
        else:
            self._send(HTTPStatus.OK, body)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Replace http.server's HTML pages (bad request line, unknown method)."""
        del explain
        self.close_connection = True
        self._fail(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (their name)
        """Say nothing: the demo's own log is the exchange log of Simpul."""

    def _has_key(self) -> bool:
        given = self.headers.get("X-API-Key", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, self.server.service.key.encode())

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send(status, _encoder.encode({"status": "error", "message": message}))

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class AgencyServer(ThreadingHTTPServer):
    """The listening server. Port 0 takes a free one: see ``server_address``."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        super().__init__(address, Handler)


def service_from(options: argparse.Namespace) -> Service:
    """The service that the command line and the environment describe."""
    return Service(
        key=options.key,
        regions_csv=Path(options.regions_csv),
        people_count=options.people,
        generation=options.generation,
        generation_file=Path(options.generation_file)
        if options.generation_file
        else None,
    )


def read_options(arguments: Sequence[str], env: Mapping[str, str]) -> argparse.Namespace:
    """The command line, with the environment's values as defaults."""
    parser = argparse.ArgumentParser(prog="demo.agency_service", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default=env.get("DEMO_AGENCY_KEY") or DEFAULT_KEY)
    parser.add_argument(
        "--regions-csv", default=env.get("DEMO_REGIONS_CSV") or str(DEFAULT_REGIONS)
    )
    parser.add_argument("--people", type=int, default=DEFAULT_COUNT)
    parser.add_argument(
        "--generation", type=int, default=int(env.get("DEMO_GENERATION") or 1)
    )
    parser.add_argument(
        "--generation-file", default=env.get("DEMO_GENERATION_FILE") or ""
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str], env: Mapping[str, str]) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = read_options(arguments, env)
    with AgencyServer((options.host, options.port), service_from(options)) as server:

        def stop(_signal: int, _frame: FrameType | None) -> None:
            threading.Thread(target=server.shutdown, daemon=True).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        host, port = server.server_address[:2]
        print(f"Layanan demo: http://{host!s}:{port}/api/", flush=True)
        server.serve_forever(poll_interval=0.2)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
