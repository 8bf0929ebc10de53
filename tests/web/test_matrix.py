"""The matrix of scope: every role, every route, the objects of two agencies.

Generated from the URL map and the policies. What is expected follows from a route's policy,
the role's permissions and whose the object is; nothing is copied from how it behaves.
"""

import io
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app import models
from app.api import services as api_services
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.audit.models import AuditEvent
from app.complaints.models import (
    Complaint,
    ComplaintEvent,
    ComplaintNote,
    ComplaintSender,
)
from app.complaints.states import (
    Channel,
    Deed,
    Kind as ComplaintKind,
    State as ComplaintState,
)
from app.core import db
from app.core.clock import utc_now
from app.core.db import Base
from app.core.policy import ANONYMOUS, Permission, Principal, acting_as, set_request_id
from app.core.scope import Scope
from app.core.search import searched
from app.datasets.models import Agreement, ChangeNotice, Dataset
from app.exports import services as exports
from app.exports.models import ExchangeLog, ExportRun
from app.files.inspection import FileKind
from app.history.models import Trashed
from app.identity.models import Duty, FactorReset, LoginSession, Role, User
from app.identity.passwords import hash_of
from app.identity.principals import onlooker_of, principal_of
from app.integrations.models import Integration
from app.listings.models import DataImport, SavedView
from app.notifications.models import Mail, Notification
from app.notifications.states import MailState
from app.office.models import Holiday, HolidayKind, Office
from app.requests.documents import DocumentKind
from app.requests.models import (
    Document,
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
    IssuedPaper,
    RequestEvent,
    RequestMessage,
    RequestNote,
)
from app.requests.states import Action, Party, Role as ProcedureRole, Step
from app.requests.wordings import PaperKind
from app.sources.models import Host
from app.web.guard import Everyone, Shut, SignedIn, policy_of
from tests import make
from tests.web import drives
from tests.web.conftest import PASSWORD, Estate, make_estate

OFFICE_ROLES = (
    "PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "WALIDATA",
    "AUDITOR", "SYSADMIN",
)  # fmt: skip
AGENCY_ROLES = ("OPD_OPERATOR", "OPD_PIMPINAN", "OPD_ADMIN")
NO_FILE = "0" * 64  # of the store
NEW_EMAIL = f"{make.word()}@contoh.test"
MODELS: dict[str, Any] = {
    each.local_table.name: each.class_ for each in Base.registry.mappers
}
SCOPES: dict[str, Scope] = {name: each.__scope__ for name, each in MODELS.items()}
# What a person sees of a shared view beside the list is its name; only its owner deletes it.
SCOPES |= {"request": Scope.AGENCY, "saved_view": Scope.PERSON}


@dataclass
class Holding:
    """What one agency owns: an object of every kind, by the name of its table."""

    estate: Estate
    idents: dict[str, Any] = field(default_factory=dict)

    @property
    def marks(self) -> set[str]:
        """Texts that stand in no answer to somebody who may not see this agency."""
        own = {
            str(ident)
            for kind, ident in self.idents.items()
            if SCOPES[kind] not in {Scope.OFFICE, Scope.EVERYONE}
            and not isinstance(ident, int)
        }
        return own | {self.estate.canary}


@dataclass
class Actor:
    """Somebody who sends requests; ``principal`` is what their role says they are."""

    name: str
    client: FlaskClient
    principal: Principal

    def may(self, policy: Any) -> bool:
        return not isinstance(policy, Permission) or self.principal.may(policy)

    def sees(self, kind: str, holding: Holding) -> bool:
        """Tell whether an object of a holding exists for this person, by its scope."""
        scope = SCOPES[kind]
        if scope is Scope.EVERYONE:
            return True
        if scope in {Scope.PERSON, Scope.SHARED}:
            return self.principal.user_id == holding.estate.user
        if self.principal.is_office:
            return True
        return (
            scope is not Scope.OFFICE
            and self.principal.agency_id == holding.estate.agency
        )


# --- two agencies with an object of every kind -----------------------------------------------


@pytest.fixture(scope="module")
def holdings(app, people, settings) -> tuple[Holding, Holding]:
    """Agencies of the matrix's own: what it gives them stands in no other test's way."""
    with acting_as(make.OFFICE):
        return _held(make_estate(settings)), _held(make_estate(settings))


def _held(estate: Estate) -> Holding:
    canary = estate.canary
    client = ApiClient(agency_id=estate.agency, name=f"Klien {canary}")
    with make.session() as s:
        s.add(client)
        s.flush()
        api_services.make_key(s, client)
        dataset = s.scalars(sa.select(Dataset).where(Dataset.slug == estate.slug)).one()
        colleague = make.make_user(
            "OPD_OPERATOR", agency=_agency(s, estate), name=f"Rekan {canary}"
        )
    request_id = make.word("permintaan")
    set_request_id(request_id)
    with make.session() as s:
        _agency(s, estate).phone = make.word("0761-")
    set_request_id("")
    with db.owner_unit_of_work() as s:
        rows = _rows(
            estate, s.get(User, estate.user), s.get(User, colleague.id), client, dataset
        )
        s.add_all(rows)
        s.flush()
        event = s.scalars(
            sa.select(AuditEvent.id).where(AuditEvent.request_id == request_id)
        ).first()
        key = s.scalars(sa.select(ApiKey.id).where(ApiKey.client_id == client.id)).one()
        role = s.scalars(sa.select(Role.id).where(Role.name == "OPD_OPERATOR")).one()
        office = s.scalars(sa.select(Office.id)).one()
    return Holding(
        estate,
        {
            "agency": estate.agency, "user": estate.user, "contract": estate.contract,
            "contract_version": estate.version, "source": estate.source,
            "dataset": estate.slug, "job_run": estate.run, "role": role, "office": office,
            "quarantined_record": estate.record, "export_run": estate.export,
            "schedule": estate.schedule, "api_client": client.id, "api_key": key,
            "audit_event": event, "request": request_id,
            **{type(row).__tablename__: _key(row) for row in rows},
        },
    )  # fmt: skip


def _rows(
    estate: Estate, user: User, colleague: User, client: Any, dataset: Any
) -> list[Any]:
    canary, neighbour = estate.canary, make.make_agency().id
    case, letter, said = uuid4(), uuid4(), uuid4()
    person = {"user_id": estate.user}
    own = {"agency_id": estate.agency}
    return [
        ApiGrant(client_id=client.id, dataset_id=dataset.id, producer_id=estate.agency, **own),
        Agreement(number=f"PKS {canary}", dataset_id=dataset.id, producer_id=estate.agency,
                  agency_id=neighbour, purpose="Uji", valid_until=utc_now() + timedelta(days=9)),
        SavedView(listed="users", name=canary, query="", is_shared=True, **own, **person),
        DataImport(listed="users", file_name=f"{canary}.xlsx", content=b"", sheet={}, **person),
        Notification(id=_number(), kind="account", params={"message": canary}, path="/", at=utc_now(),
                     shown=True, for_digest=False, **person),
        FactorReset(reason=canary, asked_by=colleague.id, user=colleague, **own),
        Duty(user=user, for_user=colleague, kind="plh", position=canary, basis="", **own,
             starts_at=utc_now() - timedelta(days=3), ends_at=utc_now() - timedelta(days=1)),
        LoginSession(user_key=canary, token_hash=canary.encode(), **person),
        ExchangeLog(id=_number(), channel="excel", producer_id=estate.agency, dataset_id=dataset.id,
                    row_count=1, byte_count=1, agreement=canary, **own),
        Trashed(object_type="source", object_id=str(uuid4()), label=f"Sumber lama {canary}",
                rows=[], trashed_by=canary, **own),
        Mail(recipient=f"{canary}@contoh.test", subject=canary, text=canary, html=canary,
             confidential=False, state=MailState.SENT, not_before=utc_now(),
             created_at=utc_now(), **person),
        Host(pair=f"{canary}.test:443"),
        Holiday(day=date(2100, 1, 1) + timedelta(days=secrets.randbelow(300_000)),
                name="Hari libur", kind=HolidayKind.NATIONAL),
        IntegrationRequest(id=case, number=f"PMH/{canary}", title=canary, handed_in_at=utc_now(),
                           step=Step.SCENARIO, ball=Party.OFFICE, asked=["TIM_TEKNIS"], **own),
        Document(id=letter, case_id=case, kind=DocumentKind.LETTER, content={"subject": canary}),
        DocumentVersion(case_id=case, document_id=letter, number=1, content={}, files=[], sha256=canary, by=canary),
        DocumentFile(case_id=case, document_id=letter, name=f"{canary}.pdf", kind=FileKind.PDF,
                     sha256=NO_FILE, byte_count=1, pages=1, by=canary),
        IssuedPaper(case_id=case, kind=PaperKind.RECEIPT, step=Step.FILE_CHECK, number=canary,
                    title="Tanda terima", code=canary, sha256=NO_FILE, byte_count=1,
                    issued_at=utc_now(), issued_by=canary),
        RequestEvent(id=_number(), case_id=case, actor=canary, action=Action.HAND_IN, note=canary,
                     role=ProcedureRole.OPD_OPERATOR, from_step=Step.DRAFT, to_step=Step.FILE_CHECK),
        RequestMessage(case_id=case, author=canary, of_office=False, text=canary),
        RequestNote(case_id=case, author="kantor", text="hanya kantor"),
        ChangeNotice(version_id=estate.version, dataset_id=dataset.id, producer_id=estate.agency,
                     agency_id=neighbour, title=canary, changes=[], digest=canary,
                     sent_at=utc_now(), sent_by="kantor", due_at=utc_now()),
        Complaint(id=said, number=f"ADU/{canary}", code=canary, kind=ComplaintKind.COMPLAINT,
                  channel=Channel.PORTAL, subject=canary, text=canary, state=ComplaintState.RECEIVED,
                  received_on=date(2026, 1, 1), due_on=date(2026, 1, 9), **own),
        ComplaintEvent(id=_number(), complaint_id=said, actor=canary, deed=Deed.RECEIVE, words=canary),
        ComplaintSender(complaint_id=said, name="hanya kantor", contact="hanya kantor"),
        ComplaintNote(complaint_id=said, author="kantor", text="hanya kantor"),
        Integration(contract_id=dataset.contract_id, system=canary, document=canary,
                    running_since=date(2026, 1, 1), **own),
    ]  # fmt: skip


def _number() -> int:
    """Return a number that stands in no page by chance."""
    return 10**15 + secrets.randbelow(10**14)


def _agency(session: Any, estate: Estate) -> Any:
    return session.get(models.identity.Agency, estate.agency)


def _key(row: Any) -> Any:
    return getattr(row, sa.inspect(type(row)).primary_key[0].key)


def _invented(kind: str, ident: Any) -> Any:
    """Return an id of the same form that never was."""
    if isinstance(ident, UUID):
        return uuid4()
    return 2**62 if isinstance(ident, int) else make.word("t")


# --- people ------------------------------------------------------------------------------------


@pytest.fixture
def actor(app, log_in, people, holdings):
    """Return a maker of people by the name of a role."""

    def make_actor(name: str) -> Actor:
        own = holdings[0].estate
        if name == "anonim":
            return Actor(name, app.test_client(), ANONYMOUS)
        if name == "melihat":
            return _onlooker(log_in, own)
        if name == "OPD_OPERATOR":
            return Actor(name, log_in(own.operator), _principal(own.operator))
        if name in AGENCY_ROLES:
            with make.session() as s:
                agency = _agency(s, own)
            email = make.make_user(name, agency=agency, password=hash_of(PASSWORD)).email
        else:
            email = people[name]
        return Actor(name, log_in(email), _principal(email))

    return make_actor


def _principal(email: str) -> Principal:
    with make.session() as s:
        return principal_of(s.scalars(sa.select(User).where(User.email == email)).one())


def _onlooker(log_in: Any, own: Estate) -> Actor:
    helper = make.make_user("TIM_TEKNIS", password=hash_of(PASSWORD))
    client = log_in(helper.email)
    answer = client.post(f"/agencies/{own.agency}/view-as", data={"reason": "membantu"})
    assert answer.status_code == 302
    with make.session() as s:
        seen_as = onlooker_of(s, s.get_one(User, helper.id), own.agency)
    return Actor("melihat", client, seen_as)


# --- what is expected --------------------------------------------------------------------------


def refused(actor: Actor, policy: Any, method: str) -> set[int] | None:
    """Return with which statuses the guard refuses; None when it lets pass."""
    if policy is Shut:
        return {404}
    if policy is Everyone:
        return None
    if actor.principal is ANONYMOUS:
        return {302} if method == "GET" else {401}
    if actor.principal.read_only and method != "GET":
        return {403}
    return None if actor.may(policy) else {403}


def plain(answer: Any, *said: object) -> str:
    """Return an answer without what differs from request to request, and what was said."""
    text = answer.get_data().decode(errors="replace")
    for each in said:
        text = text.replace(str(each), "…")
    text = re.sub(r'name="csrf_token"[^>]*', "", text)
    return re.sub(r"\b[0-9a-f]{32}\b", "", text)  # the request's id


def leaks(answer: Any, holding: Holding, *said: object) -> set[str]:
    """Return what of a holding stands in an answer, but for what was asked for by name."""
    text = plain(answer, *said)
    return {mark for mark in holding.marks if mark in text}


def sent(holding: Holding) -> dict[str, Any]:
    """Return a form that names a holding's objects under every name that forms have."""
    idents = holding.idents
    return {
        "agency": str(idents["agency"]), "agency_id": str(idents["agency"]),
        "listed": "users", "row": [str(idents["user"])], "rowid": [str(idents["user"])],
        "id": str(idents["user"]), "user": str(idents["user"]), "person": str(idents["user"]),
        "run": [str(idents["job_run"])], "source": [str(idents["source"])],
        "contract": str(idents["contract"]), "client": str(idents["api_client"]),
        "dataset": idents["dataset"], "roles": [str(idents["role"])],
        "name": "Diambil", "email": NEW_EMAIL, "reason": "mengambil",
        "action": "delete", "change": ["active"], "to-active": "0", "column": "active",
        "was": "1", "to": "0", "do": "save", "url": "/users/",
    }  # fmt: skip


def routes(app: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield every route with each of its methods and its policy."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: str(each.endpoint)):
        policy = policy_of(app, rule.endpoint)
        if rule.endpoint in drives.OWN_LOG_IN and policy is SignedIn:
            continue
        if policy is Everyone and rule.endpoint.endswith("static"):
            continue
        for method in sorted({"GET", "POST"} & rule.methods):
            yield rule, method, policy


def page_address(app: Any, rule: Any) -> str:
    values = dict.fromkeys(rule.arguments, "users")
    return str(app.url_map.bind("localhost").build(rule.endpoint, values))


def print_of(holding: Holding) -> dict[str, Any]:
    """Return for each table how many rows are this agency's, and who wrote each of them."""
    estate = holding.estate
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        people = s.scalars(
            sa.select(User.id).where(User.agency_id == estate.agency)
        ).all()
        found = {}
        for table in Base.metadata.tables.values():
            whose = [
                table.c[name].in_([estate.agency, *people])
                for name in ("agency_id", "producer_id", "user_id")
                if name in table.c
            ]
            if table.name == "agency":
                whose = [table.c.id == estate.agency]
            if whose:
                written = sa.func.hashtext(sa.literal_column("ctid::text || xmin"))
                seen = sa.select(sa.func.count(), sa.func.sum(written)).select_from(table)
                found[table.name] = tuple(s.execute(seen.where(sa.or_(*whose))).one())
        found["data"] = tuple(
            s.execute(
                sa.text(
                    "SELECT count(*), sum(hashtext(ctid::text || xmin))"
                    f' FROM data."{estate.slug}"'
                )
            ).one()
        )
        return found


# --- the matrix --------------------------------------------------------------------------------


def test_an_undeclared_route_fails(app):
    """Whoever adds a route says how it is driven, or the matrix does not stand."""
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    undeclared = {each for each in endpoints if not drives.is_declared(app, each)}
    assert undeclared == set()
    declared = set(drives.OBJECTS) | drives.PAGES | drives.OWN_LOG_IN
    assert declared - endpoints == set()


def test_every_role_and_every_kind_of_object_is_in_the_matrix(app, holdings):
    with make.session() as s:
        # Other tests make roles of their own; those that are shipped have names that speak.
        seeded = set(
            s.scalars(sa.select(Role.name).where(~Role.name.regexp_match("^R[0-9a-f]+$")))
        )
    assert seeded == {*OFFICE_ROLES, *AGENCY_ROLES}
    driven = {
        drive.kind
        for rule in app.url_map.iter_rules()
        if (drive := drives.drive_of(app, rule.endpoint))
    }
    assert driven <= set(holdings[1].idents)


@pytest.mark.parametrize("name", ["anonim", "melihat", *AGENCY_ROLES])
def test_of_another_agency_there_is_nothing(app, actor, holdings, name):
    """Read, change, delete, start, fetch: another agency's object is as one that never was."""
    _own, other = holdings
    who = actor(name)
    before = print_of(other)
    for rule, method, policy in routes(app):
        drive = drives.drive_of(app, rule.endpoint)
        if drive is None:
            continue
        if SCOPES[drive.kind] is Scope.EVERYONE:
            continue
        ident = other.idents[drive.kind]
        statuses = refused(who, policy, method)
        answer = _send(app, who, rule, method, drive, ident, other)
        where = (rule.endpoint, method, answer.status_code)
        assert answer.status_code in (statuses or {404}), where
        # (The log-in page is told where to go on to, which is what was asked for.)
        assert leaks(answer, other, ident) == set(), where
        if statuses is None:
            invented = _invented(drive.kind, ident)
            never = _send(app, who, rule, method, drive, invented, other)
            assert plain(answer, ident) == plain(never, invented), where
    assert print_of(other) == before


def _send(app, who, rule, method, drive, ident, holding) -> Any:
    address = drives.address(app, rule, drive, ident)
    data = sent(holding) | {"id": str(ident)} if method == "POST" else None
    with who.client.open(address, method=method, data=data) as answer:
        answer.get_data()
        return answer


@pytest.mark.parametrize("name", ["anonim", "melihat", *AGENCY_ROLES])
def test_pages_and_forms_lead_to_nothing_of_another_agency(app, actor, holdings, name):
    """Lists, searches, one's own pages, and forms that name another agency's objects."""
    _own, other = holdings
    who = actor(name)
    before = print_of(other)
    for rule, method, policy in routes(app):
        if drives.drive_of(app, rule.endpoint) or rule.endpoint == "account.stop_viewing":
            continue
        if rule.endpoint.startswith("security.") and name != "anonim":
            continue  # or the next request would be somebody else's
        statuses = refused(who, policy, method)
        data = _form(rule, other) if method == "POST" else None
        address = page_address(app, rule)
        with who.client.open(address, method=method, data=data) as answer:
            where = (rule.endpoint, method, answer.status_code)
            # (Nobody works and nothing is scheduled here, which is what /health/ready tells.)
            assert answer.status_code < 500 or rule.endpoint == "health.ready", where
            assert statuses is None or answer.status_code in statuses, where
            assert leaks(answer, other, *_texts(data)) == set(), where
    changed = {t for t, seen in print_of(other).items() if seen != before[t]}
    assert changed == set()


def _form(rule: Any, holding: Holding) -> dict[str, Any]:
    if rule.endpoint == "imports.index":
        table = f"E-mail;Nama\n{holding.estate.operator};Diambil".encode()
        return {"listed": "users", "file": (io.BytesIO(table), "orang.csv")}
    return sent(holding)


def _texts(data: dict[str, Any] | None) -> Iterator[str]:
    for value in (data or {}).values():
        yield from value if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("name", OFFICE_ROLES)
def test_who_lacks_the_permission_is_refused_and_changes_nothing(
    app, actor, holdings, name
):
    """Of the office: what the role does not hold is 403, and what is nobody's is 404."""
    _own, other = holdings
    who = actor(name)
    before = print_of(other)
    for rule, method, policy in routes(app):
        drive = drives.drive_of(app, rule.endpoint)
        statuses = refused(who, policy, method)
        if drive is None or (statuses is None and who.sees(drive.kind, other)):
            continue
        ident = other.idents[drive.kind]
        answer = _send(app, who, rule, method, drive, ident, other)
        where = (rule.endpoint, method, answer.status_code)
        assert answer.status_code in (statuses or {404}), where
        assert leaks(answer, other, ident) == set(), where
    assert print_of(other) == before


@pytest.mark.parametrize("name", AGENCY_ROLES)
def test_ones_own_is_there(app, actor, holdings, name):
    """The other half: a matrix in which everything is 404 would prove nothing."""
    own, other = holdings
    who = actor(name)
    opened = 0
    for rule, method, policy in routes(app):
        drive = drives.drive_of(app, rule.endpoint)
        if drive is None or method != "GET" or refused(who, policy, method):
            continue
        ident = own.idents[drive.kind]
        answer = _send(app, who, rule, method, drive, ident, own)
        where = (rule.endpoint, method, answer.status_code)
        if not who.sees(drive.kind, own):
            assert answer.status_code == 404, where
        elif drive.always:
            assert answer.status_code == 200, where
            opened += 1
        assert leaks(answer, other) == set(), where
    assert opened > 8


@pytest.mark.parametrize("name", AGENCY_ROLES)
def test_lists_count_narrow_sort_and_search_ones_own_rows_alone(
    app, actor, holdings, name
):
    own, other = holdings
    who = actor(name)
    seen = 0
    for rule, method, policy in routes(app):
        table = drives.listed_table(app, rule.endpoint)
        if table is None or refused(who, policy, method):
            continue
        address = page_address(app, rule)
        assert _total(who.client.get(address)) == _rows_of(who, table, own), address
        for query in _questions(app, rule, other):
            answer = who.client.get(address, query_string=query)
            assert answer.status_code == 200, (address, query)
            asked = query[next(iter(query))].rpartition(":")[2]
            assert leaks(answer, other, asked) == set(), (address, query)
            if "search" in query:
                assert _total(answer) == 0, (address, query)
        seen += 1
    assert seen > 2


def _total(answer: Any) -> int:
    found = re.search(
        r'class="list-foot"><span>\D*([\d.]+)', answer.get_data(as_text=True)
    )
    return int(found[1].replace(".", "")) if found else 0


def _rows_of(who: Actor, name: str, own: Holding) -> int:
    """Count the rows that the scope gives a person, past every wall."""
    table, scope = Base.metadata.tables[name], SCOPES[name]
    agency = own.estate.agency
    whose = {
        Scope.EVERYONE: sa.true,
        Scope.OFFICE: sa.false,
        Scope.OWN_AGENCY: lambda: table.c.id == agency,
        Scope.AGENCY: lambda: table.c.agency_id == agency,
        Scope.OPENED: lambda: table.c.agency_id == agency,  # nothing is opened to it
        Scope.PARTIES: lambda: sa.or_(
            table.c.agency_id == agency, table.c.producer_id == agency
        ),
        Scope.PART: sa.false,  # no list of them
        Scope.PERSON: lambda: table.c.user_id == who.principal.user_id,
    }[scope]()
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        count = sa.select(sa.func.count()).select_from(table).where(whose)
        return int(s.scalars(count).one())


def _questions(app: Any, rule: Any, other: Holding) -> Iterator[dict[str, str]]:
    """Yield ways to narrow or sort a list that aim at the other agency's rows."""
    if searched(MODELS[drives.listed_table(app, rule.endpoint)]):
        yield {"search": other.estate.canary}
    view = app.extensions["simpul_admin_views"][rule.endpoint.partition(".")[0]]
    for each in getattr(view, "filters", ()):
        aimed = str(other.idents.get(each.name.removesuffix("_id"), other.estate.canary))
        yield {"where": f"{each.name}:is:{aimed}"}
    for column in getattr(view, "_sortable_columns", None) or ():
        yield {"sort": str(column), "desc": "1"}


@pytest.mark.parametrize("name", ["melihat", *AGENCY_ROLES])
def test_finding_finds_nothing_of_another_agency(actor, holdings, name):
    own, other = holdings
    who = actor(name)
    for path in ("/find/", "/find/part"):
        for asked in (other.estate.canary, f"Dinas {other.estate.canary}"):
            answer = who.client.get(path, query_string={"q": asked})
            assert leaks(answer, other, asked) == set()
        mine = who.client.get(path, query_string={"q": own.estate.canary})
        assert "<a" in plain(mine)
        assert str(own.idents["job_run"]) in plain(mine)


# --- what an agreement opens, and when it ends -------------------------------------------------


@dataclass
class Guest:
    """A person of an agency that receives another one's data by an agreement, and a key."""

    client: FlaskClient
    principal: Any
    key: str
    grant: UUID
    agreement: UUID
    export: UUID

    def api(self, app: Any, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return app.test_client().get(f"/api/v1/datasets{path}", headers=headers)


@pytest.fixture
def guest(app, bound, log_in, holdings) -> Guest:
    own = holdings[0].estate
    agency = make.make_agency()
    person = make.make_user("OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD))
    with make.session() as s:
        dataset = s.scalars(sa.select(Dataset).where(Dataset.slug == own.slug)).one()
        principal = principal_of(s.get_one(User, person.id))
    agreement = make.make_agreement(dataset.id, agency.id)
    stored = exports.store_of(bound.home).put(f"berkas {own.canary}".encode())
    with make.session() as s:
        program = ApiClient(agency_id=agency.id, name=make.word("klien"))
        s.add(program)
        s.flush()
        key = api_services.make_key(s, program)
        grant = ApiGrant(
            client_id=program.id,
            dataset_id=dataset.id,
            agency_id=agency.id,
            producer_id=own.agency,
            valid_from=utc_now() - timedelta(days=2),
        )
        s.add(grant)
    with make.session(principal) as s:  # only who asked for a file meets its row
        export = ExportRun(
            user_id=person.id, agency_id=agency.id, dataset_id=dataset.id,
            agreement_id=agreement, file_name="data.xlsx", file_key=stored.key,
            file_sha256=stored.sha256, expires_at=utc_now() + timedelta(days=1),
        )  # fmt: skip
        s.add(export)
        s.flush()
    return Guest(log_in(person.email), principal, key, grant.id, agreement, export.id)


PASSED = utc_now() - timedelta(seconds=1)
ENDS = {
    "ended": {"ended_at": PASSED, "ended_because": "uji"},
    "over": {"valid_until": PASSED},
    "not yet": {"valid_from": utc_now() + timedelta(days=1)},
    "never agreed to": {"consented_at": None, "consented_by": ""},
}


@pytest.mark.parametrize("how", ENDS)
def test_what_an_agreement_opens_closes_with_it(app, guest, holdings, how):
    """List, file, API and SQL, at once: also what the door has remembered for its second."""
    own, other = holdings
    slug, canary = own.estate.slug, own.estate.canary
    files = (f"/{slug}/records", f"/{slug}/records?format=csv",
             f"/{slug}/records?format=ndjson", f"/{slug}/records?limit=1")  # fmt: skip
    pages = (f"/datasets/{slug}", f"/datasets/{slug}/dictionary", f"/developers/{slug}")
    lists = ("/datasets/", "/developers/", "/find/?q=" + slug)
    file = f"/downloads/{guest.export}"
    for path in files:
        answer = guest.api(app, path)
        assert answer.status_code == 200, path
        assert canary in answer.get_data(as_text=True), path
    assert slug in guest.api(app, "").get_data(as_text=True)
    for path in pages:
        assert guest.client.get(path).status_code == 200, path
    assert canary in plain(guest.client.get(pages[0]))
    for path in lists:
        assert slug in guest.client.get(path).get_data(as_text=True), path
    with guest.client.get(file) as fetched:
        assert canary in plain(fetched)
    assert _rows_in_sql(guest, slug) > 0
    assert guest.client.get(f"/datasets/{other.estate.slug}").status_code == 404
    assert _rows_in_sql(guest, other.estate.slug) == 0

    with make.session() as s:
        agreement = s.get_one(Agreement, guest.agreement)
        for name, value in ENDS[how].items():
            setattr(agreement, name, value)

    for path in files:
        answer = guest.api(app, path)
        assert answer.status_code in {403, 404}, (path, answer.status_code)
        assert canary not in answer.get_data(as_text=True), path
    for path in pages:
        assert guest.client.get(path).status_code == 404, path
    for path in lists:
        assert f"/{slug}" not in guest.client.get(path).get_data(as_text=True), path
    assert guest.client.post(f"/downloads/request/{slug}").status_code == 404
    assert canary not in plain(guest.client.get(file, follow_redirects=True))
    assert _rows_in_sql(guest, slug) == 0
    time.sleep(1.05)  # the door remembers for a second what a key opens, to name it
    assert slug not in guest.api(app, "").get_data(as_text=True)
    never = guest.api(app, f"/{make.word()}/records")
    gone = guest.api(app, f"/{slug}/records")
    assert (gone.status_code, _problem(gone)) == (never.status_code, _problem(never))
    assert _problem(guest.api(app, f"/{other.estate.slug}/records")) == _problem(never)


def _rows_in_sql(guest: Guest, slug: str) -> int:
    with make.session(guest.principal) as s:
        return s.scalar(sa.text(f'SELECT count(*) FROM data."{slug}"'))


REVOKED = {
    "revoked": {"revoked_at": PASSED},
    "over": {"valid_until": PASSED},
    "not yet": {"valid_from": utc_now() + timedelta(days=1)},
}


@pytest.mark.parametrize("how", REVOKED)
def test_a_program_without_its_grant_reads_nothing_while_people_do(
    app, guest, holdings, how
):
    slug = holdings[0].estate.slug
    with make.session() as s:
        grant = s.get_one(ApiGrant, guest.grant)
        for name, value in REVOKED[how].items():
            setattr(grant, name, value)

    for path in (f"/{slug}/records", f"/{slug}/records?format=csv"):
        assert guest.api(app, path).status_code in {403, 404}
    assert guest.client.get(f"/datasets/{slug}").status_code == 200


def _problem(answer: Any) -> dict[str, Any]:
    return {k: v for k, v in answer.get_json().items() if k != "request_id"}


# --- the rest of the product -------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", OFFICE_ROLES)
def test_the_office_meets_what_was_invented_as_404(app, actor, holdings, name):
    """Every form of every role upon ids that never were: nothing but 404, nothing changed."""
    _own, other = holdings
    who = actor(name)
    before = print_of(other)
    for rule, method, policy in routes(app):
        drive = drives.drive_of(app, rule.endpoint)
        if drive is None or refused(who, policy, method):
            continue
        for _ in range(3):
            invented = _invented(drive.kind, other.idents[drive.kind])
            answer = _send(app, who, rule, method, drive, invented, other)
            assert answer.status_code == 404, (rule.endpoint, method)
    assert print_of(other) == before


@pytest.mark.long
@pytest.mark.parametrize("name", OFFICE_ROLES)
def test_the_office_reads_both_agencies(app, actor, holdings, name):
    who = actor(name)
    for rule, method, policy in routes(app):
        drive = drives.drive_of(app, rule.endpoint)
        if drive is None or method != "GET" or refused(who, policy, method):
            continue
        for holding in holdings:
            ident = holding.idents[drive.kind]
            answer = _send(app, who, rule, method, drive, ident, holding)
            if who.sees(drive.kind, holding) and drive.always:
                assert answer.status_code == 200, (rule.endpoint, answer.status_code)
            elif not who.sees(drive.kind, holding):
                assert answer.status_code == 404, (rule.endpoint, answer.status_code)
