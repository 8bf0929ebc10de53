"""Support looks on as an agency: what it sees, nothing more, and not one change."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import InternalError

from app.audit.models import AuditEvent
from app.core.policy import DbRole, Principal
from app.identity.models import Agency
from app.identity.passwords import hash_of
from tests import make
from tests.web.conftest import PASSWORD
from tests.web.test_access import LISTS, addresses


@pytest.fixture
def helper(app):
    return make.make_user("TIM_TEKNIS", password=hash_of(PASSWORD))


@pytest.fixture
def looking(log_in, helper, estates):
    client = log_in(helper.email)
    answer = client.post(
        f"/agencies/{estates[0].agency}/view-as", data={"reason": "membantu operator"}
    )
    assert answer.status_code == 302
    return client


def test_they_see_what_the_agency_sees(looking, estates):
    own, other = estates

    page = looking.get("/").get_data(as_text=True)
    assert f"Anda sedang melihat sebagai Dinas {own.canary}" in page
    for name, address in addresses(own).items():
        if name != "file":  # downloads are their persons' alone
            assert looking.get(address).status_code == 200, name
    assert looking.get(addresses(own)["file"]).status_code in {403, 404}
    for address in addresses(other).values():
        assert looking.get(address).status_code in {403, 404}, address
    for address in LISTS:
        assert other.canary not in looking.get(address).get_data(as_text=True), address
    for address in ("/agencies/", "/audit/", "/schedules/", "/account/", "/change-password",
                    "/notifications/", "/tf-setup", "/wan-register", "/outbox/"):  # fmt: skip
        assert looking.get(address).status_code in {403, 404}, address


def test_they_change_nothing(looking, estates):
    own, _ = estates
    for address in (
        f"/pulls/source/{own.source}/run", f"/runs/{own.run}/retry",
        f"/downloads/request/{own.slug}", "/language", "/users/new/", "/change-password",
        "/account/sessions/end-others", "/mf-recovery-codes", "/account/delegate",
    ):  # fmt: skip
        answer = looking.post(address, data={"language": "en"})
        assert answer.status_code == 403, address
    words = looking.post("/language").get_data(as_text=True)
    assert "Berhenti melihat dahulu" in words


def test_the_database_refuses_every_change(estates):
    onlooker = Principal("x", DbRole.AGENCY, agency_id=estates[0].agency, read_only=True)
    with pytest.raises(InternalError), make.session(onlooker) as s:
        s.execute(
            sa.text("INSERT INTO notice (kind, params, path) VALUES ('x', '{}', '')")
        )


def test_they_stop_and_are_themselves_again(looking, people):
    assert looking.post("/account/stop-viewing").status_code == 302

    page = looking.get("/agencies/")

    assert page.status_code == 200
    assert "Anda sedang melihat" not in page.get_data(as_text=True)


def test_logging_out_while_looking_on_works(app, looking):
    assert looking.post("/logout").status_code == 302
    assert looking.get("/").status_code == 302


def test_it_stands_in_the_trail_with_its_reason(looking, helper, estates):
    with make.session() as s:
        event = s.scalars(
            sa.select(AuditEvent).where(
                AuditEvent.action == "view_as",
                AuditEvent.object_id == str(estates[0].agency),
                AuditEvent.actor_id == helper.id,
            )
        ).one()
        assert event.reason == "membantu operator"
        assert s.get_one(Agency, estates[0].agency)


def test_without_a_reason_or_the_right_nobody_looks_on(log_in, people, helper, estates):
    address = f"/agencies/{estates[0].agency}/view-as"
    client = log_in(helper.email)
    assert client.post(address).status_code == 302
    assert "Anda sedang melihat" not in client.get("/").get_data(as_text=True)
    assert (
        log_in(people["AUDITOR"]).post(address, data={"reason": "x"}).status_code == 403
    )
    assert (
        log_in(estates[0].operator).post(address, data={"reason": "x"}).status_code == 403
    )
    assert client.post("/agencies/x/view-as", data={"reason": "x"}).status_code == 404


def test_who_loses_the_right_looks_on_no_longer(looking, helper):
    from app.identity.models import Role

    with make.session() as s:
        role = s.scalars(sa.select(Role).where(Role.name == "TIM_TEKNIS")).one()
        role.permissions.remove("agency.view_as")
    try:
        assert "Anda sedang melihat" not in looking.get("/").get_data(as_text=True)
        assert looking.get("/agencies/").status_code == 200
    finally:
        with make.session() as s:
            role = s.scalars(sa.select(Role).where(Role.name == "TIM_TEKNIS")).one()
            role.permissions.append("agency.view_as")
