"""Plans of DDL: how the central table, its history and the stage come out of a contract.

A plan is made, shown to a person, and applied word for word; it never loses a row or a
value. What cannot be done so is refused with the reason.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.policy import DbRole
from app.core.sql import literal, quote, quote_all
from app.core.words import message_id

SQL_TYPES = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: "bigint",
    FieldType.NUMBER: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date",
    FieldType.TIMESTAMP: "timestamptz",
}
# The stage has numbers as they were written; publishing reads them.
STAGE_TYPES = {**SQL_TYPES, FieldType.NUMBER: "text"}
TYPE_WORDS = {
    FieldType.TEXT: message_id("text"),
    FieldType.INTEGER: message_id("whole number"),
    FieldType.NUMBER: message_id("number"),
    FieldType.BOOLEAN: message_id("yes or no"),
    FieldType.DATE: message_id("date"),
    FieldType.TIMESTAMP: message_id("point in time"),
}
# Changes of type that keep every value; all others are refused.
_WIDENS = {
    (FieldType.INTEGER, FieldType.NUMBER): "{0}::numeric",
    (FieldType.INTEGER, FieldType.TEXT): "{0}::text",
    (FieldType.NUMBER, FieldType.TEXT): "{0}::text",
    (FieldType.BOOLEAN, FieldType.TEXT): "{0}::text",
    (FieldType.DATE, FieldType.TEXT): "{0}::text",
}


@dataclass(frozen=True, slots=True)
class Names:
    """Qualified, quoted names of what belongs to one dataset."""

    slug: str
    version: int

    @property
    def table(self) -> str:
        return f"data.{quote(self.slug)}"

    @property
    def history(self) -> str:
        return f"data.{quote(self.slug + '__history')}"

    @property
    def sequence(self) -> str:
        return f"data.{quote(self.slug + '__seq')}"

    @property
    def stage(self) -> str:
        return f"stage.{quote(f'{self.slug}__v{self.version}')}"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement, and what it does in words (a message id and what fills it)."""

    sql: str
    words: str
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change cannot be made, in words (a message id and what fills it)."""

    words: str
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to run in order, or the reasons why the change is refused."""

    steps: tuple[Step, ...]
    refusals: tuple[Refusal, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the statements: what a person approved is what is run."""
        text = "\n".join(step.sql for step in self.steps)
        return hashlib.sha256(text.encode()).hexdigest()


def keys_of(fields: Sequence[FieldSpec]) -> tuple[str, ...]:
    return tuple(each.name for each in fields if each.is_key)


def plan_first(
    slug: str, number: int, fields: Sequence[FieldSpec], agency_id: UUID
) -> Plan:
    """Plan the tables of a contract's first active version."""
    names = Names(slug, number)
    columns = ", ".join(_column(each) for each in fields)
    keys = keys_of(fields)
    steps = [
        Step(f"CREATE SEQUENCE {names.sequence}", "Create the counter of changes."),
        Step(
            f"CREATE TABLE {names.table} ({columns}, _run_id uuid NOT NULL,"
            " _first_seen_at timestamptz NOT NULL, _changed_at timestamptz NOT NULL,"
            " _deleted_at timestamptz,"
            f" _seq bigint NOT NULL DEFAULT nextval({literal(names.sequence)}),"
            f" PRIMARY KEY ({quote_all(keys)}))",
            "Create the central table %(table)s with %(n)s fields.",
            {"table": slug, "n": str(len(fields))},
        ),
        Step(
            f"CREATE UNIQUE INDEX ON {names.table} (_seq)",
            "Create the index of its change feed.",
        ),
        Step(
            f"CREATE TABLE {names.history} ({_plain_columns(fields)},"
            " _run_id uuid NOT NULL, _valid_from timestamptz NOT NULL,"
            " _valid_to timestamptz NOT NULL, _ended_by uuid, _ended_as text NOT NULL)",
            "Create its history table.",
        ),
        Step(
            f"CREATE INDEX ON {names.history} ({quote_all(keys)}, _valid_to)",
            "Create the index of the history.",
        ),
        *_rights(names, agency_id),
        *_stage(names, fields),
    ]
    return Plan(tuple(steps))


def plan_next(
    slug: str,
    old: tuple[int, Sequence[FieldSpec]],
    new: tuple[int, Sequence[FieldSpec]],
) -> Plan:
    """Plan the change from one version's tables to the next; rows and history are kept."""
    old_number, old_fields = old
    new_number, new_fields = new
    names = Names(slug, new_number)
    before = {each.name: each for each in old_fields}
    after = {each.name: each for each in new_fields}
    refusals = [*_key_refusals(old_fields, new_fields), *_type_refusals(before, after)]
    if refusals:
        return Plan((), tuple(refusals))
    steps = [
        *_dropped(names, before, after),
        *_added(names, before, after),
        *_widened(names, before, after),
        Step(
            f"DROP TABLE {Names(slug, old_number).stage}",
            "Remove the stage of version %(n)s.",
            {"n": str(old_number)},
        ),
        *_stage(names, new_fields),
    ]
    return Plan(tuple(steps))


def _column(each: FieldSpec) -> str:
    # Keys compare by bytes: the same on every server, and the fastest there is.
    collate = ' COLLATE "C"' if each.is_key and each.type is FieldType.TEXT else ""
    required = " NOT NULL" if each.is_key else ""
    return f"{quote(each.name)} {SQL_TYPES[each.type]}{collate}{required}"


def _plain_columns(fields: Sequence[FieldSpec]) -> str:
    return ", ".join(_column(each) for each in fields)


def _rights(names: Names, agency_id: UUID) -> list[Step]:
    """Only publish (the worker) writes; an agency's role reads its own data.

    And of the rows as they are now, without their history, what an agreement opens to it.
    """
    staff = f"{DbRole.OFFICE}, {DbRole.WORKER}"
    steps = []
    api = (
        f"; GRANT SELECT ON {names.table} TO {DbRole.API};"
        f" CREATE POLICY api ON {names.table} FOR SELECT TO {DbRole.API}"
        f" USING ((SELECT simpul_api_may({literal(names.slug)})))"
    )
    slug = literal(names.slug)
    # What is asked for in queries of their own is asked once for a statement, not for a row.
    agreed = (
        f"; CREATE POLICY agreed ON {names.table} FOR SELECT TO {DbRole.AGENCY} USING ("
        f"CASE (SELECT coalesce(simpul_agreed_field({slug}), '-')) WHEN '-' THEN false"
        f" WHEN '' THEN true ELSE to_jsonb({quote(names.slug)}.*)"
        f" ->> (SELECT simpul_agreed_field({slug}))"
        f" = ANY ((SELECT simpul_agreed_values({slug}))::text[]) END)"
    )
    for table in (names.table, names.history):
        sql = (
            f"GRANT SELECT ON {table} TO {staff}, {DbRole.AGENCY};"
            f" GRANT INSERT, UPDATE ON {table} TO {DbRole.WORKER};"
            f" ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f" CREATE POLICY staff ON {table} TO {staff} USING (true) WITH CHECK (true);"
            f" CREATE POLICY own ON {table} FOR SELECT TO {DbRole.AGENCY}"
            f" USING (simpul_agency_id() = {literal(str(agency_id))}::uuid)"
            + (agreed + api if table == names.table else "")
        )
        steps.append(
            Step(sql, "Give the rights: staff and the producing agency read it.")
        )
    grant = f"GRANT USAGE, UPDATE ON SEQUENCE {names.sequence} TO {DbRole.WORKER}"
    return [*steps, Step(grant, "Let the worker count changes.")]


def _stage(names: Names, fields: Sequence[FieldSpec]) -> list[Step]:
    """Plan the stage: filled page by page, emptied by publish; nobody else reads it.

    Unlogged: after a crash of the server it is empty, which a pull that goes on notices.
    """
    columns = ", ".join(
        f"{quote(each.name)} {STAGE_TYPES[each.type]}"
        + (' COLLATE "C"' if each.is_key and each.type is FieldType.TEXT else "")
        for each in fields
    )
    return [
        Step(
            f"CREATE UNLOGGED TABLE {names.stage} ({columns}, _place bigint NOT NULL,"
            " _rejected boolean NOT NULL DEFAULT false,"
            " _known boolean NOT NULL DEFAULT false)",
            "Create the stage of version %(n)s.",
            {"n": str(names.version)},
        ),
        Step(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {names.stage}"
            f" TO {DbRole.WORKER}",
            "Let the worker fill the stage.",
        ),
    ]


def _key_refusals(
    old_fields: Sequence[FieldSpec], new_fields: Sequence[FieldSpec]
) -> list[Refusal]:
    old_keys = {(each.name, each.type) for each in old_fields if each.is_key}
    new_keys = {(each.name, each.type) for each in new_fields if each.is_key}
    if old_keys == new_keys:
        return []
    return [
        Refusal(
            "The key changes from %(old)s to %(new)s: rows could no longer be matched."
            " Make a new contract instead.",
            {
                "old": ", ".join(sorted(name for name, _ in old_keys)),
                "new": ", ".join(sorted(name for name, _ in new_keys)),
            },
        )
    ]


def _type_words(
    name: str, before: dict[str, FieldSpec], after: dict[str, FieldSpec]
) -> dict[str, str]:
    return {
        "name": name,
        "old": TYPE_WORDS[before[name].type],
        "new": TYPE_WORDS[after[name].type],
    }


def _type_refusals(
    before: dict[str, FieldSpec], after: dict[str, FieldSpec]
) -> list[Refusal]:
    return [
        Refusal(
            "Field %(name)s changes from %(old)s to %(new)s: stored values could be lost."
            " Add a new field with another name instead.",
            _type_words(name, before, after),
        )
        for name in before.keys() & after.keys()
        if before[name].type is not after[name].type
        and (before[name].type, after[name].type) not in _WIDENS
    ]


def _added(
    names: Names, before: dict[str, FieldSpec], after: dict[str, FieldSpec]
) -> list[Step]:
    return [
        Step(
            f"ALTER TABLE {names.table} ADD COLUMN {_column(after[name])};"
            f" ALTER TABLE {names.history} ADD COLUMN IF NOT EXISTS {_column(after[name])}",
            "Add field %(name)s: empty in the rows there are, until the next pull.",
            {"name": name},
        )
        for name in after
        if name not in before
    ]


def _dropped(
    names: Names, before: dict[str, FieldSpec], after: dict[str, FieldSpec]
) -> list[Step]:
    gone = [name for name in before if name not in after]
    if not gone:
        return []
    columns = quote_all(list(before))
    keep = Step(
        f"INSERT INTO {names.history} ({columns}, _run_id, _valid_from, _valid_to,"
        f" _ended_by, _ended_as) SELECT {columns}, _run_id, _changed_at,"
        f" clock_timestamp(), NULL, 'migrated' FROM {names.table}"
        " WHERE _deleted_at IS NULL",
        "Keep every row as it is now in the history.",
    )
    return [keep] + [
        Step(
            f"ALTER TABLE {names.table} DROP COLUMN {quote(name)}",
            "Remove field %(name)s from the central table; the history keeps it.",
            {"name": name},
        )
        for name in gone
    ]


def _widened(
    names: Names, before: dict[str, FieldSpec], after: dict[str, FieldSpec]
) -> list[Step]:
    steps = []
    for name in before.keys() & after.keys():
        cast = _WIDENS.get((before[name].type, after[name].type))
        if cast is None:
            continue
        column, kind = quote(name), SQL_TYPES[after[name].type]
        using = cast.format(column)
        steps.append(
            Step(
                "; ".join(
                    f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {using}"
                    for table in (names.table, names.history)
                ),
                "Widen field %(name)s from %(old)s to %(new)s; every value is kept.",
                _type_words(name, before, after),
            )
        )
    return sorted(steps, key=lambda step: step.params["name"])
