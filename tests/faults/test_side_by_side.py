"""What people decide while a run is at work: a pause, a roll-back, a new version; and kill -9.

Each decision comes in the middle of a real run's process, at the third page or at a named
point of its publish. Afterwards the tables hold one of the two states that a person would
expect, whole, and the ledger says in words which.
"""

import signal
import threading

import psutil
import pytest
import sqlalchemy as sa

from app.core import db
from app.datasets.models import Dataset
from app.pulls import services
from app.pulls.errors import RollbackWaitsError
from app.pulls.models import PullRun
from app.runs.models import JobRun
from app.runs.states import RunStatus
from app.runs.sweeps import WorkerLostError
from app.sources.models import Source
from jobs import perform
from jobs.worker import report_lost
from tests import fakes, make

PAGE = 3
# Where the run is killed, or "" for not at all.
DEATHS = ["", "page_committed:3", "fetched", "merged", "published_written", "published"]


class Estate:
    """A source with two published answers, and a third one that is on its way."""

    def __init__(self, yard, upstream):
        self.yard, self.upstream = yard, upstream
        self.contract = make.make_contract(max_vanished_percent=100)
        self.source = make.make_source(
            self.contract, upstream.url, read_seconds=20.0, page_seconds=20.0
        )
        self.runs = []
        for name in ("Satu", "Dua"):
            self.serve(name)
            self.runs.append(make.request_pull(self.source))
            assert yard.run(self.runs[-1]) == 0
        self.serve("Tiga")

    def serve(self, name, count=60):
        self.upstream.records = [
            {"nip": f"{n:04}", "nama": f"{name} {n}"} for n in range(count)
        ]

    def names(self):
        """Return the first words of all living rows; there is one, or rows were mixed."""
        with make.session() as s:
            rows = s.scalars(
                sa.text(
                    f'SELECT nama FROM data."{self.contract.slug}"'
                    " WHERE _deleted_at IS NULL"
                )
            ).all()
            dataset = s.scalars(
                sa.select(Dataset).where(Dataset.contract_id == self.contract.id)
            ).one()
        assert len(rows) == dataset.row_count == 60
        return {row.split()[0] for row in rows}

    def history(self):
        with make.session() as s:
            table = f'data."{self.contract.slug}__history"'
            twice = s.scalar(
                sa.text(
                    f"SELECT count(*) FROM (SELECT nip, _valid_from FROM {table}"
                    " GROUP BY 1, 2 HAVING count(*) > 1) AS doubled"
                )
            )
            assert twice == 0
            return s.scalar(sa.text(f"SELECT count(*) FROM {table}"))

    def published(self, run_id):
        with make.session() as s:
            found = sa.select(PullRun.run_id).where(PullRun.run_id == run_id)
            return s.scalar(found) is not None

    def at_page(self, act):
        """Do something once, while the third page is asked for."""
        done = threading.Event()

        def answer(_handler, page):
            if page == PAGE and not done.is_set():
                done.set()
                act()
            return False

        self.upstream.answer = answer

    def run(self, run_id, death=""):
        """Do a run, kill it at its point if it comes there, and do it again until it ends."""
        pid = self.yard.start(run_id, death)
        if self.yard.wait(pid) == -signal.SIGKILL:
            report_lost(run_id, perform.worker_name(pid), WorkerLostError())
        self.go_on(run_id)
        return make.run_of(run_id)

    def go_on(self, run_id):
        for _ in range(4):
            if make.run_of(run_id).status is not RunStatus.QUEUED:
                return
            make.make_due(run_id)
            assert self.yard.run(run_id) == 0
        raise AssertionError("the run does not come to an end")

    def request_rollback(self):
        with make.session() as s:
            target = s.get_one(PullRun, self.runs[0])
            return services.request_rollback(s, target.dataset, target, "salah kirim")


@pytest.fixture
def estate(yard, upstream):
    return Estate(yard, upstream)


def pause(source):
    with make.session() as s:
        why = {"who": "Bu Ani", "reason": "salah kirim"}
        services.pause_source(s, s.get_one(Source, source.id), services.RESTS, why)


def resume(source):
    with make.session() as s:
        services.resume_source(s, s.get_one(Source, source.id))


# --- a pause ------------------------------------------------------------------------


@pytest.mark.parametrize("death", DEATHS[:4])
def test_a_source_that_is_paused_publishes_nothing_more(estate, death):
    estate.at_page(lambda: pause(estate.source))
    run = estate.run(make.request_pull(estate.source), death)

    assert (run.status, run.error_code) == (RunStatus.FAILED, "not_pullable")
    assert estate.names() == {"Dua"}
    assert not estate.published(run.id)
    with make.session() as s:
        source = s.get_one(Source, estate.source.id)
        # The pause is the person's: the run that failed by it neither ends nor explains it.
        assert not source.enabled
        assert source.pause["params"]["who"] == "Bu Ani"
        assert source.failure_count == 0

    resume(estate.source)
    again = estate.run(make.request_pull(estate.source))
    assert again.status is RunStatus.SUCCEEDED
    assert estate.names() == {"Tiga"}
    assert estate.history() == 120


def test_a_paused_source_is_not_asked_to_the_end_of_a_long_answer(estate):
    estate.serve("Tiga", 500)

    def answer(_handler, page):
        if page == PAGE:
            pause(estate.source)
        threading.Event().wait(0.1)
        return False

    estate.upstream.asked.clear()
    estate.upstream.answer = answer
    run = estate.run(make.request_pull(estate.source))

    assert run.status is RunStatus.FAILED
    assert sum(estate.upstream.asked.values()) <= PAGE + 5


@pytest.mark.parametrize("death", DEATHS[4:])
def test_what_was_published_before_the_pause_stays(estate, death):
    run_id = make.request_pull(estate.source)
    pid = estate.yard.start(run_id, death)
    assert estate.yard.wait(pid) == -signal.SIGKILL
    pause(estate.source)
    report_lost(run_id, perform.worker_name(pid), WorkerLostError())
    estate.go_on(run_id)

    was_published = death == "published"  # the commit came before the kill
    run = make.run_of(run_id)
    assert run.status is (RunStatus.SUCCEEDED if was_published else RunStatus.FAILED)
    assert estate.names() == {"Tiga" if was_published else "Dua"}
    assert estate.published(run_id) is was_published


# --- a roll-back --------------------------------------------------------------------


@pytest.fixture
def slips_in(monkeypatch):
    """Let a roll-back be asked for beside a pull: as when both come at the same moment."""
    monkeypatch.setattr(services, "is_active", lambda *_: False)


@pytest.mark.usefixtures("slips_in")
@pytest.mark.parametrize("death", DEATHS[:4])
def test_a_rollback_under_a_pull_is_not_undone_by_it(estate, death):
    backs = []

    def go_back():
        backs.append(estate.request_rollback())
        with fresh_yard(estate) as other:
            assert other.run(backs[0]) == 0

    estate.at_page(go_back)
    run = estate.run(make.request_pull(estate.source), death)

    assert make.run_of(backs[0]).status is RunStatus.SUCCEEDED
    assert (run.status, run.error_code) == (RunStatus.FAILED, "rolled_back")
    assert estate.names() == {"Satu"}
    assert not estate.published(run.id)
    assert estate.history() == 120  # the second pull's changes and the roll-back's
    with make.session() as s:
        assert s.get_one(Source, estate.source.id).failure_count == 0

    later = estate.run(make.request_pull(estate.source))
    assert later.status is RunStatus.SUCCEEDED
    assert estate.names() == {"Tiga"}
    assert estate.history() == 180


@pytest.mark.usefixtures("slips_in")
@pytest.mark.parametrize("death", ["restored", "restored_written", "rolled_back"])
def test_a_rollback_that_is_killed_under_a_pull_is_done_once(estate, death):
    pull_id = make.request_pull(estate.source)
    back = estate.request_rollback()
    pid = estate.yard.start(back, death)
    assert estate.yard.wait(pid) == -signal.SIGKILL
    pulled = estate.run(pull_id)  # the pull comes in between
    report_lost(back, perform.worker_name(pid), WorkerLostError())
    estate.go_on(back)

    assert make.run_of(back).status is RunStatus.SUCCEEDED
    assert estate.names() == {"Satu"}
    came_after = death == "rolled_back"  # that one was committed before the kill
    assert pulled.status is (RunStatus.FAILED if came_after else RunStatus.SUCCEEDED)
    assert estate.history() == (120 if came_after else 180)


def test_while_a_rollback_waits_a_pull_is_refused_in_words(estate):
    back = estate.request_rollback()
    with pytest.raises(RollbackWaitsError):
        make.request_pull(estate.source)
    assert estate.yard.run(back) == 0
    assert estate.names() == {"Satu"}
    assert estate.run(make.request_pull(estate.source)).status is RunStatus.SUCCEEDED
    assert estate.names() == {"Tiga"}


# --- a new version ------------------------------------------------------------------


def request_replay(estate, run_id):
    with make.session() as s:
        return services.request_replay(s, s.get_one(JobRun, run_id))


def activate_next(estate):
    fields = [*make.PERSON, make.field("catatan")]
    make.next_version(estate.contract.id, fields, max_vanished_percent=100)
    run_id = make.request_activation(estate.contract.id)
    with fresh_yard(estate) as other:
        assert other.run(run_id) == 0
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED


def fresh_yard(estate):
    return estate.yard.another()


def killed(estate, run_id, point):
    pid = estate.yard.start(run_id, point)
    assert estate.yard.wait(pid) == -signal.SIGKILL
    activate_next(estate)
    report_lost(run_id, perform.worker_name(pid), WorkerLostError())


def frozen(estate, run_id, point):
    pid = estate.yard.start(
        run_id, f"{point}:stop" if ":" in point else f"{point}:1:stop"
    )
    process = psutil.Process(pid)
    fakes.wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 20)
    activate_next(estate)
    process.resume()
    assert estate.yard.wait(pid) == 0


@pytest.mark.parametrize(
    ("how", "point"),
    [
        *((killed, p) for p in ("cleared", "page_committed:3", "settled", "merged")),
        *((frozen, p) for p in ("cleared", "page_committed:3", "fetched")),
    ],
)
def test_a_replay_under_which_a_version_is_activated_begins_anew_with_it(
    estate, how, point
):
    """The replay freezes or dies at a point; the new version becomes active meanwhile."""
    estate.upstream.asked.clear()
    replayed = request_replay(estate, estate.runs[-1])
    how(estate, replayed, point)
    estate.go_on(replayed)

    run = make.run_of(replayed)
    assert run.status is RunStatus.SUCCEEDED, run.error_message
    assert not estate.upstream.asked
    assert estate.names() == {"Dua"}
    with make.session() as s:
        counted = s.get_one(PullRun, replayed)
        assert counted.version_id == make.active_of(s, estate.contract.id).id
        assert (counted.read_count, counted.rejected_count) == (60, 0)
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == estate.contract.id)
        ).one()
        assert dataset.published_run_id == replayed
    assert estate.history() == 60  # a replay of what stands changes no row


@pytest.mark.parametrize("death", ["", "merged"])
def test_a_pull_under_which_a_version_is_activated_begins_anew_with_it(estate, death):
    estate.at_page(lambda: activate_next(estate))
    run = estate.run(make.request_pull(estate.source), death)

    assert run.status is RunStatus.SUCCEEDED, run.error_message
    assert estate.names() == {"Tiga"}
    with make.session() as s:
        counted = s.get_one(PullRun, run.id)
        assert counted.version_id == make.active_of(s, estate.contract.id).id
    assert estate.history() == 120


def test_an_activation_waits_for_who_reads_and_loses_no_attempt(estate):
    fields = [*make.PERSON, make.field("catatan")]
    make.next_version(estate.contract.id, fields)
    run_id = make.request_activation(estate.contract.id)
    with db.engine().connect() as reader:
        reader.execute(sa.text("SELECT set_config('role', 'simpul_worker', true)"))
        reader.execute(sa.text(f'SELECT 1 FROM data."{estate.contract.slug}" LIMIT 1'))
        assert estate.yard.run(run_id) == 0
        waiting = make.run_of(run_id)
        assert (waiting.status, waiting.attempt) == (RunStatus.QUEUED, 0)
        assert waiting.error_code == ""
    make.make_due(run_id)
    assert estate.yard.run(run_id) == 0
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED
