"""The way from an address to a source: look, accept, save; and who may go where."""

import html
import json
import re

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.contracts.models import Contract
from app.sources.models import Source
from tests import fakes, make

CANARY = "kunci-kenari-look"


@pytest.fixture
def upstream():
    with fakes.Upstream() as server:
        server.records = [
            {"nip": f"00{n:02d}", "nama": f"Orang {n}", "nik": f"14710102038000{n:02d}"}
            for n in range(10, 30)
        ]
        yield server


@pytest.fixture
def listed(app, settings, upstream):
    """The upstream's pair on the operator's list."""
    from dataclasses import replace

    before = app.extensions["simpul_settings"]
    pair = upstream.url.split("/")[2]
    app.extensions["simpul_settings"] = replace(before, approved_hosts=(pair,))
    yield pair
    app.extensions["simpul_settings"] = before


def hidden(page, name):
    found = re.search(f'name="{name}" value="([^"]*)"', page)
    return html.unescape(found[1]) if found else ""


def form(upstream, **more):
    return {"name": make.word("Sumber "), "contract": "new", "base_url": upstream.url,
            "auth": "query", "auth_name": "kunci", "auth_secret": CANARY} | more  # fmt: skip


def test_from_an_address_to_a_draft_and_a_source(log_in, people, upstream, listed):
    client = log_in(people["SEMUA"])
    first = client.post("/sources/new", data=form(upstream, do="look")).get_data(True)

    assert "10 rekaman" in first
    assert CANARY not in first
    assert upstream.records[0]["nik"] not in first

    data = form(upstream, do="accept", auth_secret="", kept=hidden(first, "kept"),
                proposal=hidden(first, "proposal"))  # fmt: skip
    second = client.post("/sources/new", data=data).get_data(True)
    assert "10 rekaman" in second

    slug, agency = make.word("look"), make.make_agency()
    data |= {"do": "save", "rows_path": "data", "slug": slug, "agency": str(agency.id),
             "fields_token": hidden(second, "fields_token"), "kept": hidden(second, "kept")}  # fmt: skip
    answer = client.post("/sources/new", data=data)

    assert answer.status_code == 302, answer.get_data(True)
    with make.session() as s:
        contract = s.scalars(sa.select(Contract).where(Contract.slug == slug)).one()
        draft = make.draft_of(s, contract.id)
        types = {field.name: field.type.value for field in draft.specs()}
        source = s.scalars(
            sa.select(Source).where(Source.contract_id == contract.id)
        ).one()
        trail = s.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == "preview")
        ).all()
        assert types == {"nip": "text", "nama": "text", "nik": "text"}
        assert source.secrets == {"auth_secret": CANARY}
        assert trail
        assert CANARY not in json.dumps([str(each.after) for each in trail])


def test_an_address_nobody_approved_is_not_asked_before_it_is_confirmed(
    log_in, people, upstream
):
    client = log_in(people["SEMUA"])
    for url in (upstream.url, "http://169.254.169.254/latest", "http://[::1]:6379/"):
        page = client.post(
            "/sources/new",
            data=form(upstream, base_url=url, do="look", confirm=url.split("/")[2]),
        ).get_data(True)
        assert "tidak diizinkan" in page

    page = client.post(
        "/sources/new",
        data=form(upstream, base_url="https://api.opd.example/x", do="look"),
    ).get_data(True)

    assert "api.opd.example:443" in page
    assert "Yang ditemukan" not in page
    assert not upstream.asked


def test_stored_keys_are_not_carried_to_another_host(
    log_in, people, upstream, listed, estates
):
    own, _ = estates
    client = log_in(people["SEMUA"])
    seen = []
    upstream.answer = lambda handler, page: bool(
        seen.append(str(handler.headers) + handler.path)
    )

    client.post(
        f"/sources/{own.source}/edit",
        data=form(upstream, contract=str(own.contract), auth_secret="", do="look"),
    )

    assert not any("rahasia-sekali-kenari" in each for each in seen)


@pytest.mark.parametrize("token", ["x", "gAAAA", "é" * 50, ""])
def test_a_token_that_was_never_sealed_is_nothing(
    log_in, people, upstream, listed, token
):
    client = log_in(people["SEMUA"])
    data = form(upstream, kept=token, fields_token=token, proposal=token, do="save")

    assert client.post("/sources/new", data=data).status_code == 200


def test_an_agencys_own_developer_tries_the_own_source_and_no_other(app, log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    assert client.get(f"/sources/{own.source}/look").status_code == 200
    assert client.post(f"/sources/{own.source}/look").status_code == 200
    assert client.post(f"/sources/{other.source}/look").status_code == 404


def test_many_rest_and_work_again(log_in, people, estates):
    own, other = estates
    client = log_in(people["SEMUA"])
    chosen = {"source": [str(own.source), str(other.source)]}

    client.post("/pulls/many", data=chosen | {"do": "pause", "reason": ""})
    with make.session() as s:
        assert s.get_one(Source, own.source).enabled
    client.post("/pulls/many", data=chosen | {"do": "pause", "reason": "pemeliharaan"})
    with make.session() as s:
        assert not s.get_one(Source, own.source).enabled
        assert s.get_one(Source, other.source).pause["params"]["reason"] == "pemeliharaan"
    assert "pemeliharaan" in client.get(f"/pulls/source/{own.source}").get_data(True)
    client.post("/pulls/many", data=chosen | {"do": "resume"})
    with make.session() as s:
        assert s.get_one(Source, own.source).enabled


def test_a_like_one_is_filled_in_without_keys(log_in, people, estates):
    own, _ = estates
    page = log_in(people["SEMUA"]).get(f"/sources/new?like={own.source}").get_data(True)

    assert "/api/pegawai" in page
    assert "rahasia-sekali-kenari" not in page
