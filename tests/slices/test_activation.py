"""Versions of a contract: planned, approved, run as the owner, and nothing lost."""

from datetime import date

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from app.contracts.errors import NotDraftError, PlanChangedError
from app.contracts.models import ContractVersion
from app.contracts.states import FieldType, VersionStatus
from app.core.policy import DbRole, Principal, acting_as
from app.datasets import activation
from app.datasets.activation import PlanRefusedError
from app.datasets.models import Dataset
from app.runs.states import RunStatus
from tests import make

pytestmark = pytest.mark.usefixtures("bound")
TEXT, INTEGER, NUMBER, DATE = (
    FieldType.TEXT, FieldType.INTEGER, FieldType.NUMBER, FieldType.DATE,
)  # fmt: skip
BASE = (
    make.field("nip", is_key=True),
    make.field("umur", INTEGER),
    make.field("kota"),
)
SYSTEM = Principal("sistem", DbRole.SYSTEM)


def fill(contract, rows=(("1", 30, "Dumai"), ("2", 41, "Siak"))):
    """Put rows into the central table as a publish would."""
    with make.session(make.WORKER_PRINCIPAL) as s:
        for row in rows:
            s.execute(
                sa.text(
                    f'INSERT INTO data."{contract.slug}" (nip, umur, kota, _run_id,'
                    " _first_seen_at, _changed_at) VALUES (:a, :b, :c,"
                    " gen_random_uuid(), now(), now())"
                ),
                dict(zip("abc", row, strict=True)),
            )


def select(contract, columns, suffix=""):
    with make.session() as s:
        sql = f'SELECT {columns} FROM data."{contract.slug}{suffix}" ORDER BY 1'
        return [tuple(row) for row in s.execute(sa.text(sql))]


def columns_of(contract, suffix=""):
    with make.session() as s:
        found = s.execute(
            sa.text(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE"
                " attrelid = to_regclass(:t) AND attnum > 0 AND NOT attisdropped"
            ),
            {"t": f'data."{contract.slug}{suffix}"'},
        )
        return {name: kind for name, kind in found if not name.startswith("_")}


def states(contract):
    with make.session() as s:
        return s.execute(
            sa.select(ContractVersion.number, ContractVersion.status)
            .where(ContractVersion.contract_id == contract.id)
            .order_by(ContractVersion.number)
        ).all()


def test_first_activation_makes_the_tables():
    contract = make.make_contract(BASE, active=False)
    make.activate(contract.id)
    assert columns_of(contract) == {"nip": "text", "umur": "bigint", "kota": "text"}
    assert states(contract) == [(1, VersionStatus.ACTIVE)]
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        version = make.active_of(s, contract.id)
        assert dataset.version_id == version.id
        assert version.plan
        assert version.activated_by == make.OFFICE.label


def test_next_version_adds_widens_and_drops_with_all_rows_kept():
    contract = make.make_contract(BASE)
    fill(contract)
    make.next_version(
        contract.id,
        [BASE[0], make.field("umur", NUMBER), make.field("lahir", DATE)],
    )
    make.activate(contract.id)
    assert columns_of(contract) == {"nip": "text", "umur": "numeric", "lahir": "date"}
    assert select(contract, "nip, umur, lahir") == [("1", 30, None), ("2", 41, None)]
    kept = select(contract, "nip, umur, kota, _ended_as", "__history")
    assert kept == [("1", 30, "Dumai", "migrated"), ("2", 41, "Siak", "migrated")]
    assert states(contract) == [(1, VersionStatus.RETIRED), (2, VersionStatus.ACTIVE)]
    with make.session(make.WORKER_PRINCIPAL) as s:
        stages = s.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'stage'")
        ).all()
    assert f"{contract.slug}__v2" in stages
    assert f"{contract.slug}__v1" not in stages


@pytest.mark.parametrize(
    ("old", "new", "value", "kept"),
    [
        (INTEGER, NUMBER, 12, 12),
        (INTEGER, TEXT, -7, "-7"),
        (NUMBER, TEXT, "1234567890123456789.5", "1234567890123456789.5"),
        (DATE, TEXT, date(2026, 1, 31), "2026-01-31"),
        (FieldType.BOOLEAN, TEXT, True, "true"),
    ],
)
def test_widening_keeps_every_value(old, new, value, kept):
    contract = make.make_contract([BASE[0], make.field("x", old)])
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(
            sa.text(
                f'INSERT INTO data."{contract.slug}" (nip, x, _run_id, _first_seen_at,'
                " _changed_at) VALUES ('1', :x, gen_random_uuid(), now(), now())"
            ),
            {"x": value},
        )
    make.next_version(contract.id, [BASE[0], make.field("x", new)])
    make.activate(contract.id)
    assert select(contract, "x") == [(kept,)]


@pytest.mark.parametrize(
    "fields",
    [
        [make.field("nip", INTEGER, is_key=True), *BASE[1:]],  # another type of key
        [make.field("nik", is_key=True), *BASE[1:]],  # another key
        [*BASE[:2], make.field("kota", is_key=True)],  # one more key
        [BASE[0], make.field("umur", DATE), BASE[2]],  # values would be lost
        [*BASE[:2], make.field("kota", INTEGER)],  # narrower
    ],
)
def test_what_would_lose_something_is_refused(fields):
    contract = make.make_contract(BASE)
    fill(contract)
    make.next_version(contract.id, fields)
    with pytest.raises(PlanRefusedError):
        make.request_activation(contract.id)
    assert columns_of(contract) == {"nip": "text", "umur": "bigint", "kota": "text"}


def test_a_dropped_field_comes_back_only_with_its_type():
    contract = make.make_contract(BASE)
    fill(contract)
    make.next_version(contract.id, BASE[:2])
    make.activate(contract.id)
    make.next_version(contract.id, [*BASE[:2], make.field("kota", INTEGER)])
    with pytest.raises(PlanRefusedError):
        make.request_activation(contract.id)
    make.next_version(contract.id, BASE)
    make.activate(contract.id)
    assert select(contract, "nip, kota") == [("1", None), ("2", None)]
    assert select(contract, "nip, kota", "__history") == [("1", "Dumai"), ("2", "Siak")]


def test_only_the_plan_that_was_seen_is_run():
    contract = make.make_contract(BASE)
    make.next_version(contract.id, [*BASE, make.field("baru")])
    with make.session() as s:
        draft = make.draft_of(s, contract.id)
        with pytest.raises(PlanChangedError):
            activation.request_activation(s, draft, "0" * 64)
    run_id = make.request_activation(contract.id)
    make.next_version(contract.id, [*BASE, make.field("lain")])  # changed meanwhile
    lease = make.claim(run_id)
    with acting_as(make.WORKER_PRINCIPAL), pytest.raises(PlanChangedError):
        activation.activate(lease)
    assert "baru" not in columns_of(contract)
    assert "lain" not in columns_of(contract)


def test_an_active_version_is_not_planned_again():
    contract = make.make_contract(BASE)
    with make.session() as s, pytest.raises(NotDraftError):
        activation.plan_for(s, make.active_of(s, contract.id))


def test_activation_through_the_worker(yard):
    contract = make.make_contract(BASE, active=False)
    run_id = make.request_activation(contract.id)
    assert yard.run(run_id) == 0
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED
    assert columns_of(contract)


@pytest.mark.parametrize("point", ["claimed"])
def test_activation_killed_and_tried_again(yard, point):
    contract = make.make_contract(BASE, active=False)
    run_id = make.request_activation(contract.id)
    assert yard.run(run_id, point) < 0
    make.expire_lease(run_id)
    with make.session(make.WORKER_PRINCIPAL) as s:
        from app.runs import sweeps

        sweeps.reconcile(s)
    make.make_due(run_id)
    assert yard.run(run_id) == 0
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED


def refused(principal, sql, **params):
    with pytest.raises(ProgrammingError) as caught, make.session(principal) as s:
        s.execute(sa.text(sql), params)
    return caught.value.orig.sqlstate == "42501"


@pytest.mark.parametrize(
    "principal", [make.OFFICE, make.WORKER_PRINCIPAL, SYSTEM], ids=lambda p: p.db_role
)
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE data.baru (x int)",
        "CREATE TABLE stage.baru (x int)",
        "CREATE TABLE public.baru (x int)",
        'DROP TABLE data."{slug}"',
        'ALTER TABLE data."{slug}" ADD COLUMN x int',
        'ALTER TABLE data."{slug}" DISABLE ROW LEVEL SECURITY',
        'TRUNCATE data."{slug}"',
        'DELETE FROM data."{slug}"',
        'DELETE FROM data."{slug}__history"',
    ],
)
def test_only_the_owner_changes_tables(principal, sql):
    contract = make.make_contract(BASE)
    assert refused(principal, sql.format(slug=contract.slug))


@pytest.mark.parametrize("table", ['data."{slug}"', 'data."{slug}__history"'])
def test_the_office_reads_and_never_writes_central_tables(table):
    contract = make.make_contract(BASE)
    name = table.format(slug=contract.slug)
    assert refused(make.OFFICE, f"INSERT INTO {name} (nip) VALUES ('1')")
    assert refused(make.OFFICE, f"UPDATE {name} SET kota = 'x'")
    assert refused(make.OFFICE, f'SELECT * FROM stage."{contract.slug}__v1"')


def test_an_agency_sees_its_own_rows_alone():
    """The second wall: whatever a page forgets, the database shows no other's row."""
    ours, theirs = make.make_contract(BASE), make.make_contract(BASE)
    for contract in (ours, theirs):
        fill(contract)
        source = make.make_source(contract, "http://127.0.0.1:9/x")
        make.request_pull(source)
    person = make.agency_principal(ours.agency_id)
    with make.session(person) as s:
        for table in ("contract", "contract_version", "contract_field", "source",
                      "dataset", "job_run"):  # fmt: skip
            owners = s.scalars(sa.text(f"SELECT DISTINCT agency_id FROM {table}")).all()
            assert owners == [ours.agency_id], table
        assert s.scalars(sa.text("SELECT id FROM agency")).all() == [ours.agency_id]
        for suffix, ours_count in (("", 2), ("__history", 0)):
            count = f'SELECT count(*) FROM data."{{}}{suffix}"'
            assert s.scalar(sa.text(count.format(ours.slug))) == ours_count
            assert s.scalar(sa.text(count.format(theirs.slug))) == 0
    for sql in (
        f"INSERT INTO data.\"{ours.slug}\" (nip) VALUES ('9')",
        f"UPDATE data.\"{ours.slug}\" SET kota = 'x'",
        f'SELECT * FROM stage."{ours.slug}__v1"',
        "UPDATE job_run SET status = 'queued'",
    ):
        assert refused(person, sql)


def test_nobody_means_no_row():
    contract = make.make_contract(BASE)
    fill(contract)
    nobody = make.agency_principal(None)
    with make.session(nobody) as s:
        assert s.scalar(sa.text(f'SELECT count(*) FROM data."{contract.slug}"')) == 0
        assert s.scalar(sa.text("SELECT count(*) FROM contract")) == 0
