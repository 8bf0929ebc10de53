"""Keys as they are handed out: made, recognised, hashed. Nothing here knows a database."""

import hashlib
import hmac
import re
import secrets
from ipaddress import ip_address, ip_network

PATTERN = re.compile(r"smp_([a-z0-9]{10})_[A-Za-z0-9_-]{43}\Z", re.ASCII)
ANYWHERE = re.compile(r"smp_[a-z0-9]{10}_", re.ASCII)
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def make() -> tuple[str, str, bytes]:
    """Return a new key, its prefix and its hash. Only the holder keeps the first."""
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(10))
    key = f"smp_{prefix}_{secrets.token_urlsafe(32)}"
    return key, prefix, hash_of(key)


def hash_of(key: str) -> bytes:
    """Return SHA-256: a key of 256 random bits needs no slow hash."""
    return hashlib.sha256(key.encode()).digest()


def prefix_of(key: str) -> str:
    """Return the prefix of something that looks like a key, or nothing."""
    found = PATTERN.match(key)
    return found[1] if found else ""


def is_same(stored: bytes, given: bytes) -> bool:
    return hmac.compare_digest(stored, given)


def comes_from(address: str, networks: tuple[str, ...]) -> bool:
    """Tell whether an address lies in one of the blocks; no blocks: it always does."""
    if not networks:
        return True
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in ip_network(each) for each in networks)
