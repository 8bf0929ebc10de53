"""How a letter looks: the same words as plain text and as a simple page. Pure."""

from dataclasses import dataclass
from html import escape

_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin:0;padding:24px;background:#f4f6f5;color:#1c2321;\
font-family:'Segoe UI',Roboto,Arial,sans-serif;font-size:16px;line-height:1.5">
<div style="max-width:560px;margin:0 auto;background:#ffffff;border:1px solid #dde3e1;\
border-radius:10px;padding:28px">
<p style="margin:0 0 18px;font-weight:700;color:#0b6e5f">Simpul</p>
{body}
</div>
<p style="max-width:560px;margin:14px auto 0;color:#5c6763;font-size:13px">{office}</p>
</body></html>
"""
_BUTTON = (
    '<p style="margin:22px 0"><a href="{url}" style="display:inline-block;padding:10px 18px;'
    'background:#0b6e5f;color:#ffffff;border-radius:6px;text-decoration:none">{label}</a></p>'
    '<p style="font-size:13px;color:#5c6763;word-break:break-all">{url}</p>'
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter. ``action`` is what to press, and where it leads."""

    subject: str
    paragraphs: tuple[str, ...]
    office: str
    language: str = "id"
    action: tuple[str, str] | None = None

    def as_text(self) -> str:
        """Return it for a reader of plain text."""
        parts = list(self.paragraphs)
        if self.action:
            label, url = self.action
            parts.append(f"{label}:\n{url}")
        return "\n\n".join([*parts, f"-- \nSimpul, {self.office}"]) + "\n"

    def as_html(self) -> str:
        """Return it as a page that fetches nothing from anywhere."""
        body = "".join(f"<p>{escape(each)}</p>\n" for each in self.paragraphs)
        if self.action:
            label, url = self.action
            body += _BUTTON.format(label=escape(label), url=escape(url))
        return _PAGE.format(
            language=self.language,
            subject=escape(self.subject),
            body=body,
            office=escape(self.office),
        )
