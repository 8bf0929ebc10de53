"""A web application on the test's database, and people of every role in two agencies."""

import re
from dataclasses import dataclass
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.core import db
from app.core.policy import acting_as
from app.datasets.models import Dataset
from app.exports.models import ExportRun
from app.exports.services import export as export_file, request_export
from app.factory import create_app
from app.identity.models import User
from app.identity.passwords import hash_of
from app.identity.principals import principal_of
from app.pulls.models import QuarantinedRecord
from app.pulls.pulling import pull
from app.pulls.services import ScheduleWish, set_schedule
from app.web.extensions import limiter
from tests import fakes, make

PASSWORD = "kata-sandi-uji-12"


@pytest.fixture(scope="session")
def app(settings) -> Flask:
    made = create_app(settings)
    made.config["WTF_CSRF_ENABLED"] = False  # test_csrf switches it on
    return made


@pytest.fixture(scope="session")
def people(app) -> dict[str, str]:
    """An address for each role of the office; the password is PASSWORD."""
    hashed = hash_of(PASSWORD)
    roles = (
        "PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR",
        "WALIDATA", "AUDITOR", "SYSADMIN",
    )  # fmt: skip
    found = {role: make.make_user(role, password=hashed).email for role in roles}
    found["SEMUA"] = make.make_user(*roles, password=hashed).email
    return found


@dataclass
class Estate:
    """What one agency owns, by id; ``canary`` stands in every name of it."""

    canary: str
    operator: str
    agency: UUID
    contract: UUID
    version: UUID
    source: UUID
    slug: str
    run: UUID
    record: UUID
    export: UUID
    user: UUID
    schedule: UUID


@pytest.fixture(scope="session")
def estates(app, people, settings) -> tuple[Estate, Estate]:
    return make_estate(settings), make_estate(settings)


def make_estate(settings) -> Estate:
    canary = make.word("kenari")
    agency = make.make_agency(name=f"Dinas {canary}")
    operator = make.make_user(
        "OPD_OPERATOR",
        agency=agency,
        name=f"Operator {canary}",
        password=hash_of(PASSWORD),
    )
    contract = make.make_contract(agency=agency, max_rejected_percent=100)
    # No role of the application may rename a dataset; the schema's owner does it here.
    with acting_as(make.OFFICE), db.owner_unit_of_work() as s:
        s.get(type(contract), contract.id).title = f"Data {canary}"
        s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one().title = f"Data {canary}"
    with fakes.Upstream() as upstream:
        upstream.records = [
            {"nip": f"{n:04d}", "nama": f"Orang {canary}"} for n in range(60)
        ] + [{"nip": "x", "nama": f"Salah {canary}"}]
        source = make.make_source(contract, upstream.url)
        with make.session() as s:
            s.get(type(source), source.id).name = f"Sumber {canary}"
            s.get(type(source), source.id).secrets = {
                "auth_secret": "rahasia-sekali-kenari"
            }
        run = make.request_pull(source)
        with acting_as(make.WORKER_PRINCIPAL):
            pull(make.claim(run), fakes.pages_here, (), "Asia/Jakarta")
    assert make.run_of(run).status == "succeeded", make.run_of(run).error_message
    with make.session() as s:
        user = s.get_one(User, operator.id)
        schedule = set_schedule(
            s,
            s.get(type(source), source.id),
            ScheduleWish("0 2 * * *", "Asia/Jakarta"),
        )
        slug = s.scalars(
            sa.select(Dataset.slug).where(Dataset.contract_id == contract.id)
        ).one()
        version = make.active_of(s, contract.id).id
        record = s.scalars(
            sa.select(QuarantinedRecord.id).where(QuarantinedRecord.run_id == run)
        ).one()
        principal = principal_of(user)
        s.flush()
        schedule_id = schedule.id
    with make.session(principal) as s:
        dataset = s.scalars(sa.select(Dataset).where(Dataset.slug == slug)).one()
        export = request_export(s, dataset)
        export_run, export_id = export.run_id, export.id
    with acting_as(make.WORKER_PRINCIPAL):
        export_file(
            make.claim(export_run), settings.home, days=7, time_zone="Asia/Jakarta"
        )
    with make.session(principal) as s:
        assert s.get_one(ExportRun, export_id).file_key
    return Estate(
        canary, operator.email, agency.id, contract.id, version, source.id, slug, run, record,
        export_id, operator.id, schedule_id,
    )  # fmt: skip


@pytest.fixture
def log_in(app):
    """Return a client that is logged in as the person of an address; "" for nobody."""
    limiter.reset()

    def enter(email: str) -> FlaskClient:
        client = app.test_client()
        if email:
            answer = client.post("/login", data={"email": email, "password": PASSWORD})
            assert answer.status_code == 302, answer.get_data(as_text=True)
        return client

    return enter


def seen_in(client: FlaskClient, address: str) -> str:
    """Return what a form carries to know what its reader saw."""
    page = client.get(address).get_data(as_text=True)
    return re.search(r'name="seen" value="(gAAAA[^"]*)"', page).group(1)


@pytest.fixture(autouse=True)
def own_database(app, bound):
    """Sessions reach the test's database, whichever application was built last."""
    with acting_as(make.OFFICE):
        yield
