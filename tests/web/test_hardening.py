"""Bad input, forged forms, stolen sessions: a clear refusal and never a 500."""

from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core.line import Line
from app.identity.models import User
from app.sources.models import Source
from app.web.extensions import db as pages
from app.web.guard import Shut, policy_of
from app.web.headers import CSP
from tests import make
from tests.web.conftest import PASSWORD, seen_in

NASTY = (
    "page=-5", "page=99999999999999999999", "page=x", "page=%00", "search=%00", "search=%25_%5C",
    "search=" + "a" * 5000, "sort=999", "sort=-1", "sort=x", "desc=x", "flt0_0=zzz",
    "page_size=-1", "page_size=10000000", "kind=%00", "status=zzz", "action=zzz", "run=x",
    "run=%00", "source=x", "before=x", "after=x", "after=W10", "after=WyJcdTAwMDAiXQ",
    "after=WyJhIiwiYiJd", "before=////", "id=abc", "id=1%00", "id=1,2", "url=//evil.test",
    "next=//evil.test", "language=xx",
)  # fmt: skip
IDENTS = ("x", "0", "-1", "%00", "1,2", "../x", "a" * 300, "99999999999999999999")


def test_no_address_that_anybody_may_type_breaks_a_page(app, log_in, people, estates):
    client = log_in(people["SEMUA"])
    own, _ = estates

    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or policy_of(app, rule.endpoint) is Shut:
            continue
        values = {
            name: own.slug if name == "slug" else str(own.run) for name in rule.arguments
        }
        address = app.url_map.bind("localhost").build(rule.endpoint, values)
        for query in NASTY:
            status = client.get(f"{address}?{query}").status_code
            assert status < 500 or rule.endpoint == "health.ready", (address, query)


def test_no_made_up_number_breaks_a_page(app, log_in, people):
    client = log_in(people["SEMUA"])

    for rule in app.url_map.iter_rules():
        if not rule.arguments or rule.endpoint.endswith("static"):
            continue
        pattern = rule.rule
        for ident in IDENTS:
            address = pattern
            for name in rule.arguments:
                address = address.replace(f"<{name}>", ident).replace(
                    f"<path:{name}>", ident
                )
            method = client.get if "GET" in rule.methods else client.post
            assert method(address).status_code < 500, address


def test_every_form_needs_a_token(app, log_in, people):
    client = log_in(people["SEMUA"])
    app.config["WTF_CSRF_ENABLED"] = True
    try:
        for rule in app.url_map.iter_rules():
            if "POST" not in rule.methods or policy_of(app, rule.endpoint) is Shut:
                continue
            values = dict.fromkeys(rule.arguments, "x")
            address = app.url_map.bind("localhost").build(rule.endpoint, values)
            answer = client.post(address, data={"title": "x"})
            assert answer.status_code == 400, address
    finally:
        app.config["WTF_CSRF_ENABLED"] = False


def test_every_answer_carries_the_security_headers(app, log_in, people):
    client = log_in(people["SEMUA"])

    for address in ("/", "/runs/", "/nowhere", "/static/simpul.css"):
        answer = client.get(address)
        assert answer.headers["Content-Security-Policy"] == CSP
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        answer.close()
    assert client.get("/").headers["Cache-Control"] == "no-store"
    assert "Cookie" in client.get("/").headers["Vary"]


def test_log_in_says_the_same_for_a_wrong_password_and_a_stranger(app, log_in, people):
    client = log_in("")

    wrong = client.post(
        "/login", data={"email": people["SEMUA"], "password": "salah-salah-salah"}
    )
    stranger = client.post(
        "/login", data={"email": "tidak.ada@contoh.test", "password": "x" * 14}
    )

    assert wrong.status_code == stranger.status_code
    text = wrong.get_data(as_text=True).replace(people["SEMUA"], "")
    assert text == stranger.get_data(as_text=True).replace("tidak.ada@contoh.test", "")


def test_log_in_is_limited(app, log_in):
    client = log_in("")

    statuses = [
        client.post(
            "/login", data={"email": "a@contoh.test", "password": "x"}
        ).status_code
        for _ in range(12)
    ]

    assert statuses[-1] == 429


def test_a_new_password_or_a_switched_off_account_ends_every_session(app, log_in):
    from app.identity.passwords import hash_of
    from app.identity.services import settle_user

    email = make.make_user("AUDITOR", password=hash_of(PASSWORD)).email
    client = log_in(email)
    assert client.get("/").status_code == 200

    with make.session() as s:
        user = s.scalars(sa.select(User).where(User.email == email)).one()
        settle_user(s, user, new_password="kata-sandi-yang-baru-9", created=False)

    assert client.get("/").status_code == 302


def test_a_redirect_after_log_in_stays_here(app, people, log_in):
    client = log_in("")

    for target in ("//evil.test", "https://evil.test/", "/\\evil.test", "\\\\evil.test"):
        answer = client.post(
            "/login", query_string={"next": target},
            data={"email": people["AUDITOR"], "password": PASSWORD, "next": target},
        )  # fmt: skip
        target_now = urlsplit(answer.headers.get("Location", ""))
        assert target_now.netloc == ""
        assert not target_now.path.startswith(("//", "/\\"))
        client.post("/logout")


def test_a_secret_is_never_shown_nor_audited(app, log_in, people, estates):
    own, _ = estates
    client = log_in(people["SEMUA"])

    for address in (
        f"/sources/{own.source}/edit",
        f"/pulls/source/{own.source}",
        "/sources/",
    ):
        assert "rahasia-sekali-kenari" not in client.get(address).get_data(as_text=True)
    with make.session() as s:
        stored = s.execute(
            sa.text("SELECT secrets FROM source WHERE id = :id"), {"id": own.source}
        ).scalar_one()
        assert "rahasia" not in stored
        source = s.get_one(Source, own.source)
        assert source.secrets == {"auth_secret": "rahasia-sekali-kenari"}
        trail = s.scalars(
            sa.select(sa.cast(AuditEvent.after, sa.Text)).where(
                AuditEvent.object_id == str(own.source)
            )
        ).all()
    assert any("•••" in (each or "") or "\\u2022" in (each or "") for each in trail)
    assert not any("rahasia-sekali" in (each or "") for each in trail)


def test_state_columns_cannot_be_posted(app, log_in, people):
    """Mass assignment: what is not in a form's columns does not arrive."""
    person = make.make_user(agency=make.make_agency(), password="$argon2id$x")
    client = log_in(people["SEMUA"])

    address = f"/users/edit/?id={person.id}"
    answer = client.post(
        address,
        data={
            "seen": seen_in(client, address),
            "name": "Nama Baru", "email": person.email, "job_title": "", "active": "y",
            "password": "x", "fs_uniquifier": "x", "created_at": "2020-01-01 00:00:00",
            "agency": str(person.agency_id),
        },
    )  # fmt: skip

    assert answer.status_code == 302, answer.get_data(as_text=True)[-3000:]
    with make.session() as s:
        user = s.get_one(User, person.id)
        assert (user.password, user.fs_uniquifier) == (
            person.password,
            person.fs_uniquifier,
        )
        assert user.name == "Nama Baru"


def test_health_tells_live_from_ready(app, log_in):
    client = log_in("")

    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code in {200, 503}
    assert ready.json["checks"]["database"]["ok"] is True
    assert set(ready.json["checks"]) == {
        "database", "worker", "scheduler", "schedule_lag", "redis",
    }  # fmt: skip


def test_a_run_of_a_kind_that_this_version_does_not_know_is_shown(app, log_in, people):
    run_id = make.make_run("dari-masa-depan", status="failed", finished_at=sa.func.now())
    client = log_in(people["SEMUA"])

    assert "dari-masa-depan" in client.get("/runs/").get_data(as_text=True)
    assert client.get(f"/runs/{run_id}").status_code == 200
    assert client.get("/").status_code == 200


def test_without_a_database_every_page_says_so(app, log_in, people, monkeypatch):
    client = log_in(people["SEMUA"])

    def refuse(*_args, **_named):
        raise psycopg.OperationalError("the database system is starting up")

    with app.app_context():
        pages.engine.dispose()
    monkeypatch.setattr(Line, "connect", refuse)
    for path in ("/", "/sources/", f"/runs/{uuid4()}/part"):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert "Basis data sedang tidak menjawab" in answer.get_data(as_text=True)
        assert answer.headers["Retry-After"] == "30"
