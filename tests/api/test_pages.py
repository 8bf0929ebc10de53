"""Pages of access: what the office gives and takes, what each side sees of it."""

import re
import time
from datetime import timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from app.api.models import ApiClient, ApiGrant, ApiKey
from app.core import clock
from app.datasets.models import Agreement
from app.exports.models import ExchangeLog
from app.identity.models import Agency
from app.identity.passwords import hash_of
from app.web.extensions import limiter
from tests import make
from tests.web.conftest import seen_in

PASSWORD = "kata-sandi-uji-12"


def entered(app, *roles, agency=None):
    app.config["WTF_CSRF_ENABLED"] = False
    limiter.reset()
    user = make.make_user(*roles, agency=agency, password=hash_of(PASSWORD))
    client = app.test_client()
    answer = client.post("/login", data={"email": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def newest_key(page):
    return re.search(r"smp_[a-z0-9]{10}_[\w-]{43}", page).group(0)


def test_the_office_makes_a_client_a_grant_and_a_key_that_works(shop):
    browser = entered(shop.app, "ADMINISTRATOR")
    agency = make.make_agency()
    name = make.word("Program ")
    made = browser.post(
        "/api-clients/new/",
        data={"name": name, "agency": str(agency.id), "contact": "a@b.id", "enabled": "y",
              "requests_per_minute": "60", "requests_per_day": "100", "rows_per_day": "1000",
              "concurrency": "2"},
    )  # fmt: skip
    assert made.status_code == 302, made.get_data(as_text=True)
    with make.session() as s:
        client = s.scalars(sa.select(ApiClient).where(ApiClient.name == name)).one()
    make.make_agreement(shop.dataset, agency.id)
    granted = browser.post(
        "/api-grants/new/",
        data={"client": str(client.id), "dataset": str(shop.dataset),  "field_names": "nip, nama, nik", "ends_on": "2099-01-31"},
    )  # fmt: skip
    assert granted.status_code == 302, granted.get_data(as_text=True)
    page = browser.post(
        f"/api-clients/{client.id}/keys", data={"networks": "127.0.0.0/8"}
    )
    key = newest_key(page.get_data(as_text=True))

    row = shop.get("?limit=1", key=key).json["data"][0]

    assert list(row) == ["nip", "nama", "nik"]
    with make.session() as s:
        grant = s.scalars(
            sa.select(ApiGrant).where(ApiGrant.client_id == client.id)
        ).one()
        assert grant.valid_until.isoformat() == "2099-01-31T17:00:00+00:00"
        key_id = s.scalars(
            sa.select(ApiKey.id).where(ApiKey.client_id == client.id)
        ).one()
    shown = browser.get(f"/api-clients/details/?id={client.id}").get_data(as_text=True)
    assert key not in shown
    assert key[4:14] in shown
    browser.post(f"/api-clients/keys/{key_id}/revoke")
    time.sleep(1.05)
    assert shop.get("?limit=1", key=key).status_code == 401


def test_a_grant_of_a_field_that_does_not_exist_is_refused_in_words(shop):
    browser = entered(shop.app, "ADMINISTRATOR")

    address = f"/api-grants/edit/?id={shop.grant}"
    answer = browser.post(
        address,
        data={"seen": seen_in(browser, address), "client": str(shop.client), "dataset": str(shop.dataset),  "field_names": "nip, hantu"},
    )  # fmt: skip

    assert "tidak mempunyai bidang hantu" in answer.get_data(as_text=True)


def test_days_that_no_calendar_has_are_refused_in_words(shop):
    browser = entered(shop.app, "ADMINISTRATOR")
    made = browser.post(
        f"/api-clients/{shop.client}/keys",
        data={"expires_on": "9999-12-31"},
        follow_redirects=True,
    )
    assert "sampai tahun 2" in made.get_data(as_text=True)
    address = f"/api-grants/edit/?id={shop.grant}"
    answer = browser.post(
        address,
        data={"seen": seen_in(browser, address), "client": str(shop.client),
              "dataset": str(shop.dataset), "field_names": "", "ends_on": "9999-12-31"},
    )  # fmt: skip
    assert "sampai tahun 2" in answer.get_data(as_text=True)


def test_a_withdrawn_grant_opens_nothing(shop):
    browser = entered(shop.app, "ADMINISTRATOR")
    address = f"/api-grants/edit/?id={shop.grant}"
    browser.post(
        address,
        data={"seen": seen_in(browser, address), "client": str(shop.client), "dataset": str(shop.dataset),  "field_names": "", "stopped": "y"},
    )  # fmt: skip

    time.sleep(1.05)
    assert shop.get("?limit=1").status_code == 404


def test_a_third_key_is_refused_in_words(shop):
    browser = entered(shop.app, "ADMINISTRATOR")
    browser.post(f"/api-clients/{shop.client}/keys")

    answer = browser.post(f"/api-clients/{shop.client}/keys", follow_redirects=True)

    assert "sudah mempunyai dua kunci" in answer.get_data(as_text=True)
    bad = browser.post(
        f"/api-clients/{shop.client}/keys", data={"networks": "x"}, follow_redirects=True
    )
    assert bad.status_code == 200


def test_the_producer_sees_who_read_its_data_and_others_do_not(shop):
    shop.get("?limit=5")
    with make.session() as s:
        grant = s.get_one(ApiGrant, shop.grant)
        producer, consumer = grant.producer_id, grant.agency_id
        log = s.scalars(
            sa.select(ExchangeLog).where(ExchangeLog.client_id == shop.client)
        ).one()
    with make.session() as s:
        sides = [s.get_one(Agency, each) for each in (producer, consumer)]
        name = sides[1].name
    for agency in sides:
        browser = entered(shop.app, "OPD_OPERATOR", agency=agency)
        listed = browser.get("/exchange/").get_data(as_text=True)
        assert shop.key[4:14] in listed
        assert name in listed
        assert browser.get(f"/exchange/details/?id={log.id}").status_code == 200
        assert name in browser.get("/agreements/").get_data(as_text=True)
    stranger = entered(shop.app, "OPD_OPERATOR", agency=make.make_agency())
    assert shop.key[4:14] not in stranger.get("/exchange/").get_data(as_text=True)
    assert "PKS 12/2026" not in stranger.get("/agreements/").get_data(as_text=True)
    assert stranger.get(f"/api-clients/details/?id={shop.client}").status_code == 404
    assert stranger.get(f"/exchange/details/?id={log.id}").status_code == 404
    assert stranger.post(f"/api-clients/{shop.client}/keys").status_code == 403


def test_a_trial_key_sees_masked_sample_rows_alone(shop):
    browser = entered(shop.app, "ADMINISTRATOR")
    page = browser.get(f"/developers/{shop.slug}").get_data(as_text=True)
    assert f"/api/v1/datasets/{shop.slug}/records" in page

    shown = browser.post(f"/developers/{shop.slug}/trial").get_data(as_text=True)
    key = newest_key(shown)

    answer = shop.get("?limit=1000&count=exact", key=key).json
    assert len(answer["data"]) == answer["count"]["rows"] == 100
    assert {row["nik"] for row in answer["data"]} == {"1•••••"}
    assert shop.get("?nik=1471000000000000", key=key).status_code == 403
    assert shop.get("?sort=nik", key=key).status_code == 403
    assert shop.get(f"?since={answer['page']['since']}", key=key).status_code == 403
    lines = shop.get("?format=csv", key=key).data.decode().splitlines()
    assert len(lines) > 100
    assert "14710000" not in "".join(lines)
    fields = shop.get(f"/api/v1/datasets/{shop.slug}", key=key).json["fields"]
    assert [each["name"] for each in fields if each["masked"]] == ["nik"]


def test_what_was_done_to_access_is_audited_without_the_secret(shop):
    from app.audit.models import AuditEvent

    with make.session() as s:
        events = s.scalars(
            sa.select(AuditEvent).where(AuditEvent.object_type == "api_key")
        ).all()
    assert events
    assert all(
        each.after["secret_hash"] == "•••" for each in events if each.action == "create"
    )


def end_agreements(shop):
    with make.session() as s:
        for each in s.scalars(
            sa.select(Agreement).where(Agreement.dataset_id == shop.dataset)
        ):
            each.ended_at, each.ended_because = clock.utc_now(), "uji"


def sides_of(shop):
    """Return the producing and the receiving agency of a shop's grant."""
    with make.session() as s:
        grant = s.get_one(ApiGrant, shop.grant)
        return s.get_one(Agency, grant.producer_id), s.get_one(Agency, grant.agency_id)


def test_a_receiving_agency_reads_the_developers_page_of_what_it_was_granted(shop):
    _producer, consumer = sides_of(shop)
    with make.session() as s:
        s.get_one(ApiGrant, shop.grant).fields = ["nip", "nama"]
    browser = entered(shop.app, "OPD_OPERATOR", agency=consumer)
    assert f"/api/v1/datasets/{shop.slug}" in browser.get("/developers/").get_data(True)

    page = browser.get(f"/developers/{shop.slug}").get_data(as_text=True)

    assert "nama" in page
    assert "gaji" not in page  # what it was not granted is not described either
    shown = browser.post(f"/developers/{shop.slug}/trial").get_data(as_text=True)
    rows = shop.get("?limit=1000", key=newest_key(shown)).json["data"]
    assert len(rows) == 100
    assert set(rows[0]) == {"nip", "nama"}
    for _ in range(4):
        newest_key(browser.post(f"/developers/{shop.slug}/trial").get_data(as_text=True))
    sixth = browser.post(f"/developers/{shop.slug}/trial", follow_redirects=True)
    assert "Lima kunci uji coba" in sixth.get_data(as_text=True)
    with make.session() as s:
        s.get_one(ApiGrant, shop.grant).revoked_at = clock.utc_now()
    assert browser.get(f"/developers/{shop.slug}").status_code == 200  # people still may
    assert browser.post(f"/developers/{shop.slug}/trial").status_code == 403
    end_agreements(shop)
    assert browser.get(f"/developers/{shop.slug}").status_code == 404
    assert browser.post(f"/developers/{shop.slug}/trial").status_code == 404


def test_a_stranger_and_the_producer_make_no_trial_key(shop):
    producer, _consumer = sides_of(shop)
    stranger = entered(shop.app, "OPD_OPERATOR", agency=make.make_agency())
    assert shop.slug not in stranger.get("/developers/").get_data(as_text=True)
    assert stranger.get(f"/developers/{shop.slug}").status_code == 404
    assert stranger.post(f"/developers/{shop.slug}/trial").status_code == 404
    own = entered(shop.app, "OPD_OPERATOR", agency=producer)
    assert "gaji" in own.get(f"/developers/{shop.slug}").get_data(as_text=True)
    assert own.post(f"/developers/{shop.slug}/trial").status_code == 403


def test_the_exchange_log_is_narrowed_by_day_dataset_agency_and_program(shop):
    shop.get("?limit=5")
    producer, consumer = sides_of(shop)
    browser = entered(shop.app, "ADMINISTRATOR")
    day = clock.utc_now().astimezone(ZoneInfo("Asia/Jakarta")).date()
    prefix = shop.key[4:14]
    other = make.make_agency()
    ours = f"where=client_id:is:{shop.client}"
    for query, found in {
        f"where=dataset_id:is:{shop.dataset}": True,
        f"where=dataset_id:is:{other.id}": False,
        f"where=agency_id:is:{consumer.id}": True,
        f"where=agency_id:is:{producer.id}": False,
        f"{ours}": True,
        f"where=client_id:is:{other.id}": False,
        f"{ours}&where=at:from:{day}&where=at:to:{day}": True,
        f"{ours}&where=at:from:{day + timedelta(days=1)}": False,
        f"{ours}&where=at:to:{day - timedelta(days=1)}": False,
        f"{ours}&where=at:from:kemarin&where=at:to:2999-12-31": True,
        f"{ours}&where=at:from:0001-01-01": True,
    }.items():  # fmt: skip
        listed = browser.get(f"/exchange/?{query}")
        assert listed.status_code == 200, query
        assert (prefix in listed.get_data(as_text=True)) is found, query
    page = browser.get(f"/exchange/?{ours}").get_data(as_text=True)
    assert f'value="{shop.client}" selected' in page
    agency = entered(shop.app, "OPD_OPERATOR", agency=consumer)
    page = agency.get("/exchange/?where=client_id:is:").get_data(as_text=True)
    assert f'value="{shop.client}"' in page
    assert str(other.id) not in page
