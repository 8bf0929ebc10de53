"""Contracts as files on their pages: taken along, looked at, taken in as a draft."""

import html
import io
import re

import msgspec
import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.contracts import incoming, odcs, services, workbook
from app.contracts.models import Contract, ContractVersion
from app.contracts.states import Classification, FieldType, VersionStatus
from app.contracts.terms import Terms
from app.datasets.models import Dataset
from tests import make

NEW = make.field("golongan", definition="Golongan ruang")


@pytest.fixture
def steward(log_in, people):
    return log_in(people["TIM_TEKNIS"])


@pytest.fixture
def contract(app):
    return make.make_contract()


def terms_of(contract, status=VersionStatus.ACTIVE) -> Terms:
    with make.session() as s:
        return (
            s.scalars(
                sa.select(ContractVersion).where(
                    ContractVersion.contract_id == contract.id,
                    ContractVersion.status == status,
                )
            )
            .one()
            .terms()
        )


def changed(terms: Terms, *, fields=None, **values) -> Terms:
    return msgspec.structs.replace(
        terms, fields=tuple(fields if fields is not None else terms.fields), **values
    )


def send(client, content: bytes, path: str, name="kontrak.yaml") -> str:
    form = {"file": (io.BytesIO(content), name)}
    answer = client.post(path, data=form, content_type="multipart/form-data")
    assert answer.status_code == 200, answer.status_code
    return html.unescape(answer.get_data(as_text=True))


def of(contract) -> str:
    return f"/contract-files/of/{contract.id}"


def seal_in(page: str) -> str:
    return re.search(r'name="sealed" value="(gAAAA[^"]*)"', page).group(1)


def apply(client, contract, seal: str):
    return client.post(f"{of(contract)}/apply", data={"sealed": seal})


def versions_of(contract) -> list[tuple[int, str]]:
    with make.session() as s:
        rows = s.execute(
            sa.select(ContractVersion.number, ContractVersion.status)
            .where(ContractVersion.contract_id == contract.id)
            .order_by(ContractVersion.number)
        )
        return [(number, str(status)) for number, status in rows]


@pytest.mark.parametrize(
    ("form", "media"),
    [("odcs", "application/yaml"), ("workbook", "application/vnd.openxmlformats")],
)
def test_who_sees_a_version_takes_it_along_whole(log_in, estates, form, media):
    own, _other = estates
    client = log_in(own.operator)

    answer = client.get(f"/contract-files/version/{own.version}/{form}")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(media)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    with make.session() as s:
        whole = s.get_one(ContractVersion, own.version).terms()
    assert incoming.read(answer.data).terms == whole


def test_who_receives_the_data_is_told_to_who_may_know_it(steward, contract):
    receiver = make.make_agency()
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset.id).where(Dataset.contract_id == contract.id)
        ).one()
        version = make.active_of(s, contract.id).id
    make.make_agreement(dataset, receiver.id)

    text = steward.get(f"/contract-files/version/{version}/odcs").get_data(as_text=True)

    assert receiver.name in text


@pytest.mark.parametrize("write", [odcs.write, workbook.write])
def test_a_changed_file_is_shown_first_and_then_becomes_a_draft(steward, contract, write):
    before = terms_of(contract)
    nip, name, _pay, born = before.fields
    looser = msgspec.structs.replace(name, required=False)
    wanted = changed(before, fields=(nip, looser, born, NEW), max_rejected_percent=7)

    page = send(steward, write(wanted), of(contract), "balik.yaml")

    assert "gaji (gaji) dihapus." in page
    assert "dapat mengganggu" in page
    assert "golongan" in page
    assert re.search(r"Data ditolak.*<del>.*20</del> → <ins>.*7</ins>", page)
    assert versions_of(contract) == [(1, "active")]

    answer = apply(steward, contract, seal_in(page))

    assert answer.status_code == 302
    assert versions_of(contract) == [(1, "active"), (2, "draft")]
    draft = terms_of(contract, VersionStatus.DRAFT)
    assert draft.fields == wanted.fields
    assert draft.max_rejected_percent == 7
    assert terms_of(contract) == before
    with make.session() as s:
        version = make.draft_of(s, contract.id)
        reasons = set(
            s.scalars(
                sa.select(AuditEvent.reason).where(
                    AuditEvent.object_id == str(version.id)
                )
            )
        )
    assert any("balik.yaml" in reason for reason in reasons)


def test_the_same_file_as_the_contract_changes_nothing(steward, contract):
    page = send(steward, odcs.write(terms_of(contract)), of(contract))

    assert "Tidak ada yang perlu diambil" in page
    assert 'name="sealed"' not in page


def test_a_draft_that_there_is_is_replaced_and_that_is_said(steward, contract):
    before = terms_of(contract)
    with make.session() as s:
        draft = services.draft_from(s, make.active_of(s, contract.id))
        s.flush()
        services.save_fields(s, draft, [*before.fields, make.field("lama")])

    page = send(
        steward, odcs.write(changed(before, fields=(*before.fields, NEW))), of(contract)
    )
    assert "Sudah ada draf" in page
    assert "lama" in page

    apply(steward, contract, seal_in(page))

    names = [each.name for each in terms_of(contract, VersionStatus.DRAFT).fields]
    assert names == ["nip", "nama", "gaji", "lahir", "golongan"]


def test_what_has_changed_since_the_preview_is_not_written_over(steward, contract):
    before = terms_of(contract)
    wanted = changed(before, fields=(*before.fields, NEW))
    page = send(steward, odcs.write(wanted), of(contract))
    with make.session() as s:
        services.draft_from(s, make.active_of(s, contract.id))

    answer = apply(steward, contract, seal_in(page))

    assert answer.headers["Location"].endswith(of(contract))
    assert "Tidak ada yang diambil" in steward.get(of(contract)).get_data(as_text=True)
    assert terms_of(contract, VersionStatus.DRAFT).fields == before.fields


def test_a_preview_serves_once(steward, contract):
    before = terms_of(contract)
    page = send(
        steward, odcs.write(changed(before, fields=(*before.fields, NEW))), of(contract)
    )

    apply(steward, contract, seal_in(page))
    again = apply(steward, contract, seal_in(page))

    assert again.headers["Location"].endswith(of(contract))


def test_a_seal_is_of_one_person_and_of_one_contract(steward, log_in, people, contract):
    before = terms_of(contract)
    page = send(
        steward, odcs.write(changed(before, fields=(*before.fields, NEW))), of(contract)
    )
    other, another = log_in(people["ADMINISTRATOR"]), make.make_contract()

    apply(other, contract, seal_in(page))
    apply(steward, another, seal_in(page))
    for junk in ("", "x", "gAAAAAé", seal_in(page)[:-9]):
        apply(steward, contract, junk)
    steward.post("/contract-files/apply", data={"sealed": seal_in(page)})

    assert versions_of(contract) == [(1, "active")]
    assert versions_of(another) == [(1, "active")]


def test_a_seal_of_another_form_opens_nothing(steward, contract):
    from app.core import crypto

    assert apply(steward, contract, crypto.seal("{}")).status_code == 302
    assert versions_of(contract) == [(1, "active")]


def test_what_is_wrong_is_told_with_its_place_and_nothing_is_offered(steward, contract):
    text = odcs.write(terms_of(contract)).decode()
    spoiled = text.replace("logicalType: integer", "logicalType: array")

    page = send(steward, spoiled.encode(), of(contract))

    assert "schema[0].properties[2] (gaji).logicalType" in page
    assert "Tidak ada “array” di sini" in page
    assert 'name="sealed"' not in page


def test_what_the_contract_itself_says_stays_and_is_named(steward, contract):
    before = terms_of(contract)
    wanted = changed(before, fields=(*before.fields, NEW), title="Lain", number=9)

    page = send(steward, odcs.write(wanted), of(contract))

    assert "Tetap “Data uji” untuk semua versi; berkas menyebut “Lain”" in page
    assert "dibuat dari versi 9" in page
    apply(steward, contract, seal_in(page))
    assert terms_of(contract).title == "Data uji"


def test_a_file_finds_its_contract_by_its_id(steward, contract):
    before = terms_of(contract)

    page = send(
        steward,
        odcs.write(changed(before, fields=(*before.fields, NEW))),
        "/contract-files/",
    )

    assert f'action="{of(contract)}/apply"' in page


def new_terms(agency) -> Terms:
    return Terms(
        fields=(make.field("kode", is_key=True), make.field("luas", FieldType.NUMBER)),
        slug=make.word(),
        title="Luas wilayah",
        agency=agency.code,
        max_vanished_percent=3,
    )


def test_a_file_of_nobodys_makes_a_new_contract(steward, app):
    terms = new_terms(make.make_agency())

    page = send(steward, odcs.write(terms), "/contract-files/")
    assert "Kontrak baru" in page
    form = {
        "sealed": seal_in(page), "title": "Luas", "slug": terms.slug, "kind": "reference",
        "load_mode": "upsert", "description": "",
        "agency": re.search(r'<option selected value="([0-9a-f-]{36})"', page).group(1),
    }  # fmt: skip
    answer = steward.post("/contract-files/apply", data=form)

    assert answer.status_code == 302
    with make.session() as s:
        made = s.scalars(sa.select(Contract).where(Contract.slug == terms.slug)).one()
    assert versions_of(made) == [(1, "draft")]
    draft = terms_of(made, VersionStatus.DRAFT)
    assert draft.fields == terms.fields
    assert draft.max_vanished_percent == 3
    assert str(draft.kind) == "reference"

    again = steward.post("/contract-files/apply", data=form)  # the short name is taken

    assert again.status_code == 200
    assert 'name="sealed"' in again.get_data(as_text=True)


def test_of_a_class_that_is_missing_nobody_is_told_more(steward, contract):
    text = odcs.write(terms_of(contract)).decode()
    page = send(
        steward, text.replace("classification: umum", "tags: []").encode(), of(contract)
    )

    assert "dianggap terbatas" in page
    apply(steward, contract, seal_in(page))
    draft = terms_of(contract, VersionStatus.DRAFT)
    assert {each.classification for each in draft.fields} == {Classification.RESTRICTED}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"\0" * 9, b"PK\x03\x04", b"\xff\xfe", b"{}", b"[]", b"- a", b"a: *b",
        b"schema: [[]]", b"schema: {a: b}", b"%YAML 1.1", b"&", b"---\n---\n", b"? ",
        b"kind: DataContract\napiVersion: v3.1.0\nschema: [{properties: [1, [], {}, null]}]",
        b"customProperties: [{property: {}, value: []}, 3]", b"\xd0\xcf\x11\xe0",
    ],
)  # fmt: skip
def test_no_junk_is_an_error_of_ours(steward, contract, content):
    for path in ("/contract-files/", of(contract)):
        page = send(steward, content, path)
        assert "Ambil dari berkas" in page
        if "taking" not in page:
            assert 'class="alert' in page or "Yang salah dalam berkas" in page


@pytest.mark.parametrize("pattern", ["(" * 900 + ")" * 900, "a{99999999999999999999}"])
def test_a_pattern_that_nothing_can_match_by_is_told_of(steward, contract, pattern):
    field = f"name: a, logicalType: string, logicalTypeOptions: {{pattern: '{pattern}'}}"
    file = (
        f"kind: DataContract\napiVersion: v3.1.0\nschema: [{{properties: [{{{field}}}]}}]"
    )
    page = send(steward, file.encode(), of(contract))
    assert "bukan ekspresi reguler yang sah" in page


def test_no_file_is_told_as_well(steward, contract):
    answer = steward.post(of(contract), data={})

    assert "Pilih berkas dahulu" in answer.get_data(as_text=True)


def bare(answer) -> str:
    """A page without the ids of the address and of the request, and its tokens."""
    page = answer.get_data(as_text=True)
    return re.sub(r'[0-9a-f-]{32,36}|name="csrf_token" value="[^"]*"', "", page)


def test_a_contract_that_one_may_not_see_answers_like_none(log_in, estates):
    own, other = estates
    client = log_in(own.operator)
    never = "6a2f7c1e-0b7e-4c0e-9f0e-14000000a001"

    for form in ("odcs", "workbook"):
        foreign = client.get(f"/contract-files/version/{other.version}/{form}")
        invented = client.get(f"/contract-files/version/{never}/{form}")
        assert foreign.status_code == invented.status_code == 404
        assert bare(foreign) == bare(invented)
    assert client.get(f"/contract-files/of/{own.contract}").status_code == 403


def test_the_pages_lead_there(steward, contract):
    page = steward.get(f"/contracts/{contract.id}").get_data(as_text=True)

    assert of(contract) in page
    assert re.search(r"/contract-files/version/[0-9a-f-]{36}/odcs", page)
    assert re.search(r"/contract-files/version/[0-9a-f-]{36}/workbook", page)
    assert 'href="/contract-files/"' in steward.get("/contracts/").get_data(as_text=True)
