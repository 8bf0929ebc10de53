"""Words of mails and notices."""

from enum import StrEnum


class MailState(StrEnum):
    """``sending``: handed over just now; found so later, nobody knows whether it arrived."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "undeliverable"


class NoticeKind(StrEnum):
    """What people are told of; what else belongs to a kind stands in ``kinds``."""

    RUN_GIVEN_UP = "run_given_up"
    PULL_HELD = "pull_held"
    EXPORT_READY = "export_ready"
    APPROVAL_ASKED = "approval_asked"
    REQUEST_ASKS = "request_asks"
    REQUEST_DUE = "request_due"
    REQUEST_LATE = "request_late"
    REQUEST_TOLD = "request_told"
    AGREEMENT_ASKS = "agreement_asks"
    AGREEMENT_TOLD = "agreement_told"
    COMPLAINT_ASKS = "complaint_asks"
    COMPLAINT_TOLD = "complaint_told"
    ACCOUNT = "account"


class Wish(StrEnum):
    """When somebody wants to be told of a kind."""

    ALWAYS = "always"
    PROBLEM = "on_problem"
    DIGEST = "daily_digest"
    NEVER = "never"
