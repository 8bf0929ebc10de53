"""The office's own page: one row, its letterhead, its deadlines, its history."""

import re

import sqlalchemy as sa

from app.office import admin
from app.office.models import Office
from tests import make
from tests.web.conftest import seen_in


def the_office():
    with make.session() as s:
        return s.scalars(sa.select(Office)).one()


def sent(office, **more):
    names = ("name", "government", "address", "phone", "fax", "email", "website", "place")
    form = {
        name: getattr(office, name)
        for name in (
            *names,
            "head_title",
            "number_format",
            "report_months",
            "notice_days",
            "answer_days",
        )
    }
    return form | {f"step_{n}": d for n, d in enumerate(office.step_days, 1)} | more


def test_the_page_is_the_one_row_and_what_is_changed_stands_everywhere(
    log_in, people, monkeypatch
):
    monkeypatch.setattr(admin, "REMEMBERED_SECONDS", 0)
    client, office = log_in(people["SYSADMIN"]), the_office()
    address = client.get("/office/").headers["Location"]
    assert str(office.id) in address
    page = client.get(address).get_data(as_text=True)
    assert "PEMERINTAH PROVINSI RIAU" in page
    assert "1 Koordinasi: 3; 2 Definisi data: 7" in page
    form = f"/office/edit/?id={office.id}"
    data = sent(
        office, seen=seen_in(client, form), name="Dinas Baru", step_8=9, reason="SK 1"
    )
    assert client.post(form, data=data).status_code == 302
    try:
        assert '<span class="office">Dinas Baru</span>' in client.get("/").get_data(
            as_text=True
        )
        assert the_office().step_days[7] == 9
        assert re.search(r"SK 1", client.get(address).get_data(as_text=True))
    finally:
        with make.session() as s:
            row = s.scalars(sa.select(Office)).one()
            row.name, row.step_days = office.name, office.step_days


def test_a_day_that_is_none_is_refused_at_its_field(log_in, people):
    client, office = log_in(people["ADMINISTRATOR"]), the_office()
    form = f"/office/edit/?id={office.id}"
    data = sent(office, seen=seen_in(client, form), step_1="tiga", report_months=0)
    page = client.post(form, data=data).get_data(as_text=True)
    assert 'href="#step_1"' in page
    assert 'href="#report_months"' in page
    assert the_office().step_days == office.step_days


def test_only_who_may_change_the_office_sees_the_page(log_in, people, estates):
    for email in (people["AUDITOR"], people["TIM_TEKNIS"], estates[0].operator):
        assert log_in(email).get("/office/").status_code == 403
