"""Every page that a link leads to opens, for the office and for an agency."""

import html
import re
from collections import deque

import pytest

LINK = re.compile(r'href="(/[^"#]*)"')
SCARS = ("object at 0x", ">__None<", "<bound method", "Undefined", " ago<")
MAX_PAGES = 250


def _crawl(client, most: int = MAX_PAGES) -> int:
    waiting, seen = deque(["/"]), {"/"}
    shapes: dict[str, int] = {}
    while waiting:
        address = waiting.popleft()
        with client.get(address, follow_redirects=True) as answer:
            assert answer.status_code == 200, address
            if answer.mimetype != "text/html":
                continue
            page = answer.get_data(as_text=True)
        for scar in SCARS:
            assert scar not in page, (address, scar)
        for link in map(html.unescape, LINK.findall(page)):
            # Of pages that differ by their object alone, the first few tell.
            shape = re.sub(r"[0-9a-f-]{36}|=[^&]*|rows/.*|\d+", "*", link)
            shapes[shape] = shapes.get(shape, 0) + 1
            if link not in seen and shapes[shape] <= 4 and len(seen) < most:
                seen.add(link)
                waiting.append(link)
    return len(seen)


@pytest.mark.parametrize("who", ["office", "agency"])
def test_every_link_leads_to_a_page(log_in, people, estates, who):
    own, _ = estates
    client = log_in(people["SEMUA"] if who == "office" else own.operator)

    assert _crawl(client) > 15


@pytest.mark.parametrize(
    "role",
    [
        "PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "WALIDATA",
        "AUDITOR", "SYSADMIN",
    ],
)  # fmt: skip
def test_no_link_leads_where_its_reader_may_not_go(log_in, people, estates, role):
    del estates
    assert _crawl(log_in(people[role]), most=60) > 15


def test_a_rows_page_shows_its_values_and_where_they_come_from(log_in, estates):
    own, _ = estates
    client = log_in(own.operator)
    page = client.get(f"/datasets/{own.slug}").get_data(as_text=True)
    link = html.unescape(re.search(r'href="([^"]*/rows/[^"]*)"', page).group(1))

    answer = client.get(link)

    assert answer.status_code == 200
    assert f"Orang {own.canary}" in answer.get_data(as_text=True)
