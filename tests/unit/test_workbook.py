"""The pure parts of the workbook: what a cell holds, what headers and sheets are called."""

import re
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st
from lxml import etree

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.datasets.reading import whole
from app.exports import cells, workbook


@given(
    st.integers(-(10**40), 10**40)
    | st.decimals(allow_nan=False, allow_infinity=False, places=10)
)
def test_a_number_that_fits_gives_back_every_digit(number):
    text = format(Decimal(number), "f")

    if cells.fits_a_number(text):
        # Excel keeps 15 digits of what it reads.
        assert Decimal(f"{float(text):.15g}") == Decimal(text)
    else:
        assert len(text.strip("-0").replace(".", "")) > cells.MAX_DIGITS


@given(st.text(alphabet="a😀é", min_size=1, max_size=9), st.integers(3_000, 9_000))
def test_a_fitting_text_is_whole_or_marked(piece, times):
    text = piece * times
    fitting = cells.fitting_text(text)

    assert len(fitting.encode("utf-16-le")) // 2 <= cells.MAX_CELL
    if fitting != text:
        assert fitting.endswith(cells.CUT_MARK)
        assert text.startswith(fitting.removesuffix(cells.CUT_MARK))
        assert len(text.encode("utf-16-le")) // 2 > cells.MAX_CELL


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

    sql = workbook.canonical_csv('data."x"', whole(fields))

    assert sql == (
        'COPY (SELECT "k", "aktif"::text AS "aktif" FROM data."x" WHERE _deleted_at IS NULL'
        " ORDER BY \"k\") TO STDOUT (FORMAT csv, HEADER true, FORCE_QUOTE *, ENCODING 'UTF8')"
    )


@pytest.mark.parametrize(
    ("total", "sizes"), [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
def test_rows_are_spread_over_sheets(total, sizes):
    assert workbook.sheet_sizes(total, 10) == sizes
    assert len(workbook.data_sheets(total, 10)) == len(sizes)


@pytest.mark.parametrize(
    ("index", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (16_383, "XFD")]
)
def test_columns_have_excels_letters(index, letters):
    assert cells.column_letters(index) == letters


@given(st.text())
def test_escaped_text_is_xml_and_means_the_same(text):
    element = etree.fromstring(f"<t>{cells.escaped(text)}</t>")

    # As Excel reads it: its own escapes undone.
    read = re.sub(r"_x([0-9A-F]{4})_", lambda m: chr(int(m[1], 16)), element.text or "")
    assert read == text


def test_styles_are_read_off_the_columns():
    sheet = (
        '<cols><col min="1" max="2" width="9" style="2" customWidth="1"/>'
        '<col min="3" max="3" width="9" customWidth="1"/>'
        '<col min="4" max="4" width="9" style="3" customWidth="1"/></cols>'
    )

    assert workbook.column_styles(sheet, 5) == (2, 2, None, 3, None)
