"""A demo office that runs, for tests that look at pages as people do."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ops.browser import VIEWS, accounts_in, chromium, context_of, log_in
from ops.shots import demo_office

ALL = "semua@kantor.test"  # who has every role of the office


@pytest.fixture(scope="session")
def office():
    """A demo office: its address and its accounts by e-mail."""
    running = os.environ.get("SIMPUL_OFFICE", "")  # ADDRESS,FILE of one that runs already
    if running:
        address, _, file = running.partition(",")
        yield address, {each.email: each for each in accounts_in(Path(file))}
        return
    with demo_office() as (address, home):
        accounts = accounts_in(home / "demo-accounts.txt")
        yield address, {each.email: each for each in accounts}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def enter(office, browser):
    """Return a page of a browser of its own in which somebody is logged in."""
    address, accounts = office
    contexts = []

    def open_page(email: str = ALL, view=VIEWS[0]) -> Page:
        context = context_of(browser, view)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        log_in(page, address, accounts[email])
        return page

    yield open_page
    for each in contexts:
        each.close()
