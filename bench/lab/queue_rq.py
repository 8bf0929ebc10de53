"""Asks plain RQ for the same, through the same Redis."""

import os
import time
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job

from bench.lab.program import answer
from bench.lab.stamp import stamp

NAME = "plain"


def reply(question: dict[str, Any], queue: Queue) -> dict[str, Any]:
    if question["do"] == "one":
        asked = time.time()
        job = queue.enqueue(stamp)
        return {"seconds": _began(job) - asked}
    began = time.perf_counter()
    jobs = [queue.enqueue(stamp) for _ in range(question["count"])]
    for job in jobs:
        _began(job)
    return {"seconds": time.perf_counter() - began}


def _began(job: Job) -> float:
    while (result := job.latest_result()) is None:
        time.sleep(0.01)  # when it began, it says itself
    return float(result.return_value)


if __name__ == "__main__":
    with Redis.from_url(os.environ["REDIS_URL"]) as connection:
        plain = Queue(NAME, connection=connection)
        answer(lambda question: reply(question, plain))
