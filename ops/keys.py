"""The secrets of one installation, made once and kept in its data folder."""

import json
import os
import secrets
from pathlib import Path

from ops.bootstrap import Refusal
from ops.local_postgres import Passwords

KEY_NAMES = ("SECRET_KEY", "FIELD_KEY", "QUEUE_KEY")
PASSWORD_NAMES = ("postgres", "simpul_owner", "simpul_app", "redis")


class Keys(dict[str, str]):
    """By name: the application's keys and the embedded servers' passwords."""

    @classmethod
    def made(cls) -> "Keys":
        """Fresh ones."""
        return cls({name: secrets.token_hex(32) for name in KEY_NAMES + PASSWORD_NAMES})

    @classmethod
    def kept_in(cls, home: Path) -> "Keys":
        """Those of the data folder; made on the first call."""
        path = home / "secrets.json"
        if path.is_file():
            return cls(_read(path))
        keys = cls.made()
        partial = home / f"secrets.json.{os.getpid()}"
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(keys, indent=2) + "\n")
        partial.replace(path)
        return keys

    @property
    def application(self) -> dict[str, str]:
        """The variables that config.py reads."""
        return {name: self[name] for name in KEY_NAMES}

    @property
    def postgres(self) -> Passwords:
        return Passwords(self["postgres"], self["simpul_owner"], self["simpul_app"])


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
        return {name: str(found[name]) for name in KEY_NAMES + PASSWORD_NAMES}
    except (ValueError, KeyError, TypeError):
        raise Refusal(
            f"{path} rusak: kembalikan dari cadangan. Tanpa kunci di dalamnya, rahasia "
            "sumber data tidak dapat dibaca.",
            f"{path} is damaged: restore it from a backup. Without its keys the secrets of "
            "the sources cannot be read.",
        ) from None
