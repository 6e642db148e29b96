"""Settings that do nothing before so many results are in: said where a run has too few of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from evosearch.search.proposal import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evosearch.engine.setup import Setup
    from evosearch.search import Search
    from evosearch.search.history import Row


class Wait(NamedTuple):
    """Such a setting with its value. needs: how many results it waits for, all of one fidelity; what: these in a word.

    of: the fidelity that a row counts for, None where it is no such result.
    """

    setting: str
    needs: int
    what: str
    of: Callable[[Row], float | None]


def at_start(setup: Setup, search: Search) -> dict[str, str]:
    """By setting, a line where the run's budget is too small for it to do anything."""
    budget, window = search.settings.budget, _window(search)
    behind = f", and search.lookahead={window} more" if window else ""
    return {
        one.setting: f"{one.setting} will do nothing: it waits for {one.needs} {one.what}{behind}; there are {budget} "
        "candidates"
        for one in _waits(setup, search)
        if budget <= one.needs + window
    }


def at_end(setup: Setup, search: Search) -> dict[str, str]:
    """By setting, a line where it did nothing, since the latest candidate was made from too few results."""
    return {
        one.setting: f"{one.setting} did nothing: it waits for {one.needs} {one.what}, and the last candidate was made "
        f"from {known}"
        for one in _waits(setup, search)
        if (known := _known(search, one)) < one.needs
    }


def _waits(setup: Setup, search: Search) -> Iterator[Wait]:
    settings, rule = search.settings, setup.rule
    if search.screen is not None and search.screen.model.needs:
        yield Wait(f"search.screen={settings.screen}", search.screen.model.needs, "scores", _succeeded)
    if search.learner is not None:
        yield Wait(f"search.learn={settings.learn}", search.learner.every, "results", lambda _row: FULL)
    least = getattr(rule, "least", 0)
    if isinstance(least, int) and least > 1:
        yield Wait(f"recipe.stop={setup.config.recipe.stop}", least, "trainings", _trained)


def _succeeded(row: Row) -> float | None:
    return None if row.values is None else row.fidelity


def _trained(row: Row) -> float | None:
    return row.fidelity if row.curve else None


def _window(search: Search) -> int:
    """Candidates between one and the latest whose score it is made from."""
    return search.settings.lookahead if search.settings.order == "proposal" else 0


def _known(search: Search, wait: Wait) -> int:
    """How many the latest candidate was made from, as far as they are waited for."""
    below, found = search.proposed - 1 - _window(search), Counter[float]()
    for at, number in enumerate(search.history.numbers):
        if number < below and (fidelity := wait.of(search.history[at])) is not None:
            found[fidelity] += 1
            if found[fidelity] >= wait.needs:
                break
    return max(found.values(), default=0)
