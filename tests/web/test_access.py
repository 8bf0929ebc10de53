"""Who may see what: deny by default, one scope for every door, the same 404 for all."""

from uuid import uuid4

import pytest

from app.core.policy import Permission
from app.web.guard import Everyone, Shut, SignedIn, policy_of


def addresses(estate):
    """Every page of one object of an agency's, whoever it belongs to."""
    return {
        "dataset": f"/datasets/{estate.slug}",
        "dictionary": f"/datasets/{estate.slug}/dictionary",
        "contract": f"/contracts/{estate.contract}",
        "version": f"/contracts/versions/{estate.version}",
        "contract as ODCS": f"/contract-files/version/{estate.version}/odcs",
        "contract as a workbook": f"/contract-files/version/{estate.version}/workbook",
        "source": f"/pulls/source/{estate.source}",
        "run": f"/runs/{estate.run}",
        "part": f"/runs/{estate.run}/part",
        "record": f"/quarantine/{estate.record}",
        "file": f"/downloads/{estate.export}",
    }


LISTS = (
    "/",
    "/datasets/",
    "/contracts/",
    "/sources/",
    "/runs/",
    "/quarantine/",
    "/downloads/",
)


def test_an_agency_sees_its_own(log_in, estates):
    own, _ = estates
    client = log_in(own.operator)

    for name, address in addresses(own).items():
        with client.get(address) as answer:
            assert answer.status_code == 200, name
    for address in LISTS:
        assert own.canary in client.get(address).get_data(as_text=True), address


def test_another_agencys_object_is_as_absent_as_one_that_never_was(log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    for name, address in addresses(other).items():
        answer = client.get(address)
        assert answer.status_code == 404, name
        assert other.canary not in answer.get_data(as_text=True)
    for address in LISTS:
        assert other.canary not in client.get(address).get_data(as_text=True), address
    invented = client.get(f"/runs/{uuid4()}").get_data(as_text=True)
    foreign = client.get(f"/runs/{other.run}").get_data(as_text=True)
    assert len(invented) == len(foreign)


def test_filters_and_searches_do_not_reach_another_agencys_rows(log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    for address in (
        f"/runs/?search={other.canary}",
        f"/quarantine/?where=source_id:is:{other.source}",
        f"/quarantine/?where=run_id:is:{other.run}",
        f"/contracts/?search={other.canary}",
        f"/sources/?where=name:has:{other.canary}",
        f"/datasets/{own.slug}?search={other.canary}",
    ):
        page = client.get(address).get_data(as_text=True)
        assert f"Orang {other.canary}" not in page
        assert f"Sumber {other.canary}" not in page


def test_staff_pages_are_refused_to_agencies(log_in, estates):
    own, other = estates
    client = log_in(own.operator)

    for address in ("/users/", "/agencies/", "/audit/", "/roles/", "/schedules/"):
        assert client.get(address).status_code == 403, address
    for address in (
        f"/pulls/source/{own.source}/run",
        f"/pulls/source/{other.source}/run",
        f"/runs/{own.run}/retry",
        f"/activation/{own.version}",
        f"/sources/{own.source}/approve",
        f"/contract-files/of/{own.contract}",
        f"/contract-files/of/{own.contract}/apply",
        "/contract-files/",
        "/contract-files/apply",
    ):
        assert client.post(address).status_code == 403, address


def test_a_download_is_only_for_its_owner_not_even_for_the_office(
    log_in, estates, people
):
    own, _ = estates

    assert log_in(people["SEMUA"]).get(f"/downloads/{own.export}").status_code == 404
    with log_in(own.operator).get(f"/downloads/{own.export}") as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith("attachment")


def _sample_address(app, rule):
    values = dict.fromkeys(rule.arguments, "x")
    return app.url_map.bind("localhost").build(rule.endpoint, values)


def test_nobody_passes_any_door_without_logging_in(app, log_in):
    client = log_in("")

    for rule in app.url_map.iter_rules():
        policy = policy_of(app, rule.endpoint)
        if policy in {Everyone, Shut}:
            continue
        address = _sample_address(app, rule)
        if "GET" in rule.methods:
            answer = client.get(address)
            assert answer.status_code == 302, address
            assert answer.headers["Location"].startswith("/login"), address
        else:
            assert client.post(address).status_code == 401, address


@pytest.mark.parametrize(
    "role",
    ["PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "AUDITOR", "SYSADMIN"],
)
def test_every_door_obeys_the_roles_permissions(app, log_in, people, role):
    """The matrix of roles and routes, out of the URL map and the roles' rows."""
    client = log_in(people[role])
    allowed = _permissions(role)

    for rule in app.url_map.iter_rules():
        policy = policy_of(app, rule.endpoint)
        if not isinstance(policy, Permission):
            continue
        method = client.get if "GET" in rule.methods else client.post
        status = method(_sample_address(app, rule)).status_code
        if policy in allowed:
            assert status in {200, 302, 404, 409}, (rule.endpoint, status)
        else:
            assert status == 403, (rule.endpoint, status)


def _permissions(role):
    import sqlalchemy as sa

    from app.identity.models import Role
    from tests import make

    with make.session() as s:
        return set(s.scalars(sa.select(Role.permissions).where(Role.name == role)).one())


def test_every_route_has_a_policy(app):
    """Law: a route that nobody thought about does not exist."""
    bare = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if policy_of(app, rule.endpoint) is None
    ]

    assert bare == []


def test_open_doors_are_these_and_no_others(app):
    free = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if policy_of(app, rule.endpoint) is Everyone
    }
    personal = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if policy_of(app, rule.endpoint) is SignedIn
    }

    assert free == {
        "static",
        "bootstrap.static",
        "security.login",
        "security.forgot_password",
        "security.reset_password",
        "service.index",
        "service.status",
        "complain.index",
        "complain.status",
        "verify.index",
        "welcome.index",
        "welcome.invitation",
        "security.two_factor_setup",  # in the middle of a log-in
        "security.two_factor_token_validation",
        "security.tf_select",
        "security.mf_recovery",
        "security.wan_signin",
        "security.wan_signin_response",
        "health.live",
        "health.ready",
    }
    assert personal == {
        "home.index",
        "home.language",
        "imports.index",
        "imports.template",
        "imports.show",
        "imports.apply",
        "imports.file",
        "find.index",
        "find.part",
        "edits.index",
        "edits.apply",
        "edits.cell",
        "edits.undo",
        "saved_views.index",
        "saved_views.delete",
        "security.logout",
        "security.change_password",
        "security.verify",
        "security.two_factor_setup_validate",
        "security.mf_recovery_codes",
        "security.wan_register",
        "security.wan_register_response",
        "security.wan_delete",
        "security.wan_verify",
        "security.wan_verify_response",
        "account.index",
        "account.end",
        "account.end_others",
        "account.delegate",
        "account.end_duty",
        "account.stop_viewing",
        "notifications.index",
        "notifications.read_all",
        "notifications.open",
        "notifications.wishes",
    }
