"""An HTTP error response with one sentence of detail."""


class ApiError(Exception):
    """A request that is answered with a status and one sentence.

    Attributes:
        status: HTTP status.
        detail: The sentence.
        reason: A word for counting.
    """

    def __init__(self, status: int, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
