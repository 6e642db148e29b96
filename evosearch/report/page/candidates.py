"""All candidates of a run as the page's script reads them, small enough for a page of some megabytes.

Their texts are packed by deflate, which says a text again in a few bytes; beyond a budget those of the worst are left
out, and beyond `MOST` candidates an even choice of them stands for all.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from evosearch.report.figures import measured, number, objectives
from evosearch.report.text import clean

if TYPE_CHECKING:
    from evosearch.report.reading import Candidate, RunReading

MOST = 6_000  # candidates on a page
TEXTS = 1_200_000  # characters of all texts, packed
CURVES = 50_000  # values of all training curves
ERROR_LENGTH = 400  # characters of an error
STATUS, OPERATOR, ERROR, TEXT = 2, 7, 9, 11  # places in a row of what is said by its place in a list of names


def packed(run: RunReading, shown: Sequence[int], favourites: Collection[int]) -> dict[str, Any]:
    """rows: [number, key, status, value, params, flops, seconds, operator, parents, error, curve, text], by number.

    status, operator, error and text are places in `statuses`, `operators`, `errors` and `texts` (-1: none). texts: a
    JSON list of strings, by zlib, in base64. shown: the numbers of the candidates. favourites: of these, those whose
    texts are left out last.
    """
    kept = list(run.candidates.at(shown))
    statuses, operators, errors = _Names(), _Names(), _Names()
    metric = objectives(run)[0].name
    texts, places = _texts(run, kept, favourites)
    points = max(2, min(12, CURVES // max(len(kept), 1)))
    rows = []
    for one in kept:
        made = row(run, one, metric, points)
        made[STATUS], made[OPERATOR] = statuses.place(made[STATUS]), operators.place(made[OPERATOR])
        made[ERROR] = errors.place(made[ERROR]) if made[ERROR] else -1
        made[TEXT] = places.get(one.number, -1)
        rows.append(made)
    return {
        "rows": rows,
        "statuses": statuses.names,
        "operators": operators.names,
        "errors": errors.names,
        "texts": texts,
    }


def row(run: RunReading, one: Candidate, metric: str, points: int = 12) -> list[Any]:
    """A candidate as `packed` has it, with its words themselves. points: of its curve at the most."""
    score = one.score or {}
    return [
        one.number,
        clean(str(one.key)),
        clean(one.status),
        rounded(measured(one, metric)),
        *(_whole(one.cost, name) for name in ("params", "flops")),
        rounded(number(score.get("seconds")), 3),
        clean(str(one.operator)),
        run.columns.parents_of(one.number),
        clean(str(score.get("error") or ""))[:ERROR_LENGTH],
        [rounded(number(value), 4) for value in thinned(score.get("curve") or (), points)],
        clean(str(one.text)),
    ]


def chosen(run: RunReading, favourites: Collection[int]) -> list[int]:
    """The numbers of all scored candidates; of more than MOST the favourites and an even choice of the others."""
    scored = run.scored().numbers
    if len(scored) <= MOST:
        return [int(number) for number in scored]
    step = len(scored) / MOST
    even = {int(scored[int(index * step)]) for index in range(MOST)}
    return sorted(even | {number for number in favourites if run.columns.scored[number] >= 0})


def _texts(run: RunReading, kept: Sequence[Candidate], favourites: Collection[int]) -> tuple[str, dict[int, int]]:
    """(texts, the place of each candidate's by number): as many as fit the budget, the favourites', then the best's."""
    objective = objectives(run)[0]

    def merit(one: Candidate) -> tuple[bool, float]:
        value = measured(one, objective.name)
        return one.number not in favourites, float("inf") if value is None else -objective.sign * value

    ranked = sorted(kept, key=merit)
    share = len(ranked)
    while True:
        chosen = sorted(ranked[:share], key=lambda one: one.number)  # parents and offspring stand close: it packs well
        text = json.dumps([clean(str(one.text)) for one in chosen], ensure_ascii=False, separators=(",", ":"))
        found = base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 9)).decode()
        if len(found) <= TEXTS or share <= 1:
            return found, {one.number: place for place, one in enumerate(chosen)}
        share = max(1, int(share * min(0.9, TEXTS / len(found))))


class _Names:
    """Names by the order of their first use."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, name: str) -> int:
        found = self._places.get(name)
        if found is None:
            found = self._places[name] = len(self.names)
            self.names.append(name)
        return found


def thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many values, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def rounded(value: float | None, digits: int = 7) -> float | None:
    """With so many digits: whole numbers stay whole."""
    if value is None:
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _whole(cost: Any, name: str) -> float | None:
    found = number(cost.get(name)) if isinstance(cost, dict) else None
    return None if found is None else int(found)
