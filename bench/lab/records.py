"""Made-up civil servants: 10 fields, the same for everybody who is measured."""

import json
from collections.abc import Iterator
from typing import Any

PAGE_SIZE = 5_000
FIELDS = (
    ("nip", "text"), ("nama", "text"), ("jk", "text"), ("lahir", "date"), ("gol", "text"),
    ("jabatan", "text"), ("unit", "text"), ("wil", "text"), ("gaji", "number"),
    ("aktif", "boolean"),
)  # fmt: skip
# A variant is what the service answers at one moment: changed or not, with bad records or not.
VARIANTS = ("base", "changed", "base-bad", "changed-bad")


def record(number: int, variant: str) -> dict[str, Any]:
    """Return one record. Every 100th differs in *changed*, every 100th is broken in *bad*."""
    changed = variant.startswith("changed") and number % 100 == 0
    bad = variant.endswith("bad") and number % 100 == 50
    return {
        "nip": f"{19700101 + number % 300_000:08d}{number:010d}",
        "nama": f"Nama Orang {number}{' Baru' if changed else ''}",
        "jk": "L" if number % 2 else "P",
        "lahir": "1980-13-45" if bad else f"1980-05-{number % 28 + 1:02d}",
        "gol": "III/a",
        "jabatan": "Analis Kebijakan",
        "unit": f"Dinas Kesehatan {number % 40}",
        "wil": "14.71.01",
        "gaji": 4_500_000.25 + number,
        "aktif": number % 3 > 0,
    }


def page(number: int, total: int, variant: str) -> bytes:
    """Return the body of a page, counted from 0."""
    first = number * PAGE_SIZE
    records = [record(i, variant) for i in range(first, min(first + PAGE_SIZE, total))]
    return json.dumps({"data": records, "total": total}).encode()


def all_records(total: int) -> Iterator[dict[str, Any]]:
    for number in range(total):
        yield record(number, "base")
