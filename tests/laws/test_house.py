"""Laws of the house: short tests that keep what the rules of the linters cannot say."""

import ast
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from app import models
from app.audit.recorder import EXEMPT
from app.core.db import Base
from app.core.policy import Permission
from app.core.scope import Scope
from app.web.views import ReadOnlyView, ScopedView
from ops import translations

ROOT = Path(__file__).resolve().parents[2]
CODE = [
    path
    for folder in ("app", "jobs", "ops", "demo", "bench", "migrations")
    for path in (ROOT / folder).rglob("*.py")
] + [ROOT / "config.py", ROOT / "wsgi.py"]


def test_every_module_says_what_belongs_in_it():
    silent = [
        str(path.relative_to(ROOT))
        for path in CODE
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


def test_the_packages_own_file_is_a_docstring():
    for path in CODE:
        if path.name == "__init__.py":
            assert len(ast.parse(path.read_text()).body) <= 1, path


def test_every_table_says_whose_rows_it_holds():
    for mapper in Base.registry.mappers:
        assert isinstance(mapper.class_.__scope__, Scope), mapper


def test_a_table_of_an_agencys_has_the_column_its_scope_reads():
    for mapper in Base.registry.mappers:
        scope = mapper.class_.__scope__
        if scope is Scope.AGENCY:
            assert "agency_id" in mapper.columns, mapper
        if scope is Scope.PERSON:
            assert "user_id" in mapper.columns, mapper


def test_tables_without_audit_stand_on_the_list_with_their_reason():
    tables = set(models.metadata.tables) - {"user_role"}  # shown as the user's roles

    assert set(EXEMPT) <= tables
    assert all(len(reason) > 10 for reason in EXEMPT.values())


def test_every_agencys_table_is_behind_the_databases_own_wall(office):
    from app.core import db

    with db.unit_of_work() as session:
        walled = set(
            session.scalars(
                sa.text(
                    "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind = 'r'"
                )
            )
        )
    owned = {
        mapper.local_table.name
        for mapper in Base.registry.mappers
        if mapper.class_.__scope__ in {Scope.AGENCY, Scope.OWN_AGENCY, Scope.PERSON}
    }
    assert owned <= walled


def test_no_role_of_the_application_goes_round_the_wall(office):
    from app.core import db

    with db.unit_of_work() as session:
        loose = session.scalars(
            sa.text(
                "SELECT rolname FROM pg_roles WHERE (rolbypassrls OR rolsuper)"
                " AND rolname LIKE 'simpul%'"
            )
        ).all()
    assert loose == []


def test_migrations_are_numbered_and_linear():
    names = sorted(path.name for path in (ROOT / "migrations" / "versions").glob("*.py"))

    assert [name[:4] for name in names] == [f"{n:04d}" for n in range(1, len(names) + 1)]
    for number, name in enumerate(names, start=1):
        text = (ROOT / "migrations" / "versions" / name).read_text()
        assert f'revision = "{number:04d}"' in text
        before = f'"{number - 1:04d}"' if number > 1 else "None"
        assert f"down_revision = {before}" in text


def test_no_print_in_the_application():
    for path in CODE:
        if path.relative_to(ROOT).parts[0] in {"app", "jobs"}:
            assert not re.search(r"^\s*print\(", path.read_text(), re.MULTILINE), path


def _views(base):
    for each in base.__subclasses__():
        yield each
        yield from _views(each)


def test_forms_name_their_columns_and_never_a_state():
    from app import factory  # noqa: F401 - all pages must be known

    for view in set(_views(ScopedView)) - {ReadOnlyView}:
        assert isinstance(view.read, Permission), view
        forbidden = {"status", "fence", "attempt", "password", "fs_uniquifier", "plan"}
        assert not forbidden & set(view.form_columns), view
        if view.write is not None:
            assert view.form_columns, view
        if issubclass(view, ReadOnlyView):
            assert view.write is None


def test_no_list_shows_a_secret():
    from app import factory  # noqa: F401 - all pages must be known

    secret = {
        column.key
        for mapper in Base.registry.mappers
        for column in mapper.columns
        if column.info.get("secret")
    }
    for view in set(_views(ScopedView)) - {ReadOnlyView}:
        shown = {*view.column_list, *view.column_details_list}
        assert not shown & secret, view


def test_every_sentence_has_its_indonesian():
    assert translations.untranslated() == []
    assert translations.misfilled() == []
    assert translations.unused() == []


def test_the_libraries_speak_indonesian_whole():
    assert translations.library_gaps() == []


@pytest.mark.parametrize("mapper", sorted(Base.registry.mappers, key=str), ids=str)
def test_children_know_their_parents_and_not_the_other_way_round(mapper):
    """No back-references: what a parent has is a query of the child's room."""
    for relation in mapper.relationships:
        if relation.direction is orm.RelationshipDirection.ONETOMANY:
            assert (mapper.class_.__name__, relation.key) in {
                ("ContractVersion", "fields"),
                ("User", "webauthn"),  # Flask-Security asks for it
            }
