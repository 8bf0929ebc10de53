"""Writes what a page does not log by itself: streams, and answers that are known already.

That a client knows an answer already (304) hands out nothing: it is counted, and written
down a second later, one row for all times.
"""

import logging
import threading
import time
from multiprocessing.util import Finalize
from typing import Any

import psycopg

from app.api.connections import Connections
from app.api.statements import LOG

log = logging.getLogger("simpul.api")
COUNTED_SECONDS = 1.0
MOST_COUNTED = 1000
Row = dict[str, Any]


class Exchanges:
    """The exchange log as one process writes it. Safe among threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, str, str], Row] = {}
        self._counting_since = 0.0
        # Unlike atexit, this is called at the end of a worker process too.
        Finalize(None, self._write_at_the_end, exitpriority=1)

    def write(self, row: Row) -> None:
        """Return when the row is on the disk; raises psycopg's errors."""
        with self._connections.one(row["client"]) as connection:
            connection.execute(LOG, row)

    def count(self, row: Row) -> None:
        """Count an answer that hands out nothing; it is written down in a second.

        Raises psycopg's errors while what was counted cannot be written.
        """
        key = (row["prefix"], row["etag"], row["ip"])
        with self._lock:
            if not self._counted:
                self._counting_since = time.monotonic()
                self._write_later()
            self._counted.setdefault(key, row | {"times": 0})["times"] += 1
            late = time.monotonic() - self._counting_since > 2 * COUNTED_SECONDS
            if late or len(self._counted) >= MOST_COUNTED:
                self._write_counted()

    def _write_later(self) -> None:
        timer = threading.Timer(COUNTED_SECONDS, self._write_in_time)
        timer.daemon = True
        timer.start()

    def _write_in_time(self) -> None:
        with self._lock:
            try:
                self._write_counted()
            except psycopg.Error as error:
                log.warning("exchanges wait to be logged: %s", type(error).__name__)
                self._write_later()

    def _write_at_the_end(self) -> None:
        with self._lock:
            try:
                self._write_counted()
            except psycopg.Error:
                times = sum(row["times"] for row in self._counted.values())
                log.error("%s known answers (304) end unlogged", times)  # noqa: TRY400 - no trace

    def _write_counted(self) -> None:
        """Write what was counted; what cannot be written yet is kept."""
        while self._counted:
            key, row = next(iter(self._counted.items()))
            self.write(row)
            del self._counted[key]
