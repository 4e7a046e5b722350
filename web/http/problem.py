"""What is wrong with a request, as the client is told: ``{error, detail}`` with a status."""

from __future__ import annotations


class Problem(Exception):  # noqa: N818 - it is the answer, not a failure of ours
    """Answers a request: ``error`` is a word for programs, ``detail`` a sentence for people that says what to do."""

    def __init__(self, status: int, error: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail, self.retry_after_s = status, error, detail, retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


def invalid(detail: str) -> Problem:
    """A parameter or a body has a value that can't be."""
    return Problem(400, "invalid", detail)


def unknown(what: str, detail: str) -> Problem:
    """Something that is named isn't there."""
    return Problem(404, f"unknown_{what}", detail)


def unavailable(what: str, detail: str) -> Problem:
    """Redis, the archive or the log can't be asked at the moment."""
    return Problem(503, f"{what}_unavailable", detail, retry_after_s=1)
