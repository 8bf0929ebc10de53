"""Pages of the ledger as staff use them: call off, try many again, rest a schedule."""

import re

from app.core.errors import TransientError
from app.runs.models import JobRun, Schedule
from app.runs.states import MissedPolicy, RunStatus
from tests import make


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
    page = client.get("/runs/?status=dead").get_data(as_text=True)
    assert all(str(run_id) in page for run_id in dead)
    answer = client.post(
        "/runs/retry",
        data={"run": [*map(str, dead), str(alive)], "status": "dead"},
        follow_redirects=True,
    )
    text = answer.get_data(as_text=True)
    assert "Dicoba lagi: 3 proses." in text
    assert "Hanya proses yang gagal" in text  # the fourth was not to be tried again
    for run_id in dead:
        with make.session() as s:
            [again] = s.query(JobRun).filter_by(retry_of_id=run_id)
        assert again.status is RunStatus.QUEUED


def test_a_schedule_gets_its_last_day_and_its_policy(log_in, people, estates):
    assert estates
    client = log_in(people["TIM_TEKNIS"])
    with make.session() as s:
        schedule = s.query(Schedule).filter(Schedule.enabled).first()
    address = f"/schedules/edit/?id={schedule.id}"
    assert 'name="last_day"' in client.get(address).get_data(as_text=True)
    form = {"name": schedule.name, "cron": "0 3 * * *", "enabled": "y", "missed": "skip"}
    client.post(address, data=form | {"last_day": "2999-12-31"})
    with make.session() as s:
        kept = s.get_one(Schedule, schedule.id)
        assert (kept.missed, kept.until.year) == (MissedPolicy.SKIP, 2999)
    refused = client.post(address, data=form | {"last_day": "2001-01-01"})
    assert "berakhir sebelum" in refused.get_data(as_text=True)
    shown = client.get(address).get_data(as_text=True)
    assert re.search(r'name="last_day"[^>]*value="2999-12-31"', shown)


def test_queues_and_workers_at_one_look(log_in, people):
    page = log_in(people["SYSADMIN"]).get("/ledger/")
    assert page.status_code == 200
    assert "penarikan" in page.get_data(as_text=True)
    assert log_in(people["WALIDATA"]).get("/ledger/").status_code == 403
