"""Three schedulers at once: one run for each slot, and each run done once."""

import random
import threading
from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from app.core import db
from app.runs import ledger
from app.runs.models import JobRun, Schedule
from app.runs.states import RunStatus
from tests import fakes, make

SEED = 99
SLOTS = 1_000


def do_once(run_id):
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease = ledger.claim(s, run_id, worker="uji:1", lease_seconds=30)
        if lease is not None:
            lease.succeed(s, {})
        return lease is not None


class Hands:
    """Three who do what stands in the queue, again and again, each in its own order."""

    def __init__(self, redis_server):
        self._redis = redis_server
        self.claimed = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(SEED + n,)) for n in range(3)
        ]

    def _work(self, seed):
        chance = random.Random(seed)
        with self._redis.client() as client:
            while not self._stop.wait(0.05):
                names = client.lrange("rq:queue:notices", 0, -1)
                chance.shuffle(names)
                for run_id in (name[4:40].decode() for name in names):
                    if do_once(run_id):
                        self.claimed.append(run_id)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def runs_of(schedule_ids):
    with make.session() as s:
        return s.execute(
            sa.select(
                JobRun.id,
                JobRun.schedule_id,
                JobRun.due_at,
                JobRun.attempt,
                JobRun.status,
            ).where(JobRun.schedule_id.in_(schedule_ids))
        ).all()


def test_a_thousand_slots(processes, own_redis):
    with make.session() as s:
        due_at = db.now(s) - timedelta(minutes=1)
        schedules = [
            Schedule(
                name=make.word(), kind="housekeeping", key=make.word("k"), params={},
                cron="0 0 1 1 *", next_due_at=due_at,
            )
            for _ in range(SLOTS)
        ]  # fmt: skip
        s.add_all(schedules)
    ours = [schedule.id for schedule in schedules]
    for _ in range(3):
        processes.scheduler(RECONCILE_SECONDS="0.1", POLL_SECONDS="0.1")

    def finished():
        return sum(run.status is RunStatus.SUCCEEDED for run in runs_of(ours)) == SLOTS

    with Hands(own_redis) as hands:
        fakes.wait_until(finished, 90, processes.said)
    runs = runs_of(ours)
    assert len(runs) == SLOTS
    assert {run.schedule_id for run in runs} == set(ours)
    assert {run.due_at for run in runs} == {due_at}
    assert {run.attempt for run in runs} == {1}
    ids = {str(run.id) for run in runs}  # other tests may have left runs of theirs
    assert Counter(c for c in hands.claimed if c in ids) == Counter(ids)
    assert "ERROR" not in processes.said()
