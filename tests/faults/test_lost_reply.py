"""A request is committed and the answer is lost: asked again, there is still one of it."""

import socket

import pytest
import sqlalchemy as sa

from app.core import db
from app.core.policy import DbRole, Permission, Principal, acting_as
from app.datasets.models import Dataset
from app.exports import services as exports
from app.exports.models import ExportRun
from app.pulls import services as pulls
from app.runs.errors import AlreadyActiveError
from app.runs.models import JobRun
from app.runs.states import RunStatus
from app.sources.models import Source
from tests import fakes, make
from tests.faults.model import Agency, check_effects
from tests.faults.proxy import Proxy


@pytest.fixture
def desk(bound):
    """An engine behind a line of its own, as the web server's; and that line."""
    url = sa.engine.make_url(bound.database_url)
    with Proxy(lambda: socket.create_connection((url.host, url.port))) as line:
        engine = db.make_engine(url.set(host="127.0.0.1", port=line.port))
        yield engine, line
        engine.dispose()


def request(desk, ask, *, lost=False):
    """Ask in one transaction; what the database answers to its commit may be lost."""
    engine, line = desk
    line.mood = "pass"
    with engine.connect() as connection, db.unit_of_work(connection) as session:
        ask(session)
        session.flush()
        line.mood = "lose" if lost else "pass"


def ask_twice(desk, who, ask):
    """Lose the answer, and ask again as a person would."""
    with acting_as(who):
        with pytest.raises(sa.exc.DBAPIError):
            request(desk, ask, lost=True)
        with pytest.raises(AlreadyActiveError):
            request(desk, ask)


def test_asked_again_it_is_done_once(desk, processes, upstream):
    agency = Agency(7)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    upstream.records = agency.next_answer()
    ask_twice(
        desk,
        make.OFFICE,
        lambda session: pulls.request_pull(session, session.get_one(Source, source.id)),
    )
    processes.scheduler()
    processes.worker("pulls", "exports")

    def done():
        key = JobRun.key == f"contract:{contract.id}"
        with make.session() as s:
            runs = s.scalars(sa.select(JobRun).where(key, JobRun.kind == "pull")).all()
        assert len(runs) == 1
        return [run.id for run in runs if run.status is RunStatus.SUCCEEDED]

    fakes.wait_until(done, 40, processes.said)
    check_effects(agency, contract, done())

    user = make.make_user("ADMINISTRATOR")
    may = frozenset({Permission.DATASET_EXPORT})
    who = Principal(user.email, DbRole.OFFICE, user_id=user.id, permissions=may)
    wanted = sa.select(Dataset).where(Dataset.contract_id == contract.id)
    ask_twice(
        desk,
        who,
        lambda session: exports.request_export(session, session.scalars(wanted).one()),
    )
    made = sa.select(ExportRun).where(ExportRun.user_id == user.id)

    def files():
        with make.session(make.WORKER_PRINCIPAL) as s:
            return [each.file_key for each in s.scalars(made)]

    fakes.wait_until(lambda: all(files()), 40, processes.said)
    assert len(files()) == 1
