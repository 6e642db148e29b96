"""From the candidates that a search liked best to the network that is kept: an ensemble, where there is time for one.

1. Held out. Candidates are trained by the final recipe, and by it with as few epochs as the search gave them, and are
   judged by the recipe's validation scheme: how long to train, which candidate to prefer, and with which weights the
   networks answer best together, is read off examples that they were not trained on. With a time, three times as many
   epochs are tried, and three times as many again, or else a third, while that is better. Every training has a seed of
   its own, and folds of its own where there are some; which candidate has the next one follows from the expected regret
   (`engine.regret`) until that is below what the examples can tell, then each has its turn.

   The best of many that were judged on the same rows was the luckiest with them too. So with a time, where these rows
   were drawn at random, others are drawn: one part of that size to find how long to train, and to compare candidates as
   many, up to all rows, as there is time for.
2. On everything. What was chosen is trained on train and validation together, in as many seeds as there is time for;
   a candidate's weight is spread evenly over its seeds. The result is tested once.

Two processes train at once where there are two cores. Without a time both steps are of fixed size, and repeat.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evosearch import network, workers
from evosearch.engine import choice, regret
from evosearch.ensemble import Ensemble, EnsembleSettings, select
from evosearch.evaluation.calibration import scaled
from evosearch.evaluation.crossing import judged_rows
from evosearch.evaluation.final import TrainerSpec, Training, read, warm_up
from evosearch.results import Finished, joined, measured, share_done
from evosearch.score import evaluation_seed
from evosearch.tasks.folds import most_folds
from evosearch.tasks.noise import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from evosearch.architecture import Architecture
    from evosearch.evaluation.evaluators import Spec
    from evosearch.evaluation.recipe import Recipe
    from evosearch.score import Score
    from evosearch.tasks import Task

Array = np.ndarray[Any, np.dtype[Any]]

HELD_OUT = 0.4  # of the time that is left, for what is judged on held-out data; more where the rest needs less
SPARE = 1.2  # on what trainings are estimated to take
SHARE = 0.6  # of the whole time, at the most, kept back for this phase
SHORTEST = 0.6  # of a schedule, that a further training on everything may be cut to
LATE = 0.2  # of this phase's time, that the first training on everything has though a busy machine left less
LONGEST = 2.0  # times a schedule, that one on everything may be, where there is time for it
FILLED = 0.95  # of the time that is left, for what fills it
FEW = 3  # trainings one after the other, for which it matters whether their sum fills the time
STARTING = 10.0  # seconds before the search ends, in which the processes for this phase start beside it
TELL = 3.0  # seconds between two tellings of how far it is
LOOK = 0.5  # seconds between two looks at the clock
STEP = 3  # times as many epochs are tried next, or a third, as long as that is better
SURELY = 0.5  # standard errors of the difference, that another number of epochs has to be better by
MEASURED = 16  # of the final epochs, that a training has which only says how long one takes
LOOKS = 6  # held-out trainings on each part of the rows that choosing a length and a candidate takes
MOST_PARTS = 5  # of which each process holds the rows of all others
LARGEST = 512 * 2**20  # bytes of such copies that a process may hold
MOST = 25  # networks in an ensemble: more take long to ask, and give next to nothing
PLANNED = 16  # networks that time is kept back for; where trainings turn out faster there are more, up to MOST


class Way(NamedTuple):
    """A candidate, by its place among the finalists, and for how many epochs it is trained."""

    candidate: int
    epochs: int


@dataclass(frozen=True)
class Observation:
    """One training that went well. number: of its job. first: of the folds that it was judged on, as of `Training`."""

    number: int
    way: Way
    seed: int
    score: Score
    first: int = 0


@dataclass
class Finishing:
    """The final phase of one run.

    Its processes start when it is made; `run` does the rest, and `close` ends them. told: hears how far it is.

    Of `run`, finalists: the best first. seconds: what each takes by the search's recipe and validation scheme, zeros
    where nobody knows. until: a time.monotonic() by which all has to be done. given: places of those that the search
    began with, known networks: another one goes before them only where it is better by more than the noise.
    """

    task: Task
    spec: Spec
    final: Recipe
    settings: EnsembleSettings
    workers: workers.WorkerSettings
    device: str
    told: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folds, self.first = self.spec.recipe.folds, 0  # held-out trainings: the first so many folds, 0: all
        self.pace: list[float] = []  # seconds that trainings took, as a multiple of the estimate
        self.number = 0
        self.length = 0  # epochs by which the first candidate came out best, once that is known
        self.last = ("", -math.inf)
        self.finalists: Sequence[Architecture] = ()
        self.given: Collection[int] = ()
        self.seconds: Sequence[float] = ()
        self.until = math.inf
        self.reserved = 0.0  # seconds for one training on everything, which no held-out one may take
        self._temporary = tempfile.TemporaryDirectory(prefix="evosearch-final-")
        self.folder = Path(self._temporary.name)
        self.pool = workers.open_pool(
            TrainerSpec(self.spec, str(self.folder)),
            replace(self.workers, time_limit=0.0, executor=workers.LOCAL),
        )
        threading.Thread(target=warm_up, name="evosearch-warm-up").start()

    def close(self) -> None:
        """End the processes; what they were training is lost."""
        self.pool.close()
        self._temporary.cleanup()

    def run(
        self,
        finalists: Sequence[Architecture],
        seconds: Sequence[float],
        until: float = math.inf,
        given: Collection[int] = (),
    ) -> Finished:
        """The network or ensemble. Its `network` is None where no training went well."""
        self.finalists, self.seconds, self.until, self.given = finalists, seconds, until, given
        self.begun = self.clock()
        if math.isfinite(until) and not any(seconds):
            self._measure()
        longest, short = self.final.epochs, min(self.final.epochs, self.spec.recipe.epochs)
        first = list(dict.fromkeys((Way(0, longest), Way(0, short))))
        if math.isfinite(self.until) and self.settings.members != 1 and len(self.finalists) > 1 and len(first) > 1:
            first.append(Way(1, short))  # for the process that would wait for the longest one
        weights, figures = self._choice(self._held_out(first))
        if not weights:
            weights = {Way(0, self._unseen_length(longest, short)): 1.0}
        return self._joined(self._on_everything(weights), weights, figures)

    def _unseen_length(self, longest: int, short: int) -> int:
        """Epochs where nobody looked at any: of the longer schedule as many as there is time for, as many as the search
        judged by at the least. Where examples are moved all of them: such a training ends where it has to.
        """
        takes = SPARE * self._estimate(Way(0, longest), True)
        if self.final.augment or takes <= 0 or math.isinf(self.until):
            return longest
        return min(max(math.floor(longest * (self.until - self.clock()) / takes), short), longest)

    # -- the trainings

    def _measure(self) -> None:
        """What trainings take, where the search trained none of its candidates itself: by a short one of the first, in
        half of the time at the most.
        """
        way, found = Way(0, max(1, self.final.epochs // MEASURED)), list[Observation]()
        self._train(iter([way]), False, self.clock(), 1, found)
        for one in found:
            took = one.score.seconds * self.spec.recipe.epochs / way.epochs
            self.seconds = [took * _size(other) / _size(self.finalists[0]) for other in self.finalists]

    def _held_out(self, first: list[Way]) -> list[Observation]:
        """Trainings whose outputs on held-out examples say how long to train, and what to make of the candidates."""
        ends, found = math.inf, list[Observation]()
        self.pace.clear()
        if math.isfinite(self.until):
            left, one = self.until - self.clock(), self._estimate(first[0], True)
            ends = max(self.clock() + HELD_OUT * left, self.until - SPARE * one * self._rounds())
            self.reserved = SPARE * one
            if not 0 < self._estimate(first[0], False) <= HELD_OUT * left:
                return []  # no time to look: the schedule on everything is as long as the time allows
            if (folds := drawn_parts(self.task, self.folds)) > 1:
                self.folds, self.first = folds, 1
        self._train(iter(first), False, ends, len(first), found)
        own = [one for one in found if not one.way.candidate]
        if own:
            self.length = self._best_length(own)
            if math.isfinite(self.until):
                self._lengthen(found, ends)
                each = self._each(True)
                self.reserved = SPARE * max(each)
                whole = max(SPARE * sum(each) / len(each) * self._rounds(), self.reserved)
                ends = max(ends, self.until - whole)
            self._compare(found, ends, len(first))
        return found

    def _compare(self, found: list[Observation], ends: float, begun: int) -> None:
        """Looks at the candidates, trained as long as is best: on as many parts of the rows as there is time for, where
        they are drawn anew. begun: trainings before these, that count as the ensemble's where their number is given.
        """
        members, timed, alike = self.settings.members, math.isfinite(self.until), self.first
        parts = self._parts(ends) if alike else 1
        if parts > 1:
            self.first = parts % self.folds
        for _ in range(2):
            more = MOST - len(self._alike(found))
            if members > 1 or not timed:
                more = max(members, len(self._each(False))) if self.first != alike else members - begun
            self._train(self._looks(found, self.length, more), False, ends, members if members > 1 else 0, found)
            if self._alike(found):
                return
            self.first = alike  # no training on so many parts went well: those on one have to do

    def _alike(self, found: list[Observation]) -> list[Observation]:
        """Those that compare: trained as long as is best, and judged on the rows that candidates are compared on."""
        return [one for one in found if (one.way.epochs, one.first) == (self.length, self.first)]

    def _parts(self, ends: float) -> int:
        """On how many parts of the rows every candidate can be looked at once by then, trained as long as is best.

        By what jobs one after the other on several processes take at the most (Graham 1969, Bounds on multiprocessing
        timing anomalies): one of several parts is one job.
        """
        each, size = self._each(False), self.pool.size
        takes = SPARE * (sum(each) / size + max(each) * (1 - 1 / size))
        return min(math.floor((ends - self.clock()) / takes), self.folds) if takes > 0 else 1

    def _rounds(self) -> int:
        """Trainings on everything that are planned one after the other."""
        return math.ceil((self.settings.members or PLANNED) / self.pool.size)

    def _each(self, whole: bool) -> list[float]:
        """Seconds of a training of each candidate, as long as is best."""
        candidates = range(min(self.settings.candidates, len(self.finalists)))
        return [self._corrected(self._estimate(Way(number, self.length), whole)) for number in candidates]

    def _lengthen(self, found: list[Observation], ends: float) -> None:
        """More epochs than were tried, or else fewer, as long as that is better on held-out examples and in time."""
        for factor in (STEP, 1 / STEP):
            while True:
                epochs = max(1, round(self.length * factor))
                if any(one.way == (0, epochs) for one in found):
                    break
                way = Way(0, epochs)
                takes = self._corrected(self._estimate(way, False))
                done = self.clock() + takes
                if not takes or done > ends or done + SPARE * self._corrected(self._estimate(way, True)) > self.until:
                    break
                ways = [Way(number, epochs) for number in range(min(self.pool.size, len(self.finalists), 2))]
                self._train(iter(ways), False, ends, len(ways), found)
                if not self._is_better(found, epochs, self.length):
                    break
                self.length = epochs

    def _is_better(self, found: list[Observation], epochs: int, than: int) -> bool:
        """Whether so many epochs made the first candidate better than others did, as far as the same examples tell."""

        new, old = (next((one for one in found if one.way == (0, length)), None) for length in (epochs, than))
        if new is None or old is None:
            return False
        ahead, error = self._apart(new, old)
        return ahead > SURELY * error

    def _best_length(self, own: Sequence[Observation]) -> int:
        """The epochs of the best of the first candidate's trainings; of equal ones the longer."""
        best = own[0]
        for one in own[1:]:
            if (self._apart(one, best)[0], one.way.epochs) > (0.0, best.way.epochs):
                best = one
        return best.way.epochs

    def _apart(self, one: Observation, other: Observation) -> tuple[float, float]:
        """By how much a training came out better than another one on the same held-out examples; its standard error."""
        return self._judge().apart(read(self.folder, one.number)[0], read(self.folder, other.number)[0])

    def _looks(self, found: list[Observation], epochs: int, count: int) -> Iterator[Way]:
        """What to train next on held-out data; with a time by what came of those before, else in turns."""
        candidates = min(self.settings.candidates, len(self.finalists))
        turns = _turns(candidates, count)
        begun: Counter[int] = Counter()
        for _ in range(count):
            looks = self._values(found, candidates)
            known = [values for values in looks if values]
            todo = next(turns)
            if math.isfinite(self.until) and known:
                fresh = [number for number, values in enumerate(looks) if not values and not begun[number]]
                deviation = regret.noise(known, self._error(self._alike(found)))
                if fresh:
                    todo = fresh[0]
                elif all(looks) and regret.expected(looks, deviation) > regret.SHARE * self._error(self._alike(found)):
                    todo = regret.next_look(looks, deviation)
                elif all(looks) and self.settings.members == 1:
                    return  # more of them would choose no better, and nothing else is made of them
            begun[todo] += 1
            yield Way(todo, epochs)

    def _values(self, found: list[Observation], candidates: int) -> list[list[float]]:
        """What each candidate came to, larger is better."""
        looks: list[list[float]] = [[] for _ in range(candidates)]
        for one in self._alike(found):
            if one.way.candidate < candidates:
                looks[one.way.candidate].append(self._value(one))
        return looks

    def _error(self, held: list[Observation]) -> float:
        """The standard error of a figure, as held-out data tell it; the mean over trainings, 0 where none tells it."""
        told = [one.score.metrics.get(f"{self.task.metric}_se", math.nan) for one in held]
        found = [value for value in told if math.isfinite(value)]
        return sum(found) / len(found) if found else 0.0

    def _on_everything(self, weights: dict[Way, float]) -> list[Observation]:
        """What was chosen, the heaviest first; with time left, more seeds of what has most weight for each of them."""
        timed = math.isfinite(self.until)

        def turns() -> Iterator[Way]:
            yield from weights
            seeds = dict.fromkeys(weights, 1)
            while timed and self.settings.members != 1 and sum(seeds.values()) < MOST:
                way = max(weights, key=lambda one: weights[one] / seeds[one])
                seeds[way] += 1
                yield way

        found: list[Observation] = []
        self._train(turns(), True, self.until, 0 if timed else len(weights), found)
        return found

    def _train(self, ways: Iterator[Way], whole: bool, ends: float, planned: int, found: list[Observation]) -> None:
        """Trainings of these ways, as many as are done by then; the first one in any case where all is trained on.

        found: gets those that went well, in the order in which they were begun; `ways` may look at it.
        """
        out: dict[int, tuple[Way, int, float, int]] = {}
        until = self.until
        if not whole and math.isfinite(ends):
            until = max(ends, min((ends + until) / 2, until - self.reserved))
        seeds = Counter(one.way for one in found)
        done, over = 0, False
        stage = "training on everything" if whole else "held-out training"
        while True:
            while not over and len(out) < self.pool.size:
                way = next(ways, None)
                estimate = 0.0 if way is None else self._estimate(way, whole)
                surely = whole and not done and (not out or bool(self.final.augment))
                share = self._share(estimate, ends, whole, surely)
                if way is None or not share or (whole and (done or out) and not estimate and math.isfinite(ends)):
                    over = True
                    break
                # Of held-out trainings the search may have done the first, bit for bit, and chosen by what it came to.
                repeat = seeds[way] + (not whole)
                seed = evaluation_seed(self.final.seed, self._key(way), repeat=repeat)
                recipe = replace(self._recipe(way, share), folds=self.folds, stop="off")
                out[self.number] = (way, seed, estimate * share, recipe.epochs)
                late = min(self._corrected(estimate), LATE * (self.until - self.begun)) if surely else 0.0
                brief = Training(recipe, whole, max(until, self.clock() + late), self.first)
                one = self.finalists[way.candidate]
                folds = 0 if whole else repeat
                self.pool.submit(workers.Job(self.number, one.text, one.key, seed, brief, repeat=folds))
                self.number += 1
                seeds[way] += 1
            self._tell(f"{stage}, {done}{f' of {planned}' if planned else ''} done", done in (0, planned))
            if not out:
                return
            for number, score in self.pool.wait(LOOK):
                way, seed, estimate, planned_epochs = out.pop(number)
                done += 1
                if score.status == "ok":
                    found.append(Observation(number, way, seed, score, self.first))
                    found.sort(key=lambda one: one.number)
                    done_of_it = score.metrics.get("epochs", planned_epochs) / planned_epochs
                    if estimate * done_of_it > 0:
                        self.pace.append(score.seconds / (estimate * done_of_it))
                else:
                    self.errors.append(f"{score.key[:8]}: {score.error or score.status}")

    def _share(self, estimate: float, ends: float, whole: bool, surely: bool) -> float:
        """How much of a training's schedule there is time for: all of it, on everything most of it, or none.

        Where examples are moved, and so a longer training learns more rather than knows them by heart, few on
        everything fill the time: the last ones are planned longer than they will be, and find in their first steps
        where they have to end. surely: it is trained in any case.
        """
        left, needed = ends - self.clock(), self._corrected(estimate)
        share = left / needed if needed > 0 else math.inf  # nobody knows
        if not surely and share < (SHORTEST if whole else 1.0):
            return 0.0
        if not whole or not self.final.augment or math.isinf(share):
            return 1.0 if surely else min(share, 1.0)
        rounds = max(1, round(share))
        if rounds == 1 or self.settings.members == 1 or (share < LONGEST and not self.pace):
            return LONGEST  # one round is surer than two of which the second may not fit
        return min(max(FILLED * share / rounds, SHORTEST), LONGEST) if rounds <= FEW else 1.0

    def _tell(self, text: str, surely: bool) -> None:
        """What is new, now and then."""
        now = self.clock()
        if text != self.last[0] and (surely or now - self.last[1] >= TELL):
            self.last = (text, now)
            self.told(text)

    def _key(self, way: Way) -> str:
        """For the seeds: at the recipe's own epochs the candidate's, so that `evolve train` trains the same network."""
        key = self.finalists[way.candidate].key
        return key if way.epochs == self.final.epochs else f"{key}:{way.epochs}"

    def _recipe(self, way: Way, share: float = 1.0) -> Recipe:
        """How a way trains its candidate, which may have a say in it: epochs are those of one that has none.

        share: of the epochs, where there is no time for all of them, or for more; the warm-up's share of them stays.
        """
        epochs = max(1, math.floor(way.epochs * share + 1e-9))
        warmup = self.final.warmup * epochs / way.epochs if share != 1 else self.final.warmup
        return replace(self.final, epochs=epochs, warmup=warmup).lasting(
            self.spec.recipe, self.finalists[way.candidate].trained_with
        )

    def _trained(self, one: Observation) -> float:
        """Which share of its schedule a training came to, in whole epochs."""
        return round(one.score.metrics["epochs"]) / self._recipe(one.way).epochs

    def _estimate(self, way: Way, whole: bool) -> float:
        """Seconds of a training, from what the search took."""
        took, searched = self.seconds[way.candidate] * way.epochs / self.spec.recipe.epochs, self.spec.recipe.folds
        if (whole, self.folds) == (False, searched):
            return took
        took = took / searched / share_of_rows(self.task, searched)
        return took if whole else took * (self.first or self.folds) * share_of_rows(self.task, self.folds)

    def _corrected(self, estimate: float) -> float:
        """The estimate, by what trainings took since."""
        return estimate * (median(self.pace) if self.pace else 1.0)

    # -- the choice

    def _judge(self) -> choice.Judge:
        """By the examples that networks were judged on."""
        if self.folds < 2:
            return choice.Judge(self.task, self.task.validation.y, self.task.validation.groups)
        (y, groups), rows = self.task.targets_by_group(), judged_rows(self.task, self.folds, self.first)
        return choice.Judge(self.task, y[rows], None if groups is None else groups[rows])

    def _value(self, one: Observation) -> float:
        """By the metric; larger is better."""
        return self.task.measure.sign * one.score.objectives[self.task.metric]

    def _choice(self, found: list[Observation]) -> tuple[dict[Way, float], dict[str, Any]]:
        """The weight of each way, the best single one's first, and what held-out data said of them."""
        if not self.length:
            return {}, {}
        epochs, held = self.length, self._alike(found)
        judge, sign, averaging = self._judge(), self.task.measure.sign, self.task.kind.averaging
        y, candidates = judge.y, [one.way.candidate for one in held]
        outputs = [read(self.folder, one.number)[0] for one in held]
        looks = self._values(held, len(self.finalists))
        deviation = regret.noise([values for values in looks if values], self._error(held))
        leader = choice.preferred(looks, deviation, self.given)
        good = choice.as_good(judge, candidates, outputs, looks, leader)
        single, good = choice.told_apart(judge, candidates, outputs, good, leader, self.given)
        if self.settings.members == 1:
            weights = [0.0] * len(held)
            weights[candidates.index(single)] = 1.0
        else:
            near = [place for place, candidate in enumerate(candidates) if candidate in good]
            weights = list(
                select(outputs, averaging, lambda out: sign * self.task.judge(y, out), start=near, rounds=MOST)
            )
        chosen: dict[Way, float] = {Way(single, epochs): 0.0}
        for one, weight in zip(held, weights, strict=True):
            if weight > 0:
                chosen[one.way] = chosen.get(one.way, 0.0) + weight
        joint = averaging.weighted(outputs, weights)
        lengths, again, error = self._by_length(found, 0), self._by_length(found, single), judge.error(joint)
        figures = {
            "networks": len(found),
            "epochs": {str(length): value for length, value in lengths.items()},
            "winner": self.finalists[single].key,
            "again": again.get(self.spec.recipe.epochs),
            "other_rows": self.folds != self.spec.recipe.folds,
            "looks": {self.finalists[number].key: len(values) for number, values in enumerate(looks) if values},
            "regret": regret.expected([values for values in looks if values], deviation),
            "single": sign * choice.mean(looks[single]),
            "ensemble": self.task.judge(y, joint),
            **({"se": error} if math.isfinite(error) else {}),
            **(scaled(joint, y, averaging.to_average) if self.task.kind.classes and joint.ndim == 2 else {}),
        }
        return self._with_unseen(chosen, looks, epochs), figures

    def _by_length(self, found: Sequence[Observation], candidate: int) -> dict[int, float]:
        """What a candidate came to by epochs, on the rows on which the length was found."""
        own = [one for one in found if (one.way.candidate, one.first) == (candidate, found[0].first)]
        return {
            way.epochs: choice.mean(one.score.objectives[self.task.metric] for one in own if one.way == way)
            for way in sorted({one.way for one in own})
        }

    def _with_unseen(self, chosen: dict[Way, float], looks: Sequence[Sequence[float]], epochs: int) -> dict[Way, float]:
        """Where there was time to look at the first candidates alone: the next ones have their share unseen, since they
        are as good but for noise. Another network is worth more to a mean than a further seed.
        """
        if not math.isfinite(self.until) or self.settings.members == 1:
            return chosen
        count = min(self.settings.candidates, len(self.finalists))
        unseen = [number for number in range(count) if not looks[number]]
        scale = 1 - len(unseen) / count
        return {way: weight * scale for way, weight in chosen.items()} | {
            Way(number, epochs): 1 / count for number in unseen
        }

    # -- the result

    def _joined(self, whole: list[Observation], weights: dict[Way, float], figures: dict[str, Any]) -> Finished:
        """The trainings on everything as one; what was chosen and not trained is left out, its weight the others'."""
        score = whole[0].score if whole else None
        if score is None:
            return Finished(self.finalists[0], None, {}, {}, "; ".join(dict.fromkeys(self.errors)) or "no time")
        seeds = Counter(one.way for one in whole)
        total = sum(weights[way] for way in seeds)
        shares = tuple(weights[one.way] / seeds[one.way] / total for one in whole)
        task, averaging = self.task, self.task.kind.averaging
        y, read_back = task.test_split().y, [read(self.folder, one.number) for one in whole]
        members = [
            {
                "key": self.finalists[one.way.candidate].key,
                "architecture": self.finalists[one.way.candidate].text,
                "weight": share,
                "seed": one.seed,
                "epochs": one.score.metrics["epochs"],
                "seconds": one.score.seconds,
                "test": {task.metric: one.score.objectives[task.metric]},
            }
            for one, share in zip(whole, shares, strict=True)
        ]
        first, cut = self.finalists[whole[0].way.candidate], share_done(score, self._recipe(whole[0].way))
        single = {task.metric: score.objectives[task.metric]}
        recipe, seconds = self._recipe(whole[0].way, self._trained(whole[0])), self.clock() - self.begun
        metrics = {**measured(first, score, single, recipe, self.device, seconds), "held_out": figures}
        mirrored = self.final.mirrored
        if len(whole) == 1 and not mirrored:
            module = network.build(first)
            module.load_state_dict(read_back[0][1])
            return Finished(first, module.eval(), single, metrics, cut=cut)
        architectures = tuple(self.finalists[one.way.candidate] for one in whole)
        ensemble = Ensemble(architectures, shares, averaging, mirrored)
        module = joined(ensemble, [state for _, state in read_back])
        metrics["cost"] = ensemble.cost.pack()
        if len(whole) == 1:
            return Finished(ensemble, module, single, metrics, cut=cut)
        out = averaging.weighted([out for out, _ in read_back], shares)
        test = {task.metric: task.judge(y, out)}
        error = standard_error(task.judge, y, out, task.test_split().groups)
        told = {f"{task.metric}_se": error} if math.isfinite(error) else {}
        metrics |= {
            "test": test,
            "metrics": {**score.metrics, f"test_{task.metric}": test[task.metric], **told},
            "single": {
                "test": single,
                "cost": replace(ensemble, members=(first,), weights=(1.0,)).cost.pack(),
                "metrics": dict(score.metrics),
            },
            "members": members,
        }
        return Finished(ensemble, module, test, metrics, cut=cut)


def wanted(held_out: float, whole: float, total: float, members: int, size: int, parts: int = 1) -> float:
    """Seconds to keep back for all this, of the time given in total.

    held_out, whole: of one training by the final recipe, judged by the search's scheme, and on everything. members: as
    in EnsembleSettings. size: trainings at a time. parts: of the rows, as `drawn_parts` has them.
    """
    planned, most = members or PLANNED, SHARE * total
    last = SPARE * whole * math.ceil(planned / size)
    if held_out > HELD_OUT * most:
        return min(last, most)  # nobody will have the time to look, so none is kept for it
    looks = max(planned, LOOKS * parts if parts > 1 else 0)
    one = SPARE * held_out / HELD_OUT  # with less nobody looks
    return min(max(SPARE * held_out * math.ceil(looks / size) + last, one), most)


def drawn_parts(task: Task, folds: int) -> int:
    """Of how many equal parts of the rows each may stand for the one that a search of so many folds judged by, about as
    large as that one: 1 where it is a person's own, or where the search judged by all rows, or where the parts would be
    so large that no copies are made.
    """
    if folds > 1 or not task.drawn:
        return 1
    parts = min(max(2, round((len(task.train) + len(task.validation)) / len(task.validation))), MOST_PARTS)
    if task.train.groups is not None:
        parts = min(parts, most_folds(task))
    return parts if parts * task.train.x.nbytes <= LARGEST else 1


def _size(one: Architecture) -> int:
    """What a training's time grows with."""
    return one.cost.flops + one.cost.activations + 1


def share_of_rows(task: Task, folds: int) -> float:
    """That a training by the validation scheme sees, of those that one on everything does."""
    return 1 - 1 / folds if folds > 1 else len(task.train) / (len(task.train) + len(task.validation))


def _turns(candidates: int, count: int) -> Iterator[int]:
    """Candidates in turn: the next one for the first time, then the best one again, 1, 0, 2, 1, 0, 3, 2, 1, 0, ..."""
    given = 0
    for reach in range(1, count + 1):
        for candidate in range(min(reach, candidates - 1), -1, -1):
            if given == count:
                return
            given += 1
            yield candidate


__all__ = ["STARTING", "Finishing", "Observation", "Way", "drawn_parts", "share_of_rows", "wanted"]
