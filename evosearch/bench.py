"""Comparing searches on a recorded benchmark: strategies and policies over many seeds, on all cores.

Every entrant sees the fitness alone. What is reported at a budget is the report column's figure of the candidate with
the best fitness among those it has paid for by then, the earlier one where two are equal; of a function task, which
has nothing but its fitness, that fitness. A budget is a number of evaluations, or, where the table says what each took,
seconds of a clock that goes by that column, one evaluation after another. Beside mean and deviation over seeds stands
the relative improvement over random sampling, RI = 100 (a - r) / |r| with r the mean figure of randomly sampled
candidates (Yang, Esperança and Carlucci, ICLR 2020), its sign turned where smaller is better. Judged by the fitness
that the search sees, there is the share of seeds that had the best one by a budget, and how many evaluations that took
in the median. Where a seed has nothing to report yet by a budget, since all failed until then, there is no mean.

Where candidates are networks, the walks by FLOPs and by parameters always take part: what they find, size alone finds.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import operators, tasks
from evosearch.errors import ConfigError, SpaceExhausted, TaskError, UsageError
from evosearch.evaluation.evaluators.direct import unsigned
from evosearch.evaluation.measures import objective
from evosearch.features import Features
from evosearch.report.page.svg import Scale, axes, escape, fitting, path, place
from evosearch.search import Search, SearchSettings, identify
from evosearch.search.proposal import FULL
from evosearch.search.strategy import find
from evosearch.store.disk import handing_over
from evosearch.tasks.table import TableTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from evosearch.architecture import Space
    from evosearch.features import Row
    from evosearch.grammar.core import Derivation
    from evosearch.tasks import DirectTask

BUDGETS = (50, 100, 150, 200, 300, 500)
ENDLESS = 1_000_000_000  # evaluations, where the clock ends a search
REMEMBERED = 200_000  # keys remembered between the seeds of one process
REMEMBERED_ROWS = 20_000  # and figures of candidates, of 2 to 4 kB each
Z95 = 1.959964  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class Arena:
    """Where entrants compete, as plain values that cross processes.

    task: a table or function task as `tasks.load` takes it. grammar: name or path. operators: the user's own folders.
    max_nodes: the space's limit on nodes.
    """

    task: str
    grammar: str
    operators: tuple[str, ...] = ()
    max_nodes: int = 1000


@dataclass(frozen=True)
class Entrant:
    """One way to search, under a name. own: the strategy's own settings."""

    name: str
    settings: SearchSettings
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Result:
    """An entrant's figures: (seeds, budgets) reported ones, NaN where a seed has none by then, and the mean one of all
    it evaluated, NaN where all failed.

    improvements: of each seed, (evaluations or seconds, signed fitness) wherever a better one was found by a whole
    evaluation. sign: 1 where a larger figure is better, else -1.
    """

    entrant: Entrant
    figures: np.ndarray[Any, np.dtype[np.float64]]
    sampled: float
    improvements: Sequence[Sequence[tuple[float, float]]] = ()
    sign: int = 1

    def best(self) -> float:
        """The best signed fitness that any seed found."""
        return max((steps[-1][1] for steps in self.improvements if steps), default=-math.inf)

    def took(self, fitness: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(seeds,): evaluations or seconds after which each had that signed fitness; infinite where it never had."""
        counts = ([at for at, value in steps if value >= fitness] for steps in self.improvements)
        return np.array([min(reached, default=math.inf) for reached in counts], dtype=np.float64)

    def rows(self, budgets: Sequence[float], random: float, best: float = math.inf) -> list[dict[str, Any]]:
        """One row for each budget: mean, deviation, half the width of the mean's 95 % interval, RI; share of seeds that
        found the best fitness by then, and the evaluations that took in the median, None where half of them did not.

        The first three are None where a seed has no figure by then, RI too where the random mean is 0 or none.
        """
        n = len(self.figures)
        took = self.took(best)
        median = float(np.median(took)) if len(took) else math.inf
        deviations = self.figures.std(axis=0, ddof=1) if n > 1 else np.zeros(self.figures.shape[1])
        deviations = np.where(np.isnan(self.figures).any(axis=0), np.nan, deviations)
        return [
            {
                "entrant": self.entrant.name,
                "budget": budget,
                "seeds": n,
                "mean": _known(mean),
                "deviation": _known(deviation),
                "ci95": _known(Z95 * deviation / math.sqrt(n)),
                "ri": _known(100 * self.sign * (float(mean) - random) / abs(random)) if random else None,
                "found": float((took <= budget).mean()) if len(took) else 0.0,
                "to_best": median if math.isfinite(median) else None,
            }
            for budget, mean, deviation in zip(budgets, self.figures.mean(axis=0), deviations, strict=True)
        ]


def _known(value: float) -> float | None:
    """The value; None where it is NaN."""
    return None if math.isnan(value) else float(value)


def entrants(
    strategies: Sequence[str],
    policies: Sequence[str],
    settings: SearchSettings,
    screens: Sequence[int] = (),
    sized: bool = False,
    rungs: Sequence[tuple[float, ...]] = (),
) -> list[Entrant]:
    """Every strategy with every policy, screen and rungs; random search, which has no mutations, always and once.

    screens: drafts for each proposal; rungs: shares of an evaluation; the settings' own where they are empty. sized:
    candidates are networks, and so the walks by size take part.
    """
    plain = replace(settings, screen=1, rungs=(), grow=False, learn=0)
    made = [Entrant("random", _baseline(plain))]
    if sized:
        walk = replace(plain, strategy="walk")
        made += [
            Entrant(f"walk by {what}", walk, {"by": by}) for what, by in (("FLOPs", "flops"), ("params", "params"))
        ]
    asked = itertools.product(strategies, policies, screens or (settings.screen,), rungs or (settings.rungs,))
    for strategy, policy, screen, shares in asked:
        if strategy != "random":
            grow = settings.grow and bool(shares)
            chosen = replace(settings, strategy=strategy, policy=policy, screen=screen, rungs=shares, grow=grow)
            named = f"{strategy} {policy}" + (f" screen {screen}" if screen > 1 else "")
            named += f" rungs {'/'.join(f'{share:g}' for share in shares)}" if shares else ""
            made.append(Entrant(named, chosen))
    return made


def _baseline(settings: SearchSettings) -> SearchSettings:
    return replace(settings, strategy="random", replacement=True)


def compare(
    arena: Arena,
    competing: Sequence[Entrant],
    seeds: Iterable[int],
    budgets: Sequence[float] = BUDGETS,
    jobs: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    clock: bool = False,
) -> list[Result]:
    """Every entrant with every seed. jobs: processes; 0 for one on each core, 1 for none beside this one.

    clock: budgets are seconds by the table's cost column, and not evaluations. progress is called with an entrant's
    name, seeds done, and seeds in all.
    """
    seeds, budgets = list(seeds), sorted(budgets)
    if not seeds or not budgets or budgets[0] < 1:
        raise UsageError("a comparison needs at least one seed and budgets of at least 1")
    longest = ENDLESS if clock else int(budgets[-1])
    results = []
    jobs = jobs or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else jobs or os.cpu_count() or 1
    for entrant in competing:
        find(operators.find(arena.operators), entrant.settings.strategy)  # before a table is read, which takes long
    _enter(arena)  # here first: a pool whose processes cannot begin starts new ones without end
    if clock and not _takes_time(_loaded[0].task):
        raise UsageError(f"--seconds: {arena.task} does not say what an evaluation took; name its column: cost=COLUMN")
    signs = [_sign(_search(entrant.settings, entrant.own)) for entrant in competing]
    with _mapper(arena, min(jobs, len(seeds))) as mapped:
        for entrant, sign in zip(competing, signs, strict=True):
            settings = replace(entrant.settings, budget=longest)
            work = [(replace(settings, seed=seed), entrant.own, tuple(budgets), clock) for seed in seeds]
            runs = []
            for done, run in enumerate(mapped(work), 1):
                runs.append(run)
                progress(entrant.name, done, len(seeds))
            figures, sampled, improvements = zip(*runs, strict=True)
            means = [mean for mean in sampled if not math.isnan(mean)]
            mean = float(np.mean(means)) if means else math.nan
            results.append(Result(entrant, np.array(figures), mean, improvements, sign))
    return results


def _sign(search: Search) -> int:
    """1 where a larger figure is better, else -1. What is reported is better as the fitness is, unless their names say
    that the one is a loss and the other none.
    """
    first, report = search.objectives[0], _loaded[0].report
    usual = _usual(report) if report else 0
    return usual if usual and usual != _usual(first.name) else first.sign


def _usual(name: str) -> int:
    """The sign that a name has by itself; 0 where it says nothing."""
    try:
        return objective(name).sign
    except ConfigError:
        return 0


def _takes_time(task: DirectTask) -> bool:
    """Whether the task is a table that says what evaluations took."""
    if not isinstance(task, TableTask) or not task.cost:
        return False
    at = task.columns.index(task.cost)
    return any(row[at] > 0 for row in task.rows.values())


class _mapper:  # noqa: N801 - a context manager, used like a function
    """Maps work over processes that have loaded the arena, in order of the work; in this process where jobs is 1."""

    def __init__(self, arena: Arena, jobs: int) -> None:
        self.arena, self.jobs = arena, jobs
        self.pool: Any = None

    def __enter__(self) -> Callable[[list[Any]], Iterable[Any]]:
        if self.jobs <= 1:
            return lambda work: map(_compete, work)
        from multiprocessing import get_context

        pool = self.pool = get_context("spawn").Pool(self.jobs, _enter, (self.arena,))
        return lambda work: pool.imap(_compete, work, chunksize=max(1, min(8, len(work) // (4 * self.jobs))))

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()


@dataclass(frozen=True, eq=False)
class _Loaded:
    space: Space
    task: DirectTask
    report: str
    cost: str
    operators: operators.Operators
    keys: dict[Derivation, tuple[str, str | None]]
    features: Features
    rows: dict[Derivation, Row]


_loaded: list[_Loaded] = []  # what this process competes on; set once by `_enter`


def open_arena(arena: Arena, task: DirectTask) -> Space:
    """The arena's grammar at the task's input shape, without limits but that on nodes."""
    from evosearch import grammar as language
    from evosearch.architecture import Limits
    from evosearch.space import space_of

    read = language.load(arena.grammar)
    if read.input != "none" and task.input_shape is None:  # its keys would be those of a size that nobody chose
        raise TaskError(f"{task.name}: no input shape is known for its networks; use a grammar with `input: none`")
    return space_of(task, read, limits=Limits(max_nodes=arena.max_nodes, max_modules=None))


def sized(grammar: str) -> bool:
    """Whether the sentences of a grammar are networks, which have a size. grammar: name or path."""
    from evosearch import grammar as language

    return language.load(grammar).input != "none"


def _enter(arena: Arena) -> None:
    task = tasks.load(arena.task)
    if not isinstance(task, tasks.DirectTask):
        raise TaskError(f"{arena.task}: a comparison needs a table or a function; training would take days")
    report, cost = str(getattr(task, "report", "")), str(getattr(task, "cost", ""))
    space = open_arena(arena, task)
    _loaded[:] = [_Loaded(space, task, report, cost, operators.find(arena.operators), {}, Features(space), {})]


def _search(settings: SearchSettings, own: Mapping[str, Any]) -> Search:
    """A search over the loaded arena. Raises ConfigError for settings that its strategy cannot follow."""
    (at,) = _loaded

    def remembered(space: Space, derivation: Derivation) -> tuple[str, str | None]:
        found = at.keys.get(derivation)
        if found is None:
            if len(at.keys) > REMEMBERED:
                at.keys.clear()
            found = at.keys[derivation] = identify(space, derivation)
        return found

    def figures(derivation: Derivation) -> Row:
        found = at.rows.get(derivation)
        if found is None:
            if len(at.rows) > REMEMBERED_ROWS:
                at.rows.clear()
            found = at.rows[derivation] = at.features(derivation)
        return found

    asked = tuple(str(objective(text, at.task.signs)) for text in settings.objectives or (at.task.metric,))
    settings = replace(settings, objectives=asked)
    return Search(at.space, settings, at.operators, identify=remembered, own=own, features=figures)


def _compete(
    work: tuple[SearchSettings, Mapping[str, Any], tuple[float, ...], bool],
) -> tuple[list[float], float, list[tuple[float, float]]]:
    """One search: the reported figure at each budget, the mean reported figure of everything it evaluated (NaN where
    there is none), and after how many evaluations or seconds it had which fitness.

    Where there are rungs, what stands highest is what was evaluated furthest, as in the search.
    """
    settings, own, budgets, clock = work
    (at,) = _loaded
    search = _search(settings, own)
    first = search.objectives[0]
    signs = {one.name: one.sign for one in search.objectives}
    best, figure, total, told = (0.0, -math.inf), math.nan, 0.0, 0
    figures: list[float] = []
    improvements: list[tuple[float, float]] = []
    now = 0.0
    while not search.done and now < budgets[-1]:
        try:
            proposal = search.ask()
        except SpaceExhausted:
            break
        assert proposal is not None, "every score is told before the next candidate is asked for"
        task = at.task.at(proposal.fidelity)
        score = unsigned(task.evaluate(proposal.text, proposal.derivation, proposal.key, proposal.seed), signs)
        search.tell(proposal.number, score)
        now += score.objectives.get(at.cost, 0.0) if clock else 1.0
        figures += [figure] * sum(budget < now for budget in budgets[len(figures) :])
        if score.status == "ok" and now <= budgets[-1]:
            value = first.sign * score.objectives[first.name]
            reported = score.metrics[at.report] if at.report else score.objectives[first.name]
            if not math.isnan(reported):  # a table may lack it of some
                total, told = total + reported, told + 1
            if (proposal.fidelity, value) > best:
                best, figure = (proposal.fidelity, value), reported
                if proposal.fidelity == FULL:
                    improvements.append((now, value))
    figures += [figure] * (len(budgets) - len(figures))  # an exhausted space has nothing more to find
    return figures, total / told if told else math.nan, improvements


def random_mean(results: Sequence[Result]) -> float:
    """The mean figure of random candidates, for RI: what the entrant `random` sampled."""
    return next(result.sampled for result in results if result.entrant.settings.strategy == "random")


def table(results: Sequence[Result], budgets: Sequence[float]) -> list[dict[str, Any]]:
    """All rows of all results; see `Result.rows`. The best fitness is the best that any of them found."""
    reference, best = random_mean(results), max(result.best() for result in results)
    return [row for result in results for row in result.rows(sorted(budgets), reference, best)]


def paired(a: Result, b: Result) -> list[tuple[float, float]]:
    """(mean difference a - b, its standard error) at each budget; both ran the same seeds in the same order."""
    difference = a.figures - b.figures
    error = difference.std(axis=0, ddof=1) / math.sqrt(len(difference))
    return [(float(mean), float(e)) for mean, e in zip(difference.mean(axis=0), error, strict=True)]


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The rows of `table` as a CSV file."""
    with handing_over(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


COLOURS = ("#767676", "#0b62a4", "#d1495b", "#2a9d4f", "#8a5fbf", "#c77d0a", "#168aad", "#5c4033")
STYLE = (  # the report's marks, outside its page
    "text{font:12px sans-serif;fill:#56606d}.title{font-size:14px;fill:#1c2129}"
    ".grid{stroke:#e4e4e4}.axis{stroke:#56606d}.own-line{fill:none;stroke-width:2}.own-band{opacity:.15;stroke:none}"
)


WIDTH, HEIGHT = 720, 420


def svg(rows: Sequence[Mapping[str, Any]], title: str, unit: str = "evaluations") -> str:
    """The rows of `table` as one line with its 95 % interval for each entrant, over the budget (logarithmic)."""
    budgets = [row["budget"] for row in rows]
    x = Scale("log", min(budgets), max(budgets), 64, WIDTH - 170)
    known = [row for row in rows if row["mean"] is not None]
    heights = [row["mean"] + sign * row["ci95"] for row in known for sign in (-1, 1)]
    y = fitting(heights or [0.0], HEIGHT - 44, 54, "linear")
    marks = [axes(x, y, unit, "mean figure and its 95 % interval")]
    for index, name in enumerate(dict.fromkeys(str(row["entrant"]) for row in rows)):
        colour = COLOURS[index % len(COLOURS)]
        own = sorted((row for row in known if row["entrant"] == name), key=lambda row: float(row["budget"]))
        mean, upper, lower = (
            [(x(row["budget"]), y(row["mean"] + share * row["ci95"])) for row in own] for share in (0, 1, -1)
        )
        at = 60 + 18 * index
        if own:
            marks.append(f'<path class="own-band" fill="{colour}" d="{path([*upper, *reversed(lower)])}Z"/>')
            marks.append(f'<path class="own-line" stroke="{colour}" d="{path(mean)}"/>')
        marks.append(f'<path d="M{place(x.end + 14)} {at}h18" stroke="{colour}" stroke-width="3"/>')
        marks.append(f'<text x="{place(x.end + 38)}" y="{at + 4}">{escape(name)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text class="title" x="{place(x.start)}" y="22">{escape(title)}</text>{"".join(marks)}</svg>\n'
    )
