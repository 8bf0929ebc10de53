"""What a preview hides, and what it shows: by samples as agencies' services send them."""

import csv
import json
from pathlib import Path

import pytest

from app.connectors.masking import mask, masked_json, personal_paths
from demo.civil_servants import civil_servants

REGIONS = Path(__file__).parents[2] / "demo" / "regions.csv"


@pytest.mark.parametrize(
    "text",
    ["1471010203800012", "09.254.294.3-407.000", "081234567890", "+62 812-3456-7890",
     "warga@riau.go.id", "198001012005011001", "19800101 200501 1 001"],
)  # fmt: skip
def test_numbers_of_persons_are_masked_wherever_they_stand(text):
    assert text not in mask("keterangan", f"lihat {text} ya")
    assert text not in masked_json(
        {"a": [{"b": f"x {text}"}], "c": json.dumps({"d": text})}
    )


def test_a_key_is_masked_by_its_name():
    assert "kunci" not in mask("access_token", "kunci")


@pytest.mark.parametrize(
    "name", ["no_hp", "tgl_lahir", "email", "noRekening", "No. HP", "nik"]
)
def test_fields_of_persons_are_masked_whatever_they_hold(name):
    assert "tak baku" not in masked_json([{"id": 1, name: "tak baku"}])


def regions():
    with REGIONS.open() as file:
        return list(csv.DictReader(file))


def test_regions_are_shown():
    rows = regions()

    assert not list(personal_paths(rows))
    assert json.loads(masked_json(rows)) == [*rows[:5], "…"]


def test_civil_servants_are_masked_and_their_posts_are_shown():
    rows = list(civil_servants(40))
    personal = set(personal_paths(rows))
    shown = masked_json(rows)

    assert {"nip", "nama", "tanggal_lahir"} <= personal
    assert not {"jabatan", "golongan", "unit_kerja", "gaji_pokok"} & personal
    assert not any(row["nama"] in shown for row in rows)
    assert rows[0]["jabatan"] in shown


SHOWN = {
    "agencies": [
        {"id": 1, "nama": "Dinas Kesehatan Kota Dumai", "alamat": "Jl. Sudirman 12"},
        {"id": 2, "nama": "Badan Pusat Statistik", "alamat": "Jl. Diponegoro 3"},
    ],
    "villages": [
        {"kode": "14.71.01.1001", "nama": "Sukajadi", "level": 4, "lat": 0.5, "lon": 101.4},
        {"kode": "14.71.01.1002", "nama": "Kampung Tengah", "level": 4, "lat": 0.5, "lon": 101.4},
        {"kode": "14.71.01.1003", "nama": "Jadirejo", "level": 4, "lat": 0.5, "lon": 101.4},
    ],
    "short": [{"id": 1, "name": "Sukajadi"}, {"id": 2, "name": "Bangkinang"}],
    "statistics": [
        {"nama": "Pekanbaru", "jenis_kelamin": "L", "jumlah": 510_000, "jumlah_kk": 250_000},
        {"nama": "Dumai", "jenis_kelamin": "P", "jumlah": 160_000, "jumlah_kk": 80_000},
    ],
    "schools": [{"npsn": "10494550", "nama_sekolah": "SMA Negeri 8", "status": "N", "x": 1}],
    "nested": [{"id": 1, "wilayah": {"kode": "14", "nama": "Riau"}, "a": 1, "b": 2}],
    "posts": [{"kode": "1", "nama_jabatan": "Kepala Dinas", "eselon": "II.a", "kelas": 14}],
}  # fmt: skip


@pytest.mark.parametrize("kind", SHOWN)
def test_what_is_nobodys_is_shown(kind):
    assert json.loads(masked_json(SHOWN[kind])) == SHOWN[kind]


MASKED = {
    "staff": [{"nip": "198001012005011001", "nama": "Samiah", "jabatan": "Camat"}],
    "patients": [{"no_rm": "00123", "nama": "Dacin Utama", "tgl_lahir": "1990-01-02",
                  "alamat": "Jl. Melati 5"}],
    "contacts": [{"id": 1, "nama": "Siti Aminah"}, {"id": 2, "nama": "Muhammad Yusuf"}],
    "titles": [{"id": 1, "nama": "Rosnaniar, S.Pd."}, {"id": 2, "nama": "Hj. Zubaidah"}],
    "heads": [{"kode": "14.71", "wilayah": "Pekanbaru", "kepala_dinas": "Drs. H. Syafrizal"}],
    "named": [{"kode": "1", "nama_lengkap": "Lili Bahuraksa"}],
    "nested": [{"id": 1, "pegawai": {"id": 7, "nama": "Bahuraksa"}}],
    "camel": [{"id": 1, "namaPegawai": "Bahuraksa"}],
    "pay": [{"kode": "1", "nama": "Bahuraksa", "jabatan": "Camat", "jumlah_gaji": 1, "x": 2}],
    "unknown": [{"a": 1, "b": 2, "c": 3, "d": 4, "nama": "Bahuraksa"}],
}  # fmt: skip
TOLD = ["Samiah", "Dacin Utama", "Melati", "Siti Aminah", "Muhammad Yusuf", "Rosnaniar",
        "Zubaidah", "Syafrizal", "Bahuraksa", "198001012005011001"]  # fmt: skip


@pytest.mark.parametrize("kind", MASKED)
def test_what_is_a_persons_is_masked(kind):
    shown = masked_json({"data": MASKED[kind]})

    assert list(personal_paths(MASKED[kind]))
    assert not any(word in shown for word in TOLD)


@pytest.mark.parametrize(
    "value",
    [[], {}, None, "x", 5, [[1, [2]]], [{"": 1}], [{"nama": None}], [{"nama": ["a"]}],
     [{"nama": {"nama": {"nama": {}}}}], {"a": [1, {"b": 2}]}],
)  # fmt: skip
def test_odd_answers_do_no_harm(value):
    assert masked_json(value) or value == []
    assert list(personal_paths(value if isinstance(value, list) else [value])) is not None
