"""Answers that are kept: read again by other rules, let pass, brought back, forgotten."""

import random

import pytest
import sqlalchemy as sa

from app.contracts.states import LoadMode
from app.core import db
from app.core.policy import acting_as
from app.datasets.models import Dataset
from app.pulls import raw_pages, rollback, services
from app.pulls.errors import NotReplayableError, NotReturnableError
from app.pulls.models import PullRun, RawBody, RawPage
from app.pulls.pulling import pull
from app.runs import services as run_services
from app.runs.errors import AlreadyActiveError, ReasonMissingError, SupersededError
from app.runs.models import JobRun, Schedule
from app.runs.states import RunStatus
from jobs.perform import _ending
from tests import fakes, make

pytestmark = pytest.mark.usefixtures("bound")


def do(run_id):
    """Do a run in this process, as a worker would."""
    lease = make.claim(run_id)
    with acting_as(make.WORKER_PRINCIPAL):
        try:
            if lease.kind == "rollback":
                rollback.roll_back(lease)
            else:
                pull(lease, fakes.pages_here, (), "Asia/Jakarta")
        except Exception as error:  # noqa: BLE001 - as the worker does
            with db.unit_of_work() as session:
                _ending(error, lease)(lease, session)
    return make.run_of(run_id)


def pulled(source):
    run = do(make.request_pull(source))
    assert run.status is RunStatus.SUCCEEDED, run.error_message
    return run.id


def replay(run_id):
    with make.session() as s:
        new = services.request_replay(s, s.get_one(JobRun, run_id))
    return do(new)


def state(contract):
    """Return the living rows, and what the register says of them."""
    with make.session() as s:
        rows = s.execute(
            sa.text(
                f'SELECT nip, nama, gaji FROM data."{contract.slug}"'
                " WHERE _deleted_at IS NULL ORDER BY nip"
            )
        ).all()
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
    assert dataset.row_count == len(rows)
    return [tuple(row) for row in rows]


def people(count, **values):
    return [
        {"nip": f"{n:04}", "nama": "Siti", "gaji": 1000, "lahir": "1980-01-02"} | values
        for n in range(count)
    ]


@pytest.fixture
def contract():
    return make.make_contract(max_vanished_percent=100, max_rejected_percent=10)


@pytest.fixture
def source(contract, upstream):
    return make.make_source(contract, upstream.url)


def test_an_answer_is_read_again_by_new_rules_without_asking(contract, source, upstream):
    upstream.records = people(25)
    first = pulled(source)
    stricter = [
        *make.PERSON[:2],
        make.field("gaji", make.FieldType.NUMBER),
        make.PERSON[3],
    ]
    make.next_version(contract.id, stricter, max_vanished_percent=100)
    make.activate(contract.id)
    upstream.asked.clear()
    upstream.records = people(1)  # the service has something else by now
    again = replay(first)
    assert again.status is RunStatus.SUCCEEDED, again.error_message
    assert not upstream.asked
    assert again.result["read_count"] == 25
    assert len(state(contract)) == 25


def test_what_is_let_pass_is_the_answer_that_was_looked_at(contract, source, upstream):
    upstream.records = [*people(8), *[{"nip": "kurang"}] * 4]
    held = do(make.request_pull(source))
    assert held.status is RunStatus.HELD
    upstream.records = people(30)
    upstream.asked.clear()
    with make.session() as s:
        accepted = run_services.accept_held(s, s.get_one(JobRun, held.id), "sudah dicek")
    run = do(accepted)
    assert run.status is RunStatus.SUCCEEDED, run.error_message
    assert not upstream.asked
    assert len(state(contract)) == 8


def test_what_is_forgotten_cannot_be_let_pass(contract, source, upstream):
    upstream.records = [*people(8), *[{"nip": "kurang"}] * 4]
    held = do(make.request_pull(source))
    with make.session() as s:
        accepted = run_services.accept_held(s, s.get_one(JobRun, held.id), "sudah dicek")
    with make.session(make.WORKER_PRINCIPAL) as s:
        raw_pages.forget(s, held.id)
    run = do(accepted)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "answer_gone")
    assert state(contract) == []


def test_an_older_answer_is_not_published_over_a_newer_one(source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    pulled(source)
    with pytest.raises(NotReplayableError):
        replay(first)


def test_an_older_answer_is_not_published_over_a_newer_one_by_a_retry(source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    with make.session() as s:
        again = services.request_replay(s, s.get_one(JobRun, first))
    with make.session() as s:
        run_services.cancel(s, s.get_one(JobRun, again))
    upstream.records = people(9)
    pulled(source)

    with make.session() as s, pytest.raises(SupersededError):
        run_services.retry(s, s.get_one(JobRun, again))


def test_an_answer_that_goes_while_it_is_read_again_is_no_whole_answer(
    contract, source, upstream
):
    upstream.records = people(25)
    first = pulled(source)
    with make.session() as s:
        again = services.request_replay(s, s.get_one(JobRun, first))
    real = raw_pages._page

    def page(run_id, number, salt):
        if number == 1:  # housekeeping comes by
            with make.session(make.WORKER_PRINCIPAL) as s:
                raw_pages.forget(s, first)
        return real(run_id, number, salt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_pages, "_page", page)
        run = do(again)

    assert (run.status, run.error_code) == (RunStatus.FAILED, "answer_gone")
    assert len(state(contract)) == 25


def test_equal_pages_are_kept_once(source, upstream):
    upstream.records = people(25)
    runs = [pulled(source), pulled(source)]
    with make.session(make.WORKER_PRINCIPAL) as s:
        pages = s.scalars(
            sa.select(RawPage.fingerprint).where(RawPage.run_id.in_(runs))
        ).all()
        assert (len(pages), len(set(pages))) == (6, 3)
        bodies = sa.select(sa.func.count()).select_from(RawBody)
        known = bodies.where(RawBody.fingerprint.in_(pages))
        assert s.scalar(known) == 3


def test_pages_go_after_their_days(source, upstream):
    upstream.records = people(25)
    old, new = pulled(source), pulled(source)
    with db.owner_unit_of_work() as s:
        s.execute(
            sa.text("UPDATE raw_page SET at = at - interval '3 days' WHERE run_id = :r"),
            {"r": old},
        )
    with make.session(make.WORKER_PRINCIPAL) as s:
        assert raw_pages.forget_old(s, 2) == 3
        assert not raw_pages.is_whole(s, old)
        assert raw_pages.is_whole(s, new)  # its bodies were needed still


def to(run_id, reason="salah kirim"):
    with make.session() as s:
        target = s.get_one(PullRun, run_id)
        return services.request_rollback(s, target.dataset, target, reason)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_earlier_state_can_be_brought_back(contract, source, upstream, seed):
    """Rows come, change, vanish and return; each state of then is the state of now again."""
    chance = random.Random(seed)
    states, runs = [], []
    for _ in range(6):
        upstream.records = [
            person | {"gaji": chance.choice([1, 2])}
            for person in people(40)
            if chance.random() < 0.6
        ]
        runs.append(pulled(source))
        states.append(state(contract))
    for number in chance.sample(range(5), 5):
        run = do(to(runs[number]))
        assert run.status is RunStatus.SUCCEEDED, run.error_message
        assert state(contract) == states[number]
        with make.session() as s:
            [overlaps] = s.execute(
                sa.text(
                    "SELECT count(*) FROM (SELECT _valid_from, lag(_valid_to) OVER"
                    " (PARTITION BY nip ORDER BY _valid_to) AS before FROM"
                    f' data."{contract.slug}__history") h WHERE before > _valid_from'
                )
            ).one()
        assert overlaps == 0
    upstream.records = people(40)  # and pulling goes on as ever
    pulled(source)
    assert len(state(contract)) == 40


def test_a_rollback_is_seen_by_who_reads_by_changes(contract, source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    upstream.records = people(2, gaji=5)
    pulled(source)
    with make.session() as s:
        before = s.scalar(sa.text(f'SELECT max(_seq) FROM data."{contract.slug}"'))
    do(to(first))
    with make.session() as s:
        changed = s.scalars(
            sa.text(f'SELECT nip FROM data."{contract.slug}" WHERE _seq > {before}')
        ).all()
    assert sorted(changed) == ["0000", "0001", "0002"]


def test_a_rollback_forgets_a_mark_that_was_set_after_it_was_asked_for(
    upstream, monkeypatch
):
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    source = make.make_source(
        contract, upstream.url, since_param="sejak", since_field="lahir"
    )
    upstream.records = people(3)
    first = pulled(source)
    upstream.records = people(5)
    pulled(source)
    back = to(first)
    with monkeypatch.context() as blind:  # both were asked for at the same moment
        blind.setattr(services, "is_active", lambda *_: False)
        pulled(source)
    assert do(back).status is RunStatus.SUCCEEDED
    asked = []
    upstream.answer = lambda handler, page: bool(asked.append(handler.path))
    pulled(source)

    assert not any("sejak" in path for path in asked)
    assert len(state(contract)) == 5


def test_a_rollback_is_not_tried_again_after_other_work(source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    upstream.records = people(5)
    pulled(source)
    back = to(first)
    with make.session() as s:
        run_services.cancel(s, s.get_one(JobRun, back))
    pulled(source)

    with make.session() as s, pytest.raises(SupersededError):
        run_services.retry(s, s.get_one(JobRun, back))


def test_the_schedule_rests_after_a_rollback(source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    pulled(source)
    with make.session() as s:
        kept = services.set_schedule(
            s, s.get_one(type(source), source.id),
            services.ScheduleWish("0 2 * * *", "Asia/Jakarta"),
        )  # fmt: skip
    to(first)
    with make.session() as s:
        assert not s.get_one(Schedule, kept.id).enabled


def test_what_cannot_be_brought_back_is_refused_in_words(contract, source, upstream):
    upstream.records = people(3)
    first = pulled(source)
    with pytest.raises(NotReturnableError):
        to(first)  # it stands so already
    second = pulled(source)
    with pytest.raises(ReasonMissingError):
        to(first, reason="")
    waiting = make.request_pull(source)
    with pytest.raises(AlreadyActiveError):
        to(first)
    do(waiting)
    make.next_version(contract.id, [*make.PERSON, make.field("catatan")])
    make.activate(contract.id)
    with pytest.raises(NotReturnableError):
        to(second)
