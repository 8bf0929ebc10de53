"""Who is told of what, under the bell, by mail and once a day; and nobody twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.core.policy import DISPATCHER
from app.notifications import notices
from app.notifications.kinds import KINDS
from app.notifications.models import Mail, Notice, Notification
from app.notifications.spreading import Clerk, send_digests, spread
from app.notifications.states import NoticeKind, Wish
from app.runs import ledger
from app.runs.errors import HeldError
from app.runs.sweeps import WorkerLostError
from app.web import i18n
from tests import make


@pytest.fixture
def clerk(bound):
    return Clerk(
        translations=i18n.compiled(Path(bound.home)), office="Kantor",
        public_url="https://simpul.test", zone="Asia/Jakarta", writes_mails=True,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_waits(bound):
    with make.session(DISPATCHER) as s:
        s.execute(sa.delete(Notice))
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.delete(Notification))
        s.execute(sa.delete(Mail))


def _tell(kind, **more):
    values = {
        "message": "The file of %(name)s is ready: %(rows)s rows.",
        "params": {"name": "X", "rows": 3},
        "path": "/x",
    }
    with make.session() as s:
        notices.tell(s, kind, **(values | more))


def _spread(clerk):
    with make.session(DISPATCHER) as s:
        return spread(s, clerk)


def _told(user):
    with make.session(make.agency_principal(None, user_id=user.id)) as s:
        return s.scalars(sa.select(Notification).order_by(Notification.id)).all()


def _mails(user):
    with make.session() as s:
        return s.scalars(sa.select(Mail).where(Mail.user_id == user.id)).all()


def _wish(user, kind, in_app, mail):
    with make.session(make.agency_principal(None, user_id=user.id)) as s:
        notices.wish(s, user.id, KINDS[kind], in_app, mail)


def test_who_may_do_something_about_it_is_told_once(clerk):
    may, may_not = make.make_user("PENGAWAS_DATA"), make.make_user("PIMPINAN")
    off = make.make_user("PENGAWAS_DATA", active=False)
    _tell(NoticeKind.PULL_HELD)

    assert _spread(clerk) == 1
    assert _spread(clerk) == 0

    assert [each.path for each in _told(may)] == ["/x"]
    assert _told(may_not) == _told(off) == []
    assert len(_mails(may)) == 1
    assert "https://simpul.test/x" in _mails(may)[0].text


def test_one_person_is_told_of_their_own_file(clerk):
    own, other = make.make_user("AUDITOR"), make.make_user("AUDITOR")
    _tell(NoticeKind.EXPORT_READY, user_id=own.id)
    _spread(clerk)

    assert len(_told(own)) == 1
    assert _told(other) == []
    assert _mails(own) == []  # by mail only if they want it


def test_an_agency_hears_of_its_own_alone(clerk):
    from app.identity.models import Role

    agency, other = make.make_agency(), make.make_agency()
    with make.session() as s:
        role = Role(
            name=make.word("R"), label=make.word("Peran"), for_agency=True,
            permissions=["run.retry"],
        )  # fmt: skip
        s.add(role)
    own, stranger = (make.make_user(role.name, agency=each) for each in (agency, other))
    _tell(NoticeKind.RUN_GIVEN_UP, agency_id=agency.id)
    _spread(clerk)

    assert len(_told(own)) == 1
    assert _told(stranger) == []


@pytest.mark.parametrize(
    ("kind", "in_app", "mail", "bells", "mails", "digests"),
    [
        (NoticeKind.PULL_HELD, Wish.ALWAYS, Wish.ALWAYS, 1, 1, 0),
        (NoticeKind.PULL_HELD, Wish.PROBLEM, Wish.PROBLEM, 1, 1, 0),
        (NoticeKind.PULL_HELD, Wish.NEVER, Wish.NEVER, 0, 0, 0),
        (NoticeKind.PULL_HELD, Wish.NEVER, Wish.DIGEST, 0, 0, 1),
        (NoticeKind.APPROVAL_ASKED, Wish.PROBLEM, Wish.PROBLEM, 0, 0, 0),
        (NoticeKind.APPROVAL_ASKED, Wish.ALWAYS, Wish.DIGEST, 1, 0, 1),
    ],
)
def test_wishes_are_kept(clerk, kind, in_app, mail, bells, mails, digests):
    user = make.make_user("PENGAWAS_DATA", "PENGAWAS_TI")
    _wish(user, kind, in_app, mail)
    _tell(kind)
    _spread(clerk)

    told = _told(user)
    assert sum(each.shown for each in told) == bells
    assert sum(each.for_digest for each in told) == digests
    assert len(_mails(user)) == mails


def test_of_ones_account_one_always_hears(clerk):
    user = make.make_user("AUDITOR")
    _wish(user, NoticeKind.ACCOUNT, Wish.NEVER, Wish.ALWAYS)
    _tell(NoticeKind.ACCOUNT, user_id=user.id)
    _spread(clerk)

    assert [each.shown for each in _told(user)] == [True]
    assert len(_mails(user)) == 1


def test_a_day_comes_as_one_mail(clerk):
    user = make.make_user("PENGAWAS_DATA")
    _wish(user, NoticeKind.PULL_HELD, Wish.ALWAYS, Wish.DIGEST)
    for n in range(3):
        _tell(NoticeKind.PULL_HELD, params={"name": f"Nomor {n}", "rows": n})
    _spread(clerk)
    with make.session(DISPATCHER) as s:
        assert send_digests(s, clerk) == 0  # of today: they come tomorrow
        s.execute(
            sa.update(Notification).values(at=datetime.now(tz=UTC) - timedelta(days=2))
        )
    with make.session(DISPATCHER) as s:
        assert send_digests(s, clerk) >= 1
    with make.session(DISPATCHER) as s:
        assert send_digests(s, clerk) == 0

    [mail] = _mails(user)
    assert mail.subject == "Kejadian sejak kemarin"
    for n in range(3):
        assert f"Berkas Nomor {n} siap: {n} baris." in mail.text
    assert len(_told(user)) == 3


def test_where_no_mail_leaves_none_is_written(clerk):
    from dataclasses import replace

    user = make.make_user("PENGAWAS_DATA")
    _tell(NoticeKind.PULL_HELD)
    _spread(replace(clerk, writes_mails=False))

    assert len(_told(user)) == 1
    assert _mails(user) == []


def test_mails_speak_the_persons_language(clerk):
    user = make.make_user("PENGAWAS_DATA", language="en")
    _tell(NoticeKind.PULL_HELD)
    _spread(clerk)

    assert _mails(user)[0].subject == "A pull is held and waits for a decision"


def test_a_run_that_is_given_up_or_held_is_told(bound):
    dead, held, again = (make.make_run(max_attempts=n) for n in (1, 3, 3))
    for run, end in (
        (
            dead,
            lambda s, lease: ledger.requeue_or_bury(
                s, lease.run_id, lease.fence, WorkerLostError()
            ),
        ),
        (held, lambda s, lease: lease.hold(s, HeldError("too_many", "Too many."))),
        (
            again,
            lambda s, lease: ledger.requeue_or_bury(
                s, lease.run_id, lease.fence, WorkerLostError()
            ),
        ),
    ):
        lease = make.claim(run)
        with make.session(make.WORKER_PRINCIPAL) as s:
            end(s, lease)
    with make.session(DISPATCHER) as s:
        told = {(each.kind, each.path) for each in s.scalars(sa.select(Notice))}

    assert told == {("run_given_up", f"/runs/{dead}"), ("pull_held", f"/runs/{held}")}


def test_what_is_too_old_goes(clerk):
    user = make.make_user("PENGAWAS_DATA")
    _tell(NoticeKind.PULL_HELD)
    _spread(clerk)
    with make.session(DISPATCHER) as s:
        s.execute(
            sa.update(Notification).values(at=datetime.now(tz=UTC) - timedelta(days=91))
        )
    with make.session(make.WORKER_PRINCIPAL) as s:
        assert notices.forget_old(s) >= 1

    assert _told(user) == []


def test_a_storm_is_told_as_one(clerk):
    user = make.make_user("PENGAWAS_TI")
    for n in range(30):
        _tell(NoticeKind.RUN_GIVEN_UP, path=f"/runs/{n}")
    assert _spread(clerk) == 30

    [told] = _told(user)
    assert told.params == {"message": "%(n)s runs failed for good.", "n": 30}
    assert told.path == "/runs/?where=status:is:dead"


def test_housekeeping_forgets_what_is_over(bound, monkeypatch):
    from app.core import db
    from app.core.policy import ANONYMOUS, acting_as
    from app.identity.models import LoginSession
    from jobs import housekeeping
    from jobs.runtime import _Started

    monkeypatch.setattr(_Started, "settings", bound)
    user = make.make_user("AUDITOR")
    old = datetime.now(tz=UTC) - timedelta(days=2)
    with acting_as(ANONYMOUS), db.unit_of_work() as s:
        s.add(
            LoginSession(
                user_id=user.id, user_key="x", token_hash=b"y", created_at=old, last_seen_at=old
            )
        )  # fmt: skip
    lease = make.claim(make.make_run())
    with acting_as(make.WORKER_PRINCIPAL):
        housekeeping.tidy(lease)
    with acting_as(ANONYMOUS), db.unit_of_work() as s:
        assert (
            s.scalars(
                sa.select(LoginSession).where(LoginSession.user_id == user.id)
            ).all()
            == []
        )


def _ask(turn, *roles):
    params = {"name": "X", "rows": 3, "turn": turn}
    _tell(NoticeKind.REQUEST_ASKS, roles=roles, params=params, path="/requests/1")


def test_only_the_holders_of_a_role_are_asked(clerk):
    asked, other = make.make_user("TIM_TEKNIS"), make.make_user("PIMPINAN")
    _ask(1, "TIM_TEKNIS")
    _spread(clerk)
    assert len(_told(asked)) == 1
    assert _told(other) == []


def test_who_is_asked_no_longer_is_told_no_longer(clerk):
    team, head = make.make_user("TIM_TEKNIS"), make.make_user("PIMPINAN")
    _ask(1, "TIM_TEKNIS")
    _spread(clerk)
    _ask(2, "PIMPINAN")
    _ask(3, "TIM_TEKNIS")
    _ask(3, "PIMPINAN")
    _tell(NoticeKind.REQUEST_TOLD, path="/requests/1")

    _spread(clerk)

    assert [(n.params.get("turn"), n.read_at is None) for n in _told(team)] == [
        (1, False), (3, True), (None, True),
    ]  # fmt: skip
    assert [n.params.get("turn") for n in _told(head)] == [3, None]
    assert [n.for_digest for n in _told(team)] == [False, True, False]
