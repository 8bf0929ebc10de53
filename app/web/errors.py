"""Every failure of a request, as a page (or JSON) in words, with the id to report it by."""

import logging

from flask import Flask, current_app, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_wtf.csrf import CSRFError
from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from app.core.errors import RejectedError, SimpulError
from app.core.scope import NotFoundError
from app.web.extensions import db
from app.web.guard import LOOKING_ON
from app.web.i18n import lazy_gettext, say

log = logging.getLogger("simpul.web")
WORDS = {
    400: lazy_gettext("The request could not be read. Go back and try again."),
    401: lazy_gettext("Please log in first; nothing was changed."),
    403: lazy_gettext(
        "Your role does not allow this. Ask an administrator of the office."
    ),
    404: lazy_gettext("This page or object does not exist, or is not yours to see."),
    405: lazy_gettext("This address does not take this kind of request."),
    413: lazy_gettext("What you sent is too large."),
    429: lazy_gettext("Too many attempts. Wait a minute, then try again."),
    500: lazy_gettext(
        "Something went wrong inside Simpul. It has been noted; try again later."
    ),
    503: lazy_gettext("The database does not answer just now. Try again in a minute."),
}

_LOOKING_ON_WORDS = lazy_gettext(
    "You are looking on as an agency: nothing can be changed. Stop looking on first."
)


def init_app(app: Flask) -> None:
    """Register one handler for each family of failure."""
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RejectedError, _rejected)
    app.register_error_handler(OperationalError, _database)
    app.register_error_handler(DataError, _unstorable)
    app.register_error_handler(IntegrityError, _clash)
    app.register_error_handler(StaleDataError, _clash)
    app.register_error_handler(Exception, _unknown)


def _answer(status: int, words: str) -> ResponseReturnValue:
    reference = g.get("request_id", "")
    if (
        request.path.startswith(("/api/", "/health"))
        or request.accept_mimetypes.best == "application/json"
    ):
        return {"status": status, "title": words, "request_id": reference}, status
    db.session.rollback()
    page = render_template(
        "pages/error.html", status=status, words=words, reference=reference
    )
    return page, status


def _http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if error.description == LOOKING_ON:
        return _answer(status, str(_LOOKING_ON_WORDS))
    if status < 400 and error.response is not None:
        return error.get_response()
    return _answer(status, str(WORDS.get(status, WORDS[400])))


def _csrf(error: CSRFError) -> ResponseReturnValue:
    del error
    return _answer(
        400, gettext("The form has expired. Load the page again and send it once more.")
    )


def _rejected(error: RejectedError) -> ResponseReturnValue:
    status = 404 if isinstance(error, NotFoundError) else 409
    return _answer(status, say(error.message, error.params))


def _unstorable(error: DataError) -> ResponseReturnValue:
    """Answer for what no column can hold, a NUL or a number beyond all bounds."""
    del error
    return _answer(400, str(WORDS[400]))


def _clash(error: Exception) -> ResponseReturnValue:
    """Answer for two requests that changed the same thing at the same moment."""
    log.warning("request %s clashed: %s", g.get("request_id", ""), type(error).__name__)
    return _answer(
        409,
        gettext(
            "Somebody else changed the same thing at the same moment. Nothing of yours was"
            " saved; load the page again and look first."
        ),
    )


def _database(error: DBAPIError) -> ResponseReturnValue:
    if isinstance(
        error.orig, DeadlockDetected
    ):  # two waited for each other: one gave way
        return _clash(error)
    log.error("database: %s", type(error.orig).__name__)
    # The page must not ask the database who is looking at it.
    g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]  # noqa: SLF001 - where Flask-Login keeps it
    answer = make_response(_answer(503, str(WORDS[503])))
    answer.headers["Retry-After"] = "30"
    return answer


def _unknown(error: Exception) -> ResponseReturnValue:
    code = error.code if isinstance(error, SimpulError) else type(error).__name__
    log.error("request %s failed: %s", g.get("request_id", ""), code, exc_info=error)
    return _answer(500, str(WORDS[500]))
