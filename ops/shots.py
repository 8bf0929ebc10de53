"""``./simpul shots FOLDER``: a picture of every page for every demo role, and its guide.

Each kind of page once a role, as a desktop and as a phone, light and dark; a page with all
of them beside each other (``index.html``); and for each role a guide to print, with the help
of each page and its picture. A demo office of its own is started for it, unless
``--address`` names one that runs, with its file of ``--accounts``.
"""

import argparse
import html
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page

from ops.bootstrap import Refusal, say
from ops.browser import (
    VIEWS,
    Account,
    accounts_in,
    chromium,
    context_of,
    log_in,
    pages_of,
)
from ops.places import PROJECT

READY_SECONDS = 120


def main(arguments: Sequence[str]) -> int:
    """Take the pictures; 0 when all were taken."""
    options = _parser().parse_args(arguments)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if options.address:
        accounts = accounts_in(Path(options.accounts))
        return _take(folder, options.address.rstrip("/"), accounts, options.role)
    with demo_office() as (address, home):
        return _take(
            folder, address, accounts_in(home / "demo-accounts.txt"), options.role
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./simpul shots")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument(
        "--address", default="", help="http://… yang sudah berjalan / that runs"
    )
    parser.add_argument("--accounts", default="var/demo-accounts.txt", metavar="FILE")
    parser.add_argument(
        "--role", default="", help="hanya akun ini / only this account: E-MAIL"
    )
    return parser


@contextmanager
def demo_office() -> Iterator[tuple[str, Path]]:
    """Run a demo office in an empty folder; yield its address and its data folder."""
    with tempfile.TemporaryDirectory(prefix="simpul-shots-") as folder:
        Path(folder).chmod(
            0o755
        )  # as root the servers' own user must be able to enter it
        home, port = Path(folder) / "var", _free_port()
        env = {
            **os.environ,
            "SIMPUL_HOME": str(home),
            "SIMPUL_RUNTIME": f"{folder}/runtime",
        }
        log = Path(folder) / "run.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "ops.cli", "run", "--port", str(port)],
                cwd=PROJECT, env=env, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        try:
            _await_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}", home
        finally:
            process.terminate()
            process.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the office answers and its demo stands; raises ``Refusal``."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(f"{address}/health/ready", timeout=5)  # noqa: S310 - our own address
        except (URLError, OSError):
            time.sleep(0.5)
            continue
        if "demo accounts" in log.read_text(encoding="utf-8"):
            return
        time.sleep(0.5)
    raise Refusal("Kantor contoh tidak menyala.", f"The demo office did not start: {log}")


class Chapter(NamedTuple):
    """A page in a role's guide: what it is called, its help, and its picture."""

    title: str
    paragraphs: list[str]
    file: str


def _take(folder: Path, address: str, accounts: list[Account], only: str) -> int:
    taken: list[tuple[Account, str, str]] = []
    with chromium() as browser:
        for account in accounts:
            if only and account.email != only:
                continue
            name = account.email.partition("@")[0]
            pages: dict[str, str] = {}
            chapters: list[Chapter] = []
            for view in VIEWS:
                context = context_of(browser, view)
                page = context.new_page()
                log_in(page, address, account)
                pages = pages or pages_of(page, address)
                for kind, url in pages.items():
                    file = f"{name}/{view.name}/{_file_name(kind)}.png"
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    page.goto(url)
                    page.screenshot(path=folder / file, full_page=True)
                    taken.append((account, kind, file))
                    if view is VIEWS[0]:
                        chapters.append(_chapter(page, file))
                context.close()
            _write_guide(folder / f"guide-{name}.html", account, chapters)
            say(f"{account.email}: {len(pages)} halaman / pages")
    _write_sheet(folder, taken)
    say(f"{len(taken)} gambar / pictures: {folder}/index.html")
    return 0 if taken else 1


def _chapter(page: Page, file: str) -> Chapter:
    texts = "all => all.map(one => one.textContent.trim())"
    titles = page.eval_on_selector_all("h1", texts)
    return Chapter(
        titles[0] if titles else page.title(),
        page.eval_on_selector_all(".page-help .card p", texts),
        file,
    )


def _write_guide(file: Path, account: Account, chapters: list[Chapter]) -> None:
    """Write a role's guide: a chapter for each page, help that says the same only once."""
    told: set[str] = set()
    parts = [f"<h1>Simpul · {html.escape(account.title)}</h1>"]
    for chapter in chapters:
        fresh = [text for text in chapter.paragraphs if text not in told]
        told.update(fresh)
        words = "".join(f"<p>{html.escape(text)}</p>" for text in fresh)
        parts.append(
            f"<section><h2>{html.escape(chapter.title)}</h2>{words}"
            f'<img loading=lazy src="{chapter.file}" alt=""></section>'
        )
    style = (
        "@page{size:A4;margin:18mm}body{font:11pt/1.5 system-ui,sans-serif;max-width:46rem;"
        "margin:2rem auto;padding:0 1rem}section{break-inside:avoid;margin-bottom:2rem}"
        "img{width:100%;max-height:20cm;object-fit:cover;object-position:top;"
        "border:1px solid #bbb}"
    )
    head = "<!doctype html><html lang=id><meta charset=utf-8><title>Simpul</title>"
    text = f"{head}<style>{style}</style>{''.join(parts)}</html>"
    file.write_text(text, encoding="utf-8")


def _file_name(kind: str) -> str:
    return kind.strip("/").replace("/", "-").replace("_", "one") or "start"


def _write_sheet(folder: Path, taken: list[tuple[Account, str, str]]) -> None:
    """Write one page on which every page stands with its four pictures beside each other."""
    rows: dict[tuple[str, str], list[str]] = {}
    for account, kind, file in taken:
        rows.setdefault((account.title, kind), []).append(file)
    parts = [
        f"<h2>{html.escape(title)} · {html.escape(kind)}</h2><p>"
        + "".join(
            f'<a href="{f}"><img loading=lazy src="{f}" alt="{f}"></a>' for f in files
        )
        for (title, kind), files in rows.items()
    ]
    style = "img{height:22rem;vertical-align:top;margin:.3rem;border:1px solid #ccc}"
    text = (
        f"<!doctype html><meta charset=utf-8><title>Simpul</title><style>{style}</style>"
    )
    (folder / "index.html").write_text(text + "".join(parts), encoding="utf-8")
