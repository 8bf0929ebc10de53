"""Walks beside publishes: nothing is lost on the way, and the change feed leaves out nothing."""

import random
import time

import pytest

from tests.api.conftest import person

SEEDS = [1, 2, pytest.param(3, marks=pytest.mark.long)]


def publish(shop, chance, now):
    """Change, remove, bring back and add some rows, and publish that."""
    for _ in range(chance.randint(1, 10)):
        number = chance.randrange(80)
        if number in now and chance.random() < 0.5:
            del now[number]
        else:
            now[number] = person(number) | {"nama": f"Nama {chance.random()}"}
    shop.upstream.records = list(now.values())
    shop.pull()
    if chance.random() < 0.5:
        time.sleep(1.05)  # with and without what is remembered for a second


def follow(shop, chance, since, known):
    """Take over changes as a client does, a few at a time, until there are no more."""
    while True:
        page = shop.get(f"?since={since}&limit={chance.randint(1, 7)}").json
        for row in page["data"]:
            if row["_deleted"]:
                known.pop(row["nip"], None)
            else:
                known[row["nip"]] = row["nama"]
        since = page["page"]["since"]
        if not page["page"]["more"]:
            return since


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_and_its_changes_end_in_what_was_published(shop, seed):
    chance = random.Random(seed)
    now = {n: person(n) for n in range(60)}
    shop.upstream.records = list(now.values())
    shop.pull()
    known, after, since = {}, "", ""
    while after is not None:
        query = f"?limit={chance.randint(5, 20)}" + (f"&after={after}" if after else "")
        page = shop.get(query).json
        known |= {row["nip"]: row["nama"] for row in page["data"]}
        since = since or page["page"]["since"]
        latest = page["page"]["since"]
        after = page["page"]["next"]
        if chance.random() < 0.6:
            publish(shop, chance, now)
    for token in (since, latest):  # the first page's, and the last's
        mine = dict(known)
        later = follow(shop, chance, token, mine)
        publish(shop, chance, now)
        time.sleep(1.05)
        follow(shop, chance, later, mine)
        assert mine == {row["nip"]: row["nama"] for row in now.values()}
