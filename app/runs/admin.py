"""Pages of the ledger: runs with their live log, and schedules."""

from typing import Any, ClassVar
from urllib.parse import parse_qsl

import sqlalchemy as sa
from flask import Response, flash, make_response, render_template, request
from flask_admin import expose
from flask_babel import gettext
from werkzeug.datastructures import MultiDict
from wtforms import DateField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length, Optional

from app.audit import sealer
from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import get_visible, visible
from app.identity.forms import agency_options
from app.runs import queries, services
from app.runs.advice import ADVICE
from app.runs.kinds import KINDS
from app.runs.ledger import was_called_off
from app.runs.models import JobRun, Schedule
from app.runs.states import ACTIVE, RETRYABLE, MissedPolicy, RunStatus
from app.web.context import state_label, state_name
from app.web.extensions import db as flask_db
from app.web.format import moment, number
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext, say
from app.web.listing import ListState, named, yes_or_no
from app.web.tables import PAGE_SIZE, Table
from app.web.views import Page, ScopedView, back_to, flash_rejected, go_to


def _kind_options() -> Options:
    return [(name, say(kind.label)) for name, kind in KINDS.items()]


MAX_QUERY = 8_000


RUNS = Table(
    endpoint="runs.index",
    model=JobRun,
    columns={
        "status": lazy_gettext("Status"),
        "label": lazy_gettext("Work"),
        "kind": lazy_gettext("Kind"),
        "created_at": lazy_gettext("Requested"),
        "requested_by": lazy_gettext("By"),
        "duration": lazy_gettext("Duration"),
        "finished_at": lazy_gettext("Ended"),
        "attempt": lazy_gettext("Attempts"),
    },
    usual=("status", "label", "kind", "created_at", "requested_by", "duration"),
    sorts={"created_at": JobRun.created_at},
    sorted_by="created_at",
    is_down=True,
    filters=(
        Filter(JobRun.kind, lazy_gettext("Kind"), _kind_options, quick=True),
        Filter(JobRun.status, lazy_gettext("Status"), named(*RunStatus), quick=True),
        Filter(JobRun.agency_id, lazy_gettext("Agency"), agency_options),
        Filter(JobRun.label, lazy_gettext("Work")),
        Filter(JobRun.requested_by, lazy_gettext("By")),
        Filter(JobRun.created_at, lazy_gettext("Requested")),
        Filter(JobRun.finished_at, lazy_gettext("Ended")),
        Filter(JobRun.attempt, lazy_gettext("Attempts")),
    ),
    searched=lazy_gettext("name of the work"),
    former={"kind": "kind", "status": "status"},
)


class RunPage(Page):
    """The list of runs, and one run with progress and log that update by themselves."""

    table = RUNS

    @expose("/")
    @needs(Permission.RUN_READ)
    def index(self) -> Response | str:
        if elsewhere := RUNS.other_address():
            return go_to(elsewhere)
        who = principal_now()
        with db.unit_of_work() as session:
            rows = sa.select(JobRun).where(visible(JobRun, who))
            shown = RUNS.shown(session, rows)
            open_again = 0
            if _may_all_be_retried(shown.state) and shown.page.total.rows > PAGE_SIZE:
                wanted = RUNS.narrowed(rows, shown.state).whole()
                open_again = queries.open_again_count(session, wanted)
            text: str = self.render(
                "runs/list.html",
                shown=shown,
                kinds=KINDS,
                retryable=RETRYABLE,
                open_again=open_again,
                retry_limit=services.RETRY_LIMIT,
                pace_of=lambda run: queries.pace_of(run, db.now(session)),
            )
        return text

    @expose("/<ident>")
    @needs(Permission.RUN_READ)
    def show(self, ident: str) -> str:
        with db.unit_of_work() as session:
            run = get_visible(session, JobRun, ident, principal_now())
            text: str = self.render("runs/show.html", run=run, **_parts(session, run))
        return text

    @expose("/<ident>/part")
    @needs(Permission.RUN_READ)
    def part(self, ident: str) -> Response:
        """Answer the moving part of the run page; ``X-Settled`` tells when to stop asking."""
        with db.unit_of_work() as session:
            run = get_visible(session, JobRun, ident, principal_now())
            answer = make_response(
                render_template("runs/part.html", run=run, **_parts(session, run))
            )
            answer.headers["X-Settled"] = "0" if run.status in ACTIVE else "1"
        return answer

    @expose("/<ident>/retry", methods=("POST",))
    @needs(Permission.RUN_RETRY)
    def retry(self, ident: str) -> Response:
        try:
            with db.unit_of_work() as session:
                run = get_visible(session, JobRun, ident, principal_now())
                new_id = services.retry(session, run)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("runs.show", ident=ident)
        return back_to("runs.show", ident=new_id)

    @expose("/retry", methods=("POST",))
    @needs(Permission.RUN_RETRY)
    def retry_many(self) -> Response:
        """Try the chosen runs again, each for itself: one that cannot keeps none back."""
        begun, refused = 0, ""
        for ident in dict.fromkeys(request.form.getlist("run")[:PAGE_SIZE]):
            try:
                with db.unit_of_work() as session:
                    run = get_visible(session, JobRun, ident, principal_now())
                    services.retry(session, run)
                begun += 1
            except RejectedError as error:
                refused = say(error.message, error.params)
        flash(
            gettext("Tried again: %(n)s runs.", n=begun), "success" if begun else "info"
        )
        if refused:
            flash(gettext("Some were not: %(why)s", why=refused), "warning")
        return go_to(_list_of_form().url())

    @expose("/retry-all", methods=("POST",))
    @needs(Permission.RUN_RETRY)
    def retry_all(self) -> Response:
        """Try everything again that the list is narrowed to, however many pages it has."""
        state, who = _list_of_form(), principal_now()
        begun = refused = left = 0
        if _may_all_be_retried(state):  # never all there is, by a form without its filter
            rows = sa.select(JobRun).where(visible(JobRun, who))
            wanted = RUNS.narrowed(rows, state).whole()
            with db.unit_of_work() as session:
                begun, refused = services.retry_all(session, wanted)
            with db.unit_of_work() as session:
                left = queries.open_again_count(session, wanted) - refused
        flash(
            gettext("Tried again: %(n)s runs.", n=number(begun)),
            "success" if begun else "info",
        )
        if refused:
            flash(
                gettext("%(n)s runs could not be tried again.", n=number(refused)),
                "warning",
            )
        if left > 0:
            flash(gettext("%(n)s more can be tried again.", n=number(left)), "info")
        return go_to(state.url())

    @expose("/<ident>/cancel", methods=("POST",))
    @needs(Permission.RUN_CANCEL)
    def cancel(self, ident: str) -> Response:
        """Call a run off; its page shows how it ends."""
        try:
            with db.unit_of_work() as session:
                run = get_visible(session, JobRun, ident, principal_now())
                services.cancel(session, run)
        except RejectedError as error:
            flash_rejected(error)
        return back_to("runs.show", ident=ident)

    @expose("/<ident>/accept", methods=("POST",))
    @needs(Permission.QUARANTINE_RELEASE)
    def accept(self, ident: str) -> Response:
        """Run a held pull again and let the fault that held it pass this once."""
        try:
            with db.unit_of_work() as session:
                run = get_visible(session, JobRun, ident, principal_now())
                reason = request.form.get("reason", "").strip()[:500]
                new_id = services.accept_held(session, run, reason)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("runs.show", ident=ident)
        return back_to("runs.show", ident=new_id)


def _list_of_form() -> ListState:
    """Return the list that a form was sent from."""
    return RUNS.state(MultiDict(parse_qsl(request.form.get("query", "")[:MAX_QUERY])))


def _may_all_be_retried(state: ListState) -> bool:
    """Tell whether a list is narrowed to one status that may be tried again."""
    status = state.chosen("status").rpartition(":")[2]
    return state.is_plain and status in RETRYABLE


def _parts(session: Any, run: JobRun) -> dict[str, Any]:
    return {
        "log": queries.log_of(session, run.id),
        "pace": queries.pace_of(run, db.now(session)),
        "active": run.status in ACTIVE,
        "called_off": run.status in ACTIVE and was_called_off(session, run.id),
        "retryable": run.status in RETRYABLE,
        "held": run.status is RunStatus.HELD and not queries.is_superseded(session, run),
        "kind": KINDS.get(run.kind),
        "advice": ADVICE.get(run.error_code, "") if run.status in RETRYABLE else "",
    }


def _kind_name(kind: str) -> str:
    """Name a kind of work; one that this version does not know keeps its own word."""
    return say(KINDS[kind].label) if kind in KINDS else kind


class LedgerPage(Page):
    """Queues, workers, leases and lag at one look."""

    @expose("/")
    @needs(Permission.LEDGER_READ)
    def index(self) -> str:
        with db.unit_of_work() as session:
            state = queries.ledger_state(session, db.now(session))
            text: str = self.render(
                "runs/ledger.html",
                state=state,
                kinds=KINDS,
                seal=sealer.last_seal(session),
                seal_is_late=sealer.is_late(session),
            )
        return text


def _kinds() -> Options:
    return [(kind, _kind_name(kind)) for kind in KINDS]


class ScheduleView(ScopedView):
    """When work is due. A schedule of a source is made on the source's page."""

    read = Permission.SCHEDULE_READ
    write = Permission.SCHEDULE_WRITE
    lead = lazy_gettext(
        "Pulls and other work that start by themselves, on the office's clock."
    )
    column_list = ("name", "cron", "next_due_at", "enabled")
    column_default_sort = "next_due_at"
    column_sortable_list = ("name", "next_due_at")
    sorted_as: ClassVar = {"next_due_at": "comes_at"}
    narrow_columns = ("cron", "next_due_at")
    filters: ClassVar = (
        Filter(Schedule.enabled, lazy_gettext("On"), yes_or_no, quick=True),
        Filter(Schedule.kind, lazy_gettext("Kind"), _kinds, quick=True),
        Filter(Schedule.next_due_at, lazy_gettext("Next due")),
        Filter(Schedule.name, lazy_gettext("Name")),
        Filter(Schedule.cron, lazy_gettext("Schedule (cron)")),
    )
    more_columns = ("kind", "missed", "until")
    column_details_list = (
        "name",
        "kind",
        "cron",
        "time_zone",
        "enabled",
        "next_due_at",
        "slots",
        "missed",
        "until",
    )
    column_labels: ClassVar = {
        "name": lazy_gettext("Name"),
        "kind": lazy_gettext("Kind"),
        "cron": lazy_gettext("Schedule (cron)"),
        "time_zone": lazy_gettext("Time zone"),
        "enabled": lazy_gettext("On"),
        "next_due_at": lazy_gettext("Next due"),
        "slots": lazy_gettext("Next five times"),
        "missed": lazy_gettext("Times that were missed"),
        "until": lazy_gettext("Last day"),
    }
    column_formatters: ClassVar = {
        "next_due_at": lambda _v, _c, m, _n: moment(m.next_due_at) if m.enabled else "–",
        "enabled": lambda _v, _c, m, _n: gettext("yes") if m.enabled else gettext("no"),
        "kind": lambda _v, _c, m, _n: _kind_name(m.kind),
        "slots": lambda _v, _c, m, _n: ", ".join(
            moment(slot, "EEEE d MMM HH.mm")
            for slot in services.coming_slots(m, db.now(flask_db.session()))
        ),
        "missed": lambda _v, _c, m, _n: state_name(m.missed),
        "until": lambda _v, _c, m, _n: moment(m.until, "d MMM yyyy") if m.until else "–",
    }
    form_columns = ("name", "cron", "enabled", "missed", "last_day")
    form_stands_for: ClassVar = {"until": "last_day"}
    form_extra_fields: ClassVar = {
        "missed": SelectField(
            lazy_gettext("Times that were missed"),
            choices=[SelectChoice(each, state_label(each)) for each in MissedPolicy],
            description=lazy_gettext("When the server was off at the time, for example."),
        ),
        "last_day": DateField(
            lazy_gettext("Last day"),
            [Optional()],
            description=lazy_gettext("Empty: it goes on until somebody stops it."),
        ),
    }
    form_overrides: ClassVar = dict.fromkeys(("name", "cron"), StringField)
    form_args: ClassVar = {
        "name": {"validators": [DataRequired(), Length(max=120)]},
        "cron": {
            "validators": [DataRequired(), Length(max=60)],
            "description": lazy_gettext(
                "Minute, hour, day, month, weekday. 0 2 * * * is every night at two."
            ),
        },
    }

    @property
    def can_create(self) -> bool:
        return False

    @property
    def can_edit(self) -> bool:
        return self._may_write()

    def on_form_prefill(self, form: Any, id: str) -> None:  # noqa: A002 - Flask-Admin's
        schedule = self.get_one(id)
        form.missed.data = schedule.missed
        form.last_day.data = services.last_day(schedule)

    def on_model_change(self, form: Any, model: Schedule, is_created: bool) -> None:  # noqa: FBT001 - theirs
        services.set_days(model, MissedPolicy(form.missed.data), form.last_day.data)
        super().on_model_change(form, model, is_created)

    def save(self, model: Schedule, *, created: bool) -> None:
        del created
        services.save_schedule(flask_db.session(), model)
