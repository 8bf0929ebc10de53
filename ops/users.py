"""``./simpul user …``: people from the command line, for a first administrator and for help.

Passwords are asked for at the terminal, or made and printed once; never an argument that
the shell would remember.
"""

import argparse
import getpass
import secrets
import sys
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit import recorder  # noqa: F401 - listens to every session
from app.core import db
from app.core.errors import RejectedError
from app.core.policy import COMMAND_LINE, acting_as
from app.history import services as _trash  # noqa: F401 - keeps the names of what is in it
from app.identity.models import Agency, Role, User
from app.identity.passwords import policy
from app.identity.services import create_user, normal_email, settle_user
from jobs import runtime


class UsageError(Exception):
    """What was asked cannot be done; the text says why, in both languages."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 when it was done, 2 when it was refused in words."""
    options = _parser().parse_args(arguments)
    runtime.start()
    try:
        with acting_as(COMMAND_LINE), db.unit_of_work() as session:
            db.because(session, "baris perintah")
            options.run(session, options)
    except (UsageError, RejectedError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simpul user", description="Kelola pengguna / manage users"
    )
    commands = parser.add_subparsers(required=True, metavar="PERINTAH")
    listing = commands.add_parser("list", help="daftar pengguna / list users")
    listing.set_defaults(run=_list)
    roles = commands.add_parser("roles", help="daftar peran / list roles")
    roles.set_defaults(run=_roles)
    add = commands.add_parser("add", help="tambah pengguna / add a user")
    add.add_argument("email")
    add.add_argument("--name", required=True, help="nama / name")
    add.add_argument(
        "--role",
        action="append",
        required=True,
        help="peran, boleh berulang / role, may repeat",
    )
    add.add_argument(
        "--agency",
        default="",
        help="kode OPD; kosong: kantor / agency code; empty: the office",
    )
    add.add_argument(
        "--generate", action="store_true", help="buatkan kata sandi / make a password"
    )
    add.set_defaults(run=_add)
    for name, run, text in (
        (
            "password",
            _password,
            "ganti kata sandi, akhiri semua sesi / new password, ends all sessions",
        ),
        (
            "disable",
            _disable,
            "nonaktifkan, akhiri semua sesi / switch off, ends all sessions",
        ),
        ("enable", _enable, "aktifkan / switch on"),
    ):
        each = commands.add_parser(name, help=text)
        each.add_argument("email")
        if name == "password":
            each.add_argument(
                "--generate", action="store_true", help="buatkan / make one"
            )
        each.set_defaults(run=run)
    return parser


def _list(session: Session, _options: argparse.Namespace) -> None:
    for user in session.scalars(sa.select(User).order_by(User.email)):
        state = "aktif" if user.active else "nonaktif"
        agency = user.agency.code if user.agency else "-"
        roles = ",".join(sorted(role.name for role in user.roles))
        print(f"{user.email}\t{state}\t{agency}\t{roles}\t{user.name}")


def _roles(session: Session, _options: argparse.Namespace) -> None:
    for role in session.scalars(sa.select(Role).order_by(Role.name)):
        print(f"{role.name}\t{'OPD' if role.for_agency else 'kantor'}\t{role.label}")


def _add(session: Session, options: argparse.Namespace) -> None:
    if session.scalar(
        sa.select(User.id).where(User.email == normal_email(options.email))
    ):
        raise UsageError(
            "Alamat surel ini sudah dipakai. / This e-mail address is in use already."
        )
    agency = _agency(session, options.agency)
    password = _new_password(generate=options.generate)
    try:
        create_user(
            session,
            email=options.email,
            name=options.name,
            password=password,
            roles=options.role,
            agency=agency,
        )
    except ValueError as error:
        raise UsageError(
            f"Peran tidak dikenal, lihat `simpul user roles`. / {error}, see `simpul user roles`."
        ) from None
    _tell(options, password)


def _password(session: Session, options: argparse.Namespace) -> None:
    password = _new_password(generate=options.generate)
    settle_user(
        session, _find(session, options.email), new_password=password, created=False
    )
    _tell(options, password)


def _disable(session: Session, options: argparse.Namespace) -> None:
    user = _find(session, options.email)
    user.active = False
    settle_user(session, user, new_password="", created=False)


def _enable(session: Session, options: argparse.Namespace) -> None:
    _find(session, options.email).active = True


def _find(session: Session, email: str) -> User:
    user = session.scalar(sa.select(User).where(User.email == normal_email(email)))
    if user is None:
        raise UsageError(
            f"Tidak ada pengguna {email}. / There is no user {email}. (`simpul user list`)"
        )
    return user


def _agency(session: Session, code: str) -> Agency | None:
    if not code:
        return None
    agency = session.scalar(sa.select(Agency).where(Agency.code == code))
    if agency is None:
        raise UsageError(
            f"Tidak ada OPD dengan kode {code}. / No agency has the code {code}."
        )
    return agency


def _new_password(*, generate: bool) -> str:
    if generate:
        return "-".join(secrets.token_hex(3) for _ in range(3)) + "-S"
    password = _asked("Kata sandi baru / new password: ")
    least = policy().min_length
    if len(password) < least:
        raise UsageError(f"Minimal {least} karakter. / At least {least} characters.")
    if _asked("Sekali lagi / once more: ") != password:
        raise UsageError("Keduanya tidak sama. / The two are not the same.")
    return password


def _asked(question: str) -> str:
    try:
        return getpass.getpass(question)
    except EOFError:
        raise UsageError(
            "Tidak ada yang mengetik; pakai --generate. / Nobody types here; use --generate."
        ) from None


def _tell(options: argparse.Namespace, password: str) -> None:
    if options.generate:
        print(f"{normal_email(options.email)}  {password}")
