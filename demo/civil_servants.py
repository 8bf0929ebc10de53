"""Synthetic civil servants of the demo agency, with known faults at known places.

Every person here is made up. The same arguments always give the same records, so that a
test can state exact numbers: see ``expected_faults`` and ``expected_changes``.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

DEFAULT_COUNT = 5_000
_SEED = 20_260_101
_FIRST_FAULT = 50  # the first faulty record
_FAULT_STEP = 117  # and one more every so many records
_KEEP_FREE = 3  # records before a faulty one that generations leave alone

# How many records of each fault the first 5,000 records hold, in a fixed round.
FAULT_COUNTS: Mapping[str, int] = {
    "nip_17_digits": 5,
    "nip_letters": 4,
    "missing_field": 6,  # no "nama"
    "nip_number": 5,  # the NIP as a JSON number
    "gaji_text": 7,  # "Rp 4.500.000"
    "invalid_date": 4,  # tanggal_lahir 1990-02-30
    "exact_duplicate": 6,  # the record before it once more
    "conflicting_duplicate": 4,  # its NIP with another jabatan and gaji_pokok
}

_MEN = [
    "Ahmad",
    "Budi",
    "Dedi",
    "Eko",
    "Fajar",
    "Gunawan",
    "Hendra",
    "Irwan",
    "Joko",
    "Khairul",
    "Lukman",
    "Muhammad",
    "Nasrul",
    "Oki",
    "Putra",
    "Rahmat",
    "Syafrizal",
    "Taufik",
    "Umar",
    "Wahyu",
    "Yusuf",
    "Zulkifli",
    "Suparman",
    "Ma'ruf",
    "Syarifuddin",
]
_WOMEN = [
    "Aisyah",
    "Bunga",
    "Citra",
    "Dewi",
    "Elvi",
    "Fitri",
    "Gusti",
    "Hartati",
    "Indah",
    "Jamilah",
    "Kartika",
    "Lestari",
    "Mega",
    "Nur'aini",
    "Oktavia",
    "Putri",
    "Ratna",
    "Sri",
    "Tuti",
    "Ulfa",
    "Vina",
    "Wulan",
    "Yenni",
    "Zahara",
    "Nurhayati",
]
_LAST = [
    "Santoso",
    "Siregar",
    "Nasution",
    "Saputra",
    "Harahap",
    "Wijaya",
    "Lubis",
    "Hidayat",
    "Ritonga",
    "Simanjuntak",
    "Pratama",
    "Kurniawan",
    "Tanjung",
    "Marbun",
    "Setiawan",
    "Hasibuan",
    "Firdaus",
    "Rambe",
    "Utami",
    "Daulay",
    "Sa'adah",
    "Anwar",
    "Piliang",
    "Chaniago",
    "Mulyadi",
    "Syahputra",
    "Rahayu",
    "Effendi",
    "Zein",
    "Alfarisi",
]
_DEGREES = (
    "", "", "", ", S.Kom.", ", S.Kom., M.T.", ", S.E.", ", S.Pd.", ", S.H., M.H.", ", A.Md.",
    ", S.Sos., M.Si.", ", S.T.", ", S.K.M.",
)  # fmt: skip
# golongan: pangkat and a plausible basic pay in rupiah
_GRADES: Mapping[str, tuple[str, int]] = {
    "II/a": ("Pengatur Muda", 2_184_000),
    "II/b": ("Pengatur Muda Tingkat I", 2_385_000),
    "II/c": ("Pengatur", 2_485_900),
    "II/d": ("Pengatur Tingkat I", 2_591_100),
    "III/a": ("Penata Muda", 2_785_700),
    "III/b": ("Penata Muda Tingkat I", 2_903_600),
    "III/c": ("Penata", 3_026_400),
    "III/d": ("Penata Tingkat I", 3_154_400),
    "IV/a": ("Pembina", 3_287_800),
    "IV/b": ("Pembina Tingkat I", 3_426_900),
    "IV/c": ("Pembina Utama Muda", 3_571_900),
}
_POSTS = (
    "Analis Kebijakan Ahli Muda", "Pranata Komputer Ahli Pertama", "Pengadministrasi Umum",
    "Arsiparis Terampil", "Guru Ahli Madya", "Perawat Terampil", "Statistisi Ahli Pertama",
    "Bendahara Pengeluaran", "Kepala Subbagian Umum", "Pengelola Data",
)  # fmt: skip
_UNITS = (
    "Dinas Pendidikan", "Dinas Kesehatan", "Dinas Perhubungan", "Dinas Sosial",
    "Badan Kepegawaian Daerah", "Badan Pendapatan Daerah", "Inspektorat Daerah",
    "Dinas Komunikasi, Informatika dan Statistik", "Sekretariat Daerah", "RSUD Arifin Achmad",
)  # fmt: skip
_REGIONS = tuple(f"14.{number:02d}" for number in (*range(1, 11), 71, 72))

Record = dict[str, object]


def civil_servants(count: int = DEFAULT_COUNT, generation: int = 1) -> list[Record]:
    """``count`` records as the agency has them in its ``generation``-th state (from 1).

    Each later generation raises the pay of 1 % of the records and removes 1 in 1,000;
    faulty records stay as they are. Fewer records are therefore returned from 2 on.
    """
    records = _people(count)
    kinds = fault_positions(count)
    for position, kind in kinds.items():
        _FAULTS[kind](records, position)
    changed, removed = _changes(count, generation)
    for position, steps in changed.items():
        pay = records[position]["gaji_pokok"]
        if isinstance(pay, Decimal):
            records[position]["gaji_pokok"] = pay + steps * Decimal("100000.50")
    return [record for position, record in enumerate(records) if position not in removed]


def fault_positions(count: int = DEFAULT_COUNT) -> dict[int, str]:
    """Which record (from 0, of generation 1) has which fault."""
    left = Counter(FAULT_COUNTS)
    kinds: list[str] = []
    while +left:
        for kind in sorted(+left):
            kinds.append(kind)
            left[kind] -= 1
    places = ((_FIRST_FAULT + _FAULT_STEP * n, kind) for n, kind in enumerate(kinds))
    return {place: kind for place, kind in places if place < count}


def expected_faults(count: int = DEFAULT_COUNT) -> dict[str, int]:
    """How many of ``count`` records have each fault, in every generation."""
    return dict(Counter(fault_positions(count).values()))


def expected_changes(count: int = DEFAULT_COUNT, generation: int = 2) -> dict[str, int]:
    """Records that differ from generation 1 and records that are gone from it."""
    changed, removed = _changes(count, generation)
    return {"changed": len(changed.keys() - removed), "removed": len(removed)}


def _changes(count: int, generation: int) -> tuple[dict[int, int], set[int]]:
    """Positions with the number of raises, and positions removed, since generation 1."""
    faults = fault_positions(count)
    kept = {place - back for place in faults for back in range(_KEEP_FREE)}
    changed: Counter[int] = Counter()
    removed: set[int] = set()
    for step in range(2, min(generation, 100) + 1):
        changed.update(
            place for place in range(step % 100, count, 100) if place not in kept
        )
        removed.update(
            place for place in range(550 + step, count, 1_000) if place not in kept
        )
    return dict(changed), removed


def _people(count: int) -> list[Record]:
    dice = random.Random(_SEED)  # noqa: S311 (made-up people, no secret)
    taken: set[str] = set()
    return [_person(dice, number, taken) for number in range(count)]


def _person(dice: random.Random, number: int, taken: set[str]) -> Record:
    male = dice.random() < 0.5
    born = date(dice.randint(1967, 2000), dice.randint(1, 12), dice.randint(1, 28))
    start = date(born.year + dice.randint(20, 24), dice.choice((1, 3, 4, 12)), 1)
    grade = dice.choice(tuple(_GRADES))
    rank, pay = _GRADES[grade]
    name = _name(dice, male=male)
    plain = name.partition(",")[0].lower().replace("'", "").replace(" ", ".")
    return {
        "nip": _nip(born, start, "1" if male else "2", taken),
        "nama": name,
        "jenis_kelamin": "L" if male else "P",
        "tanggal_lahir": born.isoformat(),
        "pangkat": rank,
        "golongan": grade,
        "jabatan": dice.choice(_POSTS),
        "unit_kerja": dice.choice(_UNITS),
        "kode_wilayah": dice.choice(_REGIONS),
        "gaji_pokok": Decimal(pay + dice.randrange(0, 1_500_000, 100)).quantize(
            Decimal("1.00")
        ),
        "tmt": start.isoformat(),
        "aktif": dice.random() < 0.96,
        "email": f"{plain}.{number}@demo.riau.example",
    }


def _name(dice: random.Random, *, male: bool) -> str:
    first = dice.choice(_MEN if male else _WOMEN)
    last = "" if dice.random() < 0.12 else f" {dice.choice(_LAST)}"
    return first + last + dice.choice(_DEGREES)


def _nip(born: date, start: date, sex: str, taken: set[str]) -> str:
    stem = f"{born:%Y%m%d}{start:%Y%m}{sex}"
    serial = 1
    while (nip := f"{stem}{serial:03d}") in taken:
        serial += 1
    taken.add(nip)
    return nip


def _shorten(records: list[Record], place: int) -> None:
    records[place]["nip"] = str(records[place]["nip"])[:-1]


def _letters(records: list[Record], place: int) -> None:
    records[place]["nip"] = str(records[place]["nip"])[:14] + "ABCD"


def _drop_name(records: list[Record], place: int) -> None:
    del records[place]["nama"]


def _number(records: list[Record], place: int) -> None:
    records[place]["nip"] = int(str(records[place]["nip"]))


def _pay_text(records: list[Record], place: int) -> None:
    records[place]["gaji_pokok"] = "Rp 4.500.000"


def _bad_date(records: list[Record], place: int) -> None:
    records[place]["tanggal_lahir"] = "1990-02-30"


def _repeat(records: list[Record], place: int) -> None:
    records[place] = dict(records[place - 1])


def _contradict(records: list[Record], place: int) -> None:
    pay = Decimal("5000000.00")
    records[place] = records[place - 1] | {"jabatan": "Pelaksana", "gaji_pokok": pay}


_FAULTS: Mapping[str, Callable[[list[Record], int], None]] = {
    "nip_17_digits": _shorten,
    "nip_letters": _letters,
    "missing_field": _drop_name,
    "nip_number": _number,
    "gaji_text": _pay_text,
    "invalid_date": _bad_date,
    "exact_duplicate": _repeat,
    "conflicting_duplicate": _contradict,
}
