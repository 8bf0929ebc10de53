"""How putting back is refused."""

from app.core.errors import RejectedError


class NotRevertableError(RejectedError):
    """What was changed cannot be put back, or not like this."""

    code = "not_revertable"
