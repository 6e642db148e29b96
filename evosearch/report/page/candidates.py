"""All candidates of a run as the page's script reads them, small enough for a page of some megabytes.

An offspring's text is written as what stands between the beginning and the end that it shares with its first parent's,
or the next one up whose text is there; beyond a budget the texts of the worst are left out, and beyond `MOST` candidates an even choice of them stands for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evosearch.report.ancestry import TOKEN
from evosearch.report.figures import measured, number, objectives, parents
from evosearch.report.page.markup import as_json
from evosearch.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from evosearch.report.reading import Candidate, RunReading

MOST = 6_000  # candidates on a page
TEXTS = 1_400_000  # characters of all texts, as the page holds them
CURVES = 50_000  # values of all training curves
ERROR = 400  # characters of an error

Packed = str | list[int | str] | None


def packed(run: RunReading, favourites: Collection[int]) -> dict[str, Any]:
    """rows: [number, key, status, value, params, flops, seconds, operator, parents, error, curve, text], by number.

    status, operator and error are places in `statuses`, `operators` and `errors` (-1: none). text: whole; or [of, a, b,
    middle], between the first a and the last b characters of candidate `of`; or None, left out. favourites: candidates
    that are left out last.
    """
    kept = chosen(run.scored(), favourites)
    statuses, operators, errors = _Names(), _Names(), _Names()
    metric = objectives(run)[0].name
    texts = _texts(run, kept, favourites)
    points = max(2, min(12, CURVES // max(len(kept), 1)))
    rows = []
    for one in kept:
        score = one.score or {}
        error = clean(str(score.get("error") or ""))[:ERROR]
        rows.append(
            [
                one.number,
                clean(str(one.key)),
                statuses.place(clean(one.status)),
                rounded(measured(one, metric)),
                *(_whole(score.get("cost"), name) for name in ("params", "flops")),
                rounded(number(score.get("seconds")), 3),
                operators.place(clean(str(one.operator))),
                [parent.number for parent in parents(run, one)],
                errors.place(error) if error else -1,
                [rounded(number(value), 4) for value in thinned(score.get("curve") or (), points)],
                texts.get(one.number),
            ]
        )
    return {"rows": rows, "statuses": statuses.names, "operators": operators.names, "errors": errors.names}


def chosen(scored: Sequence[Candidate], favourites: Collection[int]) -> list[Candidate]:
    """All of them; of more than MOST the favourites and an even choice of the others."""
    if len(scored) <= MOST:
        return list(scored)
    step = len(scored) / MOST
    even = {scored[int(index * step)].number for index in range(MOST)}
    return [one for one in scored if one.number in even or one.number in favourites]


def _texts(run: RunReading, kept: Sequence[Candidate], favourites: Collection[int]) -> dict[int, Packed]:
    """Texts by number, as many as fit the budget: the favourites', then the best ones'."""
    objective = objectives(run)[0]

    def merit(one: Candidate) -> tuple[bool, float]:
        value = measured(one, objective.name)
        return one.number not in favourites, float("inf") if value is None else -objective.sign * value

    ranked = sorted(kept, key=merit)
    tokens = {one.number: TOKEN.findall(clean(str(one.text))) for one in kept}  # whole words: what changed reads well
    share = len(ranked)
    while True:
        found = _differences(run, sorted(ranked[:share], key=lambda one: one.number), tokens)
        size = sum(len(as_json(text)) for text in found.values())
        if size <= TEXTS or share <= 1:
            return found
        share = max(1, int(share * min(0.9, TEXTS / size)))


def _differences(run: RunReading, kept: Iterable[Candidate], tokens: Mapping[int, Sequence[str]]) -> dict[int, Packed]:
    found: dict[int, Packed] = {}
    for one in kept:
        nearest = one
        while (made_of := parents(run, nearest)) and (nearest := made_of[0]).number not in found:
            pass
        own = tokens[one.number]
        known = nearest.number in found
        found[one.number] = _difference(nearest.number, tokens[nearest.number], own) if known else "".join(own)
    return found


def _difference(of: int, before: Sequence[str], after: Sequence[str]) -> Packed:
    text = "".join(after)
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    head, middle, tail = (
        "".join(part) for part in (after[:start], after[start : len(after) - end], after[len(after) - end :])
    )
    if (
        len(middle) + 12 > len(text) or not (head + tail).isascii()
    ):  # the page counts in UTF-16: only ASCII counts alike
        return text
    return [of, len(head), len(tail), middle]


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """How many items they begin with in common."""
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


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
