"""Settings that go together, and how requests travel."""

import pytest

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts

from .conftest import ids, reply


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "body"}, {"paging_in": "body"}, {"paging": "cursor"}, {"paging": "next_url"},
        {"paging": "page", "paging_in": "path"}, {"failure_path": "log"},
        {"pin_sha256": "abc"}, {"user_agent": "a\r\nb"}, {"proxy": "http://10.0.0.1:3128"},
        {"since_overlap": -1}, {"window": -1},
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(make_connector, settings):
    with pytest.raises((errors.SourceSettingsError, errors.SourceRefusedError)):
        make_connector(secret="s", **settings)


def test_requests_go_through_the_proxy_and_to_no_other(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')
    approved = ApprovedHosts(["layanan.opd.example:80", upstream.pair])

    connector = make_connector(
        base_url="http://layanan.opd.example/data",
        proxy=f"http://{upstream.pair}",
        approved=approved,
    )

    assert ids(connector.pages()) == [1]
    assert upstream.requests[0].headers["host"] == "layanan.opd.example"


def test_the_user_agent_is_ours_to_set(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')

    list(make_connector(user_agent="Mozilla/5.0").pages())

    assert upstream.requests[0].headers["user-agent"] == "Mozilla/5.0"
