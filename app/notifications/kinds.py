"""The kinds of notices, as data: adding one is adding one entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.core.policy import Permission
from app.core.words import message_id
from app.notifications.states import NoticeKind, Wish


@dataclass(frozen=True, slots=True)
class Kind:
    """``audience``: who holds this permission is told; None: the one person it is about.

    ``may_silence``: whether a person may want to hear nothing of it under the bell.
    ``many`` are the words for many of them at once, and ``many_path`` where they stand.
    """

    name: NoticeKind
    label: str  # message id
    audience: Permission | None
    is_problem: bool
    mail: Wish
    in_app: Wish = Wish.ALWAYS
    may_silence: bool = True
    many: str = ""  # message id; "" when each is told by itself
    many_path: str = "/"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                NoticeKind.RUN_GIVEN_UP,
                message_id("A run failed for good"),
                Permission.RUN_RETRY,
                is_problem=True,
                mail=Wish.DIGEST,
                many=message_id("%(n)s runs failed for good."),
                many_path="/runs/?where=status:is:dead",
            ),
            Kind(
                NoticeKind.PULL_HELD,
                message_id("A pull is held and waits for a decision"),
                Permission.QUARANTINE_RELEASE,
                is_problem=True,
                mail=Wish.ALWAYS,
                many=message_id("%(n)s pulls are held: somebody has to look at them."),
                many_path="/runs/?where=status:is:held",
            ),
            Kind(
                NoticeKind.EXPORT_READY,
                message_id("My file is ready"),
                None,
                is_problem=False,
                mail=Wish.NEVER,
            ),
            Kind(
                NoticeKind.APPROVAL_ASKED,
                message_id("The address of a source waits for approval"),
                Permission.SOURCE_APPROVE,
                is_problem=False,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.REQUEST_ASKS,
                message_id("A request waits for me"),
                Permission.REQUEST_ACT,
                is_problem=True,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.REQUEST_DUE,
                message_id("The step of a request is soon due"),
                Permission.REQUEST_READ,
                is_problem=True,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.REQUEST_LATE,
                message_id("The step of a request is late"),
                Permission.REQUEST_READ,
                is_problem=True,
                mail=Wish.ALWAYS,
            ),
            Kind(
                NoticeKind.REQUEST_TOLD,
                message_id("Something happened to a request"),
                Permission.REQUEST_READ,
                is_problem=False,
                mail=Wish.NEVER,
            ),
            Kind(
                NoticeKind.AGREEMENT_ASKS,
                message_id("Somebody asks to receive our data"),
                Permission.AGREEMENT_CONSENT,
                is_problem=True,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.AGREEMENT_TOLD,
                message_id("An agreement was made or ended"),
                Permission.AGREEMENT_READ,
                is_problem=False,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.COMPLAINT_ASKS,
                message_id("A complaint or question waits for the office"),
                Permission.COMPLAINT_WRITE,
                is_problem=True,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.COMPLAINT_TOLD,
                message_id("A complaint or question of ours was answered or passed on"),
                Permission.COMPLAINT_READ,
                is_problem=True,
                mail=Wish.DIGEST,
            ),
            Kind(
                NoticeKind.ACCOUNT,
                message_id("Something happened to my account"),
                None,
                is_problem=True,
                mail=Wish.ALWAYS,
                may_silence=False,
            ),
        )
    }
)
