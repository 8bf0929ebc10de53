"""The worker: imports once, forks one process a queue, which fork one process a run.

Run it by ``./simpul worker``. A queue's process is an RQ worker that hears the bell; what
RQ would remember in Redis about a run, the ledger remembers. A run's process never talks to
Redis, so Redis may go and come back while it works. Children die with their parent, runs
are given back on a stop, and the ledger hears at once when a run's process is lost.
"""

import argparse
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast
from uuid import UUID

import sqlalchemy as sa
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.job import Job
from rq.timeouts import HorseMonitorTimeoutException
from rq.worker import WorkerStatus
from rq.worker_registration import clean_worker_registry
from sqlalchemy.exc import SQLAlchemyError

from app.core import db
from app.core.errors import TransientError
from app.core.line import answers_within
from app.core.policy import WORKER, acting_as
from app.runs import ledger, pulse
from app.runs.models import JobRun
from app.runs.states import QueueName, RunStatus
from app.runs.sweeps import WorkerLostError
from config import ConfigError
from jobs import perform, runtime
from jobs.bell import RunMessage, RunQueue, connect
from jobs.leash import die_with_parent

log = logging.getLogger("simpul.worker")
RESTART_SECONDS = 2.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# RQ waits for the bell 15 seconds less than this and then looks after itself.
IDLE_SECONDS = 30
MONITOR_SECONDS = 5


def limit_process(seconds: float, memory_mb: int) -> None:
    """Let the kernel end this process at the time limit, whatever the code catches."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = memory_mb * 1024 * 1024
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run_in_this_process(run_id: str, parent: int) -> NoReturn:
    """Be the process of one run: the first and last thing a forked child does."""
    status = os.EX_SOFTWARE
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: perform.request_stop())
        db.after_fork()
        settings = runtime.current_settings()
        limit_process(settings.run_time_limit_seconds, settings.run_memory_limit_mb)
        perform.perform(run_id)
        status = os.EX_OK
    except BaseException:  # the last word of a child: it must not go on as its parent
        log.exception("the process of run %s failed", run_id)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class RunWorker(Worker):
    """An RQ worker whose runs are rows."""

    max_connection_wait_time = 4.0  # seconds between looks for a Redis that is away

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._process_id = os.getpid()

    def _set_ip_address(self, connection: Redis) -> None:
        """Ask Redis nothing: its answer names our socket, and a path with a space breaks it."""
        del connection
        self.ip_address = "unknown"

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """RQ's registries are not our memory: the reconciler repairs, from PostgreSQL."""
        return False

    def subscribe(self) -> None:
        """Take no orders through Redis: any client of it could kill runs."""

    def set_shutdown_requested_date(self) -> None:
        """Keep it to ourselves: a signal may come in the middle of a word with Redis."""

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Pass the wish to stop on to the run, which stops at its next checkpoint."""
        if self.horse_pid:
            try:
                os.kill(self.horse_pid, signal.SIGTERM)
            except ProcessLookupError:
                log.debug("the run had just ended")
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: Any) -> None:
        """Not need a second signal: a run gives itself back within a few seconds."""

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Do one run in a process of its own and wait for it.

        Where the system gives no process the run waits: the ledger rings again.
        """
        message = cast("RunMessage", job)  # by ``job_class``
        self.set_state(WorkerStatus.BUSY)
        message.forget()
        try:
            self.fork_work_horse(job, queue)
        except OSError as error:
            log.warning("run %s: no process to be had: %s", message.run_id, error)
        else:
            self._see_through(message.run_id)
        self.set_state(WorkerStatus.IDLE)

    def _see_through(self, run_id: UUID) -> None:
        horse = self.horse_pid
        ended = self._await_horse(run_id)
        self._horse_pid = 0
        if ended != os.EX_OK:
            _report(run_id, horse, ended)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        del queue
        run_id = str(cast("RunMessage", job).run_id)
        run_in_this_process(run_id, parent=self._process_id)

    def _await_horse(self, run_id: UUID) -> int | None:
        """Wait for the run's process; return its wait status, None when nobody knows.

        One that twice in a row had no business any more is killed: it is frozen.
        """
        status: int | None
        idle_looks = 0
        while True:
            try:
                with self.death_penalty_class(
                    self.job_monitoring_interval, HorseMonitorTimeoutException
                ):
                    _pid, status, _usage = self.wait_for_horse()
            except HorseMonitorTimeoutException:
                self._say_alive()
                idle_looks = idle_looks + 1 if self._is_idle(run_id) else 0
                if idle_looks == 2:
                    log.warning("run %s: its process does not end; it is killed", run_id)
                    self.kill_horse()
            else:
                return status

    def _is_idle(self, run_id: UUID) -> bool:
        """Tell whether the run's process should have ended; no while nobody can say."""
        name = perform.worker_name(self.horse_pid)
        try:
            with _short_word(), db.unit_of_work() as session:
                return ledger.has_no_business(session, run_id, name)
        except SQLAlchemyError:
            return False

    def _say_alive(self) -> None:
        """Redis may go and come back while a run works: that must not end the run."""
        try:
            self.heartbeat()
        except RedisError as error:
            log.warning("Redis is away while a run works: %s", type(error).__name__)


@contextmanager
def _short_word() -> Iterator[None]:
    """Speak with the database as the worker: briefly, and with nothing open afterwards.

    The next child is forked from here, and one that waits here forks none.
    """
    try:
        with acting_as(WORKER), answers_within(runtime.current_settings().lease_seconds):
            yield
    finally:
        db.engine().dispose()


def _report(run_id: UUID, horse: int, ended: int | None) -> None:
    error: TransientError = WorkerLostError()
    if ended is not None and os.WIFSIGNALED(ended):
        log.warning("run %s: process ended by signal %s", run_id, os.WTERMSIG(ended))
        if os.WTERMSIG(ended) == signal.SIGALRM:
            error = perform.TimeLimitError("The run took longer than it may.")
    try:
        with _short_word():
            report_lost(run_id, perform.worker_name(horse), error)
    except SQLAlchemyError:
        log.warning("the ledger cannot be told of a lost run; its lease will run out")


def report_lost(run_id: UUID, worker: str, error: TransientError) -> None:
    """Tell the ledger that the process ``worker`` no longer works on the run."""
    with acting_as(WORKER), db.unit_of_work() as session:
        fence = session.scalar(
            sa.select(JobRun.fence).where(
                JobRun.id == run_id,
                JobRun.worker == worker,
                JobRun.status == RunStatus.RUNNING,
            )
        )
        if fence is not None:
            ledger.requeue_or_bury(session, run_id, fence, error)


def work_on(queue_name: QueueName, started: runtime.Runtime) -> None:
    """Be the worker of one queue until told to stop. One queue: RQ loses messages else."""
    connection = connect(started.settings.redis_url, answer_seconds=IDLE_SECONDS)
    queue = RunQueue(queue_name, connection=connection, serializer=started.serializer)
    clean_worker_registry(queue)
    worker = RunWorker(
        [queue],
        connection=connection,
        serializer=started.serializer,
        job_class=RunMessage,
        queue_class=RunQueue,
        log_job_description=False,
        worker_ttl=IDLE_SECONDS,
        job_monitoring_interval=MONITOR_SECONDS,
    )
    worker.work(logging_level="WARNING")


class Crew:
    """The parent of the queue workers: starts them, starts them again, stops them."""

    def __init__(self, queues: list[QueueName], started: runtime.Runtime) -> None:
        self._started = started
        self._children: dict[int, QueueName] = {}
        self._start_at = dict.fromkeys(queues, 0.0)
        self._next_pulse = 0.0
        self._stopping = False
        self._told = False

    def run(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._note_stop)
        while self._children or not self._stopping:
            if self._stopping:
                self._tell_children()
            else:
                self._start_due()
                self._beat()
            self._reap()
            time.sleep(0.1)

    def _note_stop(self, *_: object) -> None:
        self._stopping = True

    def _tell_children(self) -> None:
        """Pass the stop on, once: a queue's worker then waits for its run."""
        if not self._told:
            self._told = True
            for pid in self._children:
                os.kill(pid, signal.SIGTERM)

    def _start_due(self) -> None:
        now = time.monotonic()
        for queue in [q for q, at in self._start_at.items() if at <= now]:
            del self._start_at[queue]
            self._fork(queue)

    def _fork(self, queue: QueueName) -> None:
        parent = os.getpid()
        # A stop must not arrive while the child still has our handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker_of(queue, parent)
            self._children[pid] = queue
        except OSError as error:
            log.warning("queue %s: no process to be had: %s", queue, error)
            self._start_at[queue] = time.monotonic() + RESTART_SECONDS
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _be_worker_of(self, queue: QueueName, parent: int) -> NoReturn:
        status = os.EX_SOFTWARE
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            die_with_parent(parent)
            db.after_fork()
            work_on(queue, self._started)
            status = os.EX_OK
        except RedisError as error:
            log.warning("queue %s: Redis does not answer: %s", queue, error)
        except BaseException:  # the last word of a child: it must not go on as its parent
            log.exception("the worker of queue %s failed", queue)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            queue = self._children.pop(pid)
            self._start_at[queue] = time.monotonic() + RESTART_SECONDS
            self._remove_pulse(pid)
            if not self._stopping:
                log.warning("queue %s: its worker ended (%s); restarted", queue, status)

    def _beat(self) -> None:
        if time.monotonic() < self._next_pulse:
            return
        self._next_pulse = time.monotonic() + self._started.settings.heartbeat_seconds
        try:
            with _short_word(), db.unit_of_work() as session:
                for pid, queue in self._children.items():
                    pulse.beat(session, role="worker", queue=queue, pid=pid)
        except SQLAlchemyError as error:
            log.warning("the pulse cannot be written: %s", type(error).__name__)

    def _remove_pulse(self, pid: int) -> None:
        try:
            with _short_word(), db.unit_of_work() as session:
                pulse.leave(session, role="worker", pid=pid)
        except SQLAlchemyError as error:
            log.warning("the pulse cannot be removed: %s", type(error).__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="simpul worker")
    parser.add_argument(
        "--queue", action="append", choices=[q.value for q in QueueName], default=None
    )
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    try:
        started = runtime.start()
    except ConfigError as error:
        sys.exit(f"Pengaturan belum benar / the settings are not right:\n{error}")
    perform.prepare()
    perform.warm_up()
    runtime.settle_memory()
    queues = [QueueName(name) for name in args.queue] if args.queue else list(QueueName)
    Crew(queues, started).run()


if __name__ == "__main__":
    main()
