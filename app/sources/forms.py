"""The form of a REST source."""

from collections.abc import Mapping
from typing import Any

import msgspec
from wtforms import (
    BooleanField,
    FloatField,
    IntegerField,
    PasswordField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from app.connectors.presets import PRESETS
from app.connectors.settings import RestJsonSettings
from app.web.forms import Form
from app.web.i18n import lazy_gettext as _

AUTH = (
    SelectChoice("none", _("none")),
    SelectChoice("header", _("key in a header")),
    SelectChoice("bearer", _("bearer token")),
    SelectChoice("basic", _("user name and password")),
    SelectChoice("query", _("key in the address")),
    SelectChoice("path", _("key in the path of the address")),
    SelectChoice("cookie", _("key in a cookie")),
    SelectChoice("body", _("key in a field of the body")),
    SelectChoice("oauth2", _("OAuth2, client credentials")),
    SelectChoice("login", _("log-in that brings a token")),
)
PAGING = (
    SelectChoice("none", _("everything in one answer")),
    SelectChoice("page", _("page number")),
    SelectChoice("offset", _("offset and limit")),
    SelectChoice("cursor", _("cursor from the answer")),
    SelectChoice("next_url", _("next address in the answer")),
    SelectChoice("link", _("Link header")),
)
PAGING_IN = (
    SelectChoice("query", _("in the query")),
    SelectChoice("path", _("in the path: {page}, {size}, {offset}")),
    SelectChoice("body", _("in the body")),
)
FORMS = (SelectChoice("json", "JSON"), SelectChoice("form", _("form fields")))
SINCE = (
    SelectChoice("date", _("date")),
    SelectChoice("datetime", _("point in time")),
    SelectChoice("year", _("year")),
    SelectChoice("number", _("number")),
)
PRESET_CHOICES = (
    SelectChoice("", _("none of these")),
    *(SelectChoice(each.name, _(each.label)) for each in PRESETS),
)
# Settings that stand in the form under their own names.
PLAIN = (
    "base_url", "method", "body_kind", "auth", "auth_name", "auth_prefix", "auth_user",
    "auth_url", "auth_fields_kind", "auth_token_path", "auth_scope", "also", "also_name",
    "also_prefix", "also_user", "also_url", "also_fields_kind", "also_token_path",
    "also_scope", "paging", "paging_in", "page_param", "size_param", "first_page",
    "offset_param", "limit_param", "cursor_param", "cursor_path", "cursor_header",
    "next_path", "page_size", "until_empty", "inner_path", "rows_path", "total_path",
    "success_path", "success_value", "failure_path", "failure_text", "blank_is_empty",
    "since_param", "since_field", "since_format", "since_start", "since_overlap",
    "until_param", "window", "page_seconds", "read_seconds", "max_pages",
    "rate_per_second", "extra_ca_pem", "pin_sha256", "proxy", "user_agent",
)  # fmt: skip
PAIRS = {"headers": ":", "query": "=", "auth_fields": "=", "also_fields": "="}
SECRETS = ("auth_secret", "auth_secret_next", "also_secret")
# Always written down, default or not: a source says how it signs in and pages.
_SAID = frozenset({"base_url", "auth", "paging", "page_size"})
_DEFAULTS = {
    each.name: each.default
    for each in msgspec.structs.fields(RestJsonSettings)
    if each.default is not msgspec.NODEFAULT
}


def _text(label: Any, name: str, help_text: Any = "", **more: Any) -> StringField:
    default = more.pop("default", _DEFAULTS.get(name, ""))
    return StringField(
        label, [Length(max=2000)], description=help_text, default=default, **more
    )


def _secret(label: Any) -> PasswordField:
    return PasswordField(
        label,
        description=_(
            "Kept encrypted and never shown again. Empty: the one there is stays."
        ),
    )


def _tried_secret(label: Any) -> PasswordField:
    return PasswordField(
        label,
        description=_(
            "A key of your own, for this look alone. Empty: the office's key is sent as long"
            " as only the reading of the answer is changed."
        ),
    )


class SourceForm(Form):
    """All settings of a source; the secret is only ever written, never shown."""

    name = StringField(_("Name"), [DataRequired(), Length(max=120)])
    contract = SelectField(_("Contract"), [DataRequired()], render_kw={"data-shows": ""})
    enabled = BooleanField(_("Switched on"), default=True)
    base_url = StringField(
        _("Address of the service"),
        [DataRequired(), Length(max=2000)],
        description=_("For example https://simpeg.riau.go.id/api/pegawai"),
    )
    preset = SelectField(_("Kind of service"), choices=PRESET_CHOICES, default="")
    method = SelectField(
        _("Method"),
        choices=[SelectChoice("GET", "GET"), SelectChoice("POST", "POST")],
        default="GET",
        render_kw={"data-shows": ""},
    )
    body_kind = SelectField(_("Form of the body"), choices=FORMS, default="json")
    body = TextAreaField(
        _("Fixed body"), description=_('As JSON, for example {"tahun": "2024"}')
    )
    headers = TextAreaField(_("Fixed headers"), description=_("One a line: Name: value"))
    query = TextAreaField(_("Fixed query"), description=_("One a line: name=value"))
    auth = SelectField(
        _("Signing in"), choices=AUTH, default="none", render_kw={"data-shows": ""}
    )
    auth_name = _text(
        _("Name of the header, the query parameter, or the user"), "auth_name"
    )
    auth_prefix = _text(
        _("Words before the key"), "auth_prefix", _('For example "Bearer " or "Token "')
    )
    auth_user = _text(_("User name or client id"), "auth_user")
    auth_url = _text(_("Address that gives the token"), "auth_url")
    auth_fields = TextAreaField(
        _("Fields of the log-in"),
        description=_("One a line: name=value; {user} and {key} are filled in."),
    )
    auth_fields_kind = SelectField(_("Form of the log-in"), choices=FORMS, default="json")
    auth_token_path = _text(_("Where the token is in the answer"), "auth_token_path")
    auth_scope = _text(_("Scope"), "auth_scope")
    auth_secret = _secret(_("Key or password"))
    auth_secret_next = _secret(_("Next key, tried when the first is refused"))
    also = SelectField(
        _("Second way of signing in"),
        choices=AUTH,
        default="none",
        render_kw={"data-shows": ""},
    )
    also_name = _text(_("Name of the second header or parameter"), "also_name")
    also_prefix = _text(_("Words before the second key"), "also_prefix")
    also_user = _text(_("Second user name or client id"), "also_user")
    also_url = _text(_("Address that gives the second token"), "also_url")
    also_fields = TextAreaField(
        _("Fields of the second log-in"),
        description=_("One a line: name=value; {user} and {key} are filled in."),
    )
    also_fields_kind = SelectField(
        _("Form of the second log-in"), choices=FORMS, default="json"
    )
    also_token_path = _text(
        _("Where the second token is in the answer"), "also_token_path"
    )
    also_scope = _text(_("Second scope"), "also_scope")
    also_secret = _secret(_("Second key or password"))
    paging = SelectField(
        _("Paging"), choices=PAGING, default="none", render_kw={"data-shows": ""}
    )
    paging_in = SelectField(
        _("Where paging is asked for"), choices=PAGING_IN, default="query"
    )
    page_param = _text(_("Parameter of the page number"), "page_param")
    size_param = _text(_("Parameter of the page size"), "size_param")
    first_page = IntegerField(
        _("Number of the first page"), [Optional(), NumberRange(0, 1_000_000)], default=1
    )
    offset_param = _text(_("Parameter of the offset"), "offset_param")
    limit_param = _text(_("Parameter of the limit"), "limit_param")
    cursor_param = _text(_("Parameter of the cursor"), "cursor_param")
    cursor_path = _text(
        _("Where the next cursor is"), "cursor_path", _("For example meta.next_cursor")
    )
    cursor_header = _text(_("Or the header that holds it"), "cursor_header")
    next_path = _text(
        _("Where the next address is"), "next_path", _("For example next_page_url")
    )
    page_size = IntegerField(
        _("Records per page"), [Optional(), NumberRange(1, 1_000_000)], default=1000
    )
    until_empty = BooleanField(_("Read on until an empty page"))
    rows_path = _text(
        _("Where the records are"),
        "rows_path",
        _("Dotted, for example data.items. Empty: the answer is the list."),
    )
    total_path = _text(
        _("Where the total is"),
        "total_path",
        _("For example data.total. Fewer records than it says fail the pull."),
    )
    success_path = _text(
        _("Where the answer says that it succeeded"),
        "success_path",
        _("For example status"),
    )
    success_value = _text(
        _("What it says then"), "success_value", _("For example success")
    )
    failure_path = _text(
        _("Where it would tell of a failure"), "failure_path", _("For example log")
    )
    failure_text = _text(
        _("What must not stand there"), "failure_text", _("For example ERROR:")
    )
    inner_path = _text(
        _("Where a JSON text lies inside the answer"),
        "inner_path",
        _("For example return; $ when the whole answer is one."),
    )
    blank_is_empty = BooleanField(_('No list ("" or null) means no records'))
    since_param = _text(
        _("Parameter: changed since"),
        "since_param",
        _("Empty: everything is asked for each time."),
    )
    since_format = SelectField(_("Form of the start"), choices=SINCE, default="date")
    since_field = _text(
        _("Field that says when a record changed"),
        "since_field",
        _("Empty: the day of the pull counts."),
    )
    since_start = _text(
        _("Start of the first pull"), "since_start", _("For example 2020-01-01")
    )
    since_overlap = IntegerField(
        _("Overlap (days, years or numbers)"),
        [Optional(), NumberRange(0, 100_000)],
        default=1,
    )
    until_param = _text(_("Parameter: changed until"), "until_param")
    window = IntegerField(
        _("Span of one request (0: all at once)"),
        [Optional(), NumberRange(0, 1_000_000)],
        default=0,
    )
    extra_ca_pem = TextAreaField(_("Certificate of a private authority (PEM)"))
    pin_sha256 = _text(
        _("Pinned certificate"),
        "pin_sha256",
        _("SHA-256 of the certificate or of its public key, 64 hexadecimal digits."),
    )
    proxy = _text(_("Outbound proxy"), "proxy", _("For example http://10.0.0.2:3128"))
    user_agent = _text(_("User-Agent"), "user_agent")
    max_failures = IntegerField(
        _("Rests after so many failures in a row (0: never)"),
        [Optional(), NumberRange(0, 1000)],
        default=5,
    )
    read_seconds = FloatField(
        _("Seconds to wait for data"), [Optional(), NumberRange(0.1, 600)], default=30
    )
    page_seconds = FloatField(
        _("Seconds for one page at most"),
        [Optional(), NumberRange(0.1, 3600)],
        default=60,
    )
    max_pages = IntegerField(
        _("Pages at most"), [Optional(), NumberRange(1, 1_000_000)], default=10_000
    )
    rate_per_second = FloatField(
        _("Requests per second at most (0: no limit)"),
        [Optional(), NumberRange(0, 1000)],
        default=0,
    )

    def validate_headers(self, field: Any) -> None:
        _pairs(field.data or "", ":")

    def validate_query(self, field: Any) -> None:
        _pairs(field.data or "", "=")

    def validate_auth_fields(self, field: Any) -> None:
        _pairs(field.data or "", "=")

    def validate_also_fields(self, field: Any) -> None:
        _pairs(field.data or "", "=")

    def validate_body(self, field: Any) -> None:
        _object(field.data or "")

    def settings(self) -> dict[str, Any]:
        """Return the connector's settings as the form has them, without mere defaults."""
        values = {name: self[name].data for name in PLAIN if name in self}
        for name, separator in PAIRS.items():
            values[name] = _pairs(self[name].data or "", separator)
        values["body"] = _object(self.body.data or "")
        return {
            name: value
            for name, value in values.items()
            if name in _SAID or value not in (_DEFAULTS.get(name), None, {}, "")
        }

    def secrets(self) -> dict[str, str]:
        """Return the keys that were typed in."""
        return {n: self[n].data for n in SECRETS if n in self and self[n].data}

    def show(self, settings: Mapping[str, Any]) -> None:
        """Fill the form from stored settings."""
        for name in PLAIN:
            if name in settings and name in self:
                self[name].data = settings[name]
        for name, separator in PAIRS.items():
            if name in settings:
                blank = " " if separator == ":" else ""
                self[name].data = "\n".join(
                    f"{k}{separator}{blank}{v}" for k, v in settings[name].items()
                )
        if settings.get("body"):
            packed = msgspec.json.format(msgspec.json.encode(settings["body"]), indent=2)
            self.body.data = packed.decode()


class TryForm(SourceForm):
    """Settings of a source as somebody tries them: what is not the service's own is missing."""

    name = contract = enabled = preset = max_failures = None
    proxy = auth_secret_next = None
    auth_secret = _tried_secret(_("Key or password"))
    also_secret = _tried_secret(_("Second key or password"))


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; raises ``ValidationError`` for anything else."""
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValidationError(_("The body must be a JSON object.")) from None


def _pairs(text: str, separator: str) -> dict[str, str]:
    """Read lines of name and value; raises ``ValidationError`` for a line that is none."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, found, value = line.partition(separator)
        if not found or not name.strip():
            raise ValidationError(
                _("This line is not understood: %(line)s") % {"line": line[:60]}
            )
        pairs[name.strip()] = value.strip()
    return pairs
