"""Agreements by their people: who proposes, who agrees, what is open then, in every way."""

import csv
import io
import time

import openpyxl
import pytest
import sqlalchemy as sa

from app.api.models import ApiGrant
from app.contracts.states import Classification
from app.core import db
from app.core.policy import DbRole, Principal, acting_as
from app.datasets.models import Agreement, Dataset
from app.exports.models import ExportRun
from app.exports.services import export
from app.identity.models import Agency, User
from app.identity.principals import principal_of
from app.notifications.models import Notice
from tests import make
from tests.api.conftest import open_shop, person
from tests.api.test_pages import entered
from tests.web.conftest import seen_in

FIELDS = (
    make.field("nik", is_key=True, classification=Classification.PERSONAL),
    make.field("nama"),
    make.field("kota"),
    make.field("gaji"),
)
CITIES = ("14.71", "14.72", "50%'; --", "14.73")


@pytest.fixture
def town(app, bound, upstream):
    """A shop of 200 people in four cities; the grant's client belongs to the receiver."""
    upstream.records = [
        {"nik": f"1471{n:012d}", "nama": person(n)["nama"], "kota": CITIES[n % 4], "gaji": "1"}
        for n in range(200)
    ]  # fmt: skip
    shop = open_shop(app, upstream, FIELDS)
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        s.execute(
            sa.text("DELETE FROM agreement WHERE dataset_id = :of"), {"of": shop.dataset}
        )
    with make.session() as s:
        grant = s.get_one(ApiGrant, shop.grant)
        shop.receiver = s.get_one(Agency, grant.agency_id)
        shop.owner = s.get_one(Agency, grant.producer_id)
    return shop


def proposal(shop, **values):
    return {
        "number": "PKS 1/2026", "dataset": str(shop.dataset), "agency": str(shop.receiver.id),
        "field_names": "nama, kota", "row_field": "kota", "values": f"14.71, {CITIES[2]}",
        "purpose": "Verifikasi penerima bantuan", "ends_on": "2099-12-31",
    } | values  # fmt: skip


def propose(shop, **values):
    office = entered(shop.app, "ADMINISTRATOR")
    answer = office.post("/agreements/new/", data=proposal(shop, **values))
    return answer.get_data(as_text=True) if answer.status_code == 200 else ""


def newest(shop) -> Agreement:
    with make.session() as s:
        return s.scalars(
            sa.select(Agreement)
            .where(Agreement.dataset_id == shop.dataset)
            .order_by(Agreement.valid_from.desc())
        ).first()


def agree(shop, agreement, seen=None):
    head = entered(shop.app, "OPD_PIMPINAN", agency=shop.owner)
    seen = str(agreement.row_version) if seen is None else seen
    return head.post(
        f"/agreements/{agreement.id}/consent", data={"seen": seen}, follow_redirects=True
    ).get_data(as_text=True)


def test_what_is_agreed_to_is_open_and_nothing_else(town):
    guest = entered(town.app, "OPD_OPERATOR", agency=town.receiver)
    assert propose(town) == ""
    assert guest.get(f"/datasets/{town.slug}").status_code == 404
    assert town.get().status_code == 404

    assert "sejak sekarang terbuka" in agree(town, newest(town))

    for listed in ("/datasets/?cols=title&cols=row_count", "/"):
        assert ">200<" not in guest.get(listed).get_data(as_text=True)  # of all there are
    narrowed = guest.get("/datasets/?where=row_count:from:150").get_data(as_text=True)
    assert "diabaikan: row_count" in narrowed
    first = guest.get(f"/datasets/{town.slug}").get_data(as_text=True)
    assert "PKS 1/2026" in first
    assert ">14.71<" in first
    assert ">14.72<" not in first
    assert "1471000" not in first  # the key is personal and was not named
    follow = first.partition("after=")[2].partition('"')[0]
    second = guest.get(f"/datasets/{town.slug}?after={follow}").get_data(as_text=True)
    assert first.count("<tr>") + second.count("<tr>") == 2 + 100
    assert "gaji" not in guest.get(f"/datasets/{town.slug}/dictionary").get_data(True)
    token = "WyIxNDcxMDAwMDAwMDAwMDAwIl0"
    assert guest.get(f"/datasets/{town.slug}/rows/{token}").status_code == 404

    time.sleep(1.05)  # the door remembers for a second what a key opens
    answer = town.get("?limit=1000&count=exact").json
    assert {tuple(row) for row in answer["data"]} == {("nama", "kota")}
    assert {row["kota"] for row in answer["data"]} == {"14.71", CITIES[2]}
    assert answer["count"] == {"kind": "exact", "rows": 100}
    assert answer["page"]["since"] is None
    written = io.StringIO(town.get("?format=csv").get_data(as_text=True))
    assert len(list(csv.reader(written))) == 101
    walked, after = 0, ""
    while after is not None:
        page = town.get(f"?limit=30&after={after}" if after else "?limit=30").json
        walked, after = walked + len(page["data"]), page["page"]["next"]
    assert walked == 100


def test_the_database_itself_opens_the_rows_agreed_to_alone(town):
    propose(town)
    agree(town, newest(town))
    user = make.make_user("OPD_OPERATOR", agency=town.receiver)
    with make.session() as s:
        principal = principal_of(s.get_one(User, user.id))
    with make.session(principal) as s:
        table = f'data."{town.slug}"'
        cities = s.scalars(sa.text(f"SELECT DISTINCT kota FROM {table} ORDER BY 1"))
        assert cities.all() == ["14.71", CITIES[2]]
        history = s.scalar(sa.text(f'SELECT count(*) FROM data."{town.slug}__history"'))
        assert history == 0
        assert s.scalars(sa.select(Dataset.slug)).all() == [town.slug]


def test_a_file_holds_what_is_open_and_says_by_what(town, settings):
    propose(town)
    agree(town, newest(town))
    guest = entered(town.app, "OPD_OPERATOR", agency=town.receiver)
    guest.post(f"/downloads/request/{town.slug}")
    with make.session() as s:
        asked = s.scalars(
            sa.select(ExportRun).where(ExportRun.dataset_id == town.dataset)
        ).all()
    assert asked == []  # a person's own
    with acting_as(make.WORKER_PRINCIPAL):
        with make.session(make.WORKER_PRINCIPAL) as s:
            asked = s.scalars(
                sa.select(ExportRun).where(ExportRun.dataset_id == town.dataset)
            ).one()
        export(make.claim(asked.run_id), settings.home, days=1, time_zone="Asia/Jakarta")
    with guest.get(f"/downloads/{asked.id}") as fetched:
        book = openpyxl.load_workbook(io.BytesIO(fetched.data))
    rows = list(book.worksheets[0].iter_rows(values_only=True))
    assert len(rows) == 101
    assert len(rows[0]) == 2
    assert {row[1] for row in rows[1:]} == {"14.71", CITIES[2]}
    said = dict(book["Info"].iter_rows(values_only=True))
    assert said["Kesepakatan"] == "PKS 1/2026"
    assert said["Saringan"].startswith("hanya baris dengan kota: 14.71")

    ended = entered(town.app, "OPD_PIMPINAN", agency=town.owner).post(
        f"/agreements/{newest(town).id}/end", data={"because": "selesai"}
    )
    assert ended.status_code == 302
    assert guest.get(f"/downloads/{asked.id}").status_code == 409


def test_another_agreement_takes_the_place_of_the_one_that_stands(town):
    propose(town)
    agree(town, newest(town))
    first = newest(town)
    propose(town, number="PKS 2/2026", field_names="nama", row_field="", values="")
    assert len(town.get("?limit=1000").json["data"]) == 100  # until it is agreed to

    agree(town, newest(town))

    time.sleep(1.05)  # the door remembers for a second what a key opens
    with make.session() as s:
        former = s.get_one(Agreement, first.id)
        assert former.ended_because == "Digantikan oleh PKS 2/2026"
    rows = town.get("?limit=1000").json["data"]
    assert (len(rows), list(rows[0])) == (200, ["nama"])


def test_who_does_not_own_the_data_agrees_to_nothing(town):
    propose(town)
    agreement = newest(town)
    path, seen = f"/agreements/{agreement.id}", {"seen": str(agreement.row_version)}
    refused = {
        403: [entered(town.app, "OPD_OPERATOR", agency=town.owner),
              entered(town.app, "ADMINISTRATOR")],
        404: [entered(town.app, "OPD_PIMPINAN", agency=town.receiver),
              entered(town.app, "OPD_PIMPINAN", agency=make.make_agency())],
    }  # fmt: skip
    for status, people in refused.items():
        for each in people:
            assert each.post(f"{path}/consent", data=seen).status_code == status
    receiver = refused[404][0]
    said = receiver.post(f"{path}/end", data={"because": "x"}, follow_redirects=True)
    assert "mengakhiri kesepakatan" in said.get_data(as_text=True)
    assert "PKS 1/2026" in receiver.get("/agreements/").get_data(as_text=True)
    assert newest(town).consented_at is None
    assert newest(town).ended_at is None


def test_what_was_agreed_to_does_not_change_and_what_was_not_seen_is_not_agreed_to(town):
    propose(town)
    agreement = newest(town)
    office = entered(town.app, "ADMINISTRATOR")
    address = f"/agreements/edit/?id={agreement.id}"
    office.post(
        address,
        data=proposal(town, field_names="nik, nama", seen=seen_in(office, address)),
    )
    assert newest(town).fields == ["nik", "nama"]
    assert "diubah ketika Anda melihatnya" in agree(
        town, agreement, str(agreement.row_version)
    )
    for nonsense in ("", "x", "²", "-1", "9" * 40):
        agree(town, agreement, nonsense)
    assert newest(town).consented_at is None

    agree(town, newest(town))

    answer = office.post(
        address, data=proposal(town, field_names="", seen=seen_in(office, address))
    )
    assert "sudah diputuskan" in answer.get_data(as_text=True)
    assert newest(town).fields == ["nik", "nama"]


def test_who_is_asked_is_told_and_who_receives_hears_the_answer(town):
    propose(town)
    agreement = newest(town)
    head = entered(town.app, "OPD_PIMPINAN", agency=town.owner)
    silent = head.post(f"/agreements/{agreement.id}/end", follow_redirects=True)
    assert "Sebutkan alasannya" in silent.get_data(as_text=True)
    head.post(
        f"/agreements/{agreement.id}/end", data={"because": "Belum ada dasar hukum"}
    )
    page = entered(town.app, "OPD_OPERATOR", agency=town.receiver).get(
        f"/agreements/details/?id={agreement.id}"
    )
    assert "Belum ada dasar hukum" in page.get_data(as_text=True)
    assert "ditolak" in page.get_data(as_text=True)
    with make.session(Principal("sistem", DbRole.SYSTEM)) as s:
        told = s.execute(
            sa.select(Notice.kind, Notice.agency_id).where(
                Notice.path == f"/agreements/details/?id={agreement.id}"
            )
        ).all()
    assert sorted(told) == [
        ("agreement_asks", town.owner.id), ("agreement_told", town.receiver.id),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"field_names": "hantu"}, "tidak mempunyai bidang hantu"),
        ({"row_field": ""}, "kosongkan keduanya"),
        ({"values": " , "}, "kosongkan keduanya"),
        ({"row_field": "hantu"}, "tidak mempunyai bidang hantu"),
        ({"ends_on": "2020-01-01"}, "Hari terakhirnya"),
        ({"values": ",".join(f"{n}" for n in range(1001))}, "Paling banyak 1.000"),
        ({"values": "a\0"}, "NUL"),
        ({"purpose": ""}, "wajib"),
        ({"ends_on": "9999-12-31"}, "sampai tahun"),
        ({"ends_on": "0001-01-01"}, "Hari terakhirnya"),
    ],
)
def test_what_is_not_there_cannot_be_agreed_to(town, values, said):
    assert said in propose(town, **values)
    assert newest(town) is None


def test_its_own_agency_needs_no_agreement(town):
    said = propose(town, agency=str(town.owner.id))
    assert "tidak memerlukan kesepakatan" in said
