"""Groups of rows that belong together, as all rows of a patient do: none of them is on both sides of a split.

What is cut is whole groups. How good a network is on new patients is then what the rows to judge on, and to test, tell.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.tasks.encode import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST, CHANCE = 10, 1e-6  # names that settle the target; how often chance would have it so
GAP = "give it one, of its own where the row belongs to no other, or leave out such rows"


def numbered(names: Sequence[Array]) -> list[Array]:
    """The groups of each split, (N,) names of any one type, as numbers (N,) from 0 that are the same in all splits."""
    numbers = np.unique(np.concatenate(names), return_inverse=True)[1].astype(np.int64)
    return np.split(numbers, np.cumsum([len(one) for one in names])[:-1])


def gap(names: Array) -> int | None:
    """The first row whose group, (N,) names, is missing."""
    known, of = np.unique(names, return_inverse=True)
    rows = np.array([missing(name) for name in known], bool)[of]
    return int(rows.argmax()) if rows.any() else None


def settle(names: Sequence[str], targets: Sequence[str]) -> bool:
    """Whether rows of one name have one target, for ten names and more of two rows on average, and no chance has it so:
    were targets dealt to rows at random, that would happen once in a million times. As where rows are visits, names are
    patients, and the target is what a patient has.
    """
    target_of: dict[str, str] = {}
    for name, target in zip(names, targets, strict=True):
        if target_of.setdefault(name, target) != target:
            return False
    if not FEWEST <= len(target_of) <= len(names) / 2:
        return False
    rows, share = Counter(names), Counter(targets)
    chance = sum((rows[name] - 1) * math.log(share[target] / len(names)) for name, target in target_of.items())
    return chance < math.log(CHANCE)


def tallied(groups: Array, strata: Array | None) -> tuple[Array, Array, Array, Array]:
    """(rows,) numbers of the groups from 0, and for each stratum that a group has rows in: group, stratum, rows."""
    of = np.unique(groups, return_inverse=True)[1]
    stratum = np.zeros(len(of), int) if strata is None else np.unique(strata, return_inverse=True)[1]
    width = int(stratum.max()) + 1
    cells, rows = np.unique(of * width + stratum, return_counts=True)
    return of, cells // width, cells % width, rows


def most_parts(groups: Array, classes: Array | None) -> int:
    """How many parts rows can be cut into, none of them empty, where the groups (rows,) stay whole.

    classes: (rows,) numbers, of which two at the least are to be left without any one group: else 1. None: no classes.
    """
    of, _, stratum, _ = tallied(groups, classes)
    several = np.bincount(stratum) > 1  # for each class, whether groups have it
    return int(of.max()) + 1 if classes is None or several.sum() > 1 else 1


def cut_groups(groups: Array, strata: Array | None, shares: tuple[float, ...], seed: int) -> list[Array]:
    """Row numbers cut at random into parts of the given shares, then the rest, rising; whole groups.

    groups: (rows,) their numbers; at least as many different ones as parts, so that none is empty. strata: (rows,)
    numbers of which each part should have its share too, or None. Groups are dealt one by one, the largest first, those
    of like size (within a factor of two) in random order: each to the part that it brings nearest to the rows asked for
    of every stratum, by chi-square, of those that have room for it; where none has, to the one that lacks most. So a
    part has the rows asked for within those of the largest group, where every part was to have as many as that. The
    greedy deal is that of scikit-learn's StratifiedGroupKFold, which has no shares and orders groups by their classes
    alone (docs/decisions.md compares).
    """
    of, group_of, stratum, rows = tallied(groups, strata)
    sizes, fractions = np.bincount(of), np.array([*shares, 1 - sum(shares)])
    starts = np.searchsorted(group_of, np.arange(len(sizes) + 1))
    asked = fractions[:, None] * np.bincount(stratum, rows)  # (parts, strata) rows
    lacks, room, empty = asked.copy(), fractions * len(of), np.ones(len(fractions), bool)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-np.frexp(sizes[order])[1], kind="stable")]
    part = np.empty(len(sizes), int)
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        mine = slice(starts[group], starts[group + 1])
        where, own = stratum[mine], rows[mine]
        may = empty if left <= empty.sum() else room >= sizes[group] - 1e-6
        may = may if may.any() else room == room.max()
        farther = (own * (own - 2 * lacks[:, where]) / asked[:, where]).sum(1)  # by chi-square, for each part
        chosen = int(np.where(may, farther, np.inf).argmin())
        lacks[chosen, where] -= own
        room[chosen] -= sizes[group]
        empty[chosen], part[group] = False, chosen
    return [np.flatnonzero(part[of] == number) for number in range(len(fractions))]
