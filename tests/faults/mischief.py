"""All that may befall an office: each fault happens and is healed before it returns.

A fault gets the office and the storm's chance. One that cannot be made here raises
``NotPossibleError`` with its reason.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
from redis.exceptions import ResponseError

from tests import fakes
from tests.faults.own_servers import postmaster

CLOCK = Path(__file__).with_name("other_clock.c")
DRAIN_SECONDS = 30  # a worker that is told to stop has ended after so long


class NotPossibleError(Exception):
    """This machine does not let us make the fault."""


# --- worker and scheduler -------------------------------------------------------------------


def victim(office, name, chance):
    if hasattr(office, name):
        return getattr(office, name)(chance)
    return office.process(name, chance)


def kill(name):
    def fault(office, chance):
        with contextlib.suppress(psutil.NoSuchProcess):
            victim(office, name, chance).kill()

    return fault


def kill_queues(office, _chance):
    for queue in office.queues():
        with contextlib.suppress(psutil.NoSuchProcess):
            queue.kill()


def end(name):
    def fault(office, chance):
        office.process(name, chance).terminate()

    return fault


def end_group(office, chance):
    """All processes of a worker are told to stop, in any order: as systemd does."""
    worker = office.process("worker", chance)
    everyone = [worker, *worker.children(recursive=True)]
    chance.shuffle(everyone)
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    worker.wait(DRAIN_SECONDS)


def deploy(office, _chance):
    """New ones start beside the old ones, which end their work and go."""
    leaving = [office.renew(name) for name in ("worker", "scheduler", "other worker")]
    time.sleep(2)
    for each in leaving:
        each.terminate()
    for each in leaving:
        each.wait(DRAIN_SECONDS)


def freeze(name, seconds=3.0):
    """Past the lease of two seconds: somebody else takes over, and the sleeper wakes."""

    def fault(office, chance):
        with contextlib.suppress(psutil.NoSuchProcess):
            asleep = victim(office, name, chance)
            asleep.suspend()
            time.sleep(seconds)
            asleep.resume()

    return fault


def second_scheduler(office, _chance):
    """A second one beside the first, from now on."""
    office.processes.scheduler()


def few_descriptors(office, _chance):
    """No process of the workers may open one file more, for three seconds."""
    limited = {}
    for each in [p for w in office.workers() for p in (w, *w.children(recursive=True))]:
        with contextlib.suppress(psutil.Error):
            limited[each] = each.rlimit(psutil.RLIMIT_NOFILE)
            each.rlimit(psutil.RLIMIT_NOFILE, (each.num_fds(), limited[each][1]))
    time.sleep(3)
    for each, before in limited.items():
        with contextlib.suppress(psutil.Error):
            each.rlimit(psutil.RLIMIT_NOFILE, before)
    for queue in office.queues():  # forked meanwhile, with their parent's limit
        with contextlib.suppress(psutil.Error):
            queue.rlimit(psutil.RLIMIT_NOFILE, next(iter(limited.values())))


@functools.cache
def _clock_library():
    """Compile what shifts a process's clock; once for all tests of this process."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotPossibleError("there is no C compiler")
    library = Path(tempfile.mkdtemp(prefix="simpul-clock-")) / "other_clock.so"
    atexit.register(shutil.rmtree, library.parent)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(CLOCK)]
    subprocess.run(command, check=True, capture_output=True)
    return str(library)


def other_clock(hours):
    """From now on workers and scheduler have another idea of the time."""

    def fault(office, _chance):
        office.restart(LD_PRELOAD=_clock_library(), CLOCK_SHIFT=str(hours * 3600))

    return fault


# --- Redis ----------------------------------------------------------------------------------


def tell_redis(*words):
    def fault(office, _chance):
        with office.redis() as client:
            try:
                client.execute_command(*words)
            except ResponseError as error:
                raise NotPossibleError(str(error)) from None

    return fault


def starve_redis(office, _chance):
    """No memory for anything new, for two seconds."""
    with office.redis() as client:
        client.config_set("maxmemory", 1)
        time.sleep(2)
        client.config_set("maxmemory", 0)


def other_password(office, _chance):
    with office.redis() as client:
        before = client.config_get("requirepass")["requirepass"]
        client.config_set("requirepass", "lain")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(2)
        client.config_set("requirepass", before)


def _redis_process(office):
    with office.redis() as client:
        return psutil.Process(client.info("server")["process_id"])


def kill_redis(office, _chance):
    _redis_process(office).kill()


def truncate_redis_log(office, chance):
    """Killed in the middle of writing: the end of its file is missing when it starts."""
    with office.redis() as client:
        known = client.config_get("*")
    _redis_process(office).kill()
    path = Path(known["dir"]) / known["appendfilename"]
    with contextlib.suppress(FileNotFoundError):
        os.truncate(path, int(path.stat().st_size * chance.random()))


def stop_redis(office, _chance):
    server = _redis_process(office)
    server.suspend()
    time.sleep(4)
    server.resume()


# --- PostgreSQL -----------------------------------------------------------------------------


def terminate_backends(office, _chance):
    for _ in range(5):
        with office.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'simpul_app' AND pid <> pg_backend_pid()"
            )
        time.sleep(0.2)


def kill_backend(office, _chance):
    """PostgreSQL restarts all of itself when one of its processes is killed."""
    with office.admin() as admin:
        row = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'simpul_app' LIMIT 1"
        ).fetchone()
    if row:
        os.kill(row[0], signal.SIGKILL)
    await_postgres(office)


def signal_postgres(number):
    def fault(office, _chance):
        os.kill(postmaster(office.servers.data), number)
        await_postgres(office, gone_first=True)

    return fault


def await_postgres(office, *, gone_first=False):
    def answers():
        try:
            with office.admin() as admin:
                admin.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    if gone_first:
        with contextlib.suppress(AssertionError):
            fakes.wait_until(lambda: not answers(), 5)
    fakes.wait_until(answers, 60)


def freeze_postgres(office, _chance):
    main = psutil.Process(postmaster(office.servers.data))
    everyone = [main, *main.children(recursive=True)]
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.suspend()
    time.sleep(4)
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.resume()


def exhaust_connections(office, _chance):
    held = []
    with contextlib.suppress(psycopg.Error):
        while len(held) < 300:
            held.append(psycopg.connect(office.servers.application, connect_timeout=2))
    time.sleep(2)
    for each in held:
        each.close()


def hold_a_lock(office, _chance):
    with office.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE job_run, dataset IN ACCESS EXCLUSIVE MODE")
        time.sleep(3)


def central_tables(admin):
    asked = (
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname = 'data' AND tablename NOT LIKE '%\\_\\_history'"
    )
    return [name for (name,) in admin.execute(asked)]


def deadlock(office, _chance):
    """Hold the central tables until a publish waits for one, then want its run's row."""
    with office.admin() as admin, office.admin() as looking:
        admin.execute(
            "SET deadlock_timeout = '20s'"
        )  # the other one is to find it, and lose
        with admin.transaction():
            for table in central_tables(admin):
                admin.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            waits = (
                "SELECT 1 FROM pg_stat_activity a JOIN pg_locks l USING (pid)"
                " WHERE NOT l.granted AND a.usename = 'simpul_app'"
            )
            with contextlib.suppress(AssertionError):
                fakes.wait_until(lambda: looking.execute(waits).fetchone(), 8)
            admin.execute("SELECT id FROM job_run WHERE status = 'running' FOR UPDATE")


def read_only(office, _chance):
    with office.admin() as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(2)
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


# --- the lines ------------------------------------------------------------------------------


def line(which, mood, seconds=2.0):
    def fault(office, _chance):
        chosen = getattr(office, f"{which}_line")
        chosen.mood = mood
        time.sleep(seconds)
        chosen.mood = "pass"

    return fault


def cut(which):
    def fault(office, chance):
        for _ in range(6):
            getattr(office, f"{which}_line").cut()
            time.sleep(chance.random() * 0.3)

    return fault


def strand(which):
    """Nothing arrives any more on the lines that there are, and neither end is told."""

    def fault(office, _chance):
        getattr(office, f"{which}_line").strand()

    return fault


FAULTS = {
    "worker killed": kill("worker"),
    "queues' processes killed": kill_queues,
    "run's process killed": kill("run_process"),
    "reader killed": kill("reader"),
    "scheduler killed": kill("scheduler"),
    "worker told to stop": end("worker"),
    "all processes of a worker told to stop": end_group,
    "old and new together": deploy,
    "scheduler told to stop": end("scheduler"),
    "worker frozen": freeze("worker"),
    "run's process frozen": freeze("run_process"),
    "reader frozen": freeze("reader"),
    "scheduler frozen": freeze("scheduler"),
    "second scheduler": second_scheduler,
    "no descriptor left": few_descriptors,
    "Redis flushed": tell_redis("FLUSHALL"),
    "Redis' scripts flushed": tell_redis("SCRIPT", "FLUSH"),
    "Redis' clients killed": tell_redis("CLIENT", "KILL", "TYPE", "normal"),
    "Redis asleep": tell_redis("DEBUG", "SLEEP", "6"),
    "Redis killed": kill_redis,
    "Redis killed while it wrote": truncate_redis_log,
    "Redis frozen": stop_redis,
    "Redis without memory": starve_redis,
    "Redis with another password": other_password,
    "line to Redis cut": cut("redis"),
    "line to Redis slow": line("redis", "slow"),
    "line to Redis trickling": line("redis", "trickle", 5.0),
    "line to Redis silent": line("redis", "hold", 7.0),
    "line to Redis half open": strand("redis"),
    "answers of Redis lost": line("redis", "lose"),
    "backends terminated": terminate_backends,
    "backend killed": kill_backend,
    "PostgreSQL killed": signal_postgres(signal.SIGKILL),
    "PostgreSQL restarted fast": signal_postgres(signal.SIGINT),
    "PostgreSQL stopped at once": signal_postgres(signal.SIGQUIT),
    "PostgreSQL frozen": freeze_postgres,
    "no connection left": exhaust_connections,
    "tables locked": hold_a_lock,
    "deadlock": deadlock,
    "PostgreSQL read only": read_only,
    "clocks an hour ahead": other_clock(1),
    "clocks an hour behind": other_clock(-1),
    "clocks 400 days ahead": other_clock(400 * 24),
    "line to PostgreSQL cut": cut("postgres"),
    "line to PostgreSQL slow": line("postgres", "slow"),
    "line to PostgreSQL trickling": line("postgres", "trickle", 5.0),
    "line to PostgreSQL silent": line("postgres", "hold"),
    "line to PostgreSQL half open": strand("postgres"),
    "answers of PostgreSQL lost": line("postgres", "lose"),
}
