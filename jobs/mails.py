"""The job that sends what waits in the outbox."""

from contextlib import suppress

from sqlalchemy.orm import Session

from app.core import db
from app.notifications import outbox
from app.notifications.delivery import deliver
from app.notifications.smtp import Server
from app.notifications.spreading import Clerk
from app.runs.errors import AlreadyActiveError
from app.runs.kinds import KindName, MailParams
from app.runs.ledger import Lease
from app.runs.services import Order, request_run
from app.runs.states import LogLevel
from app.web import i18n
from config import Mode, Settings
from jobs.runtime import current_settings


def clerk_of(settings: Settings) -> Clerk:
    """Return who writes mails that no page writes.

    Where none would leave, none are written; but a demo shows them in its outbox.
    """
    return Clerk(
        translations=i18n.compiled(settings.home),
        office=settings.office_name,
        public_url=settings.public_url,
        zone=settings.time_zone,
        writes_mails=bool(settings.smtp_url) or settings.mode is not Mode.PRODUCTION,
    )


def request_sending(session: Session) -> None:
    """Ask for a run that sends, when a mail is due and none is at it."""
    if outbox.has_due(session):
        order = Order(KindName.MAIL, "mail", MailParams(), "", None)
        with suppress(AlreadyActiveError):
            request_run(session, order)


def send(lease: Lease) -> None:
    """Send all mails that are due."""
    settings = current_settings()
    server = Server.of(settings.smtp_url, settings.mail_from, settings.smtp_ca_file)
    result = deliver(server, lease.save)
    with db.unit_of_work() as session:
        lease.save(session)
        if result.error:
            lease.log_in(
                session,
                "The mail server does not take mails now, they wait: %(what)s",
                level=LogLevel.WARNING,
                what=result.error,
            )
        lease.succeed(session, {"sent": result.sent, "failed": result.failed})
