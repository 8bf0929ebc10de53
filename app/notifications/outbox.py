"""The outbox: a mail is a row of the change's own transaction, and goes out later.

Not lost, because it is a row until it was taken; not sent twice, because the other side's
yes is noted at once. Of one that was handed over by a process that then died nobody knows:
it goes out again under the same ``Message-ID``.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.notifications.letters import Letter
from app.notifications.models import Mail
from app.notifications.states import MailState

WAITS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720, 1440, 1440)
)
KEEP = timedelta(days=90)
KEEP_CONFIDENTIAL = timedelta(days=7)
LONGEST_ERROR = 300
_OPEN = (MailState.WAITING, MailState.SENDING)
_TABLE: Any = Mail.__table__


def put(
    session: Session,
    letter: Letter,
    *,
    recipient: str,
    user_id: UUID | None,
    confidential: bool = False,
) -> UUID:
    """Write a mail into this transaction.

    Nothing is read back: who may write to somebody need not be able to read the outbox.
    """
    now = utc_now()
    mail_id = uuid4()
    values = {
        "id": mail_id,
        "recipient": recipient,
        "user_id": user_id,
        "subject": " ".join(letter.subject.split()),
        "text": letter.as_text(),
        "html": letter.as_html(),
        "confidential": confidential,
        "state": MailState.WAITING,
        "attempts": 0,
        "last_error": "",
        "not_before": now,
        "created_at": now,
    }
    session.execute(sa.insert(_TABLE).inline(), [values])
    return mail_id


def has_due(session: Session) -> bool:
    """Tell whether a mail waits to be sent now."""
    due: bool | None = session.scalar(sa.select(sa.exists().where(*_due())))
    return bool(due)


def take(session: Session) -> Mail | None:
    """Mark the oldest due mail as handed over, and return it."""
    mail = session.scalar(
        sa.select(Mail)
        .where(*_due())
        .order_by(Mail.not_before)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if mail is not None:
        mail.state, mail.attempts = MailState.SENDING, mail.attempts + 1
    return mail


def note_sent(session: Session, mail_id: UUID) -> None:
    """Note that the other side took it; the words of a confidential one are forgotten."""
    mail = session.get_one(Mail, mail_id)
    mail.state, mail.sent_at, mail.last_error = MailState.SENT, utc_now(), ""
    if mail.confidential:
        mail.text = mail.html = ""


def note_failed(session: Session, mail_id: UUID, error: str, *, for_good: bool) -> None:
    """Note why it did not go out; it waits for its next try unless there is none."""
    mail = session.get_one(Mail, mail_id)
    mail.last_error = error[:LONGEST_ERROR].replace("\0", "")
    if for_good or mail.attempts > len(WAITS):
        mail.state = MailState.FAILED
    else:
        mail.state = MailState.WAITING
        mail.not_before = _next_try(mail.attempts)


def postpone(session: Session, error: str) -> None:
    """Let all due mails wait: the mail server was not to be reached."""
    for mail in session.scalars(
        sa.select(Mail).where(*_due()).limit(1_000).with_for_update(skip_locked=True)
    ):
        mail.attempts += 1
        note_failed(session, mail.id, error, for_good=False)


def send_again(mail: Mail) -> None:
    """Let one that could not be delivered be tried anew."""
    mail.state, mail.attempts, mail.not_before = MailState.WAITING, 0, utc_now()


def forget_old(session: Session) -> int:
    """Remove mails that nobody needs any more; return how many."""
    now = utc_now()
    old = sa.or_(
        sa.and_(Mail.state.not_in(_OPEN), Mail.created_at < now - KEEP),
        sa.and_(Mail.confidential, Mail.created_at < now - KEEP_CONFIDENTIAL),
    )
    gone: Sequence[UUID] = session.scalars(
        sa.delete(Mail).where(old).returning(Mail.id)
    ).all()
    return len(gone)


def _due() -> tuple[sa.ColumnElement[bool], ...]:
    return Mail.state.in_(_OPEN), Mail.not_before <= sa.func.clock_timestamp()


def _next_try(attempts: int) -> datetime:
    return utc_now() + WAITS[attempts - 1]
