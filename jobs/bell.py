"""Rings Redis for runs that wait: ids only, signed, never pickled.

Redis is a bell and not a memory: whatever is lost here is rung again from PostgreSQL, and
whatever rings twice is claimed once.
"""

import hashlib
import hmac
import json
import logging
import re
import zlib
from typing import Any, cast
from uuid import UUID

from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job

from app.runs.states import QueueName
from app.runs.sweeps import Waiting

log = logging.getLogger("simpul.bell")
PERFORM = "jobs.perform.perform"
# A message that nobody comes for is forgotten; the ledger rings again long before.
KEEP_SECONDS = 3600
LONGEST_MESSAGE = 2000
_MESSAGE_ID = re.compile(
    r"run-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d{1,18}", re.ASCII
)
REFUSED = "refused"  # stands for an id that is not of our form; no message has it


class UnsignedMessageError(Exception):
    """Something in Redis was not written by us; it is refused unread."""


class SignedSerializer:
    """JSON behind an HMAC-SHA256: who can write to Redis still cannot make us run code."""

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(b"simpul queue key v1\0" + key.encode()).digest()
        # RQ notes the name of a serializer and expects it to be a class.
        self.__qualname__ = type(self).__qualname__

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


def connect(url: str, *, answer_seconds: float = 5.0) -> Redis:
    """Return a client that fails fast: nothing here may wait for Redis, only try again.

    ``answer_seconds`` must be longer than any wait for the bell.
    """
    return Redis.from_url(
        url, retry=None, socket_connect_timeout=1, socket_timeout=answer_seconds
    )


class RunMessage(Job):
    """A message that names one run.

    Nothing else of what Redis says about it is read: no function, no callback, no webhook.
    One that is not ours is refused and removed.
    """

    run_id: UUID

    def refresh(self) -> None:
        """Read which run it names; raises ``NoSuchJobError`` for all that is not ours."""
        try:
            stored = self.connection.hget(self.key, "data")
            self.run_id = self._run_in(cast("bytes", stored or b""))
        except (UnsignedMessageError, ResponseError, ValueError, zlib.error):
            log.warning("a message in Redis was refused: %s", self.id)
            self.forget()
            raise NoSuchJobError("refused") from None

    def _run_in(self, stored: bytes) -> UUID:
        if len(stored) > LONGEST_MESSAGE:
            raise UnsignedMessageError("too long for a message of ours")
        function, _instance, (run_id,), _named = self.serializer.loads(
            zlib.decompress(stored)
        )
        named = _MESSAGE_ID.fullmatch(self.id)
        if function != PERFORM or named is None or named[1] != run_id:
            raise UnsignedMessageError("signed for something else")
        return UUID(run_id)

    def forget(self) -> None:
        """Leave nothing of the message in Redis: from here on the ledger remembers."""
        with self.connection.pipeline() as pipeline:
            pipeline.delete(self.key)
            for name in QueueName:
                key = IntermediateQueue.get_intermediate_queue_key(f"rq:queue:{name}")
                pipeline.lrem(key, 0, self.id)
            pipeline.execute()


class RunQueue(Queue):
    """A queue of messages about runs."""

    job_class = RunMessage

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """Take the next id; one that is not of our form is dropped."""
        taken = super().lmove(connection, queue_key, timeout)
        if taken is None or _MESSAGE_ID.fullmatch(taken[1].decode("latin-1")):
            return taken
        log.warning("something in Redis that is no run was refused")
        key = IntermediateQueue.get_intermediate_queue_key(queue_key)
        connection.lrem(key, 0, taken[1])
        return queue_key, REFUSED


class Bell:
    """Puts run ids on the queues."""

    def __init__(self, connection: Redis, serializer: SignedSerializer) -> None:
        self._queues = {
            name: RunQueue(name, connection=connection, serializer=serializer)
            for name in QueueName
        }

    def ring(self, waiting: Waiting) -> None:
        """Enqueue one run; raises ``redis.RedisError`` when Redis cannot take it.

        The id names the claim it is for, so that a late copy of it is told apart. A run
        that still stands in a long queue keeps its place there.
        """
        queue = self._queues[waiting.queue]
        job_id = f"run-{waiting.run_id}-{waiting.fence}"
        if waiting.again:
            if self._stands_in(queue, job_id):
                return
            queue.connection.lrem(queue.key, 0, job_id)
        queue.enqueue_call(
            PERFORM,
            args=(str(waiting.run_id),),
            job_id=job_id,
            timeout=-1,  # the ledger's own limits hold; see jobs.worker
            result_ttl=0,
            failure_ttl=KEEP_SECONDS,
            description="",
        )

    def _stands_in(self, queue: RunQueue, job_id: str) -> bool:
        with queue.connection.pipeline() as pipeline:
            pipeline.lpos(queue.key, job_id)
            pipeline.exists(RunMessage.key_for(job_id))
            place, is_whole = pipeline.execute()
        return place is not None and bool(is_whole)
