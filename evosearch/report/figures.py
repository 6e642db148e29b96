"""The numbers behind the report's charts, from a run's journal alone. Nothing of the run is executed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from evosearch.evaluation.measures import recorded
from evosearch.moments import mean
from evosearch.report.text import figure
from evosearch.score import LINEAGE_EPOCHS
from evosearch.search.rungs import PROMOTE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from evosearch.evaluation.measures import Objective
    from evosearch.report.columns import Columns
    from evosearch.report.reading import Candidate, RunReading

AGAINST = ("params", "flops", "seconds")  # what a front is drawn against, where the run measured it
DRAWN_DRAWS = 160  # points of a band's curve at the most
BUCKETS = 10  # columns of the tables over time
BLOCK = 4_096  # offspring whose rewards are worked out at a time
WORDED = 10_000  # offspring whose words are looked at

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
    import numpy as np  # here and below, since `evolve status` comes by this file and needs none of it

    objective = objectives(run)[0]
    numbers = np.flatnonzero(run.comparable & ~np.isnan(run.measured(objective.name)))
    if not numbers.size:
        return []
    signed = objective.sign * run.measured(objective.name)[numbers]
    best = np.maximum.accumulate(signed)
    risen = numbers[np.concatenate(([True], best[1:] > best[:-1]))]
    return [
        Improvement(one.number + 1, float(value), one)
        for one, value in zip(run.candidates.at(risen), run.measured(objective.name)[risen], strict=True)
    ]


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


@dataclass(frozen=True)
class FromGrammar:
    """Which proposals were drawn from the grammar alone: no parents, no seed, no mutant of a seed.

    operators: those that draw so. seeds: the texts of the run's seeds.
    """

    operators: frozenset[str]
    seeds: frozenset[str]

    @classmethod
    def of(cls, folder: Path, config: Mapping[str, Any]) -> FromGrammar:
        """In the run of a folder. config: the resolved configuration as plain tables."""
        operators = {"random", "sample", "early_exit"}
        if not config.get("seeds"):
            operators |= {"mixed", "seeded", str(config["search"].get("initialise") or "early_exit")}
        files = (folder / "grammar" / "seeds").glob("*.arch")
        texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
        return cls(frozenset(operators), frozenset(map(_normal, texts)))

    def is_seed(self, text: str) -> bool:
        """Whether a text is that of a seed."""
        return bool(self.seeds) and _normal(text) in self.seeds

    def drew(self, proposal: Mapping[str, Any]) -> bool:
        """Of a proposal's record."""
        return not proposal["parents"] and proposal["operator"] in self.operators and not self.is_seed(proposal["text"])


def random_draws(run: RunReading) -> Sample:
    """The candidates that were drawn from the grammar alone.

    All of a random search; else the samples that the first population was filled with, and those drawn where
    variation found nothing new.
    """
    return scores_of(run, drawn(run))


def draws_together(runs: Sequence[RunReading]) -> Sample:
    """Those of several runs; what runs of one seed drew alike is one draw, as their first populations are."""
    import numpy as np

    known: dict[int, NDArray[np.uint64]] = {}
    found = Sample(())
    for run in runs:
        numbers, seed = drawn(run), int(run.config["seed"])
        keys, before = run.columns.keys[numbers], known.get(seed, np.array([], np.uint64))
        found += scores_of(run, numbers[~np.isin(keys, before)])
        known[seed] = np.concatenate((before, keys))
    return found


def drawn(run: RunReading) -> NDArray[np.int64]:
    """The numbers of the candidates that were drawn from the grammar alone."""
    import numpy as np

    columns, origin = run.columns, FromGrammar.of(run.folder, run.config)
    operators = [place for place, known in enumerate(columns.operator_names) if known in origin.operators]
    found = np.flatnonzero(run.comparable & columns.orphans & np.isin(columns.operators, operators))
    if origin.seeds:
        found = np.array([one.number for one in run.candidates.at(found) if not origin.is_seed(one.text)], np.int64)
    return found


def scores_of(run: RunReading, numbers: NDArray[np.int64]) -> Sample:
    """The scores of some candidates, by their numbers."""
    import numpy as np

    values = run.measured(objectives(run)[0].name)[numbers]
    return Sample(tuple(values[~np.isnan(values)].tolist()), int(np.isnan(values).sum()))


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
    import numpy as np

    upto = min(sample.size, most)
    if not sample.values or upto < 1:
        return None
    worst = min(sign * value for value in sample.values)
    ordered = np.sort(np.array([sign * value for value in sample.values] + [worst] * sample.failed))
    draws = np.unique(np.geomspace(1, upto, DRAWN_DRAWS).round().astype(int))
    shares = np.arange(ordered.size + 1) / ordered.size
    largest = float(np.abs(ordered).max())
    means, places = [], []
    for count in draws:  # one after the other: of a million samples all at once would take gigabytes
        below = shares**count
        if largest < 1e300:
            means.append(np.diff(below) @ ordered)
        else:  # sums that may be past all doubles
            means.append(np.clip(np.diff(below) @ (ordered / largest), -1, 1) * largest)
        places.append([np.searchsorted(below[1:], quantile) for quantile in (0.05, 0.95)])
    low, high = ordered[np.minimum(np.array(places), ordered.size - 1)].T
    if sign < 0:
        low, high = high, low
    lines = (tuple((sign * values).tolist()) for values in (np.array(means), low, high))
    return Band(tuple(draws.tolist()), *lines)


def at_random(run: RunReading) -> str:
    """`beside_random` of a run. Empty where it drew no sample that has a score, or drew nothing else."""
    (objective, *_), ranked, drawn = objectives(run), run.ranked(), random_draws(run)
    if not drawn.values or not ranked or drawn.size == run.evaluated:
        return ""
    best = max(drawn.values, key=lambda value: objective.sign * value)
    winner = measured(ranked[0], objective.name)
    return beside_random(best, drawn.size, winner, ranked[0].key, objective.sign, run.metrics)


def beside_random(
    best: float, samples: int, winner: float | None, key: str, sign: int, metrics: Mapping[str, Any]
) -> str:
    """What as many samples of the grammar as a run drew come to, and how much of the winner's lead is noise, in words.

    The best of the samples is selected as the winner is, so that its lead over it is fair but for the number of
    candidates; what the winner loses when another seed trains it on the same rows is the noise in it.

    best: of the samples. winner, key: the fitness of the search's best candidate, and its key. sign: as an Objective's.
    metrics: best/metrics.json.
    """
    text = f"{figure(best)} is the best of {samples} samples of the grammar"
    kept = metrics.get("held_out")
    held_out: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    again = number(held_out.get("again"))
    lead = sign * (winner - best) if winner is not None else 0.0
    if lead <= 0:
        return f"{text}; nothing that was found is better"
    if winner is None or again is None or held_out.get("winner", key) != key or held_out.get("other_rows"):
        return text  # on other rows every network has another figure
    noise = sign * (winner - again)
    return f"{text}; of the winner's lead of {lead:.4f} {max(noise, 0.0):.4f} is noise: what it loses by another seed"


def front(run: RunReading, against: str, evaluations: float = math.inf) -> list[Candidate]:
    """Candidates that no other beats in the first objective and in `against` (smaller is better), smallest first.

    evaluations: only so many are looked at, in the order proposed.
    """
    import numpy as np

    objective = objectives(run)[0]
    signed, costs = objective.sign * run.measured(objective.name), run.measured(against)
    both = run.comparable & ~np.isnan(signed) & ~np.isnan(costs) & (np.arange(len(signed)) < evaluations)
    numbers = np.flatnonzero(both)
    order = numbers[np.lexsort((numbers, costs[numbers], -signed[numbers]))]
    least = np.minimum.accumulate(np.concatenate(([math.inf], costs[order])))
    return list(run.candidates.at(order[costs[order] < least[:-1]][::-1]))


def is_costly(run: RunReading, against: str) -> bool:
    """Whether any candidate has this cost, so that there is something to compare."""
    return bool((run.measured(against) > 0).any())


# --- what was earned ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rewards:
    """What offspring earned their operators, each the rise in rank from its first parent to it, 0 to 1.

    children, parents: numbers, in the order in which scores changed the search. values: the rewards.
    """

    children: NDArray[np.int64]
    parents: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.children)

    def at(self, which: NDArray[Any]) -> Rewards:
        """Some of them, by their places or by a mask."""
        return Rewards(self.children[which], self.parents[which], self.values[which])


def rewards(run: RunReading) -> Rewards:
    """The rewards as the search gave them: by rank in the window of the latest scores, 0 for a failure.

    On rungs a child is compared with what its parent had on the lowest; a promotion earns nobody anything.
    """
    import numpy as np

    order, wanted = _folded(run), objectives(run)
    outcomes = np.stack([one.sign * run.measured(one.name)[order] for one in wanted], axis=1)
    succeeded = np.atleast_1d(~np.isnan(outcomes).any(axis=1))
    children, before = _compared(run.columns, order, np.flatnonzero(succeeded))
    passed, behind = outcomes[succeeded], np.cumsum(succeeded)  # successes, and how many there are by each score
    window = np.arange(int(run.config["search"].get("window", 50)))
    values = np.zeros(len(children))
    for begin in range(0, len(children), BLOCK):
        child, parent = children[begin : begin + BLOCK], before[begin : begin + BLOCK]
        at = behind[child][:, None] - 1 - window  # of the latest successes, the child's own among them
        latest = np.where((at >= 0)[:, :, None], passed[np.maximum(at, 0)], np.nan)
        rise = _ranks(outcomes[child], latest) - _ranks(outcomes[parent], latest)
        values[begin : begin + BLOCK] = np.where(succeeded[child], np.maximum(rise, 0.0), 0.0)
    return Rewards(order[children], run.columns.first_parents[order[children]], values)


def _folded(run: RunReading) -> NDArray[np.int64]:
    """The numbers of scored candidates in the order in which their scores changed the search, promotions left out."""
    import numpy as np

    columns = run.columns
    promoted = columns.operators == columns.operator_place(PROMOTE)
    numbers = np.flatnonzero((columns.scored >= 0) & ~promoted)
    if run.config["search"].get("order") != "arrival":
        return numbers
    return numbers[np.argsort(np.nan_to_num(columns.at[numbers]), kind="stable")]


def _compared(
    columns: Columns, order: NDArray[np.int64], succeeded: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which scores have a parent's to be compared with, and these: as places in the order.

    A parent's is the first success of its key with the child's fidelity. succeeded: places of successes.
    """
    import numpy as np

    parents = columns.first_parents[order]
    children = np.flatnonzero(parents >= 0)
    keys, shares = (np.unique(one, return_inverse=True)[1] for one in (columns.keys, columns.fidelities))
    evaluations = int(shares.max(initial=0)) + 1
    known, first = np.unique((keys * evaluations + shares)[order[succeeded]], return_index=True)
    if not known.size:
        return children[:0], children[:0]
    wanted = keys[parents[children]] * evaluations + shares[order[children]]
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    before = succeeded[first[at]]
    there = (known[at] == wanted) & (before <= children)
    return children[there], before[there]


def _ranks(values: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank quantiles in windows, 0 to 1, ties half; the mean over several objectives.

    values: (n, objectives). window: (n, latest, objectives), NaN where there are fewer.
    """
    import numpy as np

    others = np.maximum((~np.isnan(window[:, :, 0])).sum(axis=1), 1)
    total = (window < values[:, None]).sum(axis=(1, 2)) + 0.5 * (window == values[:, None]).sum(axis=(1, 2))
    found: NDArray[np.float64] = total / (values.shape[1] * others)
    return found


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


def earned_by_operator(run: RunReading, given: Rewards) -> list[Earned]:
    """Operators by mean reward of the offspring that were evaluated, best first."""
    import numpy as np

    operators, total = run.columns.operators[given.children], len(run.columns)
    buckets = np.minimum(BUCKETS - 1, given.children * BUCKETS // max(total, 1))
    found = []
    for place in np.unique(operators):
        own = operators == place
        tried = np.bincount(buckets[own], minlength=BUCKETS).tolist()
        earned = np.bincount(buckets[own], given.values[own], BUCKETS).tolist()
        over_time = list(zip(tried, earned, strict=True))
        name = run.columns.operator_names[place]
        found.append(Earned(name, int(own.sum()), float(given.values[own].sum()), over_time))
    return _by_mean(found)


def earned_by_word(run: RunReading, given: Rewards) -> list[Earned]:
    """Words of the grammar by mean reward of the offspring that have more of them than their first parent.

    Of more than WORDED offspring, by an even choice of them: each one's text is read from the journal.
    """
    import numpy as np

    if len(given) > WORDED:
        given = given.at((np.arange(WORDED) * (len(given) / WORDED)).astype(np.int64))
    counts: dict[int, Counter[str]] = {}

    def words(number: int) -> Counter[str]:
        if number not in counts:
            counts[number] = Counter(WORD.findall(run.candidates[number].text))
        return counts[number]

    found: dict[str, Earned] = {}
    for child, parent, value in zip(
        given.children.tolist(), given.parents.tolist(), given.values.tolist(), strict=True
    ):
        for word in words(child) - words(parent):
            found.setdefault(word, Earned(word)).add(bucket_of(child, len(run.columns)), value)
    return _by_mean(list(found.values()))


def _by_mean(earned: list[Earned]) -> list[Earned]:
    return sorted(earned, key=lambda one: (-one.mean, -one.tried, one.name))


# --- descent --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ancestor:
    """One of a candidate's ancestors (or itself), by numbers. generation: longest way to it from a seed or a sample."""

    number: int
    generation: int
    parents: tuple[int, ...]


def ancestors(run: RunReading, candidate: Candidate) -> list[Ancestor]:
    """The candidate and all it descends from, in the order proposed."""
    found: dict[int, tuple[int, ...]] = {}
    waiting = [candidate.number]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = tuple(run.columns.parents_of(one))
            waiting += found[one]
    generations: dict[int, int] = {}
    for born in sorted(found):
        generations[born] = 1 + max((generations[parent] for parent in found[born]), default=-1)
    return [Ancestor(born, generations[born], found[born]) for born in sorted(found)]


def seconds_spent(run: RunReading) -> float:
    """Time of all evaluations together; those known from other runs took none."""
    import numpy as np

    return float(np.nansum(run.columns.seconds))


def passed_on(run: RunReading) -> tuple[int, str]:
    """How many candidates began with weights of their parents, and in words: what was copied, how far their outputs
    were from the parents' before they were trained, and how many parents had none to pass on. No words where none is.
    """
    if _inherit(run) == "off":
        return 0, ""
    rows: list[list[float]] = []
    empty, heirs = set[int](), list[int]()  # who left no weights; whose weights others might have begun with
    for one in run.scored():
        found = _metrics(one)
        told = [number(found.get(name)) for name in ("inherited", "inherited_difference", LINEAGE_EPOCHS)]
        row = [value for value in told if value is not None]
        rows += [row] if len(row) == len(told) else []
        empty.update([one.number] if left_none(run, one) else [])
        heirs += one.parents[:1] if may_inherit(run, one) else ()
    without = sum(parent in empty for parent in heirs)
    if not rows and not without:
        return 0, ""
    said = [f"of {len(run.scored()):,}"]
    if rows:
        shares, apart, epochs = zip(*rows, strict=True)
        said += [
            f"{mean(shares):.0%} of the weights copied",
            f"at first outputs at most {median(apart):.2g} from the parent's in half of them",
            f"lines of up to {max(epochs):g} epochs",
        ]
    if without:
        said.append(f"{without:,} began from nothing, as their parents were told their scores and left no weights")
    return len(rows), "; ".join(said)


def left_none(run: RunReading, one: Candidate) -> bool:
    """Whether weights pass on in the run, and a candidate that succeeded left none: it was told its score."""
    return _inherit(run) != "off" and one.status == "ok" and LINEAGE_EPOCHS not in _metrics(one)


def may_inherit(run: RunReading, one: Candidate) -> bool:
    """Whether a candidate begins with the weights of its first parent, where that one has some."""
    return bool(one.parents) and (_inherit(run) == "parent" or (_inherit(run) == "self" and one.operator == PROMOTE))


def _inherit(run: RunReading) -> str:
    return str(run.config.get("recipe", {}).get("inherit", "off"))


def _metrics(one: Candidate) -> Mapping[str, Any]:
    metrics = (one.score or {}).get("metrics")
    return metrics if isinstance(metrics, Mapping) else {}


def tally(state: Mapping[str, Any], name: str) -> int:
    """A count of the checkpoint's tallies, over all operators."""
    return sum(int(entry.get(name, 0)) for entry in state.get("tallies", {}).values())
