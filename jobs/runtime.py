"""What a background process needs before it can work: settings, keys, engines."""

import ctypes
import gc
import os
from contextlib import suppress
from dataclasses import dataclass

from redis import Redis

from app import models  # noqa: F401 - all tables must be known before the first query
from app.core import crypto, db, faults
from app.identity import passwords
from config import Mode, Settings
from jobs.bell import SignedSerializer, connect


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    redis: Redis
    serializer: SignedSerializer


class _Started:
    settings: Settings | None = None


def current_settings() -> Settings:
    """Return the settings this process was started with."""
    if _Started.settings is None:
        raise RuntimeError("jobs.runtime.start() was not called")
    return _Started.settings


def start() -> Runtime:
    """Read the settings and bind the rooms to them; raises ``config.ConfigError``."""
    settings = Settings.from_env(os.environ)
    _Started.settings = settings
    db.bind(settings)
    crypto.bind(settings.field_key)
    passwords.bind(settings)
    if settings.mode is Mode.TEST:
        faults.arm(os.environ)
    return Runtime(
        settings, connect(settings.redis_url), SignedSerializer(settings.queue_key)
    )


def settle_memory() -> None:
    """Give back what importing has used up, and keep the rest shared between all forks."""
    gc.collect()
    with suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()
