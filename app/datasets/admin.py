"""Pages of datasets: rows with search and paging, the dictionary, one row's history."""

from dataclasses import replace

import sqlalchemy as sa
from flask import Response, flash, request
from flask_admin import expose
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.contracts.models import ContractVersion
from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.datasets import activation, queries
from app.datasets.activation import PlanRefusedError
from app.datasets.models import Dataset
from app.datasets.reading import Reading
from app.identity.forms import agency_options
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _, say
from app.web.tables import Table
from app.web.views import Page, back_to, flash_rejected, go_to

MAX_SEARCH = 200


DATASETS = Table(
    endpoint="datasets.index",
    model=Dataset,
    columns={
        "title": _("Dataset"),
        "agency_id": _("Agency"),
        "kind": _("Kind"),
        "row_count": _("Rows"),
        "published_at": _("Data as of"),
        "slug": _("Name in the system"),
    },
    usual=("title", "agency_id", "kind", "row_count", "published_at"),
    sorts={
        "title": Dataset.title, "row_count": Dataset.row_count,
        "published_at": Dataset.published_at, "slug": Dataset.slug,
    },
    sorted_by="title",
    is_down=False,
    filters=(
        Filter(Dataset.agency_id, _("Agency"), agency_options, quick=True),
        Filter(Dataset.title, _("Title")),
        Filter(Dataset.row_count, _("Rows")),
        Filter(Dataset.published_at, _("Data as of")),
    ),
    searched=_("title, short name"),
    former={},
)  # fmt: skip


# How many rows another agency has is not told to who may read some of them.
FOR_AGENCIES = replace(
    DATASETS,
    sorts={name: by for name, by in DATASETS.sorts.items() if name != "row_count"},
    filters=tuple(each for each in DATASETS.filters if each.name != "row_count"),
)


class DatasetPage(Page):
    """Central tables, to look at."""

    table = DATASETS

    @expose("/")
    @needs(Permission.DATASET_READ)
    def index(self) -> Response | str:
        if elsewhere := DATASETS.other_address():
            return go_to(elsewhere)
        principal = principal_now()
        table = DATASETS if principal.agency_id is None else FOR_AGENCIES
        with db.unit_of_work() as session:
            rows = sa.select(Dataset).where(visible(Dataset, principal))
            shown = table.shown(session, rows)
            text: str = self.render(
                "datasets/list.html", shown=shown, reader=principal.agency_id
            )
        return text

    @expose("/<slug>")
    @needs(Permission.DATASET_READ)
    def show(self, slug: str) -> str:
        search = request.args.get("search", "").replace("\0", "").strip()[:MAX_SEARCH]
        with db.unit_of_work() as session:
            dataset = queries.dataset_by_slug(session, slug, principal_now())
            reading = _reading(session, dataset)
            try:
                page = queries.rows_page(
                    session,
                    dataset,
                    reading,
                    search=search,
                    before=request.args.get("before", ""),
                    after=request.args.get("after", ""),
                )
            except DataError:
                raise NotFoundError from None  # a token somebody wrote by hand
            text: str = self.render(
                "datasets/show.html",
                dataset=dataset,
                reading=reading,
                row_count=queries.row_count(session, dataset, reading),
                page=page,
                search=search,
                token_of=lambda row: queries.token_of(row, reading),
            )
        return text

    @expose("/<slug>/dictionary")
    @needs(Permission.DATASET_READ)
    def dictionary(self, slug: str) -> str:
        with db.unit_of_work() as session:
            dataset = queries.dataset_by_slug(session, slug, principal_now())
            text: str = self.render(
                "datasets/dictionary.html",
                dataset=dataset,
                fields=_reading(session, dataset).fields,
            )
        return text

    @expose("/<slug>/rows/<token>")
    @needs(Permission.DATASET_READ)
    def row(self, slug: str, token: str) -> str:
        with db.unit_of_work() as session:
            dataset = queries.dataset_by_slug(session, slug, principal_now())
            reading = _reading(session, dataset)
            try:
                row = queries.row_of(session, dataset, reading, token)
                former = queries.history_of(session, dataset, reading, token)
            except DataError:
                raise NotFoundError from None
            text: str = self.render(
                "datasets/row.html",
                dataset=dataset,
                reading=reading,
                row=row,
                former=former,
            )
        return text


def _reading(session: Session, dataset: Dataset) -> Reading:
    return queries.reading_of(session, dataset, principal_now().agency_id)


class ActivationPage(Page):
    """The plan of a draft's activation, shown before it is applied."""

    @expose("/")
    @needs(Permission.CONTRACT_ACTIVATE)
    def index(self) -> Response:
        return back_to("contracts.index")

    @expose("/<ident>")
    @needs(Permission.CONTRACT_ACTIVATE)
    def plan(self, ident: str) -> Response | str:
        try:
            with db.unit_of_work() as session:
                version = get_visible(session, ContractVersion, ident, principal_now())
                text: str = self.render(
                    "contracts/plan.html",
                    version=version,
                    plan=activation.plan_for(session, version),
                )
        except RejectedError as error:
            flash_rejected(error)
            return back_to("contracts.version", ident=ident)
        return text

    @expose("/<ident>", methods=("POST",))
    @needs(Permission.CONTRACT_ACTIVATE)
    def activate(self, ident: str) -> Response:
        try:
            with db.unit_of_work() as session:
                version = get_visible(session, ContractVersion, ident, principal_now())
                digest = request.form.get("digest", "")
                run_id = activation.request_activation(session, version, digest)
        except (RejectedError, PlanRefusedError) as error:
            if isinstance(error, NotFoundError):
                raise
            flash(say(error.message, error.params), "danger")
            return back_to("activation.plan", ident=ident)
        return back_to("runs.show", ident=run_id)
