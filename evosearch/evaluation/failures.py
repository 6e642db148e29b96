"""What ends an evaluation early, and the status that each failure gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.text import said

if TYPE_CHECKING:
    from evosearch.score import Status


class Stopped(Exception):
    """Ends a training early, with the status it gets."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


def failed(failure: BaseException) -> Status:
    """The status that an exception out of a candidate's code gives it: oom or crashed."""
    if isinstance(failure, MemoryError):
        return "oom"
    # torch.OutOfMemoryError says "out of memory"; the CPU allocator raises a bare RuntimeError, in words by platform.
    words = said(failure).lower()
    refused = ("not enough memory", "can't allocate memory", "out of memory")
    return "oom" if isinstance(failure, RuntimeError) and any(one in words for one in refused) else "crashed"


def one_line(failure: BaseException) -> str:
    """An exception in one line, as a score holds it."""
    return said(failure, 300)
