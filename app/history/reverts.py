"""Putting back what one event, or one request, changed: first as a plan, then for real.

The plan says for each field what would come back, and why not: it was changed again since
(the person may choose it all the same), or it cannot be put back at all. It is carried out
in one transaction, through the doors of the objects, or not at all.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import orm

from app.audit import recorder
from app.audit.models import AuditEvent
from app.audit.recorder import CENSORED
from app.contracts import drafts
from app.core.db import because
from app.core.errors import SimpulError
from app.core.words import message_id
from app.history import doors, trail, words
from app.history.doors import WHOLE, Door
from app.history.errors import NotRevertableError
from app.runs.errors import ReasonMissingError
from app.web.guard import principal_now

CHANGES = ("create", "update", "delete")
NOTHING_HERE = message_id("Such an object is not put back from its history.")
DEED = message_id("This was a deed, not a change of values: it is not undone here.")
MADE = message_id(
    "It was made then. Putting back takes nothing away: move it to the trash instead."
)
TAKEN = message_id("It was taken away then: bring it back from the trash.")
NAME_TAKEN = message_id("A field of this name stands there again.")
# Of a whole field: its name on the plan, how it stands and what becomes of it.
FIELD = message_id("the whole field")
ABSENT, STANDS = message_id("not there"), message_id("stands there")
COMES, GOES = message_id("comes back"), message_id("goes away")


class Verdict(StrEnum):
    """What becomes of one field."""

    BACK = "back"  # it is as it was left: its former value comes back
    CHANGED = "changed"  # somebody changed it again since
    SAME = "same"  # it has its former value already
    NEVER = "never"  # it is not put back; the line says why


class Line(NamedTuple):
    """One field of a plan, in words; ``key`` is what a form calls it by.

    ``value`` is what stands there now, in full: the words of a long text are shortened.
    """

    key: str
    name: str
    label: str
    former: str
    now: str
    verdict: Verdict
    why: str = ""
    value: Any = None


@dataclass(slots=True)
class Item:
    """One object of a plan: what happened to it, and what of that may be put back."""

    table: str
    ident: str
    label: str
    page: str
    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    events: list[int]
    door: Door | None = None
    obj: Any = None
    refusal: str = ""
    lines: list[Line] = field(default_factory=list)

    @property
    def may_write(self) -> bool:
        return self.door is not None and principal_now().may(self.door.write)

    @property
    def is_odd(self) -> bool:
        """Whether it has to be looked at: something of it cannot come back just like that."""
        plain = {Verdict.BACK, Verdict.SAME}
        return bool(self.refusal) or any(each.verdict not in plain for each in self.lines)

    @property
    def open_lines(self) -> list[Line]:
        wanted = {Verdict.BACK, Verdict.CHANGED}
        return [each for each in self.lines if each.verdict in wanted]


class Plan(NamedTuple):
    """What putting back would do."""

    items: list[Item]

    @property
    def digest(self) -> str:
        """A digest of what stands there: what the person agrees to is this and no other."""
        seen = [
            (line.key, line.verdict, line.value)
            for each in self.items
            for line in each.lines
        ]
        return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()

    @property
    def is_open(self) -> bool:
        return any(each.open_lines and each.may_write for each in self.items)


class PlanChangedError(NotRevertableError):
    """What would be put back is not what the person saw any more."""

    code = "revert_changed"

    def __init__(self) -> None:
        super().__init__(
            "Something of this was changed while you looked: look at the preview again."
        )


class NothingChosenError(NotRevertableError):
    code = "revert_nothing"

    def __init__(self) -> None:
        super().__init__("Choose at least one field that shall be put back.")


class NotYoursError(NotRevertableError):
    """The person may read the trail, but not write what they chose (HTTP 403)."""

    code = "revert_not_yours"

    def __init__(self) -> None:
        super().__init__(
            "Your role does not allow this. Ask an administrator of the office."
        )


class ObjectRefusedError(NotRevertableError):
    """One object's own rules refuse it; nothing of all is put back."""

    code = "revert_refused"

    def __init__(self, label: str, reason: SimpulError) -> None:
        super().__init__(reason.message)
        self.params, self.label = reason.params, label


def may_be_reverted(event: AuditEvent) -> bool:
    """Tell whether a page may offer it: whether the reader may write such objects."""
    door = doors.door_of(event.object_type)
    if door is None or not principal_now().may(door.write):
        return False
    if event.object_type == "contract_field":
        session = orm.object_session(event)
        refusal = session and doors.version_refusal(session, event.part_of)
        return refusal == ""
    if event.action != "update":
        return False
    before = event.before or {}
    names = frozenset(words.parts_of(before, event.after or {}))
    return any(not door.why_not(n, words.look_up(before, n), names) for n in names)


def plan_of(
    session: orm.Session, events: Sequence[AuditEvent], *, lock: bool = False
) -> Plan:
    """Return what putting events back would do; with ``lock`` nobody else changes it now."""
    items = list(_folded(events))
    # Everybody locks in one order, and a source before its schedule, as runs do.
    order = sorted(
        items, key=lambda each: (each.table == "schedule", each.table, each.ident)
    )
    for item in order:
        _look(session, item, lock=lock)
    return Plan(items)


def _folded(events: Iterable[AuditEvent]) -> Iterator[Item]:
    """Yield one item for each object: what it was before the first event, after the last."""
    items: dict[tuple[str, str], Item] = {}
    for event in events:
        key = (event.object_type, event.object_id)
        if event.action not in CHANGES:
            yield _item(event)
        elif key not in items:
            items[key] = _item(event)
        elif (items[key].action, event.action) == ("create", "delete"):
            del items[key]  # it is as if it had never been
        else:
            _add(items[key], event)
    yield from items.values()


def _item(event: AuditEvent) -> Item:
    return Item(
        table=event.object_type,
        ident=event.object_id,
        label=event.object_label or event.object_id[:8],
        page=trail.page_of_event(event),
        action=event.action,
        before=dict(event.before or {}),
        after=dict(event.after or {}),
        events=[event.id],
    )


def _add(item: Item, event: AuditEvent) -> None:
    item.before = {**(event.before or {}), **item.before}
    item.after |= event.after or {}
    item.events.append(event.id)
    if item.action == "update":
        item.action = event.action


def _look(session: orm.Session, item: Item, *, lock: bool) -> None:
    """Fill in an item's lines, or why there are none."""
    if item.action not in CHANGES:
        item.refusal = DEED
        return
    item.door = doors.door_of(item.table)
    if item.door is None:
        item.refusal = NOTHING_HERE
    elif item.action == "delete":
        _look_at_lost(session, item)
    else:
        item.obj = item.door.find(session, item.ident, lock=lock)
        item.refusal = doors.GONE if item.obj is None else item.door.refusal(item.obj)
        if not item.refusal:
            _look_at_standing(item)


def _look_at_lost(session: orm.Session, item: Item) -> None:
    if item.table != "contract_field":
        item.refusal = TAKEN
        return
    item.refusal = doors.version_refusal(session, item.before.get("version_id"))
    if not item.refusal and doors.standing_field(session, item.before):
        item.refusal = NAME_TAKEN
    if not item.refusal:
        item.lines = [_whole(item, COMES, ABSENT, Verdict.BACK)]


def _look_at_standing(item: Item) -> None:
    door, obj = item.door, item.obj
    if door is None:
        return
    if item.action == "create":
        if item.table != "contract_field":
            item.refusal = MADE
            return
        is_left = all(door.now(obj, n) == item.after.get(n) for n in drafts.COLUMNS)
        verdict = Verdict.BACK if is_left else Verdict.CHANGED
        item.lines = [_whole(item, GOES, STANDS, verdict)]
        return
    names = list(words.parts_of(item.before, item.after))
    item.lines = [_line(item, door, name, frozenset(names)) for name in names]


def _whole(item: Item, former: str, now: str, verdict: Verdict) -> Line:
    key = f"{item.table}:{item.ident}:{WHOLE}"
    return Line(key, WHOLE, FIELD, former, now, verdict)


def _line(item: Item, door: Door, name: str, others: frozenset[str]) -> Line:
    former, left = words.look_up(item.before, name), words.look_up(item.after, name)
    why = door.why_not(name, former, others)
    now = CENSORED if why == doors.SECRET else door.now(item.obj, name)
    same = _is_same(item, name)
    if why:
        verdict = Verdict.NEVER
    elif same(now, former):
        verdict = Verdict.SAME
    else:
        verdict = Verdict.BACK if same(now, left) else Verdict.CHANGED
    said = words.value_words
    return Line(
        f"{item.table}:{item.ident}:{name}", name, words.field_name(item.table, name),
        said(item.table, name, former), said(item.table, name, now), verdict, why, now,
    )  # fmt: skip


def _is_same(item: Item, name: str) -> Any:
    """Return a comparison of values as the column holds them, not as they were written."""
    model = words.model_of(item.table)

    def read(value: Any) -> Any:
        if name not in model.__table__.columns:
            return value
        try:
            return doors.from_json(model, name, value)
        except (ValueError, msgspec.ValidationError):
            return value  # of a former version of the program

    return lambda one, other: read(one) == read(other)


def put_back(
    session: orm.Session,
    events: Sequence[AuditEvent],
    chosen: Iterable[str],
    reason: str,
    *,
    digest: str,
) -> None:
    """Put the chosen fields back, all or none; ``digest`` is of the plan that was seen.

    Raises ``ReasonMissingError``, ``PlanChangedError``, ``NothingChosenError``,
    ``NotYoursError``, and whatever the objects' own rules refuse.
    """
    if not reason:
        raise ReasonMissingError
    plan = plan_of(session, events, lock=True)
    if plan.digest != digest:
        raise PlanChangedError
    because(session, reason)
    wanted = set(chosen)
    done = [_put_back(session, item, wanted) for item in reversed(plan.items)]
    if not any(done):
        raise NothingChosenError


def _put_back(session: orm.Session, item: Item, wanted: set[str]) -> bool:
    lines = [each for each in item.open_lines if each.key in wanted]
    if not lines or item.door is None:
        return False
    if not item.may_write:
        raise NotYoursError
    try:
        _write(session, item, lines)
    except SimpulError as error:
        raise ObjectRefusedError(item.label, error) from error
    return True


def _write(session: orm.Session, item: Item, lines: Sequence[Line]) -> None:
    if item.action == "delete":
        doors.bring_field(session, item.before)
    elif item.action == "create":
        doors.drop_field(session, item.obj)
    elif item.door is not None:
        values = {line.name: words.look_up(item.before, line.name) for line in lines}
        item.door.put_back(session, item.obj, values)
        recorder.record(session, "revert", item.obj, after={"events": item.events})
