"""Where things of a run lie, and as which user the embedded servers run."""

import hashlib
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.bootstrap import Refusal, say

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged user that the embedded servers become when root starts them."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether every folder on the way, and this one, lets the user through."""
        return self._test("-x", folder)

    def may_read(self, path: Path) -> bool:
        """Whether this user can read the file, all folders on the way included."""
        return self._test("-r", path)

    def _test(self, letter: str, path: Path) -> bool:
        # Asked of the kernel as that user: mode bits alone miss access lists and mounts.
        answer = subprocess.run(
            ["/bin/sh", "-c", f'test {letter} "$1"', "sh", str(path)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            check=False,
        )
        return answer.returncode == 0


def server_user() -> ServerUser | None:
    """``nobody`` when we are root; initdb wants a user with a name, so a bare uid won't do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise Refusal(
            "Sebagai root, server tertanam memerlukan pengguna 'nobody'; jalankan sebagai "
            "pengguna biasa atau isi DATABASE_URL dan REDIS_URL.",
            "As root, the embedded servers need the user 'nobody'; run as a normal user, "
            "or set DATABASE_URL and REDIS_URL.",
        ) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def home_folder() -> Path:
    """The data folder ``SIMPUL_HOME``, made when it is missing."""
    home = Path(os.environ.get("SIMPUL_HOME") or PROJECT / "var").absolute()
    # As root others may pass through (the servers' user has to), but not look around.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    if not home.is_dir():
        home.mkdir(mode=mode, parents=True)
        home.chmod(mode)
    if not os.access(home, os.W_OK):
        raise Refusal(
            f"Folder data {home} tidak dapat ditulis: beri izin tulis atau isi SIMPUL_HOME.",
            f"The data folder {home} cannot be written: allow it or set SIMPUL_HOME.",
        )
    return home


def runtime_folder() -> Path:
    """The folder for servers whose user cannot reach the project (``SIMPUL_RUNTIME``)."""
    mark = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]
    folder = Path(
        os.environ.get("SIMPUL_RUNTIME") or f"/var/lib/simpul-{mark}"
    ).absolute()
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # whatever the umask: the servers' user reads binaries here
    return folder


def server_base(home: Path, user: ServerUser | None) -> Path:
    """The folder the servers' data goes to: the data folder where their user reaches it."""
    if user is None or user.may_enter(home):
        return home
    runtime = runtime_folder()
    if not user.may_enter(runtime):
        raise Refusal(
            f"Pengguna server tertanam juga tidak dapat masuk ke {runtime}: isi "
            "SIMPUL_RUNTIME dengan folder lain.",
            f"The embedded servers' user cannot enter {runtime} either: set SIMPUL_RUNTIME "
            "to another folder.",
        )
    say(
        f"Pengguna server tertanam tidak dapat masuk ke {home}; datanya ada di {runtime}.",
        f"The embedded servers' user cannot enter {home}; their data is in {runtime}.",
    )
    return runtime


def own_folder(folder: Path, user: ServerUser | None) -> Path:
    """A folder for one server's user alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid)
    folder.chmod(0o700)
    return folder
