"""Base views of the back-office: scoped, guarded, and in words that help.

``ScopedView`` lists and edits one table through Flask-Admin; every row it touches comes
through ``app.core.scope``. ``Page`` is a page of our own in the same frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Response, abort, flash, redirect, request
from flask_admin import BaseView
from flask_admin.contrib.sqla import ModelView
from flask_babel import gettext
from sqlalchemy.exc import DataError, IntegrityError

from app.core.db import because
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.web.extensions import db
from app.web.guard import Policy, Shut, policy_mark, principal_now
from app.web.i18n import say

MAX_PAGE = 100_000
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
    named_filters: ClassVar[Mapping[str, Any]] = {}
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

    def get_query(self) -> Any:
        return db.session.query(self.model).filter(*self.conditions())

    def get_count_query(self) -> Any:
        return (
            db.session.query(sa.func.count())
            .select_from(self.model)
            .filter(*self.conditions())
        )

    def get_one(self, id: Any) -> Any:  # noqa: A002 - Flask-Admin's name
        if isinstance(id, list | tuple):
            raise NotFoundError
        return get_visible(db.session(), self.model, str(id), principal_now())

    def _get_list_extra_args(self) -> Any:
        """Return the arguments of a list with what no list can answer taken out."""
        args = super()._get_list_extra_args()
        args.page = min(max(args.page or 0, 0), MAX_PAGE)
        args.search = (args.search or "").replace("\0", "")[:MAX_SEARCH] or None
        args.extra_args = {
            name: value
            for name in (*self.named_filters, *(f.name for f in self.list_filters()))
            if (value := request.args.get(name))
        }
        return args

    def list_filters(self) -> Sequence[ListFilter]:
        """Return choices beside the named ones; ``conditions`` of the view answers them."""
        return ()

    def _apply_sorting(self, query: Any, joins: Any, column: Any, desc: Any) -> Any:
        """Sort as asked, and by the key after that, so that rows never jump pages."""
        query, joins = super()._apply_sorting(query, joins, column, desc)
        return query.order_by(sa.inspect(self.model).primary_key[0].desc()), joins

    def render(self, template: str, **kwargs: Any) -> str:
        kwargs.setdefault("filter_choices", self.named_filters)
        if template == self.list_template:
            kwargs["list_filters"] = self.list_filters()
        if kwargs.get("count") is not None and kwargs.get("page_size"):
            kwargs["num_pages"] = ceil(kwargs["count"] / kwargs["page_size"])
        text: str = super().render(template, **kwargs)
        return text

    # Writing -------------------------------------------------------------------------

    def create_form(self, obj: Any = None) -> Any:
        if not self.can_create:
            abort(403)
        return super().create_form(obj)

    def edit_form(self, obj: Any = None) -> Any:
        if not self.can_edit:
            abort(403)
        return super().edit_form(obj)

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
