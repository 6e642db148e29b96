"""Trainings that a rule ended early, or would have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evosearch.report.page.markup import paragraph, table
from evosearch.report.page.svg import escape, exact
from evosearch.report.stopping import REPLAYED, happened, replayed

if TYPE_CHECKING:
    from evosearch.report.page.facts import Report
    from evosearch.report.stopping import Saved

NAMES = ("rule", "trainings", "ended early", "epochs of all", "epochs saved", "best one lost")


def stopped(report: Report) -> str:
    """The section; empty where no training was long enough to say anything."""
    own = happened(report.run)
    if own is not None:
        words = "What the run's own rule did. What it cost is not known: a training that was ended has no end to see."
        return paragraph(words) + table("The stop rule", NAMES, [_row(own)], id="stopped")
    tried = replayed(report.run)
    if not tried:
        return ""
    words = (
        f"No training was ended early. Each rule was tried on the curves of the first {tried[0].trainings:,} "
        f"candidates, {REPLAYED:,} at the most, with what it could have known when each was proposed. The best one "
        f"lost: by how much the best {escape(report.metric)} would have been worse, had the same been proposed."
    )
    return paragraph(words) + table("What stop rules would have done", NAMES, map(_row, tried), id="stopped")


def _row(one: Saved) -> tuple[str, ...]:
    share = 100 * one.saved / one.epochs if one.epochs else 0.0
    lost = "not known" if one.lost is None else exact(one.lost)
    saved = f"{one.saved:,} ({share:.0f} %)"
    return escape(one.rule), f"{one.trainings:,}", f"{one.stopped:,}", f"{one.epochs:,}", saved, lost
