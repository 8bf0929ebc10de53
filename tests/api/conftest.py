"""A web application with its door, a client with a key, and a dataset that it may read."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import sqlalchemy as sa
from flask import Flask

from app.api import services
from app.api.models import ApiClient, ApiGrant
from app.contracts.states import Classification, FieldType
from app.core.policy import acting_as
from app.datasets.models import Dataset
from app.factory import create_app
from app.pulls.pulling import pull
from tests import fakes, make

FIELDS = (
    make.field("nip", is_key=True, pattern=r"\d{4}"),
    make.field("nama", required=True),
    make.field("gaji", FieldType.INTEGER, minimum="0"),
    make.field("lahir", FieldType.DATE),
    make.field("bobot", FieldType.NUMBER),
    make.field("aktif", FieldType.BOOLEAN),
    make.field("dicatat", FieldType.TIMESTAMP),
    make.field("sort"),
    make.field("nik", classification=Classification.PERSONAL),
)


def person(number: int) -> dict:
    return {
        "nip": f"{number:04d}",
        "nama": ["=1+1", 'O"Brien, Ani', "Budi\nBaris", "Citra"][number % 4]
        + f" {number}",
        "gaji": number * 1000 if number % 7 else None,
        "lahir": f"1980-01-{number % 28 + 1:02d}",
        "bobot": number / 4,
        "aktif": number % 2 == 0,
        "dicatat": f"2026-01-01T00:{number % 60:02d}:00+07:00",
        "sort": f"s{number % 3}",
        "nik": f"14710000{number:08d}",
    }


@dataclass
class Shop:
    """A dataset of 250 people, and how to reach it."""

    app: Flask
    slug: str
    contract: object
    dataset: UUID
    client: UUID
    grant: UUID
    key: str
    source: object
    upstream: fakes.Upstream

    def get(self, path: str = "", key: str | None = None, **headers: str):
        """GET below this dataset, or any address that begins with a slash of /api."""
        address = (
            path
            if path.startswith("/api")
            else f"/api/v1/datasets/{self.slug}/records{path}"
        )
        sent = {"Authorization": f"Bearer {self.key if key is None else key}"}
        return self.app.test_client().get(
            address, headers=sent | {k.replace("_", "-"): v for k, v in headers.items()}
        )

    def pull(self) -> None:
        run = make.request_pull(self.source)
        with acting_as(make.WORKER_PRINCIPAL):
            pull(make.claim(run), fakes.pages_here, (), "Asia/Jakarta")
        assert make.run_of(run).status == "succeeded", make.run_of(run).error_message


@pytest.fixture(scope="session")
def app(settings) -> Flask:
    return create_app(settings)


def make_client(**values) -> tuple[ApiClient, str]:
    client = ApiClient(agency_id=make.make_agency().id, name=make.word("klien"), **values)
    with make.session() as s:
        s.add(client)
        s.flush()
        key = services.make_key(s, client)
    return client, key


def make_grant(client: ApiClient, dataset_id: UUID, **values) -> UUID:
    with make.session() as s:
        dataset = s.get_one(Dataset, dataset_id)
        grant = ApiGrant(
            **{
                "client_id": client.id,
                "dataset_id": dataset.id,
                "agency_id": client.agency_id,
                "producer_id": dataset.agency_id,
            }
            | values
        )
        s.add(grant)
        s.flush()
    if not grant.sample and grant.agency_id != grant.producer_id:
        make.make_agreement(dataset_id, client.agency_id)
    return grant.id


@pytest.fixture
def shop(app, bound, upstream) -> Shop:
    upstream.records = [person(n) for n in range(250)]
    return open_shop(app, upstream, FIELDS)


def open_shop(app, upstream, fields) -> Shop:
    """Pull what the upstream has, and open it to a client by a grant that names no field."""
    contract = make.make_contract(fields, max_vanished_percent=100)
    source = make.make_source(contract, upstream.url, page_size=50)
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
    client, key = make_client()
    grant = make_grant(client, dataset.id)
    made = Shop(
        app, dataset.slug, contract, dataset.id, client.id, grant, key, source, upstream
    )
    made.pull()
    return made


class _Silent(WSGIRequestHandler):
    def log_message(self, *_args):
        pass


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@pytest.fixture
def base(shop) -> Iterator[str]:
    """Where the application is reached by real HTTP, with a slash at the end."""
    server = make_server(
        "127.0.0.1", 0, shop.app, server_class=_Threads, handler_class=_Silent
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()
