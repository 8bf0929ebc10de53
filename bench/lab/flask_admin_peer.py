"""Stock Flask-Admin as it is measured: the people's table of ours, all its defaults.

It reads as a superuser: it pays neither for roles nor for row-level security.
"""

import os

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined,misc]
    """The columns that its list and its form show."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(db.Uuid, primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    job_title: Mapped[str]
    active: Mapped[bool]
    last_login_at: Mapped[str] = mapped_column(db.DateTime(timezone=True), nullable=True)


class People(ModelView):
    """Sorted, searched and filtered by the columns that ours is."""

    column_list = ("name", "email", "job_title", "active", "last_login_at")
    column_default_sort = "name"
    column_searchable_list = ("name", "email", "job_title")
    column_filters = ("active",)
    named_filter_urls = True
    page_size = 25


def make() -> Flask:
    """Return the application for the database of ``PEER_DATABASE_URL``."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "bench"
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["PEER_DATABASE_URL"]
    db.init_app(app)
    admin = Admin(app, url="/admin")
    admin.add_view(People(User, db, endpoint="people", url="/people"))
    return app
