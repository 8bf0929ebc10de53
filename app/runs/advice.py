"""What to do next about a run that failed or is held, by the code of its fault.

A fault's message says what happened; whoever reads it at seven in the morning also wants to
know whose turn it is. A code without a line of its own has none.
"""

from collections.abc import Mapping
from types import MappingProxyType

from app.core.words import message_id

_ASK_AGENCY = message_id(
    "Ask the agency's administrators whether their service runs, then try again. Simpul has"
    " already tried several times."
)
_CERTIFICATE = message_id(
    "Ask the agency to renew or correct the certificate of its service. Simpul does not read"
    " from a service whose certificate it cannot verify."
)
_SETTINGS = message_id(
    "Compare the source's settings with what the service really answers, and correct them."
)
_AGENCY_ANSWER = message_id(
    "Send the agency this message: its service answers wrongly. The data from before keeps"
    " serving; the next pull tries again."
)
_KEY = message_id(
    "Ask the agency whether the key is still valid and put the new one into the source's"
    " settings."
)
_ADMINISTRATOR = message_id(
    "Give the administrator of Simpul this run's number; the log on the server says more."
)
_QUARANTINE = message_id(
    "Look at the records set aside, and send the agency their faults. Let the pull pass only"
    " when the agency confirms that the answer is right."
)

ADVICE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "refused", "timeout", "too_slow", "connection_lost", "truncated_body",
                "unreachable", "not_http", "http_5xx", "http_429",
            ),
            _ASK_AGENCY,
        ),
        **dict.fromkeys(
            ("tls_expired", "tls_untrusted", "tls_wrong_name", "tls_failed"), _CERTIFICATE
        ),
        **dict.fromkeys(
            (
                "name_not_found", "http_404", "http_4xx", "redirect_refused", "wrong_shape",
                "source_settings", "response_too_large", "too_many_pages",
            ),
            _SETTINGS,
        ),
        **dict.fromkeys(
            (
                "not_json", "wrong_encoding", "success_rule", "empty_answer",
                "repeated_page", "short_total",
            ),
            _AGENCY_ANSWER,
        ),
        **dict.fromkeys(("http_401", "http_403"), _KEY),
        **dict.fromkeys(("too_many_rejected", "too_many_vanished"), _QUARANTINE),
        **dict.fromkeys(
            (
                "internal", "memory_limit", "time_limit", "name_service_failed",
                "secret_unreadable", "count_mismatch", "unfinished", "worker_lost",
                "database_lost", "reader_lost", "disk_full", "no_resources",
            ),
            _ADMINISTRATOR,
        ),
        "not_approved": message_id(
            "Whoever may approve addresses does so on the source's page."
        ),
        "plan_changed": message_id("Look at the plan again and activate the new one."),
    }
)  # fmt: skip
