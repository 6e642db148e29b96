"""A run while it runs: one panel where there is a terminal, a line now and then where there is none.

Both are a `Watch`, as evosearch.engine calls it: started, progress, note, finished. They only look; a view that fails
to draw must not end a search, so nothing here computes more than text.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from evosearch.moments import share
from evosearch.report.text import clean, count, duration, short

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from evosearch.watch import Progress, Summary

BARS = "▁▂▃▄▅▆▇█"
EVERY = 5.0  # seconds between plain lines when nothing better was found,
SHARE = 0.05  # or this share of the time so far, where that is longer: a week's log is read too
WIDTH = 80  # columns of the panel, or fewer where the terminal has no
# Columns beside it: a terminal writes ^C there, and at its last column would begin a line that nobody erases.
MARGIN = 4
GIB = 1 << 30
LATEST = 40  # scores shown as bars
EARNED = 5  # mutations shown
REFRESH = 4  # panels a second: seen at once, and no flicker over a slow connection


def sparkline(values: Sequence[float]) -> str:
    """The last LATEST values as bars between their least and greatest; a space for NaN."""
    shown = values[-LATEST:]
    known = [value for value in shown if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    bars = len(BARS) - 1
    return "".join(
        BARS[round(share(v, low, high) * bars) if high > low else 0] if math.isfinite(v) else " " for v in shown
    )


def best_line(progress: Progress) -> str:
    """The best so far: fitness, by what part of an evaluation where there are rungs, key, size."""
    if progress.best_fitness is None or not progress.best_key:
        return "none yet"
    size = "" if progress.best_params is None else f", {count(progress.best_params)} parameters"
    by = f" by {progress.best_by}" if progress.best_by else ""
    return f"{progress.best_fitness:.4f}{by}  ({short(progress.best_key)}{size})"


def evaluated(progress: Progress) -> str:
    """How many candidates have a score, and of how many, where that ends the run: `12/80`, `12`."""
    if progress.endless:
        return f"{progress.evaluated:>4}"
    return f"{progress.evaluated:>{len(str(progress.budget))}}/{progress.budget}"


def share_done(progress: Progress) -> float:
    """Of the budget, or of the time where that ends the run, 0 to 1."""
    if progress.endless and progress.time:
        return min(1.0, 1 - (progress.seconds_left or 0.0) / progress.time)
    return progress.evaluated / max(progress.budget, 1)


def rate_text(rate: float) -> str:
    """Evaluations a second, or a minute where that is the clearer number."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def counts(values: Mapping[str, int]) -> str:
    return " · ".join(f"{name} {number}" for name, number in sorted(values.items()) if number)


def heading(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts printed before the first evaluation, in the order the engine gives them."""
    return [(str(name).replace("_", " "), clean(str(value))) for name, value in info.items()]


class PlainView:
    """Lines for logs and pipes: when something better is found, else every few seconds."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic, every: float = EVERY) -> None:
        self.out, self.clock, self.every = out, clock, every
        self._began = clock()
        self._printed = self._began - every
        self._best: tuple[str | None, str] = (None, "")
        self._line = ""  # the last one about progress: where nothing has changed, it is not said again

    def _say(self, text: str) -> None:
        print(clean(text), file=self.out, flush=True)

    def started(self, info: Mapping[str, Any]) -> None:
        rows = heading(info)
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self._say(f"{name:<{width}}  {value}")

    def progress(self, progress: Progress) -> None:
        best = (progress.best_key, progress.best_by)
        better = progress.best_key is not None and best != self._best
        done = progress.evaluated >= progress.budget or progress.phase != "search"
        now = self.clock()
        if not (better or done or now - self._printed >= max(self.every, SHARE * (now - self._began))):
            return
        if not progress.evaluated:
            if self._printed < self._began:
                self._say("starting the workers")
            self._printed = now
            return
        self._best, self._printed = best, now
        left = "" if progress.seconds_left is None or done else f"  {duration(progress.seconds_left)} left"
        phase = "" if progress.phase == "search" else f"{progress.doing or progress.phase}  "
        rate = f"  {rate_text(progress.rate)}" if progress.rate and not progress.doing else ""
        line = f"{evaluated(progress)}  {phase}best {best_line(progress)}{rate}{left}"
        if line != self._line:
            self._say(line)
        self._line = line

    def described(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._say(line)

    def note(self, text: str) -> None:
        self._say(text)

    def finished(self, summary: Summary) -> None:
        pass

    def close(self) -> None:
        pass


class QuietView(PlainView):
    """Nothing but what was made of the data, and notes."""

    def started(self, info: Mapping[str, Any]) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        pass


class LiveView:
    """One panel, redrawn in place; fits 80 columns."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.title = ""
        self.started_at = time.monotonic()
        self._live: Live | None = None
        self._last: Progress | None = None

    def started(self, info: Mapping[str, Any]) -> None:
        from rich.live import Live

        self.title = clean(str(info.get("run", "")))
        for name, value in heading(info):
            self.console.print(f"{name:<12}{value}", style="dim", overflow="ellipsis", no_wrap=True)
        self._live = Live(console=self.console, get_renderable=self._panel, refresh_per_second=REFRESH, transient=False)
        self._live.start()

    def progress(self, progress: Progress) -> None:
        self._last = progress

    def described(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.note(line)

    def note(self, text: str) -> None:
        self.console.print(clean(text), style="yellow")

    def finished(self, summary: Summary) -> None:
        self.close()

    def close(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _panel(self) -> RenderableType:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True, width=10)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        seen = self._last
        if seen is None:
            grid.add_row("starting", f"{duration(time.monotonic() - self.started_at)}")
        else:
            rate = f"  {rate_text(seen.rate)}" if seen.rate and not seen.doing else ""
            left = f"  {duration(seen.seconds_left)} left" if seen.seconds_left else ""
            bar = Table.grid(padding=(0, 2))
            bar.add_column(width=28)
            bar.add_column(no_wrap=True)
            bar.add_row(
                ProgressBar(total=1.0, completed=share_done(seen), width=28),
                f"{evaluated(seen)}{rate}{left}",
            )
            grid.add_row(seen.phase or "search", bar)
            if seen.doing:
                grid.add_row("", seen.doing)
            grid.add_row("best", Text(best_line(seen), style="green"))
            if seen.recent:
                grid.add_row("scores", sparkline(seen.recent))
            saved = [
                f"duplicates {seen.duplicates}" if seen.duplicates else "",
                f"known {seen.known}" if seen.known else "",
            ]
            rest = " · ".join(part for part in [counts(seen.failures), *saved] if part)
            if rest:
                grid.add_row("failures" if seen.failures else "saved", rest)
            for line in earned_lines(seen.earned):
                grid.add_row(*line)
            if seen.workers:
                grid.add_row("workers", workers_line(seen))
        width = min(WIDTH, max(self.console.width - MARGIN, 20))
        title = self.title if len(self.title) <= width - 8 else f"…{self.title[8 - width :]}"
        return Panel(grid, title=title or None, title_align="left", border_style="cyan", width=width)


def workers_line(progress: Progress) -> str:
    """How many work, on what, and what they take of its memory: `2 on cpu, 1.4 of 12.8 GiB`."""
    used, given = progress.memory
    share = f", {used / GIB:.1f} of {given / GIB:.1f} GiB" if used and given else ""
    return f"{progress.workers}{f' on {progress.device}' if progress.device else ''}{share}"


def earned_lines(earned: Mapping[str, tuple[int, float]]) -> list[tuple[str, str]]:
    """Mutations by what they earned a trial: the best few, each `name  trials  mean reward`."""
    ranked = sorted(earned.items(), key=lambda item: (-item[1][1], item[0]))[:EARNED]
    return [
        ("mutations" if index == 0 else "", f"{clean(name):<22.22} {trials:>5} tried  {mean:6.3f} earned")
        for index, (name, (trials, mean)) in enumerate(ranked)
    ]
