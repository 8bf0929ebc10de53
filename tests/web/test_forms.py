"""Forms as people use them: twice at once, from two windows, with mistakes, in Indonesian."""

import re

import pytest

from app.identity.passwords import hash_of
from app.sources.models import Source
from tests import make
from tests.web.conftest import PASSWORD

NEW = "kata-sandi-yang-lain-8"


def _seen(page: str) -> str:
    return re.search(r'name="seen" value="([^"]+)"', page).group(1)


def _draft(client, agency) -> str:
    answer = client.post(
        "/contracts/new",
        data={
            "title": "Draf", "slug": make.word("draf"), "agency": str(agency.id),
            "kind": "master", "load_mode": "snapshot",
        },
    )  # fmt: skip
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return answer.headers["Location"]


def _fields(seen: str, *names: str) -> dict[str, str]:
    rows = {f"f-{n}-name": name for n, name in enumerate(names)}
    limits = {"max_rejected_percent": "20", "max_vanished_percent": "10"}
    return {"seen": seen, "f-0-is_key": "1", **limits, **rows}


@pytest.mark.parametrize("role", ["OPD_OPERATOR", "AUDITOR"])
def test_a_person_of_any_role_changes_their_own_password(app, log_in, role):
    agency = make.make_agency() if role.startswith("OPD") else None
    email = make.make_user(role, agency=agency, password=hash_of(PASSWORD)).email
    client, elsewhere = log_in(email), log_in(email)

    answer = client.post(
        "/change-password",
        data={"password": PASSWORD, "new_password": NEW, "new_password_confirm": NEW},
    )

    assert answer.status_code == 302, answer.get_data(as_text=True)
    assert client.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302
    again = app.test_client()
    assert again.post("/login", data={"email": email, "password": NEW}).status_code == 302


def test_people_of_a_switched_off_agency_are_out_and_do_not_go_round_in_circles(
    app, log_in
):
    agency = make.make_agency()
    email = make.make_user(
        "OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD)
    ).email
    client = log_in(email)
    with make.session() as s:
        s.get_one(type(agency), agency.id).active = False

    assert client.get("/", follow_redirects=True).request.path == "/login"
    refused = client.post("/login", data={"email": email, "password": PASSWORD})
    assert refused.status_code == 200
    assert "tidak benar" in refused.get_data(as_text=True)


def test_log_ins_that_succeed_are_not_counted_against_an_office(app, log_in, people):
    for _ in range(15):
        client = app.test_client()
        data = {"email": people["AUDITOR"], "password": PASSWORD}
        assert client.post("/login", data=data).status_code == 302


def test_a_draft_saved_in_another_window_is_not_overwritten_unseen(app, log_in, people):
    client = log_in(people["SEMUA"])
    address = _draft(client, make.make_agency())
    seen = _seen(client.get(address).get_data(as_text=True))

    first = client.post(address, data=_fields(seen, "nip", "nama"))
    second = client.post(address, data=_fields(seen, "lain"))

    assert "Draf tersimpan" in first.get_data(as_text=True)
    text = second.get_data(as_text=True)
    assert second.status_code == 409
    for name in ("nip", "nama", "lain"):  # the fields of both
        assert f'value="{name}"' in text
    assert 'value="lain"' not in client.get(address).get_data(as_text=True)
    merged = _fields(_seen(text), "nip", "nama", "lain")
    assert "Draf tersimpan" in client.post(address, data=merged).get_data(as_text=True)
    assert 'value="lain"' in client.get(address).get_data(as_text=True)


def test_a_refused_source_says_why_on_the_same_page(app, log_in, people):
    client = log_in(people["SEMUA"])
    contract = make.make_contract(agency=make.make_agency())

    def post(**changed):
        data = {
            "name": "S", "contract": str(contract.id), "base_url": "http://x.go.id/",
            "auth": "none", "paging": "none", **changed,
        }  # fmt: skip
        return client.post("/sources/new", data=data).get_data(as_text=True)

    assert "hanya http:// dan https://" in post(base_url="file:///etc/passwd")
    assert "alamat memuat nama pengguna" in post(base_url="http://a:b@x.go.id/")
    assert "Isian ini wajib diisi" in post(name="")
    assert "This field" not in post(name="")
    assert "Isian ini wajib diisi" in post(name="   ")
    for secret in (
        {"headers": "Authorization: Bearer rahasia"},
        {"headers": "X-API-Key: rahasia"},
        {"query": "access_token=rahasia"},
        {"base_url": "http://x.go.id/?api_key=rahasia"},
    ):
        assert "terenkripsi" in post(**secret), secret


def test_an_approval_is_for_the_address_that_was_seen(app, log_in, people, estates):
    own, _ = estates
    client = log_in(people["SEMUA"])
    address = f"/sources/{own.source}/approve"
    with make.session() as s:
        before = s.get_one(Source, own.source).approved_host

    client.post(address, data={"host": "jahat.example:80", "reason": "ya"})
    client.post(address, data={"host": "", "reason": ""})

    with make.session() as s:
        assert s.get_one(Source, own.source).approved_host == before


def test_a_source_keeps_its_contract(app, log_in, people, estates):
    own, other = estates
    client = log_in(people["SEMUA"])

    answer = client.post(
        f"/sources/{own.source}/edit",
        data={
            "name": "S", "contract": str(other.contract), "base_url": "http://x.go.id/",
            "auth": "none", "paging": "none",
        },
    )  # fmt: skip

    assert answer.status_code == 200
    with make.session() as s:
        assert s.get_one(Source, own.source).contract_id == own.contract


def test_an_agency_that_asks_for_anothers_file_gets_the_same_404(log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    assert client.post(f"/downloads/request/{other.slug}").status_code == 404
    assert client.post("/downloads/request/tidak_ada").status_code == 404


def test_an_agency_that_is_made_twice_at_once_is_no_error_of_ours(app, log_in, people):
    client = log_in(people["SYSADMIN"])
    code = make.word("kode")
    data = {"code": code, "name": f"Dinas {code}", "active": "y"}

    assert client.post("/agencies/new/", data=data).status_code == 302
    assert client.post("/agencies/new/", data=data).status_code == 200


def test_a_person_has_one_line_for_a_name(app, log_in, people):
    page = log_in(people["SYSADMIN"]).get("/users/new/").get_data(as_text=True)

    assert "<textarea" not in page
