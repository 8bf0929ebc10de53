"""Settings: everything wrong is said at once, and weak secrets keep Simpul from starting."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from config import ConfigError, Mode, Settings

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SIMPUL_MODE": "production",
    "DATABASE_URL": "postgresql://app:a@db/simpul",
    "MIGRATION_DATABASE_URL": "postgresql://owner:o@db/simpul",
    "REDIS_URL": "redis://:r@redis:6379/0",
    "SECRET_KEY": secrets.token_hex(32),
    "FIELD_KEY": secrets.token_hex(32),
    "QUEUE_KEY": secrets.token_hex(32),
}


def problems(**changes):
    env = {k: v for k, v in (GOOD | changes).items() if v is not None}
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(env)
    return "\n".join(refused.value.problems)


def test_good_settings_are_read():
    settings = Settings.from_env(GOOD)

    assert settings.mode is Mode.PRODUCTION
    assert settings.cookie_secure
    assert settings.database_url.startswith("postgresql+psycopg://")


def test_secrets_do_not_show_when_settings_are_printed():
    text = repr(Settings.from_env(GOOD))

    assert not any(
        GOOD[name] in text for name in ("SECRET_KEY", "FIELD_KEY", "QUEUE_KEY")
    )
    assert "app:a" not in text


def test_all_problems_are_said_at_once():
    text = problems(
        DATABASE_URL=None, REDIS_URL="http://x", SECRET_KEY=None, TIME_ZONE="Mars/Base",
        COOKIE_SECURE="yes", DOWNLOAD_DAYS="0", LEASE_SECONDS="x", APPROVED_HOSTS="nohost",
    )  # fmt: skip

    for name in (
        "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "TIME_ZONE", "COOKIE_SECURE",
        "DOWNLOAD_DAYS", "LEASE_SECONDS", "APPROVED_HOSTS",
    ):  # fmt: skip
        assert name in text


@pytest.mark.parametrize(
    "weak",
    [
        "short", "changeme" * 5, "CHANGE-ME-please-change-me-please-42", "secret" * 8,
        "Default uData secret key and some more", "password" * 6, "dev-key-dev-key-dev-key-dev-key-1",
        "a" * 64, "0" * 64, "0123456789" * 5, "1234567890abcdef" * 4, "ab" * 40,
        "superset_secret_key_for_everybody_01", "redash-cookie-secret-of-the-docs-xx",
        "airflow temporary_key temporary_key 12", "qwertyuiop" * 4, "your-key-goes-here-your-key-goes-he",
        "replace this with a real random value", "insecure-but-long-enough-to-pass-99", "rahasia-negara-" * 3,
        "testing testing testing testing test", "simpul-simpul-simpul-simpul-simpul",
        "placeholder-placeholder-placeholder-1", "example-value-from-the-readme-file-7",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1",
    ],
)  # fmt: skip
def test_a_weak_secret_keeps_it_from_starting(weak):
    assert "SECRET_KEY" in problems(SECRET_KEY=weak)


def test_the_three_keys_must_differ():
    assert "must differ" in problems(FIELD_KEY=GOOD["SECRET_KEY"])


def test_demo_and_test_start_with_weak_secrets():
    for mode in ("demo", "test"):
        weak = GOOD | {
            "SIMPUL_MODE": mode,
            "SECRET_KEY": "s",
            "FIELD_KEY": "s",
            "QUEUE_KEY": "s",
        }
        assert Settings.from_env(weak).mode == mode


@pytest.mark.parametrize("module", ["wsgi", "jobs.worker", "jobs.scheduler"])
def test_a_process_with_bad_settings_says_so_and_ends(module):
    env = {"PATH": os.environ["PATH"], "SECRET_KEY": "changeme"}
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "DATABASE_URL" in done.stderr
    assert "SECRET_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_setting_stands_in_the_readme():
    names = set(re.findall(r'"([A-Z][A-Z_]{4,})"', (ROOT / "config.py").read_text()))
    readme = (ROOT / "README.md").read_text()

    assert {name for name in names if name not in readme} == set()
