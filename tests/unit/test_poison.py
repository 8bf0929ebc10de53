"""Records that bring the program down are found by halves; the others come through."""

import os
import signal
import time

import msgspec
import pytest

from app.pulls import poison

DEEDS = {
    b"1": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"2": lambda: os._exit(3),
    b"3": lambda: time.sleep(60),
    b"4": lambda: 1 / 0,
}


def records(*texts):
    return [msgspec.Raw(text) for text in texts]


def work(some):
    for each in some:
        DEEDS.get(bytes(each), lambda: None)()


@pytest.mark.parametrize("bad", [b"1", b"2", b"4"])
@pytest.mark.parametrize("at", [[0], [99], [37], [3, 4], [0, 50, 99]])
def test_the_bad_ones_are_found(bad, at):
    texts = [b"0"] * 100
    for place in at:
        texts[place] = bad
    assert poison.poisoned(records(*texts), work) == at


def test_one_that_takes_for_ever_is_found(monkeypatch):
    monkeypatch.setattr(poison, "BASE_SECONDS", 0.1)
    assert poison.poisoned(records(b"0", b"3", b"0", b"0"), work) == [1]


def test_none_is_accused_where_all_survive():
    assert poison.poisoned(records(*[b"0"] * 10), work) == []
