"""The auditor of the Inspektorat reads everything and changes nothing, whatever they send."""

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core import db
from app.core.policy import Permission, acting_as, set_request_id
from app.identity.models import Agency, Role
from app.web.guard import Everyone, Shut, policy_of
from tests import make

# Their own session and password, which are nobody else's affair.
# What is about one's own log-in and account, which an auditor has like everybody.
OWN = {"home.language"}
OWN_PAGES = ("security.", "account.", "notifications.")


@pytest.fixture
def client(app, log_in, people, estates):
    return log_in(people["AUDITOR"])


def everything() -> dict[str, tuple[int, int]]:
    """Return for each table how many rows it has, and a sum of who wrote each of them."""
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        tables = s.execute(
            sa.text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname IN ('public', 'data', 'stage')"
            )
        ).scalars()
        return {
            table: tuple(
                s.execute(
                    sa.text(
                        "SELECT count(*), coalesce(sum(hashtext(ctid::text || xmin)), 0)"
                        f" FROM {table}"
                    )
                ).one()
            )
            for table in tables
        }


def a_change(estate) -> tuple[int, str]:
    """Change something in a request of its own; return the event and the request."""
    request_id = make.word("permintaan")
    set_request_id(request_id)
    with make.session() as s:
        s.get_one(Agency, estate.agency).phone = make.word("0761-")
    set_request_id("")
    with make.session() as s:
        found = sa.select(AuditEvent.id).where(AuditEvent.request_id == request_id)
        return s.scalars(found).one(), request_id


def addresses(app, estate, event: int, request_id: str):
    """Yield every address of the application, with things that there are."""
    idents = [
        estate.agency, estate.contract, estate.version, estate.source, estate.run,
        estate.record, estate.export, estate.user, estate.schedule, event,
    ]  # fmt: skip
    for rule in app.url_map.iter_rules():
        if policy_of(app, rule.endpoint) in {Everyone, Shut} or rule.endpoint in OWN:
            continue
        if rule.endpoint.startswith(OWN_PAGES):
            continue
        bound = app.url_map.bind("localhost")
        known = {"slug": estate.slug, "request_id": request_id, "token": "W10"}
        for ident in idents:
            values = {name: known.get(name, str(ident)) for name in rule.arguments}
            yield rule, f"{bound.build(rule.endpoint, values)}?id={ident}"
            if "ident" not in rule.arguments and not rule.endpoint.endswith("_view"):
                break


def sent(estate) -> dict[str, object]:
    """Something for every form, that would be a change."""
    return {
        "name": "Diubah", "code": "diubah", "email": "ubah@x.test", "reason": "ubah",
        "do": "save", "id": [str(estate.agency)], "put": [f"agency:{estate.agency}:name"],
        "source": [str(estate.source)], "run": [str(estate.run)], "status": "failed",
        "digest": "x", "host": "x:1", "cron": "0 1 * * *", "f-0-name": "ubah",
        "enabled": "y", "action": "delete", "rowid": [str(estate.agency)],
    }  # fmt: skip


def test_the_role_may_read_everything_and_write_nothing(app):
    with make.session() as s:
        held = set(
            s.scalars(sa.select(Role.permissions).where(Role.name == "AUDITOR")).one()
        )
    # Letters hold one-time links: who reads them could log in as somebody else.
    readable = {each for each in Permission if each.endswith(".read")}
    assert held == readable - {Permission.MAIL_READ}


def test_nothing_that_an_auditor_sends_changes_anything(app, client, estates):
    own, _other = estates
    event, request_id = a_change(own)
    before = everything()
    tried = 0
    for rule, address in addresses(app, own, event, request_id):
        for method in sorted({"GET", "POST"} & rule.methods):
            data = sent(own) if method == "POST" else None
            with client.open(address, method=method, data=data) as answer:
                status = answer.status_code
            assert status < 500, (method, address, status)
            is_page = method == "POST" and status == 200
            assert not is_page or rule.endpoint == "contracts.version", address
            tried += method == "POST"
    assert tried > 40
    changed = {table for table, seen in everything().items() if seen != before[table]}
    # Once a minute the log-in's own row says when it was seen last.
    assert changed <= {"public.login_session"}


@pytest.mark.parametrize(
    "page",
    ["/agencies/", "/users/", "/roles/", "/contracts/", "/sources/", "/hosts/", "/schedules/",
     "/runs/", "/quarantine/", "/datasets/", "/api-clients/", "/api-grants/", "/exchange/",
     "/audit/", "/ledger/"],
)  # fmt: skip
def test_an_auditor_reads_every_list(client, page):
    assert client.get(page).status_code == 200
