"""A whole case in a real browser, from the letter to the report, by all its people.

Returned once for a missing field, once not agreed to (loop A), once not fitting (loop B).
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS, DocumentKind
from app.requests.fields import flat_text
from app.requests.states import DUTIES, Role, Step
from ops.browser import CHROMIUM
from tests.browser.hands import at, press
from tests.town import filled

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    pytest.mark.timeout(600),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PEOPLE = {
    Role.OPD_OPERATOR: "operator.bkd", Role.OPD_PIMPINAN: "kepala.bkd", Role.TIM_TEKNIS: "teknis",
    Role.PENGAWAS_DATA: "data", Role.PENGAWAS_TI: "ti", Role.ADMINISTRATOR: "administrator",
    Role.PIMPINAN: "kadis",
}  # fmt: skip
SECOND = "teknis.dua"
APPROVE = re.compile("^Setujui sebagai ")


class Stage:
    """One case, and a browser for each of its people."""

    def __init__(self, enter, office) -> None:
        self._enter, self._office = enter, office
        self._pages: dict[str, Page] = {}
        self.case = ""

    def page(self, who: str) -> Page:
        if who not in self._pages:
            self._pages[who] = self._enter(f"{who}@kantor.test")
        return self._pages[who]

    def at_case(self, who: str) -> Page:
        page = self.page(who)
        page.goto(self.case)
        return page

    def begin(self) -> None:
        page = self.page("operator.bkd")
        page.goto(at(self._office, "/requests/new"))
        page.fill("#title", "Integrasi data pegawai, uji peramban")
        page.fill("#purpose", "Satu data kepegawaian")
        press(page, "Lanjut ke dokumen")
        page.wait_for_url("**/requests/*-*")
        self.case = page.url

    def step(self) -> str:
        return self.at_case("teknis").inner_text(".step-now h2")

    def write(self, who: str, kind: DocumentKind) -> None:
        """Fill a document in, row by row."""
        page = self.page(who)
        page.goto(f"{self.case}/documents/{kind}")
        for button in page.locator("[data-add-row]").all():
            rows = page.locator(f"#{button.get_attribute('data-add-row')} [data-row]")
            if rows.count() == 0:
                button.click()
        for name, value in flat_text(DOCUMENTS[kind], filled(DOCUMENTS[kind])).items():
            field = page.locator(f'[name="{name}"]')
            if field.get_attribute("type") == "checkbox":
                field.check()
            elif field.evaluate("each => each.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
        press(page, "Simpan")

    def submit(self, who: str, button: str = "Ajukan untuk disetujui") -> None:
        page = self.at_case(who)
        page.get_by_role("button", name=button, exact=True).click()
        page.wait_for_load_state()

    def explained(self, who: str, deed: str) -> None:
        """Do what needs a reason."""
        page = self.at_case(who)
        page.locator("details.deed", has_text=deed).first.locator("summary").click()
        deed_form = page.locator("details.deed[open]")
        deed_form.locator("select[name=reason]").select_option("other")
        deed_form.locator("textarea[name=note]").fill("Mohon diperbaiki sesuai catatan")
        deed_form.get_by_role("button").last.click()
        page.wait_for_load_state()

    def approve(self, step: Step) -> None:
        """Have everybody approve who is asked to; four eyes: not who submitted it."""
        for role in DUTIES[step].approved_by:
            who = SECOND if role is Role.TIM_TEKNIS else PEOPLE[role]
            page = self.at_case(who)
            page.get_by_role("button", name=APPROVE).first.click()
            page.wait_for_load_state()

    def propose(self, step: Step) -> None:
        (kind,) = STEP_DOCUMENTS[step]
        proposer = PEOPLE[min(DUTIES[step].proposed_by)]
        self.write(proposer, kind)
        self.submit(proposer)

    def pass_steps(self, *steps: Step) -> None:
        for step in steps:
            assert self.step().startswith(f"{step.number} ·"), self.step()
            self.propose(step)
            self.approve(step)
            if step is Step.INTERCHANGE_DOCUMENT:
                self.sign()

    def sign(self) -> None:
        """Have the interchange document come back as a scan, and somebody second attest it."""
        page = self.at_case("teknis")
        page.click("#papers a:has-text('Dokumen Interchange Data') >> nth=0")
        page.wait_for_load_state()
        with page.expect_download() as waiting:
            page.click("a[href$='/file']")
        page.set_input_files("#file", waiting.value.path())
        press(page, "Kirim pindaian")
        expect(page.locator("body")).to_contain_text("Pindaian diterima")
        second = self.page("data")
        second.goto(page.url)
        press(second, "Saya telah melihat tanda tangan pada naskah")
        expect(second.locator("main")).to_contain_text("sudah ditandatangani")


@pytest.fixture
def stage(enter, office) -> Stage:
    return Stage(enter, office)


def test_a_case_goes_from_the_letter_to_the_report(stage):
    stage.begin()
    four = (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER)
    for kind in four:
        stage.write("operator.bkd", kind)
    stage.submit("operator.bkd", "Ajukan")
    _return_for_a_field(stage)
    stage.submit("operator.bkd", "Ajukan")
    stage.approve(Step.FILE_CHECK)
    steps = [step for step in Step if step.number]
    stage.pass_steps(*steps[:2])
    stage.propose(Step.SCENARIO)
    stage.explained("kepala.bkd", "Tidak sepakat")
    stage.pass_steps(Step.DATA_DEFINITION, Step.SCENARIO)
    _choose_the_contract(stage)
    stage.pass_steps(*steps[3:10])
    stage.propose(Step.DASHBOARD)
    stage.explained("administrator", "Tidak sesuai")
    stage.pass_steps(*steps[2:])

    page = stage.at_case("operator.bkd")
    assert "1 · 1" in page.inner_text(".step-now")  # both loops once
    papers = page.locator("#papers tbody tr")
    # The receipt, three letters with reasons, and steps 1 and 2, 2 to 10, 3 to 12.
    expect(papers).to_have_count(1 + 3 + 2 + 9 + 10)
    _from_a_row_to_the_letter(page)


def _return_for_a_field(stage: Stage) -> None:
    page = stage.page("teknis")
    page.goto(f"{stage.case}/documents/letter")
    page.locator("details.remark-form").first.locator("summary").click()
    page.locator("details.remark-form[open] input").first.fill("Nomor surat belum benar")
    press(page, "Simpan catatan")
    stage.explained("teknis", "Kembalikan")
    agency = stage.page("operator.bkd")
    agency.goto(f"{stage.case}/documents/letter")
    assert "Nomor surat belum benar" in agency.inner_text("main")
    stage.write("operator.bkd", DocumentKind.LETTER)


def _choose_the_contract(stage: Stage) -> None:
    page = stage.at_case("teknis")
    page.select_option("#contract", label="Data Pegawai Negeri Sipil")
    page.locator("form", has=page.locator("#contract")).get_by_role("button").click()
    page.wait_for_load_state()


def _from_a_row_to_the_letter(page: Page) -> None:
    """Three clicks from the rows: the contract, the request it rests on, its letter."""
    page.locator("#integration a", has_text="Himpunan data").click()
    assert page.locator("tbody tr").count() == 50
    page.locator("main a", has_text="Kontrak").first.click()
    page.locator("main a", has_text="PMH/").first.click()
    page.locator("main a", has_text="Surat permohonan").first.click()
    assert "Isi subject" in page.inner_text("main")
