"""Tokens of places in an answer: opaque, and good for one query alone.

Encrypted, not only signed: a key field that a grant hides may be where a page ends.
"""

import base64
import binascii
import hashlib
import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.api.errors import bad_token


class Tokens:
    """Makes and reads tokens with a key derived from the application's secret."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(
            hashlib.sha256(b"simpul api token 1\0" + secret.encode()).digest()
        )

    def make(self, context: str, values: object) -> str:
        """Return a token that only the same ``context`` (dataset and query) reads."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(
            nonce, msgspec.json.encode(values), context.encode()
        )
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def read(self, context: str, token: str) -> list[object]:
        """Return what was put in; raises ``Refused`` for any other token."""
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
            values: list[object] = msgspec.json.decode(
                self._cipher.decrypt(raw[:12], raw[12:], context.encode()),
                type=list[object],
            )
        except (InvalidTag, binascii.Error, ValueError):
            raise bad_token() from None
        return values
