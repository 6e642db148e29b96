"""Several runs side by side: how good each method became, by how much it beats random networks, and what chance says.

Runs whose configurations are equal but for name, seed, workers and budget are runs of one method; those of one seed
among them are one run. All are compared after the same number of evaluations, the least that any of them has made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from evosearch.errors import UsageError
from evosearch.report import figures
from evosearch.report.figures import Improvement, Sample, number
from evosearch.report.reading import RunReading, read_run

APART = frozenset({"name", "seed", "workers", "log", "search.budget"})  # what runs of one method may differ in
LONGEST = 60  # letters of a method's name; where one would have more, all are numbered and what they are is noted
RESAMPLES = 9_999  # of the permutation test; all of them where there are fewer


@dataclass(frozen=True)
class Method:
    """Runs of one configuration. settings: those that tell it from the other methods. name: they, or a number."""

    name: str
    runs: tuple[RunReading, ...]
    settings: str = ""


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney's U test of two methods, two-sided, by permutation. p is corrected by Holm's method."""

    a: str
    b: str
    u: float
    p: float
    p_corrected: float
    least_p: float  # that so few runs can give


@dataclass(frozen=True)
class Comparison:
    """The runs by method. evaluations: after how many they are compared: all of one of them, which has a best by then.
    left_out: lines about runs that do not count.
    """

    methods: tuple[Method, ...]
    evaluations: int
    left_out: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[RunReading, ...]:
        return tuple(run for method in self.methods for run in method.runs)

    @cached_property
    def metric(self) -> str:
        return figures.objectives(self.runs[0])[0].name

    @cached_property
    def sign(self) -> int:
        return figures.objectives(self.runs[0])[0].sign

    def best(self, run: RunReading) -> float | None:
        """The best after the compared number of evaluations."""
        steps = self.steps(run)
        return steps[-1][1].value if steps else None

    def steps(self, run: RunReading) -> list[tuple[int, Improvement]]:
        """Each new best by then, and after how many evaluations it was there: what has no score yet is none."""
        evaluated = (run.columns.scored >= 0).cumsum()
        found = [(int(evaluated[step.candidate.number]), step) for step in figures.improvements(run)]
        return [(at, step) for at, step in found if at <= self.evaluations]

    def looked_at(self, run: RunReading) -> int:
        """Of how many candidates, in the order proposed, so many have a score."""
        return int((run.columns.scored >= 0).cumsum().searchsorted(self.evaluations)) + 1

    def bests(self, method: Method) -> list[float]:
        """The best of each run that has one."""
        return [value for run in method.runs if (value := self.best(run)) is not None]

    def random(self, run: RunReading) -> Sample:
        """Random draws from a run's grammar: those of random searches among the runs, else what all of them drew."""
        grammar = _digest(run, "grammar")
        if grammar not in self._draws:
            alike = [one for one in self.runs if _digest(one, "grammar") == grammar]
            searches = [one for one in alike if one.config["search"]["strategy"] == "random"]
            self._draws[grammar] = figures.draws_together(searches or alike)
        return self._draws[grammar]

    @cached_property
    def _draws(self) -> dict[Any, Sample]:
        """By grammar, as far as they were asked for."""
        return {}

    def improvement(self, run: RunReading) -> float | None:
        """RI in per cent: the best against the mean random network's score (Yang et al., ICLR 2020).

        Its sign is turned where smaller is better. None where there are no random scores, or their mean is 0.
        """
        best, values = self.best(run), self.random(run).values
        mean = fmean(values) if values else 0.0
        return None if best is None or not mean else 100 * self.sign * (best - mean) / abs(mean)

    def improvements(self, method: Method) -> list[float]:
        return [value for run in method.runs if (value := self.improvement(run)) is not None]

    @cached_property
    def tests(self) -> list[RankTest]:
        """Every two methods that have two runs each at the least."""
        pairs = [
            (a, b)
            for a, b in itertools.combinations(self.methods, 2)
            if len(self.bests(a)) > 1 and len(self.bests(b)) > 1
        ]
        found = [(a, b, *rank_test(self.bests(a), self.bests(b))) for a, b in pairs]
        corrected = holm([p for *_, p in found])
        return [
            RankTest(a.name, b.name, u, p, better, _least_p(len(self.bests(a)), len(self.bests(b))))
            for (a, b, u, p), better in zip(found, corrected, strict=True)
        ]

    @cached_property
    def notes(self) -> list[str]:
        """What makes the comparison weaker than it looks."""
        found = [f"{method.name}: {method.settings}" for method in self.methods if method.name != method.settings]
        found += self.left_out
        if len({_digest(run, "recipe") for run in self.runs}) > 1:
            found.append("Their recipes differ: candidates were trained differently, so their scores do not compare.")
        longest = max(run.evaluated for run in self.runs)
        if longest > self.evaluations:
            found.append(
                f"Compared after {self.evaluations:,} evaluations, the fewest of any run; the longest has {longest:,}."
            )
        single = [method.name for method in self.methods if len(self.bests(method)) < 2]
        if single:
            found.append(
                f"One run says nothing of chance: a rank test needs several seeds of each method, which is not so for "
                f"{', '.join(single)}."
            )
        return found

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "metric": self.metric,
            "larger_is_better": self.sign > 0,
            "evaluations": self.evaluations,
            "methods": [self._method_data(method) for method in self.methods],
            "tests": [asdict(test) for test in self.tests],
            "notes": self.notes,
        }

    def _method_data(self, method: Method) -> dict[str, Any]:
        sample = self.random(method.runs[0])
        return {
            "name": method.name,
            "settings": method.settings,
            "runs": [self._run_data(run) for run in method.runs],
            "best": spread(self.bests(method)),
            "relative_improvement": spread(self.improvements(method)),
            "random": {
                "mean": fmean(sample.values) if sample.values else None,
                "samples": sample.size,
                "failed": sample.failed,
            },
        }

    def _run_data(self, run: RunReading) -> dict[str, Any]:
        return {
            "folder": str(run.folder),
            "seed": run.config["seed"],
            "evaluated": run.evaluated,
            "failed": sum(run.failures().values()),
            "seconds": figures.seconds_spent(run),
            "best": self.best(run),
            "relative_improvement": self.improvement(run),
            "test": tested(run),
        }


def compare(folders: Sequence[str | Path]) -> Comparison:
    """Read the runs and group them by method.

    Of several that are the beginning of one another, as runs of one configuration and seed are, the longest counts: the
    others say nothing that it does not.

    Raises UsageError for fewer than two, for one named twice, for runs of different tasks or objectives, and for one
    without a score; RunError where there is no run.
    """
    if len(folders) < 2:
        raise UsageError("compare takes two runs or more; `evolve report RUN` tells of one")
    runs = [read_run(Path(folder)) for folder in folders]
    seen: set[Path] = set()
    for run in runs:
        if run.folder.resolve() in seen:
            raise UsageError(f"{run.folder}: named twice")
        seen.add(run.folder.resolve())
    first = runs[0]
    for run in runs[1:]:
        if _digest(run, "task") != _digest(first, "task"):
            raise UsageError(f"{run.folder} and {first.folder} are of different tasks, so their scores do not compare")
        if figures.objectives(run)[0] != figures.objectives(first)[0]:
            raise UsageError(f"{run.folder} and {first.folder} have different first objectives")
    for run in runs:
        if not run.ranked():
            raise UsageError(f"{run.folder}: none of its candidates has a score yet")
    counted, left_out = _apart(runs)
    return Comparison(tuple(_methods(counted)), min(run.evaluated for run in counted), tuple(left_out))


def _apart(runs: Sequence[RunReading]) -> tuple[list[RunReading], list[str]]:
    """One run of each configuration and seed, and a line for each that there are several of.

    A run whose candidates are not the first of the other's is another run, whatever the two configurations call what
    it is of: seeds that were edited, runs that it learned from, results that came in another order.
    """
    alike: list[list[RunReading]] = []  # the longest one first
    for run in sorted(runs, key=lambda run: (run.evaluated, bool(run.metrics)), reverse=True):
        group = next((found for found in alike if _is_one(run, found[0])), None)
        if group is None:
            alike.append([run])
        else:
            group.append(run)
    counted = {id(group[0]) for group in alike}
    left_out = [
        f"{', '.join(str(run.folder) for run in group)}: of the same settings and seed, so they are one run; "
        f"{group[0].folder} counts."
        for group in alike
        if len(group) > 1
    ]
    return [run for run in runs if id(run) in counted], left_out


def _is_one(run: RunReading, longer: RunReading) -> bool:
    """Whether a run is the beginning of a longer one: of its settings, seed and code, with its first candidates."""
    parts = "digests", "operators", "code"
    if _settings(run) != _settings(longer) or run.config["seed"] != longer.config["seed"]:
        return False
    if any(run.header.get(part) != longer.header.get(part) for part in parts):
        return False
    most = min(len(run.columns), len(longer.columns))
    return bool((run.columns.keys[:most] == longer.columns.keys[:most]).all())


def _methods(runs: Sequence[RunReading]) -> list[Method]:
    groups: dict[tuple[tuple[str, str], ...], list[RunReading]] = {}
    for run in runs:
        groups.setdefault(_settings(run), []).append(run)
    differing = {key for a, b in itertools.combinations(groups, 2) for key, _ in set(a) ^ set(b)}
    for key in [key for key in differing if key.startswith("final.")]:
        recipe = key.replace("final.", "recipe.")
        if all(dict(settings).get(key) == dict(settings).get(recipe) for settings in groups):
            differing.remove(key)  # it follows the recipe, which says it
    said = [
        ", ".join(
            value if key == "search.strategy" else f"{key} = {value}" for key, value in settings if key in differing
        )
        or "all runs"
        for settings in groups
    ]
    numbered = any(len(text) > LONGEST for text in said)
    return [
        Method(f"method {number}" if numbered else text, tuple(members), text)
        for number, (text, members) in enumerate(zip(said, groups.values(), strict=True), 1)
    ]


def _settings(run: RunReading) -> tuple[tuple[str, str], ...]:
    """What makes a method: its configuration's keys and values, and its operators."""
    flat: dict[str, str] = {}
    for key, value in run.config.items():
        for inner, setting in value.items() if isinstance(value, Mapping) else [("", value)]:
            name = f"{key}.{inner}" if inner else key
            if key not in APART and name not in APART:
                flat[name] = str(setting)
    return tuple(sorted(flat.items()))


def _digest(run: RunReading, part: str) -> Any:
    return run.header["digests"].get(part)


def tested(run: RunReading) -> float | None:
    """The final network's on the test split, where the run has come so far."""
    found = run.metrics.get("test")
    return number(next(iter(found.values()), None)) if isinstance(found, Mapping) else None


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, sample deviation, median, least and most; None where there is nothing to take it of."""
    return {
        "runs": len(values),
        "mean": fmean(values) if values else None,
        "deviation": stdev(values) if len(values) > 1 else None,
        "median": median(values) if values else None,
        "least": min(values, default=None),
        "most": max(values, default=None),
    }


def rank_test(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """(U of the first, two-sided p) of Mann and Whitney's test; p from permutations, so that ties are no trouble."""
    import numpy as np
    from scipy import stats

    method = stats.PermutationMethod(n_resamples=RESAMPLES, rng=np.random.default_rng(0))
    found = stats.mannwhitneyu(list(a), list(b), alternative="two-sided", method=method)
    return float(found.statistic), float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _least_p(a: int, b: int) -> float:
    """The least two-sided p that so many runs can give."""
    return min(1.0, 2 / math.comb(a + b, a))
