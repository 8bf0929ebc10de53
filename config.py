"""Every setting Simpul reads, checked once at start; the table in README.md lists them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

MIN_SECRET_LENGTH = 32
# Values that people copy out of documentation. Compared in lower case, also as a part.
WELL_KNOWN_SECRETS = (
    "changeme", "change-me", "change_me", "secret", "password", "default", "example",
    "insecure", "placeholder", "dev-key", "devkey", "test-key", "testing", "simpul",
    "your-key", "yourkey", "replace", "rahasia", "superset", "redash", "airflow",
    "0123456789", "1234567890", "abcdefgh", "qwerty", "aaaaaaaa", "00000000", "xxxxxxxx",
)  # fmt: skip
DEFAULT_OFFICE = "Dinas Komunikasi, Informatika dan Statistik Provinsi Riau"
DEFAULT_ZONE = "Asia/Jakarta"
_HOST_PORT = re.compile(r"^[A-Za-z0-9.\-\[\]:]+:\d{1,5}$")

_SMTP = re.compile(
    r"^(smtp|smtps|smtp\+plain)://([^/\s@]+@)?[A-Za-z0-9.\-]+(:\d{1,5})?/?$"
)


class ConfigError(Exception):
    """The environment does not describe a system that may start; lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"- {problem}" for problem in problems))


class Mode(StrEnum):
    """What the process is for: only production refuses weak secrets."""

    PRODUCTION = "production"
    DEMO = "demo"
    TEST = "test"


class PasswordProfile(StrEnum):
    """Which rule book passwords follow; what it says stands in ``app.identity.rules``."""

    BSSN = "bssn"
    ASVS = "asvs"


@dataclass(frozen=True, slots=True)
class Settings:
    """One runnable system. Durations in seconds, sizes in bytes or as the name says.

    The three keys are separate on purpose: who learns one of them cannot use it for the
    others' work. Secrets are kept out of ``repr`` so that no log line shows them.
    """

    mode: Mode
    database_url: str = field(repr=False)  # the application's role, without BYPASSRLS
    migration_database_url: str = field(repr=False)  # the owner: migrations, contract DDL
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)  # sessions and forms
    field_key: str = field(repr=False)  # secrets of sources, at rest
    queue_key: str = field(repr=False)  # what travels through Redis
    home: Path
    time_zone: str = DEFAULT_ZONE
    office_name: str = DEFAULT_OFFICE
    approved_hosts: tuple[str, ...] = ()  # exact host:port pairs beside those on sources
    cookie_secure: bool = True
    trusted_proxies: int = 0
    password_profile: PasswordProfile = PasswordProfile.BSSN
    session_idle_minutes: int = 60
    session_hours: int = 12
    public_url: str = ""  # how people reach the pages; links in mails begin with it
    smtp_url: str = field(default="", repr=False)  # without it no mail leaves
    smtp_ca_file: str = ""
    mail_from: str = ""
    trust_anchors: str = ""  # certificates (PEM) whose signatures are trusted
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 10.0
    reconcile_seconds: float = 10.0
    poll_seconds: float = 2.0
    run_time_limit_seconds: int = 3600
    run_memory_limit_mb: int = 2048
    download_days: int = 7
    raw_days: int = 7
    trash_days: int = 30
    demo_agency_url: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings, or raise ``ConfigError`` with every problem at once."""
        reader = _Reader(env)
        mode = reader.mode()
        settings = cls(
            mode=mode,
            database_url=reader.database_url("DATABASE_URL"),
            migration_database_url=reader.database_url(
                "MIGRATION_DATABASE_URL", env.get("DATABASE_URL", "")
            ),
            redis_url=reader.redis_url("REDIS_URL"),
            secret_key=reader.secret("SECRET_KEY", mode),
            field_key=reader.secret("FIELD_KEY", mode),
            queue_key=reader.secret("QUEUE_KEY", mode),
            home=Path(env.get("SIMPUL_HOME", "var")).absolute(),
            time_zone=reader.time_zone("TIME_ZONE", DEFAULT_ZONE),
            office_name=env.get("OFFICE_NAME", DEFAULT_OFFICE),
            approved_hosts=reader.hosts("APPROVED_HOSTS"),
            cookie_secure=reader.flag("COOKIE_SECURE", default=mode is Mode.PRODUCTION),
            trusted_proxies=reader.number("TRUSTED_PROXIES", 0, low=0, high=10),
            password_profile=reader.password_profile("PASSWORD_PROFILE"),
            session_idle_minutes=reader.number(
                "SESSION_IDLE_MINUTES", 60, low=5, high=1440
            ),
            session_hours=reader.number("SESSION_HOURS", 12, low=1, high=168),
            public_url=env.get("PUBLIC_URL", "").rstrip("/"),
            smtp_url=reader.smtp_url("SMTP_URL"),
            smtp_ca_file=env.get("SMTP_CA_FILE", ""),
            mail_from=env.get("MAIL_FROM", ""),
            trust_anchors=reader.file("TRUST_ANCHORS"),
            lease_seconds=reader.seconds("LEASE_SECONDS", 30.0),
            heartbeat_seconds=reader.seconds("HEARTBEAT_SECONDS", 10.0),
            reconcile_seconds=reader.seconds("RECONCILE_SECONDS", 10.0),
            poll_seconds=reader.seconds("POLL_SECONDS", 2.0),
            run_time_limit_seconds=reader.number("RUN_TIME_LIMIT_SECONDS", 3600, low=1),
            run_memory_limit_mb=reader.number("RUN_MEMORY_LIMIT_MB", 2048, low=256),
            download_days=reader.number("DOWNLOAD_DAYS", 7, low=1, high=365),
            raw_days=reader.number("RAW_DAYS", 7, low=1, high=365),
            trash_days=reader.number("TRASH_DAYS", 30, low=1, high=3650),
            demo_agency_url=env.get("DEMO_AGENCY_URL", ""),
        )
        reader.distinct("SECRET_KEY", "FIELD_KEY", "QUEUE_KEY", mode=mode)
        if settings.heartbeat_seconds * 2 > settings.lease_seconds:
            reader.problems.append("HEARTBEAT_SECONDS must be at most half LEASE_SECONDS")
        reader.problems += settings.mail_problems()
        if reader.problems:
            raise ConfigError(reader.problems)
        return settings

    def mail_problems(self) -> list[str]:
        """Return what mails lack that shall leave the house."""
        if not self.smtp_url:
            return []
        wanted = (
            ("MAIL_FROM", self.mail_from, "@"),
            ("PUBLIC_URL", self.public_url, "://"),
        )
        return [
            f"{name} is missing or not whole: with SMTP_URL it must be set"
            for name, value, sign in wanted
            if sign not in value
        ]


class _Reader:
    """Reads one variable at a time and remembers what is wrong with it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def mode(self) -> Mode:
        raw = self._env.get("SIMPUL_MODE", Mode.PRODUCTION)
        if raw in set(Mode):
            return Mode(raw)
        known = ", ".join(Mode)
        self.problems.append(f"SIMPUL_MODE must be one of {known}; it is {raw!r}")
        return Mode.PRODUCTION

    def password_profile(self, name: str) -> PasswordProfile:
        raw = self._env.get(name, PasswordProfile.BSSN)
        if raw in set(PasswordProfile):
            return PasswordProfile(raw)
        known = ", ".join(PasswordProfile)
        self.problems.append(f"{name} must be one of {known}; it is {raw!r}")
        return PasswordProfile.BSSN

    def database_url(self, name: str, default: str = "") -> str:
        url = self._env.get(name, default)
        if not url:
            self.problems.append(f"{name} is missing: postgresql://user:password@host/db")
        elif not url.startswith(("postgresql://", "postgresql+psycopg://")):
            self.problems.append(f"{name} must begin with postgresql://")
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    def redis_url(self, name: str) -> str:
        url = self._env.get(name, "")
        if not url:
            self.problems.append(f"{name} is missing: redis://:password@host:6379/0")
        elif not url.startswith(("redis://", "rediss://", "unix://")):
            self.problems.append(f"{name} must begin with redis://, rediss:// or unix://")
        return url

    def smtp_url(self, name: str) -> str:
        url = self._env.get(name, "")
        if url and not _SMTP.match(url):
            self.problems.append(
                f"{name} must be smtp://user:password@host:587 (STARTTLS), smtps://… or"
                " smtp+plain://…"
            )
        return url

    def secret(self, name: str, mode: Mode) -> str:
        value = self._env.get(name, "")
        if not value:
            self.problems.append(f"{name} is missing: use 64 random hexadecimal digits")
        elif mode is Mode.PRODUCTION:
            self._refuse_weak(name, value)
        return value

    def _refuse_weak(self, name: str, value: str) -> None:
        lowered = value.lower()
        if len(value) < MIN_SECRET_LENGTH:
            self.problems.append(f"{name} is shorter than {MIN_SECRET_LENGTH} characters")
        elif len(set(value)) < 10 or any(word in lowered for word in WELL_KNOWN_SECRETS):
            self.problems.append(f"{name} is a well-known or guessable value")

    def distinct(self, *names: str, mode: Mode) -> None:
        values = [self._env[name] for name in names if self._env.get(name)]
        if mode is Mode.PRODUCTION and len(set(values)) < len(values):
            self.problems.append(f"{', '.join(names)} must differ from each other")

    def time_zone(self, name: str, default: str) -> str:
        value = self._env.get(name, default)
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            self.problems.append(f"{name} is no time zone of the IANA list: {value!r}")
        return value

    def hosts(self, name: str) -> tuple[str, ...]:
        pairs = tuple(p.strip() for p in self._env.get(name, "").split(",") if p.strip())
        for pair in pairs:
            if not _HOST_PORT.match(pair):
                self.problems.append(f"{name}: {pair!r} is not of the form host:port")
        return pairs

    def flag(self, name: str, *, default: bool) -> bool:
        raw = self._env.get(name, "1" if default else "0")
        if raw not in {"0", "1"}:
            self.problems.append(f"{name} must be 0 or 1; it is {raw!r}")
        return raw == "1"

    def file(self, name: str) -> str:
        raw = self._env.get(name, "")
        if raw and not Path(raw).is_file():
            self.problems.append(f"{name} must name a file that is there; it is {raw!r}")
        return raw

    def number(self, name: str, default: int, *, low: int, high: int = 10**9) -> int:
        raw = self._env.get(name, str(default))
        if not raw.isascii() or not raw.isdecimal() or not low <= int(raw) <= high:
            self.problems.append(
                f"{name} must be a whole number from {low} to {high}; it is {raw!r}"
            )
            return default
        return int(raw)

    def seconds(self, name: str, default: float) -> float:
        raw = self._env.get(name, str(default))
        try:
            value = float(raw)
        except ValueError:
            value = -1.0
        if not 0 < value < 86_400:
            self.problems.append(f"{name} must be a number of seconds; it is {raw!r}")
            return default
        return value
