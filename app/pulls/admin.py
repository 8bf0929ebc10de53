"""Pages of pulls: sources at work, and the records that broke their contract."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from flask import Response, current_app, flash, request
from flask_admin import expose
from flask_babel import gettext
from wtforms import SelectChoice

from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.core.search import typed
from app.pulls import queries, services
from app.pulls.models import PullRun, QuarantinedRecord
from app.runs.errors import BadScheduleError, ReasonMissingError
from app.runs.models import JobRun
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
from app.web.guard import needs, principal_now
from app.web.paging import tell_lost, turn
from app.web.views import Page, back_to, flash_rejected


class QuarantinePage(Page):
    """Records set aside: which, why, and as they came."""

    @expose("/")
    @needs(Permission.QUARANTINE_READ)
    def index(self) -> str:
        principal = principal_now()
        run_id, source_id = _uuid("run"), _uuid("source")
        search = typed(request.args.get("search", ""))
        with db.unit_of_work() as session:
            page = queries.quarantine_page(
                session,
                principal,
                run_id=run_id,
                source_id=source_id,
                search=search,
                turn=turn(),
            )
            tell_lost(page)
            text: str = self.render(
                "pulls/quarantine.html",
                records=page.rows,
                page=page,
                search=search,
                run_id=run_id,
                source_id=source_id,
                sources=queries.sources_seen(session, principal),
                reasons=queries.reasons_of(session, principal, run_id) if run_id else (),
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


def _uuid(name: str) -> UUID | None:
    """Return a key out of the address; what is none narrows to nothing that exists."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


def _schedule_wish(zone: str) -> services.ScheduleWish:
    """Return the schedule as the form has it; raises ``BadScheduleError`` for no day."""
    last = request.form.get("last_day", "").strip()
    missed = request.form.get("missed", "")
    try:
        last_day = date.fromisoformat(last) if last else None
    except ValueError:
        raise BadScheduleError("The last day cannot be read.") from None
    return services.ScheduleWish(
        cron=request.form.get("cron", "").strip()[:60],
        time_zone=zone,
        enabled=request.form.get("enabled") == "1",
        missed=MissedPolicy(missed)
        if missed in set(MissedPolicy)
        else MissedPolicy.COALESCE,
        last_day=last_day,
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
        settings = current_app.extensions["simpul_settings"]
        with db.unit_of_work() as session:
            source = get_visible(session, Source, ident, principal_now())
            schedule = services.schedule_of(session, source)
            text: str = self.render(
                "pulls/source.html",
                source=source,
                schedule=schedule,
                slots=coming_slots(schedule, db.now(session)) if schedule else (),
                last_day=last_day(schedule) if schedule else None,
                policies=list(MissedPolicy),
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
        zone = current_app.extensions["simpul_settings"].time_zone
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.set_schedule(session, source, _schedule_wish(zone))
            flash(gettext("The schedule is saved."), "success")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("pulls.source", ident=ident)
