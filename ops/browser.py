"""Walking Simpul's pages in a real browser: for pictures, and for tests of every page."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ops.bootstrap import Refusal

CHROMIUM = environ.get("SIMPUL_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
ACCOUNT = re.compile(r"^\s+(\S+@\S+)\s+(\S+)\s+(.+)$", re.MULTILINE)
# Parts of an address that name one object of many: a page of each kind is enough.
_ONE = re.compile(
    r"/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|$)|(?<=/rows)/[^/]+|(?<=/datasets)/[^/]+"
    r"|(?<=/developers)/[^/]+|(?<=/audit)/\d+|(?<=/audit/request)/[^/]+"
)
_NO_PAGE = re.compile(
    r"^/(?:logout|static|bootstrap|api|downloads/.+|imports/template|imports/.+/file"
    r"|requests/papers/|requests/files/|requests/[^/]+/(?:archive$|report\.)"
    r"|contract-files/version/|requests/number/|papers/[^/]+/(?:file$|pages/|scan/))"
)


class Account(NamedTuple):
    """Somebody of the demo office."""

    email: str
    password: str
    title: str


class View(NamedTuple):
    """How pages are looked at."""

    name: str
    width: int
    height: int
    scheme: str


VIEWS = (
    View("desktop-light", 1280, 900, "light"),
    View("desktop-dark", 1280, 900, "dark"),
    View("phone-light", 390, 844, "light"),
    View("phone-dark", 390, 844, "dark"),
)


def accounts_in(file: Path) -> list[Account]:
    """Return the accounts that ``run`` wrote down."""
    return [
        Account(*found) for found in ACCOUNT.findall(file.read_text(encoding="utf-8"))
    ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium; raises ``Refusal`` where there is none."""
    if not Path(CHROMIUM).exists():
        raise Refusal(
            f"Chromium tidak ada di {CHROMIUM}: pasang dahulu (apt-get install chromium).",
            f"There is no Chromium at {CHROMIUM}: install it first (apt-get install chromium).",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(ARGUMENTS)
        )
        yield browser
        browser.close()


def context_of(browser: Browser, view: View) -> BrowserContext:
    """Return a browser of its own that looks in one way."""
    return browser.new_context(
        viewport={"width": view.width, "height": view.height},
        color_scheme="dark" if view.scheme == "dark" else "light",
        locale="id-ID",
    )


def log_in(page: Page, address: str, account: Account) -> None:
    """Log somebody in by the form."""
    page.goto(f"{address}/login")
    page.fill("input[name=email]", account.email)
    page.fill("input[name=password]", account.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: not urlsplit(url).path.startswith("/login"))


def pages_of(page: Page, address: str) -> dict[str, str]:
    """Follow links from the first page; return one address for each kind of page, by kind."""
    found = {"/": f"{address}/"}
    waiting = ["/"]
    while waiting:
        page.goto(found[waiting.pop(0)], wait_until="domcontentloaded")
        here = page.url
        for link in page.eval_on_selector_all(
            "a[href]:not([download])", "all => all.map(a => a.getAttribute('href'))"
        ):
            url = urlsplit(urljoin(here, link))
            kind = kind_of(url.path)
            if f"{url.scheme}://{url.netloc}" != address or kind is None or kind in found:
                continue
            query = f"?{url.query}" if url.query.startswith(("id=", "listed=")) else ""
            found[kind] = f"{address}{url.path}{query}"
            waiting.append(kind)
    return found


def kind_of(path: str) -> str | None:
    """Return which page an address is of; None for what is no page."""
    return None if _NO_PAGE.match(path) else _ONE.sub("/_", path)
