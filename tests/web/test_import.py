"""Bringing a table into a list: mapped, rehearsed, brought in, and given back with remarks."""

import io
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor

import openpyxl
import pytest
import sqlalchemy as sa
from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError

from app.audit.models import AuditEvent
from app.core import confined
from app.identity.models import Agency, User
from app.listings import importing, sheets
from app.listings.models import DataImport
from tests import make


def workbook(*rows, title=None) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    if title:
        book.active.title = title
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def send(client, content: bytes, *, listed="agencies", name="opd.xlsx"):
    form = {"listed": listed, "file": (io.BytesIO(content), name)}
    return client.post("/imports/", data=form, content_type="multipart/form-data")


def ident(answer) -> str:
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return answer.headers["Location"].rsplit("/", 1)[1]


def page(client, one: str) -> str:
    return client.get(f"/imports/{one}").get_data(as_text=True)


def look(client, one: str, **columns: int) -> str:
    client.post(f"/imports/{one}", data={f"col-{name}": n for name, n in columns.items()})
    return page(client, one)


def figures(text: str) -> list[int]:
    """Added, changed, as they were, wrong."""
    return [int(n) for n in re.findall(r"<strong>(\d+)</strong>", text)]


def agency(code: str) -> Agency | None:
    with make.session() as s:
        return s.scalars(sa.select(Agency).where(Agency.code == code)).first()


HEADS = ("Kode", "Nama", "Nama pendek", "Aktif")
ALL = {"code": 0, "name": 1, "short_name": 2, "active": 3}


def test_a_table_is_mapped_rehearsed_brought_in_and_changes_nothing_the_second_time(
    log_in, people
):
    client, word = log_in(people["SEMUA"]), make.word("impor")
    former = make.make_agency(code=f"{word}-1", name=f"Dinas {word} Lama")
    content = workbook(
        ["Daftar OPD"], [], HEADS,
        [f"{word}-1", f"Dinas {word} Baru", "DB", "ya"],
        [f"{word}-2", f"Badan {word}", "", "tidak"],
    )  # fmt: skip
    one = ident(send(client, content))
    first = page(client, one)
    assert f'<option value="1" selected>Nama – misalnya Dinas {word} Baru' in first
    seen = look(client, one, **ALL)
    assert figures(seen) == [1, 1, 0, 0]
    assert f"Dinas {word} Lama" in seen
    assert agency(f"{word}-2") is None, "a rehearsal leaves nothing"
    client.post(f"/imports/{one}/apply")
    assert figures(page(client, one)) == [1, 1, 0, 0]
    assert agency(f"{word}-1").name == f"Dinas {word} Baru"
    assert agency(f"{word}-2").active is False
    with make.session() as s:
        event = sa.select(AuditEvent).where(AuditEvent.object_id == str(former.id))
        assert (
            s.scalars(event.order_by(AuditEvent.id.desc())).first().reason
            == "berkas opd.xlsx"
        )
        count = s.scalar(sa.select(sa.func.count()).select_from(AuditEvent))
    again = ident(send(client, content))
    assert figures(look(client, again, **ALL)) == [0, 0, 2, 0]
    client.post(f"/imports/{again}/apply")
    with make.session() as s:
        assert s.scalar(sa.select(sa.func.count()).select_from(AuditEvent)) == count


def test_wrong_rows_stop_all_or_are_left_out_and_come_back_coloured(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("salah")
    content = workbook(
        HEADS,
        [f"{word}-1", f"Dinas {word}", "", "ya"],
        [f"{word}-2", "", "", "ya"],
        [f"{word}-3", f"Badan {word}", "", "mungkin"],
        [f"{word}-1", f"Lagi {word}", "", "ya"],
        [f"{word}-4", "=1+1", "", "ya"],
    )  # fmt: skip
    one = ident(send(client, content))
    seen = look(client, one, **ALL)
    assert figures(seen) == [1, 0, 0, 4]
    assert "tulis ya atau tidak" in seen
    assert "Baris 2 berisi hal yang sama." in seen
    client.post(f"/imports/{one}/apply")
    assert agency(f"{word}-1") is None
    assert "Tidak ada yang dimasukkan: 4 baris salah" in page(client, one)
    back = client.get(f"/imports/{one}/file")
    assert back.headers["Content-Disposition"] == "attachment; filename=opd-catatan.xlsx"
    sheet = openpyxl.load_workbook(io.BytesIO(back.data)).active
    assert [sheet.cell(n, 5).value is None for n in range(2, 7)] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert sheet.cell(1, 5).value == "Catatan Simpul"
    assert sheet.cell(4, 4).fill.start_color.rgb == sheets.WRONG
    assert sheet.cell(2, 1).fill.start_color.rgb != sheets.WRONG
    assert sheet.cell(6, 2).value == "=1+1", "their own file, as it was"
    client.post(f"/imports/{one}/apply", data={"only": "good"})
    assert agency(f"{word}-1").name == f"Dinas {word}"
    assert agency(f"{word}-3") is None
    # Mended in the file that came back, its remarks still in it, and sent again.
    sheet.cell(3, 2).value, sheet.cell(4, 4).value = f"Kantor {word}", "tidak"
    sheet.delete_rows(5, 2)
    file = io.BytesIO()
    sheet.parent.save(file)
    two = ident(send(client, file.getvalue()))
    assert figures(look(client, two, **ALL)) == [2, 0, 1, 0]


def test_all_that_is_wrong_with_a_row_is_told_at_once(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("dua")
    content = workbook((*HEADS, "Surel"), [f"{word}-1", "", "", "mungkin", "bukan surel"])
    seen = look(client, ident(send(client, content)), **ALL, email=4)
    for said in ("Nama: ", "Aktif: tulis ya atau tidak", "Surel: "):
        assert f"<div>{said}" in seen


def test_a_yes_or_no_that_is_not_filled_in_stays_as_it_is(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("kosong")
    make.make_agency(code=f"{word}-1", name=f"Dinas {word}", active=False)
    make.make_agency(code=f"{word}-2", name=f"Biro {word}", active=True)
    content = workbook(
        HEADS, *([f"{word}-{n}", f"Baru {word} {n}", "", ""] for n in (1, 2, 3))
    )
    one = ident(send(client, content))
    look(client, one, **ALL)
    client.post(f"/imports/{one}/apply")
    assert [agency(f"{word}-{n}").active for n in (1, 2, 3)] == [False, True, True]


def test_columns_that_nothing_is_read_from_are_named(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("lebih")
    heads = ("Kode", "Nama", "Kepala", "Catatan Simpul")
    one = ident(send(client, workbook(heads, [f"{word}-1", word, "Pak A", ""])))
    assert "tidak dibaca: Kepala." in page(client, one)


def test_a_csv_file_is_read_as_offices_write_it(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("csv")
    for n, text in enumerate((
        f"Kode;Nama\r\n{word}-0;Dinas é {word} 0\r\n".encode("cp1252"),
        f'\ufeffKode,Nama\n{word}-1,"Dinas, {word} 1"\n'.encode(),
        f"Kode\tNama\n{word}-2\tDinas {word} 2\n".encode("utf-16"),
    )):  # fmt: skip
        one = ident(send(client, text, name="opd.csv"))
        assert figures(look(client, one, code=0, name=1)) == [1, 0, 0, 0], n
        client.post(f"/imports/{one}/apply")
    assert agency(f"{word}-0").name == f"Dinas é {word} 0"
    assert agency(f"{word}-1").name == f"Dinas, {word} 1"
    assert agency(f"{word}-2").name == f"Dinas {word} 2"
    # A file of text comes back as a workbook in which nothing is a formula.
    bad = ident(send(client, f"Kode;Nama\n=cmd|x;\n{word};\n".encode(), name="opd.csv"))
    look(client, bad, code=0, name=1)
    sheet = openpyxl.load_workbook(
        io.BytesIO(client.get(f"/imports/{bad}/file").data)
    ).active
    assert (sheet["A2"].value, sheet["A2"].data_type) == ("=cmd|x", "s")


def test_related_objects_are_named_in_cells_and_only_ones_own_are_found(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("klien")
    mine = make.make_agency(code=word, name=f"Dinas {word}")
    content = workbook(
        ("Program", "Perangkat daerah", "Kontak"),
        (f"{word} a", word, "x"), (f"{word} b", f"dinas {word}", ""), (f"{word} c", "Dinas Khayal", ""),
    )  # fmt: skip
    one = ident(send(client, content, listed="api_clients"))
    seen = look(client, one, name=0, agency=1, contact=2)
    assert figures(seen) == [2, 0, 0, 1]
    assert "tidak ada pilihan “Dinas Khayal”" in seen
    assert mine.name in seen


def test_who_may_not_add_cannot_bring_in_and_nobody_sees_anothers_file(
    log_in, people, estates
):
    office = log_in(people["SEMUA"])
    one = ident(send(office, workbook(HEADS, ["a", "b", "", "ya"])))
    for email in (people["AUDITOR"], estates[0].operator):
        client = log_in(email)
        assert client.get("/imports/?listed=agencies").status_code == 404
        assert send(client, workbook(HEADS, ["a", "b", "", ""])).status_code == 404
        for path in ("", "/file"):
            assert client.get(f"/imports/{one}{path}").status_code == 404
        for path in ("", "/apply"):
            assert client.post(f"/imports/{one}{path}").status_code == 404
    assert log_in(people["SYSADMIN"]).get(f"/imports/{one}").status_code == 404
    with make.session() as s:
        assert s.get(DataImport, one) is None
    for listed in ("", "roles", "audit", "nothing", "schedules"):
        assert office.get(f"/imports/?listed={listed}").status_code == 404


def test_an_empty_table_to_fill_in_is_understood_at_once(log_in, people):
    client = log_in(people["SEMUA"])
    book = openpyxl.load_workbook(
        io.BytesIO(client.get("/imports/template?listed=agencies").data)
    )
    heads = [cell.value for cell in book.active[1]]
    assert heads[:4] == [*list(HEADS[:3]), "Surel"]
    one = ident(send(client, workbook(heads, [make.word(), make.word()])))
    client.post(f"/imports/{one}", data={})
    assert "Tentukan kolom yang berisi Kode" in page(client, one)


# What nobody's program writes ----------------------------------------------------------


def packed(parts: dict[str, bytes], *, times: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            for n in range(times):
                archive.writestr(name if n == 0 else f"{name}{n}", content)
    return file.getvalue()


def spoilt(old: bytes, new: bytes, part: str = "xl/worksheets/sheet1.xml") -> bytes:
    """A good workbook with other bytes in one of its parts."""
    parts = {}
    with zipfile.ZipFile(io.BytesIO(workbook(HEADS, ["a", "b", "", "ya"]))) as archive:
        for name in archive.namelist():
            parts[name] = archive.read(name)
    assert old in parts[part]
    parts[part] = parts[part].replace(old, new, 1)
    return packed(parts)


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
HOSTILE = {
    "nothing": b"",
    "text without a table": b"hanya sebuah kalimat",
    "old Excel": b"\xd0\xcf\x11\xe0" + b"\0" * 600,
    "picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    "cut off": workbook(HEADS, ["a", "b", "", "ya"])[:-200],
    "another archive": packed({"word/document.xml": b"<x/>"}),
    "bomb": packed({"xl/workbook.xml": b"\0" * 150_000_000}),
    "many parts": packed({"xl/workbook.xml": b"x"}, times=2_100),
    "laughs": spoilt(b"<worksheet", LAUGHS + b"<worksheet"),
    "outside entity": spoilt(b"<worksheet", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><worksheet'),
    "no worksheet": spoilt(b"<worksheet", b"<nothing"),
    "two of a name": workbook(("Kode", "kode"), ("a", "b")),
    "too many rows": workbook(HEADS, *[(str(n), str(n)) for n in range(sheets.MAX_ROWS + 1)]),
    "too many columns": workbook([f"k{n}" for n in range(150)], ["x"]),
    "giant cell": workbook(HEADS, ["a", "b" * 20_000]),
    "broken quotes": b'Kode;Nama\n"a;b\n',
    "binary as text": bytes(range(256)) * 4,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_table_is_refused_in_words(log_in, people, name):
    answer = send(log_in(people["SEMUA"]), HOSTILE[name])
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200, text
    said = re.search(r'role="alert">([^<]+)<', text)
    assert said
    assert said[1].strip().endswith(".")


def test_a_sheet_that_claims_a_million_rows_is_read_as_what_it_holds():
    content = spoilt(b'<dimension ref="A1:D2"', b'<dimension ref="A1:XFD1048576"')
    table = sheets.read(content)
    assert [line.cells for line in table.lines] == [["a", "b", "", "ya"]]


def test_a_child_that_needs_too_much_is_given_up_in_words(monkeypatch):
    monkeypatch.setattr(confined, "WAIT_SECONDS", 0.01)
    with pytest.raises(sheets.SheetRefusedError, match="memory or time"):
        sheets.read(workbook(HEADS, ["a", "b"]))


def test_no_file_is_asked_for_in_words(log_in, people):
    client = log_in(people["SEMUA"])
    answer = client.post("/imports/", data={"listed": "agencies"})
    assert "Pilih berkas dahulu" in answer.get_data(as_text=True)


def test_people_come_by_file_without_their_passwords(log_in, people):
    client = log_in(people["SEMUA"])
    form = client.get("/imports/?listed=users").get_data(as_text=True)
    assert (
        "Kata sandi"
        not in re.search(r"Kolom yang dikenali.*?</section>", form, re.DOTALL)[0]
    )
    word = make.word("orang")
    with make.session() as s:
        former = s.scalars(sa.select(User).where(User.email == people["AUDITOR"])).one()
    content = workbook(("Surel", "Jabatan"), (people["AUDITOR"].upper(), word))
    one = ident(send(client, content, listed="users"))
    assert figures(look(client, one, email=0, job_title=1)) == [0, 1, 0, 0]
    client.post(f"/imports/{one}/apply")
    with make.session() as s:
        after = s.get_one(User, former.id)
        assert (after.job_title, after.email) == (word, people["AUDITOR"])
        assert after.password == former.password


def test_who_presses_twice_brings_in_once_and_what_it_did_stays_told(app, log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("ganda")
    content = workbook(
        HEADS, *([f"{word}-{n}", f"{word} {n}", "", ""] for n in range(20))
    )
    one = ident(send(client, content))
    look(client, one, **ALL)
    clients = [client, log_in(people["SEMUA"])]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda c: c.post(f"/imports/{one}/apply"), clients))

    assert {each.status_code for each in answers} == {302}
    seen = look(client, one, **ALL)
    assert figures(seen) == [20, 0, 0, 0]
    assert "sudah dimasukkan" in seen
    with make.session() as s:
        found = sa.select(sa.func.count()).where(Agency.code.startswith(f"{word}-"))
        assert s.scalar(found) == 20


def test_of_two_who_wait_for_each_other_one_is_told_that_somebody_was_faster(
    log_in, people, monkeypatch
):
    client = log_in(people["SEMUA"])
    one = ident(send(client, workbook(HEADS, [make.word("kunci"), "x", "", ""])))
    look(client, one, **ALL)

    def dead(*_args, **_named):
        raise OperationalError("", {}, DeadlockDetected())

    monkeypatch.setattr(importing, "carry_out", dead)
    answer = client.post(f"/imports/{one}/apply")
    assert answer.status_code == 409
    assert "pada saat yang sama" in answer.get_data(as_text=True)


def test_the_file_that_came_back_goes_round_as_often_as_it_must(log_in, people):
    """Merged cells, odd signs, people's own notes beside the table: nothing stops or is lost."""
    client, word = log_in(people["SEMUA"]), make.word("putaran")
    book = openpyxl.load_workbook(
        io.BytesIO(workbook(HEADS, [f"{word}-1", "", "", "ya"], [f"{word}-2", "", "", "x"]))
    )  # fmt: skip
    sheet = book.active
    sheet["E2"] = "catatan saya"
    sheet.merge_cells("D5:G6")
    file = io.BytesIO()
    book.save(file)
    content = file.getvalue()
    for _round in range(3):
        one = ident(send(client, content))
        assert figures(look(client, one, **ALL))[3] == 2
        content = client.get(f"/imports/{one}/file").data
        sheet = openpyxl.load_workbook(io.BytesIO(content)).active
        heads = [cell.value for cell in sheet[1]]
        assert heads.count("Catatan Simpul") == 1
        assert sheet["E2"].value == "catatan saya"


def test_signs_that_no_workbook_holds_do_not_keep_the_remarks_back(log_in, people):
    client, word = log_in(people["SEMUA"]), make.word("sinyal")
    content = f"Kode,Nama,Nama pendek,Aktif\n{word},A\x01B\ufffeC,,mungkin\n".encode()
    one = ident(send(client, content, name="opd.csv"))
    look(client, one, **ALL)
    back = client.get(f"/imports/{one}/file")
    assert openpyxl.load_workbook(io.BytesIO(back.data)).active.cell(2, 2).value == "ABC"
