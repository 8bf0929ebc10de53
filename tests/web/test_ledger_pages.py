"""Pages of the ledger as staff use them: call off, try many again, rest a schedule."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core import db
from app.core.errors import TransientError
from app.runs import services
from app.runs.models import JobRun, Schedule
from app.runs.states import MissedPolicy, RunStatus
from tests import make
from tests.web.conftest import seen_in


def test_a_run_is_called_off_on_its_page(log_in, people):
    client, run_id = log_in(people["TIM_TEKNIS"]), make.make_run()
    page = client.get(f"/runs/{run_id}").get_data(as_text=True)
    assert f"/runs/{run_id}/cancel" in page
    assert client.post(f"/runs/{run_id}/cancel").status_code == 302
    assert make.run_of(run_id).status is RunStatus.CANCELLED
    page = client.get(f"/runs/{run_id}").get_data(as_text=True)
    assert "Dibatalkan oleh" in page
    answer = client.post(f"/runs/{run_id}/cancel", follow_redirects=True)
    assert "tidak ada yang perlu dibatalkan" in answer.get_data(as_text=True)


def test_who_may_only_read_cannot_call_off(log_in, people):
    client, run_id = log_in(people["AUDITOR"]), make.make_run()
    assert client.post(f"/runs/{run_id}/cancel").status_code == 403
    assert make.run_of(run_id).status is RunStatus.QUEUED


def test_many_dead_letters_are_tried_again_at_once(log_in, people):
    client = log_in(people["TIM_TEKNIS"])
    dead = [make.make_run(max_attempts=1) for _ in range(3)]
    for run_id in dead:
        lease = make.claim(run_id)
        with make.session(make.WORKER_PRINCIPAL) as s:
            lease.try_later(s, TransientError("x"))
    alive = make.make_run()
    page = client.get("/runs/?status=dead", follow_redirects=True).get_data(as_text=True)
    assert all(str(run_id) in page for run_id in dead)
    answer = client.post(
        "/runs/retry",
        data={"run": [*map(str, dead), str(alive)], "query": "where=status:is:dead"},
        follow_redirects=True,
    )
    text = answer.get_data(as_text=True)
    assert "Dicoba lagi: 3 proses." in text
    assert "Hanya proses yang gagal" in text  # the fourth was not to be tried again
    for run_id in dead:
        with make.session() as s:
            [again] = s.query(JobRun).filter_by(retry_of_id=run_id)
        assert again.status is RunStatus.QUEUED


def make_ended(count, status=RunStatus.DEAD, **values):
    """Runs that have ended, all with one word in their label; returns word and ids."""
    word, ids = make.word("mati"), [uuid4() for _ in range(count)]
    with make.session() as s:
        now = db.now(s)
        common = {
            "kind": "housekeeping", "queue": "notices", "params": {}, "max_attempts": 3,
            "status": status, "finished_at": now, "error_code": "x", "error_message": "x",
        }  # fmt: skip
        rows = [
            common
            | {"id": ident, "key": f"{word}:{n}", "label": f"{word} {n}"}
            | {"created_at": now - timedelta(hours=1, seconds=n)}
            | values
            for n, ident in enumerate(ids)
        ]
        s.execute(sa.insert(JobRun), rows)
    return word, ids


def listed(status, word) -> dict[str, str]:
    """Return the address of the list of these runs."""
    return {"where": f"status:is:{status}", "search": word}


def form_of(chosen) -> dict[str, str]:
    """Return what the list's form sends along: how it is narrowed."""
    return {"query": urlencode(chosen)}


def successors(ids):
    with make.session() as s:
        found = sa.select(JobRun.retry_of_id).where(JobRun.retry_of_id.in_(ids))
        return Counter(s.scalars(found))


def test_a_thousand_dead_letters_are_tried_again_by_one_press(log_in, people):
    client = log_in(people["TIM_TEKNIS"])
    word, dead = make_ended(1000)
    _, others = make_ended(30)
    chosen = listed("dead", word)
    page = client.get("/runs/", query_string=chosen).get_data(as_text=True)
    assert "Coba lagi semua (1.000)" in page
    began = time.monotonic()
    answer = client.post("/runs/retry-all", data=form_of(chosen))
    seconds = time.monotonic() - began
    assert answer.status_code == 302
    assert seconds < 15
    assert "Dicoba lagi: 1.000 proses." in client.get(answer.location).get_data(
        as_text=True
    )
    assert successors(dead) == Counter(dead)  # none lost, none twice
    assert not successors(others)
    again = client.post("/runs/retry-all", data=form_of(chosen), follow_redirects=True)
    assert "Dicoba lagi: 0 proses." in again.get_data(as_text=True)
    end_all(word)  # neither when they have come to their end
    client.post("/runs/retry-all", data=form_of(chosen))
    assert successors(dead) == Counter(dead)
    with make.session() as s:
        events = s.scalars(
            sa.select(AuditEvent.object_id).where(
                AuditEvent.action == "retry", AuditEvent.object_id.in_(map(str, dead))
            )
        ).all()
    assert sorted(events) == sorted(map(str, dead))


def end_all(word):
    with make.session() as s:
        s.execute(
            sa.update(JobRun)
            .where(JobRun.key.startswith(word), JobRun.status == RunStatus.QUEUED)
            .values(status=RunStatus.SUCCEEDED, finished_at=sa.func.clock_timestamp())
        )


def test_what_is_more_than_one_press_can_do_is_said_and_left_for_the_next(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(services, "RETRY_LIMIT", 20)
    client = log_in(people["TIM_TEKNIS"])
    word, dead = make_ended(50)
    chosen = listed("dead", word)
    page = client.get("/runs/", query_string=chosen).get_data(as_text=True)
    assert "Coba lagi 20 yang terbaru" in page
    said = []
    for _ in range(3):
        answer = client.post(
            "/runs/retry-all", data=form_of(chosen), follow_redirects=True
        )
        said.append(answer.get_data(as_text=True))
    assert "30 lagi masih dapat dicoba lagi" in said[0]
    assert "10 lagi masih dapat dicoba lagi" in said[1]
    assert "masih dapat dicoba lagi" not in said[2]
    assert successors(dead) == Counter(dead)


def test_of_the_same_work_only_the_newest_run_is_tried_again(log_in, people):
    client = log_in(people["TIM_TEKNIS"])
    key = make.word("satu")
    word, dead = make_ended(40, key=key)
    client.post("/runs/retry-all", data=form_of(listed("dead", word)))
    assert successors(dead) == Counter(dead[:1])


def test_two_who_press_at_once_begin_nothing_twice(app, log_in, people):
    word, dead = make_ended(200)
    chosen = listed("dead", word)
    clients = [log_in(people["TIM_TEKNIS"]), log_in(people["SEMUA"])]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda client: client.post("/runs/retry-all", data=form_of(chosen)),
                clients,
            )
        )
    assert {answer.status_code for answer in answers} == {302}
    assert successors(dead) == Counter(dead)


@pytest.mark.parametrize("status", ["", "succeeded", "queued", "ngawur"])
def test_without_its_filter_nothing_is_tried_again(log_in, people, status):
    word, ended = make_ended(3)
    client = log_in(people["TIM_TEKNIS"])
    data = form_of(listed(status, word))
    assert client.post("/runs/retry-all", data=data).status_code == 302
    assert not successors(ended)


def test_work_of_another_version_is_refused_in_words(log_in, people):
    client = log_in(people["TIM_TEKNIS"])
    word, [unknown] = make_ended(1, kind="dari_masa_depan")
    _, [odd] = make_ended(1, params={"apa": 1}, label=word)
    for run_id in (unknown, odd):
        page = client.post(f"/runs/{run_id}/retry", follow_redirects=True)
        assert page.status_code == 200
        assert "Versi program ini" in page.get_data(as_text=True)
    answer = client.post(
        "/runs/retry-all",
        data=form_of(listed("dead", word)),
        follow_redirects=True,
    )
    assert "1 proses tidak dapat dicoba lagi" in answer.get_data(as_text=True)
    assert not successors([unknown, odd])


def test_who_may_only_read_cannot_try_all_again(log_in, people):
    word, dead = make_ended(30)
    client = log_in(people["AUDITOR"])
    chosen = listed("dead", word)
    page = client.get("/runs/", query_string=chosen).get_data(as_text=True)
    assert "/runs/retry-all" not in page
    assert client.post("/runs/retry-all", data=form_of(chosen)).status_code == 403
    assert not successors(dead)


def test_a_schedule_gets_its_last_day_and_its_policy(log_in, people, estates):
    assert estates
    client = log_in(people["TIM_TEKNIS"])
    with make.session() as s:
        schedule = s.query(Schedule).filter(Schedule.enabled).first()
    address = f"/schedules/edit/?id={schedule.id}"
    assert 'name="last_day"' in client.get(address).get_data(as_text=True)
    form = {"name": schedule.name, "cron": "0 3 * * *", "enabled": "y", "missed": "skip"}
    seen = seen_in(client, address)
    client.post(address, data=form | {"last_day": "2999-12-31", "seen": seen})
    with make.session() as s:
        kept = s.get_one(Schedule, schedule.id)
        assert (kept.missed, kept.until.year) == (MissedPolicy.SKIP, 2999)
    seen = seen_in(client, address)
    refused = client.post(address, data=form | {"last_day": "2001-01-01", "seen": seen})
    assert "berakhir sebelum" in refused.get_data(as_text=True)
    shown = client.get(address).get_data(as_text=True)
    assert re.search(r'name="last_day"[^>]*value="2999-12-31"', shown)


def test_queues_and_workers_at_one_look(log_in, people):
    page = log_in(people["SYSADMIN"]).get("/ledger/")
    assert page.status_code == 200
    assert "penarikan" in page.get_data(as_text=True)
    assert log_in(people["WALIDATA"]).get("/ledger/").status_code == 403
