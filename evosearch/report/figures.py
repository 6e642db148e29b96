"""The numbers behind the report's charts, from a run's journal alone. Nothing of the run is executed."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evosearch.evaluation.measures import recorded
from evosearch.report.text import figure
from evosearch.search.rungs import PROMOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from evosearch.evaluation.measures import Objective
    from evosearch.report.reading import Candidate, RunReading

AGAINST = ("params", "flops", "seconds")  # what a front is drawn against, where the run measured it
DRAWN_DRAWS = 160  # points of a band's curve at the most
BUCKETS = 10  # columns of the tables over time

# A word of a sentence with its numbers, as in `linear(64)` or `im2col3s1`; words around parts stand alone.
WORD = re.compile(r"[A-Za-z_]\w*(?:\([0-9][0-9.,x/e+-]*\))?")


def objectives(run: RunReading) -> tuple[Objective, ...]:
    """What the search optimised, the first one first, with the sign that selection gave each."""
    return recorded(run.header, run.config["search"]["objectives"])


def number(value: Any) -> float | None:
    """The value as a finite float; None where it is none: a journal may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def measured(candidate: Candidate, name: str) -> float | None:
    """An objective, a cost or the seconds of a candidate that succeeded; None where there is none."""
    if candidate.status != "ok" or candidate.score is None:
        return None
    for source in (candidate.objectives, {"seconds": candidate.score.get("seconds")}):
        found = number(source.get(name))
        if found is not None:
            return found
    return None


def parents(run: RunReading, candidate: Candidate) -> tuple[Candidate, ...]:
    """The parents that the journal knows; a number that is not an earlier candidate's is left out."""
    known = run.candidates
    return tuple(known[parent] for parent in candidate.parents if 0 <= parent < candidate.number)


# --- best so far and random draws -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Improvement:
    """A new best: from evaluation `at` (counted from 1, in the order proposed) the best is `value`."""

    at: int
    value: float
    candidate: Candidate


def improvements(run: RunReading) -> list[Improvement]:
    """Each candidate that was better than all before it, in the order proposed."""
    (objective, *_), found = objectives(run), list[Improvement]()
    for candidate in run.compared():
        value = measured(candidate, objective.name)
        if value is not None and (not found or objective.sign * value > objective.sign * found[-1].value):
            found.append(Improvement(candidate.number + 1, value, candidate))
    return found


@dataclass(frozen=True)
class Sample:
    """Scores of random draws from a grammar. failed: draws that gave no score."""

    values: tuple[float, ...]
    failed: int = 0

    @property
    def size(self) -> int:
        return len(self.values) + self.failed

    def __add__(self, other: Sample) -> Sample:
        return Sample(self.values + other.values, self.failed + other.failed)


def random_draws(run: RunReading) -> Sample:
    """The candidates that were drawn from the grammar alone: no parents, no seed, no mutant of a seed.

    All of a random search; else the samples that the first population was filled with, and those drawn where
    variation found nothing new.
    """
    name = objectives(run)[0].name
    start = str(run.config["search"].get("initialise") or "early_exit")
    from_grammar = {"random", "sample", "early_exit"}
    if not run.config.get("seeds"):
        from_grammar |= {"mixed", "seeded", start}
    seeds = _seed_texts(run)
    drawn = [
        one
        for one in run.compared()
        if not one.parents and one.operator in from_grammar and _normal(one.text) not in seeds
    ]
    values = [measured(one, name) for one in drawn]
    return Sample(tuple(value for value in values if value is not None), sum(value is None for value in values))


def _seed_texts(run: RunReading) -> frozenset[str]:
    files = (run.folder / "grammar" / "seeds").glob("*.arch")
    return frozenset(_normal(file.read_text(encoding="utf-8", errors="replace")) for file in files)


def _normal(text: str) -> str:
    return "".join(text.split())


@dataclass(frozen=True)
class Band:
    """The best of n random draws, for each n in `draws`: its expectation, 5th and 95th percentile."""

    draws: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def best_of_draws(sample: Sample, sign: int, most: int) -> Band | None:
    """The best of n independent draws from the sample's empirical distribution, n from 1 to its size (or `most`).

    P(best <= v_i) = (i / N)^n over the N scores in order (Dodge et al., "Show Your Work", EMNLP 2019, section 3).
    Nothing is said of more draws than there were samples. A failed draw counts as one with the worst score of all.
    None where the sample is empty. sign: 1 where larger is better, else -1.
    """
    import numpy as np  # here, since `evolve status` comes by this file and needs none of it

    upto = min(sample.size, most)
    if not sample.values or upto < 1:
        return None
    worst = min(sign * value for value in sample.values)
    ordered = np.sort(np.array([sign * value for value in sample.values] + [worst] * sample.failed))
    draws = np.unique(np.geomspace(1, upto, DRAWN_DRAWS).round().astype(int))
    below = (np.arange(ordered.size + 1) / ordered.size)[None, :] ** draws[:, None]  # (draws, N + 1)
    weights = np.diff(below, axis=1)
    largest = float(np.abs(ordered).max())
    if largest < 1e300:
        mean = weights @ ordered
    else:  # sums that may be past all doubles
        mean = np.clip(weights @ (ordered / largest), -1, 1) * largest
    low, high = (
        ordered[np.minimum((below[:, 1:] < quantile).sum(axis=1), ordered.size - 1)] for quantile in (0.05, 0.95)
    )
    if sign < 0:
        low, high = high, low
    mean, low, high = (tuple((sign * values).tolist()) for values in (mean, low, high))
    return Band(tuple(draws.tolist()), mean, low, high)


def at_random(run: RunReading) -> str:
    """What as many samples of the grammar as the run drew come to, and how much of the winner's lead is noise, in
    words.

    The best of the samples is selected as the winner is, so that its lead over it is fair but for the number of
    candidates; what the winner loses when another seed trains it, unchosen, is the noise in it. Empty where the run
    drew no sample that has a score, or drew nothing else.
    """
    (objective, *_), ranked = objectives(run), run.ranked()
    drawn = random_draws(run)
    if not drawn.values or not ranked or drawn.size == len(run.scored()):
        return ""
    best = max(drawn.values, key=lambda value: objective.sign * value)
    text = f"{figure(best)} is the best of {drawn.size} samples of the grammar"
    winner = measured(ranked[0], objective.name)
    kept = run.metrics.get("held_out")
    held_out: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    again = number(held_out.get("again"))
    lead = objective.sign * (winner - best) if winner is not None else 0.0
    if lead <= 0:
        return f"{text}; nothing that was found is better"
    if winner is None or again is None or held_out.get("winner", ranked[0].key) != ranked[0].key:
        return text
    noise = objective.sign * (winner - again)
    return f"{text}; of the winner's lead of {lead:.4f} {max(noise, 0.0):.4f} is noise: what it loses by another seed"


def front(run: RunReading, against: str, evaluations: float = math.inf) -> list[Candidate]:
    """Candidates that no other beats in the first objective and in `against` (smaller is better), smallest first.

    evaluations: only so many are looked at, in the order proposed.
    """
    objective = objectives(run)[0]
    both = [
        (objective.sign * value, cost, one)
        for one in run.compared()
        if one.number < evaluations
        and (value := measured(one, objective.name)) is not None
        and (cost := measured(one, against)) is not None
    ]
    found: list[Candidate] = []
    least = math.inf
    for _, cost, one in sorted(both, key=lambda entry: (-entry[0], entry[1], entry[2].number)):
        if cost < least:
            found.append(one)
            least = cost
    return found[::-1]


# --- what was earned ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reward:
    """What one offspring earned its operator: the rise in rank from its first parent to it, 0 to 1."""

    candidate: Candidate
    parent: Candidate
    value: float


def rewards(run: RunReading) -> list[Reward]:
    """The rewards as the search gave them: by rank in the window of the latest scores, 0 for a failure.

    On rungs a child is compared with what its parent had on the lowest; a promotion earns nobody anything.
    """
    wanted = objectives(run)
    window: deque[tuple[float, ...]] = deque(maxlen=int(run.config["search"].get("window", 50)))
    outcomes: dict[tuple[str, float], tuple[float, ...]] = {}
    found = []
    for one in _folded(run):
        if one.operator == PROMOTE:
            continue
        values = [measured(one, objective.name) for objective in wanted]
        outcome = tuple(
            objective.sign * value for objective, value in zip(wanted, values, strict=True) if value is not None
        )
        succeeded = len(outcome) == len(wanted)
        if succeeded:
            outcomes.setdefault((one.key, one.fidelity), outcome)
            window.append(outcome)
        made_of = parents(run, one)
        if made_of and (made_of[0].key, one.fidelity) in outcomes:
            before = outcomes[made_of[0].key, one.fidelity]
            rise = _rank(outcome, window) - _rank(before, window) if succeeded else 0.0
            found.append(Reward(one, made_of[0], max(0.0, rise)))
    return found


def _folded(run: RunReading) -> list[Candidate]:
    """Scored candidates in the order in which their scores changed the search."""
    scored = run.scored()
    if run.config["search"].get("order") == "arrival":
        scored.sort(key=lambda one: number((one.score or {}).get("at")) or 0.0)
    return scored


def _rank(values: Sequence[float], window: Iterable[Sequence[float]]) -> float:
    """Rank quantile in the window, 0 to 1, ties half; the mean over several objectives."""
    others = list(window)
    total = sum(
        1.0 if other[index] < value else 0.5 if other[index] == value else 0.0
        for index, value in enumerate(values)
        for other in others
    )
    return total / (len(values) * len(others))


@dataclass
class Earned:
    """What one operator or word earned. tried, reward: in all; over_time: (tried, reward) in each bucket."""

    name: str
    tried: int = 0
    reward: float = 0.0
    over_time: list[tuple[int, float]] = field(default_factory=lambda: [(0, 0.0)] * BUCKETS)

    @property
    def mean(self) -> float:
        return self.reward / self.tried if self.tried else 0.0

    def add(self, bucket: int, reward: float) -> None:
        self.tried += 1
        self.reward += reward
        tried, sum_before = self.over_time[bucket]
        self.over_time[bucket] = (tried + 1, sum_before + reward)


def bucket_of(number: int, total: int) -> int:
    """Which of the run's BUCKETS equal stretches a proposal falls into."""
    return min(BUCKETS - 1, number * BUCKETS // max(total, 1))


def earned_by_operator(run: RunReading, given: Sequence[Reward]) -> list[Earned]:
    """Operators by mean reward of the offspring that were evaluated, best first."""
    return _earned(run, ((reward, reward.candidate.operator) for reward in given))


def earned_by_word(run: RunReading, given: Sequence[Reward]) -> list[Earned]:
    """Words of the grammar by mean reward of the offspring that have more of them than their first parent."""
    counts: dict[int, Counter[str]] = {}

    def words(one: Candidate) -> Counter[str]:
        if one.number not in counts:
            counts[one.number] = Counter(WORD.findall(one.text))
        return counts[one.number]

    pairs = ((reward, word) for reward in given for word in words(reward.candidate) - words(reward.parent))
    return _earned(run, pairs)


def _earned(run: RunReading, pairs: Iterator[tuple[Reward, str]]) -> list[Earned]:
    found: dict[str, Earned] = {}
    total = len(run.candidates)
    for reward, name in pairs:
        found.setdefault(name, Earned(name)).add(bucket_of(reward.candidate.number, total), reward.value)
    return sorted(found.values(), key=lambda earned: (-earned.mean, -earned.tried, earned.name))


# --- descent --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ancestor:
    """One of a candidate's ancestors (or itself). generation: longest way to it from a seed or a sample."""

    candidate: Candidate
    generation: int
    parents: tuple[Candidate, ...]


def ancestors(run: RunReading, candidate: Candidate) -> list[Ancestor]:
    """The candidate and all it descends from, in the order proposed."""
    found: dict[int, tuple[Candidate, ...]] = {}
    waiting = [candidate]
    while waiting:
        one = waiting.pop()
        if one.number not in found:
            found[one.number] = parents(run, one)
            waiting += found[one.number]
    generations: dict[int, int] = {}
    for born in sorted(found):
        generations[born] = 1 + max((generations[parent.number] for parent in found[born]), default=-1)
    return [Ancestor(run.candidates[born], generations[born], found[born]) for born in sorted(found)]


def seconds_spent(run: RunReading) -> float:
    """Time of all evaluations together; those known from other runs took none."""
    return sum(number((one.score or {}).get("seconds")) or 0.0 for one in run.scored())


def tally(state: Mapping[str, Any], name: str) -> int:
    """A count of the checkpoint's tallies, over all operators."""
    return sum(int(entry.get(name, 0)) for entry in state.get("tallies", {}).values())
