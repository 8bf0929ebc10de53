"""A key that a service gives back in each of its answers stands nowhere in the database."""

import json
from base64 import b64encode

import pytest
import sqlalchemy as sa

from app.core import db
from app.core.policy import acting_as
from app.pulls.pulling import pull
from app.sources.models import Source
from jobs.perform import _ending
from tests import fakes, make

pytestmark = pytest.mark.usefixtures("bound")
SECRET = "s3m4t/rahasia+kantor=9"
TOKEN = "t0k3n-yang-diambil-9f8e7d"
FORMS = (
    SECRET, TOKEN, SECRET.replace("/", "\\/"), "s3m4t%2Frahasia", "s3m4t/rahasia",
    b64encode(f"simpul:{SECRET}".encode()).decode(), b64encode(SECRET.encode()).decode(),
)  # fmt: skip


def in_clear():
    """Each table that holds the key or the token in any of their forms."""
    with db.owner_unit_of_work() as s:
        tables = s.scalars(
            sa.text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        ).all()
        texts = {
            table: "\n".join(s.scalars(sa.text(f"SELECT t::text FROM {table} t")))
            for table in tables
        }
    assert texts["public.source"]
    return [table for table, text in texts.items() if any(f in text for f in FORMS)]


def leading_on(handler):
    """A page with a next address that repeats all that was asked."""
    mark = "&" if "?" in handler.path else "?"
    more = f"{handler.path}{mark}hal=2"
    return {"ok": True, "data": make.people(1), "next": more, "total": 2}


def answers(handler, seen):
    """What a service may answer, by the last part of its address."""
    said = json.dumps({"ok": False, "message": seen, "data": []}).encode()
    odd = json.dumps({"ok": True, "data": {SECRET: 1}, "total": SECRET}).encode()
    return {
        "refused": {"body": seen.encode(), "status": 401, "WWW_Authenticate": SECRET},
        "broken": {"body": seen.encode(), "status": 500},
        "page": {"body": seen.encode(), "kind": f"text/html; {SECRET}"},
        "verdict": {"body": said},
        "shape": {"body": odd},
        "away": {"body": b"", "status": 302, "Location": f"http://x/{SECRET}"},
        "next": {"body": json.dumps(leading_on(handler)).encode()},
        "token": {"body": json.dumps({"access_token": TOKEN}).encode()},
    }


def tell_all(handler, _page):
    """Answer with everything that was asked."""
    seen = f"{handler.path} {dict(handler.headers)}"
    ending = handler.path.partition("?")[0].split("/")[-1]
    if "hal=2" in handler.path:
        ending = "broken"  # so that the next address stays in the checkpoint
    return handler.reply(**answers(handler, seen)[ending])


@pytest.mark.parametrize(
    "way",
    [
        {"auth": "query", "auth_name": "kunci"}, {"auth": "header", "auth_name": "X-Kunci"},
        {"auth": "basic", "auth_user": "simpul"}, {"auth": "path"},
        {"auth": "body", "auth_name": "k", "method": "POST"},
        {"auth": "login", "auth_fields": {"sandi": "{key}"}, "auth_name": "X-T"},
    ],
    ids=lambda way: way["auth"],
)  # fmt: skip
def test_a_key_that_is_given_back_stands_nowhere_in_clear(upstream, way):
    upstream.answer = tell_all
    tokens = {"auth_url": f"{upstream.url}/token"} if way["auth"] == "login" else {}
    place = "/{key}" if way["auth"] == "path" else ""
    ends = []
    for step in ("refused", "broken", "page", "verdict", "shape", "away", "next"):
        paging = {"paging": "next_url", "next_path": "next"} if step == "next" else {}
        url = f"{upstream.url}{place}/{step}"
        source = make.make_source(make.make_contract(), url, **way, **tokens, **paging)
        with make.session() as s:
            s.get_one(Source, source.id).secrets = {"auth_secret": SECRET}
        run = make.request_pull(source)
        lease = make.claim(run)
        with acting_as(make.WORKER_PRINCIPAL):
            try:
                pull(lease, fakes.pages_here, (), "Asia/Jakarta")
            except Exception as error:  # noqa: BLE001 - as the worker does
                with db.unit_of_work() as session:
                    _ending(error, lease)(lease, session)
        ends.append(make.run_of(run).error_code)

    assert ends == ["http_401", "http_5xx", "not_json", "success_rule", "wrong_shape",
                    "redirect_refused", "http_5xx"]  # fmt: skip
    assert in_clear() == []
