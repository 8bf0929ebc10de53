"""The scheduler process: due slots become runs, waiting runs ring, crashed runs return.

Run it by ``./simpul scheduler``; two of them do no harm. It hears of new runs by LISTEN, and
looks at everything by itself every few seconds: a lost notice costs seconds, never a run.
"""

import logging
import signal
import sys
import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

import psycopg
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.audit import anchors, sealer
from app.complaints import services as complaints
from app.core import db
from app.core.clock import in_zone, utc_now
from app.core.line import PARAMETERS, SERVER_OPTIONS, Line, answers_within
from app.core.policy import DISPATCHER, acting_as
from app.notifications import spreading
from app.requests import reminders
from app.runs import pulse, sweeps
from app.runs.services import BELL
from config import ConfigError
from jobs import mails, runtime
from jobs.bell import Bell

log = logging.getLogger("simpul.scheduler")
SEAL_SECONDS = 5.0
REMIND_SECONDS = 3_600.0  # working days are what is counted


class Scheduler:
    """One loop over the three sweeps. ``step`` is one round, for tests too."""

    def __init__(self, started: runtime.Runtime) -> None:
        self._settings = started.settings
        self._bell = Bell(started.redis, started.serializer)
        self._clerk = mails.clerk_of(started.settings)
        self._next_reconcile = 0.0
        self._next_seal = 0.0
        self._next_reminder = 0.0
        self._redis_down = False
        self.stopping = False

    def step(self) -> None:
        """Open due slots, repair when it is time, ring for what waits."""
        self._sweep(sweeps.open_due_slots)
        self._sweep(lambda session: spreading.spread(session, self._clerk))
        if self._settings.smtp_url:
            self._sweep(mails.request_sending)
        if time.monotonic() >= self._next_seal:
            self._next_seal = time.monotonic() + SEAL_SECONDS
            self._sweep(self._seal)
        if time.monotonic() >= self._next_reminder:
            self._next_reminder = time.monotonic() + REMIND_SECONDS
            zone = self._settings.time_zone
            self._sweep(lambda session: reminders.remind(session, zone))
            today = in_zone(utc_now(), zone).date()
            self._sweep(lambda session: complaints.remind(session, today))
        if time.monotonic() >= self._next_reconcile:
            self._next_reconcile = time.monotonic() + self._settings.reconcile_seconds
            self._sweep(sweeps.reconcile)
            self._sweep(lambda session: spreading.send_digests(session, self._clerk))
            self._sweep(lambda session: pulse.beat(session, role="scheduler"))
        self.dispatch()

    def _seal(self, session: Session) -> None:
        sealer.seal(session)
        last = sealer.last_seal(session)
        if last is not None:
            zone = ZoneInfo(self._settings.time_zone)
            anchors.keep(
                self._settings.home / anchors.FOLDER, db.now(session), zone, last
            )

    def _sweep(self, sweep: Callable[[Session], object]) -> None:
        """Do one sweep; a row that breaks it must not keep the others from their work."""
        try:
            with db.unit_of_work() as session:
                sweep(session)
        except (IntegrityError, DataError, ProgrammingError):
            log.exception("a sweep failed by an error of ours")

    def dispatch(self) -> None:
        """Ring for waiting runs; what Redis does not take stays waiting in PostgreSQL."""
        with db.unit_of_work() as session:
            waiting = sweeps.take_waiting(
                session, again_after_seconds=self._settings.lease_seconds
            )
        for position, each in enumerate(waiting):
            try:
                self._bell.ring(each)
            except RedisError as error:
                self._note_redis(down=True, error=error)
                with db.unit_of_work() as session:
                    sweeps.unring(session, [w.run_id for w in waiting[position:]])
                return
            self._note_redis(down=False)

    def _note_redis(self, *, down: bool, error: RedisError | None = None) -> None:
        if down != self._redis_down:
            self._redis_down = down
            text = f"does not answer: {error}" if down else "answers again"
            log.warning("Redis %s", text)

    def run(self) -> None:
        """Work until told to stop; a database that is away is waited for."""
        while not self.stopping:
            try:
                self._listen()
            except (SQLAlchemyError, psycopg.Error) as error:
                # The kind alone, such as DiskFull: the text may hold a row's values.
                kind = type(getattr(error, "orig", error)).__name__
                log.warning("the database does not work for us: %s", kind)
                time.sleep(1)
        self._sweep(lambda session: pulse.leave(session, role="scheduler"))

    def _listen(self) -> None:
        url = self._settings.database_url.replace("+psycopg", "")
        options = SERVER_OPTIONS
        with Line.connect(
            url, autocommit=True, options=options, **PARAMETERS
        ) as listener:
            listener.execute(f"LISTEN {BELL}")
            next_step = 0.0
            while not self.stopping:
                if time.monotonic() >= next_step:
                    self.step()
                    next_step = time.monotonic() + self._settings.poll_seconds
                    listener.execute("SELECT 1")  # is somebody still at the other end?
                if self._hears(listener, next_step - time.monotonic()):
                    self.dispatch()

    @staticmethod
    def _hears(listener: Line, seconds: float) -> bool:
        """Wait for a notice; tell whether one came."""
        wait = max(seconds, 0.0)
        return any(True for _ in listener.notifies(timeout=wait, stop_after=1))

    def stop(self, *_: object) -> None:
        self.stopping = True


def main() -> None:
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    try:
        started = runtime.start()
    except ConfigError as error:
        sys.exit(f"Pengaturan belum benar / the settings are not right:\n{error}")
    scheduler = Scheduler(started)
    signal.signal(signal.SIGTERM, scheduler.stop)
    signal.signal(signal.SIGINT, scheduler.stop)
    # Runs wait while this waits: it must be back well before anybody's lease is over.
    with acting_as(DISPATCHER), answers_within(started.settings.lease_seconds * 2 / 3):
        scheduler.run()


if __name__ == "__main__":
    main()
