"""What the agency found: compared with the central table, settled by a pull and nothing else."""

from datetime import date

import pytest
import sqlalchemy as sa

from app.contracts.models import Contract
from app.contracts.states import FieldType
from app.core.clock import utc_now
from app.datasets.models import Dataset
from app.requests import errors, findings, integration
from app.requests.documents import DocumentKind
from app.requests.findings import FindingState as F
from app.requests.models import IntegrationRequest
from app.requests.states import Action, Role, Step
from tests import make

pytestmark = pytest.mark.usefixtures("bound")
DONE = {"checked_by": "Siti", "checked_on": "2026-11-23", "result": "Diperiksa"}
FIELDS = (
    make.field("nip", is_key=True, required=True),
    make.field("nama"),
    make.field("gaji", FieldType.NUMBER),
    make.field("lahir", FieldType.DATE),
    make.field("aktif", FieldType.BOOLEAN),
    make.field("catatan"),
    make.field("jumlah", FieldType.INTEGER),
    make.field("masuk", FieldType.TIMESTAMP),
)


@pytest.fixture
def check(town):
    """A case in which the agency checks, and its dataset with two people."""
    contract = make.make_contract(FIELDS, agency=town.agency)
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 4)
    with make.session() as s:
        integration.join(
            s, s.get_one(IntegrationRequest, ident), s.get_one(Contract, contract.id)
        )
    make.make_source(contract, "http://127.0.0.1:9/")
    with make.session(make.WORKER_PRINCIPAL) as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        dataset.published_at = utc_now()
    put(dataset, "001", "Budi", "1234.5", date(1980, 5, 1), True)
    put(dataset, "002", "Siti", None, None, False)
    put(dataset, "003", "Ani", None, None, False)
    put(dataset, "a;b|c", "x\ny", None, None, False)
    with make.session(make.WORKER_PRINCIPAL) as s:
        table = f"UPDATE data.{dataset.slug} SET "
        s.execute(sa.text(table + "_deleted_at = now() WHERE nip = '003'"))
        s.execute(sa.text(table + "catatan = '', masuk = '9999-12-31 23:59:59Z'"))
        more = "jumlah = 12345, masuk = '2026-01-01 17:30Z' WHERE nip = '001'"
        s.execute(sa.text(table + more))
    while town.read(ident).step is not Step.AGENCY_CHECK:
        town.pass_step(ident)
    return town, ident, dataset


def put(dataset, *values) -> None:
    """Bring a row, as a pull does: NIP, name, salary, birthday, whether active."""
    sql = (
        f"INSERT INTO data.{dataset.slug} (nip, nama, gaji, lahir, aktif, _run_id,"
        " _first_seen_at, _changed_at) VALUES (:a, :b, CAST(:c AS numeric), :d, :e, :run,"
        " now(), now()) ON CONFLICT (nip) DO UPDATE SET nama = excluded.nama,"
        " gaji = excluded.gaji, lahir = excluded.lahir, aktif = excluded.aktif,"
        " _run_id = excluded._run_id, _changed_at = excluded._changed_at"
    )
    row = dict(zip("abcde", values, strict=True)) | {"run": make.make_run("pull")}
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.text(sql), row)


def write(check, *rows) -> None:
    town, ident, _ = check
    content = DONE | {"findings": list(rows)}
    town.write(ident, DocumentKind.AGENCY_CHECK, Role.OPD_OPERATOR, content)


def read(check):
    town, ident, _ = check
    with make.session(town.people[Role.OPD_OPERATOR]) as s:
        case = s.get_one(IntegrationRequest, ident)
        return findings.findings_of(s, case, "Asia/Jakarta")


def test_the_check_ends_once_a_pull_has_brought_what_is_right(check):
    town, ident, dataset = check
    write(check, {"wrong": "value", "key": "001", "element": "nama", "expected": "Budiman", "is_done": "1"})  # fmt: skip
    (finding,) = read(check)
    assert (finding.state, finding.now) == (F.OPEN, "Budi")
    with pytest.raises(errors.StepNotDoneError) as refused:
        town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    assert refused.value.obstacles == [integration.FOUND_WRONG]

    put(dataset, "001", "Budiman", "1234.5", None, True)

    (finding,) = read(check)
    assert finding.state is F.SETTLED
    assert finding.since is not None
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    # What a later pull brings back is told again before the head approves.
    put(dataset, "001", "Budi", "1234.5", None, True)
    with pytest.raises(errors.StepNotDoneError):
        town.act(ident, Action.APPROVE, Role.OPD_PIMPINAN)


def test_what_is_given_up_keeps_nothing_open(check):
    town, ident, _ = check
    write(check, {"wrong": "missing", "key": "009", "given_up": "Sudah pensiun"})
    assert [each.state for each in read(check)] == [F.GIVEN_UP]
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"element": "gaji", "expected": "1.234,5"}, F.SETTLED),
        ({"element": "GAJI", "expected": "1234.50"}, F.SETTLED),
        ({"element": "gaji", "expected": "1234"}, F.OPEN),
        ({"element": "gaji", "expected": "NaN"}, F.UNCLEAR),
        ({"element": "gaji", "expected": "banyak"}, F.UNCLEAR),
        ({"element": "lahir", "expected": "01-05-1980"}, F.SETTLED),
        ({"element": "lahir", "expected": "31-02-1980"}, F.UNCLEAR),
        ({"element": "aktif", "expected": "Ya"}, F.SETTLED),
        ({"element": "aktif", "expected": "tidak"}, F.OPEN),
        ({"element": "nama", "expected": ""}, F.OPEN),
        ({"element": "nama", "expected": " Budi "}, F.SETTLED),
        ({"element": "tinggi", "expected": "1"}, F.UNCLEAR),
        ({"element": "", "expected": "1"}, F.UNCLEAR),
        ({"key": "", "element": "nama"}, F.UNCLEAR),
        ({"key": "001;2", "element": "nama"}, F.UNCLEAR),
        ({"key": "007", "element": "nama", "expected": "x"}, F.UNCLEAR),
        ({"key": "002", "element": "gaji", "expected": ""}, F.SETTLED),
        ({"wrong": "missing"}, F.SETTLED),
        ({"wrong": "missing", "key": "007"}, F.OPEN),
        ({"wrong": "surplus"}, F.OPEN),
        ({"wrong": "surplus", "key": "007"}, F.UNCLEAR),  # it never was there
        ({"wrong": "surplus", "key": "003"}, F.SETTLED),
        ({"wrong": "nonsense"}, F.UNCLEAR),
        ({"key": "a;b|c", "element": "nama", "expected": "x y"}, F.SETTLED),
        ({"key": "002", "element": "catatan", "expected": ""}, F.SETTLED),
        ({"element": "gaji", "expected": "1e999999"}, F.UNCLEAR),
        ({"element": "gaji", "expected": "0"}, F.OPEN),
        ({"element": "jumlah", "expected": "12.345"}, F.SETTLED),
        ({"element": "jumlah", "expected": "12,5"}, F.UNCLEAR),
        ({"element": "jumlah", "expected": "9" * 300}, F.UNCLEAR),
        ({"element": "masuk", "expected": "02-01-2026"}, F.SETTLED),
        ({"element": "masuk", "expected": "01-01-2026"}, F.OPEN),
        ({"element": "masuk", "expected": "2026-01-02T00:30"}, F.SETTLED),
        ({"element": "masuk", "expected": "2026-01-02 00:30:00"}, F.SETTLED),
        ({"element": "masuk", "expected": "2026-01-01T17:30Z"}, F.SETTLED),
        ({"element": "masuk", "expected": "25:00"}, F.UNCLEAR),
        ({"key": "002", "element": "masuk", "expected": "31-12-9999"}, F.OPEN),
        ({"wrong": None, "element": "nama", "expected": "Budi"}, F.SETTLED),
    ],
)  # fmt: skip
def test_a_finding_is_compared_as_its_element_is(check, told, state):
    write(check, {"wrong": "value", "key": "001"} | told)
    assert [each.state for each in read(check)] == [state]


def test_nothing_is_said_of_rows_that_the_agency_may_not_read(check):
    _, ident, _ = check
    other = make.make_contract(FIELDS)  # of another agency, and nothing agreed
    with make.session() as s:
        s.get_one(IntegrationRequest, ident).contract_id = other.id
    write(check, {"wrong": "value", "key": "001", "element": "nama", "expected": "x"})
    (finding,) = read(check)
    assert (finding.state, finding.now, finding.problem) == (
        F.UNCLEAR, None, findings.NO_ROWS,
    )  # fmt: skip


def test_five_hundred_findings_are_compared_in_a_handful_of_statements(check):
    row = {"wrong": "value", "key": "001", "element": "nama", "expected": "Budi"}
    write(check, *[row | {"key": f"{n:03}"} for n in range(500)])
    statements = []

    def hear(*event):
        statements.append(event[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        assert len(read(check)) == 500
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)
    assert 0 < len(statements) < 20


@pytest.mark.parametrize(
    ("kind", "key", "other"),
    [
        (FieldType.INTEGER, "1.234", "99999999999999999999"),
        (FieldType.DATE, "01-05-1980", "99-99-9999"),
        (FieldType.TIMESTAMP, "2026-01-02 00:30", "now"),
    ],
)
def test_keys_of_every_type_are_read_as_people_write_them(check, kind, key, other):
    town, ident, _ = check
    values = {FieldType.DATE: "1980-05-01", FieldType.TIMESTAMP: "2026-01-01 17:30Z"}
    fields = (
        make.field("a", kind, is_key=True, required=True),
        make.field("b", is_key=True, required=True),
    )
    contract = make.make_contract(fields, agency=town.agency)
    with make.session() as s:
        s.get_one(IntegrationRequest, ident).contract_id = contract.id
    with make.session(make.WORKER_PRINCIPAL) as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        dataset.published_at = utc_now()
        s.execute(
            sa.text(
                f"INSERT INTO data.{dataset.slug} (a, b, _run_id, _first_seen_at,"
                f" _changed_at) VALUES ('{values.get(kind, '1234')}', 'x', :run, now(),"
                " now())"
            ),
            {"run": make.make_run("pull")},
        )
    write(
        check,
        {"wrong": "missing", "key": f"{key}; x"},
        {"wrong": "surplus", "key": f"{other}; x"},
    )
    assert [each.state for each in read(check)] == [F.SETTLED, F.UNCLEAR]
