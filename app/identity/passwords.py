"""Password hashes: argon2id, made without a web application so that commands can too."""

from argon2 import PasswordHasher

_hasher = PasswordHasher()


def hash_of(password: str) -> str:
    """Return the argon2id hash (PHC text, its own random salt) under which it is stored."""
    return _hasher.hash(password)
