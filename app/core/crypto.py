"""Secrets at rest: a column type that only ever stores ciphertext."""

import base64
import hashlib
import hmac
import json
from typing import Any

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from app.core.errors import PermanentError


class SecretUnreadableError(PermanentError):
    """The stored secret was made with another FIELD_KEY."""

    code = "secret_unreadable"

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be read with this FIELD_KEY: enter the secret again."
        )


class _Key:
    fernet: Fernet | None = None
    text: bytes = b""


def bind(field_key: str) -> None:
    """Set the key that encrypts secrets; any long random text will do."""
    digest = hashlib.sha256(b"simpul field key v1\0" + field_key.encode()).digest()
    _Key.fernet = Fernet(base64.urlsafe_b64encode(digest))
    _Key.text = field_key.encode()


def _fernet() -> Fernet:
    if _Key.fernet is None:
        raise RuntimeError("core.crypto.bind() was not called")
    return _Key.fernet


def key_for(purpose: str) -> str:
    """Return a key of this installation for one purpose alone; the field key stays here."""
    if not _Key.text:
        raise RuntimeError("core.crypto.bind() was not called")
    return hmac.new(_Key.text, f"simpul {purpose}".encode(), hashlib.sha256).hexdigest()


class EncryptedText(sa.types.TypeDecorator[str]):
    """Text that is ciphertext in the database and in every dump of it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else _fernet().encrypt(value.encode()).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        if value is None:
            return None
        try:
            return _fernet().decrypt(value.encode()).decode()
        except InvalidToken:
            raise SecretUnreadableError from None


class EncryptedMap(sa.types.TypeDecorator[dict[str, str]]):
    """Named secrets, encrypted as one. A lone text of former days is called ``lone``."""

    impl = EncryptedText
    cache_ok = True
    _MARK = "named:"

    def __init__(self, lone: str = "") -> None:
        super().__init__()
        self.lone = lone

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return self._MARK + json.dumps(value) if value else None

    def process_result_value(self, value: Any, dialect: Any) -> dict[str, str]:  # noqa: ARG002 - SQLAlchemy's
        if value is None:
            return {}
        if not value.startswith(self._MARK):
            return {self.lone: value}
        named: dict[str, str] = json.loads(value.removeprefix(self._MARK))
        return named


def seal(text: str) -> str:
    """Return ``text`` as a token that only this installation can open."""
    return _fernet().encrypt(text.encode()).decode()


def unseal(token: str, max_age_seconds: int) -> str | None:
    """Return what was sealed; None when it is too old or was never sealed here."""
    try:
        return _fernet().decrypt(token.encode(), ttl=max_age_seconds).decode()
    except (InvalidToken, UnicodeEncodeError):
        return None
