"""Contracts as files: nothing is lost on the way out and in, and hostile files are refused."""

import io
import json
import shutil
import subprocess
from importlib import resources

import jsonschema
import msgspec
import openpyxl
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from app.contracts import incoming, odcs, workbook
from app.contracts.errors import REFUSALS, FileRefusedError, UnfitTextError
from app.contracts.fields import FieldSpec
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.contracts.terms import MOST_NOTES, Around, Receiver, Terms
from app.core.confined import RefusedHereError
from app.core.workbooks import Line
from demo import seed

SCHEMA = json.loads(
    resources.files("open_data_contract_standard").joinpath("schema.json").read_text()
)
STANDARD = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
OFFICE = shutil.which("soffice")

# What forms let through: no NUL, no half character, nothing blank at the edges.
WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cn"), include_characters="\n\t"),
    max_size=20,
).map(str.strip)
TEXTS = WORDS | st.sampled_from(
    ["01", "no", "null", "~", "1e3", "=1+1", "+62", "-", "@x", "a: b", "- a", "# a", "&a", "*a",
     "!a", "'", '"', "%", "_x0041_", "2026-01-01", "1_000", "{a}", "[a]", "|", ">", "a\nb", "<<"]
)  # fmt: skip
LENGTHS = st.none() | st.integers(0, 10_000_000)
PERCENTS = st.integers(0, 100)


@st.composite
def specs(draw, name):
    is_key = draw(st.booleans())
    return FieldSpec(
        name=name,
        source_path=draw(TEXTS) or name,
        label=draw(TEXTS) or name,
        type=draw(st.sampled_from(FieldType)),
        is_key=is_key,
        required=is_key or draw(st.booleans()),
        min_length=draw(LENGTHS),
        max_length=draw(LENGTHS),
        minimum=draw(
            TEXTS | st.integers().map(str) | st.decimals(allow_nan=False).map(str)
        ),
        maximum=draw(TEXTS | st.integers().map(str) | st.dates().map(str)),
        pattern=draw(
            TEXTS | st.sampled_from([r"\d{18}", "^(?:a)$", "^a|b$", "(", "(?i)a"])
        ),
        allowed_values=tuple(
            draw(
                st.lists(
                    TEXTS.filter(
                        lambda t: t and "|" not in t and len(t.splitlines()) == 1
                    ),
                    max_size=4,
                )
            )
        ),
        classification=draw(st.sampled_from(Classification)),
        definition=draw(TEXTS),
        unit=draw(TEXTS),
        example=draw(TEXTS),
    )


@st.composite
def contracts(draw):
    names = draw(st.lists(TEXTS.filter(bool), max_size=4, unique=True))
    return Terms(
        fields=tuple(draw(specs(name)) for name in names),
        ident=str(draw(st.uuids())),
        slug=draw(st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)),
        title=draw(TEXTS),
        agency=draw(TEXTS),
        agency_name=draw(TEXTS),
        kind=draw(st.sampled_from(DatasetKind)),
        load_mode=draw(st.sampled_from(LoadMode)),
        description=draw(TEXTS),
        basis=draw(TEXTS),
        number=draw(st.integers(1, 99_999)),
        status=draw(st.sampled_from(VersionStatus)),
        note=draw(TEXTS),
        max_vanished_percent=draw(PERCENTS),
        max_rejected_percent=draw(PERCENTS),
    )


AROUND = Around(
    "2026-11-23T01:00:00+00:00",
    [Receiver("bkd", "Badan Kepegawaian", "12/2026", "Laporan", ["nip"], "2027-01-01")],
    [("0 2 * * *", "Asia/Jakarta")],
)


def taken(content: bytes):
    """What a file says; the child's own work is done here, for speed."""
    said = incoming.texts_of(content)
    if "tree" in said:
        return odcs.read(said["tree"])
    return workbook.read(said["sheets"])


@settings(max_examples=150, deadline=None)
@given(contracts())
def test_a_contract_comes_back_from_odcs_as_it_went_and_fits_the_standard(terms):
    written = odcs.write(terms, AROUND)

    back = taken(written)

    assert back.terms == terms
    assert back.wrong == []
    assert [each.place for each in back.left] == ["slaProperties", "roles"]
    assert odcs.write(terms, AROUND) == odcs.write(back.terms, AROUND) == written
    STANDARD.validate(yaml.safe_load(written))


@settings(max_examples=60, deadline=None)
@given(contracts())
def test_a_contract_comes_back_from_the_workbook_as_it_went(terms):
    written = workbook.write(terms, AROUND)

    back = taken(written)

    assert back.terms == terms
    assert back.wrong == []
    assert [each.place for each in back.left] == ["Penerima"]
    assert workbook.write(back.terms, AROUND) == written


PERSON = Terms(
    fields=(
        FieldSpec(
            name="nip", source_path="orang.nip", label="NIP", type=FieldType.TEXT,
            is_key=True, required=True, pattern=r"\d{18}", example="01",
            classification=Classification.PERSONAL,
        ),
        FieldSpec(
            name="jk", source_path="jk", label="Jenis kelamin", type=FieldType.TEXT,
            allowed_values=("L", "P"),
        ),
        FieldSpec(
            name="gaji", source_path="gaji", label="Gaji", type=FieldType.NUMBER,
            minimum="0.50", unit="Rp", definition="=1+1",
        ),
    ),
    ident="6a2f7c1e-0b7e-4c0e-9f0e-14000000a001", slug="pegawai", title="Pegawai", agency="bkd",
    agency_name="Badan Kepegawaian Daerah", kind=DatasetKind.MASTER,
    load_mode=LoadMode.SNAPSHOT, number=2, status=VersionStatus.ACTIVE,
    max_vanished_percent=10, max_rejected_percent=20,
)  # fmt: skip


@pytest.mark.parametrize("fields", [seed.REGION_FIELDS, seed.PEOPLE_FIELDS])
def test_what_the_demo_exchanges_fits_the_standard(fields):
    terms = msgspec.structs.replace(PERSON, fields=fields)

    STANDARD.validate(yaml.safe_load(odcs.write(terms, AROUND)))


def test_of_very_many_things_the_first_ones_are_told_and_that_there_are_more():
    tree = {f"kunci{n}" * 99: "a" for n in range(1_000)}

    back = odcs.read(tree | {"schema": [{"properties": [[]] * 400}]})

    assert len(back.left) == MOST_NOTES + 1
    assert back.left[-1].places > 600
    assert len(back.wrong) == MOST_NOTES + 1
    assert max(len(each.place) for each in back.left) <= 200


@pytest.mark.parametrize("write", [odcs.write, workbook.write])
def test_what_people_send_is_read_by_a_process_of_its_own(write):
    assert incoming.read(write(PERSON)).terms == PERSON


# Hostile and wrong YAML ------------------------------------------------------------------

LAUGHS = b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n"
REFUSED = {
    "anchor": LAUGHS,
    "tag": b"kind: !!python/object/apply:os.system [id]\n",
    "twice": b"kind: a\nid: b\nkind: c\n",
    "deep": b"[" * 50 + b"]" * 50,
    "many": b"[" + b"x," * 100_001 + b"]",
    "large": b"a: " + b"x" * incoming.MAX_BYTES,
    "letters": b"name: \xff\xfe\xff",
    "sign": b"name: a\x00b",
    "syntax": b"name: [a\nid: }",
    "documents": b"kind: a\n---\nkind: b\n",
    "key": b"? [a]\n: b\n",
    "empty": b" \n",
    "old": b"\xd0\xcf\x11\xe0" + b"x" * 100,
    "broken": b"PK\x03\x04" + b"x" * 100,
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_hostile_file_is_refused_with_its_reason(why):
    with pytest.raises(FileRefusedError) as refused:
        incoming.read(REFUSED[why])

    assert refused.value.code == f"contract_file_{why}"


@pytest.mark.parametrize("text", [r'"a\0b"', r'"\ud800"'])
def test_escapes_spell_nothing_that_no_text_may_hold(text):
    with pytest.raises(FileRefusedError) as refused:
        incoming.read(f"name: {text}\n".encode())

    assert refused.value.code in {"contract_file_sign", "contract_file_syntax"}


def test_what_is_wrong_is_told_with_its_place():
    tree = incoming.texts_of(odcs.write(PERSON))["tree"]
    tree["apiVersion"] = "v2.2.2"
    tree["description"] = "kosong"
    first, second, third = tree["schema"][0]["properties"]
    first["logicalType"] = "array"
    first["required"] = "ya"
    second["name"] = "nip"
    second["classification"] = "rahasia"
    third["logicalTypeOptions"] = ["a"]
    third["customProperties"][1]["value"] = {"a": "b"}

    wrong = {each.place for each in odcs.read(tree).wrong}

    assert wrong == {
        "apiVersion",
        "description",
        "schema[0].properties[0] (nip).logicalType",
        "schema[0].properties[0] (nip).required",
        "schema[0].properties[1].name",
        "schema[0].properties[1] (nip).classification",
        "schema[0].properties[2].logicalTypeOptions",
        "schema[0].properties[2].customProperties.simpulUnit",
    }


@pytest.mark.parametrize("tree", [None, [], "a", {"schema": "a"}, {"schema": [None, 1]}])
def test_what_is_no_contract_is_wrong_and_no_error(tree):
    assert odcs.read(tree).wrong


KEYS = st.sampled_from(
    ["kind", "schema", "name", "properties", "customProperties", "property", "value", "quality",
     "metric", "arguments", "validValues", "mustBe", "description", "purpose", "examples",
     "logicalType", "logicalTypeOptions", "pattern", "minLength", "primaryKey", "version", "id",
     "simpulMinimum", "simpulMaxVanishedPercent", "classification", "roles"]
)  # fmt: skip
SCALARS = st.none() | st.sampled_from(
    ["", "invalidValues", "0", "-1", "9" * 30, "²", "true", "string", "^(?:a)$", "^(?:", ")$"]
) | st.text(max_size=5)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=6),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_no_tree_is_an_error_of_ours(tree):
    back = odcs.read(tree)

    assert back.wrong or back.terms
    odcs.write(back.terms)


CELLS = st.sampled_from(
    ["", "Kolom", "Isi", "Judul", "Nama kolom", "Tipe", "teks", "ya", "a | b", "|", "²", "9" * 20]
) | st.text(max_size=5)  # fmt: skip
LINES = st.lists(
    st.builds(
        Line,
        st.integers(1, 99),
        st.lists(CELLS, min_size=1, max_size=6),
        st.lists(st.integers(0, 5), max_size=2),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["Kontrak", "kolom ", "Kolom", "Lain"]), LINES))
def test_no_sheet_is_an_error_of_ours(sheets):
    back = workbook.read(sheets)

    assert back.wrong or back.terms


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab:-?&*!|>'\"%@`{}[],#\n \t~<=.0"), max_size=40))
def test_no_text_is_an_error_of_ours(text):
    why = ""
    try:
        taken(text.encode())
    except RefusedHereError as refused:
        why = refused.why

    assert why in {"", *REFUSALS}


FOREIGN = b"""
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553b
version: 1.1.0
status: proposed
domain: seller
tags: [transactions]
description: {purpose: Views on sales, usage: Predict sales, limitations: }
servers:
  - {server: pg, type: postgres, host: localhost, port: 5432, database: d, schema: s}
schema:
  - name: sales
    physicalName: sales_1
    quality:
      - {metric: rowCount, mustBeGreaterThan: 1000}
    properties:
      - name: day
        logicalType: date
        primaryKey: true
        primaryKeyPosition: 2
        examples: [2022-10-03, 2020-01-28]
        partitioned: false
        tags: []
        classification: public
      - name: code
        primaryKey: true
        primaryKeyPosition: 1
        logicalType: string
        physicalType: varchar(18)
        classification: restricted
        transformLogic: select 1
      - name: amount
        logicalType: number
        physicalType: varchar(18)
        logicalTypeOptions: {minimum: 0, multipleOf: 5}
        quality: [{metric: nullValues, mustBe: 0}]
  - name: receivers
price: {priceAmount: 9.95}
team: [{username: a}]
roles: [{role: reader}]
slaProperties: [{property: latency, value: 4}]
support: [{channel: help}]
customProperties: [{property: ruleset, value: a}]
contractCreatedTs: "2022-11-15T02:59:43+00:00"
"""


def test_a_foreign_file_is_taken_and_what_is_not_is_named():
    back = taken(FOREIGN)

    assert back.wrong == []
    assert [each.name for each in back.terms.fields] == ["day", "code", "amount"]
    assert [each.is_key for each in back.terms.fields] == [True, True, False]
    assert back.terms.fields[0].example == "2022-10-03"
    assert back.terms.fields[2].minimum == "0"
    assert back.terms.fields[2].classification is Classification.RESTRICTED
    assert {each.place: each.places for each in back.left} == {
        "schema[1]": 1,
        "schema[0].properties[0].examples": 1,
        "schema[0].properties[0].primaryKeyPosition": 2,
        "schema[0].properties[1].physicalType": 2,
        "schema[0].properties[1].transformLogic": 1,
        "schema[0].properties[2] (amount).classification": 1,
        "schema[0].properties[2].logicalTypeOptions.multipleOf": 1,
        "schema[0].properties[2].quality": 1,
        "schema[0].physicalName": 1,
        "schema[0].quality": 1,
        "customProperties.ruleset": 1,
        "description.usage": 1,
        **dict.fromkeys(
            (
                "domain",
                "tags",
                "servers",
                "price",
                "team",
                "roles",
                "slaProperties",
                "support",
            ),
            1,
        ),
    }


# The workbook ----------------------------------------------------------------------------


def edited(change) -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(workbook.write(PERSON, AROUND)))
    change(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_the_order_of_columns_and_capitals_of_heads_do_not_matter():
    def turned(book):
        rows = [[cell.value for cell in row] for row in book["Kolom"].iter_rows()]
        del book["Kolom"]
        sheet = book.create_sheet("KOLOM")
        sheet.append(["", "", "Kolom kontrak"])
        for number, row in enumerate(rows, 2):
            for column, text in enumerate(reversed(row), 1):
                cell = sheet.cell(number, column, text and str(text))
                cell.data_type = "s"
        for cell in sheet[2]:
            cell.value = cell.value.upper()

    back = incoming.read(edited(turned))

    assert back.terms == PERSON
    assert back.wrong == []


def test_a_wrong_cell_is_told_by_its_address():
    def spoiled(book):
        book["Kolom"]["D3"] = "huruf"
        book["Kolom"]["G4"] = "-1"
        book["Kolom"]["N2"] = "=1+1"
        book["Kolom"]["Q1"], book["Kolom"]["Q2"] = "Warna", "merah"
        book["Kontrak"]["B13"] = "101"
        book["Kontrak"]["A20"], book["Kontrak"]["B20"] = "Cuaca", "cerah"
        book.create_sheet("Lain").append(["a", "b"])

    back = incoming.read(edited(spoiled))

    assert {each.place for each in back.wrong} == {
        "Kolom!D3", "Kolom!G4", "Kolom!N2", "Kontrak!B13",
    }  # fmt: skip
    assert {each.place for each in back.left} == {
        "Penerima", "Lain", "Kolom: Warna", "Kontrak!B20 (Cuaca)",
    }  # fmt: skip


def test_numbers_and_flags_that_were_typed_as_such_are_read():
    def typed(book):
        book["Kolom"]["G2"], book["Kolom"]["E3"] = 18, True

    fields = incoming.read(edited(typed)).terms.fields

    assert fields[0].min_length == 18
    assert fields[1].required


def test_a_sheet_that_is_missing_is_told():
    def without(book):
        del book["Kolom"]

    assert [each.place for each in incoming.read(edited(without)).wrong] == ["Kolom"]


def test_what_lies_far_out_is_refused_and_not_passed_over():
    def far(book):
        book["Kolom"].cell(incoming.MAX_ROWS + 5, 1).value = "jauh"

    def wide(book):
        book["Kolom"].cell(2, incoming.MAX_COLUMNS + 5).value = "jauh"

    with pytest.raises(FileRefusedError, match="too many rows"):
        incoming.read(edited(far))
    with pytest.raises(FileRefusedError, match="too many columns"):
        incoming.read(edited(wide))


def test_the_workbook_offers_lists_and_holds_no_formula():
    book = openpyxl.load_workbook(io.BytesIO(workbook.write(PERSON)))

    sheet = book["Kolom"]
    offered = {str(v.sqref): v.formula1 for v in sheet.data_validations.dataValidation}
    assert "teks" in offered["D2:D401"]
    assert offered["E2:E401"] == '"ya,tidak"'
    assert sheet.freeze_panes == "A2"
    cells = [cell for each in book for row in each.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]
    assert sheet["N4"].value == "=1+1"


def test_a_text_that_no_workbook_can_hold_is_refused_and_not_cut():
    odd = Terms(fields=(), title="a\x01b")

    with pytest.raises(UnfitTextError):
        workbook.write(odd)
    assert taken(odcs.write(odd)).terms.title == "a\x01b"


def test_texts_that_are_too_long_are_wrong():
    lines = [Line(1, ["Keterangan", "Isi"], []), Line(2, ["Judul", "x" * 300], [])]

    wrong = workbook.read({"Kontrak": lines, "Kolom": []}).wrong

    assert "Kontrak!B2" in {each.place for each in wrong}


@pytest.mark.skipif(OFFICE is None, reason="LibreOffice (soffice) is not installed here")
def test_libreoffice_opens_the_workbook_and_gives_it_back_whole(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(workbook.write(PERSON, AROUND))
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = [
        OFFICE, profile, "--headless", "--convert-to", "xlsx", "--outdir", "out", "a.xlsx",
    ]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=100)

    assert incoming.read((tmp_path / "out" / "a.xlsx").read_bytes()).terms == PERSON
