"""What a background process needs before it can work: settings, keys, engines."""

import os
from dataclasses import dataclass

from redis import Redis

from app import models  # noqa: F401 - all tables must be known before the first query
from app.core import crypto, db
from config import Settings
from jobs.bell import SignedSerializer, connect


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    redis: Redis
    serializer: SignedSerializer


def start() -> Runtime:
    """Read the settings and bind the rooms to them; raises ``config.ConfigError``."""
    settings = Settings.from_env(os.environ)
    db.bind(settings)
    crypto.bind(settings.field_key)
    return Runtime(
        settings, connect(settings.redis_url), SignedSerializer(settings.queue_key)
    )
