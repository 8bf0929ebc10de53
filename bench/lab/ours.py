"""Simpul as it is measured: the worker's own code, one fork a run as in production."""

import os
import time
import traceback
from typing import Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa

from app.api.models import ApiClient, ApiGrant
from app.api.services import make_key, settle_grant
from app.contracts import services as contracts
from app.contracts.decoder import Decoder
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.states import DatasetKind, FieldType, LoadMode
from app.core import db
from app.core.policy import WORKER, DbRole, Permission, Principal, acting_as
from app.core.sql import quote
from app.datasets import activation
from app.datasets.ddl import Names
from app.datasets.models import Dataset
from app.exports.models import ExportRun
from app.exports.services import request_export
from app.identity.models import Agency, Role, User
from app.identity.services import create_user
from app.pulls.publish import Merge, merge_stage, settle_duplicates
from app.pulls.services import request_pull
from app.pulls.stage import ReadPage, Stage
from app.runs.models import JobRun, RunLog
from app.sources.models import Source
from bench.lab import records
from bench.lab.program import answer
from jobs import perform, runtime

OFFICE = Principal("tolok ukur", DbRole.OFFICE)
SPECS = [
    FieldSpec(
        name=name, source_path=name, label=name, type=FieldType(kind),
        required=name == "nip", is_key=name == "nip",
        pattern=r"\d{18}" if name == "nip" else "",
    )
    for name, kind in records.FIELDS
]  # fmt: skip


def make_source(url: str) -> dict[str, Any]:
    """Activate a contract of the ten fields and add a source that reads ``url``."""
    slug = f"b{uuid4().hex[:10]}"
    with acting_as(OFFICE), db.unit_of_work() as session:
        agency = Agency(code=slug, name=slug)
        session.add(agency)
        session.flush()
        contract = contracts.create_contract(
            session, agency_id=agency.id, slug=slug, title=slug,
            kind=DatasetKind.MASTER, load_mode=LoadMode.SNAPSHOT,
        )  # fmt: skip
        session.flush()
        version = session.scalars(
            sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
        ).one()
        contracts.save_fields(session, version, SPECS)
        plan = activation.plan_for(session, version)
        run_id = activation.request_activation(session, version, plan.digest)
        source = Source(
            agency_id=agency.id, contract_id=contract.id, name=slug, settings=_settings(url)
        )  # fmt: skip
        session.add(source)
        session.flush()
        source_id = str(source.id)
    perform_in_fork(run_id)
    return {"slug": slug, "source": source_id}


def _settings(url: str) -> dict[str, Any]:
    return {
        "base_url": url,
        "paging": "page",
        "page_size": records.PAGE_SIZE,
        "rows_path": "data",
        "total_path": "total",
    }


def perform_in_fork(run_id: UUID) -> float:
    """Do a run as the worker does: forked, with connections of its own. Seconds of it all."""
    db.engine().dispose()
    begun = time.perf_counter()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            db.after_fork()
            perform.perform(str(run_id))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - begun
    _require_success(run_id)
    return seconds


def _require_success(run_id: UUID) -> None:
    with acting_as(OFFICE), db.unit_of_work() as session:
        run = session.get_one(JobRun, run_id)
        if run.status != "succeeded":
            log = session.execute(
                sa.select(RunLog.message, RunLog.params).where(RunLog.run_id == run_id)
            )
            raise SystemExit(f"a run ended as {run.status}: {run.error_code} {list(log)}")
    db.engine().dispose()


def pull(source: str, slug: str, url: str) -> dict[str, Any]:
    """Pull once. ``written`` is how many rows of the tables carry this run's mark."""
    with acting_as(OFFICE), db.unit_of_work() as session:
        found = session.get_one(Source, UUID(source))
        found.settings = _settings(url)
        session.flush()
        run_id = request_pull(session, found)
    seconds = perform_in_fork(run_id)
    names = Names(slug, 1)
    with acting_as(OFFICE), db.unit_of_work() as session:
        counts = session.get_one(JobRun, run_id).result
        written = session.execute(
            sa.text(
                f"SELECT (SELECT count(*) FROM {names.table} WHERE _run_id = :run)"
                f" + (SELECT count(*) FROM {names.history} WHERE _ended_by = :run)"
            ),
            {"run": run_id},
        ).scalar_one()
    db.engine().dispose()
    return {"seconds": seconds, "counts": counts, "written": written}


def limit(slug: str, rows: int) -> dict[str, Any]:
    """Time the least there is to do: the rows, typed in memory, by COPY and the same merge.

    ``bytes_seconds`` is the same from COPY's finished bytes: nothing of it is Python's.
    """
    names, stage = Names(slug, 1), Stage(Names(slug, 1), SPECS)
    decoder = Decoder(SPECS)
    pages = []
    for number in range(-(-rows // records.PAGE_SIZE)):
        places = range(number * records.PAGE_SIZE, rows)
        found = decoder.decode(_rows_json(number, rows)).rows
        placed = [(*row, place) for row, place in zip(found, places, strict=False)]
        pages.append(ReadPage(number, placed, (), 0, (), b""))
    merge = Merge(names, tuple(SPECS), LoadMode.SNAPSHOT, read=rows, known=0, fresh=rows)
    with acting_as(WORKER), db.unit_of_work() as session:
        stage.clear(session)
    begun = time.perf_counter()
    with acting_as(WORKER), db.unit_of_work() as session:
        for page in pages:
            stage.add(session, page)
    with acting_as(WORKER), db.unit_of_work() as session:
        settle_duplicates(session, merge, [])
    with acting_as(WORKER), db.unit_of_work() as session:
        merge_stage(session, merge, uuid4(), alive=0)
    seconds = time.perf_counter() - begun
    db.engine().dispose()
    return {"seconds": seconds}


def _rows_json(number: int, rows: int) -> bytes:
    import msgspec

    body = msgspec.json.decode(records.page(number, rows, "base"))
    return msgspec.json.encode(body["data"])


def fill(slug: str, rows: int) -> dict[str, Any]:
    """Put rows into a central table by COPY, as a publish would leave them."""
    names = ", ".join(quote(name) for name, _ in records.FIELDS)
    with psycopg.connect(os.environ["BENCH_ADMIN_URL"]) as admin:
        sql = (
            f"COPY {Names(slug, 1).table} ({names}, _run_id, _first_seen_at, _changed_at)"
            " FROM STDIN"
        )
        run_id = uuid4()
        with admin.cursor().copy(sql) as copy:
            for each in records.all_records(rows):
                copy.write_row((*each.values(), run_id, "now", "now"))
        admin.execute(
            "UPDATE dataset SET row_count = %s, published_at = now() WHERE slug = %s",
            (rows, slug),
        )
    with psycopg.connect(os.environ["BENCH_ADMIN_URL"], autocommit=True) as admin:
        admin.execute(f"VACUUM ANALYZE {Names(slug, 1).table}")
    return {}


def export(slug: str) -> dict[str, Any]:
    """Ask for an Excel file as a person does, and perform the run."""
    permissions = frozenset({Permission.DATASET_EXPORT})
    with acting_as(OFFICE), db.unit_of_work() as session:
        role = Role(name=uuid4().hex, label="x", permissions=list(permissions))
        email = f"{uuid4().hex}@example.org"
        user = User(email=email, name="x", fs_uniquifier=uuid4().hex, roles=[role])
        session.add(user)
        session.flush()
        person = Principal(email, DbRole.OFFICE, user.id, None, permissions)
    with acting_as(person), db.unit_of_work() as session:
        dataset = session.scalars(sa.select(Dataset).where(Dataset.slug == slug)).one()
        asked = request_export(session, dataset)
        export_id, run_id = asked.id, asked.run_id
    assert run_id
    seconds = perform_in_fork(run_id)
    with acting_as(person), db.unit_of_work() as session:  # nobody else's
        done = session.get_one(ExportRun, export_id)
        found = {"rows": done.row_count, "bytes": done.file_bytes}
    db.engine().dispose()
    return {"seconds": seconds, **found}


def open_api(slug: str) -> dict[str, Any]:
    """Make a client with a key and a grant for all fields, whose limits are out of the way."""
    many = 1_000_000
    with acting_as(OFFICE), db.unit_of_work() as session:
        dataset = session.scalars(sa.select(Dataset).where(Dataset.slug == slug)).one()
        client = ApiClient(
            agency_id=dataset.agency_id, name=slug, requests_per_minute=many,
            requests_per_day=many * 100, rows_per_day=many * many, concurrency=64,
        )  # fmt: skip
        session.add(client)
        session.flush()
        grant = ApiGrant(client_id=client.id, dataset=dataset)
        grant.client = client
        session.add(grant)
        settle_grant(session, grant)
        key = make_key(session, client)
    db.engine().dispose()
    return {"key": key}


def make_person(email: str, password: str) -> dict[str, Any]:
    """Make somebody of the office with every role of it."""
    with acting_as(OFFICE), db.unit_of_work() as session:
        names = session.scalars(sa.select(Role.name).where(~Role.for_agency)).all()
        create_user(
            session, email=email, name=email, password=password, roles=list(names)
        )
    db.engine().dispose()
    return {}


ACTIONS = {
    "make_person": make_person,
    "open_api": open_api,
    "make_source": make_source,
    "pull": pull,
    "limit": limit,
    "fill": fill,
    "export": export,
}

if __name__ == "__main__":
    runtime.start()
    perform.prepare()
    perform.warm_up()
    runtime.settle_memory()
    answer(lambda question: ACTIONS[question.pop("do")](**question))
