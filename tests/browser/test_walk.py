"""The way a new administrator walks, in a real browser against the real ``run``.

Log in, look at the demo's pulls, add a contract and a source by hand, schedule it, run it,
kill the worker in the middle, see it finish right, download the Excel file and open it.
The national list (91,599 rows) is walked when ``SIMPUL_WALK_REGIONS`` names its CSV file;
without it the demo's own list of regions serves.
"""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import openpyxl
import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("SIMPUL_CHROMIUM", "/usr/bin/chromium")
REGIONS = os.environ.get("SIMPUL_WALK_REGIONS", str(ROOT / "demo" / "regions.csv"))
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    pytest.mark.timeout(240),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def office():
    """A running Simpul in an empty data folder: its address, folder and process."""
    with tempfile.TemporaryDirectory(prefix="simpul-walk-") as folder:
        # As root the embedded servers' own user must be able to enter it.
        Path(folder).chmod(0o755)
        yield from _running(Path(folder))


def _running(home: Path):
    port = _free_port()
    env = {
        k: v
        for k, v in os.environ.items()
        if k in {"PATH", "HOME", "LANG", "SIMPUL_PG_BIN"}
    }
    env |= {"SIMPUL_HOME": str(home / "var"), "DEMO_REGIONS_CSV": REGIONS}
    env["SIMPUL_RUNTIME"] = str(home / "runtime")
    log = (home / "run.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.cli", "run", "--port", str(port)],
        cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _await_ready(address, process, home / "run.log")
        yield address, home / "var", process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        log.close()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _await_ready(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 90
    while not _answers(f"{address}/health/ready"):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.3)


@pytest.fixture(scope="module")
def page(office):
    address, home, _process = office
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        context = browser.new_context(
            base_url=address, locale="id-ID", accept_downloads=True
        )
        opened = context.new_page()
        complaints: list[str] = []
        opened.on(
            "console",
            lambda message: (
                complaints.append(message.text) if message.type == "error" else None
            ),
        )
        accounts = dict(
            re.findall(r"(\S+@\S+)\s+(\S+)", (home / "demo-accounts.txt").read_text())
        )
        opened.goto("/login")
        opened.fill("#email", "semua@kantor.test")
        opened.fill("#password", accounts["semua@kantor.test"])
        opened.click("button.btn-primary")
        expect(opened.locator("h1")).to_contain_text("Selamat datang")
        yield opened
        assert complaints == []
        browser.close()


def test_the_first_screen_is_alive(page: Page):
    expect(page.locator("main")).to_contain_text("Data Pegawai Negeri Sipil")
    expect(page.locator("main")).to_contain_text("Kode Wilayah Administrasi")
    page.goto("/downloads/")
    expect(page.locator("tbody tr").first).to_contain_text("pegawai-")
    expect(page.get_by_role("link", name="Unduh", exact=True)).to_be_visible()


def test_an_administrator_adds_pulls_and_downloads_by_hand(page: Page, office, tmp_path):
    _address, _home, process = office
    with Path(REGIONS).open(newline="") as file:
        expected = {row["kode"]: row["nama"] for row in csv.DictReader(file)}
    service = _demo_service(page)

    _add_contract(page)
    _activate(page)
    _add_source(page, service)
    _schedule(page)
    page.get_by_role("button", name="Tarik sekarang").click()
    page.wait_for_url("**/runs/*")
    _kill_worker(process, page)
    _await_done(page)
    if len(expected) > 10_000:  # the short list is through before anybody can kill it
        expect(page.locator(".log")).to_contain_text("Percobaan ke-2 dimulai")

    page.goto("/datasets/wilayah_nasional")
    expect(page.locator("main")).to_contain_text(f"{len(expected):,}".replace(",", "."))
    page.fill("input[name=search]", "14.71")
    page.get_by_role("button", name="Cari").click()
    expect(page.locator("tbody tr").first).to_contain_text("14.71")
    page.get_by_role("button", name="Unduh Excel").click()
    page.wait_for_url("**/downloads/")
    link = page.locator("tbody tr", has_text="wilayah-nasional-").get_by_role(
        "link", name="Unduh", exact=True
    )
    link.wait_for(timeout=60_000)
    with page.expect_download() as download:
        link.click()
    target = tmp_path / "wilayah.xlsx"
    download.value.save_as(target)

    book = openpyxl.load_workbook(target, read_only=True)
    rows = list(book["Data"].iter_rows(min_row=2, values_only=True))
    book.close()
    assert {code: name for code, name, *_ in rows} == expected
    assert len(rows) == len(expected)
    assert all(isinstance(code, str) for code, *_ in rows)


def test_what_the_walk_left_behind_holds(page: Page, office):
    """Everything is sealed within moments, the anchor is out, and ``verify`` is content."""
    _address, home, _process = office
    time.sleep(6)
    env = {"PATH": os.environ["PATH"], "SIMPUL_HOME": str(home)}
    env["SIMPUL_RUNTIME"] = str(home.parent / "runtime")
    said = subprocess.run(
        [sys.executable, "-m", "ops.cli", "verify"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    lines = said.stdout.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("ok ") for line in lines)
    assert len(list((home / "anchors").glob("*.json"))) == 1


def _demo_service(page: Page) -> str:
    """Return the demo service's address, as the seeded source shows it."""
    page.goto("/sources/")
    text = page.locator("tbody tr", has_text="Kode Wilayah").inner_text()
    found = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert found
    return found.group()


def _add_contract(page: Page) -> None:
    page.goto("/contracts/new")
    page.fill("#title", "Wilayah Nasional")
    page.fill("#slug", "wilayah_nasional")
    page.select_option("#agency", label="Biro Tata Pemerintahan Setda Provinsi Riau")
    page.select_option("#kind", "reference")
    page.get_by_role("button", name="Lanjut ke kolom").click()
    page.fill("[name='f-0-name']", "kode")
    page.fill("[name='f-0-label']", "Kode wilayah")
    page.check("[name='f-0-is_key']")
    page.get_by_role("button", name="Tambah kolom").click()
    page.locator("[name$='-name']").last.fill("nama")
    page.locator("[name$='-label']").last.fill("Nama wilayah")
    page.locator("[name$='-required']").last.check()
    page.get_by_role("button", name="Simpan draf").click()
    expect(page.locator(".alert-success")).to_be_visible()


def _activate(page: Page) -> None:
    page.get_by_role("link", name="Lihat rencana").click()
    expect(page.locator(".plan li").nth(1)).to_contain_text("wilayah_nasional")
    page.get_by_role("button", name="Aktifkan menurut rencana ini").click()
    page.wait_for_url("**/runs/*")
    _await_done(page)


def _add_source(page: Page, service: str) -> None:
    page.goto("/sources/new")
    page.fill("#name", "Layanan wilayah")
    page.select_option(
        "#contract", label="Wilayah Nasional (Biro Tata Pemerintahan Setda Provinsi Riau)"
    )
    page.fill("#base_url", f"{service}/api/wilayah")
    page.select_option("#auth", "header")
    page.fill("#auth_secret", "demo-kunci-opd")
    page.select_option("#paging", "page")
    page.fill("#page_size", "100")  # slow enough for the kill to come in the middle
    page.fill("#rows_path", "data.items")
    page.fill("#total_path", "data.total")
    page.get_by_role("button", name="Simpan", exact=True).click()
    page.wait_for_url("**/pulls/source/*")
    expect(page.locator("h1")).to_have_text("Layanan wilayah")
    assert "demo-kunci-opd" not in page.content()


def _schedule(page: Page) -> None:
    page.fill("#cron", "15 3 * * *")
    page.get_by_role("button", name="Simpan jadwal").click()
    expect(page.locator("main")).to_contain_text("03.15 WIB")


def _kill_worker(process: subprocess.Popen, page: Page) -> None:
    """Kill -9 the whole worker as soon as the run shows progress (or has just ended)."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        progress = page.locator("[data-refresh]").inner_text()
        if re.search(r"\d+ / \d", progress) or "selesai" in progress:
            break
        time.sleep(0.05)
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "jobs.worker" in " ".join(child.cmdline()):
                child.kill()
        except psutil.NoSuchProcess:
            continue


def _await_done(page: Page) -> None:
    """Wait on the run's page, which updates by itself."""
    expect(page.locator(".badge-state").first).to_have_text("selesai", timeout=120_000)
