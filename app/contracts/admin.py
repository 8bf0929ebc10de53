"""Pages of contracts: list, a new one, its versions, and the fields of a draft."""

from typing import Any

import sqlalchemy as sa
from flask import Response, flash, request
from flask_admin import expose
from flask_babel import gettext
from wtforms import IntegerField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length, NumberRange

from app.contracts import services
from app.contracts.errors import ContractError
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
from app.core.policy import Permission
from app.core.scope import get_visible, visible
from app.core.words import message_id
from app.identity.models import Agency
from app.web.context import state_label
from app.web.forms import Form
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.views import Page, back_to, flash_rejected

CHANGED_MEANWHILE = message_id(
    "Not saved: this draft was saved from another window while you worked. What you see"
    " here is yours; saving once more puts it in place of the other."
)


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


class ContractPage(Page):
    """Contracts and their versions."""

    @expose("/")
    @needs(Permission.CONTRACT_READ)
    def index(self) -> str:
        with db.unit_of_work() as session:
            contracts = session.scalars(
                sa.select(Contract)
                .where(visible(Contract, principal_now()))
                .order_by(Contract.title)
            ).all()
            text: str = self.render(
                "contracts/list.html", contracts=contracts, versions=_newest(session)
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_WRITE)
    def new(self) -> Response | str:
        form = ContractForm()
        with db.unit_of_work() as session:
            form.agency.choices = _agencies(session)
        if form.validate_on_submit():
            try:
                with db.unit_of_work() as session:
                    draft = _create(session, form)
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

    @expose("/versions/<ident>", methods=("GET", "POST"))
    @needs(Permission.CONTRACT_READ)
    def version(self, ident: str) -> Response | str:
        """Show a version; who may write also edits a draft's fields here."""
        with db.unit_of_work() as session:
            version = get_visible(session, ContractVersion, ident, principal_now())
            editable = version.status is VersionStatus.DRAFT and principal_now().may(
                Permission.CONTRACT_WRITE
            )
            fields, problems = version.specs(), problems_of(version.specs())
            limits = LimitsForm(obj=version)
            if request.method == "POST":
                editable = editable and services.lock_draft(session, version)
                if not editable:
                    flash(gettext("This version cannot be changed."), "danger")
                    return back_to("contracts.version", ident=ident)
                fields, problems = _posted(session, version, limits)
            text: str = self.render(
                "contracts/version.html" if not editable else "contracts/edit.html",
                version=version,
                fields=fields,
                problems=problems,
                limits=limits,
                seen=services.digest_of(version),
                types=list(FieldType),
                classes=list(Classification),
            )
        return text

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


def _posted(
    session: Any, version: ContractVersion, limits: LimitsForm
) -> tuple[Any, list[Problem]]:
    """Save what was posted as far as it can be saved; return the fields and the problems."""
    fields, unreadable = read_fields(request.form)
    if not limits.validate():
        return fields, [
            Problem("", "The limits of the gate lie between 0 and 100 percent.")
        ]
    if request.form.get("seen") != services.digest_of(version):
        return fields, [Problem("", CHANGED_MEANWHILE)]
    try:
        problems = unreadable + services.save_fields(session, version, fields)
    except ContractError as error:
        return fields, [*unreadable, *error.problems]
    limits.populate_obj(version)
    flash(gettext("The draft is saved."), "success" if not problems else "info")
    return fields, problems


def _create(session: Any, form: ContractForm) -> ContractVersion:
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


def _agencies(session: Any) -> list[SelectChoice]:
    rows = session.scalars(
        sa.select(Agency)
        .where(visible(Agency, principal_now()), Agency.active)
        .order_by(Agency.name)
    )
    return [SelectChoice(str(agency.id), agency.name) for agency in rows]


def _newest(session: Any) -> dict[Any, list[ContractVersion]]:
    """Return each contract's living versions: the active one and the draft."""
    found: dict[Any, list[ContractVersion]] = {}
    for version in session.scalars(
        sa.select(ContractVersion).where(
            ContractVersion.status != VersionStatus.RETIRED,
            visible(ContractVersion, principal_now()),
        )
    ):
        found.setdefault(version.contract_id, []).append(version)
    return found
