"""A run while it runs, in a notebook: one cell's output, redrawn in place. Needs IPython, which a notebook has."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from evosearch.report.live import best_line, counts, evaluated, heading, rate_text, share_done
from evosearch.report.text import duration

if TYPE_CHECKING:
    from evosearch.watch import Progress, Summary


def in_notebook() -> bool:
    """Whether a kernel runs this process: then its output is a page, not a terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookView:
    """A Watch that draws a bar, the best so far and what failed."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._title = ""

    def started(self, info: Mapping[str, Any]) -> None:
        self._title = " · ".join(value for _, value in heading(info))

    def progress(self, progress: Progress) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        drawn = HTML(page(self._title, progress))
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)

    def described(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.note(line)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def finished(self, summary: Summary) -> None: ...

    def close(self) -> None: ...


def page(title: str, progress: Progress) -> str:
    """What is drawn, as HTML."""
    rate = f", {rate_text(progress.rate)}" if progress.rate else ""
    left = f", {duration(progress.seconds_left)} left" if progress.seconds_left else ""
    bar = f'<progress value="{share_done(progress):.3f}" max="1"></progress>'
    lines = [
        escape(title),
        f"{bar} {escape(progress.doing or progress.phase)} {evaluated(progress).strip()}{rate}{left}",
        f"best {escape(best_line(progress))}",
        escape(counts(progress.failures)),
    ]
    return "<br>".join(line for line in lines if line)
