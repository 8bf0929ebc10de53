"""The job that keeps the data folder free of what nobody needs any more."""

from datetime import timedelta

from app.core import db
from app.exports import services
from app.history import services as trash
from app.identity import login_sessions
from app.listings.services import forget_imports
from app.notifications import notices, outbox
from app.pulls import raw_pages
from app.runs.ledger import Lease
from jobs.runtime import current_settings


def tidy(lease: Lease) -> None:
    """Remove expired downloads, files that no row knows, and what lay in the trash too long."""
    settings = current_settings()
    home = settings.home
    with db.unit_of_work() as session:
        lease.save(session)
        expired = services.remove_expired(session, home)
    with db.unit_of_work() as session:
        lease.save(session)
        parts, strays = services.remove_strays(session, home)
        pages = raw_pages.forget_old(session, settings.raw_days)
        tables = forget_imports(session, settings.download_days)
        trashed = trash.empty(session, settings.trash_days)
        outbox.forget_old(session)
        notices.forget_old(session)
        login_sessions.forget_dead(session, timedelta(hours=settings.session_hours))
        lease.log_in(
            session,
            "Removed: %(expired)s expired downloads, %(parts)s unfinished files, %(strays)s"
            " files without an owner, %(pages)s old pages of answers, %(tables)s tables that"
            " were sent, %(trashed)s things in the trash.",
            expired=expired,
            parts=parts,
            strays=strays,
            pages=pages,
            tables=tables,
            trashed=trashed,
        )
        lease.succeed(
            session,
            {
                "expired": expired,
                "parts": parts,
                "strays": strays,
                "pages": pages,
                "tables": tables,
                "trashed": trashed,
            },
        )
