"""Base views of the back-office: scoped, guarded, and in words that help.

``ScopedView`` lists and edits one table through Flask-Admin; every row it touches comes
through ``app.core.scope``. ``Page`` is a page of our own in the same frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Response, abort, flash, make_response, redirect, request
from flask_admin import BaseView, expose
from flask_admin.contrib.sqla import ModelView
from flask_admin.helpers import get_redirect_target
from flask_babel import gettext
from sqlalchemy import orm
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.core import lists
from app.core.db import because
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.web import merging
from app.web.extensions import db
from app.web.guard import Policy, Shut, policy_mark, principal_now
from app.web.i18n import say
from app.web.paging import tell_lost, turn

MAX_SEARCH = 200


class Page(BaseView):
    """Pages of our own. Each exposed method carries its policy (``guard.needs``)."""

    def policy_of(self, name: str) -> Policy | None:
        return policy_mark(getattr(type(self), name, None))

    def is_accessible(self) -> bool:
        """Tell whether the menu shows it: whether the first page may be seen."""
        policy = self.policy_of("index")
        return not isinstance(policy, Permission) or principal_now().may(policy)

    def _handle_view(self, name: str, **kwargs: Any) -> None:
        """Leave refusing to the guard, which has done so already."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """A choice above a list: one of ``options`` (value, words), or a day without them."""

    name: str
    label: str
    options: Sequence[tuple[str, str]] | None = None


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
    # Columns that stand in the form under another name.
    form_stands_for: ClassVar[Mapping[str, str]] = {}
    named_filters: ClassVar[Mapping[str, Any]] = {}
    sorted_as: ClassVar[Mapping[str, str]] = {}  # by what else a column is sorted
    narrow_columns: Sequence[str] = ()  # never broken over lines
    wide_details: Sequence[str] = ()  # on a line of their own
    title: ClassVar[str] = ""
    lead: ClassVar[str] = ""

    _WRITES = frozenset({"create_view", "edit_view", "delete_view", "action_view"})
    # Stock routes that would go round the scope or that nothing here uses.
    _SHUT = frozenset({"export", "ajax_lookup", "ajax_update"})

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
        """Leave refusing to the guard, which has done so already."""

    # Reading -------------------------------------------------------------------------

    def conditions(self) -> list[Any]:
        """Return what a row must fulfil to be on the list: scope, then named filters."""
        wanted: list[Any] = [visible(self.model, principal_now())]
        for name, choices in self.named_filters.items():
            value = request.args.get(name)
            if value in {str(choice) for choice in choices}:
                wanted.append(getattr(self.model, name) == value)
        return wanted

    def rows(self) -> sa.Select[Any]:
        """Return the query of the list's rows, as the request narrows them."""
        wanted = [*self.conditions(), *self._searched(self.searched_for())]
        loads = [orm.joinedload(each) for each in self._auto_joins or ()]
        return sa.select(self.model).where(*wanted).options(*loads)

    def searched_for(self) -> str:
        return request.args.get("search", "").replace("\0", "")[:MAX_SEARCH].strip()

    def _searched(self, text: str) -> list[sa.ColumnElement[bool]]:
        """Return the conditions that each word stands in one of the searched columns."""
        if not self.column_searchable_list:
            return []
        columns = [
            sa.cast(getattr(self.model, name), sa.Text)
            for name in self.column_searchable_list
        ]
        return [
            sa.or_(*(each.icontains(word, autoescape=True) for each in columns))
            for word in text.split()
        ]

    def order(self) -> lists.Order:
        """Return what the list is sorted by: as the request says, or as it is by itself."""
        key = str(sa.inspect(self.model).primary_key[0].key)
        default: Any = self.column_default_sort or key
        name, down = default if isinstance(default, tuple) else (default, False)
        asked = request.args.get("sort", "")
        if asked and self.is_sortable(asked):
            name, down = asked, request.args.get("desc") == "1"
        column = getattr(self.model, self.sorts_by(name))
        return lists.Order(column, getattr(self.model, key), down)

    @expose("/")
    def index_view(self) -> str:
        """Show one page of the list."""
        session, order, query = db.session(), self.order(), self.rows()
        page = lists.read_slice(session, query, order, self.page_size, turn())
        tell_lost(page)
        return self.render(
            self.list_template,
            data=page.rows,
            page=page,
            total=lists.count(session, query),
            list_columns=self._list_columns,
            sorted_by=order.column.key,
            is_down=order.down,
            search=self.searched_for(),
            state=self.state(),
            get_pk_value=self.get_pk_value,
            get_value=self.get_list_value,
        )

    def sorts_by(self, column: str) -> str:
        """Return the attribute that a column of the list is sorted by."""
        return self.sorted_as.get(column, column)

    def list_url(self, state: Mapping[str, str], **more: str) -> str:
        """Return the address of a list in some state; what is empty is left out."""
        named = {name: value for name, value in {**state, **more}.items() if value}
        url: str = self.get_url(".index_view", **named)
        return url

    def state(self) -> dict[str, str]:
        """Return what of the list the address holds, but for the place in it."""
        names = (
            "search", "sort", "desc", *self.named_filters, *(f.name for f in self.list_filters()),
        )  # fmt: skip
        return {name: value for name in names if (value := request.args.get(name))}

    def get_one(self, id: Any) -> Any:  # noqa: A002 - Flask-Admin's name
        if isinstance(id, list | tuple):
            raise NotFoundError
        return get_visible(db.session(), self.model, str(id), principal_now())

    def list_filters(self) -> Sequence[ListFilter]:
        """Return choices beside the named ones; ``conditions`` of the view answers them."""
        return ()

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.list_template:
            kwargs["list_filters"] = self.list_filters()
        text: str = super().render(template, **kwargs)
        return text

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
        form = self._edit_form_class(request.form)
        return make_response(self._edit_page("–", form, None), 404)

    def standing_form(self, model: Any) -> Any:
        """Return the form as the row stands now, whatever was sent."""
        form = self._edit_form_class(None, obj=model)
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
        return super().create_form(obj)

    def edit_form(self, obj: Any = None, data: Any = None) -> Any:
        if not self.can_edit:
            abort(403)
        return self._edit_form_class(data, obj=obj)

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


def back_to(endpoint: str, **values: Any) -> Response:
    """Redirect to one of our own pages."""
    from flask import url_for

    answer = redirect(url_for(endpoint, **values))
    if not isinstance(answer, Response):
        raise TypeError("a redirect is a Flask response")
    return answer


def flash_rejected(error: RejectedError) -> None:
    """Show why something was refused; what is not there (or not theirs) stays a 404."""
    if isinstance(error, NotFoundError):
        raise error
    flash(say(error.message, error.params), "danger")


def flash_taken() -> None:
    """Say that a unique value is taken, or that something is still in use."""
    flash(
        gettext(
            "Not saved: something with this name, code or e-mail exists already, or it is"
            " still in use elsewhere."
        ),
        "danger",
    )
