"""Pages of sources: the list, the form with its preview, and hosts.

Running and scheduling are the pulls' pages.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
from flask import Response, current_app, flash, make_response, request
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from wtforms import FloatField, IntegerField, SelectChoice, StringField, TimeField
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from app.connectors.addresses import read_pair
from app.connectors.looking import Look
from app.connectors.presets import preset_named
from app.connectors.sampling import FoundField
from app.contracts import services as contract_services
from app.contracts.models import Contract, ContractVersion
from app.contracts.states import DatasetKind, LoadMode, VersionStatus
from app.core import crypto, db
from app.core.errors import RejectedError, SimpulError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import get_visible, visible
from app.identity.forms import agency_options
from app.identity.models import Agency
from app.sources import looks, services
from app.sources.errors import HalfWindowError, NoAgencyError, SourceInvalidError
from app.sources.forms import PAIRS, PLAIN, SourceForm, TryForm
from app.sources.models import Host, Source
from app.web import merging
from app.web.format import moment, number
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.listing import yes_or_no
from app.web.tables import Table
from app.web.views import Page, ScopedView, back_to, flash_rejected, flash_taken, go_to

NEW_CONTRACT = "new"


SOURCES = Table(
    endpoint="sources.index",
    model=Source,
    columns={
        "name": _("Source"),
        "contract_id": _("Contract"),
        "agency_id": _("Agency"),
        "address": _("Address"),
        "state": _("State"),
        "failure_count": _("Failures in a row"),
        "created_at": _("Since"),
    },
    usual=("name", "contract_id", "agency_id", "address", "state"),
    sorts={
        "name": Source.name, "failure_count": Source.failure_count,
        "created_at": Source.created_at,
    },
    sorted_by="name",
    is_down=False,
    filters=(
        Filter(Source.agency_id, _("Agency"), agency_options, quick=True),
        Filter(Source.enabled, _("Switched on"), yes_or_no, quick=True),
        Filter(Source.name, _("Name")),
        Filter(Source.approved_host, _("Approved address")),
        Filter(Source.failure_count, _("Failures in a row")),
        Filter(Source.plain_until, _("Without encryption until")),
        Filter(Source.created_at, _("Since")),
    ),
    searched=_("name"),
    former={},
)  # fmt: skip


class SourcePage(Page):
    """Web services of agencies."""

    table = SOURCES

    @expose("/")
    @needs(Permission.SOURCE_READ)
    def index(self) -> Response | str:
        if elsewhere := SOURCES.other_address():
            return go_to(elsewhere)
        with db.unit_of_work() as session:
            rows = sa.select(Source).where(visible(Source, principal_now()))
            shown = SOURCES.shown(session, rows)
            today = db.now(session).date()
            text: str = self.render(
                "sources/list.html",
                shown=shown,
                approved=_approved,
                plain=lambda source: services.plain_risk(source, _office_list(), today),
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.SOURCE_WRITE)
    def new(self) -> Response | str:
        return self._form(None)

    @expose("/<ident>/edit", methods=("GET", "POST"))
    @needs(Permission.SOURCE_WRITE)
    def edit(self, ident: str) -> Response | str:
        return self._form(ident)

    @expose("/<ident>/look", methods=("GET", "POST"))
    @needs(Permission.SOURCE_PREVIEW)
    def look(self, ident: str) -> str:
        """Try a source out; the agency's own developer may, with settings of their own."""
        form = TryForm()
        with db.unit_of_work() as session:
            source = get_visible(session, Source, ident, principal_now())
            specs = _specs(session, source)
            looked_at = db.now(session)
        if request.method == "GET":
            form.show(source.settings)
        trial = _Trial(form, source)
        if request.method == "POST" and form.validate_on_submit():
            trial.go()
        text: str = self.render(
            "sources/look.html",
            form=form,
            source=source,
            looked_at=looked_at,
            differences=_differences(trial.look, specs),
            **trial.shown(),
        )
        return text

    @expose("/<ident>/approve", methods=("POST",))
    @needs(Permission.SOURCE_APPROVE)
    def approve(self, ident: str) -> Response:
        """Let requests go to the host and port that the approver has seen."""
        host = request.form.get("host", "")
        reason = request.form.get("reason", "").strip()[:500]
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.approve_host(
                    session, source, host, reason, seen=request.form.get("seen", "")
                )
        except RejectedError as error:
            flash_rejected(error)
        return back_to("pulls.source", ident=ident)

    @expose("/<ident>/plain", methods=("POST",))
    @needs(Permission.SOURCE_APPROVE)
    def plain(self, ident: str) -> Response:
        """Let a source be asked without encryption until a day, or end that."""
        reason = request.form.get("reason", "").strip()[:500]
        try:
            until = _day(request.form.get("until", ""))
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.except_plain(
                    session, source, until, reason, seen=request.form.get("seen", "")
                )
        except RejectedError as error:
            flash_rejected(error)
        return back_to("pulls.source", ident=ident)

    @expose("/<ident>/whole", methods=("POST",))
    @needs(Permission.SOURCE_WRITE)
    def whole(self, ident: str) -> Response:
        """Let the next pull ask for everything, not only for what changed."""
        reason = request.form.get("reason", "").strip()[:500]
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.forget_mark(session, source, reason)
            flash(gettext("The next pull asks for everything once more."), "success")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("pulls.source", ident=ident)

    def _form(self, ident: str | None) -> Response | str:
        while True:
            try:
                return self._one_form(ident)
            except StaleDataError:  # somebody was faster by a moment: look again
                continue

    def _one_form(self, ident: str | None) -> Response | str:
        with db.unit_of_work() as session:
            source = (
                get_visible(session, Source, ident, principal_now()) if ident else None
            )
            choices, agencies = _contracts(session, source), _agencies(session)
            standing = _form_with(choices)
            _fill(session, standing, source)
        desk = merging.desk_of(source, standing) if source else None
        is_sent = request.method == "POST"
        form = standing
        if is_sent:
            form = _form_with(choices, merging.form_data(desk) if desk else request.form)
        step = _Step(form, source, desk)
        if is_sent and form.validate_on_submit():
            saved = step.go()
            if saved is not None:
                return back_to("pulls.source", ident=saved)
            if step.must_merge and desk is not None:
                form = _form_with(choices, merging.merged_data(desk))
        # Only now: a page shows the messages that were there when it was first drawn.
        text: str = self.render(
            "sources/form.html",
            form=form,
            source=source,
            agencies=agencies,
            desk=desk,
            **step.shown(),
        )
        return make_response(text, 409) if step.must_merge else text


class _Step:
    """One submit of the form: look, accept what was proposed, or save."""

    def __init__(
        self, form: SourceForm, source: Source | None, desk: merging.Desk | None
    ) -> None:
        self._form = form
        self._source = source
        self._desk = desk
        self.must_merge = False
        self._look: Look | None = None
        self._kept = ""
        self._confirm: list[str] = []

    def go(self) -> str | None:
        """Do what was asked for; return the source's id when it is saved."""
        wish = request.form.get("do", "save")
        if wish == "accept":
            preset = preset_named(self._form.preset.data or "")
            _accept(self._form, preset.settings if preset else {})
        settings = self._form.settings()
        secrets = self._secrets(settings)
        try:
            self._kept = looks.sealed(secrets, settings)
            if wish == "save":
                return self._save(settings, secrets)
            services.refuse_plain_secrets(settings)
            self._confirm = looks.to_confirm(settings, self._source, _office_list())
            confirmed = request.form.getlist("confirm")
            if not set(self._confirm) <= set(confirmed):
                return None
            with db.unit_of_work() as session:
                looks.record_look(session, self._source, settings)
            stored = looks.stored_secrets(self._source, settings)
            self._look = _looked(settings, {**stored, **secrets}, self._source, confirmed)
        except RejectedError as error:
            flash_rejected(error)
        except SimpulError as error:
            flash_rejected(SourceInvalidError(error))
        return None

    def _save(
        self, settings: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> str | None:
        desk = self._desk
        if desk is not None and not desk.may_save(merging.values_of(self._form)):
            self.must_merge = True
            return None
        version = desk.version if desk is not None else 0
        return _save(self._form, self._source, settings, secrets, version)

    def _secrets(self, settings: Mapping[str, Any]) -> dict[str, str]:
        kept = looks.unsealed(request.form.get("kept", ""), settings)
        return {**kept, **self._form.secrets()}

    def shown(self) -> dict[str, Any]:
        fields = self._look.sample.fields if self._look and self._look.sample else []
        token = crypto.seal(_encoded(fields)) if fields else ""
        return {
            "look": self._look,
            # A save that was refused loses neither what was typed nor what was seen.
            "kept": self._kept or request.form.get("kept", ""),
            "confirm": self._confirm,
            "confirmed": request.form.getlist("confirm"),
            "proposal": _encoded(self._look.proposal if self._look else {}),
            "fields_token": token or request.form.get("fields_token", ""),
            "load_modes": list(LoadMode),
        }


class _Trial:
    """One submit of the page on which a source is tried out; nothing of it is saved."""

    def __init__(self, form: TryForm, source: Source) -> None:
        self._form = form
        self._source = source
        self._kept = ""
        self._changed: list[tuple[str, Any, Any]] = []
        self._left_out = False
        self.look: Look | None = None

    def go(self) -> None:
        if request.form.get("do") == "accept":
            _accept(self._form, {})
        try:
            self._go()
        except RejectedError as error:
            flash_rejected(error)
        except SimpulError as error:
            flash_rejected(SourceInvalidError(error))

    def _go(self) -> None:
        source = self._source
        # What the form does not have stays as it is saved.
        others = {k: v for k, v in source.settings.items() if k not in _IN_TRIAL}
        settings = {**others, **self._form.settings()}
        services.refuse_plain_secrets(settings)
        kept = looks.unsealed(request.form.get("kept", ""), settings)
        typed = {**kept, **self._form.secrets()}
        self._kept = looks.sealed(typed, settings)
        self._changed = looks.tried_otherwise(source, settings)
        lent = looks.keys_for(source, settings)
        self._left_out = bool(source.secrets) and not lent and not typed
        with db.unit_of_work() as session:
            looks.record_look(session, source, settings)
        self.look = looks.try_out(source, settings, typed, _office_list())

    def shown(self) -> dict[str, Any]:
        return {
            "look": self.look,
            "kept": self._kept,
            "changed": self._changed,
            "left_out": self._left_out,
            "proposal": _encoded(self.look.proposal if self.look else {}),
            "hosts": services.approvable(self._source).split(),
        }


def _accept(form: SourceForm, proposal: Mapping[str, Any]) -> None:
    """Put the proposed settings into the form, upon those of a kind of service."""
    proposal = {**proposal, **_decoded(request.form.get("proposal", ""))}
    form.show({k: v for k, v in proposal.items() if k in _ACCEPTABLE})


_IN_TRIAL = {*PLAIN, *PAIRS, "body"} - {"proxy"}
_ACCEPTABLE = {*PLAIN, "also_fields", "query", "body"} - {
    "base_url",
    "auth_url",
    "also_url",
    "proxy",
}


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _decoded(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _looked(
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    source: Source | None,
    confirmed: Any = (),
) -> Look | None:
    """Look, or say why not. No transaction is open meanwhile: it takes its time."""
    try:
        return looks.look_at(
            settings, secrets, source, office_list=_office_list(), confirmed=confirmed
        )
    except RejectedError as error:
        flash_rejected(error)
    except SimpulError as error:
        flash_rejected(SourceInvalidError(error))
    return None


def _specs(session: Session, source: Source) -> Any:
    """The fields of the active version, or of the newest draft when none is active."""
    versions = session.scalars(
        sa.select(ContractVersion)
        .where(ContractVersion.contract_id == source.contract_id)
        .order_by(ContractVersion.number.desc())
    ).all()
    active = [each for each in versions if each.status is VersionStatus.ACTIVE]
    return (active or versions)[0].specs() if versions else ()


def _differences(look: Look | None, specs: Any) -> list[looks.Difference]:
    if look is None or look.sample is None or not look.sample.fields:
        return []
    return looks.compare(look.sample.fields, specs)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _form_with(choices: list[SelectChoice], data: Any = None) -> SourceForm:
    form = SourceForm(data)
    form.contract.choices = choices
    return form


def _fill(session: Session, form: SourceForm, source: Source | None) -> None:
    if source is None:
        form.contract.data = request.args.get("contract", "")
        like = request.args.get("like", "")
        if like:
            form.show(get_visible(session, Source, like, principal_now()).settings)
        return
    form.name.data, form.enabled.data = source.name, source.enabled
    form.contract.data = str(source.contract_id)
    form.max_failures.data = source.max_failures
    form.show(source.settings)


def _agencies(session: Session) -> list[Agency]:
    return list(session.scalars(sa.select(Agency).order_by(Agency.name)))


def _contracts(session: Session, source: Source | None) -> list[SelectChoice]:
    """Return the contracts to choose from; a source keeps the one it was made for.

    Its schedule and its waiting runs keep apart by contract: they would not know.
    """
    if source is not None:
        rows = [source.contract]
    else:
        rows = list(
            session.scalars(
                sa.select(Contract)
                .where(visible(Contract, principal_now()))
                .order_by(Contract.title)
            )
        )
    choices = [SelectChoice(str(c.id), f"{c.title} ({c.agency.name})") for c in rows]
    if source is None and principal_now().may(Permission.CONTRACT_WRITE):
        choices.insert(0, SelectChoice(NEW_CONTRACT, _("a new draft, from the sample")))
    return choices


def _save(
    form: SourceForm,
    former: Source | None,
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    version: int,
) -> str | None:
    """Write the form; return the source's id, or None after saying why not.

    Raises ``StaleDataError`` when it is not the ``version`` any more that was compared.
    """
    try:
        with db.unit_of_work() as session:
            source = Source(kind="rest_json")
            if former is not None:
                source = get_visible(session, Source, former.id, principal_now())
                services.lock_source(session, source)
                merging.require_version(source, version)
            source.contract = _contract_of(session, form)
            source.name, source.enabled = form.name.data.strip(), form.enabled.data
            source.max_failures = form.max_failures.data or 0
            services.save_source(session, source, settings, secrets=secrets)
            session.flush()  # its id is where we go next
            waited = former is not None and not former.approved_host
            if not waited and not services.is_approved(source, _office_list()):
                services.ask_for_approval(session, source)
            return str(source.id)
    except RejectedError as error:
        flash_rejected(error)
    except IntegrityError:
        flash_taken()
    return None


def _contract_of(session: Session, form: SourceForm) -> Contract:
    """The chosen contract, or a new draft made of the fields that the sample had."""
    if form.contract.data != NEW_CONTRACT:
        return get_visible(session, Contract, form.contract.data, principal_now())
    if not principal_now().may(Permission.CONTRACT_WRITE):
        raise services.no_sample()
    opened = crypto.unseal(request.form.get("fields_token", ""), looks.KEEP_SECONDS)
    fields = msgspec.json.decode(opened, type=list[FoundField]) if opened else []
    if not fields:
        raise services.no_sample()
    chosen = request.form.get("agency", "")
    if not chosen:
        raise NoAgencyError
    agency = get_visible(session, Agency, chosen, principal_now())
    mode = request.form.get("load_mode", "")
    contract = contract_services.create_contract(
        session,
        agency_id=agency.id,
        slug=request.form.get("slug", "").strip(),
        title=form.name.data.strip(),
        kind=DatasetKind.MASTER,
        load_mode=LoadMode(mode) if mode in set(LoadMode) else LoadMode.SNAPSHOT,
    )
    session.flush()
    draft = session.scalars(
        sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
    ).one()
    contract_services.save_fields(session, draft, looks.specs_from(fields))
    flash(
        gettext("The contract's draft is made: look at its fields and activate it."),
        "success",
    )
    return contract


def _office_list() -> tuple[str, ...]:
    hosts: tuple[str, ...] = current_app.extensions["simpul_settings"].approved_hosts
    return hosts


def _approved(source: Source) -> bool:
    return services.is_approved(source, _office_list())


class HostView(ScopedView):
    """Hosts that are asked: how fast, how many at once, and when not."""

    read: ClassVar[Permission] = Permission.LEDGER_READ
    write: ClassVar[Permission | None] = Permission.SOURCE_APPROVE
    title = _("Hosts")
    lead = _(
        "One line for each host and port. The limits hold for all sources and workers"
        " together; 0 means no limit."
    )
    import_key = ("pair",)
    column_list = ("pair", "per_second", "at_once", "quiet", "wait_until")
    column_details_list = (*column_list, "wait_code", "failure_count", "note")
    column_sortable_list = ("pair", "per_second", "at_once", "wait_until")
    narrow_columns = ("pair",)
    column_default_sort = "pair"
    form_columns = ("pair", "per_second", "at_once", "quiet_from", "quiet_until", "note")
    form_overrides: ClassVar[dict[str, Any]] = {
        "pair": StringField,
        "per_second": FloatField,
        "at_once": IntegerField,
        "quiet_from": TimeField,
        "quiet_until": TimeField,
        "note": StringField,
    }
    form_args: ClassVar[dict[str, Any]] = {
        "pair": {
            "validators": [DataRequired(), Length(max=300)],
            "description": _("For example simpeg.riau.go.id:443"),
        },
        "per_second": {
            "validators": [NumberRange(0, 1_000)],
            "default": 0,
            "description": _("For example 0.5: one every two seconds. 0: no limit."),
        },
        "at_once": {
            "validators": [NumberRange(0, 1_000)],
            "default": 0,
            "description": _("0: no limit."),
        },
        "quiet_from": {"validators": [Optional()]},
        "quiet_until": {
            "validators": [Optional()],
            "description": _("On the office's clock; it may lie on the next day."),
        },
        "note": {"validators": [Length(max=500)]},
    }
    column_labels: ClassVar[dict[str, Any]] = {
        "pair": _("Host and port"),
        "per_second": _("Requests a second"),
        "at_once": _("Pulls at once"),
        "quiet": _("Maintenance"),
        "quiet_from": _("Maintenance from"),
        "quiet_until": _("Maintenance until"),
        "failure_count": _("Failures in a row"),
        "wait_until": _("Left alone until"),
        "wait_code": _("Because of"),
        "note": _("Note"),
    }
    column_formatters: ClassVar[dict[str, Any]] = {
        "per_second": lambda _v, _c, m, _n: _limit(m.per_second),
        "at_once": lambda _v, _c, m, _n: _limit(m.at_once),
        "quiet": lambda _v, _c, m, _n: _quiet(m),
        "wait_until": lambda _v, _c, m, _n: moment(m.wait_until) if m.wait_until else "–",
        "wait_code": lambda _v, _c, m, _n: m.wait_code or "–",
        "note": lambda _v, _c, m, _n: m.note or "–",
    }

    details_template = "sources/host.html"

    @expose("/<ident>/lift", methods=("POST",))
    @needs(Permission.SOURCE_APPROVE)
    def lift(self, ident: str) -> Response:
        """End a host's rest before its time."""
        reason = request.form.get("reason", "").strip()[:500]
        try:
            with db.unit_of_work() as session:
                host = get_visible(session, Host, ident, principal_now())
                services.lift_rest(session, host, reason)
            flash(gettext("The host may be asked again."), "success")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("hosts.details_view", id=ident)

    def save(self, model: Host, *, created: bool) -> None:
        """Write the pair as requests name it; refuse half of a maintenance window."""
        del created
        host, port = read_pair(model.pair or "")
        model.pair = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if (model.quiet_from is None) != (model.quiet_until is None):
            raise HalfWindowError
        model.note = model.note or ""


def _limit(value: float) -> str:
    return number(value) if value else gettext("no limit")


def _quiet(host: Host) -> str:
    if host.quiet_from is None or host.quiet_until is None:
        return "–"
    return f"{host.quiet_from:%H.%M}\u2013{host.quiet_until:%H.%M}"
