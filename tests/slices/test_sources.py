"""Sources at work: marks move with the publish, hosts are spared, failures bring a rest."""

from datetime import date
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.connectors import errors
from app.contracts.states import LoadMode
from app.core import db
from app.core.crypto import EncryptedText
from app.core.policy import acting_as
from app.datasets.models import Dataset
from app.pulls import services as pull_services
from app.pulls.models import PullRun
from app.pulls.pulling import pull
from app.runs.errors import ReasonMissingError
from app.sources import services
from app.sources.errors import (
    AddressChangedError,
    NotConfirmedError,
    PlainTooLongError,
    SamePersonError,
    SnapshotIncrementalError,
)
from app.sources.models import Source
from tests import fakes, make

pytestmark = pytest.mark.usefixtures("bound")
JAKARTA = "Asia/Jakarta"


@pytest.fixture
def upstream(upstream):
    upstream.records = make.people(*range(1, 21), lahir="2024-01-{n:0>2}")
    return upstream


def do_pull(source):
    run = make.request_pull(source)
    with acting_as(make.WORKER_PRINCIPAL):
        pull(make.claim(run), fakes.pages_here, (), JAKARTA)
    return make.run_of(run)


def source_now(source):
    with make.session() as s:
        return s.get_one(Source, source.id)


def test_the_mark_moves_with_the_publish_and_the_next_pull_asks_from_there(upstream):
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    source = make.make_source(
        contract, upstream.url, since_param="sejak", since_field="lahir", since_overlap=2
    )
    asked = []
    upstream.answer = lambda handler, page: bool(asked.append(handler.path))

    assert do_pull(source).status == "succeeded"
    assert source_now(source).mark["value"] == "2024-01-20"
    assert not any("sejak" in path for path in asked)

    asked.clear()
    upstream.records = upstream.records[-2:]
    run = do_pull(source)

    assert "sejak=2024-01-18" in asked[0]
    assert (run.status, run.result["vanished_count"]) == ("succeeded", 0)


def test_a_pull_in_which_nothing_changed_succeeds(upstream):
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    source = make.make_source(
        contract, upstream.url, since_param="s", since_field="lahir"
    )
    do_pull(source)
    upstream.records = []

    assert do_pull(source).status == "succeeded"
    assert source_now(source).mark["value"] == "2024-01-20"


def test_a_pull_that_is_held_moves_no_mark(upstream):
    contract = make.make_contract(load_mode=LoadMode.UPSERT, max_rejected_percent=1)
    source = make.make_source(
        contract, upstream.url, since_param="s", since_field="lahir"
    )
    upstream.records[0]["nip"] = "rusak"

    assert do_pull(source).status == "held"
    assert source_now(source).mark is None


@pytest.fixture
def marked(upstream):
    """A source with a mark, its contract, and what the service is asked from now on."""
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    source = make.make_source(
        contract, upstream.url, since_param="sejak", since_field="lahir"
    )
    assert do_pull(source).status == "succeeded"
    asked = []
    upstream.answer = lambda handler, page: bool(asked.append(handler.path))
    return source, contract, asked


def is_whole(asked):
    return bool(asked) and not any("sejak" in path for path in asked)


def test_a_new_version_of_the_contract_reads_everything_once_more(marked):
    source, contract, asked = marked
    make.next_version(contract.id, [*make.PERSON, make.field("catatan")])
    make.activate(contract.id)

    assert do_pull(source).status == "succeeded"
    assert is_whole(asked)
    asked.clear()
    do_pull(source)
    assert not is_whole(asked)


@pytest.mark.parametrize(
    ("changed", "whole"),
    [
        ({"since_field": "nip", "since_format": "number"}, True), ({"since_start": "2020-01-01"}, True),
        ({"query": {"unit": "2"}}, True), ({"rows_path": "data", "since_overlap": 3}, True),
        ({"page_size": 20}, False), ({"page_seconds": 2.0, "user_agent": "Simpul"}, False),
    ],
)  # fmt: skip
def test_settings_that_change_what_is_asked_reset_the_mark(marked, changed, whole):
    source, _, _ = marked

    saved(source, **changed)

    assert (source_now(source).mark is None) is whole


def test_staff_let_everything_be_asked_for_once_more_and_say_why(marked):
    source, _, asked = marked
    with make.session() as s, pytest.raises(ReasonMissingError):
        services.forget_mark(s, s.get_one(Source, source.id), "")
    assert source_now(source).mark is not None
    with make.session() as s:
        services.forget_mark(s, s.get_one(Source, source.id), "data dibetulkan OPD")

    assert source_now(source).mark is None
    assert do_pull(source).status == "succeeded"
    assert is_whole(asked)
    assert source_now(source).mark["value"] == "2024-01-20"
    with make.session() as s:
        reasons = s.scalars(
            sa.select(AuditEvent.reason).where(AuditEvent.object_id == str(source.id))
        ).all()
    assert "data dibetulkan OPD" in reasons


def test_a_roll_back_forgets_the_mark(marked):
    source, contract, _ = marked
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        first = dataset.published_run_id
    do_pull(source)
    with make.session() as s:
        pull_services.request_rollback(
            s, s.get_one(Dataset, dataset.id), s.get_one(PullRun, first), "salah"
        )

    assert source_now(source).mark is None


@pytest.mark.parametrize("wish", ["whole", "changed"])
def test_a_pull_under_way_brings_back_no_mark_that_was_taken_meanwhile(
    marked, upstream, wish
):
    source, _, asked = marked

    def meanwhile(handler, page):
        if not asked:
            if wish == "whole":
                with make.session() as s:
                    services.forget_mark(s, s.get_one(Source, source.id), "dibetulkan")
            else:
                saved(source, query={"unit": "2"})
        asked.append(handler.path)
        return False

    upstream.answer = meanwhile
    assert do_pull(source).status == "succeeded"

    assert source_now(source).mark is None


def test_an_attempt_does_not_go_on_with_another_question(upstream):
    """Half an answer of one address and half of another would be published as one."""
    source = make.make_source(make.make_contract(), upstream.url)
    run = make.request_pull(source)
    asked = []

    def fails_late(handler, page):
        asked.append(handler.path)
        fails = page == 2 and "unit" not in handler.path
        if fails:
            handler.reply(b"", status=503)
        return fails

    upstream.answer = fails_late
    with acting_as(make.WORKER_PRINCIPAL):
        lease = make.claim(run)
        with pytest.raises(errors.SourceUnavailableError) as caught:
            pull(lease, fakes.pages_here, (), JAKARTA)
        with make.session(make.WORKER_PRINCIPAL) as s:
            lease.try_later(s, caught.value)
    saved(source, query={"unit": "2"})
    make.make_due(run)
    asked.clear()
    with acting_as(make.WORKER_PRINCIPAL):
        pull(make.claim(run), fakes.pages_here, (), JAKARTA)

    assert len(asked) >= 2
    assert all("unit=2" in path for path in asked)
    assert make.run_of(run).result["read_count"] == 20


def test_a_whole_set_may_not_be_asked_for_in_parts(upstream):
    source = make.make_source(make.make_contract(), upstream.url)
    with pytest.raises(SnapshotIncrementalError):
        saved(source, since_param="x")


def saved(source, by=make.OFFICE, **changed):
    with make.session(by) as s:
        own = s.get_one(Source, source.id)
        secrets = changed.pop("secrets", {})
        services.save_source(s, own, {**own.settings, **changed}, secrets=secrets)


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({"base_url": "https://lain.opd.example/x"}, False), ({"auth": "bearer", "secrets": {"auth_secret": "k"}}, False),
        ({"secrets": {"auth_secret": "baru"}}, False), ({"page_size": 20}, True), ({"rows_path": "x"}, True),
    ],
)  # fmt: skip
def test_a_changed_address_or_key_loses_the_approval(upstream, changed, stays):
    source = make.make_source(make.make_contract(), upstream.url)

    saved(source, **changed)

    assert bool(source_now(source).approved_host) is stays


def somebody(name):
    return make.OFFICE.__class__(name, make.OFFICE.db_role, user_id=uuid4())


def approve(s, source):
    own = s.get_one(Source, source.id)
    pairs, seen = services.approvable(own), services.seen_of(own)
    services.approve_host(s, own, pairs, "ya", seen=seen)


def except_plain(s, source):
    own = s.get_one(Source, source.id)
    day = db.now(s).date()
    services.except_plain(s, own, day, "ya", seen=services.seen_of(own))


def test_nobody_approves_what_they_changed_because_another_changed_more(upstream):
    """One sets the address, another a key: neither is a second person for the other half."""
    one, other, third = somebody("satu"), somebody("dua"), somebody("tiga")
    source = make.make_source(make.make_contract(), upstream.url)
    saved(source, by=one, base_url="https://api.opd.example/x")
    saved(source, by=other, auth="bearer", secrets={"auth_secret": "k"})

    for each in (one, other):
        with make.session(each) as s, pytest.raises(SamePersonError):
            approve(s, source)
        with make.session(each) as s, pytest.raises(SamePersonError):
            except_plain(s, source)
    with make.session(third) as s:
        approve(s, source)
    saved(source, by=third, auth_name="X")
    with make.session(one) as s:  # what they changed was approved by another
        approve(s, source)


@pytest.mark.parametrize(
    "changed", [{"base_url": "https://api.opd.example/lain"}, {"secrets": {"auth_secret": "k2"}}]
)  # fmt: skip
@pytest.mark.parametrize("when", ["after-the-look", "while-approving", "while-editing"])
def test_what_is_approved_is_what_was_seen(upstream, changed, when):
    source = make.make_source(make.make_contract(), upstream.url)
    mine = {"base_url": "https://api.opd.example/x", "auth": "bearer"}
    saved(source, by=somebody("satu"), secrets={"auth_secret": "k1"}, **mine)
    again = {"secrets": {}, **mine, **changed}
    seen = services.seen_of(source_now(source))
    pair = "api.opd.example:443"

    if when == "while-editing":  # the form was loaded before the approval, saved after it
        with make.session(somebody("dua")) as s:
            own = s.get_one(Source, source.id)
            with make.session(somebody("tiga")) as t:
                approve(t, source)
            plain = {k: v for k, v in again.items() if k != "secrets"}
            services.save_source(
                s, own, {**own.settings, **plain}, secrets=again["secrets"]
            )
    else:
        with make.session(somebody("tiga")) as s:
            own = s.get_one(Source, source.id)
            if when == "after-the-look":
                s.expunge(own)
            saved(source, by=somebody("dua"), **again)
            if when == "after-the-look":
                own = s.get_one(Source, source.id)
            with pytest.raises(AddressChangedError):
                services.approve_host(s, own, pair, "ya", seen=seen)

    assert source_now(source).approved_host == ""


def test_an_exception_from_encryption_is_for_the_address_it_was_made_for(upstream):
    source = make.make_source(make.make_contract(), upstream.url)

    saved(source, page_size=7)
    assert source_now(source).plain_until
    saved(source, base_url="http://10.9.8.7/api")
    assert source_now(source).plain_until is None


def test_a_second_person_approves(upstream):
    source = make.make_source(make.make_contract(), upstream.url)
    saved(source, base_url="https://api.opd.example/x")
    other = somebody("lain")

    with make.session() as s, pytest.raises(SamePersonError):
        approve(s, source)
    with make.session(other) as s:
        approve(s, source)

    now = source_now(source)
    assert (now.approved_host, now.approved_by) == ("api.opd.example:443", "lain")


@pytest.mark.parametrize("host", ["103.10.1.1", "[2404:c0::1]"])
def test_an_exception_from_encryption_is_for_intranet_addresses_only(host):
    source = make.make_source(make.make_contract(), f"http://{host}/api")
    with make.session() as s:
        s.get_one(Source, source.id).approved_host = f"{host}:80"
    run = make.request_pull(source)

    with (
        acting_as(make.WORKER_PRINCIPAL),
        pytest.raises(errors.SourceRefusedError) as caught,
    ):
        pull(make.claim(run), fakes.pages_here, (), JAKARTA)
    assert "intranet" in caught.value.params["why"]


@pytest.mark.parametrize("host", ["127.0.0.1:5432", "169.254.169.254:80", "[::1]:80"])
def test_this_machine_and_metadata_are_nobodys_to_approve(upstream, host):
    source = make.make_source(make.make_contract(), upstream.url)
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.settings = {**own.settings, "base_url": f"http://{host}/"}
        assert services.approvable(own)
        s.flush()
        with pytest.raises(NotConfirmedError):
            approve(s, own)


def test_plain_http_needs_an_exception_that_has_not_ended(upstream):
    source = make.make_source(make.make_contract(), upstream.url)
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.plain_until = date(2020, 1, 1)
    run = make.request_pull(source)
    with (
        acting_as(make.WORKER_PRINCIPAL),
        pytest.raises(Exception, match="ended on 2020"),
    ):
        pull(make.claim(run), fakes.pages_here, (), JAKARTA)
    with make.session() as s:
        own = s.get_one(Source, source.id)
        with pytest.raises(PlainTooLongError):
            services.except_plain(s, own, date(2999, 1, 1), "alasan", seen="")


# --- rest ---------------------------------------------------------------------------


def test_after_too_many_failures_a_source_and_its_schedule_rest_until_tried_again(
    upstream,
):
    source = make.make_source(make.make_contract(), upstream.url)
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.max_failures = 2
        pull_services.set_schedule(
            s, own, pull_services.ScheduleWish("0 2 * * *", JAKARTA)
        )
    for _ in range(2):
        assert source_now(source).enabled
        with make.session(make.WORKER_PRINCIPAL) as s:
            failure = errors.for_status("h", 401)
            pull_services.note_failure(s, source.id, failure)

    rested = source_now(source)
    with make.session() as s:
        assert not pull_services.schedule_of(s, rested).enabled
    assert not rested.enabled
    assert "HTTP 401" in rested.pause["message"]

    with make.session() as s:
        pull_services.resume_source(s, s.get_one(Source, source.id))
    with make.session() as s:
        own = s.get_one(Source, source.id)
        assert (own.enabled, own.pause, own.failure_count) == (True, None, 0)
        assert pull_services.schedule_of(s, own).enabled


def test_a_success_ends_the_row_of_failures(upstream):
    source = make.make_source(make.make_contract(), upstream.url)
    with make.session(make.WORKER_PRINCIPAL) as s:
        pull_services.note_failure(s, source.id, errors.for_status("h", 401))
        pull_services.note_success(s, source.id)

    assert source_now(source).failure_count == 0


def test_several_keys_are_ciphertext_and_a_lone_one_of_former_days_is_read(upstream):
    source = make.make_source(make.make_contract(), upstream.url)
    saved(source, secrets={"auth_secret": "satu-kenari", "also_secret": "dua-kenari"})

    assert source_now(source).secrets == {
        "auth_secret": "satu-kenari",
        "also_secret": "dua-kenari",
    }

    with make.session() as s:
        raw = s.execute(
            sa.text("SELECT secrets FROM source WHERE id = :i"), {"i": source.id}
        ).scalar_one()
        assert "kenari" not in raw
        lone = EncryptedText().process_bind_param("lama", None)
        s.execute(
            sa.text("UPDATE source SET secrets = :t WHERE id = :i"),
            {"t": lone, "i": source.id},
        )
    assert source_now(source).secrets == {"auth_secret": "lama"}
