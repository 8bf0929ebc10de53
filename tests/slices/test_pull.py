"""What a pull does with answers: good, changed, bad, doubled, and not answers at all."""

import json
import time
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa

from app.contracts.states import FieldType, LoadMode
from app.datasets.models import Dataset
from app.pulls.models import PullRun, QuarantinedRecord
from app.runs import services
from app.runs.models import JobRun
from app.runs.states import RunStatus
from tests import make

pytestmark = pytest.mark.usefixtures("bound")


def person(number, name="Siti", **values):
    return {
        "nip": f"{number:04}", "nama": name, "gaji": 1000 + number, "lahir": "1980-01-02",
    } | values  # fmt: skip


def people(count, **values):
    return [person(n, **values) for n in range(count)]


def dump(contract):
    """Return every row of the central table and its history, with where it came from."""
    with make.session() as s:
        return [
            sorted(
                str(tuple(row))
                for row in s.execute(sa.text(f'SELECT t.*, t.xmin FROM data."{name}" t'))
            )
            for name in (contract.slug, f"{contract.slug}__history")
        ]


def rows(contract, columns="nip, nama, gaji", where="_deleted_at IS NULL"):
    with make.session() as s:
        sql = f'SELECT {columns} FROM data."{contract.slug}" WHERE {where} ORDER BY nip'
        return [tuple(row) for row in s.execute(sa.text(sql))]


def history(contract, columns="nip, nama, _ended_as"):
    with make.session() as s:
        sql = f'SELECT {columns} FROM data."{contract.slug}__history" ORDER BY nip, _valid_to'
        return [tuple(row) for row in s.execute(sa.text(sql))]


def dataset_of(contract):
    with make.session() as s:
        return s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()


def quarantined(run_id):
    with make.session() as s:
        return s.scalars(
            sa.select(QuarantinedRecord)
            .where(QuarantinedRecord.run_id == run_id)
            .order_by(QuarantinedRecord.page, QuarantinedRecord.position)
        ).all()


@pytest.fixture(scope="module")
def module_yard(settings):
    from tests import fakes

    with fakes.Yard(settings) as made:
        yield made


@pytest.fixture
def pull(module_yard, upstream):
    """Pull what the service has now; return the run when its process has ended."""
    sources = {}

    def do(contract, records=None, *, run_id=None, **settings):
        if records is not None:
            upstream.records = records
        source = sources.get(contract.id) or make.make_source(
            contract, upstream.url, **settings
        )
        sources[contract.id] = source
        run_id = run_id or make.request_pull(source)
        assert module_yard.run(run_id) == 0
        return make.run_of(run_id)

    return do


def counts(run):
    return {name.removesuffix("_count"): n for name, n in run.result.items() if n}


def test_first_pull_then_changes_then_the_same_again(pull):
    contract = make.make_contract()
    first = pull(contract, people(25))
    assert counts(first) == {"read": 25, "inserted": 25}
    assert rows(contract)[0] == ("0000", "Siti", 1000)
    changed = [*people(24), person(30, name="Baru")]
    changed[3]["nama"] = "Siti Aminah"
    second = pull(contract, changed)
    assert counts(second) == {
        "read": 25, "inserted": 1, "changed": 1, "unchanged": 23, "vanished": 1,
    }  # fmt: skip
    assert history(contract) == [
        ("0003", "Siti", "changed"),
        ("0024", "Siti", "vanished"),
    ]
    assert rows(contract, "nip", "_deleted_at IS NOT NULL") == [("0024",)]
    assert dataset_of(contract).row_count == 25
    before = dump(contract)
    third = pull(contract)
    assert counts(third) == {"read": 25, "unchanged": 25}
    assert dump(contract) == before


def test_a_returned_row_lives_again_with_its_story(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    pull(contract, people(19))
    run = pull(contract, people(20))
    assert counts(run) == {"read": 20, "inserted": 1, "unchanged": 19}
    assert history(contract) == [
        ("0019", "Siti", "vanished"),
        ("0019", "Siti", "returned"),
    ]
    assert len(rows(contract)) == dataset_of(contract).row_count == 20


def test_validity_spans_follow_each_other_without_gaps(pull):
    contract = make.make_contract()
    for name in ("a", "b", "c"):
        pull(contract, people(3, name=name))
    spans = history(contract, "nip, _valid_from, _valid_to")
    ((_, _, first_end), (_, second_start, second_end)) = spans[:2]
    assert first_end == second_start
    assert rows(contract, "nip, _changed_at")[0][1] == second_end


def test_counters_sum_up_in_run_and_table(pull):
    contract = make.make_contract(max_rejected_percent=100)
    records = [*people(20), person(3), person(4, name="Lain"), person(50, gaji="x")]
    run = pull(contract, records)
    with make.session() as s:
        kept = s.get_one(PullRun, run.id)
        numbers = {
            n: getattr(kept, f"{n}_count")
            for n in ("inserted", "changed", "unchanged", "rejected", "repeated")
        }
        assert kept.read_count == sum(numbers.values()) == 23
    assert numbers == {
        "inserted": 19, "changed": 0, "unchanged": 0, "rejected": 3, "repeated": 1,
    }  # fmt: skip


def test_doubles_exact_are_dropped_and_conflicting_are_set_aside(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    run = pull(contract, [*people(20), person(5), person(6, name="Orang lain")])
    assert counts(run) == {"read": 22, "unchanged": 19, "repeated": 1, "rejected": 2}
    assert ("0006", "Siti", 1006) in rows(contract)  # neither wins; what was, stays
    aside = quarantined(run.id)
    assert Counter(q.record_key for q in aside) == {"0006": 2}
    assert {json.loads(q.raw)["nama"] for q in aside} == {"Siti", "Orang lain"}
    assert {q.errors[0]["code"] for q in aside} == {"key_conflict"}
    assert [(q.page, q.position) for q in aside] == [(0, 6), (2, 1)]


def test_quarantine_keeps_bytes_and_every_error(pull, upstream):
    contract = make.make_contract()
    broken = b'{"nip":"0001","nama":null,"gaji":-5,"lahir":"2026-13-40","x":"\\u0000"}'
    good = json.dumps(people(20)[2:]).encode()[1:-1]
    body = b'{"ok":true,"data":[' + broken + b"," + good + b'],"total":19}'
    upstream.answer = lambda handler, _page: handler.reply(body)
    run = pull(contract, page_size=100)
    assert counts(run) == {"read": 19, "inserted": 18, "rejected": 1}
    [record] = quarantined(run.id)
    assert bytes(record.raw) == broken
    assert {e["field"] for e in record.errors} >= {"nama", "gaji", "lahir"}
    assert all(e["code"] and e["message"] for e in record.errors)


def test_a_broken_record_does_not_make_its_row_vanish(pull):
    contract = make.make_contract()
    pull(contract, people(20))
    records = people(20)
    records[7]["gaji"] = "banyak"
    run = pull(contract, records)
    assert counts(run) == {"read": 20, "unchanged": 19, "rejected": 1}
    assert len(rows(contract)) == 20


def test_upsert_lets_nothing_vanish(pull):
    contract = make.make_contract(load_mode=LoadMode.UPSERT)
    pull(contract, people(20))
    run = pull(contract, [person(3, name="Lain"), person(30)])
    assert counts(run) == {"read": 2, "inserted": 1, "changed": 1}
    assert len(rows(contract)) == 21


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (people(17), "too_many_vanished"),
        (
            [*people(15), *(person(n, gaji="x") for n in range(15, 20))],
            "too_many_rejected",
        ),
    ],
)
def test_gates_hold_and_a_person_lets_pass(pull, records, code):
    contract = make.make_contract()
    pull(contract, people(20))
    before = dump(contract)
    run = pull(contract, records)
    assert (run.status, run.error_code) == (RunStatus.HELD, code)
    assert dump(contract) == before
    assert dataset_of(contract).row_count == 20
    with make.session() as s:
        new_id = services.accept_held(s, s.get_one(JobRun, run.id), "Sudah dicek")
    accepted = pull(contract, run_id=new_id)
    assert accepted.status is RunStatus.SUCCEEDED
    assert pull(contract).status is (
        RunStatus.SUCCEEDED if code == "too_many_vanished" else RunStatus.HELD
    )  # for that run alone


@pytest.mark.parametrize(
    ("vanished", "status"), [(2, RunStatus.SUCCEEDED), (3, RunStatus.HELD)]
)
def test_the_limit_itself_gets_through(pull, vanished, status):
    contract = make.make_contract(max_vanished_percent=10)
    pull(contract, people(20))
    assert pull(contract, people(20 - vanished)).status is status


def drip(handler, _page):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(8):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.3)
    return True


def endless(handler, _page):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(100):
        handler.wfile.write(b'{"ok":true,"data":[' + b" " * 10_000)
    return True


def cut_off(handler, _page):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"ok":true,"data":[')
    handler.close_connection = True
    return True


def says(body, **more):
    return lambda handler, _page: handler.reply(body, **more)


def more_and_more(handler, page):
    answer = {"ok": True, "data": people(10, name=str(page)), "total": 10_000}
    return handler.reply(json.dumps(answer).encode())


def ends_early(handler, page):
    answer = {"ok": True, "data": people(10) if page == 1 else [], "total": 20}
    return handler.reply(json.dumps(answer).encode())


def same_page(handler, _page):
    return handler.reply(
        json.dumps({"ok": True, "data": people(10), "total": 20}).encode()
    )


BAD_ANSWERS = {
    "empty": (says(b'{"ok":true,"data":[],"total":0}'), "empty_answer"),
    "error with 200": (says(b'{"ok":false,"message":"galat"}'), "success_rule"),
    "repeated page": (same_page, "repeated_page"),
    "short total": (ends_early, "short_total"),
    "not JSON": (says(b"<html>masuk dahulu</html>", kind="text/html"), "not_json"),
    "half JSON": (says(b'{"ok":true,"data":[{"nip":'), "not_json"),
    "no list": (says(b'{"ok":true,"data":{"a":1}}'), "wrong_shape"),
    "goes on for ever": (more_and_more, "too_many_pages"),
    "larger than allowed": (endless, "response_too_large"),
    "drips": (drip, "too_slow"),
    "ends in the middle": (cut_off, "truncated_body"),
    "500": (says(b"aduh", status=500), "http_5xx"),
    "401": (says(b"{}", status=401), "http_401"),
    "404": (says(b"{}", status=404), "http_404"),
    "429": (says(b"{}", status=429), "http_429"),
    "302": (says(b"", status=302), "redirect_refused"),
}
TRANSIENT = {"too_slow", "truncated_body", "http_5xx", "http_429"}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_what_is_no_answer_changes_nothing(pull, upstream, case):
    answer, code = BAD_ANSWERS[case]
    contract = make.make_contract()
    assert pull(contract, people(20)).status is RunStatus.SUCCEEDED
    before, known = dump(contract), dataset_of(contract)
    upstream.answer = answer
    run = pull(contract)
    wanted = RunStatus.QUEUED if code in TRANSIENT else RunStatus.FAILED
    assert (run.error_code, run.status) == (code, wanted)
    assert dump(contract) == before
    after = dataset_of(contract)
    assert (after.row_count, after.published_run_id, after.published_at) == (
        known.row_count, known.published_run_id, known.published_at,
    )  # fmt: skip


def test_a_fault_on_a_later_page_is_made_good_without_reading_all_again(pull, upstream):
    contract = make.make_contract()
    failed = []

    def once(handler, page):
        if page == 4 and not failed:
            failed.append(page)
            return handler.reply(b"aduh", status=503)
        return False

    upstream.answer = once
    run = pull(contract, people(60))
    assert (run.status, run.error_code) == (RunStatus.QUEUED, "http_5xx")
    assert run.checkpoint["read"] == run.progress_done == 30
    make.make_due(run.id)
    run = pull(contract, run_id=run.id)
    assert counts(run) == {"read": 60, "inserted": 60}
    assert upstream.asked == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1}
    assert run.attempt == 2


def test_two_pulls_into_one_dataset_never_overlap():
    contract = make.make_contract()
    one = make.make_source(contract, "http://127.0.0.1:9/a")
    two = make.make_source(contract, "http://127.0.0.1:9/b")
    make.request_pull(one)
    with pytest.raises(services.AlreadyActiveError):
        make.request_pull(two)


@pytest.mark.parametrize("how", ["disabled", "never activated"])
def test_what_cannot_be_pulled_says_so(pull, how):
    contract = make.make_contract(active=how == "disabled")
    source = make.make_source(contract, "http://127.0.0.1:9/a")
    run_id = make.request_pull(source)
    if how == "disabled":
        with make.session() as s:
            s.get_one(type(source), source.id).enabled = False
    run = pull(contract, run_id=run_id)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "not_pullable")


def test_dates_and_keys_arrive_as_they_are(pull):
    contract = make.make_contract()
    pull(contract, [person(7, lahir="1999-12-31")])
    assert rows(contract, "nip, lahir") == [("0007", date(1999, 12, 31))]


NUMBERS = {
    "0.10": Decimal("0.10"),
    "-0": Decimal(0),
    "1.5e3": Decimal(1500),
    "12345678901234567890.123456789012345678": Decimal(
        "12345678901234567890.123456789012345678"
    ),
    '"007.50"': Decimal("7.50"),
    '"1_000"': Decimal(1000),
    "null": None,
}


def numbers(upstream, written):
    rows = [f'{{"nip":"{n:04}","nilai":{each}}}' for n, each in enumerate(written)]
    body = f'{{"ok":true,"data":[{",".join(rows)}],"total":{len(rows)}}}'.encode()
    upstream.answer = lambda handler, _page: handler.reply(body)


def test_numbers_arrive_digit_for_digit_however_they_are_written(pull, upstream):
    key, nilai = make.PERSON[0], make.field("nilai", FieldType.NUMBER)
    contract = make.make_contract([key, nilai])
    numbers(upstream, NUMBERS)
    assert counts(pull(contract, page_size=100)) == {"read": 7, "inserted": 7}
    stored = [value for _, value in rows(contract, "nip, nilai")]
    assert stored == [*NUMBERS.values()]
    assert [str(value) for value in stored if value is not None][:1] == ["0.10"]
    # The same values written otherwise are no change; another value is one.
    numbers(upstream, ["0.1", "0", "1500", *list(NUMBERS)[3:-1], "5"])
    run = pull(contract)
    assert counts(run) == {"read": 7, "unchanged": 6, "changed": 1}
    assert rows(contract, "nip, nilai")[-1] == ("0006", Decimal(5))


def test_a_key_that_contradicts_itself_is_told_of_in_a_wide_contract_too(pull, upstream):
    wide = [make.field(f"n{n:02}", FieldType.NUMBER) for n in range(60)]
    contract = make.make_contract([make.PERSON[0], *wide], max_rejected_percent=100)
    one = {"nip": "0001"} | {each.name: 1.5 for each in wide}
    other, third = one | {"n59": 2}, one | {"nip": "0002"}
    same = third | {"n00": "1.50"}  # equal by value, not by the way it is written
    run = pull(contract, [one, other, third, same])
    assert counts(run) == {"read": 4, "inserted": 1, "rejected": 2, "repeated": 1}
    told = [json.loads(each.raw) for each in quarantined(run.id)]
    assert [(each["n00"], each["n59"], len(each)) for each in told] == [
        (1.5, 1.5, 61), (1.5, 2, 61),
    ]  # fmt: skip
