"""Hands mails to the office's mail server. Certificates are checked; plain only when said so."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import unquote, urlsplit

from app.core.clock import utc_now
from app.notifications.models import Mail

TIMEOUT_SECONDS = 20.0
DEFAULT_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


class MailServerError(Exception):
    """The mail could not be handed over; ``for_good`` when no later try will do better."""

    def __init__(self, text: str, *, for_good: bool = False) -> None:
        self.for_good = for_good
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Server:
    """Where mails are handed over, as ``SMTP_URL`` says it."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    sender: str
    ca_file: str = ""

    @classmethod
    def of(cls, url: str, sender: str, ca_file: str = "") -> "Server":
        """Read an address: smtp (STARTTLS), smtps (TLS at once) or smtp+plain."""
        parts = urlsplit(url)
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            sender=sender,
            ca_file=ca_file,
        )

    @contextmanager
    def line(self) -> Iterator[smtplib.SMTP]:
        """Hold an open, authenticated connection; raises ``MailServerError``."""
        try:
            line = self._open()
        except (OSError, smtplib.SMTPException) as error:
            raise MailServerError(_words(error)) from error
        try:
            yield line
        finally:
            with suppress(OSError, smtplib.SMTPException):
                line.quit()

    def _open(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.scheme == "smtps":
            line: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            line = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            if self.scheme == "smtp":
                line.starttls(context=context)
            if self.user:
                line.login(self.user, self.password)
        except (OSError, smtplib.SMTPException):
            line.close()
            raise
        return line

    def send(self, line: smtplib.SMTP, mail: Mail) -> None:
        """Hand one mail over; raises ``MailServerError`` unless the server took it."""
        try:
            line.send_message(self._message(mail))
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise MailServerError(_said(code, said), for_good=code >= 500) from error
        except smtplib.SMTPResponseException as error:
            text = _said(error.smtp_code, error.smtp_error)
            raise MailServerError(text, for_good=error.smtp_code >= 550) from error
        except (OSError, smtplib.SMTPException) as error:
            raise MailServerError(_words(error)) from error
        except ValueError as error:  # an address or subject that no header can hold
            raise MailServerError("header", for_good=True) from error

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = mail.recipient
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(utc_now())
        # The same at every try, so that a mail server can tell a copy.
        message["Message-ID"] = f"<{mail.id}@{_domain(self.sender)}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].partition("@")[2] or "simpul.invalid"


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {words}"


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _said(error.smtp_code, error.smtp_error)
    return f"{type(error).__name__}: {error}"
