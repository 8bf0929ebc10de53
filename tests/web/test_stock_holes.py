"""The holes of Flask-Admin as it comes (A1 to A18), each beside the same attack upon ours.

Every test shows first that the hole is there: in a small application of the library's own
defaults on the test's PostgreSQL, or in the files that it brings. Should a later version
close one, its test fails and says that our answer to it may go.
"""

import ast
import io
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_admin.form import BaseForm, upload
from flask_babel import Babel
from sqlalchemy import event, orm
from werkzeug.datastructures import FileStorage, MultiDict

import app as ours
from app.audit import recorder
from app.core import db
from app.identity.models import Agency, User
from app.identity.passwords import hash_of
from app.web.extensions import limiter
from tests import make
from tests.web.conftest import PASSWORD, seen_in

# The library's own old ways of calling other libraries.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning"
)
FORMULA = '=HYPERLINK("http://evil.test")'
WHEEL = Path(str(find_spec("flask_admin").origin)).parent
HOUSE = Path(str(ours.__file__)).parent


class Stock(orm.DeclarativeBase):
    metadata = sa.MetaData(schema="stock")


class Folder(Stock):
    __tablename__ = "folder"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    agency: orm.Mapped[str]

    def __str__(self) -> str:
        return f"folder of {self.agency}"


class Paper(Stock):
    """A table as an office has it: a tenant, a secret, a rule, a flag that gives power."""

    __tablename__ = "paper"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    agency: orm.Mapped[str]
    title: orm.Mapped[str]
    password_hash: orm.Mapped[str] = orm.mapped_column(default="")
    is_admin: orm.Mapped[bool] = orm.mapped_column(default=False)
    amount: orm.Mapped[int] = orm.mapped_column(default=0)
    folder_id: orm.Mapped[int | None] = orm.mapped_column(sa.ForeignKey(Folder.id))
    folder: orm.Mapped[Folder | None] = orm.relationship()
    __table_args__ = (sa.CheckConstraint("amount >= 0", name="amount_is_sound"),)


class OwnPapers(ModelView):
    """What the library's documentation says for lists of one tenant."""

    column_searchable_list = ("title",)
    can_export = True
    can_view_details = True
    form_ajax_refs = {"folder": {"fields": ("agency",)}}

    def get_query(self) -> Any:
        return self.session.query(Paper).filter(Paper.agency == "A")


@pytest.fixture(scope="module")
def engine(settings):
    made = db.make_engine(settings.migration_database_url)
    with made.begin() as line:
        line.execute(sa.text("CREATE SCHEMA stock"))
        Stock.metadata.create_all(line)
    yield made
    with made.begin() as line:
        line.execute(sa.text("DROP SCHEMA stock CASCADE"))
    made.dispose()


@pytest.fixture
def stock(engine, monkeypatch):
    """An application of Flask-Admin's defaults, with papers of two tenants."""
    # Our listeners hear every session: no event is written of what is not ours.
    monkeypatch.setattr(
        recorder, "EXEMPT", {**recorder.EXEMPT, "paper": "", "folder": ""}
    )
    make_session = orm.sessionmaker(engine, info={"owner": True})
    session = orm.scoped_session(make_session)
    made = Flask("stock")
    made.config.update(SECRET_KEY="x", TESTING=False)
    Babel(made)
    admin = Admin(made)
    admin.add_view(OwnPapers(Paper, session, endpoint="paper"))
    admin.add_view(ModelView(Folder, session, endpoint="folder"))
    made.teardown_request(lambda _error: session.remove())
    with make_session.begin() as s:
        s.execute(sa.delete(Paper))
        s.execute(sa.delete(Folder))
        s.add_all([Folder(agency="A"), Folder(agency="B")])
        papers = [
            Paper(agency="A", title="milik A", password_hash="$argon2id$rahasia"),
            Paper(agency="B", title="milik B", password_hash="$argon2id$rahasia"),
            Paper(agency="A", title=FORMULA),
        ]
        s.add_all(papers)
        s.flush()
        idents = [each.id for each in papers]

    def stored(ident: int) -> Paper | None:
        with make_session() as s:
            return s.get(Paper, ident)

    return SimpleNamespace(
        client=made.test_client(),
        own=idents[0],
        other=idents[1],
        stored=stored,
        engine=engine,
    )


@pytest.fixture
def boss(log_in, estates):
    """An administrator of an agency, who keeps its people alone."""
    with make.session() as s:
        agency = s.get_one(Agency, estates[0].agency)
    person = make.make_user("OPD_ADMIN", agency=agency, password=hash_of(PASSWORD))
    return SimpleNamespace(client=log_in(person.email), user=person)


@pytest.fixture
def checked(app):
    """The application with its check of tokens, as it runs outside of tests."""
    app.config["WTF_CSRF_ENABLED"] = True
    yield app
    app.config["WTF_CSRF_ENABLED"] = False


def person_of(ident) -> User:
    with make.session() as s:
        return s.get_one(User, ident)


def sources() -> list[tuple[Path, ast.Module]]:
    """Return our own modules, parsed."""
    found = [*HOUSE.rglob("*.py"), *(HOUSE.parent / "jobs").rglob("*.py")]
    return [(path, ast.parse(path.read_text())) for path in found]


def imported() -> set[str]:
    names = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{each.name}" for each in node.names}
            elif isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
    return names


def test_a1_stock_lets_anybody_in(stock, log_in):
    assert stock.client.get("/admin/paper/").status_code == 200
    answer = log_in("").get("/users/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login")


def test_a2_stock_scopes_the_list_alone(stock, boss, estates):
    assert "milik B" not in stock.client.get("/admin/paper/").get_data(as_text=True)
    address = f"/admin/paper/edit/?id={stock.other}"
    assert "milik B" in stock.client.get(address).get_data(as_text=True)
    form = {"agency": "B", "title": "diambil", "amount": "0", "password_hash": "x"}
    assert stock.client.post(address, data=form).status_code == 302
    assert stock.stored(stock.other).title == "diambil"
    stock.client.post("/admin/paper/delete/", data={"id": stock.other})
    assert stock.stored(stock.other) is None

    theirs = estates[1].user
    before = person_of(theirs).name
    for path in (f"/users/edit/?id={theirs}", f"/users/details/?id={theirs}"):
        assert boss.client.get(path).status_code == 404, path
    assert (
        boss.client.post(f"/users/edit/?id={theirs}", data={"name": "x"}).status_code
        == 404
    )
    assert boss.client.post("/users/delete/", data={"id": theirs}).status_code == 404
    assert person_of(theirs).name == before


def test_a3_stock_asks_for_no_token(stock, checked, log_in, people):
    form = {"agency": "A", "title": "palsu", "amount": "0", "password_hash": "x"}
    address = f"/admin/paper/edit/?id={stock.own}"
    origin = {"Origin": "https://evil.test"}
    assert stock.client.post(address, data=form, headers=origin).status_code == 302
    assert stock.stored(stock.own).title == "palsu"

    agency = make.make_agency(phone="0761-1")
    checked.config["WTF_CSRF_ENABLED"] = False
    victim, stranger = log_in(people["SYSADMIN"]), log_in(people["SEMUA"])
    checked.config["WTF_CSRF_ENABLED"] = True
    address = f"/agencies/edit/?id={agency.id}"
    seen = seen_in(victim, address)
    form = {"code": agency.code, "name": agency.name, "phone": "palsu", "seen": seen}
    foreign = _token(stranger.get(address))
    own = _token(victim.get(address))
    assert foreign != own
    tries = {
        "none": {"data": form},
        "empty": {"data": form | {"csrf_token": ""}},
        "a stranger's": {"data": form | {"csrf_token": foreign}},
        "broken": {"data": form | {"csrf_token": own[:-2]}},
        "in the address": {"data": form, "query_string": {"csrf_token": own}},
        "text": {"data": f"csrf_token={own}&phone=palsu", "content_type": "text/plain"},
        "json": {"json": form | {"csrf_token": own}},
        "no type": {"data": b"phone=palsu", "content_type": ""},
    }
    for name, sent in tries.items():
        query = {"id": str(agency.id)} | sent.pop("query_string", {})
        answer = victim.post("/agencies/edit/", query_string=query, **sent)
        assert answer.status_code == 400, name
    with make.session() as s:
        assert s.get_one(Agency, agency.id).phone == "0761-1"


def _token(answer: Any) -> str:
    return re.search(
        r'name="csrf_token"[^>]*value="([^"]+)"', answer.get_data(as_text=True)
    )[1]


def test_a4_stock_takes_every_column_from_a_form(stock, boss, estates):
    form = {
        "agency": "B", "title": "x", "amount": "0", "is_admin": "y", "password_hash": "milikku",
    }  # fmt: skip
    stock.client.post(f"/admin/paper/edit/?id={stock.own}", data=form)
    taken = stock.stored(stock.own)
    assert (taken.is_admin, taken.password_hash, taken.agency) == (True, "milikku", "B")

    person = make.make_user("OPD_OPERATOR", agency=person_of(boss.user.id).agency)
    before = person_of(person.id)
    address = f"/users/edit/?id={person.id}"
    form = {
        "name": "Nama Baru", "email": before.email, "active": "y", "roles": _roles(before),
        "seen": seen_in(boss.client, address), "agency": str(estates[1].agency),
        "agency_id": str(estates[1].agency), "password": "x", "fs_uniquifier": "x",
        "id": str(estates[1].user), "row_version": "99", "former_passwords": "x",
        "tf_totp_secret": "x", "created_at": "2001-01-01 00:00:00",
    }  # fmt: skip
    assert boss.client.post(address, data=form).status_code == 302
    after = person_of(person.id)
    assert after.name == "Nama Baru"
    for column in sa.inspect(User).columns:
        if column.key not in {"name", "row_version"}:
            assert getattr(after, column.key) == getattr(before, column.key), column.key


def _roles(user: User) -> list[str]:
    with make.session() as s:
        return [str(role.id) for role in s.get_one(User, user.id).roles]


def test_a5_stock_looks_up_all_tenants(stock, boss, estates):
    found = stock.client.get("/admin/paper/ajax/lookup/?name=folder&query=&limit=100000")
    assert "folder of B" in found.get_data(as_text=True)
    assert boss.client.get("/users/ajax/lookup/?name=agency&query=").status_code == 404
    page = boss.client.get("/users/new/").get_data(as_text=True)
    assert str(estates[1].agency) not in page
    assert estates[1].canary not in page


def test_a6_stock_shows_the_password(stock, log_in, people, estates):
    for path in ("", f"details/?id={stock.own}", "export/csv/"):
        page = stock.client.get(f"/admin/paper/{path}").get_data(as_text=True)
        assert "$argon2id$rahasia" in page, path
    client = log_in(people["SEMUA"])
    hashed = person_of(estates[0].user).password
    for path in ("/users/", f"/users/details/?id={estates[0].user}",
                 f"/users/edit/?id={estates[0].user}"):  # fmt: skip
        page = client.get(path).get_data(as_text=True)
        assert estates[0].canary in page, path
        assert hashed not in page, path
        assert "$argon2" not in page, path


def test_a7_stock_exports_live_formulas_by_get(app, stock, log_in, people):
    answer = stock.client.get("/admin/paper/export/csv/")
    assert answer.status_code == 200
    rows = answer.get_data(as_text=True).splitlines()
    assert any('"=HYPERLINK(' in row for row in rows)  # a cell that begins with "="
    client = log_in(people["SEMUA"])
    for view in app.extensions["simpul_admin_views"]:
        assert client.get(f"/{view}/export/csv/").status_code == 404, view


def test_a8_stock_tells_its_sql(stock, log_in, people):
    form = {
        "agency": "A",
        "title": "x",
        "amount": "-7",
        "password_hash": "rahasia-sekali",
    }
    page = stock.client.post(f"/admin/paper/edit/?id={stock.own}", data=form)
    text = page.get_data(as_text=True)
    assert "[SQL: UPDATE stock.paper" in text or "amount_is_sound" in text
    client = log_in(people["SEMUA"])
    twin = make.make_agency()
    form = {"code": twin.code, "name": twin.name, "active": "y"}
    for name in ("A\0B", twin.name):
        answer = client.post("/agencies/new/", data=form | {"name": name})
        text = answer.get_data(as_text=True)
        assert answer.status_code in {200, 400}
        for word in ("SQL", "psycopg", "INSERT", "uq_agency", "UniqueViolation"):
            assert word not in text, word


STRANGE = (
    "?page=-1", "?page=9223372036854775808", "edit/?id=abc", "edit/?id=1%00",
    "edit/?id=99999999999999999999", "details/?id=1,2", "?search=%00",
    "ajax/lookup/?name=folder&query=&limit=-1", "ajax/lookup/?name=folder&query=%00",
)  # fmt: skip


def test_a9_stock_breaks_at_strange_numbers(stock, log_in, people):
    broken = {
        path for path in STRANGE if _status(stock.client, f"/admin/paper/{path}") >= 500
    }
    assert len(broken) >= 3, broken
    client = log_in(people["SEMUA"])
    for view in ("agencies", "users", "audit", "exchange"):
        for path in STRANGE:
            assert client.get(f"/{view}/{path}").status_code < 500, (view, path)


def _status(client: Any, path: str) -> int:
    return int(client.get(path).status_code)


def _statements(engine: sa.Engine, ask: Any) -> list[str]:
    said: list[str] = []

    def hear(_line, _cursor, statement, *_more):
        said.append(statement)

    event.listen(engine, "before_cursor_execute", hear)
    ask()
    event.remove(engine, "before_cursor_execute", hear)
    return said


def test_a10_stock_reads_what_it_leaves_out(app, stock, log_in, people):
    said = _statements(stock.engine, lambda: stock.client.get("/admin/paper/?page=1"))
    assert any("OFFSET" in each for each in said)
    assert any("count(" in each and "LIMIT" not in each for each in said)

    client = log_in(people["SEMUA"])
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
    for _ in range(26):  # a page of the trail, and one event more
        make.make_agency()
    answers = []
    said = _statements(engine, lambda: answers.append(client.get("/audit/")))
    place = re.search(r'href="([^"]*after=[^"]+)"', answers[0].get_data(as_text=True))
    assert place, "more than one page"
    said += _statements(engine, lambda: client.get(place[1].replace("&amp;", "&")))
    assert any("audit_event" in each for each in said)
    assert not any("OFFSET" in each for each in said)
    assert all(
        "LIMIT" in each for each in said if "count(*)" in each and "audit_event" in each
    )


HEADERS = (
    "Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
)  # fmt: skip


def test_a11_stock_sends_no_protection(app, stock, log_in, people):
    answer = stock.client.get("/admin/paper/")
    assert not any(name in answer.headers for name in HEADERS)
    client = log_in(people["SEMUA"])
    answer = client.get("/users/")
    assert all(name in answer.headers for name in HEADERS)
    assert (
        "unsafe-inline" not in answer.headers["Content-Security-Policy"].split("style")[0]
    )
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie.http_only
    assert cookie.same_site in {"Lax", "Strict"}


OLD = ("jquery", "select2", "moment", "x-editable", "fontawesome", "bootstrap4")


def test_a12_stock_brings_old_libraries(stock, log_in, people, estates):
    brought = {path.name for path in (WHEEL / "static/vendor").iterdir()}
    assert {
        "bootstrap4",
        "jquery.min.js",
        "moment.min.js",
        "select2",
        "x-editable",
    } <= brought
    assert "jquery" in stock.client.get("/admin/paper/").get_data(as_text=True)
    client = log_in(people["SEMUA"])
    for path in ("/", "/users/", "/users/new/", f"/users/details/?id={estates[0].user}",
                 "/agencies/new/", "/runs/", "/contracts/", "/imports/?listed=agencies"):  # fmt: skip
        page = client.get(path).get_data(as_text=True).lower()
        loaded = " ".join(
            re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page)
        )
        assert loaded, path
        assert "/static/admin/" not in loaded, path
        assert not any(name in loaded for name in OLD), path
    assert client.get("/static/admin/vendor/jquery.min.js").status_code == 404


def test_a13_stocks_upload_field_takes_any_name_and_writes_over(tmp_path):
    class Sending(BaseForm):
        file = upload.FileUploadField(base_path=str(tmp_path))

    (tmp_path / "shell.py").write_text("yang lama")
    sent = FileStorage(io.BytesIO(b"yang baru"), filename="shell.py")
    stock = Flask("stock")
    Babel(stock)
    with stock.test_request_context("/", method="POST"):
        form = Sending(MultiDict({"file": sent}))
        assert form.validate()
        form.populate_obj(SimpleNamespace(file=None))
    assert (tmp_path / "shell.py").read_text() == "yang baru"

    # Ours keeps what is sent in a row, by a key of its own; see test_import for what it takes.
    assert not {name for name in imported() if name.startswith("flask_admin.form.upload")}
    assert "flask_admin.form.upload" not in imported()


def test_a14_stock_trusts_descriptions_and_ours_writes_markup_down(log_in, people):
    assert "field.description|safe" in "".join(
        path.read_text() for path in (WHEEL / "templates").rglob("lib.html")
    ).replace(" | ", "|")
    bad = "<img src=x onerror=alert(1)>\"'</script>{{ 7*7 }}"
    agency = make.make_agency(name=f"{make.word()}{bad}", short_name=bad, address=bad)
    client = log_in(people["SEMUA"])
    for path in (f"/agencies/details/?id={agency.id}", f"/agencies/edit/?id={agency.id}",
                 f"/agencies/?search={agency.name[:11]}", f"/find/?q={agency.name[:11]}",
                 f"/agencies/?search={quote(bad)}", "/users/new/"):  # fmt: skip
        page = client.get(path).get_data(as_text=True)
        assert "<img src=x" not in page, path
        assert ">49" not in page, path
    for path, tree in sources():
        for node in ast.walk(tree):  # Markup(…) of a finished text, never of a made one
            is_markup = (
                isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Markup"
            )
            if is_markup and node.args:
                made = ast.JoinedStr, ast.BinOp, ast.Call
                assert not isinstance(node.args[0], made), (path, node.lineno)


def test_a15_stock_says_nothing_of_what_is_not_there(stock, log_in, people):
    for path in ("edit", "details"):
        answer = stock.client.get(f"/admin/paper/{path}/?id=2000000000")
        assert answer.status_code == 302, path
    client = log_in(people["SEMUA"])
    for path in ("edit", "details"):
        assert client.get(f"/users/{path}/?id={uuid4()}").status_code == 404, path
    assert log_in(people["AUDITOR"]).get("/users/new/").status_code == 403


def test_a16_in_stock_the_last_one_wins(stock, log_in, people):
    form = {"agency": "A", "amount": "0", "password_hash": "x"}
    address = f"/admin/paper/edit/?id={stock.own}"
    for _ in range(2):
        stock.client.get(address)
    stock.client.post(address, data=form | {"title": "pertama"})
    stock.client.post(address, data=form | {"title": "kedua"})
    assert stock.stored(stock.own).title == "kedua"

    agency = make.make_agency(phone="awal")
    client = log_in(people["SEMUA"])
    address = f"/agencies/edit/?id={agency.id}"
    seen = [seen_in(client, address) for _ in range(2)]
    form = {"code": agency.code, "name": agency.name, "active": "y"}
    first = client.post(address, data=form | {"phone": "pertama", "seen": seen[0]})
    second = client.post(address, data=form | {"phone": "kedua", "seen": seen[1]})
    assert (first.status_code, second.status_code) == (302, 409)
    with make.session() as s:
        assert s.get_one(Agency, agency.id).phone == "pertama"


ELSEWHERE = (
    "//evil.test", "///evil.test", "////evil.test", "https://evil.test", "http://evil.test",
    "https:evil.test", "https:/evil.test", "https:///evil.test", "http:evil.test",
    "\\\\evil.test", "/\\evil.test", "\\/evil.test", "/\\/evil.test", "//\\evil.test",
    "\\evil.test", "/%09/evil.test", "/\t/evil.test", "\t//evil.test", " //evil.test",
    "\n//evil.test", "/\n/evil.test", "/\r\n/evil.test", "%0d%0a//evil.test",
    "/%0d%0aLocation:%20https://evil.test", "javascript:alert(1)", "JavaScript:alert(1)",
    "java\tscript:alert(1)", "data:text/html,x", "vbscript:x", "ftp://evil.test",
    "//localhost@evil.test", "https://localhost@evil.test", "https://localhost.evil.test",
    "http://localhost:80@evil.test", "//evil.test/%2f..", "/..//evil.test", "/.//evil.test",
    "／／evil.test", "/／evil.test", "//evil。test", "//[::1]/", "//0x7f000001", "\0//evil.test",
    "https://evil.test\\@localhost", "?next=//evil.test", "#//evil.test",
)  # fmt: skip


def _stays(location: str) -> bool:
    """Tell whether a browser that reads an address as browsers do stays with us."""
    seen = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    parts = urlsplit(seen)
    return not parts.scheme and not parts.netloc and not seen.startswith("//")


def test_a17_no_address_leads_elsewhere(stock, log_in, people):
    """Stock checks it as well, for its forms; ours for the log-in and the forms alike."""
    assert len(ELSEWHERE) >= 40
    page = stock.client.get(f"/admin/paper/edit/?id={stock.own}&url=//evil.test")
    assert "//evil.test" not in page.get_data(as_text=True)

    agency = make.make_agency()
    client, stranger = log_in(people["SEMUA"]), log_in("")
    login = {"email": people["AUDITOR"], "password": PASSWORD}
    for target in ELSEWHERE:
        limiter.reset()
        query = {"next": target}
        answer = stranger.post("/login", query_string=query, data=login | query)
        assert answer.status_code in {200, 302}, target  # let in, or asked again
        assert _stays(answer.headers.get("Location", "/")), target
        stranger.post("/logout")
        page = client.get(
            "/agencies/edit/", query_string={"id": agency.id, "url": target}
        )
        linked = re.findall(
            r'(?:href|action|value)="([^"]*evil[^"]*)"', page.get_data(as_text=True)
        )
        assert all(_stays(each) for each in linked), (target, linked)
        moved = client.post("/language", data={"language": "id", "next": target},
                            headers={"Referer": "https://evil.test/"})  # fmt: skip
        assert moved.status_code < 500, target
        assert _stays(moved.headers.get("Location", "/")), target


def test_a18_stock_has_a_file_manager_and_a_redis_console(app):
    assert (WHEEL / "contrib/fileadmin").is_dir()
    assert (WHEEL / "contrib/rediscli.py").is_file()
    used = imported()
    assert not {name for name in used if "fileadmin" in name or "rediscli" in name}
    assert any(name.startswith("flask_admin.contrib.sqla") for name in used)
    rules = {str(rule) for rule in app.url_map.iter_rules()}
    assert not {rule for rule in rules if "rediscli" in rule or "fileadmin" in rule}
