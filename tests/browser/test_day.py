"""A day in the office, in a real browser: finding, narrowing, changing, bringing in, putting
back, two at once; on a desktop and on a phone, in both languages, light and dark."""

import io
import re
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Page, expect

from ops.browser import CHROMIUM, VIEWS
from tests import make
from tests.browser.hands import at, press

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    pytest.mark.timeout(240),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def table(*rows) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def bring_in(page: Page, office, content: bytes) -> None:
    page.goto(at(office, "/imports/?listed=agencies"))
    file = {"name": "opd.xlsx", "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files("#file", files=[file])
    press(page, "Kirim berkas")
    page.wait_for_url("**/imports/*-*")
    press(page, "Lihat apa yang akan terjadi")
    page.wait_for_selector(".figures")


def figures(page: Page) -> list[str]:
    return page.locator(".figures strong").all_inner_texts()


def test_anything_is_found_and_opened_by_keys_alone(enter, office):
    page = enter()
    page.keyboard.press("Control+k")
    page.keyboard.type("pegawai negeri", delay=15)
    expect(page.locator("#palette-found a.at")).to_contain_text(
        "Data Pegawai Negeri Sipil"
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/datasets/pegawai")
    page.keyboard.press("/")
    expect(page.locator("dialog.palette")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.palette")).to_be_hidden()


def test_a_list_is_narrowed_and_kept_as_a_view(enter, office):
    page, name = enter(), make.word("tampilan ")
    page.goto(at(office, "/users/"))
    page.click("summary:has-text('Saringan')")
    press(page, "Tambah saringan")
    page.select_option("select[name=f]", "job_title")
    page.wait_for_url("**job_title**")
    page.fill("input[name=v]", "auditor")
    press(page, "Terapkan")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.click("summary:has-text('Tampilan')")
    page.fill("input[name=name]", name)
    press(page, "Simpan tampilan ini")
    expect(page.locator(".alert-success")).to_contain_text(name)
    page.goto(at(office, "/users/"))
    page.click("summary:has-text('Tampilan')")
    page.click(f"a:has-text('{name}')")
    expect(page.locator("[data-row]")).to_have_count(1)


def test_a_table_with_three_faults_comes_back_coloured_and_goes_in_mended(enter, office):
    page, word = enter(), make.word("hari")
    heads = ("Kode", "Nama", "Aktif")
    good = (f"{word}-1", f"Dinas {word} Satu", "ya")
    wrong = [(f"{word}-2", "", "ya"), (f"{word}-3", f"Badan {word}", "entah"), good]
    bring_in(page, office, table(heads, good, *wrong))
    assert figures(page) == ["1", "0", "0", "3"]
    with page.expect_download() as waiting:
        page.click("text=Unduh berkas saya dengan catatan")
    sheet = openpyxl.load_workbook(
        io.BytesIO(Path(waiting.value.path()).read_bytes())
    ).active
    assert [bool(sheet.cell(n, 4).value) for n in (2, 3, 4, 5)] == [
        False,
        True,
        True,
        True,
    ]
    mended = [
        (f"{word}-2", f"Dinas {word} Dua", "ya"),
        (f"{word}-3", f"Badan {word}", "tidak"),
    ]
    bring_in(page, office, table(heads, good, *mended))
    assert figures(page) == ["3", "0", "0", "0"]
    press(page, "Masukkan 3 baris")
    expect(page.locator(".alert-success")).to_contain_text("3 ditambahkan")

    # All three are changed at once, and the whole change is put back at once.
    page.goto(at(office, f"/agencies/?search={word}"))
    page.check("#choose-page")
    page.click("[data-some]")
    page.fill("[name=to-phone]", "0761 999")
    page.fill("#reason", "pindah gedung")
    press(page, "Ubah 3 baris")
    expect(page.locator(".alert-success")).to_contain_text("Diubah: 3 baris")
    page.click(f"a.row-link:has-text('{word}-1')")
    page.locator(".history >> text=Semua dari permintaan ini").first.click()
    page.locator("main a:has-text('Kembalikan')").first.click()
    page.fill("[name=reason]", "ternyata tidak pindah")
    page.locator("main form button:has-text('Kembalikan')").last.click()
    expect(page.locator(".alert-success")).to_be_visible()
    page.goto(at(office, f"/agencies/?search={word}&cols=code&cols=phone"))
    assert "0761 999" not in page.inner_text("table")


def test_a_cell_is_changed_in_its_place_and_the_second_of_two_is_told(enter, office):
    word = make.word("sel")
    first, second = enter(), enter("sistem@kantor.test")
    bring_in(first, office, table(("Kode", "Nama"), (word, f"Dinas {word}")))
    press(first, "Masukkan 1 baris")
    listed = at(office, f"/agencies/?search={word}&cols=code&cols=phone")
    for page in (first, second):
        page.goto(listed)
    for page, text in ((first, "111"), (second, "222")):
        page.hover("[data-row]")
        page.click("[data-cell=phone] [data-edit-cell]")
        page.fill("[data-editing]", text)
        page.keyboard.press("Enter")
    expect(first.locator("[data-cell=phone] [data-shown]")).to_have_text("111")
    expect(second.locator(".cell-said")).to_contain_text("orang lain telah mengubahnya")
    expect(second.locator("[data-cell=phone]")).to_contain_text("111")


def test_two_in_one_form_lose_no_word(enter, office):
    word = make.word("dua")
    first, second = enter(), enter("sistem@kantor.test")
    bring_in(first, office, table(("Kode", "Nama"), (word, f"Dinas {word}")))
    press(first, "Masukkan 1 baris")
    for page in (first, second):
        page.goto(at(office, f"/agencies/?search={word}"))
        page.click("[data-row] .row-actions a")
        page.wait_for_url("**/agencies/edit/**")
    first.fill("#phone", "111")
    press(first, "Simpan")
    first.wait_for_url("**/agencies/**")
    second.fill("#phone", "222")
    second.fill("#address", "Jalan Baru")
    press(second, "Simpan")
    expect(second.locator(".merge")).to_contain_text("111")
    second.check(".collision input[value=mine]")
    press(second, "Simpan")
    second.wait_for_load_state()
    second.goto(at(office, f"/agencies/?search={word}&cols=code&cols=phone&cols=address"))
    shown = second.inner_text("table")
    assert "222" in shown
    assert "Jalan Baru" in shown


def test_on_a_phone_in_the_dark_in_english(enter, office):
    page = enter(view=VIEWS[3])
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    page.click(".person-menu > summary")
    page.click("button[name=language]")
    expect(page.locator("h1")).to_contain_text("Good day")
    page.click(".menu-button")
    page.click("#menu >> text=Agencies")
    expect(page.locator("h1")).to_have_text("Agencies")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click(".person-menu > summary")
    page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "light"
    page.click("button[name=language]")


@pytest.mark.parametrize(
    ("email", "sees", "not_"),
    [
        ("kadis@kantor.test", "Kontrak", "Kantor"),
        ("teknis@kantor.test", "Sumber", "Kantor"),
        ("auditor@kantor.test", "Jejak audit", "Surel keluar"),
        ("sistem@kantor.test", "Pengguna", "Karantina"),
        ("operator.bkd@kantor.test", "Himpunan data", "Perangkat daerah"),
    ],
)
def test_each_role_finds_its_own_menu_and_no_other(enter, office, email, sees, not_):
    page = enter(email)
    menu = page.locator("#menu a").all_inner_texts()
    names = {re.sub(r"\s*\d[\d.]*.*", "", each).strip() for each in menu}
    assert sees in names
    assert not_ not in names
    for link in page.locator("#menu li a").evaluate_all("all => all.map(a => a.href)"):
        answer = page.goto(link)
        assert answer.status == 200, link
