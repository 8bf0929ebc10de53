"""What can go wrong between us and another office's web service, one code for each.

Parameters are safe to store and show: host names, numbers, paths that a person typed into
the source's settings. Never a query value, a header value or a piece of an answer.
"""

from app.core.errors import PermanentError, RejectedError, TransientError
from app.core.words import message_id


class SourceSettingsError(RejectedError):
    """The settings of a source cannot work; shown to the person who saves them."""

    code = "source_settings"


class SourceUnavailableError(TransientError):
    """The service did not do its part this time; the same request may succeed later.

    ``pair`` is the host:port that was asked, once it is known.
    """

    code = "source_unavailable"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_seconds: float | None = None,
        **params: object,
    ) -> None:
        super().__init__(message, code=code, **params)
        self.retry_after_seconds = retry_after_seconds
        self.pair = ""


class SourceRefusedError(PermanentError):
    """The service, or a rule of ours about it, refuses; asking again changes nothing."""

    code = "source_refused"


class SourceAnswerError(PermanentError):
    """The service answered, and the answer cannot be what it should be."""

    code = "source_answer"


# --- reaching the service -----------------------------------------------------------


def name_not_found(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "The name %(host)s is not known to the name service",
        code="name_not_found",
        host=host,
    )


def name_service_failed(host: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        "The name service did not answer for %(host)s",
        code="name_service_failed",
        host=host,
    )


def refused(host: str, port: int) -> SourceUnavailableError:
    return SourceUnavailableError(
        "%(host)s refused the connection on port %(port)s",
        code="refused",
        host=host,
        port=port,
    )


def proxy_refused(
    host: str, proxy: str, status: int
) -> SourceUnavailableError | SourceRefusedError:
    """A server error of a proxy is about the way behind it, and may pass."""
    message = message_id(
        "The outbound proxy %(proxy)s does not open the way to %(host)s (HTTP %(status)s)"
    )
    kind = SourceUnavailableError if status >= 500 else SourceRefusedError
    return kind(message, code="proxy_refused", host=host, proxy=proxy, status=status)


def unreachable(host: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        "There is no way through the network to %(host)s", code="unreachable", host=host
    )


def timeout(host: str, seconds: float) -> SourceUnavailableError:
    return SourceUnavailableError(
        "%(host)s did not answer within %(seconds)s seconds",
        code="timeout",
        host=host,
        seconds=f"{seconds:g}",
    )


def too_slow(host: str, seconds: float) -> SourceUnavailableError:
    return SourceUnavailableError(
        "%(host)s did not finish its answer within %(seconds)s seconds",
        code="too_slow",
        host=host,
        seconds=f"{seconds:g}",
    )


def connection_lost(host: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        "%(host)s closed the connection before it answered",
        code="connection_lost",
        host=host,
    )


def truncated_body(host: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        "The answer of %(host)s ended in the middle", code="truncated_body", host=host
    )


def tls_expired(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "The certificate of %(host)s has expired or is not valid yet",
        code="tls_expired",
        host=host,
    )


def tls_untrusted(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "The certificate of %(host)s comes from an authority we do not trust",
        code="tls_untrusted",
        host=host,
    )


def tls_wrong_name(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "The certificate shown by %(host)s was issued for another name",
        code="tls_wrong_name",
        host=host,
    )


def tls_failed(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "No encrypted connection to %(host)s could be agreed on",
        code="tls_failed",
        host=host,
    )


def tls_pin_mismatch(host: str) -> SourceRefusedError:
    return SourceRefusedError(
        "The certificate of %(host)s is not the one that was pinned",
        code="tls_pin_mismatch",
        host=host,
    )


def not_http(host: str) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s answers with something that is not HTTP", code="not_http", host=host
    )


def not_approved(host: str, why: str) -> SourceRefusedError:
    """A rule of ours forbids the address; ``why`` is a word of ours, never of the URL."""
    return SourceRefusedError(
        "Requests to %(host)s are not allowed: %(why)s",
        code="not_approved",
        host=host,
        why=why,
    )


def unreadable_address(why: str) -> SourceRefusedError:
    """An address that cannot be read strictly names no host that could be approved."""
    return SourceRefusedError(
        "This address cannot be used: %(why)s", code="not_approved", why=why
    )


# --- the status of the answer ---------------------------------------------------------

_REFUSALS = {
    401: message_id("%(host)s does not accept our key (HTTP 401)"),
    403: message_id("%(host)s does not let our key read this address (HTTP 403)"),
    404: message_id("%(host)s has nothing at this address (HTTP 404)"),
}
_TRY_LATER = frozenset({408, 425})


def redirect_refused(host: str, status: int) -> SourceRefusedError:
    return SourceRefusedError(
        "%(host)s sends us to another address (HTTP %(status)s); we do not follow",
        code="redirect_refused",
        host=host,
        status=status,
    )


def for_status(
    host: str, status: int, retry_after_seconds: float | None = None
) -> SourceUnavailableError | SourceRefusedError:
    """The error for an answer outside 200 to 299; ``retry_after_seconds`` as they asked."""
    if 300 <= status < 400:
        return redirect_refused(host, status)
    if status in _REFUSALS:
        code = f"http_{status}"
        return SourceRefusedError(_REFUSALS[status], code=code, host=host, status=status)
    if status == 429:
        code = "http_429"
        message = message_id("%(host)s asks us to send fewer requests (HTTP 429)")
    elif status >= 500:
        code = "http_5xx"
        message = message_id("%(host)s has an error of its own (HTTP %(status)s)")
    else:
        code = "http_4xx"
        message = message_id("%(host)s refuses the request (HTTP %(status)s)")
        if status not in _TRY_LATER:
            return SourceRefusedError(message, code=code, host=host, status=status)
    return SourceUnavailableError(
        message,
        code=code,
        retry_after_seconds=retry_after_seconds,
        host=host,
        status=status,
    )


def login_refused(host: str, status: object) -> SourceRefusedError:
    return SourceRefusedError(
        "%(host)s does not accept our log-in (HTTP %(status)s)",
        code="login_refused",
        host=host,
        status=status,
    )


def no_token(host: str, path: str) -> SourceAnswerError:
    return SourceAnswerError(
        "The log-in at %(host)s brought no token at %(path)s",
        code="no_token",
        host=host,
        path=path[:100],
    )


def foreign_next(host: str) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s leads to another host for the next page; we do not follow",
        code="foreign_next",
        host=host,
    )


# --- the body of the answer -----------------------------------------------------------


def response_too_large(host: str, limit_bytes: int) -> SourceAnswerError:
    return SourceAnswerError(
        "One page of %(host)s is larger than the limit of %(limit)s bytes",
        code="response_too_large",
        host=host,
        limit=limit_bytes,
    )


def wrong_encoding(host: str) -> SourceAnswerError:
    return SourceAnswerError(
        "The answer of %(host)s is packed in a way we cannot unpack",
        code="wrong_encoding",
        host=host,
    )


def not_json(host: str, content_type: str, length: int) -> SourceAnswerError:
    return SourceAnswerError(
        "The answer of %(host)s is not JSON (declared as %(content_type)s, %(length)s bytes)",
        code="not_json",
        host=host,
        content_type=content_type,
        length=length,
    )


def wrong_shape(host: str, path: str) -> SourceAnswerError:
    """``path`` is the place in the answer, as the settings of the source name it."""
    return SourceAnswerError(
        "The answer of %(host)s does not hold what it should at %(path)s",
        code="wrong_shape",
        host=host,
        path=path,
    )


def success_rule(host: str, path: str) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s answers that the request failed (see %(path)s in the answer)",
        code="success_rule",
        host=host,
        path=path,
    )


# --- the pages taken together ---------------------------------------------------------


def empty_answer(host: str) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s sent no record at all", code="empty_answer", host=host
    )


def repeated_page(host: str, page: int) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s sent the same page twice (page %(page)s)",
        code="repeated_page",
        host=host,
        page=page,
    )


def page_loop(host: str, page: int) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s sends pages in a circle: page %(page)s was there before",
        code="page_loop",
        host=host,
        page=page,
    )


def short_total(host: str, rows: int, total: int) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s declares %(total)s records and sent %(rows)s",
        code="short_total",
        host=host,
        rows=rows,
        total=total,
    )


def too_many_pages(host: str, limit: int) -> SourceAnswerError:
    return SourceAnswerError(
        "%(host)s goes on after %(limit)s pages, which is the limit",
        code="too_many_pages",
        host=host,
        limit=limit,
    )


def position_mismatch(host: str) -> SourceAnswerError:
    return SourceAnswerError(
        "The settings of %(host)s changed while it was being read; start again",
        code="position_mismatch",
        host=host,
    )
