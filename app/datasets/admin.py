"""Pages of datasets: rows with search and paging, the dictionary, one row's history."""

from flask import request
from flask_admin import expose
from sqlalchemy.exc import DataError

from app.core import db
from app.core.policy import Permission
from app.core.scope import NotFoundError
from app.datasets import queries
from app.web.guard import needs, principal_now
from app.web.views import Page

MAX_SEARCH = 200


class DatasetPage(Page):
    """Central tables, to look at."""

    @expose("/")
    @needs(Permission.DATASET_READ)
    def index(self) -> str:
        with db.unit_of_work() as session:
            text: str = self.render(
                "datasets/list.html",
                datasets=queries.datasets_seen(session, principal_now()),
            )
        return text

    @expose("/<slug>")
    @needs(Permission.DATASET_READ)
    def show(self, slug: str) -> str:
        search = request.args.get("search", "").replace("\0", "").strip()[:MAX_SEARCH]
        with db.unit_of_work() as session:
            dataset = queries.dataset_by_slug(session, slug, principal_now())
            fields = dataset.version.specs()
            try:
                page = queries.rows_page(
                    session,
                    dataset,
                    fields,
                    search=search,
                    before=request.args.get("before", ""),
                    after=request.args.get("after", ""),
                )
            except DataError:
                raise NotFoundError from None  # a token somebody wrote by hand
            text: str = self.render(
                "datasets/show.html",
                dataset=dataset,
                fields=fields,
                page=page,
                search=search,
                token_of=lambda row: queries.token_of(row, fields),
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
                fields=dataset.version.specs(),
            )
        return text

    @expose("/<slug>/rows/<token>")
    @needs(Permission.DATASET_READ)
    def row(self, slug: str, token: str) -> str:
        with db.unit_of_work() as session:
            dataset = queries.dataset_by_slug(session, slug, principal_now())
            fields = dataset.version.specs()
            try:
                row, former = queries.history_of(session, dataset, fields, token)
            except DataError:
                raise NotFoundError from None
            text: str = self.render(
                "datasets/row.html",
                dataset=dataset,
                fields=fields,
                row=row,
                former=former,
            )
        return text
