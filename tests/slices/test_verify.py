"""``simpul verify`` sees each kind of damage, and none where there is none."""

import contextlib

import pytest
import sqlalchemy as sa

from app.core import db
from app.core.policy import acting_as
from app.pulls.pulling import pull
from ops import verify
from tests import fakes, make

pytestmark = pytest.mark.usefixtures("bound")
RULES = {check.name.rpartition(" / ")[2]: check.faults for check in verify.CHECKS}


class UndoneError(Exception):
    """Leaves no trace of what a test did."""


def pull_here(source):
    run_id = make.request_pull(source)
    with acting_as(make.WORKER_PRINCIPAL):
        pull(make.claim(run_id), fakes.pages_here, (), "Asia/Jakarta")
    return run_id


@pytest.fixture
def pulled(upstream):
    contract = make.make_contract(max_vanished_percent=100)
    source = make.make_source(contract, upstream.url)
    upstream.records = [{"nip": f"{n:04}", "nama": "A"} for n in range(5)]
    pull_here(source)
    upstream.records = [{"nip": f"{n:04}", "nama": "B"} for n in range(3)]
    return contract, pull_here(source)


@pytest.mark.parametrize(
    ("rule", "deed"),
    [
        ("no run is stuck", ("UPDATE job_run SET status = 'running', finished_at = NULL,"
         " lease_until = now() - interval '2 minutes' WHERE id = '{run}'")),
        ("the queues move", ("UPDATE job_run SET status = 'queued', finished_at = NULL,"
         " rung_at = NULL, not_before = now() - interval '1 h' WHERE id = '{run}'")),
        ("each pull that succeeded has its counts",
         "DELETE FROM pull_run WHERE run_id = '{run}'"),
        ("the counts of pulls add up",
         "UPDATE pull_run SET read_count = read_count + 1 WHERE run_id = '{run}'"),
        ("the datasets' row counts are right",
         'DELETE FROM data."{slug}" WHERE nip = \'0001\''),
        ("each row comes of a known pull",
         'UPDATE data."{slug}" SET _run_id = gen_random_uuid()'),
        ("spans of the history do not overlap",
         'UPDATE data."{slug}__history" SET _valid_from = _valid_to + interval \'1 h\''),
        ("log rows are sealed within a minute",
         ("INSERT INTO audit_event (at, actor, action, object_type, object_id,"
         " object_label, reason, request_id)"
         " VALUES (now() - interval '1 h', 'x', 'x', 'x', '{run}', '', '', '')")),
    ],
)  # fmt: skip
def test_damage_is_seen(pulled, rule, deed, tmp_path):
    contract, run_id = pulled
    words = {"run": run_id, "slug": contract.slug}

    def faults(session):
        return list(RULES[rule](session, tmp_path))

    with acting_as(make.OFFICE), db.unit_of_work() as session:
        before = faults(session)
    assert not any(str(run_id) in f or contract.slug in f for f in before)
    with contextlib.suppress(UndoneError), db.owner_unit_of_work() as session:
        assert session.execute(sa.text(deed.format(**words))).rowcount
        after = faults(session)
        raise UndoneError
    assert len(after) > len(before)
