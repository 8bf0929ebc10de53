"""An object's page tells its history, to who may read the trail."""

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.audit.recorder import EXEMPT
from app.contracts import services
from app.core.db import Base, because
from app.core.policy import set_request_id
from app.history import trail, words
from app.identity.models import Agency, Role, User
from app.pulls.services import ScheduleWish, set_schedule
from app.sources.models import Source
from tests import make


def changed(name: str):
    """An agency that was made and then changed, with a reason."""
    agency = make.make_agency(name=name, phone="0761-1")
    with make.session() as s:
        because(s, "nomor pindah")
        s.get_one(Agency, agency.id).phone = "0761-<b>2</b>"
    return agency.id


def history_on(client, address: str) -> str:
    page = client.get(address)
    assert page.status_code == 200, address
    text = page.get_data(as_text=True)
    return text[text.index("<h2>Riwayat</h2>") :]


def test_an_objects_page_tells_who_changed_what_and_why(log_in, people):
    name = make.word("Dinas Riwayat ")
    ident, other = changed(name), changed(make.word("Dinas Lain "))
    page = log_in(people["SEMUA"]).get(f"/agencies/details/?id={ident}")
    text = page.get_data(as_text=True)
    history = text[text.index("<h2>Riwayat</h2>") :]
    assert "nomor pindah" in history
    assert "<dt>Telepon</dt>" in history
    assert "0761-&lt;b&gt;2&lt;/b&gt;" in history  # as it is, and once
    assert "<b>2</b>" not in history
    assert history.index("berubah") < history.index("dibuat")  # newest first
    assert str(other) not in text


def test_who_may_not_read_the_trail_sees_no_history(log_in, people):
    ident = changed(make.word("Dinas Tertutup "))
    page = log_in(people["TIM_TEKNIS"]).get(f"/agencies/details/?id={ident}")
    text = page.get_data(as_text=True)
    assert page.status_code == 200
    assert "Riwayat" not in text
    assert "nomor pindah" not in text


def test_a_contracts_history_has_its_versions_and_fields_in_readable_form(log_in, people):
    contract = make.make_contract(active=False)
    with make.session() as s:
        draft = make.draft_of(s, contract.id)
        first, second, *others = draft.specs()
        kept = [
            first,
            make.field("nama", required=True, label="Nama lengkap"),
            *others[:1],
        ]
        services.save_fields(s, draft, kept)
        version_id = draft.id
    assert second.name == "nama"
    client = log_in(people["SEMUA"])
    for address in (f"/contracts/{contract.id}", f"/contracts/versions/{version_id}"):
        history = history_on(client, address)
        assert "Nama lengkap" in history
        assert "kolom kontrak" in history
        assert "<dt>Label</dt>" in history
        assert "lahir" in history  # the one that was left out
    with make.session() as s:
        events = s.scalars(
            sa.select(AuditEvent)
            .where(AuditEvent.part_of == str(version_id))
            .order_by(AuditEvent.id.desc())
        ).all()
    last = [(each.action, each.before, each.after) for each in events[:2]]
    assert ("update", {"label": "nama"}, {"label": "Nama lengkap"}) in last
    assert {action for action, _before, _after in last} == {"update", "delete"}


def test_a_persons_history_names_agencies_and_roles(log_in, people):
    agency = make.make_agency(name=make.word("Dinas Bernama "))
    person = make.make_user("AUDITOR")
    with make.session() as s:
        found = s.get_one(User, person.id)
        found.agency_id = agency.id
        found.roles = list(s.scalars(sa.select(Role).where(Role.name == "OPD_OPERATOR")))
    history = history_on(log_in(people["SEMUA"]), f"/users/details/?id={person.id}")
    assert agency.name in history
    assert str(agency.id) not in history
    assert "Auditor (Inspektorat)" in history
    assert "Operator OPD" in history


def test_a_sources_history_tells_single_settings_and_its_schedule(log_in, people):
    contract = make.make_contract()
    source = make.make_source(contract, "http://x.go.id")
    with make.session() as s:
        found = s.get_one(Source, source.id)
        found.settings = {**found.settings, "page_size": 20}
        found.secrets = {"auth_secret": "rahasia-riwayat"}
        set_schedule(s, found, ScheduleWish("0 3 * * *", "Asia/Jakarta"))
    history = history_on(log_in(people["SEMUA"]), f"/pulls/source/{source.id}")
    changes = next(each for each in history.split('class="event"') if "berubah" in each)
    assert "<dt>Data per halaman</dt>" in changes
    assert "•••" in changes
    assert "<dt>Letak data</dt>" not in changes  # of the settings only what changed
    assert "0 3 * * *" in history
    assert "rahasia-riwayat" not in history


def test_earlier_events_are_a_page_away_and_none_is_left_out(log_in, people):
    agency = make.make_agency()
    for n in range(60):
        with make.session() as s:
            s.get_one(Agency, agency.id).phone = f"nomor-{n:03d}-"
    client = log_in(people["SEMUA"])
    address = f"/agencies/details/?id={agency.id}"
    newest = history_on(client, address)
    assert "nomor-059-" in newest
    assert "nomor-003-" not in newest
    link = newest.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    earlier = history_on(client, link)
    assert "nomor-003-" in earlier
    assert "dibuat" in earlier
    for odd in ("%00", "bukan", "W10", "-1"):
        assert client.get(f"{address}&{trail.PLACE}={odd}").status_code == 200


def test_all_that_one_request_changed_stands_on_one_page(log_in, people):
    one, other = make.make_agency(), make.make_agency()
    request_id = make.word("permintaan")
    set_request_id(request_id)
    with make.session() as s:
        s.get_one(Agency, one.id).phone = "0761-77"
        s.get_one(Agency, other.id).phone = "0761-88"
    set_request_id("")
    client = log_in(people["AUDITOR"])
    page = client.get(f"/audit/request/{request_id}").get_data(as_text=True)
    assert "0761-77" in page
    assert "0761-88" in page
    assert f"/agencies/details/?id={one.id}" in page
    assert client.get("/audit/request/tidak-ada").status_code == 404


@pytest.mark.parametrize(
    "mapper",
    sorted(
        (m for m in Base.registry.mappers if m.local_table.name not in EXEMPT), key=str
    ),
    ids=str,
)
def test_every_field_of_the_trail_has_a_name(app, mapper):
    """Law: nobody reads the name of a column in the history."""
    table = mapper.local_table.name
    with app.test_request_context():
        bare = [
            each.key
            for each in mapper.column_attrs
            if each.key != "row_version" and words.field_name(table, each.key) == each.key
        ]
    assert bare == []


def test_the_history_is_filtered_by_who_what_when_and_why(log_in, people):
    reason = make.word("alasan")
    agency = make.make_agency(name=make.word("Dinas Saring "))
    with make.session() as s:
        because(s, reason)
        s.get_one(Agency, agency.id).phone = "1"
    client = log_in(people["AUDITOR"])

    def found(query: str) -> bool:
        page = client.get(f"/audit/?{query}")
        assert page.status_code == 200, query
        return agency.name in page.get_data(as_text=True)

    base = f"where=object_id:is:{agency.id}"
    assert found(base)
    assert found(f"search={reason}")
    assert found(f"{base}&where=object_type:is:agency&where=action:is:update")
    assert not found(f"{base}&where=object_type:is:user")
    options = client.get("/audit/").get_data(as_text=True)
    assert ">Jenis objek: perangkat daerah</option>" in options
    assert not found(f"{base}&where=action:is:delete")
    assert not found(f"{base}&where=at:to:2020-01-01")
    assert found(f"{base}&where=at:from:2020-01-01&where=at:to:2999-12-31")
    assert not found(f"{base}&where=actor_id:empty:")
    assert found(f"{base}&where=actor_id:is:{make.OFFICE.user_id}")
    for odd in (
        "where=actor_id:is:%00",
        "where=object_id:is:%00",
        "where=at:from:x",
        "where=at:to:0001-01-01",
        "where=request_id:is:%00x",
    ):
        assert client.get(f"/audit/?{odd}").status_code == 200, odd
