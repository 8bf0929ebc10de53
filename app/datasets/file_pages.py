"""Contracts as files: taken along as ODCS or as a workbook, and taken in as a draft.

What was read is kept under seal in the form of its preview, for the person who sent it; it
becomes a draft and nothing more.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from flask import Response, flash, make_response, request
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.contracts import drafts, incoming, odcs, services, workbook
from app.contracts.admin import ContractForm, agency_choices, create_by
from app.contracts.changes import changes_of, is_breaking
from app.contracts.errors import FileStaleError, NoContractFileError
from app.contracts.models import Contract, ContractVersion
from app.contracts.rules import problems_of
from app.contracts.terms import Around, Note, Receiver, Taken, Terms
from app.core import crypto, db
from app.core.db import because
from app.core.errors import RejectedError
from app.core.policy import Permission, acting_principal
from app.core.scope import NotFoundError, get_visible, visible
from app.core.words import message_id
from app.datasets.models import Agreement, Dataset
from app.files.inspection import MEDIA_TYPES, FileKind
from app.identity.models import Agency
from app.runs.kinds import KindName
from app.runs.models import Schedule
from app.web.context import state_name
from app.web.format import moment
from app.web.forms import plain_name
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.views import Page, back_to, flash_rejected, flash_taken

KEEP_SECONDS = 3_600
YAML = "application/yaml"
# What a version does not change: it stands with the contract.
_FIXED: Mapping[str, Any] = {
    "title": _("Title"),
    "slug": _("Short name"),
    "agency": _("Agency"),
    "kind": _("Kind of data"),
    "load_mode": _("Each pull brings"),
    "description": _("Description"),
    "basis": _("Rests on"),
}


class _Sealed(msgspec.Struct):
    """What a preview carries: whose it is, of which contract as it was then, what was read."""

    user: str
    contract: str
    seen: str
    file: str
    taken: Taken


class ContractFilePage(Page):
    """No page of the menu: what a contract's own pages lead to."""

    def is_visible(self) -> bool:
        return False

    @expose("/version/<ident>/odcs")
    @needs(Permission.CONTRACT_READ)
    def as_odcs(self, ident: str) -> Response:
        """Hand out a version as ODCS."""
        return _handed_out(ident, odcs.write, YAML, "odcs.yaml")

    @expose("/version/<ident>/workbook")
    @needs(Permission.CONTRACT_READ)
    def as_workbook(self, ident: str) -> Response:
        """Hand out a version as a workbook."""
        return _handed_out(ident, workbook.write, MEDIA_TYPES[FileKind.XLSX], "xlsx")

    @expose("/", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_WRITE)
    def index(self) -> str:
        """Take a file of a contract that there is, by its id, or of a new one."""
        return self._asked(None)

    @expose("/of/<ident>", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_WRITE)
    def of(self, ident: str) -> str:
        """Take a file for one contract."""
        with db.unit_of_work() as session:
            contract = get_visible(session, Contract, ident, principal_now())
        return self._asked(contract)

    @expose("/of/<ident>/apply", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def apply(self, ident: str) -> Response:
        """Make the draft that the preview has shown."""
        try:
            with db.unit_of_work() as session:
                contract = get_visible(session, Contract, ident, principal_now())
                sealed = _unsealed(str(contract.id))
                because(session, gettext("file %(name)s", name=sealed.file))
                draft = services.take_in(
                    session, contract, sealed.taken.terms, sealed.seen
                )
                draft_id = draft.id
        except RejectedError as error:
            flash_rejected(error)
            return back_to("contract_files.of", ident=ident)
        flash(gettext("Taken over as a draft. It is not active."), "success")
        return back_to("contracts.version", ident=draft_id)

    @expose("/apply", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def create(self) -> Response | str:
        """Make a new contract with the draft that the preview has shown."""
        try:
            sealed = _unsealed("")
        except RejectedError as error:
            flash_rejected(error)
            return back_to("contract_files.index")
        form = _new_form(sealed.taken.terms)
        if form.validate_on_submit():
            try:
                return back_to("contracts.version", ident=_created(form, sealed))
            except RejectedError as error:
                flash_rejected(error)
            except IntegrityError:  # somebody took the short name at the same moment
                flash_taken()
        return self._shown(None, sealed, form)

    def _asked(self, contract: Contract | None) -> str:
        """Ask for a file; show what it would change once there is one."""
        if request.method == "POST":
            try:
                return self._preview(contract)
            except RejectedError as error:
                flash_rejected(error)
        text: str = self.render("contracts/take_in.html", contract=contract)
        return text

    def _preview(self, contract: Contract | None) -> str:
        name, taken = _sent()
        with db.unit_of_work() as session:
            contract = contract or _meant(session, taken.terms)
            seen = services.standing_of(session, contract).mark if contract else ""
        ident = str(contract.id) if contract else ""
        sealed = _Sealed(str(acting_principal().user_id), ident, seen, name, taken)
        return self._shown(contract, sealed, None if contract else _new_form(taken.terms))

    def _shown(
        self, contract: Contract | None, sealed: _Sealed, form: ContractForm | None
    ) -> str:
        taken = sealed.taken
        with db.unit_of_work() as session:
            text: str = self.render(
                "contracts/taking_in.html",
                contract=contract,
                file=sealed.file,
                terms=taken.terms,
                wrong=taken.wrong,
                left=[*_kept_of_new(contract, taken.terms), *taken.left],
                problems=problems_of(taken.terms.fields),
                against=_against(session, contract, taken.terms) if contract else None,
                form=form,
                token=crypto.seal(msgspec.json.encode(sealed).decode()),
                told=drafts.told,
            )
        return text


class _Against(NamedTuple):
    """What a file changes: ``changes`` for who receives the data, ``over`` in the draft.

    ``limits`` are those of the gate that change: name, before, after. ``kept`` is what the
    file says and a version cannot change. ``made_from`` another version than ``base``: that
    one's number.
    """

    base: ContractVersion
    draft: ContractVersion | None
    changes: list[Any]
    over: list[Any]
    limits: list[tuple[Any, Any, Any]]
    kept: list[Note]
    made_from: int | None
    is_breaking: bool
    is_something: bool
    other_id: bool


def _against(session: Session, contract: Contract, terms: Terms) -> _Against:
    standing = services.standing_of(session, contract)
    base, draft = standing.base, standing.draft
    target = draft or base
    changes = changes_of(base.specs(), terms.fields)
    in_draft = _limits(target, terms)
    return _Against(
        base=base,
        draft=draft,
        changes=changes,
        over=changes_of(draft.specs(), terms.fields) if draft and draft != base else [],
        limits=list({**_limits(base, terms), **in_draft}.values()),
        kept=_kept(base.terms(), terms),
        made_from=terms.number if terms.number not in {base.number, None} else None,
        is_breaking=base.activated_at is not None and is_breaking(changes),
        is_something=bool(in_draft) or terms.fields != target.specs(),
        other_id=terms.ident not in {"", str(contract.id)},
    )


def _limits(version: ContractVersion, terms: Terms) -> dict[str, tuple[Any, Any, Any]]:
    """Return what a file changes of the gate's limits and the note: name, before, after."""
    names = {**drafts.LIMITS, "note": _("Note")}
    return {
        name: (label, getattr(version, name), getattr(terms, name))
        for name, label in names.items()
        if getattr(terms, name) not in {None, "", getattr(version, name)}
    }


def _kept(here: Terms, terms: Terms) -> list[Note]:
    """Name what the file says of the contract itself, where it says something else."""
    words = message_id("It stays “%(what)s” for all versions; the file says “%(p)s”.")
    return [
        Note(str(label), words, {"what": _word(getattr(here, name)), "p": _word(said)})
        for name, label in _FIXED.items()
        if (said := getattr(terms, name)) not in {None, "", getattr(here, name)}
    ]


def _kept_of_new(contract: Contract | None, terms: Terms) -> list[Note]:
    """Name what the file says and a contract that is new does not take from it."""
    if contract is not None:
        return []
    said = (
        (terms.ident, "ID", message_id("A new contract gets an id of its own.")),
        (
            terms.number not in {None, 1},
            _("Version"),
            message_id("A new contract begins with version 1."),
        ),
        (terms.basis, _("Rests on"), message_id("What it rests on is said by its case.")),
    )
    return [Note(str(place), message) for is_said, place, message in said if is_said]


def _word(value: Any) -> str:
    return state_name(value)[:200] or "–"


def _meant(session: Session, terms: Terms) -> Contract | None:
    """Return the contract that a file names by its id; None for one that is not to be seen."""
    try:
        return get_visible(session, Contract, terms.ident, principal_now())
    except NotFoundError:
        return None


def _sent() -> tuple[str, Taken]:
    """Read the file that was sent; raises ``RejectedError``."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise NoContractFileError
    return plain_name(sent.filename), incoming.read(sent.read(incoming.MAX_BYTES + 1))


def _unsealed(contract: str) -> _Sealed:
    """Open what the preview of a contract ("": of a new one) carried.

    Raises ``FileStaleError`` for what is too old, another person's, of another contract, or
    was never to be taken over.
    """
    opened = crypto.unseal(request.form.get("sealed", ""), KEEP_SECONDS)
    if opened is None:
        raise FileStaleError
    try:
        sealed = msgspec.json.decode(opened, type=_Sealed)
    except msgspec.MsgspecError:  # sealed here, for something else
        raise FileStaleError from None
    is_own = sealed.user == str(acting_principal().user_id)
    if not is_own or sealed.contract != contract or sealed.taken.wrong:
        raise FileStaleError
    return sealed


def _new_form(terms: Terms) -> ContractForm:
    """Return the form of a new contract: as it was sent, else as the file proposes."""
    proposed = {
        name: str(getattr(terms, name) or "")
        for name in ("title", "slug", "description", "kind", "load_mode")
        if getattr(terms, name)
    }
    with db.unit_of_work() as session:
        agency = session.scalar(
            sa.select(Agency.id).where(
                Agency.code == terms.agency, visible(Agency, principal_now())
            )
        )
        proposed["agency"] = str(agency or "")
        is_sent = "sealed" in request.form
        form = (
            ContractForm(data=proposed) if is_sent else ContractForm(None, data=proposed)
        )
        form.agency.choices = agency_choices(session)
    return form


def _created(form: ContractForm, sealed: _Sealed) -> UUID:
    with db.unit_of_work() as session:
        because(session, gettext("file %(name)s", name=sealed.file))
        draft = create_by(session, form)
        services.fill_draft(session, draft, sealed.taken.terms)
        ident: UUID = draft.id
    flash(gettext("Taken over as a draft. It is not active."), "success")
    return ident


def _handed_out(
    ident: str, write: Callable[[Terms, Around], bytes], media: str, ending: str
) -> Response:
    with db.unit_of_work() as session:
        version = get_visible(session, ContractVersion, ident, principal_now())
        terms, around = version.terms(), _around(session, version)
    try:
        answer = make_response(write(terms, around))
    except RejectedError as error:
        flash_rejected(error)
        return back_to("contracts.version", ident=ident)
    answer.headers["Content-Type"] = media
    name = f"{terms.slug}-v{terms.number}.{ending}"
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _around(session: Session, version: ContractVersion) -> Around:
    """Return what is told beside the terms, as far as one may see it."""
    principal = principal_now()
    agreements = session.scalars(
        sa.select(Agreement)
        .join(Dataset, Dataset.id == Agreement.dataset_id)
        .where(
            Dataset.contract_id == version.contract_id,
            visible(Agreement, principal),
            *Agreement.is_active(),
        )
        .order_by(Agreement.number)
    )
    schedules = session.scalars(
        sa.select(Schedule)
        .where(
            Schedule.key == f"contract:{version.contract_id}",
            Schedule.kind == KindName.PULL,
            Schedule.enabled,
            visible(Schedule, principal),
        )
        .order_by(Schedule.cron)
    )
    may_agreements = principal.may(Permission.AGREEMENT_READ)
    may_schedules = principal.may(Permission.SCHEDULE_READ)
    return Around(
        version.created_at.isoformat(),
        [_receiver(each) for each in agreements] if may_agreements else [],
        [(each.cron, each.time_zone) for each in schedules] if may_schedules else [],
    )


def _receiver(agreement: Agreement) -> Receiver:
    until = agreement.valid_until
    last = moment(until - timedelta(seconds=1), "yyyy-MM-dd") if until else ""
    return Receiver(
        agreement.agency.code,
        agreement.agency.name,
        agreement.number,
        agreement.purpose,
        agreement.fields,
        last,
    )
