"""The pure parts of the workbook: what a cell holds, what headers and sheets are called."""

import zipfile
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.exports import workbook


@given(
    st.integers(-(10**40), 10**40)
    | st.decimals(allow_nan=False, allow_infinity=False, places=10)
)
def test_a_number_cell_gives_back_every_digit(number):
    text = format(Decimal(number), "f")
    loaded = workbook._NumberLoader(0).load(text.encode())

    if isinstance(loaded, str):
        assert loaded == text
    else:
        # Excel keeps 15 digits of what it reads.
        assert Decimal(f"{loaded:.15g}") == Decimal(text)


@given(st.text(alphabet="a😀é", min_size=1, max_size=9), st.integers(3_000, 9_000))
def test_a_fitting_text_is_whole_or_marked(piece, times):
    text = piece * times
    fitting = workbook.fitting(text)

    assert len(fitting.encode("utf-16-le")) // 2 <= workbook.MAX_CELL
    if fitting != text:
        assert fitting.endswith(workbook.CUT_MARK)
        assert text.startswith(fitting.removesuffix(workbook.CUT_MARK))
        assert len(text.encode("utf-16-le")) // 2 > workbook.MAX_CELL


def field(name, label, kind=FieldType.TEXT):
    return FieldSpec(name=name, source_path=name, label=label, type=kind)


def test_headers_are_never_the_same_twice():
    fields = [field("a", "Nama"), field("b", "Nama"), field("c", " "),
              field("d", "Waktu", FieldType.TIMESTAMP)]  # fmt: skip

    headers = workbook.headers_of(fields, "WIB")

    assert headers == ["Nama [a]", "Nama [b]", "c", "Waktu (WIB)"]


def test_a_header_that_looks_like_a_made_one_stays_unlike_it():
    fields = [field("a", "Nama"), field("b", "Nama"), field("c", "Nama [a]")]

    assert len(set(workbook.headers_of(fields, "WIB"))) == 3


def test_canonical_csv_is_defined_by_the_contract_alone():
    fields = [
        FieldSpec(name="k", source_path="k", label="", type=FieldType.TEXT, is_key=True),
        field("aktif", "", FieldType.BOOLEAN),
    ]

    sql = workbook.canonical_csv('data."x"', fields)

    assert sql == (
        'COPY (SELECT "k", "aktif"::text AS "aktif" FROM data."x" WHERE _deleted_at IS NULL'
        " ORDER BY \"k\") TO STDOUT (FORMAT csv, HEADER true, FORCE_QUOTE *, ENCODING 'UTF8')"
    )


@pytest.mark.parametrize(
    ("reference", "rows"), [("A1:J200001", 200_000), ("A1:B1", 0), ("A1", 0)]
)
def test_rows_are_counted_out_of_the_file(tmp_path, reference, rows):
    path = tmp_path / "x.part"
    with zipfile.ZipFile(path, "w") as book:
        for number in (1, 2):
            book.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet><dimension ref="{reference}"/>',
            )

    assert workbook.rows_in_file(path, 2) == 2 * rows
