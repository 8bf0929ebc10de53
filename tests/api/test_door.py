"""The door: keys, limits, refusals in words; what is not granted is as absent as nothing."""

import asyncio
import json
import os
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from werkzeug.test import create_environ

from app.api import exchanges, services
from app.api.connections import Connections
from app.api.meter import Meter
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.core import db
from app.datasets.models import Agreement
from app.exports.models import ExchangeLog
from tests import fakes, make
from tests.api.conftest import make_client, make_grant


def problem(answer, status):
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = json.loads(answer.data)
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert body["detail"] != body["detail_en"]
    assert body["status"] == status
    return body


def change(model, ident, **values):
    with make.session() as s:
        found = s.get_one(model, ident)
        for name, value in values.items():
            setattr(found, name, value)
    time.sleep(1.05)  # what a key opens is remembered for a second


def key_id(shop):
    with make.session() as s:
        return s.scalars(
            sa.select(ApiKey.id).where(ApiKey.client_id == shop.client)
        ).one()


@pytest.mark.parametrize("key", ["", "x", "smp_aaaaaaaaaa_" + "A" * 43, "smp_\u00e9"])
def test_without_a_good_key_nothing_is_told(shop, key):
    for path in (
        "",
        f"/api/v1/datasets/{shop.slug}",
        "/api/v1/datasets",
        "/api/v1/openapi.json",
    ):
        answer = shop.get(path, key=key.encode().decode("latin-1"))
        assert problem(answer, 401)["code"] == "no_key"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_of_the_right_prefix_and_another_secret_is_a_stranger(shop):
    problem(shop.get(key=shop.key[:15] + "A" * 43), 401)
    assert shop.get("?limit=1").status_code == 200


def test_the_other_header_does_as_well(shop):
    answer = shop.app.test_client().get(
        "/api/v1/datasets", headers={"X-API-Key": shop.key}
    )

    assert [each["slug"] for each in answer.json["datasets"]] == [shop.slug]


def test_a_key_in_the_address_is_refused_in_words(shop):
    for query in (f"?api_key={shop.key}", f"?x={shop.key}", "?access_token=x"):
        assert problem(shop.get(query), 400)["code"] == "key_in_address"
    problem(shop.get(f"?api_key={shop.key}", key=""), 400)


def test_a_revoked_key_is_shut_within_a_second(shop):
    assert shop.get("?limit=1").status_code == 200
    with make.session() as s:
        services.revoke_key(s.get_one(ApiKey, key_id(shop)))
    time.sleep(1.0)

    problem(shop.get("?limit=1"), 401)


def test_an_expired_key_a_shut_client_and_another_address_open_nothing(shop):
    ident = key_id(shop)
    change(ApiKey, ident, networks=["10.0.0.0/8"])
    assert problem(shop.get("?limit=1"), 403)["code"] == "address"
    change(
        ApiKey, ident, networks=[], expires_at=datetime.now(UTC) - timedelta(seconds=1)
    )
    problem(shop.get("?limit=1"), 401)
    change(ApiKey, ident, expires_at=None)
    assert shop.get("?limit=1").status_code == 200
    change(ApiClient, shop.client, enabled=False)
    problem(shop.get("?limit=1"), 401)


def test_the_use_of_a_key_is_written_down(shop):
    shop.get("?limit=1")

    with make.session() as s:
        assert s.get_one(ApiKey, key_id(shop)).last_used_at is not None


def test_what_is_not_granted_is_as_absent_as_what_never_was(shop):
    _, stranger = make_client()

    foreign = problem(shop.get("?limit=1", key=stranger), 404)
    absent = problem(shop.get("/api/v1/datasets/tidak_ada/records", key=stranger), 404)

    foreign.pop("request_id"), absent.pop("request_id")
    assert foreign == absent


def test_personal_fields_are_hidden_until_a_grant_names_them(shop):
    described = shop.get(f"/api/v1/datasets/{shop.slug}").json
    assert [each["name"] for each in described["hidden"]] == ["nik"]
    assert "nik" not in shop.get("?limit=1").json["data"][0]
    for query in ("?fields=nik", "?nik=1", "?sort=nik", "?nik__startswith=1"):
        assert problem(shop.get(query), 400)["code"] == "unknown_field"
    change(ApiGrant, shop.grant, fields=["nama", "nik"])

    assert list(shop.get("?limit=1").json["data"][0]) == ["nama", "nik"]
    assert problem(shop.get(f"?since={'A' * 60}"), 403)["code"] == "keys_hidden"
    first = shop.get("?limit=100").json["page"]["next"]
    assert shop.get(f"?limit=100&after={first}").json["data"][0]["nik"].endswith("0100")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "bad_limit"), ("limit=1001", "bad_limit"), ("limit=1e3", "bad_limit"),
        ("limit=9223372036854775808", "bad_limit"), ("limit=٣", "bad_limit"),
        ("limit=1&limit=2", "twice"), ("after=&after=", "twice"), ("sort=hantu", "unknown_field"),
        ("sort=nip;select pg_sleep(5)", "unknown_field"), ("sort=,", "unknown_field"),
        ("fields=", "unknown_field"), ("fields=nip,_seq", "unknown_field"),
        ("fields=_deleted_at", "unknown_field"), ("_run_id=x", "unknown_field"),
        ('fields="nip"', "unknown_field"), ("nip__like=x", "unknown_field"),
        ("gaji=x", "bad_value"), ("gaji=9223372036854775808", "bad_value"),
        ("gaji=1e5", "bad_value"), ("bobot=1e31", "bad_value"), ("gaji__in=1,,2", "bad_value"), ("gaji=", "bad_value"),
        ("bobot=NaN", "bad_value"), ("bobot=1e400", "bad_value"), ("lahir=2026-02-30", "bad_value"),
        ("lahir=20260101", "bad_value"), ("aktif=1", "bad_value"), ("dicatat=kemarin", "bad_value"),
        ("dicatat=2026-01-01T00:00:00", "bad_value"), ("nama=%00", "bad_value"),
        ("nama=" + "x" * 501, "bad_value"), ("gaji__isnull=ya", "bad_value"),
        ("gaji__contains=1", "bad_operator"), ("aktif__gt=true", "bad_operator"),
        ("nama=%FF", "unreadable"), ("nama=%ED%A0%80", "unreadable"),
        ("&".join(f"nip__ne={n}" for n in range(21)), "too_many_filters"),
        ("&".join(f"nip__ne={n}" for n in range(61)), "unreadable"),
        ("after=x", "bad_value"), ("since=x", "bad_value"), ("after=" + "A" * 401, "bad_value"),
        ("after=é", "bad_value"), ("since=%F0%9F%92%A9", "bad_value"),
        ("count=all", "bad_choice"), ("format=xml", "bad_choice"),
        ("nama__in=" + ",".join("x" * 101), "bad_value"), ("x" * 16_001, "too_long"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(shop, query, code):
    answer = shop.get(f"?{query}")

    assert problem(answer, 400)["code"] == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=" + "A" * 200, "bad_token"), ("since=" + "A" * 40, "bad_token"),
        ("format=csv&after=" + "A" * 40, "json_only"), ("format=ndjson&count=exact", "json_only"),
        ("nip=1&since=" + "A" * 40, "since_alone"), ("count=exact&since=" + "A" * 40, "since_alone"),
        ("sort=nip,nip", "sorted_twice"), ("sort=nip,-nip", "sorted_twice"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_a_conflict(shop, query, code):
    assert problem(shop.get(f"?{query}"), 409)["code"] == code


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "\\'; DROP TABLE agency; --", "%", "_", "$1", "%(x)s", "{}", "\U0001f600", "\t"]
)  # fmt: skip
def test_a_value_stays_a_value(shop, text):
    from urllib.parse import quote

    for operator in ("", "__contains", "__startswith", "__in", "__gt", "__ne"):
        for form in ("json", "csv", "ndjson"):
            answer = shop.get(f"?nama{operator}={quote(text)}&format={form}")
            assert answer.status_code == 200, answer.get_data(as_text=True)
    assert shop.get(f"?nama={quote(text)}").json["data"] == []


def test_the_ends_of_all_ranges_are_answered(shop):
    for query in (
        "gaji__gte=-9223372036854775808", "gaji__lte=9223372036854775807", "bobot__lt=1" + "0" * 30, "bobot__gt=-1e-30",
        "lahir__gt=0001-01-01", "lahir__lt=9999-12-31",
        "dicatat__gt=0001-01-01T00:00:00%2B14:00", "dicatat__lt=9999-12-31T23:59:59-14:00",
        "dicatat__gt=2026-01-01T00:00:00%2B23:59", "bobot__gt=2.2e-308",
    ):  # fmt: skip
        assert shop.get(f"?limit=1&{query}").status_code == 200, query


def test_a_token_of_another_query_is_refused_in_words(shop):
    token = shop.get("?limit=2").json["page"]["next"]

    for query in ("sort=nama", "nip__gt=0001", "sort=-nip"):
        assert (
            problem(shop.get(f"?limit=2&after={token}&{query}"), 409)["code"]
            == "bad_token"
        )
    assert problem(shop.get(f"?since={token}"), 409)["code"] == "bad_token"
    assert shop.get(f"?limit=5&fields=nama&after={token}").status_code == 200


def test_only_reading_is_answered_and_only_known_addresses(shop):
    client, headers = shop.app.test_client(), {"X-API-Key": shop.key}
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client.open("/api/v1/datasets", method=method, headers=headers)
        assert answer.headers["Allow"] == "GET, HEAD"
        problem(answer, 405)
    for path in (
        "/api",
        "/api/",
        "/api/v2/datasets",
        "/api/v1/datasets/a/b/c",
        "/api/v1/../x",
    ):
        problem(client.get(path, headers=headers), 404)
    head = client.head(f"/api/v1/datasets/{shop.slug}/records", headers=headers)
    assert (head.status_code, head.data) == (200, b"")


def test_a_format_that_is_not_offered_is_a_406(shop):
    problem(shop.get(Accept="image/png"), 406)
    problem(shop.get("/api/v1/datasets", Accept="text/csv"), 406)
    assert shop.get("?limit=1", Accept="text/html,*/*;q=0.1").status_code == 200


def test_the_minute_limit_is_kept_to_the_request(shop):
    change(ApiClient, shop.client, requests_per_minute=5)
    # Not over the end of a minute.
    time.sleep(max(0, time.time() % 60 - 50) and 61 - time.time() % 60)

    answers = [shop.get("?limit=1") for _ in range(7)]

    assert [each.status_code for each in answers] == [200] * 5 + [429] * 2
    assert [each.headers["RateLimit-Remaining"] for each in answers[:5]] == list("43210")
    assert problem(answers[5], 429)["code"] == "requests_per_minute"
    assert 1 <= int(answers[5].headers["Retry-After"]) <= 61


def test_the_days_rows_and_requests_are_limited(shop):
    change(ApiClient, shop.client, rows_per_day=250)
    assert shop.get("?format=csv").status_code == 200
    for _ in range(11):
        answer = shop.get("?limit=1000")
        if answer.status_code == 429:
            break
    assert problem(answer, 429)["code"] == "rows_per_day"
    change(ApiClient, shop.client, rows_per_day=10_000, requests_per_day=1)
    answers = [shop.get("?limit=1") for _ in range(15)]
    assert problem(answers[-1], 429)["code"] == "requests_per_day"


def test_requests_at_once_are_limited_and_a_dead_process_frees_its_place(shop, settings):
    change(ApiClient, shop.client, concurrency=1)
    holder = psycopg.connect(settings.database_url.replace("+psycopg", ""))
    holder.execute("SELECT set_config('simpul.client_id', %s, true)", [str(shop.client)])
    holder.execute("SELECT simpul_api_enter(%s, 1)", [shop.client])

    for query in ("?limit=1", "?format=csv"):
        refused = shop.get(query)
        assert problem(refused, 429)["code"] == "concurrency"
        assert refused.headers["Retry-After"] == "1"

    holder.pgconn.finish()  # as when its process is killed
    for _ in range(50):
        if shop.get("?limit=1").status_code == 200:
            return
        time.sleep(0.1)
    pytest.fail("the place was not freed")


def test_many_at_once_are_all_answered_and_all_logged(shop):
    change(ApiClient, shop.client, concurrency=64)
    statuses = []

    def work():
        statuses.extend(shop.get(f"?limit={n + 1}").status_code for n in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert statuses == [200] * 80
    with make.session() as s:
        logs = s.scalars(
            sa.select(ExchangeLog).where(ExchangeLog.client_id == shop.client)
        ).all()
    assert len(logs) == len({each.request_id for each in logs}) == 80


def test_no_log_no_exchange(shop, settings):
    shop.get("?limit=1")
    with db.owner_unit_of_work() as s:
        s.execute(sa.text("REVOKE INSERT ON exchange_log FROM simpul_api"))
    try:
        for query in ("?limit=1", "?format=csv", "?format=ndjson"):
            answer = shop.get(query)
            assert problem(answer, 503)["code"] == "unavailable"
            assert b"0000" not in answer.data
            assert answer.headers["Retry-After"]
    finally:
        with db.owner_unit_of_work() as s:
            s.execute(sa.text("GRANT INSERT ON exchange_log TO simpul_api"))
    assert shop.get("?limit=1").status_code == 200


def test_known_answers_that_cannot_be_logged_end(shop, settings, monkeypatch):
    """They are counted for a moment without the database, not for long."""
    monkeypatch.setattr(exchanges, "COUNTED_SECONDS", 0.3)
    etag = shop.get("?limit=1").headers["ETag"]
    with db.owner_unit_of_work() as s:
        s.execute(sa.text("REVOKE INSERT ON exchange_log FROM simpul_api"))
    try:
        assert shop.get("?limit=1", If_None_Match=etag).status_code == 304
        time.sleep(0.7)
        problem(shop.get("?limit=1", If_None_Match=etag), 503)
    finally:
        with db.owner_unit_of_work() as s:
            s.execute(sa.text("GRANT INSERT ON exchange_log TO simpul_api"))
    assert shop.get("?limit=1", If_None_Match=etag).status_code == 304
    time.sleep(0.7)
    with make.session() as s:
        times = s.scalar(
            sa.select(sa.func.sum(ExchangeLog.times)).where(
                ExchangeLog.client_id == shop.client, ExchangeLog.status == 304
            )
        )
    assert times == 3  # those that were counted meanwhile too


def test_the_role_sees_nothing_without_an_acting_client(shop, settings):
    """The database's own wall, asked directly: whatever the code in front of it does."""
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as raw:
        take = "SELECT set_config('role', 'simpul_api', true), set_config('simpul.client_id', %s, true)"
        for client, rows in (("", 0), (str(uuid4()), 0), (str(shop.client), 250)):
            raw.execute(take, [client])
            assert raw.execute(f"SELECT count(*) FROM data.{shop.slug}").fetchone() == (
                rows,
            )
            raw.rollback()
        for sql in (
            f"DELETE FROM data.{shop.slug}", f"UPDATE data.{shop.slug} SET nama = ''",
            f"SELECT * FROM data.{shop.slug}__history", "SELECT * FROM api_key",
            "SELECT * FROM exchange_log", "UPDATE exchange_log SET row_count = 0",
            "DELETE FROM exchange_log", "SELECT * FROM source", 'SELECT * FROM "user"',
            "UPDATE api_usage SET requests = 0", "UPDATE api_client SET enabled = true",
        ):  # fmt: skip
            raw.execute(take, [str(shop.client)])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                raw.execute(sql)
            raw.rollback()
        other, _ = make_client()
        raw.execute(take, [str(other.id)])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # in another's name
            raw.execute(
                "INSERT INTO exchange_log (channel, dataset_id, client_id, row_count, byte_count,"
                " file_sha256, request_id) VALUES ('api', %s, %s, 0, 0, '', '')",
                [shop.dataset, shop.client],
            )


ENTER = "SELECT simpul_api_enter(%(client)s::uuid, 1)"


def test_a_connection_serves_the_client_alone_that_it_is_ready_for(settings, shop):
    async def scene():
        (other, _), (third, _) = make_client(), make_client()
        connections = Connections(settings.database_url)
        async with connections.one(str(shop.client)) as first:
            await first.ask(ENTER, {"client": str(shop.client)})
            with pytest.raises(psycopg.errors.RaiseException, match="ready for another"):
                await first.ask(ENTER, {"client": str(other.id)})
            async with connections.one(str(other.id)) as second:
                await second.ask(ENTER, {"client": str(other.id)})
                assert second is not first
        async with connections.one(str(other.id)) as again:
            assert again is second  # no trip to make it ready
        async with connections.one(
            str(third.id)
        ) as again:  # the last one used, whoever had it
            assert again is second
            count = await again.ask(f"SELECT count(*) FROM data.{shop.slug}", {})
            assert count.get_value(0, 0) == b"0"
            await again.ask(ENTER, {"client": str(third.id)})
        connections.forget()

    asyncio.run(scene())


def test_keys_of_two_clients_see_their_own_fields_and_logs_in_turn(shop):
    other, key = make_client()
    make_grant(other, shop.dataset, fields=["nip"])
    for _ in range(5):
        assert shop.get("?limit=1").json["data"][0]["nama"]
        assert shop.get("?limit=1", key=key).json["data"] == [{"nip": "0000"}]
    with make.session() as s:
        for client, fields in ((shop.client, 8), (other.id, 1)):
            logs = s.scalars(
                sa.select(ExchangeLog).where(ExchangeLog.client_id == client)
            ).all()
            assert [len(each.fields) for each in logs] == [fields] * 5


def test_a_grant_of_another_time_opens_nothing(shop):
    now = datetime.now(UTC)
    change(ApiGrant, shop.grant, valid_from=now + timedelta(days=1))
    problem(shop.get("?limit=1"), 404)
    change(
        ApiGrant, shop.grant, valid_from=now - timedelta(days=2), valid_until=now - timedelta(days=1)
    )  # fmt: skip
    problem(shop.get("?limit=1"), 404)
    client, key = make_client()
    make_grant(client, shop.dataset)
    assert shop.get("?limit=1", key=key).status_code == 200


def test_a_new_version_ends_the_change_tokens_of_the_old(shop):
    from app.contracts.states import FieldType
    from tests.api.conftest import FIELDS

    since = shop.get("?limit=1").json["page"]["since"]
    make.next_version(shop.contract.id, [*FIELDS, make.field("baru", FieldType.TEXT)])
    make.activate(shop.contract.id)
    with make.session() as s:  # the agreement named its fields: a new one is not of them
        s.execute(
            sa.update(Agreement)
            .where(Agreement.dataset_id == shop.dataset)
            .values(fields=[])
            .execution_options(audited=True)
        )
    time.sleep(1.05)

    assert problem(shop.get(f"?since={since}"), 410)["code"] == "version_changed"
    assert "baru" in shop.get("?limit=1").json["data"][0]


def test_too_many_strangers_from_one_address_must_wait(shop):
    client = shop.app.test_client()
    seen = [
        client.get("/api/v1/datasets", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
        for _ in range(61)
    ]

    assert seen[0].status_code == 401
    assert problem(seen[-1], 429)["code"] == "too_many_failures"


def test_kept_connections_that_the_server_ended_are_not_lent(shop):
    assert shop.get("?limit=1").status_code == 200
    admin = os.environ["TEST_PG_ADMIN_URL"]
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [db.engine().url.database],
        )
    time.sleep(0.2)
    assert shop.get("?limit=1").status_code == 200


@pytest.mark.parametrize("query", ["?limit=10", "?limit=10&after={next}", "?since={since}", "?format=csv"])  # fmt: skip
def test_a_grant_that_ended_this_second_is_no_empty_dataset(shop, query):
    """What a key opens is remembered for a second; the database knows better."""
    page = shop.get("?limit=10").json["page"]
    with make.session() as s:
        s.get_one(ApiGrant, shop.grant).revoked_at = datetime.now(UTC)

    assert problem(shop.get(query.format(**page)), 404)["code"] == "not_found"


def test_what_a_client_without_a_grant_sees_is_nobody_elses_newest_change(shop):
    other, key = make_client()
    grant = make_grant(other, shop.dataset)
    shop.get("/api/v1/datasets", key=key)
    with make.session() as s:
        s.get_one(ApiGrant, grant).revoked_at = datetime.now(UTC)
    shop.get("?limit=1", key=key)

    since = shop.get("?limit=1").json["page"]["since"]

    assert shop.get(f"?since={since}").json["data"] == []


def _slow_grants(seconds, of="%"):
    """Make the database think that long about the grants of some statements."""
    with db.owner_unit_of_work() as s:
        before = s.scalar(sa.text("SELECT pg_get_functiondef('simpul_api_may'::regproc)"))
        wait = f"IF current_query() LIKE '{of}' THEN PERFORM pg_sleep({seconds}); END IF;"
        slow = before.replace("BEGIN", f"BEGIN {wait}", 1)
        s.connection().exec_driver_sql(slow.replace("%", "%%"))
    return before


@pytest.fixture
def slow_grants():
    before = []
    yield lambda *given: before.append(_slow_grants(*given))
    with db.owner_unit_of_work() as s:
        s.connection().exec_driver_sql(before[0].replace("%", "%%"))


def test_a_page_that_takes_too_long_is_refused_in_words(shop, slow_grants):
    slow_grants(8)
    began = time.monotonic()

    assert problem(shop.get("?limit=1"), 422)["code"] == "too_slow"

    assert time.monotonic() - began < 7


def test_an_exact_count_that_takes_too_long_is_refused_in_words(shop, slow_grants):
    assert shop.get("?limit=1&count=exact").json["count"]["rows"] == 250
    slow_grants(8, "SELECT count(*)%")

    assert shop.get("?limit=1&count=estimated").status_code == 200
    assert problem(shop.get("?limit=1&count=exact"), 422)["code"] == "too_slow"


def test_a_connection_with_something_left_open_is_not_lent_again(settings, shop):
    async def scene():
        connections = Connections(settings.database_url)
        async with connections.one(str(shop.client)) as first:
            await first.ask("BEGIN", {})
        async with connections.one(str(shop.client)) as second:
            assert second is not first
            assert first.is_ended()
        connections.forget()

    asyncio.run(scene())


def _read_for(seconds, shop, key, fields, wrong):
    """Read as a client does, and note what it should not have seen."""
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        form = ("json", "ndjson")[turn % 2]
        answer = shop.get(f"?limit=3&format={form}", key=key)
        if answer.status_code in {404, 503}:  # withdrawn; four streams at once
            continue
        lines = answer.data.splitlines()
        rows = answer.json["data"] if form == "json" else [*map(json.loads, lines)]
        if fields and [list(row) for row in rows] != [fields] * 3:
            wrong.append((fields, rows))
        if not fields and [row.get("nik") for row in rows] != ["1•••••"] * 3:
            wrong.append((fields, rows))


def test_many_clients_and_threads_see_each_its_own(shop):
    """Grants of other fields, a sample, and one that is withdrawn meanwhile."""
    sights = [["nip"], ["nip", "nama"], ["nip", "nik"], ["nama", "gaji"], []]
    threads, wrong, clients = [], [], []
    for fields in sights:
        client, key = make_client(concurrency=64, requests_per_minute=10**6)
        grant = make_grant(client, shop.dataset, fields=fields, sample=fields == [])
        clients.append((client.id, key, grant, fields))
        work = {"target": _read_for, "args": (4, shop, key, fields, wrong)}
        threads += [threading.Thread(**work), threading.Thread(**work)]
    for each in threads:
        each.start()
    time.sleep(2)
    with make.session() as s:
        s.get_one(ApiGrant, clients[1][2]).revoked_at = datetime.now(UTC)
    for each in threads:
        each.join()

    assert not wrong, wrong[0]
    for client, key, _grant, fields in clients:
        told = ExchangeLog.key_prefix, ExchangeLog.fields
        with make.session() as s:
            logs = s.execute(
                sa.select(*told).where(ExchangeLog.client_id == client)
            ).all()
        assert logs
        assert {each.key_prefix for each in logs} == {key[4:14]}
        assert all(each.fields == fields for each in logs if fields)


def test_a_line_that_the_server_ends_lets_go_of_its_socket(settings, shop):
    """A dead socket that the loop still watches is readable for ever."""

    async def scene():
        connections = Connections(settings.database_url)
        async with connections.one(str(shop.client)) as first:
            pid = int((await first.ask("SELECT pg_backend_pid()", {})).get_value(0, 0))
        async with connections.one(str(shop.client)) as first:
            with psycopg.connect(
                os.environ["TEST_PG_ADMIN_URL"], autocommit=True
            ) as postgres:
                postgres.execute("SELECT pg_terminate_backend(%s)", [pid])
            with pytest.raises(psycopg.OperationalError):
                await first.ask("SELECT pg_sleep(5)::text", {})
        assert first.is_ended()
        spent = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - spent < 0.2
        async with connections.one(str(shop.client)) as second:
            assert (await second.ask("SELECT 1", {})).get_value(0, 0) == b"1"
        connections.forget()

    asyncio.run(scene())


def test_gzip_is_not_forced_on_who_refuses_it(shop):
    for said, packed in (
        ("gzip", True), ("br;q=1.0, gzip;q=0.8", True),
        ("gzip;q=0", False), ("br, gzip; q=0.0", False), ("br", False),
        ("gzip;q=0, *", False), ("identity;q=0.5, *;q=0", False),
    ):  # fmt: skip
        headers = shop.get("?limit=100", Accept_Encoding=said).headers
        assert ("Content-Encoding" in headers) is packed, said


def test_who_waits_for_a_quota_is_refused_with_the_first_that_gets_none():
    class Dumb:
        @asynccontextmanager
        async def one(self, _client):
            await asyncio.sleep(0.1)
            raise psycopg.OperationalError
            yield

    async def ask_together():
        meter = Meter(Dumb())
        access = SimpleNamespace(client_id=uuid4(), requests_per_minute=60)
        began = time.monotonic()
        found = await asyncio.gather(
            *(meter.take(access) for _ in range(10)), return_exceptions=True
        )
        assert time.monotonic() - began < 0.5
        assert sorted(type(each).__name__ for each in found) == [
            "OperationalError", *["Refused"] * 9,
        ]  # fmt: skip
        with pytest.raises(psycopg.OperationalError):  # a later one asks anew
            await meter.take(access)

    asyncio.run(ask_together())


def test_what_is_being_written_at_the_end_is_neither_lost_nor_twice(monkeypatch):
    monkeypatch.setattr(exchanges, "COUNTED_SECONDS", 0.01)
    written = []

    async def write_slowly(row):
        await asyncio.sleep(0.1)
        written.append(row["times"])

    async def stop_meanwhile():
        log = exchanges.Exchanges(None)
        monkeypatch.setattr(log, "write", write_slowly)
        await log.count({"prefix": "p", "etag": "e", "ip": "i"})
        await asyncio.sleep(0.05)
        await log.count({"prefix": "p", "etag": "e", "ip": "i"})
        await log.finish()

    asyncio.run(stop_meanwhile())
    assert written == [1, 1]


def test_an_answer_that_is_closed_unread_ends_the_request(shop):
    environ = create_environ(
        f"/api/v1/datasets/{shop.slug}/records",
        query_string="format=csv",
        headers={"Authorization": f"Bearer {shop.key}"},
    )
    before = asyncio_tasks(shop)
    shop.app.wsgi_app(environ, lambda *_: None).close()
    fakes.wait_until(lambda: asyncio_tasks(shop) == before, 5)


def asyncio_tasks(shop):
    return len(asyncio.all_tasks(shop.app.wsgi_app._loop))
