"""What somebody changed wrongly is put back: by the same rules, with a reason, whole or in parts."""

import re
from html import unescape

import pytest
import sqlalchemy as sa

from app.audit import recorder
from app.audit.models import AuditEvent
from app.contracts import services as contract_services
from app.contracts.models import ContractVersion
from app.core.db import because
from app.core.policy import set_request_id
from app.history import trail
from app.identity.models import Agency, Role, User
from app.pulls.services import ScheduleWish, set_schedule
from app.runs.models import Schedule
from app.sources.models import Source
from app.sources.services import save_source
from tests import make


def newest(obj_id, action: str = "update") -> int:
    with make.session() as s:
        return s.scalars(
            sa.select(AuditEvent.id)
            .where(AuditEvent.object_id == str(obj_id), AuditEvent.action == action)
            .order_by(AuditEvent.id.desc())
            .limit(1)
        ).one()


def preview_of(client, address: str) -> tuple[str, dict]:
    """Return the page, and what its form sends when nothing is chosen otherwise."""
    page = client.get(address)
    assert page.status_code == 200, page.get_data(True)
    text = page.get_data(True)
    digest = re.search(r'name="digest" value="([^"]+)"', text).group(1)
    put = re.findall(r'name="put" value="([^"]+)" checked', text)
    return text, {"digest": digest, "put": [unescape(each) for each in put]}


def put_back(client, address: str, **more):
    _text, form = preview_of(client, address)
    return client.post(address, data=form | {"reason": "salah ketik"} | more)


def changed(model, ident, **values):
    with make.session() as s:
        because(s, "kemarin")
        found = s.get_one(model, ident)
        for name, value in values.items():
            setattr(found, name, value)


@pytest.fixture
def agency():
    made = make.make_agency(email="benar@x.test", phone="0761-1")
    changed(Agency, made.id, email="salah@x.test", phone="0761-2")
    return made


def stored(model, ident):
    with make.session() as s:
        return s.get_one(model, ident)


def test_a_change_is_put_back_with_a_preview_a_reason_and_a_trail(log_in, people, agency):
    client = log_in(people["ADMINISTRATOR"])
    page = client.get(f"/agencies/details/?id={agency.id}").get_data(True)
    address = f"/audit/{newest(agency.id)}/revert"
    assert address in page
    text, form = preview_of(client, address)
    assert "benar@x.test" in text
    assert "salah@x.test" in text
    assert len(form["put"]) == 2
    assert stored(Agency, agency.id).email == "salah@x.test"  # a preview changes nothing

    answer = client.post(address, data=form | {"reason": "salah ketik"})
    assert answer.status_code == 302
    assert stored(Agency, agency.id).email == "benar@x.test"
    with make.session() as s:
        event = s.get_one(AuditEvent, newest(agency.id))
        assert event.after["email"] == "benar@x.test"
        assert event.reason == "salah ketik"
        deed = s.get_one(AuditEvent, newest(agency.id, "revert"))
        assert deed.request_id == event.request_id


def test_what_was_changed_again_stays_unless_it_is_chosen(log_in, people, agency):
    changed(Agency, agency.id, phone="0761-3")
    client = log_in(people["ADMINISTRATOR"])
    with make.session() as s:
        first = s.scalars(
            sa.select(AuditEvent.id)
            .where(AuditEvent.object_id == str(agency.id), AuditEvent.action == "update")
            .order_by(AuditEvent.id)
        ).first()
    address = f"/audit/{first}/revert"
    text, form = preview_of(client, address)
    assert "sudah diubah lagi" in text
    assert form["put"] == [f"agency:{agency.id}:email"]
    assert put_back(client, address).status_code == 302
    now = stored(Agency, agency.id)
    assert (now.email, now.phone) == ("benar@x.test", "0761-3")
    assert put_back(client, address, put=[f"agency:{agency.id}:phone"]).status_code == 302
    assert stored(Agency, agency.id).phone == "0761-1"


def test_a_reason_a_choice_and_an_honest_preview_are_needed(log_in, people, agency):
    client = log_in(people["ADMINISTRATOR"])
    address = f"/audit/{newest(agency.id)}/revert"
    assert put_back(client, address, reason=" ").status_code == 409
    none = put_back(client, address, put=[])
    assert none.status_code == 409
    assert "Pilih sedikitnya satu" in none.get_data(True)
    _text, form = preview_of(client, address)
    changed(Agency, agency.id, email="ketiga@x.test")
    late = client.post(address, data=form | {"reason": "x"})
    assert late.status_code == 409
    assert "berubah selagi" in late.get_data(True)
    assert stored(Agency, agency.id).email == "ketiga@x.test"
    _text, form = preview_of(client, address)
    chosen = form | {"put": [f"agency:{agency.id}:email"], "reason": "x"}
    changed(Agency, agency.id, email="keempat@x.test")  # changed again, once more
    assert client.post(address, data=chosen).status_code == 409
    odd = {"digest": "é\0", "put": ["x", f"agency:{agency.id}:code"], "reason": "x"}
    assert client.post(address, data=odd).status_code == 409


def test_who_may_not_write_sees_the_preview_and_puts_nothing_back(log_in, people, agency):
    client = log_in(people["AUDITOR"])
    address = f"/audit/{newest(agency.id)}/revert"
    text, form = preview_of(client, address)
    assert "salah@x.test" in text
    assert 'name="reason"' not in text
    forged = form | {"put": [f"agency:{agency.id}:email"], "reason": "x"}
    assert client.post(address, data=forged).status_code == 403
    assert stored(Agency, agency.id).email == "salah@x.test"
    assert log_in(people["TIM_TEKNIS"]).get(address).status_code == 403


def test_forty_schedules_of_one_request_are_put_back_at_once(log_in, people):
    contract = make.make_contract(load_mode="upsert")
    ids = []
    for _ in range(40):
        source = make.make_source(contract, "http://x.go.id")
        with make.session() as s:
            found = s.get_one(Source, source.id)
            schedule = set_schedule(s, found, ScheduleWish("0 2 * * *", "Asia/Jakarta"))
            s.flush()
            ids.append(schedule.id)
    request_id = make.word("permintaan")
    set_request_id(request_id)
    with make.session() as s:
        for ident in ids:
            s.get_one(Schedule, ident).cron = "0 12 * * *"
    set_request_id("")
    changed(Schedule, ids[0], cron="0 5 * * *")
    client = log_in(people["SEMUA"])
    page = client.get(f"/audit/request/{request_id}").get_data(True)
    address = f"/audit/request/{request_id}/revert"
    assert address in page
    answer = put_back(client, address)
    assert answer.status_code == 302, answer.get_data(True)
    with make.session() as s:
        crons = [s.get_one(Schedule, ident).cron for ident in ids]
    assert crons == ["0 5 * * *"] + ["0 2 * * *"] * 39


def test_what_is_too_much_for_one_page_is_put_back_page_by_page(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(trail, "MOST_OF_REQUEST", 2)
    made = [make.make_agency(phone="0761-1") for _ in range(5)]
    request_id = make.word("permintaan")
    set_request_id(request_id)
    with make.session() as s:
        for each in made:
            s.get_one(Agency, each.id).phone = "0761-2"
    set_request_id("")
    client = log_in(people["SEMUA"])
    address = f"/audit/request/{request_id}/revert"
    for rest in (3, 1, 0):
        answer = put_back(client, address)
        address = answer.headers["Location"]
        phones = [stored(Agency, each.id).phone for each in made]
        assert phones.count("0761-2") == rest
    assert address.endswith(request_id), "and back to the request"


def test_roles_come_back_and_a_password_never(log_in, people):
    person = make.make_user("AUDITOR", password="$argon2id$x")
    with make.session() as s:
        found = s.get_one(User, person.id)
        found.roles = list(s.scalars(sa.select(Role).where(Role.name == "SYSADMIN")))
        found.password = "$argon2id$y"
        found.job_title = "Salah"
    client = log_in(people["SEMUA"])
    address = f"/audit/{newest(person.id)}/revert"
    text, _form = preview_of(client, address)
    assert "Rahasia tidak disimpan" in text
    assert "argon2" not in text
    assert put_back(client, address).status_code == 302
    now = stored(User, person.id)
    assert [role.name for role in now.roles] == ["AUDITOR"]
    assert (now.job_title, now.password) == ("", "$argon2id$y")


def test_an_agency_of_a_person_comes_back_by_the_rules_of_roles(log_in, people):
    agency = make.make_agency()
    person = make.make_user("OPD_OPERATOR", agency=agency)
    with make.session() as s:
        roles = list(s.scalars(sa.select(Role).where(Role.name == "AUDITOR")))
        found = s.get_one(User, person.id)
        found.agency_id, found.roles = None, roles
    client = log_in(people["SEMUA"])
    address = f"/audit/{newest(person.id)}/revert"
    half = put_back(client, address, put=[f"user:{person.id}:agency_id"])
    assert half.status_code == 409  # a role of the office in an agency
    assert stored(User, person.id).agency_id is None
    assert put_back(client, address).status_code == 302
    now = stored(User, person.id)
    assert (now.agency_id, now.roles[0].name) == (agency.id, "OPD_OPERATOR")


def test_a_setting_of_a_source_comes_back_and_its_approval_does_not(log_in, people):
    source = make.make_source(make.make_contract(), "http://lama.go.id:8080")
    changed(Source, source.id, approved_host="lama.go.id:8080")
    with make.session() as s:
        found = s.get_one(Source, source.id)
        wrong = {**found.settings, "base_url": "http://baru.go.id:8080", "page_size": 99}
        save_source(s, found, wrong, secrets={"auth_secret": "rahasia"})
    client = log_in(people["SEMUA"])
    address = f"/audit/{newest(source.id)}/revert"
    text, form = preview_of(client, address)
    assert "orang kedua" in text
    assert "Rahasia tidak disimpan" in text
    assert sorted(each.rpartition(":")[2] for each in form["put"]) == [
        "settings.base_url", "settings.page_size",
    ]  # fmt: skip
    assert put_back(client, address).status_code == 302
    now = stored(Source, source.id)
    assert now.settings["base_url"] == "http://lama.go.id:8080"
    assert now.settings["page_size"] == 10
    assert now.approved_host == ""
    assert now.secrets["auth_secret"] == "rahasia"


def test_a_drafts_save_is_put_back_whole_and_a_signed_version_never(log_in, people):
    contract = make.make_contract(active=False)
    request_id = make.word("permintaan")
    with make.session() as s:
        draft = make.draft_of(s, contract.id)
        before, ident = draft.specs(), draft.id
    set_request_id(request_id)
    with make.session() as s:
        draft = s.get_one(ContractVersion, ident)
        first, second, third, _lost = before
        new = make.field("alamat", label="Alamat")
        altered = make.field("nama", required=True, label="Salah")
        contract_services.save_fields(s, draft, [first, altered, third, new])
        draft.max_rejected_percent = 99
    set_request_id("")
    assert second.label == "nama"
    client = log_in(people["SEMUA"])
    address = f"/audit/request/{request_id}/revert"
    assert put_back(client, address).status_code == 302
    with make.session() as s:
        draft = s.get_one(ContractVersion, ident)
        assert draft.specs() == before
        assert draft.max_rejected_percent == 20
    make.activate(contract.id)
    text = client.get(address).get_data(True)
    assert "bukan draf lagi" in text
    assert 'name="put"' not in text


def test_a_value_that_is_taken_by_now_is_refused_in_words(log_in, people):
    code = make.word("kode")
    agency = make.make_agency(code=code)
    changed(Agency, agency.id, code=make.word("lain"), phone="9")
    make.make_agency(code=code)
    client = log_in(people["ADMINISTRATOR"])
    answer = put_back(client, f"/audit/{newest(agency.id)}/revert")
    assert answer.status_code == 409
    assert "sudah ada" in answer.get_data(True)
    assert stored(Agency, agency.id).phone == "9"  # nothing of it was put back


def test_forms_rules_hold_for_former_values_too(log_in, people):
    agency = make.make_agency(email="bukan alamat")  # from before there was a rule
    changed(Agency, agency.id, email="a@x.test")
    client = log_in(people["ADMINISTRATOR"])
    answer = put_back(client, f"/audit/{newest(agency.id)}/revert")
    assert answer.status_code == 409
    assert stored(Agency, agency.id).email == "a@x.test"


def test_what_a_former_version_of_the_program_wrote_is_no_error_of_ours(log_in, people):
    source = make.make_source(make.make_contract(), "http://x.go.id")
    person = make.make_user("AUDITOR")
    with make.session() as s:
        found = s.get_one(Source, source.id)
        schedule = set_schedule(s, found, ScheduleWish("0 2 * * *", "Asia/Jakarta"))
        s.flush()
        for obj, before, after in (
            (found, {"secret": "•••", "settled_by_id": "x", "enabled": "mungkin"}, {}),
            (
                schedule,
                {"missed": "zaman dahulu", "until": "kemarin"},
                {"missed": "skip"},
            ),
            (s.get_one(User, person.id), {"fax": "1", "agency_id": "x"}, {"fax": None}),
        ):
            recorder.record(s, "update", obj, before=before, after=after)
        idents = [source.id, schedule.id, person.id]
    client = log_in(people["SEMUA"])
    for ident in idents:
        address = f"/audit/{newest(ident)}/revert"
        text, form = preview_of(client, address)
        put = re.findall(r'name="put" value="([^"]+)"', text)
        answer = client.post(address, data=form | {"put": put, "reason": "x"})
        assert answer.status_code in {404, 409}, answer.get_data(True)
    for page in (f"/pulls/source/{source.id}", f"/users/details/?id={person.id}"):
        assert client.get(page).status_code == 200


def test_what_was_made_and_what_was_a_deed_say_why_they_stay(log_in, people, agency):
    client = log_in(people["ADMINISTRATOR"])
    page = client.get(f"/audit/{newest(agency.id, 'create')}/revert")
    assert "dibuat waktu itu" in page.get_data(True)
    for odd in ("x", "0", "9" * 30, "-1"):
        assert client.get(f"/audit/{odd}/revert").status_code == 404
        assert client.post(f"/audit/{odd}/revert").status_code == 404
    assert client.get("/audit/request/x/revert").status_code == 404
