"""What the pages' own scripts do, in a real browser: files that are refused, a fast typer,
a menu that stays on its page, a log-in that ended elsewhere."""

from playwright.sync_api import expect

from app.identity.passwords import hash_of
from tests import make
from tests.web import test_keys_in_a_browser as browser
from tests.web.conftest import PASSWORD

address, page, pytestmark = browser.address, browser.page, browser.pytestmark


def log_in(page):
    """Log an administrator of the system in."""
    browser._log_in(page, make.make_user("SYSADMIN", password=hash_of(PASSWORD)))
    expect(page.locator("summary.person")).to_be_visible()


def send(page, name, content):
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Kirim berkas").click()


def test_why_a_file_is_refused_is_said_and_another_one_is_taken(page):
    log_in(page)
    page.goto("/imports/?listed=agencies")
    send(page, "rusak.xlsx", b"PK\x03\x04")
    expect(page.locator(".alert-danger")).to_contain_text("rusak")
    send(page, "baik.csv", f"Kode;Nama\n{make.word('k')};Dinas\n".encode())
    expect(page.locator("h1")).to_have_text("baik.csv")


def test_who_types_faster_than_the_palette_answers_opens_what_they_typed(page):
    log_in(page)
    page.route(
        "**/find/part*", lambda route: (page.wait_for_timeout(300), route.continue_())
    )
    page.keyboard.press("Control+k")
    page.keyboard.type("tempat sampah")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Tempat sampah")


def test_the_persons_menu_stays_on_its_page(page):
    log_in(page)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto("/account/")
        page.click("summary.person")
        box = page.locator(".person-menu > .card").bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width


def test_a_log_in_that_ended_elsewhere_is_asked_for_and_not_shown_inside_a_part(page):
    log_in(page)
    other = page.context.new_page()
    other.goto("/account/")
    browser._log_out(other)
    page.keyboard.press("Control+k")
    page.keyboard.type("a")
    expect(page.locator("h1")).to_have_text("Masuk")
    expect(page.locator("dialog")).to_have_count(0)
