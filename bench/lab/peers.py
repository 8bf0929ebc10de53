"""The environment of the peers: made on first use, never the product's own."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from ops.bootstrap import Refusal, pip_command, pip_environment, pip_failure, say
from ops.places import PROJECT

REQUIREMENTS = PROJECT / "bench" / "requirements.txt"
FOLDER = PROJECT / "var" / "bench-venv"


def python_of_peers() -> Path:
    """Return the Python that has the peers in exactly the pinned versions."""
    python, mark = FOLDER / "bin" / "python", FOLDER / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if python.exists() and mark.exists() and mark.read_text() == wanted:
        return python
    say("Memasang pembanding … / Installing the peers …")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(FOLDER)], check=True
    )
    command = [
        *pip_command(python),
        "install",
        "--require-hashes",
        "-r",
        str(REQUIREMENTS),
    ]
    done = subprocess.run(
        command, env=pip_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise pip_failure(done.stderr) if done.stderr else Refusal("pip")
    mark.write_text(wanted)
    return python
