"""Rings Redis for runs that wait: ids only, signed, never pickled.

Redis is a bell and not a memory: whatever is lost here is rung again from PostgreSQL, and
whatever rings twice is claimed once.
"""

import hashlib
import hmac
import json
from typing import Any

from redis import Redis
from rq import Queue

from app.runs.states import QueueName
from app.runs.sweeps import Waiting

PERFORM = "jobs.perform.perform"
KEEP_FAILURE_SECONDS = 3600


class UnsignedMessageError(Exception):
    """Something in Redis was not written by us; it is refused unread."""


class SignedSerializer:
    """JSON behind an HMAC-SHA256: who can write to Redis still cannot make us run code."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(b"simpul queue key v1\0" + key.encode()).digest()

    def dumps(self, obj: Any) -> bytes:
        body = json.dumps(obj, separators=(",", ":")).encode()
        return self._sign(body) + body

    def loads(self, data: bytes) -> Any:
        signature, body = data[:32], data[32:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise UnsignedMessageError("a message in Redis is not signed with our key")
        return json.loads(body)

    def _sign(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()


def connect(url: str) -> Redis:
    """Return a client that fails fast: nothing here may wait for Redis, only try again."""
    return Redis.from_url(url, retry=None, socket_connect_timeout=1)


class Bell:
    """Puts run ids on the queues."""

    def __init__(self, connection: Redis, serializer: SignedSerializer) -> None:
        self._queues = {
            name: Queue(name, connection=connection, serializer=serializer)
            for name in QueueName
        }

    def ring(self, waiting: Waiting) -> None:
        """Enqueue one run; raises ``redis.RedisError`` when Redis cannot take it.

        The id names the claim it is for, so that a late copy of it is told apart.
        """
        queue = self._queues[waiting.queue]
        job_id = f"run-{waiting.run_id}-{waiting.fence}"
        if waiting.again:
            queue.connection.lrem(queue.key, 0, job_id)
        queue.enqueue_call(
            PERFORM,
            args=(str(waiting.run_id),),
            job_id=job_id,
            timeout=-1,  # the ledger's own limits hold; see jobs.perform
            result_ttl=0,
            failure_ttl=KEEP_FAILURE_SECONDS,
            description="",
        )
