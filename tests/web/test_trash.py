"""What is moved to the trash is gone everywhere, and comes back whole."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.api import services as api_services
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.audit.models import AuditEvent
from app.core import db
from app.datasets.models import Dataset
from app.history import services
from app.history.errors import StandsInTrashError
from app.history.models import Trashed
from app.identity.models import Agency, User
from app.identity.passwords import hash_of
from app.pulls.services import ScheduleWish, schedule_of, set_schedule
from app.runs.models import JobRun
from app.runs.sweeps import open_due_slots
from app.sources.models import Source
from jobs import housekeeping
from tests import make
from tests.web.conftest import PASSWORD


def rows_of(*tables: tuple[str, str, object]) -> dict:
    """Return rows as the database writes them, but for the count of their changes."""
    with make.session() as s:
        return {
            (table, str(row.get("id"))): {
                k: v for k, v in row.items() if k not in SETTLED
            }
            for table, column, value in tables
            for row in s.scalars(
                sa.text(f'SELECT to_jsonb(t) FROM "{table}" t WHERE {column} = :v'),
                {"v": value},
            )
        }


# What may differ after coming back: the next slot, the sessions, the count of changes.
SETTLED = {"next_due_at", "fs_uniquifier", "row_version"}


def put(client, table: str, ident, reason: str = "tidak dipakai"):
    return client.post(f"/trash/put/{table}/{ident}", data={"reason": reason})


def trashed_of(ident) -> Trashed:
    with make.session() as s:
        return s.scalars(sa.select(Trashed).where(Trashed.object_id == str(ident))).one()


def bring_back(client, ident, reason: str = "salah buang"):
    address = f"/trash/{trashed_of(ident).id}/restore"
    return client.post(address, data={"reason": reason})


@pytest.fixture
def client(log_in, people):
    return log_in(people["SEMUA"])


def test_an_agency_goes_and_comes_back_as_it_was(client):
    agency = make.make_agency(name=make.word("Dinas Buang "), phone="0761-7")
    before = rows_of(("agency", "id", agency.id))
    page = client.get(f"/agencies/details/?id={agency.id}").get_data(True)
    assert f"/trash/put/agency/{agency.id}" in page
    preview = client.get(f"/trash/put/agency/{agency.id}").get_data(True)
    assert agency.name in preview
    assert put(client, "agency", agency.id, reason=" ").status_code == 409
    assert rows_of(("agency", "id", agency.id)) == before

    assert put(client, "agency", agency.id).status_code == 302
    assert client.get(f"/agencies/details/?id={agency.id}").status_code == 404
    assert agency.name not in client.get("/agencies/").get_data(True)
    told = client.get(f"/audit/?object_id={agency.id}").get_data(True)
    assert '<a href="/trash/">' in told  # where it is, and no page that is not there
    assert f"/agencies/details/?id={agency.id}" not in told
    listed = client.get("/trash/").get_data(True)
    assert agency.name in listed
    assert "tidak dipakai" in listed

    assert bring_back(client, agency.id).status_code == 302
    assert rows_of(("agency", "id", agency.id)) == before
    client.get("/")  # shows what was said
    assert agency.name not in client.get("/trash/").get_data(True)
    with make.session() as s:
        deeds = s.execute(
            sa.select(AuditEvent.action, AuditEvent.reason)
            .where(AuditEvent.object_id == str(agency.id))
            .order_by(AuditEvent.id)
        ).all()
    assert [tuple(each) for each in deeds] == [
        ("create", ""), ("delete", "tidak dipakai"), ("restore", "salah buang"),
    ]  # fmt: skip


def test_an_api_client_comes_back_with_its_keys_and_grants(client):
    contract = make.make_contract()
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        program, _key = api_services.make_trial(s, dataset, contract.agency_id)
        ident = program.id
    tables = (
        ("api_client", "id", ident), ("api_key", "client_id", ident),
        ("api_grant", "client_id", ident),
    )  # fmt: skip
    before = rows_of(*tables)
    assert len(before) == 3
    assert put(client, "api_client", ident).status_code == 302
    assert rows_of(*tables) == {}
    assert bring_back(client, ident).status_code == 302
    assert rows_of(*tables) == before
    with make.session() as s:
        assert s.get_one(ApiClient, ident).name == program.name
        for model in (ApiKey, ApiGrant):
            assert s.scalar(sa.select(model.client_id).where(model.client_id == ident))


def test_a_draft_comes_back_with_its_fields_and_an_active_contract_stays(client):
    contract = make.make_contract(active=False)
    with make.session() as s:
        version_id = make.draft_of(s, contract.id).id
    tables = (
        ("contract", "id", contract.id), ("contract_version", "contract_id", contract.id),
        ("contract_field", "version_id", version_id),
    )  # fmt: skip
    before = rows_of(*tables)
    assert put(client, "contract", contract.id).status_code == 302
    assert client.get(f"/contracts/{contract.id}").status_code == 404
    assert bring_back(client, contract.id).status_code == 302
    assert rows_of(*tables) == before
    active = make.make_contract()
    refused = put(client, "contract", active.id)
    assert refused.status_code == 409
    assert "himpunan data" in refused.get_data(True)


def test_a_source_goes_with_its_schedule_which_opens_nothing_meanwhile(client):
    source = make.make_source(make.make_contract(), "http://x.go.id")
    with make.session() as s:
        found = s.get_one(Source, source.id)
        found.secrets = {"auth_secret": "rahasia-buangan"}
        schedule = set_schedule(s, found, ScheduleWish("0 2 * * *", "Asia/Jakarta"))
        s.flush()
        schedule_id = schedule.id
        schedule.next_due_at = db.now(s) - timedelta(minutes=10)
    tables = ("source", "id", source.id), ("schedule", "id", schedule_id)
    before = rows_of(*tables)
    assert put(client, "source", source.id).status_code == 302
    assert client.get(f"/pulls/source/{source.id}").status_code == 404
    with make.session() as s:
        open_due_slots(s)
        opened = sa.select(JobRun.id).where(JobRun.schedule_id == schedule_id)
        assert s.scalars(opened).all() == []
        assert "rahasia-buangan" not in str(
            s.scalars(
                sa.select(Trashed.rows).where(Trashed.object_id == str(source.id))
            ).one()
        )
    assert bring_back(client, source.id).status_code == 302
    assert rows_of(*tables) == before
    with make.session() as s:
        found = s.get_one(Source, source.id)
        assert found.secrets == {"auth_secret": "rahasia-buangan"}
        assert schedule_of(s, found).next_due_at > db.now(s)


def test_a_schedules_runs_know_it_again(client):
    source = make.make_source(make.make_contract(), "http://x.go.id")
    with make.session() as s:
        found = s.get_one(Source, source.id)
        schedule = set_schedule(s, found, ScheduleWish("0 2 * * *", "Asia/Jakarta"))
        s.flush()
        ident = schedule.id
    run = make.make_run(schedule_id=ident)
    assert put(client, "schedule", ident).status_code == 302
    assert client.get(f"/runs/{run}").status_code == 200
    assert bring_back(client, ident).status_code == 302
    assert make.run_of(run).schedule_id == ident


def test_a_schedule_does_not_come_back_beside_another_of_the_same_work(client):
    source = make.make_source(make.make_contract(), "http://x.go.id")
    wish = ScheduleWish("0 2 * * *", "Asia/Jakarta")
    with make.session() as s:
        first = set_schedule(s, s.get_one(Source, source.id), wish)
        s.flush()
        ident = first.id
    assert put(client, "schedule", ident).status_code == 302
    with make.session() as s:
        set_schedule(s, s.get_one(Source, source.id), wish)
    bring_back(client, ident)
    assert "Jadwal lain" in client.get("/trash/").get_data(True)
    assert trashed_of(ident).label == source.name


def test_what_has_left_traces_stays_and_says_why(client, estates, people):
    own, _other = estates
    with make.session() as s:
        me = s.scalars(sa.select(User.id).where(User.email == people["SEMUA"])).one()
        actor = s.get_one(User, own.user)
        dataset = s.scalars(sa.select(Dataset.id).where(Dataset.slug == own.slug)).one()
    for table, ident, words in (
        ("agency", own.agency, "masih ada"),
        ("source", own.source, "masih ada"),
        ("user", actor.id, "jejak audit"),
        ("user", me, "diri sendiri"),
    ):
        page = client.get(f"/trash/put/{table}/{ident}")
        assert page.status_code == 200
        assert words in page.get_data(True), table
        assert 'name="reason"' not in page.get_data(True)
        assert put(client, table, ident).status_code == 409, table
    assert dataset
    for table, ident in (
        ("dataset", dataset), ("job_run", own.run), ("x", "y"), ("agency", "x"),
        ("agency", uuid4()), ("user_role", own.user), ("trash", own.user),
    ):  # fmt: skip
        assert client.get(f"/trash/put/{table}/{ident}").status_code == 404
        assert put(client, table, ident).status_code == 404
    for ident in ("x", uuid4()):
        assert client.post(f"/trash/{ident}/restore").status_code == 404


def test_names_of_the_trash_are_kept_for_it(client):
    agency = make.make_agency(code=make.word("kode"))
    assert put(client, "agency", agency.id).status_code == 302
    data = {"code": agency.code, "name": make.word("Dinas "), "active": "y"}
    answer = client.post("/agencies/new/", data=data)
    assert answer.status_code == 200
    assert "tempat sampah" in answer.get_data(True)
    with pytest.raises(StandsInTrashError), make.session() as s:
        s.add(Agency(code=make.word("k"), name=agency.name))
    other = make.make_agency()
    with pytest.raises(StandsInTrashError), make.session() as s:
        s.get_one(Agency, other.id).code = agency.code


def test_a_child_waits_for_its_parent(client):
    agency = make.make_agency()
    person = make.make_user("OPD_OPERATOR", agency=agency)
    assert put(client, "agency", agency.id).status_code == 409
    assert put(client, "user", person.id).status_code == 302
    assert put(client, "agency", agency.id).status_code == 302
    bring_back(client, person.id)
    assert "induknya dahulu" in client.get("/trash/").get_data(True)
    with make.session() as s:
        assert s.get(User, person.id) is None
    assert bring_back(client, agency.id).status_code == 302
    assert bring_back(client, person.id).status_code == 302
    with make.session() as s:
        assert [role.name for role in s.get_one(User, person.id).roles] == [
            "OPD_OPERATOR"
        ]


def test_a_person_comes_back_as_they_were_and_one_who_logged_in_stays(client, log_in):
    person = make.make_user("AUDITOR", password=hash_of(PASSWORD))
    assert put(client, "user", person.id).status_code == 302
    with pytest.raises(AssertionError):
        log_in(person.email)
    assert bring_back(client, person.id).status_code == 302
    assert log_in(person.email).get("/").status_code == 200
    # A log-in is a deed of theirs: from then on they are switched off, not taken away.
    assert put(client, "user", person.id).status_code == 409


def test_who_may_use_the_trash(log_in, people, client):
    agency = make.make_agency()
    for role, status in (("WALIDATA", 403), ("AUDITOR", 403), ("PIMPINAN", 403)):
        assert put(log_in(people[role]), "agency", agency.id).status_code == status
    admin = log_in(people["ADMINISTRATOR"])
    person = make.make_user("AUDITOR")
    assert put(admin, "user", person.id).status_code == 403  # may not write people
    assert put(admin, "agency", agency.id).status_code == 302
    auditor = log_in(people["AUDITOR"])
    assert agency.name in auditor.get("/trash/").get_data(True)
    assert bring_back(auditor, agency.id).status_code == 403
    assert log_in(people["WALIDATA"]).get("/trash/").status_code == 403
    assert bring_back(admin, agency.id).status_code == 302


def test_the_trash_is_emptied_by_time_alone(client, settings, monkeypatch):
    old, new = make.make_agency(), make.make_agency()
    for each in (old, new):
        assert put(client, "agency", each.id).status_code == 302
    with make.session(), db.owner_unit_of_work() as s:
        s.execute(
            sa.text(
                "UPDATE trash SET trashed_at = now() - interval '31 days'"
                " WHERE object_id = :id"
            ),
            {"id": str(old.id)},
        )
    monkeypatch.setattr(housekeeping, "current_settings", lambda: settings)
    lease = make.claim(make.make_run("housekeeping"))
    with make.acting_as(make.WORKER_PRINCIPAL):
        housekeeping.tidy(lease)
    with make.session() as s:
        kept = set(s.scalars(sa.select(Trashed.object_id)))
        event = s.scalars(sa.select(AuditEvent).where(AuditEvent.action == "empty")).one()
    assert str(new.id) in kept
    assert str(old.id) not in kept
    assert event.before == {"object_type": "agency", "object_id": str(old.id)}
    assert event.object_label == old.name
    assert make.run_of(lease.run_id).result["trashed"] == 1


@pytest.mark.parametrize(
    "model", [kind.model for kind in services.KINDS.values()], ids=str
)
def test_every_kind_of_the_trash_can_name_itself(model):
    assert "__str__" in vars(model)
    assert model.__table__.primary_key.columns.keys() == ["id"]


def test_agencies_and_others_see_nothing_of_the_trash(client, estates):
    own, _other = estates
    agency = make.make_agency()
    assert put(client, "agency", agency.id).status_code == 302
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        make.session(make.agency_principal(own.agency)) as s,
    ):
        s.scalars(sa.select(Trashed)).all()
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        make.session(make.WORKER_PRINCIPAL) as s,
    ):
        s.scalars(sa.select(Trashed.rows)).all()
