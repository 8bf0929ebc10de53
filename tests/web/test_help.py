"""Bantuan: every page that a person can open has its two paragraphs, in both languages."""

import re

import pytest

from app.web.guard import Shut, policy_of
from app.web.help import HELP, help_of

# Answers that are no pages: parts of one, files, signs of life.
NO_PAGES = {
    "static", "bootstrap.static", "health.live", "health.ready", "welcome.index", "welcome.invitation",
    "security.logout",
}  # fmt: skip


def pages(app) -> set[str]:
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods
        and policy_of(app, rule.endpoint) not in {Shut, None}
        and rule.endpoint not in NO_PAGES
    }


def test_every_page_has_its_help_and_no_help_is_without_a_page(app):
    assert {each for each in pages(app) if help_of(each) is None} == set()
    rooms = {rule.endpoint.partition(".")[0] for rule in app.url_map.iter_rules()}
    assert set(HELP) - rooms - pages(app) == set()


@pytest.mark.parametrize("language", ["id", "en"])
def test_help_stands_on_the_page_in_the_readers_language(log_in, people, language):
    client = log_in(people["SEMUA"])
    client.post("/language", data={"language": language})
    page = client.get("/agencies/").get_data(as_text=True)
    shown = re.search(
        r'class="tool page-help".*?<h2>(.*?)</h2><p>(.*?)</p>', page, re.DOTALL
    )
    assert shown[1] == {"id": "Bantuan", "en": "Help"}[language]
    assert ("Perangkat daerah" in shown[2]) is (language == "id")
