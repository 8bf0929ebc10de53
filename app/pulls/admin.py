"""Pages of pulls: sources at work, and the records that broke their contract."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from flask import Response, current_app, flash, make_response, request
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from wtforms import BooleanField, DateField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length, Optional

from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.pulls import queries, services
from app.pulls.models import PullRun, QuarantinedRecord
from app.runs.errors import BadScheduleError, ReasonMissingError
from app.runs.models import JobRun, Schedule
from app.runs.services import coming_slots, last_day
from app.runs.states import MissedPolicy
from app.sources.forms import AUTH, PAGING
from app.sources.models import Source
from app.sources.services import (
    approvable,
    approvers,
    is_approved,
    plain_risk,
    seen_of,
)
from app.web import merging
from app.web.context import state_label
from app.web.extensions import db as flask_db
from app.web.forms import Form
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _, say
from app.web.tables import Table
from app.web.views import Page, back_to, flash_rejected, go_to


def _source_options() -> Options:
    found = queries.sources_seen(flask_db.session(), principal_now())
    return [(str(each.id), each.name) for each in found]


RECORDS = Table(
    endpoint="quarantine.index",
    model=QuarantinedRecord,
    columns={
        "record_key": _("Key"),
        "errors": _("What is wrong"),
        "source_id": _("Source"),
        "run_id": _("Run"),
        "created_at": _("When"),
    },
    usual=("record_key", "errors", "source_id", "created_at"),
    sorts={"created_at": QuarantinedRecord.created_at},
    sorted_by="created_at",
    is_down=True,
    filters=(
        Filter(QuarantinedRecord.source_id, _("Source"), _source_options, quick=True),
        Filter(QuarantinedRecord.run_id, _("Run")),
        Filter(QuarantinedRecord.created_at, _("When")),
        Filter(QuarantinedRecord.record_key, _("Key")),
    ),
    searched=_("key"),
    former={"run": "run_id", "source": "source_id"},
)


class QuarantinePage(Page):
    """Records set aside: which, why, and as they came."""

    table = RECORDS

    @expose("/")
    @needs(Permission.QUARANTINE_READ)
    def index(self) -> Response | str:
        if elsewhere := RECORDS.other_address():
            return go_to(elsewhere)
        who = principal_now()
        with db.unit_of_work() as session:
            rows = sa.select(QuarantinedRecord).where(visible(QuarantinedRecord, who))
            shown = RECORDS.shown(session, rows)
            run = shown.state.chosen("run_id").rpartition(":")[2]
            text: str = self.render(
                "pulls/quarantine.html",
                shown=shown,
                reasons=queries.reasons_of(session, who, UUID(run)) if run else (),
            )
        return text

    @expose("/<ident>")
    @needs(Permission.QUARANTINE_READ)
    def show(self, ident: str) -> str:
        with db.unit_of_work() as session:
            record = get_visible(session, QuarantinedRecord, ident, principal_now())
            raw = record.raw.decode("utf-8", "backslashreplace")
            text: str = self.render("pulls/record.html", record=record, raw=raw)
        return text


class ScheduleForm(Form):
    """When a source is pulled."""

    cron = StringField(
        _("Minute, hour, day, month, weekday"),
        [DataRequired(), Length(max=60)],
        default="0 2 * * *",
        render_kw={"list": "crons"},
    )
    enabled = BooleanField(_("On"), default=True)
    missed = SelectField(
        _("Times that were missed"),
        choices=[SelectChoice(each, state_label(each)) for each in MissedPolicy],
        default=MissedPolicy.COALESCE,
    )
    last_day = DateField(_("Last day"), [Optional()])

    def wish(self, zone: str) -> services.ScheduleWish:
        return services.ScheduleWish(
            cron=self.cron.data.strip(),
            time_zone=zone,
            enabled=self.enabled.data,
            missed=MissedPolicy(self.missed.data),
            last_day=self.last_day.data,
        )


def _standing_form(schedule: Schedule | None) -> ScheduleForm:
    form = ScheduleForm(None, obj=schedule)
    if schedule is not None:
        form.last_day.data = last_day(schedule)
    return form


def _desk(source: Source, schedule: Schedule | None, posted: str | None) -> merging.Desk:
    """The schedule that a source does not have yet counts as its version 0."""
    form = _standing_form(schedule)
    return merging.Desk(
        f"schedule of {merging.name_of(source)}",
        schedule.row_version if schedule is not None else 0,
        merging.values_of(form),
        merging.FormFields(form),
        posted,
    )


def _named(choices: Sequence[SelectChoice], value: str) -> str:
    """Return what the source's form calls a setting's value."""
    return str(next((each.label for each in choices if each.value == value), value))


class PullPage(Page):
    """One source at work: run it now, schedule it, see what its pulls brought."""

    @expose("/")
    @needs(Permission.SOURCE_READ)
    def index(self) -> Response:
        return back_to("sources.index")

    @expose("/source/<ident>")
    @needs(Permission.SOURCE_READ)
    def source(self, ident: str) -> str:
        with db.unit_of_work() as session:
            source = get_visible(session, Source, ident, principal_now())
            schedule = services.schedule_of(session, source)
            form, desk = _standing_form(schedule), _desk(source, schedule, None)
            return self._page(session, source, form, desk)

    def _page(
        self, session: Session, source: Source, form: ScheduleForm, desk: merging.Desk
    ) -> str:
        settings = current_app.extensions["simpul_settings"]
        schedule = services.schedule_of(session, source)
        text: str = self.render(
            "pulls/source.html",
            source=source,
            schedule=schedule,
            schedule_form=form,
            desk=desk,
            slots=coming_slots(schedule, db.now(session)) if schedule else (),
            pulls=queries.last_pulls(session, principal_now(), source.id),
            source_run=services.published_run(session, source),
            active=queries.has_active_version(session, source.contract_id),
            replayable=queries.replayable_runs(session, principal_now(), source.id),
            approved=is_approved(source, settings.approved_hosts),
            plain=plain_risk(source, settings.approved_hosts, db.now(session).date()),
            host=approvable(source),
            approvers=approvers(session),
            is_own=principal_now().user_id in source.settled_by_ids,
            seen=seen_of(source),
            auth=_named(AUTH, source.settings.get("auth", "none")),
            paging=_named(PAGING, source.settings.get("paging", "none")),
        )
        return text

    @expose("/source/<ident>/run", methods=("POST",))
    @needs(Permission.SOURCE_RUN)
    def run(self, ident: str) -> Response:
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                run_id = services.request_pull(session, source)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("pulls.source", ident=ident)
        return back_to("runs.show", ident=run_id)

    @expose("/source/<ident>/again", methods=("POST",))
    @needs(Permission.SOURCE_RUN)
    def again(self, ident: str) -> Response:
        """Let a source that rests work again, and pull it at once."""
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.resume_source(session, source)
                run_id = services.request_pull(session, source)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("pulls.source", ident=ident)
        return back_to("runs.show", ident=run_id)

    @expose("/many", methods=("POST",))
    @needs(Permission.SOURCE_WRITE)
    def many(self) -> Response:
        """Let many sources rest, or work again, with one reason."""
        wish, reason = request.form.get("do"), request.form.get("reason", "").strip()
        idents = request.form.getlist("source")[:500]
        try:
            with db.unit_of_work() as session:
                if wish == "pause" and not reason:
                    raise ReasonMissingError
                db.because(session, reason[:500])
                for ident in idents:
                    source = get_visible(session, Source, ident, principal_now())
                    if wish == "pause":
                        why = {"reason": reason[:500], "who": principal_now().label}
                        services.pause_source(session, source, services.RESTS, why)
                    elif wish == "resume":
                        services.resume_source(session, source)
            flash(
                gettext("%(n)s sources were changed.", n=len(idents)),
                "success",
            )
        except RejectedError as error:
            flash_rejected(error)
        return back_to("sources.index")

    @expose("/source/<ident>/replay", methods=("POST",))
    @needs(Permission.SOURCE_RUN)
    def replay(self, ident: str) -> Response:
        """Publish an answer again that is kept: by the rules of today's contract."""
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                run = get_visible(
                    session, JobRun, request.form.get("run", ""), principal_now()
                )
                if str(run.params.get("source_id")) != str(source.id):
                    raise NotFoundError
                run_id = services.request_replay(session, run)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("pulls.source", ident=ident)
        return back_to("runs.show", ident=run_id)

    @expose("/source/<ident>/rollback", methods=("POST",))
    @needs(Permission.DATASET_ROLLBACK)
    def rollback(self, ident: str) -> Response:
        """Bring the source's dataset back to how it stood after a pull."""
        try:
            with db.unit_of_work() as session:
                principal = principal_now()
                source = get_visible(session, Source, ident, principal)
                target = get_visible(
                    session, PullRun, request.form.get("run", ""), principal
                )
                if target.dataset.contract_id != source.contract_id:
                    raise NotFoundError
                reason = request.form.get("reason", "").strip()[:500]
                run_id = services.request_rollback(
                    session, target.dataset, target, reason
                )
        except RejectedError as error:
            flash_rejected(error)
            return back_to("pulls.source", ident=ident)
        return back_to("runs.show", ident=run_id)

    @expose("/source/<ident>/schedule", methods=("POST",))
    @needs(Permission.SCHEDULE_WRITE)
    def schedule(self, ident: str) -> Response:
        while True:
            try:
                return self._scheduled(ident)
            except StaleDataError:  # somebody was faster by a moment: look again
                continue

    def _scheduled(self, ident: str) -> Response:
        with db.unit_of_work() as session:
            source = get_visible(session, Source, ident, principal_now())
            standing = services.locked_schedule(session, source)
            desk = _desk(source, standing, merging.sent())
            form = ScheduleForm(merging.form_data(desk))
            if not form.validate():
                return make_response(self._page(session, source, form, desk))
            if not desk.may_save(merging.values_of(form)):
                form = ScheduleForm(merging.merged_data(desk))
                return make_response(self._page(session, source, form, desk), 409)
            refused = _set_schedule(session, source, form)
            if refused:
                flash(refused, "danger")
                return make_response(self._page(session, source, form, desk))
        flash(gettext("The schedule is saved."), "success")
        return back_to("pulls.source", ident=ident)


def _set_schedule(session: Session, source: Source, form: ScheduleForm) -> str:
    """Save the schedule; return why not, "" when it is saved."""
    zone = current_app.extensions["simpul_settings"].time_zone
    try:
        with session.begin_nested():
            services.set_schedule(session, source, form.wish(zone))
    except BadScheduleError as error:
        return say(error.message, error.params)
    return ""
