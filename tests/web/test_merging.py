"""Two people in one form at once: the second sees, chooses, and neither loses a word."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app.contracts.models import ContractVersion
from app.identity.models import Agency, User
from app.identity.passwords import hash_of
from app.pulls.services import schedule_of
from app.sources import hosts
from app.sources.models import Host, Source
from app.web import merging
from tests import make
from tests.web.conftest import PASSWORD, seen_in


def seen_on(answer) -> str:
    return re.search(r'name="seen" value="(gAAAA[^"]*)"', answer.get_data(True)).group(1)


def role_on(page: str, label: str) -> str:
    """Return what a form's box for a role stands for."""
    box = rf'name="roles" value="([^"]+)"[^>]*><label[^>]*>{label}'
    return re.search(box, page).group(1)


def input_of(answer, name: str) -> str:
    found = re.search(rf'<input[^>]*name="{name}"[^>]*>', answer.get_data(True)).group()
    return re.search(r'value="([^"]*)"', found).group(1)


@pytest.fixture
def agency():
    return make.make_agency(phone="0761-1", email="lama@x.test", address="Jalan A")


def as_form(agency, **changed) -> dict[str, str]:
    values = {
        name: getattr(agency, name)
        for name in ("code", "name", "short_name", "email", "phone", "address")
    }
    return values | {"active": "y"} | changed


def stored(agency) -> Agency:
    with make.session() as s:
        return s.get_one(Agency, agency.id)


def test_what_only_one_of_two_changed_is_merged_and_shown_before_it_is_saved(
    log_in, people, agency
):
    one, other = log_in(people["SYSADMIN"]), log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(one, address), seen_in(other, address)

    first = one.post(address, data=as_form(agency, seen=seen[0], phone="0761-2"))
    second = other.post(
        address, data=as_form(agency, seen=seen[1], email="baru@x.test", reason="pindah")
    )

    assert first.status_code == 302
    assert second.status_code == 409
    assert "Orang lain menyimpan" in second.get_data(True)
    assert input_of(second, "phone") == "0761-2"
    assert input_of(second, "email") == "baru@x.test"
    assert input_of(second, "reason") == "pindah"
    assert stored(agency).email == "lama@x.test"
    again = as_form(agency, seen=seen_on(second), phone="0761-2", email="baru@x.test")
    assert other.post(address, data=again).status_code == 302
    assert (stored(agency).phone, stored(agency).email) == ("0761-2", "baru@x.test")


@pytest.mark.parametrize(
    ("choice", "result"), [("mine", "0761-dua"), ("theirs", "0761-satu")]
)
def test_where_both_changed_the_same_the_second_chooses(
    log_in, people, agency, choice, result
):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(client, address)
    client.post(address, data=as_form(agency, seen=seen, phone="0761-satu"))
    second = client.post(
        address, data=as_form(agency, seen=seen, phone="0761-dua", email="dua@x.test")
    )
    text = second.get_data(True)
    assert second.status_code == 409
    for each in ("0761-1", "0761-satu", "0761-dua"):
        assert each in text
    mine = as_form(agency, seen=seen_on(second), phone="0761-dua", email="dua@x.test")

    undecided = client.post(address, data=mine)
    assert undecided.status_code == 409  # it must be chosen
    assert input_of(undecided, "phone") == "0761-dua"
    assert "0761-1" in undecided.get_data(True)
    mine["seen"] = seen_on(undecided)
    assert client.post(address, data=mine | {"take-phone": choice}).status_code == 302
    assert (stored(agency).phone, stored(agency).email) == (result, "dua@x.test")


def test_a_third_who_comes_between_is_merged_too(log_in, people, agency):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(client, address)
    client.post(address, data=as_form(agency, seen=seen, phone="satu"))
    second = client.post(address, data=as_form(agency, seen=seen, phone="dua"))
    third = as_form(
        agency, seen=seen_in(client, address), phone="satu", address="Jalan C"
    )
    assert client.post(address, data=third).status_code == 302

    chosen = as_form(agency, seen=seen_on(second), phone="dua")
    answer = client.post(address, data=chosen | {"take-phone": "mine"})
    assert answer.status_code == 409
    assert "Jalan C" in answer.get_data(True)
    assert input_of(answer, "phone") == "dua"
    last = as_form(agency, seen=seen_on(answer), phone="dua", address="Jalan C")
    assert client.post(address, data=last).status_code == 302
    assert (stored(agency).phone, stored(agency).address) == ("dua", "Jalan C")


def test_two_commits_that_race_lose_nothing(log_in, people, agency, monkeypatch):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(client, address)
    compare = merging.Desk.may_save
    raced = []

    def commit_in_between(desk, mine):
        result = compare(desk, mine)
        if not raced:
            raced.append(1)
            with make.session() as s:
                s.get_one(Agency, agency.id).phone = "cepat"
        return result

    monkeypatch.setattr(merging.Desk, "may_save", commit_in_between)
    answer = client.post(address, data=as_form(agency, seen=seen, email="baru@x.test"))

    assert answer.status_code == 409
    assert input_of(answer, "phone") == "cepat"
    assert input_of(answer, "email") == "baru@x.test"
    assert stored(agency).phone == "cepat"


def test_of_two_who_save_at_the_same_moment_one_merges(log_in, people, agency):
    clients = log_in(people["SEMUA"]), log_in(people["SYSADMIN"])
    address = f"/agencies/edit/?id={agency.id}"
    for n in range(8):
        seen = seen_in(clients[0], address)
        now, start = stored(agency), Barrier(2)
        changes = {"phone": f"0762-{n}"}, {"email": f"e{n}@x.test"}
        sent = [as_form(now, seen=seen, **each) for each in changes]

        def save(which, sent=sent, start=start):
            start.wait()
            return clients[which].post(address, data=sent[which]).status_code

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(save, (0, 1))) == [302, 409]
        after = stored(agency)
        assert (after.phone, after.email) in {
            (f"0762-{n}", now.email), (now.phone, f"e{n}@x.test"),
        }  # fmt: skip


@pytest.mark.parametrize("seen", ["", "x", "gAAAA", "\0", "é" * 50])
def test_a_form_that_nobody_was_shown_overwrites_nothing(log_in, people, agency, seen):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    answer = client.post(address, data=as_form(agency, seen=seen, phone="0761-9"))
    assert answer.status_code == 409
    assert stored(agency).phone == "0761-1"
    same = client.post(address, data=as_form(agency, seen=seen))
    assert same.status_code == 302  # nothing of it differs


def test_what_another_form_showed_is_nothing_here(log_in, people, agency):
    client, other = log_in(people["SEMUA"]), make.make_agency()
    seen = seen_in(client, f"/agencies/edit/?id={other.id}")
    answer = client.post(
        f"/agencies/edit/?id={agency.id}", data=as_form(agency, seen=seen, phone="9")
    )
    assert answer.status_code == 409


def test_counters_and_log_ins_collide_with_nobody(app, log_in, people):
    client = log_in(people["SEMUA"])
    person = make.make_user("AUDITOR", password=hash_of(PASSWORD))
    address = f"/users/edit/?id={person.id}"
    seen = seen_in(client, address)
    role = role_on(client.get(address).get_data(True), "Auditor")
    log_in(person.email)
    data = {"seen": seen, "name": "Baru", "email": person.email, "active": "y"}
    answer = client.post(address, data=data | {"roles": role, "agency": "__None"})
    assert answer.status_code == 302, answer.get_data(True)
    with make.session() as s:
        kept = s.get_one(User, person.id)
        assert (kept.name, len(kept.roles)) == ("Baru", 1)
        assert kept.last_login_at is not None


def test_roles_collide_by_themselves_and_a_typed_password_is_not_lost(log_in, people):
    client = log_in(people["SEMUA"])
    person = make.make_user("AUDITOR", password=hash_of(PASSWORD))
    address = f"/users/edit/?id={person.id}"
    page = client.get(address).get_data(True)
    seen = seen_in(client, address)

    def key_of(label: str) -> str:
        return role_on(page, label)

    data = {"name": person.name, "email": person.email, "active": "y", "agency": "__None"}
    first = data | {"seen": seen, "roles": [key_of("Auditor"), key_of("Walidata")]}
    assert client.post(address, data=first).status_code == 302
    second = client.post(
        address,
        data=data
        | {
            "seen": seen,
            "roles": [key_of("Auditor"), key_of("Tim Teknis")],
            "new_password": "Kata-sandi-ketikan-9",
        },
    )
    text = second.get_data(True)
    assert second.status_code == 409
    assert "Walidata" in text
    assert "Kata-sandi-ketikan-9" not in text
    typed = re.search(r'name="typed" value="([^"]+)"', text).group(1)
    answer = client.post(
        address,
        data=data
        | {
            "seen": seen_on(second),
            "typed": typed,
            "roles": [key_of("Auditor"), key_of("Tim Teknis")],
            "take-roles": "theirs",
        },
    )
    assert answer.status_code == 302, answer.get_data(True)
    with make.session() as s:
        kept = s.get_one(User, person.id)
        assert sorted(r.name for r in kept.roles) == ["AUDITOR", "WALIDATA"]
        assert kept.password != person.password


def test_a_hosts_counters_collide_with_nobody(log_in, people):
    with make.session() as s:
        host = Host(pair=f"{make.word('h')}.go.id:443")
        s.add(host)
    client = log_in(people["PENGAWAS_TI"])
    address = f"/hosts/edit/?id={host.id}"
    seen = seen_in(client, address)
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.pace(s, host.pair, 0.5)
    data = {"seen": seen, "pair": host.pair, "per_second": "2.0", "at_once": "0"}
    assert client.post(address, data=data).status_code == 302


# --- our own forms --------------------------------------------------------------------


@pytest.fixture
def draft():
    contract = make.make_contract(active=False)
    with make.session() as s:
        return make.draft_of(s, contract.id)


def as_rows(draft, **changed) -> dict[str, str]:
    """The form of a draft; ``nip__label="x"`` changes a column, ``nip=None`` drops it."""
    rows = {"max_rejected_percent": "20", "max_vanished_percent": "10"}
    for n, spec in enumerate(draft.specs()):
        if changed.get(spec.name, "") is None:
            continue
        columns = {
            "name": spec.name, "source_path": spec.source_path, "label": spec.label,
            "type": spec.type, "pattern": spec.pattern, "minimum": spec.minimum,
            "classification": spec.classification,
            "is_key": "1" if spec.is_key else "", "required": "1" if spec.required else "",
        }  # fmt: skip
        rows |= {
            f"f-{n}-{name}": changed.get(f"{spec.name}__{name}", value)
            for name, value in columns.items()
        }
    return rows | {k: v for k, v in changed.items() if "__" not in k and v is not None}


def labels_of(draft) -> dict[str, str]:
    with make.session() as s:
        version = s.get_one(ContractVersion, draft.id)
        return {each.name: each.label for each in version.specs()}


def test_a_draft_is_merged_column_by_column(log_in, people, draft):
    client = log_in(people["SEMUA"])
    address = f"/contracts/versions/{draft.id}"
    seen = seen_in(client, address)
    first = as_rows(draft, seen=seen, nip__label="Satu", nama__label="Nama satu")
    assert client.post(address, data=first).status_code == 200
    second = client.post(
        address,
        data=as_rows(
            draft, seen=seen, nip__label="Dua", gaji__label="Gaji dua",
            max_rejected_percent="30",
        ),
    )  # fmt: skip
    text = second.get_data(True)
    assert second.status_code == 409
    for each in ("Satu", "Dua", "Nama satu", "Gaji dua"):
        assert each in text
    assert labels_of(draft)["gaji"] == "gaji"
    merged = as_rows(
        draft, seen=seen_on(second), nip__label="Dua", nama__label="Nama satu",
        gaji__label="Gaji dua", max_rejected_percent="30",
    )  # fmt: skip
    assert client.post(address, data=merged).status_code == 409  # undecided
    answer = client.post(address, data=merged | {"take-column:nip.label": "theirs"})
    assert answer.status_code == 200
    assert labels_of(draft) == {
        "nip": "Satu", "nama": "Nama satu", "gaji": "Gaji dua", "lahir": "lahir",
    }  # fmt: skip


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_a_field_that_one_dropped_and_the_other_changed_is_chosen_whole(
    log_in, people, draft, choice
):
    client = log_in(people["SEMUA"])
    address = f"/contracts/versions/{draft.id}"
    seen = seen_in(client, address)
    changed = as_rows(draft, seen=seen, gaji__label="Gaji pokok")
    assert client.post(address, data=changed).status_code == 200
    second = client.post(address, data=as_rows(draft, seen=seen, gaji=None))
    assert second.status_code == 409
    assert "take-field:gaji" in second.get_data(True)
    again = as_rows(draft, seen=seen_on(second), gaji=None)
    answer = client.post(address, data=again | {"take-field:gaji": choice})
    assert answer.status_code == 200
    assert labels_of(draft).get("gaji") == (None if choice == "mine" else "Gaji pokok")


@pytest.fixture
def source():
    return make.make_source(make.make_contract(), "http://x.go.id")


def as_source(source, **changed) -> dict[str, str]:
    data = {
        "name": source.name, "contract": str(source.contract_id), "enabled": "y",
        "base_url": source.settings["base_url"], "auth": "none", "paging": "page",
        "page_size": "10", "rows_path": "data", "total_path": "total",
        "success_path": "ok", "success_value": "true", "max_failures": "5", "do": "save",
    }  # fmt: skip
    return data | changed


def test_a_sources_form_is_merged_and_keeps_the_typed_key(log_in, people, source):
    client = log_in(people["SEMUA"])
    address = f"/sources/{source.id}/edit"
    page = client.get(address).get_data(True)
    seen = seen_in(client, address)
    whole = {
        name: value
        for name, value in re.findall(
            r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page
        )
        if name not in {"csrf_token", "seen", "enabled", "until_empty", "blank_is_empty"}
    }
    base = whole | as_source(source)
    for name in ("method", "body_kind", "paging_in", "since_format", "also"):
        found = re.search(rf'name="{name}">.*?selected value="([^"]*)"', page, re.DOTALL)
        base |= {name: found.group(1)} if found else {}
    first = client.post(address, data=base | {"seen": seen, "page_size": "11"})
    assert first.status_code == 302, first.get_data(True)
    second = client.post(
        address,
        data=base | {"seen": seen, "rows_path": "isi", "auth_secret": "kunci-ketikan"},
    )
    assert second.status_code == 409
    text = second.get_data(True)
    assert input_of(second, "page_size") == "11"
    assert input_of(second, "rows_path") == "isi"
    assert "kunci-ketikan" not in text
    kept = re.search(r'name="kept" value="([^"]+)"', text).group(1)
    last = base | {
        "seen": seen_on(second), "page_size": "11", "rows_path": "isi", "kept": kept,
    }  # fmt: skip
    assert client.post(address, data=last).status_code == 302
    with make.session() as s:
        found = s.get_one(Source, source.id)
        assert (found.settings["page_size"], found.settings["rows_path"]) == (11, "isi")
        assert found.secrets["auth_secret"] == "kunci-ketikan"


def test_a_sources_form_that_races_loses_nothing(log_in, people, source, monkeypatch):
    client = log_in(people["SEMUA"])
    address = f"/sources/{source.id}/edit"
    seen = seen_in(client, address)
    compare, raced = merging.Desk.may_save, []

    def commit_in_between(desk, mine):
        result = compare(desk, mine)
        if not raced:
            raced.append(1)
            with make.session() as s:
                found = s.get_one(Source, source.id)
                found.settings = {**found.settings, "rows_path": "cepat"}
        return result

    monkeypatch.setattr(merging.Desk, "may_save", commit_in_between)
    answer = client.post(address, data=as_source(source, seen=seen))
    assert answer.status_code == 409
    with make.session() as s:
        assert s.get_one(Source, source.id).settings["rows_path"] == "cepat"


def test_the_schedule_on_a_sources_page_is_merged_too(log_in, people, source):
    client = log_in(people["SEMUA"])
    page, address = f"/pulls/source/{source.id}", f"/pulls/source/{source.id}/schedule"
    seen = seen_in(client, page)
    data = {"seen": seen, "enabled": "y", "missed": "coalesce", "last_day": ""}
    assert client.post(address, data=data | {"cron": "0 3 * * *"}).status_code == 302
    second = client.post(address, data=data | {"cron": "0 4 * * *"})
    assert second.status_code == 409
    assert "0 3 * * *" in second.get_data(True)
    last = data | {"cron": "0 4 * * *", "seen": seen_on(second), "take-cron": "mine"}
    assert client.post(address, data=last).status_code == 302
    with make.session() as s:
        assert schedule_of(s, s.get_one(Source, source.id)).cron == "0 4 * * *"
    odd = {"seen": seen_in(client, page), "cron": "bukan cron", "missed": "x"}
    assert client.post(address, data=odd).status_code == 200
    bad = data | {"seen": seen_in(client, page), "cron": "61 * * * *"}
    refused = client.post(address, data=bad)
    assert refused.status_code == 200
    assert "61 * * * *" in refused.get_data(True)


def test_what_was_typed_into_something_that_is_gone_is_shown(log_in, people, agency):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(client, address)
    client.post(f"/trash/put/agency/{agency.id}", data={"reason": "tidak dipakai"})
    answer = client.post(address, data=as_form(agency, seen=seen, phone="0761-ketikan"))
    assert answer.status_code == 404
    assert input_of(answer, "phone") == "0761-ketikan"
    assert client.get(address).status_code == 404


def test_who_reads_the_trail_sees_who_came_first(log_in, people, agency):
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(client, address)
    with make.session() as s:
        s.get_one(Agency, agency.id).phone = "0761-2"
    answer = client.post(address, data=as_form(agency, seen=seen, email="b@x.test"))
    assert answer.status_code == 409
    assert "Perubahan terakhir: penguji" in answer.get_data(True)
