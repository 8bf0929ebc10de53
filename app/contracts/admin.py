"""Pages of contracts: list, a new one, its versions, and the fields of a draft."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from flask import Response, flash, make_response, request
from flask_admin import expose
from flask_babel import gettext
from werkzeug.datastructures import MultiDict
from wtforms import IntegerField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length, NumberRange

from app.contracts import drafts, services
from app.contracts.changes import changes_of
from app.contracts.errors import ContractError
from app.contracts.fields import FieldSpec
from app.contracts.forms import read_fields
from app.contracts.models import Contract, ContractVersion
from app.contracts.rules import Problem, problems_of
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import get_visible, visible
from app.core.words import message_id
from app.identity.forms import agency_options
from app.identity.models import Agency
from app.web import merging
from app.web.context import state_label
from app.web.forms import Form
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.listing import named
from app.web.tables import Table
from app.web.views import Page, back_to, flash_rejected, go_to


class ContractForm(Form):
    """What never changes about a contract, and the limits of its gate."""

    title = StringField(_("Title"), [DataRequired(), Length(max=200)])
    slug = StringField(
        _("Short name"),
        [DataRequired(), Length(max=services.MAX_SLUG_LENGTH)],
        description=_(
            "Names the central table and its address for ever: small letters, digits and _."
        ),
    )
    agency = SelectField(_("Agency that provides the data"), [DataRequired()])
    kind = SelectField(
        _("Kind of data"),
        choices=[SelectChoice(kind.value, state_label(kind)) for kind in DatasetKind],
    )
    load_mode = SelectField(
        _("Each pull brings"),
        choices=[SelectChoice(mode.value, state_label(mode)) for mode in LoadMode],
        description=_(
            "The whole set: rows that are absent count as vanished. New and changed rows: nothing vanishes."
        ),
    )
    description = TextAreaField(_("Description"), [Length(max=4000)])


class LimitsForm(Form):
    """Limits of a draft's gate, in percent."""

    max_rejected_percent = IntegerField(
        _("Rejected records at most, in percent"), [NumberRange(0, 100)]
    )
    max_vanished_percent = IntegerField(
        _("Vanished rows at most, in percent"), [NumberRange(0, 100)]
    )


CONTRACTS = Table(
    endpoint="contracts.index",
    model=Contract,
    columns={
        "title": _("Contract"),
        "agency_id": _("Agency"),
        "kind": _("Kind of data"),
        "versions": _("Versions"),
        "load_mode": _("What a pull brings"),
        "description": _("Description"),
        "created_at": _("Since"),
    },
    usual=("title", "agency_id", "kind", "versions"),
    sorts={
        "title": Contract.title, "kind": Contract.kind, "created_at": Contract.created_at,
    },
    sorted_by="title",
    is_down=False,
    filters=(
        Filter(Contract.agency_id, _("Agency"), agency_options, quick=True),
        Filter(Contract.kind, _("Kind of data"), named(*DatasetKind), quick=True),
        Filter(Contract.load_mode, _("What a pull brings"), named(*LoadMode)),
        Filter(Contract.title, _("Title")),
        Filter(Contract.created_at, _("Since")),
    ),
    searched=_("title, short name, description"),
    former={},
)  # fmt: skip


class ContractPage(Page):
    """Contracts and their versions."""

    table = CONTRACTS

    @expose("/")
    @needs(Permission.CONTRACT_READ)
    def index(self) -> Response | str:
        if elsewhere := CONTRACTS.other_address():
            return go_to(elsewhere)
        with db.unit_of_work() as session:
            rows = sa.select(Contract).where(visible(Contract, principal_now()))
            shown = CONTRACTS.shown(session, rows)
            text: str = self.render(
                "contracts/list.html",
                shown=shown,
                versions=_newest(session, [each.id for each in shown.rows]),
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_WRITE)
    def new(self) -> Response | str:
        form = ContractForm()
        with db.unit_of_work() as session:
            form.agency.choices = agency_choices(session)
        if form.validate_on_submit():
            try:
                with db.unit_of_work() as session:
                    draft = create_by(session, form)
                return back_to("contracts.version", ident=draft.id)
            except RejectedError as error:
                flash_rejected(error)
        text: str = self.render("contracts/new.html", form=form)
        return text

    @expose("/<ident>")
    @needs(Permission.CONTRACT_READ)
    def show(self, ident: str) -> str:
        with db.unit_of_work() as session:
            contract = get_visible(session, Contract, ident, principal_now())
            versions = session.scalars(
                sa.select(ContractVersion)
                .where(
                    ContractVersion.contract_id == contract.id,
                    visible(ContractVersion, principal_now()),
                )
                .order_by(ContractVersion.number.desc())
            ).all()
            text: str = self.render(
                "contracts/show.html", contract=contract, versions=versions
            )
        return text

    @expose("/<ident>/listed", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def listed(self, ident: str) -> Response:
        """Have the public page name what the contract is about, or name it no longer."""
        with db.unit_of_work() as session:
            contract = get_visible(session, Contract, ident, principal_now())
            contract.is_listed = request.form.get("listed") == "1"
        flash(gettext("Saved."), "success")
        return back_to("contracts.show", ident=ident)

    @expose("/versions/<ident>", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_READ)
    def version(self, ident: str) -> Response | str:
        """Show a version; who may write also edits a draft's fields here."""
        with db.unit_of_work() as session:
            version = get_visible(session, ContractVersion, ident, principal_now())
            editable = version.status is VersionStatus.DRAFT and principal_now().may(
                Permission.CONTRACT_WRITE
            )
            shown = _Shown(version.specs(), LimitsForm(obj=version), _desk(version))
            if request.method == "POST":
                editable = editable and services.lock_draft(session, version)
                if not editable:
                    flash(gettext("This version cannot be changed."), "danger")
                    return back_to("contracts.version", ident=ident)
                shown = _posted(session, version)
            former = services.former_of(session, version)
            text: str = self.render(
                "contracts/version.html" if not editable else "contracts/edit.html",
                version=version,
                fields=shown.fields,
                problems=[*shown.unreadable, *problems_of(shown.fields)],
                limits=shown.limits,
                desk=shown.desk,
                former=former,
                changes=changes_of(former.specs(), version.specs()) if former else [],
                told=drafts.told,
                types=list(FieldType),
                classes=list(Classification),
            )
        return make_response(text, shown.status)

    @expose("/versions/<ident>/next", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def next_draft(self, ident: str) -> Response:
        """Make the next draft out of the active version."""
        with db.unit_of_work() as session:
            active = get_visible(session, ContractVersion, ident, principal_now())
            draft = services.draft_from(session, active)
            session.flush()  # its id is where we go next
            draft_id = draft.id
        return back_to("contracts.version", ident=draft_id)


class _Shown(NamedTuple):
    """What the page of a draft shows: as it stands, as it was typed, or merged."""

    fields: Sequence[FieldSpec]
    limits: LimitsForm
    desk: merging.Desk
    unreadable: Sequence[Problem] = ()
    status: int = 200


def _desk(version: ContractVersion, posted: str | None = None) -> merging.Desk:
    limits = {name: getattr(version, name) for name in drafts.LIMITS}
    return merging.Desk(
        merging.name_of(version),
        version.row_version,
        drafts.values_of(version.specs(), limits),
        drafts.DraftFields(),
        posted,
    )


def _posted(session: Any, version: ContractVersion) -> _Shown:
    """Save what was posted as far as it can be saved; return what the page shows then."""
    fields, unreadable = read_fields(request.form)
    limits, desk = LimitsForm(), _desk(version, merging.sent())
    typed = _Shown(fields, limits, desk, unreadable)
    if not limits.validate():
        words = message_id("The limits of the gate lie between 0 and 100 percent.")
        return typed._replace(unreadable=[*unreadable, Problem("", words)])
    if len({each.name for each in fields}) < len(fields):
        return typed  # the problems say which names stand there twice
    mine = drafts.values_of(fields, {name: limits[name].data for name in drafts.LIMITS})
    for name, value in desk.taken().items():
        drafts.put(mine, name, value)
    if not desk.may_save(mine):
        merged = LimitsForm(MultiDict(drafts.limits_of(desk.merged)))
        return _Shown(drafts.specs_of(desk.merged), merged, desk, unreadable, 409)
    return _saved(session, version, mine, typed)


def _saved(
    session: Any, version: ContractVersion, mine: dict[str, list[str]], typed: _Shown
) -> _Shown:
    fields = drafts.specs_of(mine)
    try:
        problems = [*typed.unreadable, *services.save_fields(session, version, fields)]
    except ContractError as error:
        return typed._replace(unreadable=[*typed.unreadable, *error.problems])
    for name, value in drafts.limits_of(mine).items():
        setattr(version, name, int(value))
    session.flush()  # its number is what the page carries
    flash(gettext("The draft is saved."), "success" if not problems else "info")
    shown = LimitsForm(None, obj=version)
    return _Shown(fields, shown, _desk(version), typed.unreadable)


def create_by(session: Any, form: ContractForm) -> ContractVersion:
    """Make a contract as a form says; return its first draft. Raises as the service does."""
    agency = get_visible(session, Agency, form.agency.data, principal_now())
    contract = services.create_contract(
        session,
        agency_id=agency.id,
        slug=form.slug.data.strip(),
        title=form.title.data.strip(),
        description=(form.description.data or "").strip(),
        kind=DatasetKind(form.kind.data),
        load_mode=LoadMode(form.load_mode.data),
    )
    session.flush()  # the draft's id is where we go next
    draft: ContractVersion = session.scalars(
        sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
    ).one()
    return draft


def agency_choices(session: Any) -> list[SelectChoice]:
    """Return the agencies that a contract may be of."""
    rows = session.scalars(
        sa.select(Agency)
        .where(visible(Agency, principal_now()), Agency.active)
        .order_by(Agency.name)
    )
    return [SelectChoice(str(agency.id), agency.name) for agency in rows]


def _newest(session: Any, contracts: list[UUID]) -> dict[Any, list[ContractVersion]]:
    """Return the living versions of some contracts: the active one and the draft."""
    found: dict[Any, list[ContractVersion]] = {}
    for version in session.scalars(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id.in_(contracts),
            ContractVersion.status != VersionStatus.RETIRED,
            visible(ContractVersion, principal_now()),
        )
    ):
        found.setdefault(version.contract_id, []).append(version)
    return found
