"""What must stand in the tables after a number of pulls, worked out in plain Python."""

import random
from collections import Counter
from datetime import date
from typing import Any

import sqlalchemy as sa

from app.contracts.models import Contract
from app.datasets.models import Dataset
from app.pulls.models import PullRun, QuarantinedRecord
from app.runs.models import JobRun
from app.runs.states import RunStatus
from tests import make

Row = tuple[str, str, int, date]
SIZE = 56  # good records of an answer; with four more that are not, six pages of ten


def record(key: str, name: str, pay: Any) -> dict[str, Any]:
    return {"nip": key, "nama": name, "gaji": pay, "lahir": "1980-01-02"}


class Agency:
    """An agency's file that changes from answer to answer, in a way the seed decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._people = {f"{n:04}": (f"Orang {n}", n * 1000) for n in range(SIZE + 4)}
        self.rows: dict[str, Row] = {}
        self.gone: dict[str, Row] = {}
        self.history: Counter[tuple[Any, ...]] = Counter()
        self.expected: dict[str, int] = {}

    def next_answer(self) -> list[dict[str, Any]]:
        """Change the file, work out what a pull of it must do, and return its records."""
        chance = self._random
        for key in chance.sample(sorted(self._people), 3):
            del self._people[key]
        while len(self._people) < SIZE + 1:
            key = f"{chance.randrange(90):04}"
            self._people[key] = (f"Orang {key}", chance.randrange(9000))
        for key in chance.sample(sorted(self._people), 5):
            name, pay = self._people[key]
            self._people[key] = (name, pay + 1)
        people = dict(sorted(self._people.items())[: SIZE + 1])
        broken, torn, twice = chance.sample(sorted(people), 3)
        answer = [record(key, *values) for key, values in people.items()]
        answer[sorted(people).index(broken)]["gaji"] = "bukan angka"
        answer += [record(torn, "Orang lain", 1), record(twice, *people[twice])]
        chance.shuffle(answer)
        good = {
            key: (key, name, pay, date(1980, 1, 2))
            for key, (name, pay) in people.items()
            if key not in {broken, torn}
        }
        self._work_out(good, {broken, torn}, len(answer))
        return answer

    def _work_out(self, good: dict[str, Row], marked: set[str], read: int) -> None:
        known = self.rows.keys() | self.gone.keys()
        changed = [k for k in good if k in self.rows and self.rows[k] != good[k]]
        returned = [k for k in good if k in self.gone]
        vanished = [k for k in self.rows if k not in good and k not in marked]
        added = [k for k in good if k not in known]
        self.history.update((*self.rows[k], "changed") for k in changed)
        self.history.update((*self.gone[k], "returned") for k in returned)
        self.history.update((*self.rows[k], "vanished") for k in vanished)
        for key in vanished:
            self.gone[key] = self.rows.pop(key)
        for key in returned:
            del self.gone[key]
        inserted = len(added) + len(returned)
        self.expected = {
            "read_count": read,
            "inserted_count": inserted,
            "changed_count": len(changed),
            "unchanged_count": len(good) - inserted - len(changed),
            "rejected_count": 3,
            "repeated_count": 1,
            "vanished_count": len(vanished),
        }
        self.rows.update(good)


def check_effects(
    agency: Agency, contract: Contract, run_ids: list[Any], version: int = 1
) -> None:
    """Compare all tables with the model: nothing lost, nothing done twice."""
    slug = contract.slug
    with make.session() as s:
        rows = s.execute(
            sa.text(
                f'SELECT nip, nama, gaji, lahir, _deleted_at, _run_id FROM data."{slug}"'
            )
        ).all()
        kept = s.execute(
            sa.text(
                f'SELECT nip, nama, gaji, lahir, _ended_as FROM data."{slug}__history"'
            )
        ).all()
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        counters = s.scalars(
            sa.select(PullRun).where(PullRun.dataset_id == dataset.id)
        ).all()
        runs = s.scalars(sa.select(JobRun).where(JobRun.id.in_(run_ids))).all()
        aside = s.scalar(
            sa.select(sa.func.count())
            .select_from(QuarantinedRecord)
            .where(QuarantinedRecord.run_id == run_ids[-1])
        )
    assert {r[0]: tuple(r[:4]) for r in rows if r[4] is None} == agency.rows
    assert {r[0]: tuple(r[:4]) for r in rows if r[4] is not None} == agency.gone
    assert len(rows) == len(agency.rows) + len(agency.gone)
    assert Counter(tuple(r) for r in kept) == agency.history
    assert dataset.row_count == len(agency.rows)
    assert {c.run_id for c in counters} == set(run_ids)
    last = next(c for c in counters if c.run_id == run_ids[-1])
    assert {name: getattr(last, name) for name in agency.expected} == agency.expected
    assert {r.status for r in runs} == {RunStatus.SUCCEEDED}
    assert aside == agency.expected["rejected_count"]
    with make.session(make.WORKER_PRINCIPAL) as s:
        stage = sa.text(f'SELECT count(*) FROM stage."{slug}__v{version}"')
        assert s.scalar(stage) == 0
