"""Files sent from pages: where they arrive, and that what is said of them is read."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.browser import CHROMIUM
from tests import pki
from tests.browser.hands import at, press
from tests.unit.test_inspection import picture

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    pytest.mark.timeout(240),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def chief() -> pki.Identity:
    return pki.person("Kepala Dinas", pki.authority())


def send(page, field: str, name: str, content: bytes, button: str) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files(field, files=[file])
    with page.expect_navigation():
        page.get_by_role("button", name=button, exact=True).click()


def test_a_file_arrives_at_its_document_and_is_told_of(enter, office):
    page = enter("operator.dinkes@kantor.test")
    page.goto(at(office, "/requests/new"))
    page.fill("#title", "Uji berkas")
    page.fill("#purpose", "Satu data")
    press(page, "Lanjut ke dokumen")
    page.wait_for_url("**/requests/*-*")
    page.goto(f"{page.url}/documents/letter")
    send(page, "#file", "surat.pdf", picture("PDF"), "Kirim berkas")
    assert page.url.endswith("/documents/letter")
    assert "surat.pdf" in page.inner_text("#files")
    assert "Berkas telah dilampirkan" in page.inner_text("body")

    send(page, "#file", "surat.pdf", b"<html>", "Kirim berkas")
    assert "Hanya PDF" in page.inner_text("body")


def test_a_signed_paper_comes_back(enter, office, chief):
    page = enter()
    page.goto(at(office, "/papers/"))
    page.locator("main a.row-link").first.click()
    shown = page.url
    with page.expect_download() as loaded:
        page.locator("main a.btn", has_text="Unduh").first.click()
    issued = loaded.value.path().read_bytes()
    with ThreadPoolExecutor(1) as pool:  # signing has an event loop of its own
        signed = pool.submit(chief.sign, issued).result()
    page.goto(at(office, "/papers/"))
    send(page, "#files", "kembali.pdf", signed, "Kirim berkas")
    assert "yang diterima: 1" in page.inner_text("body")
    page.goto(shown)
    assert "Kepala Dinas" in page.inner_text("main")
