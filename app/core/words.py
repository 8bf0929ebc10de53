"""Marks sentences that are stored first and translated when a person reads them."""


def message_id(text: str) -> str:
    """Return ``text`` as it is; the catalogue's check finds it by this call."""
    return text
