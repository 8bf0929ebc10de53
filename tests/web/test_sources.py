"""The way from an address to a source: look, accept, save; and who may go where."""

import html
import json
import re
from datetime import UTC, datetime, time, timedelta

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.connectors import errors
from app.contracts.models import Contract
from app.core.policy import acting_as
from app.identity.models import User
from app.identity.passwords import hash_of
from app.pulls import services as pull_services
from app.pulls.pulling import pull
from app.runs.models import JobRun
from app.sources.models import Host, Source
from tests import fakes, make
from tests.web.conftest import PASSWORD, seen_in

CANARY = "kunci-kenari-look"


@pytest.fixture
def upstream(upstream):
    upstream.records = make.people(*range(10, 30), nik="14710102038000{n}")
    return upstream


@pytest.fixture
def listed(app, settings, upstream):
    """The upstream's pair on the operator's list."""
    from dataclasses import replace

    before = app.extensions["simpul_settings"]
    pair = upstream.url.split("/")[2]
    app.extensions["simpul_settings"] = replace(before, approved_hosts=(pair,))
    yield pair
    app.extensions["simpul_settings"] = before


def hidden(page, name):
    found = re.search(f'name="{name}" value="([^"]*)"', page)
    return html.unescape(found[1]) if found else ""


def form(upstream, **more):
    return {"name": make.word("Sumber "), "contract": "new", "base_url": upstream.url,
            "auth": "query", "auth_name": "kunci", "auth_secret": CANARY} | more  # fmt: skip


def test_from_an_address_to_a_draft_and_a_source(log_in, people, upstream, listed):
    client = log_in(people["SEMUA"])
    first = client.post("/sources/new", data=form(upstream, do="look")).get_data(True)

    assert "10 rekaman" in first
    assert CANARY not in first
    assert upstream.records[0]["nik"] not in first

    data = form(upstream, do="accept", auth_secret="", kept=hidden(first, "kept"),
                proposal=hidden(first, "proposal"))  # fmt: skip
    second = client.post("/sources/new", data=data).get_data(True)
    assert "10 rekaman" in second

    slug, agency = make.word("look"), make.make_agency()
    data |= {"do": "save", "rows_path": "data", "slug": slug,
             "fields_token": hidden(second, "fields_token"), "kept": hidden(second, "kept")}  # fmt: skip
    third = client.post("/sources/new", data=data).get_data(True)
    assert "Pilih perangkat daerah" in third  # and what was seen and typed is still there
    data |= {name: hidden(third, name) for name in ("fields_token", "kept")}
    answer = client.post("/sources/new", data=data | {"agency": str(agency.id)})

    assert answer.status_code == 302, answer.get_data(True)
    with make.session() as s:
        contract = s.scalars(sa.select(Contract).where(Contract.slug == slug)).one()
        draft = make.draft_of(s, contract.id)
        types = {field.name: field.type.value for field in draft.specs()}
        source = s.scalars(
            sa.select(Source).where(Source.contract_id == contract.id)
        ).one()
        trail = s.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == "preview")
        ).all()
        assert types == {"nip": "text", "nama": "text", "nik": "text"}
        assert source.secrets == {"auth_secret": CANARY}
        assert trail
        assert CANARY not in json.dumps([str(each.after) for each in trail])


def test_an_address_nobody_approved_is_not_asked_before_it_is_confirmed(
    log_in, people, upstream
):
    client = log_in(people["SEMUA"])
    for url in (upstream.url, "http://169.254.169.254/latest", "http://[::1]:6379/"):
        page = client.post(
            "/sources/new",
            data=form(upstream, base_url=url, do="look", confirm=url.split("/")[2]),
        ).get_data(True)
        assert "tidak diizinkan" in page

    page = client.post(
        "/sources/new",
        data=form(upstream, base_url="https://api.opd.example/x", do="look"),
    ).get_data(True)

    assert "api.opd.example:443" in page
    assert "Yang ditemukan" not in page
    assert not upstream.asked


def test_stored_keys_are_not_carried_to_another_host(
    log_in, people, upstream, listed, estates
):
    own, _ = estates
    client = log_in(people["SEMUA"])
    seen = []
    upstream.answer = lambda handler, page: bool(
        seen.append(str(handler.headers) + handler.path)
    )

    client.post(
        f"/sources/{own.source}/edit",
        data=form(upstream, contract=str(own.contract), auth_secret="", do="look"),
    )

    assert not any("rahasia-sekali-kenari" in each for each in seen)


@pytest.mark.parametrize("token", ["x", "gAAAA", "é" * 50, ""])
def test_a_token_that_was_never_sealed_is_nothing(
    log_in, people, upstream, listed, token
):
    client = log_in(people["SEMUA"])
    data = form(upstream, kept=token, fields_token=token, proposal=token, do="save")

    assert client.post("/sources/new", data=data).status_code == 200


def test_an_agencys_own_developer_tries_the_own_source_and_no_other(app, log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    assert client.get(f"/sources/{own.source}/look").status_code == 200
    assert client.post(f"/sources/{own.source}/look").status_code == 200
    assert client.post(f"/sources/{other.source}/look").status_code == 404


def test_many_rest_and_work_again(log_in, people, estates):
    own, other = estates
    client = log_in(people["SEMUA"])
    chosen = {"source": [str(own.source), str(other.source)]}

    client.post("/pulls/many", data=chosen | {"do": "pause", "reason": ""})
    with make.session() as s:
        assert s.get_one(Source, own.source).enabled
    client.post("/pulls/many", data=chosen | {"do": "pause", "reason": "pemeliharaan"})
    with make.session() as s:
        assert not s.get_one(Source, own.source).enabled
        assert s.get_one(Source, other.source).pause["params"]["reason"] == "pemeliharaan"
    assert "pemeliharaan" in client.get(f"/pulls/source/{own.source}").get_data(True)
    client.post("/pulls/many", data=chosen | {"do": "resume"})
    with make.session() as s:
        assert s.get_one(Source, own.source).enabled


def test_a_like_one_is_filled_in_without_keys(log_in, people, estates):
    own, _ = estates
    page = log_in(people["SEMUA"]).get(f"/sources/new?like={own.source}").get_data(True)

    assert "/api/pegawai" in page
    assert "rahasia-sekali-kenari" not in page


# --- trying a source out ------------------------------------------------------------

OFFICE_KEY = "kunci-kantor-kenari"


@pytest.fixture
def tried(app, upstream):
    """A source with the office's key, and a client of its agency's own developer."""
    agency = make.make_agency()
    source = make.make_source(
        make.make_contract(agency=agency),
        upstream.url,
        auth="header",
        auth_name="X-Kunci",
    )
    with make.session() as s:
        s.get_one(Source, source.id).secrets = {"auth_secret": OFFICE_KEY}
    email = make.make_user(
        "OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD)
    ).email
    seen = []
    upstream.answer = lambda handler, page: bool(
        seen.append((handler.path, handler.headers.get("X-Kunci")))
    )
    return source, email, seen


def trial(source, **changed):
    """The page's form as it is shown, with fields changed."""
    settings = source.settings
    shown = {
        "auth": settings["auth"], "auth_name": settings["auth_name"], "paging": "page",
        "base_url": settings["base_url"], "page_size": "10", "rows_path": "data",
        "total_path": "total", "success_path": "ok", "success_value": "true",
        "read_seconds": "0.5", "page_seconds": "1", "max_pages": "50", "do": "look",
    }  # fmt: skip
    return shown | changed


def saved_now(source):
    with make.session() as s:
        own = s.get_one(Source, source.id)
        return dict(own.settings), dict(own.secrets)


def test_the_reading_is_tried_otherwise_with_the_offices_key_and_nothing_is_kept(
    log_in, tried
):
    source, email, seen = tried
    before = saved_now(source)
    client = log_in(email)

    page = client.post(
        f"/sources/{source.id}/look", data=trial(source, total_path="")
    ).get_data(True)

    assert {key for _, key in seen} == {OFFICE_KEY}
    assert OFFICE_KEY not in page
    assert "Dicoba berbeda dari yang tersimpan" in page
    assert saved_now(source) == before
    with make.session() as s:
        event = s.scalars(
            sa.select(AuditEvent).where(
                AuditEvent.object_id == str(source.id), AuditEvent.action == "preview"
            )
        ).one()
    assert event.after["changed"] == ["total_path"]


@pytest.mark.parametrize(
    "changed",
    [
        {"base_url": "/api/lain"}, {"query": "opd=lain"}, {"headers": "X-OPD: lain"},
        {"auth_name": "X-Kunci", "auth_prefix": "Bearer "}, {"auth": "query", "auth_name": "k"},
        {"method": "POST", "body": '{"a": 1}'}, {"since_param": "opd", "since_start": "2024-01-01"},
        {"paging": "none"}, {"page_param": "hal"}, {"user_agent": "x"}, {"pin_sha256": "0" * 64},
    ],
)  # fmt: skip
def test_the_offices_key_is_not_aimed_at_anything_else(log_in, tried, changed):
    source, email, seen = tried
    if "base_url" in changed:
        changed = {"base_url": source.settings["base_url"] + changed["base_url"]}

    page = (
        log_in(email)
        .post(f"/sources/{source.id}/look", data=trial(source, **changed))
        .get_data(True)
    )

    assert not any(key and OFFICE_KEY in key for _, key in seen)
    assert not any(OFFICE_KEY in path for path, _ in seen)
    assert "tanpa kunci" in page
    assert OFFICE_KEY not in page


def test_a_key_of_ones_own_is_sent_and_not_kept(log_in, tried):
    source, email, seen = tried
    before = saved_now(source)
    client = log_in(email)
    own = {"auth_secret": CANARY, "query": "opd=lain"}

    first = client.post(f"/sources/{source.id}/look", data=trial(source, **own)).get_data(
        True
    )
    again = trial(source, query="opd=lain", kept=hidden(first, "kept"))
    second = client.post(f"/sources/{source.id}/look", data=again).get_data(True)

    assert {key for _, key in seen} == {CANARY}
    assert all("opd=lain" in path for path, _ in seen)
    assert CANARY not in first + second
    assert saved_now(source) == before


def test_a_try_goes_to_no_other_host_and_through_no_proxy(log_in, tried, listed):
    source, email, seen = tried
    client = log_in(email)
    with fakes.Upstream() as other:
        for url in (other.url, "http://169.254.169.254/", "http://127.0.0.1:6379/", "x"):
            data = trial(source, base_url=url, auth_secret=CANARY)
            page = client.post(f"/sources/{source.id}/look", data=data).get_data(True)
            assert "Yang ditemukan" not in page
        token = trial(source, auth="login", auth_url=other.url, auth_secret=CANARY)
        client.post(f"/sources/{source.id}/look", data=token)
        client.post(f"/sources/{source.id}/look", data=trial(source, proxy=other.url))
        assert not other.asked
    assert {key for _, key in seen} == {OFFICE_KEY}


def test_a_draft_source_that_nobody_approved_is_not_asked(log_in, tried):
    source, email, seen = tried
    with make.session() as s:
        s.get_one(Source, source.id).approved_host = ""

    page = log_in(email).post(f"/sources/{source.id}/look", data=trial(source))

    assert "tidak diizinkan" in page.get_data(True)
    assert not seen


def test_the_proposal_is_accepted_for_the_look_alone(log_in, tried):
    source, email, _ = tried
    before = saved_now(source)
    client = log_in(email)
    data = trial(source, rows_path="tidak.ada")
    first = client.post(f"/sources/{source.id}/look", data=data).get_data(True)
    data |= {"do": "accept", "proposal": hidden(first, "proposal")}
    second = client.post(f"/sources/{source.id}/look", data=data).get_data(True)

    assert "10 rekaman" in second
    assert saved_now(source) == before


# --- rest and marks -----------------------------------------------------------------


def test_a_source_that_rests_is_tried_again_by_its_button(log_in, people, tried):
    source, _, _ = tried
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.max_failures = 1
        pull_services.set_schedule(
            s, own, pull_services.ScheduleWish("0 2 * * *", "Asia/Jakarta")
        )
    with make.session(make.WORKER_PRINCIPAL) as s:
        pull_services.note_failure(s, source.id, errors.for_status("h.example", 401))
    client = log_in(people["SEMUA"])
    page = client.get(f"/pulls/source/{source.id}").get_data(True)
    assert "sedang dijeda" in page
    assert "HTTP 401" in page

    answer = client.post(f"/pulls/source/{source.id}/again")

    run_id = answer.location.rpartition("/")[2]
    assert make.run_of(run_id).kind == "pull"
    with make.session() as s:
        own = s.get_one(Source, source.id)
        assert (own.enabled, own.pause, own.failure_count) == (True, None, 0)
        assert pull_services.schedule_of(s, own).enabled
    with acting_as(make.WORKER_PRINCIPAL):
        pull(make.claim(run_id), fakes.pages_here, (), "Asia/Jakarta")
    assert make.run_of(run_id).status == "succeeded"


def test_the_mark_is_shown_and_reset_with_a_reason(log_in, people, tried):
    source, email, _ = tried
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.settings = own.settings | {"since_param": "sejak"}
        own.mark = {"value": "2024-05-01", "version": "x"}
    client = log_in(people["SEMUA"])
    assert "2024-05-01" in client.get(f"/pulls/source/{source.id}").get_data(True)

    client.post(f"/sources/{source.id}/whole", data={"reason": ""})
    with make.session() as s:
        assert s.get_one(Source, source.id).mark
    client.post(f"/sources/{source.id}/whole", data={"reason": "data dibetulkan"})
    with make.session() as s:
        assert s.get_one(Source, source.id).mark is None
    assert log_in(email).post(f"/sources/{source.id}/whole").status_code == 403


def test_who_may_approve_is_said_and_the_one_who_changed_it_is_not_asked(
    log_in, people, tried
):
    source, _, _ = tried
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.approved_host = ""
        changer = s.scalars(sa.select(User).where(User.email == people["SEMUA"])).one()
        own.settled_by_ids = [changer.id]
    approve = f"/sources/{source.id}/approve"

    asked = log_in(people["PENGAWAS_TI"]).get(f"/pulls/source/{source.id}").get_data(True)
    not_asked = log_in(people["SEMUA"]).get(f"/pulls/source/{source.id}").get_data(True)

    assert approve in asked
    assert approve not in not_asked
    assert "orang kedua" in not_asked
    assert "Pejabat Pengawas Pengelola Teknologi Informasi" in not_asked


# --- hosts --------------------------------------------------------------------------


def host_form(**changed):
    return {"pair": f"{make.word('h')}.example:443", "per_second": "0.5", "at_once": "2",
            "quiet_from": "22:00", "quiet_until": "04:30", "note": "server lama"} | changed  # fmt: skip


def host_of(pair):
    with make.session() as s:
        return s.scalars(sa.select(Host).where(Host.pair == pair)).one_or_none()


def test_the_limits_of_a_host_are_set_on_its_page(log_in, people):
    client = log_in(people["PENGAWAS_TI"])
    data = host_form()

    answer = client.post("/hosts/new/", data=data | {"pair": data["pair"].upper()})

    assert answer.status_code == 302, answer.get_data(True)
    host = host_of(data["pair"])
    assert (host.per_second, host.at_once) == (0.5, 2)
    assert (host.quiet_from, host.quiet_until) == (time(22), time(4, 30))
    page = client.get(f"/hosts/?search={data['pair']}").get_data(True)
    assert "22.00–04.30" in page
    address = f"/hosts/edit/?id={host.id}"
    changed = {"per_second": "0", "quiet_from": "", "quiet_until": ""}
    answer = client.post(
        address, data=data | changed | {"seen": seen_in(client, address)}
    )
    assert answer.status_code == 302, answer.get_data(True)
    assert host_of(data["pair"]).quiet_from is None
    assert "tanpa batas" in client.get(f"/hosts/?search={data['pair']}").get_data(True)


@pytest.mark.parametrize(
    "changed",
    [
        {"pair": "h.example"}, {"pair": "http://h.example:80"}, {"pair": "169.254.169.254:80"},
        {"pair": ""}, {"pair": "h.example:99999"}, {"per_second": "-1"}, {"per_second": "nan"},
        {"per_second": "banyak"}, {"per_second": "1e9"}, {"at_once": "-1"}, {"at_once": "1.5"},
        {"quiet_from": ""}, {"quiet_until": "25:00"}, {"note": "x" * 600}, {"note": "a\0"},
    ],
)  # fmt: skip
def test_limits_that_mean_nothing_are_refused_in_words(log_in, people, changed):
    data = host_form(**changed)

    answer = log_in(people["PENGAWAS_TI"]).post("/hosts/new/", data=data)

    assert answer.status_code == 200
    assert "alert-danger" in answer.get_data(True)
    assert host_of(data["pair"]) is None


def test_staff_end_the_rest_of_a_host_early_and_say_why(log_in, people, tried):
    source, email, _ = tried
    pair = source.settings["base_url"].split("/")[2]
    run, other = make.request_pull(source), make.make_run()
    later = datetime.now(UTC) + timedelta(hours=1)
    with make.session() as s:
        host = Host(pair=pair, wait_until=later, wait_code="http_429", failure_count=7)
        s.add(host)
        s.execute(
            sa.update(JobRun).where(JobRun.id.in_([run, other])).values(not_before=later)
        )
    path, client = f"/hosts/{host.id}/lift", log_in(people["PENGAWAS_TI"])
    assert path in client.get(f"/hosts/details/?id={host.id}").get_data(True)

    client.post(path, data={"reason": " "})
    assert host_of(pair).wait_until == later
    assert log_in(email).post(path).status_code == 403
    client.post(path, data={"reason": "sudah pulih, kata OPD"})

    now = host_of(pair)
    assert (now.wait_until, now.wait_code, now.failure_count) == (None, "", 0)
    assert make.run_of(run).not_before < datetime.now(UTC) + timedelta(minutes=1)
    assert make.run_of(other).not_before == later
    with make.session() as s:
        reasons = s.scalars(
            sa.select(AuditEvent.reason).where(AuditEvent.object_id == str(host.id))
        ).all()
    assert "sudah pulih, kata OPD" in reasons
    assert path not in client.get(f"/hosts/details/?id={host.id}").get_data(True)
