"""A real browser sets up an authenticator app and passkeys, under our own CSP."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from flask import current_app
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from app.identity.passwords import hash_of
from app.web.extensions import limiter
from tests import make
from tests.web.conftest import PASSWORD

expect.set_options(timeout=15_000)  # the machine may be busy
CHROMIUM = os.environ.get("SIMPUL_CHROMIUM", "/usr/bin/chromium")
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def address(app):
    """The application behind a real port; passkeys want a name, not a number."""
    limiter.reset()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    app.config["WTF_CSRF_ENABLED"] = True
    yield f"http://localhost:{server.server_port}"
    app.config["WTF_CSRF_ENABLED"] = False
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(address):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_context(base_url=address, locale="id-ID").new_page()
        complaints: list[str] = []
        opened.on(
            "console", lambda m: complaints.append(m.text) if m.type == "error" else None
        )
        opened.on("dialog", lambda dialog: dialog.accept())
        yield opened
        assert complaints == []
        browser.close()


@pytest.fixture
def person(app):
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


def _authenticator(page: Page, *, knows_owner: bool = True) -> None:
    """Give the browser a key of its own, by Chromium's virtual authenticator."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
        "hasUserVerification": True, "isUserVerified": knows_owner,
        "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def _log_in(page: Page, person) -> None:
    page.goto("/login")
    page.fill("input[name=email]", person.email)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")


def _log_out(page: Page) -> None:
    page.click("summary.person")
    page.get_by_role("button", name="Keluar").click()
    expect(page.locator("h1")).to_have_text("Masuk")


def _add_passkey(page: Page, usage: str) -> None:
    page.goto("/wan-register")
    page.fill("#name", f"Laptop {usage}")
    page.check(f"#usage-{usage}")
    page.get_by_role("button", name="Tambah").click()
    expect(page.locator("table")).to_contain_text(f"Laptop {usage}")


def test_a_passkey_logs_in_by_itself(page, person):
    _authenticator(page)
    _log_in(page, person)
    _add_passkey(page, "first")
    _log_out(page)

    page.get_by_role("link", name="Masuk dengan kunci sandi").click()
    page.get_by_role("button", name="Pakai kunci sandi").click()

    expect(page.locator("summary.person")).to_contain_text(person.name)
    page.goto("/wan-register")
    page.get_by_role("button", name="Cabut").click()
    expect(page.locator(".alert")).to_contain_text("telah dicabut")


def test_a_passkey_is_a_second_factor(page, person):
    _authenticator(page)
    _log_in(page, person)
    _add_passkey(page, "secondary")
    _log_out(page)

    _log_in(page, person)
    expect(page.locator("h1")).to_have_text("Masuk dengan kunci sandi")
    page.get_by_role("button", name="Pakai kunci sandi").click()

    expect(page.locator("summary.person")).to_contain_text(person.name)


def test_a_key_that_is_called_off_is_told_in_words(page, person):
    _log_in(page, person)
    page.add_init_script(
        "navigator.credentials.create = () => Promise.reject(new Error('called off'))"
    )
    page.goto("/wan-register")
    page.fill("#name", "Token")
    page.get_by_role("button", name="Tambah").click()

    expect(page.locator("[data-passkey-failed]")).to_be_visible()


def _code(app, key: str) -> str:
    with app.app_context():
        factory = current_app.extensions["security"].totp_factory._totp
        return factory(key=re.sub(r"\W", "", key)).generate(time.time()).token


def test_an_authenticator_app_is_set_up_by_a_picture(app, page, person):
    _log_in(page, person)
    page.goto("/tf-setup")
    page.get_by_role("button", name="Atur aplikasi autentikator").click()
    picture = page.locator("img.qr")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")

    page.fill("#code", _code(app, page.locator("code").inner_text()))
    page.get_by_role("button", name="Periksa kode").click()
    page.get_by_role("button", name="Buat kode pemulihan").click()

    expect(page.locator(".recovery-codes li")).to_have_count(8)
    code = page.locator(".recovery-codes li").first.inner_text()
    page.goto("/")
    _log_out(page)
    _log_in(page, person)
    page.get_by_role("link", name="Pakai kode pemulihan").click()
    page.fill("#code", code)
    page.press("#code", "Enter")
    expect(page.locator("summary.person")).to_contain_text(person.name)
