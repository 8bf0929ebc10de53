"""Packets that are dropped on the way, for real: the kernel tells, at both ends.

The client lives in a network of its own, at the end of a pair of virtual cables; one of them
is pulled in the middle of a statement. No end is told anything.
"""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
SERVER, CLIENT = "10.213.77.1", "10.213.77.2"
NOTICE_SECONDS = 60
ASKS = (
    "import sys, time, psycopg\n"
    "from app.core.line import PARAMETERS, SERVER_OPTIONS, Line\n"
    "with Line.connect(sys.argv[1], options=SERVER_OPTIONS, **PARAMETERS) as line:\n"
    "    print(line.info.backend_pid, flush=True)\n"
    "    try: line.execute('SELECT pg_sleep(300)')\n"
    "    except psycopg.OperationalError as error: print('told', error, flush=True)\n"
)


def ip(*words):
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no network of its own can be made here: {done.stderr.strip()}")


@contextmanager
def cable():
    """Yield how to run a command in a network that one cable ties to this one."""
    if not shutil.which("ip"):
        pytest.skip("no network of its own can be made here: ip is not installed")
    ip("netns", "add", "simpul-uji")
    try:
        ip(
            "link",
            "add",
            "simpul0",
            "type",
            "veth",
            "peer",
            "simpul1",
            "netns",
            "simpul-uji",
        )
        ip("addr", "add", f"{SERVER}/30", "dev", "simpul0")
        ip("link", "set", "simpul0", "up")
        ip("-n", "simpul-uji", "addr", "add", f"{CLIENT}/30", "dev", "simpul1")
        ip("-n", "simpul-uji", "link", "set", "simpul1", "up")
        yield ["ip", "netns", "exec", "simpul-uji"]
    finally:
        subprocess.run(["ip", "netns", "del", "simpul-uji"], check=True)


@pytest.mark.long
def test_a_pulled_cable_is_noticed(bound):
    there = sa.engine.make_url(bound.database_url.replace("+psycopg", ""))
    with cable() as inside:
        relay = Proxy(lambda: socket.create_connection((there.host, there.port)), SERVER)
        with relay:
            url = there.set(host=SERVER, port=relay.port)
            client = subprocess.Popen(
                [*inside, sys.executable, "-c", ASKS, url.render_as_string(hide_password=False)],
                cwd=ROOT, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert client.stdout.readline().strip().isdigit()
            ip("link", "set", "simpul0", "down")
            began = time.monotonic()
            said, _ = client.communicate(timeout=NOTICE_SECONDS)
            took = time.monotonic() - began
    print(f"noticed after {took:.0f} s: {said.strip()}")
    assert said.startswith("told")
