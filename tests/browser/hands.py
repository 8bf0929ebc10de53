"""What hands do on a page."""

from playwright.sync_api import Page


def press(page: Page, name: str) -> None:
    """Press the button of this name, and wait until what it leads to is there."""
    page.get_by_role("button", name=name, exact=True).last.click()
    page.wait_for_load_state()


def at(office, path: str) -> str:
    return office[0] + path
