"""The commands of ``./simpul``. Each imports what it needs: help and errors come at once."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable

from ops.bootstrap import Refusal, os_failure, say
from ops.places import PROJECT

Command = Callable[[argparse.Namespace, list[str]], int]

EPILOG = """\
Contoh / examples:
  ./simpul run                 buka http://127.0.0.1:8000 / open http://127.0.0.1:8000
  ./simpul run --port 8080     bila 8000 terpakai / when 8000 is taken
  ./simpul test -k contract    argumen untuk pytest / arguments for pytest
"""


def run(options: argparse.Namespace, _rest: list[str]) -> int:
    from ops.run import RunOptions, run

    return run(RunOptions(options.host, options.port, not options.no_demo))


def test(_options: argparse.Namespace, rest: list[str]) -> int:
    from ops.suite import test

    return test(rest)


def check(options: argparse.Namespace, _rest: list[str]) -> int:
    from ops.checks import check

    return check(with_tests=not options.no_tests)


def bench(options: argparse.Namespace, rest: list[str]) -> int:
    known = sorted(p.stem for p in (PROJECT / "bench").glob("[a-z]*.py"))
    if options.name not in known:
        names = ", ".join(known) or "-"
        raise Refusal(
            f"Tidak ada tolok ukur '{options.name}'; yang ada: {names}.",
            f"There is no benchmark '{options.name}'; there are: {names}.",
        )
    return _become("-m", f"bench.{options.name}", *rest)


def web(options: argparse.Namespace, _rest: list[str]) -> int:
    os.environ["WEB_HOST"], os.environ["WEB_PORT"] = options.host, str(options.port)
    return _become("-m", "gunicorn", "-c", "python:ops.gunicorn_conf", "wsgi:application")


def worker(_options: argparse.Namespace, rest: list[str]) -> int:
    return _become("-m", "jobs.worker", *rest)


def scheduler(_options: argparse.Namespace, rest: list[str]) -> int:
    return _become("-m", "jobs.scheduler", *rest)


def migrate(_options: argparse.Namespace, _rest: list[str]) -> int:
    import subprocess

    from ops.attach import settings_for_command

    with settings_for_command() as env:
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode


def user(_options: argparse.Namespace, rest: list[str]) -> int:
    """Hand over to ``ops.users``, in a process of its own: it reads its settings once."""
    import subprocess

    from ops.attach import settings_for_command

    if importlib.util.find_spec("ops.users") is None:
        raise Refusal(
            "Perintah ini belum ada dalam versi ini.",
            "This version lacks this command yet.",
        )
    main = "import sys; from ops.users import main; sys.exit(main(sys.argv[1:]))"
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
        one.set_defaults(action=action, parser=one)
        return one

    running = add("run", run, "jalankan semuanya di komputer ini / run all of it here")
    _add_address(running)
    running.add_argument(
        "--no-demo",
        action="store_true",
        help="tanpa kantor contoh / without the demo office",
    )
    _passing(add("test", test, "jalankan pengujian / run the tests [--long] [pytest …]"))
    checking = add(
        "check", check, "periksa kode, seperti di CI / check the code, as CI does"
    )
    checking.add_argument(
        "--no-tests", action="store_true", help="tanpa pengujian / without the tests"
    )
    measuring = _passing(add("bench", bench, "ukur kecepatan / measure speed"))
    measuring.add_argument("name", metavar="NAMA", help="nama tolok ukur / its name")
    _add_address(add("web", web, "hanya server web (produksi) / web server (production)"))
    _passing(add("worker", worker, "hanya pekerja (produksi) / worker (production)"))
    _passing(
        add("scheduler", scheduler, "hanya penjadwal (produksi) / scheduler (production)")
    )
    add("migrate", migrate, "perbarui basis data / bring the database up to date")
    _passing(add("user", user, "kelola pengguna / manage users"))
    return top


def _add_address(one: argparse.ArgumentParser) -> None:
    one.add_argument("--port", type=_port, default=8000, help="port (8000)")
    one.add_argument("--host", default="127.0.0.1", help="alamat / address (127.0.0.1)")


def _passing(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let arguments through that are another program's."""
    one.set_defaults(passing=True)
    return one


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError("1-65535")
    return int(text)


def main(arguments: list[str]) -> int:
    """Run one command; what a person can put right becomes a sentence."""
    options, rest = parser().parse_known_args(arguments)
    if rest and not getattr(options, "passing", False):
        options.parser.error(f"tidak dikenal / unknown: {' '.join(rest)}")
    try:
        status: int = options.action(options, rest)
    except Refusal as refusal:
        say(*refusal.sentences)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        failure = os_failure(error)
        if failure is None:
            raise
        say(*failure.sentences)
    else:
        return status
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
