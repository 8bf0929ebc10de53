"""States of mails."""

from enum import StrEnum


class MailState(StrEnum):
    """``sending``: handed over just now; found so later, nobody knows whether it arrived."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "undeliverable"
