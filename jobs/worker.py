"""The worker: imports once, forks one process a queue, which fork one process a run.

Run it by ``./simpul worker``. A queue's process is an RQ worker; ours adds what RQ leaves
open: children that die with their parent, runs given back on a stop, and word to the
ledger at once when a run's process is killed.
"""

import argparse
import ctypes
import gc
import logging
import os
import signal
import sys
import time
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy.exc import SQLAlchemyError

from app.core import db
from app.core.errors import TransientError
from app.core.policy import WORKER, acting_as
from app.runs import ledger, pulse
from app.runs.models import JobRun
from app.runs.states import QueueName, RunStatus
from app.runs.sweeps import WorkerLostError
from config import ConfigError
from jobs import perform, runtime
from jobs.bell import connect

log = logging.getLogger("simpul.worker")
PR_SET_PDEATHSIG = 1
RESTART_SECONDS = 2.0


class TimeLimitError(TransientError):
    code = "time_limit"


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, in whatever way."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class RunWorker(Worker):  # type: ignore[misc]
    """An RQ worker whose runs are rows."""

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """RQ's registries are not our memory: the reconciler repairs, from PostgreSQL."""
        return False

    def main_work_horse(self, job: Any, queue: Any) -> None:
        die_with_parent()
        db.after_fork()
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: perform.request_stop())

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Pass the wish to stop on to the run, which stops at its next checkpoint."""
        if self.horse_pid:
            try:
                os.kill(self.horse_pid, signal.SIGTERM)
            except ProcessLookupError:
                log.debug("the run had just ended")
        super().request_stop(signum, frame)

    def maintain_heartbeats(self, job: Any, execution: Any) -> None:
        """Redis may go and come back while a run works: that must not end the run."""
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning(
                "Redis does not answer while a run works: %s", type(error).__name__
            )

    def monitor_work_horse(self, job: Any, queue: Any, execution: Any) -> None:
        horse = self.horse_pid
        super().monitor_work_horse(job, queue, execution)
        self._report_if_lost(job, horse)

    def handle_work_horse_killed(
        self, job: Any, retpid: Any, ret_val: Any, rusage: Any
    ) -> None:
        """Remember how the run's process ended; the ledger hears of it right after."""
        del job, retpid, rusage
        self._killed_by = os.WTERMSIG(ret_val) if os.WIFSIGNALED(ret_val) else 0

    def _report_if_lost(self, job: Any, horse: int) -> None:
        killed_by = self.__dict__.pop("_killed_by", None)
        if killed_by is None:
            return
        error: TransientError = WorkerLostError()
        if killed_by == signal.SIGALRM:
            error = TimeLimitError("The run took longer than it may.")
        try:
            report_lost(UUID(job.id[4:40]), perform.worker_name(horse), error)
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
    db.engine().dispose()  # nothing open when the next run is forked


def work_on(queue_name: QueueName, started: runtime.Runtime) -> None:
    """Be the worker of one queue until told to stop. One queue: RQ loses messages else."""
    connection = connect(started.settings.redis_url)
    queue = Queue(queue_name, connection=connection, serializer=started.serializer)
    worker = RunWorker(
        [queue],
        connection=connection,
        serializer=started.serializer,
        log_job_description=False,
        job_monitoring_interval=5,
    )
    worker.work(logging_level="WARNING")


class Crew:
    """The parent of the queue workers: starts them, starts them again, stops them."""

    def __init__(self, queues: list[QueueName], started: runtime.Runtime) -> None:
        self._queues = queues
        self._started = started
        self._children: dict[int, QueueName] = {}
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        for queue in self._queues:
            self._fork(queue)
        next_pulse = 0.0
        while self._children:
            if time.monotonic() >= next_pulse:
                self._beat()
                next_pulse = time.monotonic() + self._started.settings.heartbeat_seconds
            self._reap()
            time.sleep(0.2)
        self._leave()

    def _fork(self, queue: QueueName) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = queue
            return
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            die_with_parent()
            db.after_fork()
            work_on(queue, self._started)
        except RedisError as error:
            log.warning("queue %s: Redis does not answer: %s", queue, error)
        finally:
            sys.stdout.flush()
            os._exit(0)

    def _reap(self) -> None:
        while self._children:
            pid, _status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            queue = self._children.pop(pid)
            if not self._stopping:
                log.warning("the worker of queue %s ended; it is started again", queue)
                time.sleep(RESTART_SECONDS)
                self._fork(queue)

    def _beat(self) -> None:
        try:
            with acting_as(WORKER), db.unit_of_work() as session:
                for pid, queue in self._children.items():
                    pulse.beat(session, role="worker", queue=queue, pid=pid)
        except SQLAlchemyError as error:
            log.warning("the pulse cannot be written: %s", type(error).__name__)
        db.engine().dispose()  # nothing open when a child is forked

    def _leave(self) -> None:
        try:
            with acting_as(WORKER), db.unit_of_work() as session:
                pulse.leave(session, role="worker")
        except SQLAlchemyError as error:
            log.warning("the pulse cannot be removed: %s", type(error).__name__)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)


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
    gc.freeze()  # what was imported stays shared between all forks
    queues = [QueueName(name) for name in args.queue] if args.queue else list(QueueName)
    Crew(queues, started).run()


if __name__ == "__main__":
    main()
