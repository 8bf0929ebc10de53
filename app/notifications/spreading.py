"""Spreads what happened to the people who want to know, and writes the daily digest."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from app.core.catalogue import said_in
from app.core.clock import utc_now
from app.core.words import message_id
from app.identity.models import User
from app.identity.principals import principal_of
from app.notifications import outbox
from app.notifications.kinds import KINDS, Kind
from app.notifications.letters import Letter
from app.notifications.models import Notice, NoticePreference, Notification
from app.notifications.states import Wish
from app.office.queries import office_name

MOST = 200
DIGEST_AT = time(7)
MOST_IN_DIGEST = 50
MANY = 5  # of a kind in one sweep are told as one
_DIGEST = message_id("What happened since yesterday")
_DEAR = message_id("Dear %(name)s,")
_LOOK = message_id("Look at it in Simpul")
_MORE = message_id("And %(n)s more.")


# Parameters that are message ids themselves.
_WORDS = frozenset({"kind", "step"})


class Told(NamedTuple):
    """What is to be told, and whom it is about: a person, or an agency; to which roles."""

    user_id: UUID | None
    agency_id: UUID | None
    roles: frozenset[str]
    params: dict[str, Any]
    path: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Clerk:
    """Who writes the mails: in whose name, by which catalogue, and whether any leave."""

    translations: Path
    office: str
    public_url: str
    zone: str
    writes_mails: bool

    def say(self, language: str, message: str, params: Mapping[str, Any]) -> str:
        """Return words in a language; parameters that do not fit leave them bare."""
        text = self.gettext(language, message)
        try:
            return text % {
                name: self.gettext(language, value) if name in _WORDS else value
                for name, value in params.items()
            }
        except (KeyError, TypeError, ValueError):
            return text

    def gettext(self, language: str, message: str) -> str:
        """Return the words of a message id; English is the ids themselves."""
        return said_in(language, message, self.translations)


def spread(session: Session, clerk: Clerk) -> int:
    """Tell people of what waits to be told; return how many notices that were."""
    waiting = session.scalars(
        sa.select(Notice)
        .order_by(Notice.id)
        .limit(MOST)
        .with_for_update(skip_locked=True)
    ).all()
    if not waiting:
        return 0
    people = session.scalars(
        sa.select(User).where(User.active).options(selectinload(User.held_roles))
    ).all()
    wishes = _all_wishes(session)
    for kind, told in _gathered(_due(session, waiting)):
        for user in _audience(people, told, kind):
            own = wishes.get((user.id, kind.name), (kind.in_app, kind.mail))
            _tell(session, clerk, user, kind, told, own)
    for notice in waiting:
        session.delete(notice)
    return len(waiting)


def _due(session: Session, waiting: Sequence[Notice]) -> list[Notice]:
    """Leave out whose turn is over by now, and read what was told of former turns."""
    newest: dict[str, int] = {}
    for notice in waiting:
        turn = notice.params.get("turn", -1)
        newest[notice.path] = max(turn, newest.get(notice.path, -1))
    for path, turn in newest.items():
        if turn < 0:
            continue
        session.execute(
            sa.update(Notification)
            .where(
                Notification.path == path,
                Notification.params.has_key("turn"),
                Notification.params["turn"].as_integer() < turn,
                sa.or_(Notification.read_at.is_(None), Notification.for_digest),
            )
            .values(read_at=sa.func.now(), for_digest=False)
            .execution_options(synchronize_session=False)
        )
    return [
        notice
        for notice in waiting
        if notice.params.get("turn", newest[notice.path]) == newest[notice.path]
    ]


def _gathered(waiting: Sequence[Notice]) -> Iterator[tuple[Kind, Told]]:
    """Yield what is to be told; of many of a kind at once only that, and how many."""
    groups: dict[tuple[str, UUID | None], list[Notice]] = defaultdict(list)
    for notice in waiting:
        if notice.kind in KINDS:  # not one of a version to come
            groups[notice.kind, notice.agency_id].append(notice)
    for (name, agency_id), group in groups.items():
        kind = KINDS[name]
        if kind.many and len(group) >= MANY:
            params = {"message": kind.many, "n": len(group)}
            last = group[-1].at
            yield kind, Told(None, agency_id, frozenset(), params, kind.many_path, last)
            continue
        for each in group:
            roles = frozenset(each.roles)
            yield (
                kind,
                Told(each.user_id, agency_id, roles, each.params, each.path, each.at),
            )


def _audience(people: Sequence[User], told: Told, kind: Kind) -> Iterable[User]:
    """Yield who is to hear of a notice: its own person, or who may do something about it."""
    for user in people:
        if not user.is_active:
            continue
        if kind.audience is None:
            if user.id == told.user_id:
                yield user
        elif user.agency_id in {None, told.agency_id} and _is_meant(user, told, kind):
            yield user


def _is_meant(user: User, told: Told, kind: Kind) -> bool:
    principal = principal_of(user)
    return (
        kind.audience is not None
        and principal.may(kind.audience)
        and (not told.roles or bool(told.roles & principal.roles))
    )


def _tell(
    session: Session,
    clerk: Clerk,
    user: User,
    kind: Kind,
    told: Told,
    wishes: tuple[Wish, Wish],
) -> None:
    in_app, mail = wishes
    shown = _holds(in_app, kind)
    for_digest = mail is Wish.DIGEST and clerk.writes_mails
    if shown or for_digest:
        session.add(
            Notification(
                user_id=user.id,
                kind=kind.name.value,
                params=told.params,
                path=told.path,
                at=told.at,
                shown=shown,
                for_digest=for_digest,
            )
        )
    if clerk.writes_mails and _holds(mail, kind):
        _write(session, clerk, user, kind, [told])


def _holds(wish: Wish, kind: Kind) -> bool:
    """Tell whether a wish asks for a notice of this kind at once."""
    return wish is Wish.ALWAYS or (wish is Wish.PROBLEM and kind.is_problem)


def _all_wishes(session: Session) -> dict[tuple[UUID, str], tuple[Wish, Wish]]:
    return {
        (each.user_id, each.kind): (Wish(each.in_app), Wish(each.mail))
        for each in session.scalars(sa.select(NoticePreference))
    }


def send_digests(session: Session, clerk: Clerk) -> int:
    """Write a mail to each person for whom something waited at seven; return how many."""
    border = _last_digest(utc_now(), clerk.zone)
    waiting = session.scalars(
        sa.select(Notification)
        .where(Notification.for_digest, Notification.at < border)
        .order_by(Notification.id)
        .limit(5_000)
        .with_for_update(skip_locked=True)
    ).all()
    by_person: dict[UUID, list[Notification]] = defaultdict(list)
    for each in waiting:
        by_person[each.user_id].append(each)
        each.for_digest = False
    for user_id, told in by_person.items():
        user = session.get_one(User, user_id)
        if user.is_active:
            _write(session, clerk, user, None, told)
    return len(by_person)


def _last_digest(now: datetime, zone: str) -> datetime:
    """Return the last seven o'clock of the office."""
    local = now.astimezone(ZoneInfo(zone))
    today = datetime.combine(local.date(), DIGEST_AT, tzinfo=ZoneInfo(zone))
    return today if local >= today else today - timedelta(days=1)


def _write(
    session: Session,
    clerk: Clerk,
    user: User,
    kind: Kind | None,
    told: Sequence[Told | Notification],
) -> None:
    """Write one mail about one notice, or about all that came together in a day."""
    language = user.language
    subject = clerk.gettext(language, kind.label if kind else _DIGEST)
    lines = [_sentence(clerk, language, each) for each in told[:MOST_IN_DIGEST]]
    left = len(told) - len(lines)
    if left:
        lines.append(clerk.say(language, _MORE, {"n": left}))
    path = told[0].path if len(told) == 1 else "/notifications/"
    action = (
        (clerk.gettext(language, _LOOK), clerk.public_url + path)
        if clerk.public_url
        else None
    )
    letter = Letter(
        subject=subject,
        paragraphs=(clerk.say(language, _DEAR, {"name": user.name}), *lines),
        office=office_name(session, clerk.office),
        language=language,
        action=action,
    )
    outbox.put(session, letter, recipient=user.email, user_id=user.id)


def _sentence(clerk: Clerk, language: str, told: Told | Notification) -> str:
    params = dict(told.params)
    return clerk.say(language, params.pop("message", ""), params)
