"""Sends what waits in the outbox, one mail after the other."""

import smtplib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.core import db, faults
from app.notifications import outbox
from app.notifications.models import Mail
from app.notifications.smtp import MailServerError, Server

# Waits before each try to note what became of a mail: what is not noted is sent again.
NOTE_WAITS = (0.0, 0.5, 2.0, 5.0)
Begin = Callable[[Session], None]


@dataclass(slots=True)
class Result:
    """How many went out and how many did not; ``error`` when the server was no use."""

    sent: int = 0
    failed: int = 0
    error: str = ""


def deliver(server: Server, begin: Begin) -> Result:
    """Send all due mails; ``begin`` opens each transaction that takes one, and may stop us."""
    result = Result()
    try:
        with server.line() as line:
            while (mail := _next(begin)) is not None:
                if not _hand_over(server, line, mail, result):
                    break  # of others it would say the same
    except MailServerError as error:  # no line at all: nobody was asked
        result.error = str(error)
        _note(partial(outbox.postpone, error=str(error)))
    return result


def _next(begin: Begin) -> Mail | None:
    with db.unit_of_work() as session:
        begin(session)
        return outbox.take(session)


def _hand_over(server: Server, line: smtplib.SMTP, mail: Mail, result: Result) -> bool:
    """Send one mail; tell whether the line is still of use."""
    try:
        server.send(line, mail)
    except MailServerError as error:
        note = partial(
            outbox.note_failed, mail_id=mail.id, error=str(error), for_good=error.for_good
        )
        _note(note)
        result.failed += 1
        if error.for_good:
            return True
        result.error = str(error)
        return False
    faults.point("mail_taken")
    _note(partial(outbox.note_sent, mail_id=mail.id))
    result.sent += 1
    return True


def _note(change: Callable[..., object]) -> None:
    """Write down what became of a mail, whoever holds the lease by now."""
    for wait in NOTE_WAITS:
        time.sleep(wait)
        try:
            with db.unit_of_work() as session:
                change(session=session)
        except OperationalError:
            if wait == NOTE_WAITS[-1]:
                raise
        else:
            return
