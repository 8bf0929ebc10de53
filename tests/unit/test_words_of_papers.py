"""Numbers and days in words, as papers have them."""

from datetime import date

import pytest

from app.papers.words import day_in_words, in_words, long_date
from app.requests.wordings import PAPERS, PLACES, filled, unknown_places

NUMBERS = {
    0: "nol", 1: "satu", 10: "sepuluh", 11: "sebelas", 12: "dua belas", 19: "sembilan belas",
    20: "dua puluh", 21: "dua puluh satu", 100: "seratus", 101: "seratus satu",
    115: "seratus lima belas", 200: "dua ratus", 1000: "seribu", 1001: "seribu satu",
    1100: "seribu seratus", 2026: "dua ribu dua puluh enam", 11_000: "sebelas ribu",
    100_000: "seratus ribu", 1_000_000: "satu juta", 1_001_000: "satu juta seribu",
    2_500_000: "dua juta lima ratus ribu", 1_000_000_000: "satu miliar",
    3 * 10**12: "tiga triliun",
}  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_in_words(number):
    assert in_words(number) == NUMBERS[number]


@pytest.mark.parametrize("number", [-1, 10**15])
def test_what_is_beyond_papers_is_refused(number):
    with pytest.raises(ValueError, match="papers"):
        in_words(number)


def test_days_in_words():
    day = date(2026, 11, 26)
    assert long_date(day) == "26 November 2026"
    assert day_in_words(day) == (
        "hari Kamis tanggal dua puluh enam bulan November tahun dua ribu dua puluh enam"
    )


def test_the_first_wordings_name_known_places_alone():
    for paper in PAPERS.values():
        for text in (paper.title, paper.opening, paper.closing):
            assert unknown_places(text) == []
    assert unknown_places("{nama} {tanggal}") == ["nama"]


def test_places_are_filled_and_nothing_else_is():
    values = dict.fromkeys(PLACES, "{tanggal}")
    assert filled("{pemohon} {lain} {pemohon.__class__}", values) == (
        "{tanggal} {lain} {pemohon.__class__}"
    )
