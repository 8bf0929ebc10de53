"""Pages of the ledger: runs with their live log, and schedules."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from flask import Response, flash, make_response, render_template, request
from flask_admin import expose
from flask_babel import gettext
from wtforms import DateField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length, Optional

from app.audit import sealer
from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import get_visible
from app.core.search import typed
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
from app.web.listing import yes_or_no
from app.web.paging import tell_lost, turn
from app.web.views import Page, ScopedView, back_to, flash_rejected


class RunPage(Page):
    """The list of runs, and one run with progress and log that update by themselves."""

    @expose("/")
    @needs(Permission.RUN_READ)
    def index(self) -> str:
        who, chosen = principal_now(), _filter(request.args)
        with db.unit_of_work() as session:
            page = queries.runs_page(session, who, chosen, turn())
            tell_lost(page)
            more = chosen.status in RETRYABLE and page.total.rows > queries.PAGE_SIZE
            text: str = self.render(
                "runs/list.html",
                runs=page.rows,
                page=page,
                chosen=chosen,
                kinds=KINDS,
                statuses=list(RunStatus),
                retryable=RETRYABLE,
                open_again=queries.open_again_count(session, who, chosen) if more else 0,
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
        for ident in dict.fromkeys(request.form.getlist("run")[: queries.PAGE_SIZE]):
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
        return back_to("runs.index", status=_status(request.form.get("status", "")))

    @expose("/retry-all", methods=("POST",))
    @needs(Permission.RUN_RETRY)
    def retry_all(self) -> Response:
        """Try everything again that the list is narrowed to, however many pages it has."""
        chosen, who = _filter(request.form), principal_now()
        begun = refused = left = 0
        if chosen.status in RETRYABLE:  # never all there is, by a form without its filter
            with db.unit_of_work() as session:
                begun, refused = services.retry_all(session, who, chosen)
            with db.unit_of_work() as session:
                left = queries.open_again_count(session, who, chosen) - refused
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
        return back_to("runs.index", **asdict(chosen))

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


def _filter(given: Mapping[str, str]) -> queries.RunFilter:
    kind = given.get("kind", "")
    return queries.RunFilter(
        kind=kind if kind in KINDS else "",
        status=_status(given.get("status", "")),
        search=typed(given.get("search", "")),
    )


def _status(text: str) -> str:
    return text if text in set(RunStatus) else ""


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
