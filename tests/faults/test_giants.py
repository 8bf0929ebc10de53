"""An agency's service sends one record of 100 MB: refused in words, in bounded memory."""

import random
import threading
import zlib

import psutil
import pytest
import sqlalchemy as sa

from app.pulls import intake
from app.pulls.models import QuarantinedRecord
from app.runs.states import RunStatus
from tests import fakes, make

MB = 1 << 20
GIANT = 100 * MB
PLAIN = b"A" * MB


def pieces(field, filling):
    """Yield the answer, a megabyte at a time: it exists nowhere as a whole."""
    yield b'{"ok": true, "total": 2, "data": [{"nip": "0002", "nama": "Siti"}, '
    yield b"{" if field == "nip" else b'{"nip": "0001", '
    yield b'"%s": "' % field.encode()
    for _ in range(GIANT // MB):
        yield filling()
    yield b'"}]}' if field == "nama" else b'", "nama": "Raksasa"}]}'


def declared(handler, parts):
    handler.send_header("Content-Length", str(GIANT + 200))
    handler.end_headers()
    for part in parts:
        handler.wfile.write(part)


def chunked(handler, parts):
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for part in (*parts, b""):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))


def packed(handler, parts):
    """A bomb: 100 MB in 100 kB."""
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        piece = packer.compress(part)
        if piece:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    last = packer.flush()
    handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))


def giant_answer(field="nama", send=chunked, filling=lambda: PLAIN):
    def answer(handler, _page):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        send(handler, pieces(field, filling))
        return True

    return answer


class Memory:
    """The largest memory, in MB, that a run's process and its reader had; looked at often."""

    def __init__(self, pid):
        self.run = self.reader = 0
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._over.wait(0.01):
            try:
                run = psutil.Process(self._pid)
                self.run = max(self.run, run.memory_info().rss // MB)
                for reader in run.children():
                    self.reader = max(self.reader, reader.memory_info().rss // MB)
            except psutil.NoSuchProcess:
                continue

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def do(yard, run_id):
    """Do one attempt of a run; return how it stands and the memory that it took."""
    pid = yard.start(run_id)
    with Memory(pid) as memory:
        assert yard.wait(pid) == 0
    return make.run_of(run_id), memory


@pytest.fixture
def estate(yard, upstream):
    """Make a source whose dataset stands at two good records."""

    def made(**settings):
        contract = make.make_contract(max_rejected_percent=60)
        source = make.make_source(
            contract, upstream.url, read_seconds=60.0, page_seconds=120.0, **settings
        )
        upstream.records = [
            {"nip": "0001", "nama": "Ani"}, {"nip": "0002", "nama": "Budi"}
        ]  # fmt: skip
        assert yard.run(make.request_pull(source)) == 0
        return contract, source

    return made


def names(contract):
    with make.session() as s:
        sql = f'SELECT nip, nama FROM data."{contract.slug}" WHERE _deleted_at IS NULL'
        return {tuple(row) for row in s.execute(sa.text(sql))}


BEFORE = {("0001", "Ani"), ("0002", "Budi")}


@pytest.mark.parametrize("send", [declared, chunked, packed])
def test_an_answer_beyond_the_limit_of_a_page_is_refused(yard, upstream, estate, send):
    contract, source = estate(page_bytes=64 * MB)
    upstream.answer = giant_answer(send=send)
    run, memory = do(yard, make.request_pull(source))

    assert (run.status, run.error_code) == (RunStatus.FAILED, "response_too_large")
    assert names(contract) == BEFORE
    assert memory.run < 200
    assert memory.reader < 300


@pytest.mark.parametrize("field", ["nama", "gaji", "lain"])
def test_where_such_pages_are_allowed_the_record_is_set_aside(
    yard, upstream, estate, field
):
    contract, source = estate(page_bytes=300 * MB)
    upstream.answer = giant_answer(field)
    run, memory = do(yard, make.request_pull(source))

    assert run.status is RunStatus.SUCCEEDED, run.error_message
    # A row whose key could be read stays as it was; it did not vanish.
    assert names(contract) == {("0001", "Ani"), ("0002", "Siti")}
    with make.session() as s:
        [bad] = s.scalars(
            sa.select(QuarantinedRecord).where(QuarantinedRecord.run_id == run.id)
        )
    assert [error["code"] for error in bad.errors] == ["record_too_large"]
    assert len(bad.raw) == intake.KEPT_OF_GIANT
    assert bad.record_key == "0001"
    assert memory.run < 600
    assert memory.reader < 700


def test_a_giant_key_stops_the_pull_at_the_gate(yard, upstream, estate):
    """Nobody can say whose row it was: it would vanish, and a person decides."""
    contract, source = estate(page_bytes=300 * MB)
    upstream.answer = giant_answer("nip")
    run, memory = do(yard, make.request_pull(source))

    assert (run.status, run.error_code) == (RunStatus.HELD, "too_many_vanished")
    assert names(contract) == BEFORE
    assert memory.run < 600


def test_a_giant_that_cannot_be_packed_costs_no_attempt(yard, upstream, estate):
    contract, source = estate(page_bytes=300 * MB)
    chance = random.Random(4)
    filling = lambda: chance.randbytes(MB // 2).hex().encode()  # noqa: E731
    upstream.answer = giant_answer(filling=filling)
    run, memory = do(yard, make.request_pull(source))

    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 1), run.error_message
    assert names(contract) == {("0001", "Ani"), ("0002", "Siti")}
    assert memory.run < 700


def test_what_is_more_than_the_memory_allows_is_told_in_words(bound, upstream, estate):
    contract, source = estate(page_bytes=300 * MB)
    upstream.answer = giant_answer()
    run_id = make.request_pull(source)
    with fakes.Yard(bound, RUN_MEMORY_LIMIT_MB="384") as narrow:
        for _ in range(3):
            make.make_due(run_id)
            run, memory = do(narrow, run_id)
            assert memory.run < 400
            assert memory.reader < 400

    assert (run.status, run.error_code) == (RunStatus.DEAD, "memory_limit")
    assert names(contract) == BEFORE
