"""The file store: whole files or none, under the digest of their content."""

import hashlib
import os

import pytest

from app.core.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "files")


def test_kept_file_stands_under_its_digest(store):
    with store.part() as part:
        part.write_bytes(b"isi")
        stored = store.keep(part)

    assert stored.key == stored.sha256 == hashlib.sha256(b"isi").hexdigest()
    assert stored.byte_count == 3
    assert store.path(stored.key).read_bytes() == b"isi"
    assert store.path(stored.key).stat().st_mode & 0o777 == 0o600
    assert not part.exists()


def test_what_fails_leaves_nothing(store, tmp_path):
    def fail():
        with store.part() as part:
            part.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert list((tmp_path / "files").iterdir()) == []


def test_same_content_twice_is_one_file(store):
    for _ in range(2):
        with store.part() as part:
            part.write_bytes(b"isi")
            stored = store.keep(part)

    written_at = store.path(stored.key).stat().st_mtime
    keys = list(store.old_keys(older_than_seconds=-1, now=written_at))
    assert keys == [stored.key]


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 63 + "/"]
)
def test_what_is_no_key_is_refused(store, key):
    with pytest.raises(ValueError):
        store.path(key)


def test_only_old_files_are_old(store):
    with store.part() as part:
        part.write_bytes(b"isi")
        stored = store.keep(part)
    path = store.path(stored.key)
    os.utime(path, (1_000, 1_000))

    with store.part() as part:
        part.write_bytes(b"x")
        os.utime(part, (1_000, 1_000))
        assert list(store.old_parts(older_than_seconds=60, now=1_061)) == [part]
        assert list(store.old_parts(older_than_seconds=60, now=1_060)) == []
    assert list(store.old_keys(older_than_seconds=60, now=1_061)) == [stored.key]
    assert list(store.old_keys(older_than_seconds=60, now=1_060)) == []


def test_removing_twice_is_no_error(store):
    with store.part() as part:
        part.write_bytes(b"isi")
        stored = store.keep(part)
    store.remove(stored.key)
    store.remove(stored.key)

    assert not store.path(stored.key).exists()
