"""Base views of the back-office: scoped, guarded, and in words that help.

``ScopedView`` lists and edits one table through Flask-Admin; every row it touches comes
through ``app.core.scope``. ``Page`` is a page of our own in the same frame.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Response, abort, flash, make_response, redirect, request, url_for
from flask_admin import BaseView, expose
from flask_admin.contrib.sqla import ModelView
from flask_admin.helpers import get_redirect_target
from flask_babel import gettext
from sqlalchemy import orm
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug import Response as WerkzeugResponse
from werkzeug.datastructures import MultiDict

from app.core import lists
from app.core.db import because
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.core.search import searched
from app.web import merging
from app.web.extensions import db
from app.web.guard import Policy, Shut, policy_mark, principal_now
from app.web.i18n import say
from app.web.links import is_local
from app.web.listing import ListState, Panel, read_state, where_of_panel
from app.web.paging import tell_lost, turn
from app.web.tables import Narrowed, Table, narrowed


class Page(BaseView):
    """Pages of our own. Each exposed method carries its policy (``guard.needs``)."""

    table: ClassVar[Table | None] = None  # the list on its first page, where it is one

    def policy_of(self, name: str) -> Policy | None:
        return policy_mark(getattr(type(self), name, None))

    def is_accessible(self) -> bool:
        """Tell whether the menu shows it: whether the first page may be seen."""
        policy = self.policy_of("index")
        return not isinstance(policy, Permission) or principal_now().may(policy)

    def _handle_view(self, name: str, **kwargs: Any) -> None:
        """Leave refusing to the guard, which has done so already."""


class ScopedView(ModelView):
    """A list, details and forms over one table, only ever of the rows one may see."""

    read: ClassVar[Permission]
    write: ClassVar[Permission | None] = None
    can_export = False
    can_view_details = True
    can_delete = False
    page_size = 25
    can_set_page_size = False
    list_template = "admin/model/list.html"
    details_template = "admin/model/details.html"
    create_template = "admin/model/create.html"
    edit_template = "admin/model/edit.html"
    form_columns: Sequence[str] = ()
    filters: ClassVar[Sequence[Filter]] = ()  # what a list may be narrowed by
    more_columns: Sequence[str] = ()  # that a list shows when they are chosen
    import_key: Sequence[str] = ()  # by which a file's row is recognised; none: no import
    # Headings of the form and the fields below them; fields that are in none come last.
    form_groups: ClassVar[Sequence[tuple[Any, Sequence[str]]]] = ()
    # Columns that stand in the form under another name.
    form_stands_for: ClassVar[Mapping[str, str]] = {}
    sorted_as: ClassVar[Mapping[str, str]] = {}  # by what else a column is sorted
    narrow_columns: Sequence[str] = ()  # never broken over lines
    wide_details: Sequence[str] = ()  # on a line of their own
    title: ClassVar[str] = ""
    lead: ClassVar[str] = ""

    _WRITES = frozenset({"create_view", "edit_view"})
    # Stock routes that would go round the scope or that nothing here uses: rows go to the
    # trash, and many are changed by app.listings.
    _SHUT = frozenset(
        {"export", "ajax_lookup", "ajax_update", "delete_view", "action_view"}
    )

    def __init__(self, model: Any, **kw: Any) -> None:
        super().__init__(model, db, **kw)

    def policy_of(self, name: str) -> Policy | None:
        if name in self._SHUT or (name in self._WRITES and self.write is None):
            return Shut
        if name in self._WRITES:
            return self.write
        return policy_mark(getattr(type(self), name, None)) or self.read

    @property
    def can_create(self) -> bool:
        return self._may_write() and bool(self.form_columns)

    @property
    def can_edit(self) -> bool:
        return self.can_create

    def _may_write(self) -> bool:
        return self.write is not None and principal_now().may(self.write)

    def is_accessible(self) -> bool:
        return principal_now().may(self.read)

    def _handle_view(self, name: str, **kwargs: Any) -> None:
        """Refuse to lead elsewhere afterwards; the guard has refused all else already."""
        del name, kwargs
        if not is_local(request.values.get("url") or "/"):
            abort(400)

    # Reading -------------------------------------------------------------------------

    def rows(self) -> sa.Select[Any]:
        """Return the query of all rows that one may see."""
        loads = [orm.joinedload(each) for each in self._auto_joins or ()]
        scope = visible(self.model, principal_now())
        return sa.select(self.model).where(scope).options(*loads)

    def narrowed(self, state: ListState) -> Narrowed:
        """Return the rows that a list is narrowed to."""
        return narrowed(self.rows(), self.model, self.filters, state)

    def order(self, state: ListState) -> lists.Order:
        """Return what the list is sorted by: as the address says, or as it is by itself."""
        key = str(sa.inspect(self.model).primary_key[0].key)
        default: Any = self.column_default_sort or key
        name, down = default if isinstance(default, tuple) else (default, False)
        if state.sort:
            name, down = state.sort, state.is_down
        column = getattr(self.model, self.sorts_by(name))
        return lists.Order(column, getattr(self.model, key), down)

    def list_state(self, args: "MultiDict[str, str]") -> ListState:
        """Return the list as an address with these parts shows it."""
        return read_state(
            f"{self.endpoint}.index_view",
            args,
            self.filters,
            {str(name) for name in self._sortable_columns},
            self.all_columns(),
        )

    @expose("/")
    def index_view(self) -> str | WerkzeugResponse:
        """Show one page of the list."""
        state = self.list_state(request.args)
        if "do" in request.args:  # the panel of filters: its address is put in order
            where = where_of_panel(request.args, self.filters)
            return redirect(state.url(where=where))
        order, (query, words) = self.order(state), self.narrowed(state)
        page = lists.read_slice(db.session(), query, order, self.page_size, turn(), words)
        tell_lost(page)
        return self.render(
            self.list_template,
            page=page,
            state=state,
            panel=Panel(self.filters, state),
            columns=self.columns(state),
            all_columns=self.named_columns(self.all_columns()),
            sorted_by=order.column.key,
            is_down=order.down,
            get_pk_value=self.get_pk_value,
            get_value=self.get_list_value,
        )

    def searched_columns(self) -> str:
        """Name the columns whose words a search finds; nothing where there is no search."""
        return ", ".join(str(self.get_column_name(n)) for n in searched(self.model))

    def columns(self, state: ListState) -> list[tuple[str, str]]:
        """Return the columns that the list shows, with their names."""
        return self.named_columns(state.columns or self.usual_columns())

    def usual_columns(self) -> list[str]:
        return [str(name) for name in self.column_list or ()]

    def all_columns(self) -> list[str]:
        return [*self.usual_columns(), *self.more_columns]

    def named_columns(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(name, str(self.get_column_name(name))) for name in names]

    def shown(self, obj: Any, column: str) -> Any:
        """Return what a cell of the list shows."""
        return self._get_list_value(
            None, obj, column, self.column_formatters, self.column_type_formatters
        )

    def sorts_by(self, column: str) -> str:
        """Return the attribute that a column of the list is sorted by."""
        return self.sorted_as.get(column, column)

    def get_one(self, id: Any) -> Any:  # noqa: A002 - Flask-Admin's name
        if isinstance(id, list | tuple):
            raise NotFoundError
        return get_visible(db.session(), self.model, str(id), principal_now())

    # Writing -------------------------------------------------------------------------

    @expose("/edit/", methods=("GET", "POST"))
    def edit_view(self) -> Any:
        """Show the form of a row and save it, so that nobody saves over another's change."""
        while True:
            try:
                model = self.get_one(request.args.get("id", ""))
            except NotFoundError:
                if request.method == "GET":
                    raise
                return self._gone_page()
            desk = merging.desk_of(model, self.standing_form(model))
            if request.method == "GET":
                return self._edit_page(model, self.standing_form(model), desk)
            form = self.edit_form(model, merging.form_data(desk))
            try:
                return self._saved(model, form, desk)
            except StaleDataError:  # somebody was faster by a moment: look again
                db.session.rollback()

    def _saved(self, model: Any, form: Any, desk: merging.Desk) -> Any:
        """Save a form that came back, or show why not."""
        if not form.validate():
            flash(gettext("Failed to save record."), "danger")
            return self._edit_page(model, form, desk)
        if not desk.may_save(merging.values_of(form)):
            merged = self.edit_form(model, merging.merged_data(desk))
            page = self._edit_page(model, merged, desk, merging.kept_passwords(form))
            return make_response(page, 409)
        if not self.update_model(form, model):
            return self._edit_page(model, form, desk)
        flash(gettext("Record was successfully saved."), "success")
        return redirect(self.get_save_return_url(model, is_created=False))

    def _gone_page(self) -> Response:
        """Show what was typed into the form of a row that is not there (any more)."""
        flash(
            gettext(
                "This is not there any more, so nothing was saved. What you typed stands here"
                " for you to copy."
            ),
            "danger",
        )
        form = self.trimmed(self._edit_form_class(request.form))
        return make_response(self._edit_page("–", form, None), 404)

    def standing_form(self, model: Any) -> Any:
        """Return the form as the row stands now, whatever was sent."""
        form = self.trimmed(self._edit_form_class(None, obj=model))
        self.on_form_prefill(form, str(self.get_pk_value(model)))
        return form

    def _edit_page(
        self, model: Any, form: Any, desk: merging.Desk | None, typed: str = ""
    ) -> str:
        return_url = get_redirect_target() or self.get_url(".index_view")
        return self.render(
            self.edit_template,
            model=model,
            form=form,
            desk=desk,
            typed=typed or request.form.get("typed", ""),
            return_url=return_url,
        )

    def create_form(self, obj: Any = None) -> Any:
        if not self.can_create:
            abort(403)
        return self.trimmed(super().create_form(obj))

    def edit_form(self, obj: Any = None, data: Any = None) -> Any:
        if not self.can_edit:
            abort(403)
        return self.trimmed(self._edit_form_class(data, obj=obj))

    def grouped(self, form: Any) -> list[tuple[Any, list[Any]]]:
        """Return the headings of a form, each with its fields; "" where there is none."""
        named = {name for _heading, names in self.form_groups for name in names}
        rest = [each for each in form if each.name not in {*named, "csrf_token"}]
        groups = [
            (heading, [form[name] for name in names if name in form])
            for heading, names in self.form_groups
        ]
        return [each for each in (*groups, ("", rest)) if each[1]]

    def trimmed(self, form: Any) -> Any:
        """Hook of a view: take away the fields that the reader has no choice of."""
        return form

    def form_for(self, former: Any, sent: "MultiDict[str, str] | None" = None) -> Any:
        """Return the form of a new row (None) or of a former one, filled as it was sent."""
        if former is None:
            return self.trimmed(self._create_form_class(sent))
        if sent is None:
            return self.standing_form(former)
        return self.trimmed(self._edit_form_class(sent, obj=former))

    def save(self, model: Any, *, created: bool) -> None:
        """Hook of a view: put the model in order before it is written; may refuse."""

    def on_model_change(self, form: Any, model: Any, is_created: bool) -> None:  # noqa: FBT001 - Flask-Admin's
        del form
        reason = request.form.get("reason", "").strip()
        if reason:
            because(db.session(), reason[:500])
        self.save(model, created=is_created)

    def handle_view_exception(self, exc: Exception) -> bool:
        """Say in words why a form was not saved; never SQL, never parameters."""
        if isinstance(exc, RejectedError):
            flash(say(exc.message, exc.params), "danger")
            return True
        if isinstance(exc, IntegrityError):
            flash_taken()
            return True
        if isinstance(exc, DataError):
            flash(
                gettext("Not saved: a value cannot be stored, for example a NUL."),
                "danger",
            )
            return True
        raise exc


class ReadOnlyView(ScopedView):
    """Records that the system alone writes."""

    write = None


def go_to(address: str) -> Response:
    """Redirect to an address of ours."""
    return make_response(redirect(address))


def back_to(endpoint: str, **values: Any) -> Response:
    """Redirect to one of our own pages."""
    return go_to(url_for(endpoint, **values))


def flash_rejected(error: RejectedError) -> None:
    """Show why something was refused; what is not there (or not theirs) stays a 404."""
    if isinstance(error, NotFoundError):
        raise error
    flash(say(error.message, error.params), "danger")


def flash_taken() -> None:
    """Say that a unique value is taken, or that something is still in use."""
    flash(taken(), "danger")


def taken() -> str:
    return str(
        gettext(
            "Not saved: something with this name, code or e-mail exists already, or it is"
            " still in use elsewhere."
        )
    )
