"""Changing rows from their list: one cell, some rows, all that match, and in the background."""

import re

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core.policy import acting_as, set_request_id
from app.identity.models import Agency, User
from app.listings import bulk
from app.listings.models import BulkEdit
from app.runs.models import JobRun
from app.sources.models import Host
from tests import make


def agencies(n: int, **values) -> tuple[str, list[Agency]]:
    word = make.word("massal")
    return word, [
        make.make_agency(name=f"Dinas {word} {i:03}", **values) for i in range(n)
    ]


def fresh(agency) -> Agency:
    with make.session() as s:
        return s.get_one(Agency, agency.id)


def events(*objects):
    with make.session() as s:
        found = sa.select(AuditEvent).where(
            AuditEvent.object_id.in_([str(each.id) for each in objects]),
            AuditEvent.action == "update",
        )
        return s.scalars(found.order_by(AuditEvent.id)).all()


def cell(client, agency, column: str, *, was: str, to: str, listed: str = "agencies"):
    form = {"row": agency.id, "column": column, "was": was, "to": to}
    return client.post(f"/edits/{listed}/cell", data=form)


def test_a_cell_is_changed_in_its_place(log_in, people):
    _, (agency,) = agencies(1, phone="0761 1")
    client = log_in(people["SEMUA"])
    answer = cell(client, agency, "active", was="1", to="0")
    assert answer.get_json() == {"html": "tidak", "value": "0"}
    assert cell(client, agency, "phone", was="0761 1", to="<b>2</b>").get_json() == {
        "html": "&lt;b&gt;2&lt;/b&gt;", "value": "<b>2</b>",
    }  # fmt: skip
    assert (fresh(agency).active, fresh(agency).phone) == (False, "<b>2</b>")
    assert [each.after for each in events(agency)] == [
        {"active": False},
        {"phone": "<b>2</b>"},
    ]


def test_a_cell_that_somebody_else_changed_meanwhile_is_not_written_over(log_in, people):
    _, (agency,) = agencies(1, phone="1")
    client = log_in(people["SEMUA"])
    assert cell(client, agency, "phone", was="1", to="2").status_code == 200
    answer = cell(client, agency, "phone", was="1", to="3")
    assert answer.status_code == 409
    assert "orang lain telah mengubahnya" in answer.get_json()["error"]
    assert fresh(agency).phone == "2"
    told = answer.get_json()  # what it is by now, so that it can be changed from that
    assert (told["html"], told["value"]) == ("2", "2")
    assert cell(client, agency, "phone", was=told["value"], to="3").status_code == 200


def test_a_cell_tells_in_words_what_somebody_else_made_of_it(log_in, people):
    _, (agency,) = agencies(1, active=False)
    answer = cell(log_in(people["SEMUA"]), agency, "active", was="1", to="0")
    assert (answer.status_code, answer.get_json()["html"]) == (409, "tidak")


def a_host() -> Host:
    with make.session() as s:
        host = Host(pair=f"{make.word('host')}.go.id:443")
        s.add(host)
    return host


@pytest.mark.parametrize(
    "to",
    [
        "sNaN",
        "NaN",
        "1e999999999",
        "1e2",
        "-1",
        "1,5",
        "1.5",
        "Infinity",
        "1_0",
        "٣",
        "1.00",
    ],
)
def test_a_number_that_is_none_is_refused_in_words(log_in, people, to):
    client, host = log_in(people["SEMUA"]), a_host()
    answer = cell(client, host, "at_once", was="0", to=to, listed="hosts")
    assert answer.status_code == 409
    assert "batas" in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("column", "to", "value"),
    [
        ("at_once", "1.000", "1000"),  # as the list writes it
        ("at_once", " 12 ", "12"),
        ("per_second", "1.000", "1000.0"),
        ("per_second", "1,5", "1.5"),
        ("per_second", "0.250", "0.25"),
    ],
)
def test_a_number_is_read_as_the_list_writes_it(log_in, people, column, to, value):
    client, host = log_in(people["SEMUA"]), a_host()
    was = "0" if column == "at_once" else "0.0"
    answer = cell(client, host, column, was=was, to=to, listed="hosts")
    assert answer.get_json()["value"] == value


@pytest.mark.parametrize(
    ("column", "to", "status"),
    [
        ("active", "perhaps", 409),
        ("phone", "x" * 61, 409),
        ("name", "x", 404),  # only by its form
        ("id", "x", 404),
        ("password", "x", 404),
    ],
)
def test_a_cell_takes_only_what_its_column_takes(log_in, people, column, to, status):
    _, (agency,) = agencies(1)
    was = "1" if column == "active" else ""
    answer = cell(log_in(people["SEMUA"]), agency, column, was=was, to=to)
    assert answer.status_code == status
    assert events(agency) == []


def test_who_may_not_write_the_list_changes_nothing_by_it(log_in, people, estates):
    _, (agency,) = agencies(1)
    for email in (people["AUDITOR"], estates[0].operator):
        client = log_in(email)
        assert cell(client, agency, "active", was="1", to="0").status_code == 404
        form = {
            "row": agency.id,
            "change": "active",
            "to-active": "0",
            "listed": "agencies",
        }
        for path in ("", "agencies/apply"):
            assert client.post(f"/edits/{path}", data=form).status_code == 404
    assert fresh(agency).active


def apply(client, listed="agencies", **form):
    return client.post(f"/edits/{listed}/apply", data=form)


def test_chosen_rows_are_changed_in_one_request_with_one_reason(log_in, people):
    _, made = agencies(3)
    client = log_in(people["SEMUA"])
    asked = client.post(
        "/edits/", data={"listed": "agencies", "row": [made[0].id, made[1].id, "x"]}
    )
    page = asked.get_data(as_text=True)
    assert "Ubah 2 baris" in page
    assert made[0].name in page
    answer = apply(
        client, row=[made[0].id, made[1].id], change=["active", "phone"],
        **{"to-active": "0", "to-phone": "0761", "to-address": "not ticked", "reason": "pindah"},
    )  # fmt: skip
    assert answer.status_code == 302
    assert [fresh(each).active for each in made] == [False, False, True]
    assert fresh(made[0]).address == ""
    found = events(*made)
    assert [each.reason for each in found] == ["pindah", "pindah"]
    assert len({each.request_id for each in found}) == 1


def test_all_that_match_are_those_the_list_is_narrowed_to(log_in, people):
    word, made = agencies(30, phone="lama")
    _, (other,) = agencies(1, phone="lama")
    client = log_in(people["SEMUA"])
    query = f"search={word}&where=active:is:1"
    page = client.get(f"/agencies/?{query}").get_data(as_text=True)
    assert "Ubah semua yang cocok (30)" in page
    answer = apply(client, all="1", query=query, change="phone", **{"to-phone": "baru"})
    assert answer.headers["Location"] == f"/agencies/?search={word}&where=active:is:1"
    assert {fresh(each).phone for each in made} == {"baru"}
    assert fresh(other).phone == "lama"


def test_nothing_is_changed_when_one_row_cannot_be(log_in, people):
    with make.session() as s:
        me = s.scalars(sa.select(User).where(User.email == people["SEMUA"])).one()
    other = make.make_user("AUDITOR")
    answer = apply(
        log_in(people["SEMUA"]), "users", row=[other.id, me.id], change="active",
        **{"to-active": "0"},
    )  # fmt: skip
    page = answer.get_data(as_text=True)
    assert "Tidak ada yang diubah" in page
    assert "Anda tidak dapat menonaktifkan diri sendiri" in page
    with make.session() as s:
        assert s.get_one(User, other.id).active


@pytest.mark.parametrize(
    "form",
    [
        {"change": "active", "to-active": "0"},
        {"row": "one"},
        {"row": "one", "change": "name", "to-name": "x"},
        {"row": "one", "change": "active", "to-active": "x"},
        {"row": "not-an-id", "change": "active", "to-active": "0"},
        {
            "all": "1",
            "query": "search=nobody-has-this",
            "change": "active",
            "to-active": "0",
        },
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_keeps_the_form(log_in, people, form):
    _, (agency,) = agencies(1)
    form = {k: str(agency.id) if v == "one" else v for k, v in form.items()}
    answer = apply(log_in(people["SEMUA"]), **form)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.get_data(as_text=True)
    assert events(agency) == []


def test_many_rows_are_changed_by_a_run_with_the_rights_of_who_asked(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(bulk, "AT_ONCE", 5)
    monkeypatch.setattr(bulk, "STEP", 4)
    word, made = agencies(9)
    client = log_in(people["SEMUA"])
    answer = apply(
        client, all="1", query=f"search={word}", change="active",
        **{"to-active": "0", "reason": "dilebur"},
    )  # fmt: skip
    ident = re.search(r"/runs/([0-9a-f-]+)", answer.headers["Location"])[1]
    assert all(fresh(each).active for each in made)
    with acting_as(make.WORKER_PRINCIPAL):
        bulk.carry_out(make.claim(ident))
    run = make.run_of(ident)
    assert (run.status, run.result) == ("succeeded", {"rows": 9})
    assert not any(fresh(each).active for each in made)
    found = events(*made)
    assert {(each.reason, each.actor.split(" <")[1]) for each in found} == {
        ("dilebur", f"{people['SEMUA']}>")
    }
    with make.session() as s:
        assert s.scalar(
            sa.select(sa.func.count()).select_from(JobRun).where(JobRun.id == ident)
        )


def run_of(answer):
    """Carry out the run that an answer leads to; return it."""
    ident = answer.headers["Location"].rsplit("/", 1)[-1]
    set_request_id(f"run-{ident}")  # as jobs.perform does
    with acting_as(make.WORKER_PRINCIPAL):
        bulk.carry_out(make.claim(ident))
    set_request_id("")
    return make.run_of(ident)


def test_what_a_run_changed_is_put_back_by_one_press(log_in, people, monkeypatch):
    monkeypatch.setattr(bulk, "AT_ONCE", 5)
    monkeypatch.setattr(bulk, "STEP", 4)
    word, made = agencies(9)
    client = log_in(people["SEMUA"])
    run = run_of(apply(
        client, all="1", query=f"search={word}", change="phone", **{"to-phone": "salah"},
    ))  # fmt: skip
    with make.session() as s:
        s.get_one(Agency, made[3].id).phone = "diubah lagi"
        s.get_one(Agency, made[4].id).address = "lain"  # another column: no obstacle
        s.delete(s.get_one(Agency, made[5].id))
    assert f"/edits/undo/{run.id}" in client.get(f"/runs/{run.id}").get_data(True)
    address = f"/edits/undo/{run.id}"
    assert (
        log_in(people["AUDITOR"]).post(address, data={"reason": "x"}).status_code == 404
    )
    assert "/edits/undo" not in log_in(people["AUDITOR"]).get(f"/runs/{run.id}").get_data(
        True
    )
    assert client.post(address, data={}).headers["Location"].endswith(str(run.id))
    asked = client.post(address, data={"reason": "salah ketik"})
    # A second press leads to no second run.
    again = client.post(address, data={"reason": "salah ketik"})
    assert again.headers["Location"].endswith(str(run.id))

    undone = run_of(asked)

    assert undone.result == {"rows": 7, "left": 2}
    gone = made.pop(5)
    phones = [fresh(each).phone for each in made]
    assert phones == [
        each.phone if each is not made[3] else "diubah lagi" for each in made
    ]
    assert fresh(made[4]).address == "lain"
    told = client.get(f"/runs/{undone.id}").get_data(True)
    assert str(made[3]) in told
    assert str(gone) in told
    back = run_of(client.post(f"/edits/undo/{undone.id}", data={"reason": "benar"}))
    assert back.result == {"rows": 7}
    assert fresh(made[0]).phone == "salah"


def test_a_second_press_of_a_large_change_begins_no_second_run(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(bulk, "AT_ONCE", 1)
    word, _made = agencies(3)
    client = log_in(people["SEMUA"])
    form = {"all": "1", "query": f"search={word}", "change": "phone", "to-phone": "1"}
    assert apply(client, **form).status_code == 302
    assert "sedang" in apply(client, **form).get_data(True)


def test_a_run_of_somebody_who_was_switched_off_changes_nothing(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(bulk, "AT_ONCE", 1)
    word, made = agencies(3)
    person = make.make_user("SYSADMIN")
    from app.identity.principals import principal_of

    with make.session() as s:
        principal = principal_of(s.get_one(User, person.id))
    with make.session(principal) as s:
        run = bulk.request_edit(
            s,
            "agencies",
            [each.id for each in made],
            {"active": "0"},
            reason="",
            label=word,
        )
    with make.session() as s:
        s.get_one(User, person.id).active = False
    with acting_as(make.WORKER_PRINCIPAL), pytest.raises(bulk.NoLongerAllowedError):
        bulk.carry_out(make.claim(run))
    assert all(fresh(each).active for each in made)
    with make.session(principal) as s:
        assert s.scalars(sa.select(BulkEdit.listed)).all() == ["agencies"]


def test_what_was_agreed_to_is_what_is_changed(log_in, people):
    """Rows that came to match meanwhile were not agreed to; a broken filter chooses nothing."""
    word, made = agencies(2)
    client, query = log_in(people["SEMUA"]), f"search={word}"
    change = {"change": "phone", "to-phone": "baru", "all": "1"}
    asked = client.post(
        "/edits/", data={"listed": "agencies", "all": "1", "query": query}
    )
    assert 'name="count" value="2"' in asked.get_data(as_text=True)
    late = make.make_agency(name=f"Dinas {word} Belakangan")

    answer = apply(client, query=query, count="2", **change)

    assert "baris lain kini cocok" in answer.get_data(as_text=True)
    assert 'name="count" value="3"' in answer.get_data(as_text=True)
    answer = apply(client, query=f"{query}&where=zz:is:1", **change)
    assert answer.status_code == 409
    assert events(*made, late) == []
    assert apply(client, query=query, count="3", **change).status_code == 302
    assert len(events(*made, late)) == 3
