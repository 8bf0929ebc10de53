"""Every kind of page in a real browser: axe finds nothing serious, no script is refused,
no other host is asked, and no page is heavy."""

from pathlib import Path

import axe_playwright_python
import pytest

from ops.browser import (
    CHROMIUM,
    VIEWS,
    chromium,
    context_of,
    log_in,
    pages_of,
)

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(
    encoding="utf-8"
)
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
}
HEAVY = 300_000  # compressed bytes of a page with all that it loads
# Who has all roles of the office, and who works for an agency.
WHO = ("semua@kantor.test", "operator.bkd@kantor.test")
pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here"),
    pytest.mark.timeout(600),
    # Playwright leaves its event loop's socket to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.parametrize("who", WHO)
def test_pages_are_accessible_light_and_dark_and_stay_within_themselves(office, who):
    address, accounts = office
    found, said, strangers = [], [], []
    with chromium() as browser:
        for view in (VIEWS[0], VIEWS[3]):  # desktop light, phone dark
            context = context_of(browser, view)
            page = context.new_page()
            page.on(
                "console",
                lambda m, p=page: (
                    said.append((p.url, m.text)) if m.type == "error" else None
                ),
            )
            page.on(
                "request",
                lambda r: (
                    strangers.append(r.url) if not r.url.startswith(address) else None
                ),
            )
            log_in(page, address, accounts[who])
            pages = pages_of(page, address)
            assert len(pages) > 10
            for kind, url in pages.items():
                page.goto(url)
                # What opens is a page as well; one menu may lie over the next one's button.
                page.eval_on_selector_all(
                    "details.tool", "all => all.forEach(one => { one.open = true; })"
                )
                page.evaluate(AXE)
                result = page.evaluate("rules => axe.run(document, rules)", RULES)
                found += [
                    (view.name, kind, v["id"], v["impact"], v["nodes"][0]["target"], len(v["nodes"]))
                    for v in result["violations"]
                    if v["impact"] in {"serious", "critical"}
                ]  # fmt: skip
            context.close()
    assert found == [], found
    assert said == []
    assert strangers == []


def test_pages_are_light_and_come_at_once(office):
    """Weighed as they come over the wire, the first time, without a cache."""
    address, accounts = office
    heavy, slow = {}, {}
    with chromium() as browser:
        context = context_of(browser, VIEWS[0])
        page = context.new_page()
        log_in(page, address, accounts[WHO[0]])
        pages = pages_of(page, address)
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
        weights = []
        wire.on(
            "Network.loadingFinished", lambda e: weights.append(e["encodedDataLength"])
        )
        for kind, url in pages.items():
            weights.clear()
            page.goto(url, wait_until="load")
            if sum(weights) > HEAVY:
                heavy[kind] = sum(weights)
            slow[kind] = page.evaluate(
                "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            )
    assert heavy == {}
    assert {kind: ms for kind, ms in slow.items() if ms > 1000} == {}
