"""Numbers and days in words, as official papers have them: Indonesian alone."""

from datetime import date

MONTHS = (
    "Januari", "Februari", "Maret", "April", "Mei", "Juni", "Juli", "Agustus", "September",
    "Oktober", "November", "Desember",
)  # fmt: skip
WEEKDAYS = ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu")
_ONES = (
    "", "satu", "dua", "tiga", "empat", "lima", "enam", "tujuh", "delapan", "sembilan",
    "sepuluh", "sebelas",
)  # fmt: skip
_SCALES = (
    (10**12, "triliun"), (10**9, "miliar"), (10**6, "juta"), (1000, "ribu"), (100, "ratus"),
)  # fmt: skip


def in_words(number: int) -> str:
    """Return a whole number from 0 to under 10**15 in words ("terbilang")."""
    if not 0 <= number < 10**15:
        raise ValueError("no number that papers write in words")
    return _words(number) or "nol"


def _words(number: int) -> str:
    if number < 12:
        return _ONES[number]
    if number < 20:
        return f"{_ONES[number - 10]} belas"
    if number < 100:
        return f"{_ONES[number // 10]} puluh {_ONES[number % 10]}".strip()
    for scale, name in _SCALES:
        if number >= scale:
            many, rest = divmod(number, scale)
            # One hundred and one thousand are written together, the greater ones are not.
            head = (
                f"se{name}" if many == 1 and scale <= 1000 else f"{_words(many)} {name}"
            )
            return f"{head} {_words(rest)}".strip()
    raise AssertionError(number)


def long_date(day: date) -> str:
    """Return 26 November 2026."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def day_in_words(day: date) -> str:
    """Return a day as minutes begin with it: "hari Kamis tanggal dua puluh enam bulan …"."""
    return (
        f"hari {WEEKDAYS[day.weekday()]} tanggal {in_words(day.day)}"
        f" bulan {MONTHS[day.month - 1]} tahun {in_words(day.year)}"
    )
