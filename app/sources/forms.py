"""The form of a REST source."""

from typing import Any

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

from app.web.forms import Form
from app.web.i18n import lazy_gettext as _

AUTH = (
    SelectChoice("none", _("none")),
    SelectChoice("header", _("key in a header")),
    SelectChoice("bearer", _("bearer token")),
    SelectChoice("basic", _("user name and password")),
    SelectChoice("query", _("key in the address")),
)
PAGING = (
    SelectChoice("none", _("everything in one answer")),
    SelectChoice("page", _("page number")),
    SelectChoice("offset", _("offset and limit")),
)
# Settings that stand in the form under their own names.
PLAIN = (
    "base_url", "auth", "auth_name", "paging", "page_param", "size_param", "first_page",
    "offset_param", "limit_param", "page_size", "rows_path", "total_path", "success_path",
    "success_value", "page_seconds", "read_seconds", "max_pages", "rate_per_second",
)  # fmt: skip


class SourceForm(Form):
    """All settings of a source; the secret is only ever written, never shown."""

    name = StringField(_("Name"), [DataRequired(), Length(max=120)])
    contract = SelectField(_("Contract"), [DataRequired()])
    enabled = BooleanField(_("Switched on"), default=True)
    base_url = StringField(
        _("Address of the service"),
        [DataRequired(), Length(max=2000)],
        description=_("For example https://simpeg.riau.go.id/api/pegawai"),
    )
    headers = TextAreaField(_("Fixed headers"), description=_("One a line: Name: value"))
    query = TextAreaField(_("Fixed query"), description=_("One a line: name=value"))
    auth = SelectField(_("Signing in"), choices=AUTH, render_kw={"data-shows": ""})
    auth_name = StringField(
        _("Name of the header, the query parameter, or the user"), default="X-API-Key"
    )
    secret = PasswordField(
        _("Key or password"),
        description=_(
            "Kept encrypted and never shown again. Empty: the one there is stays."
        ),
    )
    paging = SelectField(_("Paging"), choices=PAGING, render_kw={"data-shows": ""})
    page_param = StringField(_("Parameter of the page number"), default="page")
    size_param = StringField(_("Parameter of the page size"), default="per_page")
    first_page = IntegerField(
        _("Number of the first page"), [Optional(), NumberRange(0, 1_000_000)], default=1
    )
    offset_param = StringField(_("Parameter of the offset"), default="offset")
    limit_param = StringField(_("Parameter of the limit"), default="limit")
    page_size = IntegerField(
        _("Records per page"), [Optional(), NumberRange(1, 1_000_000)], default=1000
    )
    rows_path = StringField(
        _("Where the records are"),
        description=_("Dotted, for example data.items. Empty: the answer is the list."),
    )
    total_path = StringField(
        _("Where the total is"),
        description=_(
            "For example data.total. Fewer records than it says fail the pull."
        ),
    )
    success_path = StringField(
        _("Where the answer says that it succeeded"), description=_("For example status")
    )
    success_value = StringField(
        _("What it says then"), description=_("For example success")
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

    def settings(self) -> dict[str, Any]:
        """Return the connector's settings as the form has them."""
        values = {name: self[name].data for name in PLAIN}
        values["headers"] = _pairs(self.headers.data or "", ":")
        values["query"] = _pairs(self.query.data or "", "=")
        return values

    def show(self, settings: dict[str, Any]) -> None:
        """Fill the form from stored settings."""
        for name in PLAIN:
            if name in settings:
                self[name].data = settings[name]
        self.headers.data = "\n".join(
            f"{k}: {v}" for k, v in settings.get("headers", {}).items()
        )
        self.query.data = "\n".join(
            f"{k}={v}" for k, v in settings.get("query", {}).items()
        )


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
