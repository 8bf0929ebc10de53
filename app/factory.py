"""Composes the web application out of its rooms; imported by wsgi and tests only."""

from typing import Any

from flask import Flask
from flask_admin import Admin
from flask_admin.theme import Bootstrap4Theme
from werkzeug.middleware.proxy_fix import ProxyFix

from app.api.admin import ClientView, DeveloperPage, ExchangeView, GrantView
from app.api.door import Door
from app.api.models import ApiClient, ApiGrant
from app.audit import recorder  # noqa: F401 - listens to every session
from app.audit.models import AuditEvent
from app.complaints.admin import ComplaintPage
from app.complaints.public_form import ComplainPage
from app.contracts.admin import ContractPage
from app.core import crypto, db
from app.dashboard import admin as dashboard
from app.dashboard.admin import HomePage
from app.datasets.admin import ActivationPage, DatasetPage
from app.datasets.agreement_pages import AgreementView
from app.datasets.change_pages import ChangeView
from app.datasets.file_pages import ContractFilePage
from app.datasets.models import Agreement, ChangeNotice
from app.exports.admin import DownloadPage
from app.exports.models import ExchangeLog
from app.history import admin as history
from app.identity import session as login
from app.identity.account import AccountPage
from app.identity.admin import AgencyView, RoleView, UserView
from app.identity.models import Agency, Role, User
from app.identity.welcome import WelcomePage
from app.integrations.admin import IntegrationView
from app.integrations.expiring_pages import ExpiringPage
from app.integrations.models import Integration
from app.listings import admin as listings
from app.listings.admin import EditPage, FindPage, SavedViewPage
from app.listings.imports import ImportPage
from app.notifications import account_mails, admin as notices_pages
from app.notifications.admin import NotificationsPage, OutboxView
from app.notifications.models import Mail
from app.office import admin as office
from app.office.admin import HolidayView, OfficeView
from app.office.models import Holiday, Office
from app.pulls.admin import PullPage, QuarantinePage
from app.requests.admin import RequestPage
from app.requests.public import ServicePage, VerifyPage
from app.requests.signing_pages import PaperPage
from app.requests.wording_pages import WordingPage
from app.runs.admin import LedgerPage, RunPage, ScheduleView
from app.runs.models import Schedule
from app.sources.admin import HostView, SourcePage
from app.sources.models import Host
from app.web import (
    assets,
    context,
    errors,
    format,  # noqa: A004 - our format
    guard,
    headers,
    health,
    help,  # noqa: A004 - our help
    i18n,
    icons,
)
from app.web.extensions import bootstrap, csrf, db as flask_db, limiter
from app.web.gateways import LARGEST_BODY, Mounted
from app.web.i18n import lazy_gettext as _
from config import Settings


def create_app(settings: Settings) -> Flask:
    """Return the application for one set of settings."""
    app = Flask(__name__)
    guard.begin(app)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SESSION_COOKIE_NAME="simpul",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        REMEMBER_COOKIE_DURATION=0,
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        # A draft of 400 fields with their definitions is a long form.
        MAX_FORM_MEMORY_SIZE=LARGEST_BODY,
        MAX_FORM_PARTS=20_000,
        BOOTSTRAP_SERVE_LOCAL=True,
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.extensions["simpul_settings"] = settings
    _bind(app, settings)
    translations = i18n.init_app(app, settings.time_zone, settings.home)
    login.init_app(app, settings, str(translations), account_mails.OutboxMail)
    account_mails.init_app(app)
    notices_pages.init_app(app)
    _add_pages(app, str(translations))
    app.register_blueprint(health.blueprint)
    guard.init_app(app, login.load_principal, login.detour)
    headers.init_app(app, https=settings.cookie_secure)
    errors.init_app(app)
    format.init_app(app)
    icons.init_app(app)
    assets.init_app(app)
    help.init_app(app)
    context.init_app(app)
    office.init_app(app, settings.office_name)
    history.init_app(app)
    dashboard.init_app(app)
    listings.init_app(app)
    gateway = Mounted(app.wsgi_app, Door(settings, translations))
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        gateway.pages = ProxyFix(gateway.pages, x_for=hops, x_proto=hops, x_host=hops)
    app.extensions["simpul_gateway"] = gateway
    app.wsgi_app = gateway  # type: ignore[method-assign]
    return app


def _bind(app: Flask, settings: Settings) -> None:
    """Give extensions and services one engine, with limits that keep a page from hanging."""
    engine = db.make_engine(
        settings.database_url, statement_timeout_seconds=15, pool_size=10, max_overflow=10
    )
    db.bind(settings, app_engine=engine)
    crypto.bind(settings.field_key)
    flask_db.init_app(app)
    with app.app_context():
        engines: Any = flask_db.engines  # a plain dict, annotated as a Mapping
        engines[None] = engine
    for extension in (csrf, limiter, bootstrap):
        extension.init_app(app)


def _add_pages(app: Flask, translations: str) -> None:
    """Hang the back-office: the order is the order of the menu."""
    pages = Admin(
        name="Simpul",
        url="/",
        index_view=HomePage(_("Start"), url="/", endpoint="home"),
        theme=Bootstrap4Theme(base_template="layout.html"),
        translations_path=translations,
    )
    views = (
        RequestPage(_("Requests"), endpoint="requests", url="/requests"),
        ComplaintPage(
            _("Complaints and questions"), endpoint="complaints", url="/complaints"
        ),
        ComplainPage(_("Tell the office"), endpoint="complain", url="/complain"),
        DatasetPage(_("Datasets"), endpoint="datasets", url="/datasets"),
        DownloadPage(_("My downloads"), endpoint="downloads", url="/downloads"),
        ContractPage(_("Contracts"), endpoint="contracts", url="/contracts"),
        AgreementView(
            Agreement, name=_("Agreements"), endpoint="agreements", url="/agreements"
        ),
        ContractFilePage(
            _("Take in a file"), endpoint="contract_files", url="/contract-files"
        ),
        IntegrationView(
            Integration,
            name=_("Integrations"),
            endpoint="integrations",
            url="/integrations",
        ),
        ChangeView(
            ChangeNotice, name=_("Changes of data"), endpoint="changes", url="/changes"
        ),
        ExpiringPage(_("What comes to an end"), endpoint="expiring", url="/expiring"),
        ActivationPage(_("Activation"), endpoint="activation", url="/activation"),
        SourcePage(_("Sources"), endpoint="sources", url="/sources"),
        PullPage(_("Pulls"), endpoint="pulls", url="/pulls"),
        HostView(Host, name=_("Hosts"), endpoint="hosts", url="/hosts"),
        ScheduleView(
            Schedule, name=_("Schedules"), endpoint="schedules", url="/schedules"
        ),
        RunPage(_("Runs"), endpoint="runs", url="/runs"),
        LedgerPage(_("Queues and workers"), endpoint="ledger", url="/ledger"),
        QuarantinePage(_("Quarantine"), endpoint="quarantine", url="/quarantine"),
        DeveloperPage(_("For developers"), endpoint="developers", url="/developers"),
        ClientView(
            ApiClient, name=_("API clients"), endpoint="api_clients", url="/api-clients"
        ),
        GrantView(
            ApiGrant, name=_("API grants"), endpoint="api_grants", url="/api-grants"
        ),
        ExchangeView(
            ExchangeLog, name=_("Exchange log"), endpoint="exchange", url="/exchange"
        ),
        PaperPage(_("Signing"), endpoint="papers", url="/papers"),
        OfficeView(Office, name=_("Office"), endpoint="office", url="/office"),
        HolidayView(Holiday, name=_("Holidays"), endpoint="holidays", url="/holidays"),
        WordingPage(_("Words of papers"), endpoint="wordings", url="/wordings"),
        ServicePage(_("The service"), endpoint="service", url="/service"),
        VerifyPage(_("Verify a paper"), endpoint="verify", url="/verify"),
        AgencyView(Agency, name=_("Agencies"), endpoint="agencies", url="/agencies"),
        UserView(User, name=_("People"), endpoint="users", url="/users"),
        RoleView(Role, name=_("Roles"), endpoint="roles", url="/roles"),
        OutboxView(Mail, name=_("Outbox"), endpoint="outbox", url="/outbox"),
        NotificationsPage(
            _("Notifications"), endpoint="notifications", url="/notifications"
        ),
        WelcomePage(_("Welcome"), endpoint="welcome", url="/welcome"),
        AccountPage(_("My account"), endpoint="account", url="/account"),
        FindPage(_("Find"), endpoint="find", url="/find"),
        ImportPage(_("Bring in a table"), endpoint="imports", url="/imports"),
        EditPage(_("Change of many rows"), endpoint="edits", url="/edits"),
        SavedViewPage(_("Saved views"), endpoint="saved_views", url="/saved-views"),
        history.AuditView(
            AuditEvent, name=_("Audit trail"), endpoint="audit", url="/audit"
        ),
        history.TrashPage(_("Trash"), endpoint="trash", url="/trash"),
    )
    for view in views:
        pages.add_view(view)
    pages.init_app(app)
    app.extensions["simpul_admin_views"] = {
        view.endpoint: view for view in (pages.index_view, *views)
    }
