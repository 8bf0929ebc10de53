"""The bell: signed ids and nothing else, and what Redis loses is rung again."""

import json
import zlib
from dataclasses import replace

import pytest
from rq.exceptions import NoSuchJobError

from app.core.policy import DISPATCHER, acting_as
from jobs.bell import PERFORM, RunMessage, SignedSerializer, connect
from jobs.runtime import Runtime
from jobs.scheduler import Scheduler
from tests import make

KEY = "kunci-antrean"


def stored(serializer, run_id):
    return zlib.compress(serializer.dumps([PERFORM, None, [str(run_id)], {}]))


def message(client, run_id, data):
    ident = f"run-{run_id}-0"
    client.hset(f"rq:job:{ident}", "data", data)
    return RunMessage(ident, connection=client, serializer=SignedSerializer(KEY))


def test_a_message_of_ours_names_its_run(redis_server):
    run_id = make.make_run()
    found = message(redis_server, run_id, stored(SignedSerializer(KEY), run_id))
    found.refresh()
    assert found.run_id == run_id


@pytest.mark.parametrize("how", ["another key", "no signature", "a bit turned"])
def test_a_message_without_our_signature_is_refused(redis_server, how):
    """It is all as it should be but for the signature: it still runs nothing."""
    run_id = make.make_run()
    if how == "another key":
        data = stored(SignedSerializer("kunci lain"), run_id)
    elif how == "no signature":
        body = json.dumps([PERFORM, None, [str(run_id)], {}]).encode()
        data = zlib.compress(b"\0" * 32 + body)
    else:
        whole = bytearray(SignedSerializer(KEY).dumps([PERFORM, None, [str(run_id)], {}]))
        whole[0] ^= 1
        data = zlib.compress(bytes(whole))
    found = message(redis_server, run_id, data)
    with pytest.raises(NoSuchJobError):
        found.refresh()
    assert not redis_server.exists(f"rq:job:run-{run_id}-0")


def test_what_redis_does_not_take_waits_and_is_rung_at_once(bound, own_redis):
    run_id = make.make_run()
    settings = replace(bound, redis_url=own_redis.url, lease_seconds=3600.0)
    client = connect(settings.redis_url)
    scheduler = Scheduler(Runtime(settings, client, SignedSerializer(KEY)))
    own_redis.kill()
    with acting_as(DISPATCHER):
        scheduler.dispatch()
        assert make.run_of(run_id).rung_at is None
        own_redis.start()
        scheduler.dispatch()
    assert make.run_of(run_id).rung_at is not None
    assert client.exists(f"rq:job:run-{run_id}-0")
    client.close()
