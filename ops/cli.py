"""The commands of ``./simpul``. Each imports what it needs: help and errors come at once."""

import argparse
import os
import sys
from collections.abc import Callable

from ops.bootstrap import Refusal, os_failure, say
from ops.places import PROJECT

Command = Callable[[argparse.Namespace], int]

EPILOG = """\
Contoh / examples:
  ./simpul run                 buka http://127.0.0.1:8000 / open http://127.0.0.1:8000
  ./simpul run --port 8080     bila 8000 terpakai / when 8000 is taken
  ./simpul test -k contract    argumen untuk pytest / arguments for pytest
"""


def run(options: argparse.Namespace) -> int:
    from ops.run import RunOptions, run

    return run(RunOptions(options.host, options.port, not options.no_demo))


def test(rest: list[str]) -> int:
    from ops.suite import test

    return test(rest)


def check(options: argparse.Namespace) -> int:
    from ops.checks import check

    return check(with_tests=not options.no_tests)


def bench(rest: list[str]) -> int:
    known = sorted(p.stem for p in (PROJECT / "bench").glob("[a-z]*.py"))
    if not rest or rest[0] not in known:
        names = ", ".join(known) or "-"
        raise Refusal(
            f"Sebutkan tolok ukurnya; yang ada: {names}.",
            f"Name the benchmark; there are: {names}.",
        )
    return _become("-m", f"bench.{rest[0]}", *rest[1:])


def web(options: argparse.Namespace) -> int:
    os.environ["WEB_HOST"], os.environ["WEB_PORT"] = options.host, str(options.port)
    return _become("-m", "ops.serve")


def worker(rest: list[str]) -> int:
    return _become("-m", "jobs.worker", *rest)


def scheduler(rest: list[str]) -> int:
    return _become("-m", "jobs.scheduler", *rest)


def migrate(_options: argparse.Namespace) -> int:
    import subprocess

    from ops.attach import settings_for_command

    with settings_for_command() as env:
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode


def user(rest: list[str]) -> int:
    return _hand_over("ops.users", rest)


def verify(rest: list[str]) -> int:
    return _hand_over("ops.verify", rest)


def shots(rest: list[str]) -> int:
    from ops.shots import main

    return main(rest)


def _hand_over(module: str, rest: list[str]) -> int:
    """Run a module's ``main`` in a process of its own: it reads its settings once."""
    import subprocess

    from ops.attach import settings_for_command

    main = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
    with settings_for_command() as env:
        command = [sys.executable, "-c", main, *rest]
        return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode


def _become(*arguments: str) -> int:
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(
        prog="./simpul",
        description="Simpul: pertukaran data antarinstansi. / Data exchange between agencies.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="PERINTAH")

    def add(name: str, action: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(action=action)
        return one

    running = add("run", run, "jalankan semuanya di komputer ini / run all of it here")
    _add_address(running)
    running.add_argument(
        "--no-demo",
        action="store_true",
        help="tanpa kantor contoh / without the demo office",
    )
    checking = add(
        "check", check, "periksa kode, seperti di CI / check the code, as CI does"
    )
    checking.add_argument(
        "--no-tests", action="store_true", help="tanpa pengujian / without the tests"
    )
    _add_address(add("web", web, "hanya server web (produksi) / web server (production)"))
    add("migrate", migrate, "perbarui basis data / bring the database up to date")
    for name, (_action, text) in PASSED_ON.items():
        commands.add_parser(name, help=text, add_help=False)
    return top


# Commands whose arguments, --help too, are another program's: they are not looked at here.
PASSED_ON: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "test": (test, "jalankan pengujian / run the tests: [--long] [pytest …]"),
    "bench": (bench, "ukur kecepatan / measure speed: NAMA / NAME …"),
    "shots": (shots, "potret semua halaman / pictures of all pages: FOLDER"),
    "worker": (worker, "hanya pekerja (produksi) / worker (production)"),
    "scheduler": (scheduler, "hanya penjadwal (produksi) / scheduler (production)"),
    "user": (user, "kelola pengguna / manage users"),
    "verify": (verify, "periksa yang tersimpan / check what is stored"),
}


def _add_address(one: argparse.ArgumentParser) -> None:
    one.add_argument("--port", type=_port, default=8000, help="port (8000)")
    one.add_argument("--host", default="127.0.0.1", help="alamat / address (127.0.0.1)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError("1-65535")
    return int(text)


def perform(arguments: list[str]) -> int:
    """Find the command and do it."""
    if arguments and arguments[0] in PASSED_ON:
        return PASSED_ON[arguments[0]][0](arguments[1:])
    options = parser().parse_args(arguments)
    status: int = options.action(options)
    return status


def main(arguments: list[str]) -> int:
    """Run one command; what a person can put right becomes a sentence."""
    try:
        return perform(arguments)
    except Refusal as refusal:
        say(*refusal.sentences)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        failure = os_failure(error)
        if failure is None:
            raise
        say(*failure.sentences)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
