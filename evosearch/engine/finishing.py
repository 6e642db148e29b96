"""From the candidates that a search liked best to the network that is kept: an ensemble, where there is time for one.

1. Held out. Candidates are trained by the final recipe, and by it with as few epochs as the search gave them, and are
   judged by the recipe's validation scheme: how long to train, and with which weights the networks answer best
   together, is read off examples that they were not trained on.
2. On everything. What was chosen is trained on train and validation together, in as many seeds as there is time for;
   a candidate's weight is spread evenly over its seeds. The result is tested once.

Two processes train at once where there are two cores. Without a time both steps are of fixed size, and repeat.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evosearch import network, workers
from evosearch.ensemble import Ensemble, EnsembleSettings, select
from evosearch.evaluation.final import TrainerSpec, Training, read
from evosearch.results import Finished
from evosearch.score import evaluation_seed
from evosearch.tasks.noise import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from evosearch.architecture import Architecture
    from evosearch.evaluation.evaluators import Spec
    from evosearch.evaluation.recipe import Recipe
    from evosearch.score import Score
    from evosearch.tasks import Task

Array = np.ndarray[Any, np.dtype[Any]]

HELD_OUT = 0.4  # of the time that is left, for what is judged on held-out data; more where the rest needs less
SPARE = 1.2  # on what trainings are estimated to take
SHARE = 0.45  # of the whole time, at the most, kept back for this phase
STARTING = 10.0  # seconds before the search ends, in which the processes for this phase start beside it
TELL = 3.0  # seconds between two tellings of how far it is
LOOK = 0.5  # seconds between two looks at the clock
MOST = 25  # networks in an ensemble: more take long to ask, and give next to nothing


class Way(NamedTuple):
    """A candidate, by its place among the finalists, and for how many epochs it is trained."""

    candidate: int
    epochs: int


@dataclass(frozen=True)
class Trained:
    """One training that went well. number: of its job."""

    number: int
    way: Way
    seed: int
    score: Score


@dataclass
class Finishing:
    """The final phase of one run.

    Its processes start when it is made; `run` does the rest, and `close` ends them. told: hears how far it is.

    Of `run`, finalists: the best first. seconds: what each takes by the search's recipe and validation scheme, zeros
    where nobody knows. until: a time.monotonic() by which all has to be done.
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
        self.folds = self.spec.recipe.folds
        self.pace: list[float] = []  # seconds that trainings took, as a multiple of the estimate
        self.number = 0
        self.last = ("", -math.inf)
        self.finalists: Sequence[Architecture] = ()
        self.seconds: Sequence[float] = ()
        self.until = math.inf
        self._temporary = tempfile.TemporaryDirectory(prefix="evosearch-final-")
        self.folder = Path(self._temporary.name)
        self.pool = workers.open_pool(
            TrainerSpec(self.spec, str(self.folder)),
            replace(self.workers, time_limit=0.0, executor=workers.LOCAL),
        )

    def close(self) -> None:
        """End the processes; what they were training is lost."""
        self.pool.close()
        self._temporary.cleanup()

    def run(self, finalists: Sequence[Architecture], seconds: Sequence[float], until: float = math.inf) -> Finished:
        """The network or ensemble. Its `network` is None where no training went well."""
        self.finalists, self.seconds, self.until = finalists, seconds, until
        self.begun = self.clock()
        longest, short = self.final.epochs, min(self.final.epochs, self.spec.recipe.epochs)
        first = list(dict.fromkeys((Way(0, longest), Way(0, short))))
        if math.isfinite(self.until) and self.settings.members != 1 and len(self.finalists) > 1 and len(first) > 1:
            first.append(Way(1, short))  # for the process that would wait for the longest one
        held = self._held_out(first)
        weights, figures = self._choice(held)
        if not weights:  # nobody looked: the longer schedule where there is time for it
            fits = self.clock() + self._estimate(first[0], True) <= self.until
            weights = {Way(0, longest if fits else short): 1.0}
        return self._joined(self._on_everything(weights), weights, figures)

    # -- the trainings

    def _held_out(self, first: list[Way]) -> list[Trained]:
        """Trainings whose outputs on held-out examples say what to make of the candidates."""
        members, ends = self.settings.members, math.inf
        self.pace.clear()
        if math.isfinite(self.until):
            left = self.until - self.clock()
            whole = SPARE * self._estimate(first[0], True) * (members or MOST) / self.pool.size
            ends = max(self.clock() + HELD_OUT * left, self.until - whole)
            if self._estimate(first[0], False) > HELD_OUT * left:
                return []  # no time to look: the schedule on everything is as long as the time allows
        found = self._train(iter(first), False, ends, len(first))
        best = max((one for one in found if not one.way.candidate), key=self._rank, default=None)
        if best is None:
            return found
        count = min(self.settings.candidates, len(self.finalists))
        more = members - len(first) if members else MOST - len(first)
        rest = (Way(candidate, best.way.epochs) for candidate in _turns(count, more))
        return found + self._train(rest, False, ends, members or 0)

    def _on_everything(self, weights: dict[Way, float]) -> list[Trained]:
        """What was chosen, the heaviest first; with time left, more seeds of what has most weight for each of them."""
        timed = math.isfinite(self.until)

        def turns() -> Iterator[Way]:
            yield from weights
            seeds = dict.fromkeys(weights, 1)
            while timed and self.settings.members != 1 and sum(seeds.values()) < MOST:
                way = max(weights, key=lambda one: weights[one] / seeds[one])
                seeds[way] += 1
                yield way

        return self._train(turns(), True, self.until, 0 if timed else len(weights))

    def _train(self, ways: Iterator[Way], whole: bool, ends: float, planned: int) -> list[Trained]:
        """Trainings of these ways, as many as are done by then; the first one in any case where all is trained on.

        Returns those that went well, in the order in which they were begun.
        """
        out: dict[int, tuple[Way, int, float]] = {}
        until = self.until if whole or not math.isfinite(ends) else (ends + self.until) / 2
        found: list[Trained] = []
        seeds: Counter[Way] = Counter()
        waiting, done = next(ways, None), 0
        stage = "training on everything" if whole else "held-out training"
        while waiting is not None or out:
            while waiting is not None and len(out) < self.pool.size:
                estimate = self._estimate(waiting, whole)
                if self.clock() + self._corrected(estimate) > ends and not (whole and not out and not done):
                    waiting = None
                    break
                seed = evaluation_seed(self.final.seed, self._key(waiting), repeat=seeds[waiting])
                out[self.number] = (waiting, seed, estimate)
                recipe = replace(self.final, epochs=waiting.epochs, folds=self.folds, stop="off")
                one = self.finalists[waiting.candidate]
                brief = Training(recipe, whole, until)
                self.pool.submit(workers.Job(self.number, one.text, one.key, seed, brief))
                self.number += 1
                seeds[waiting] += 1
                waiting = next(ways, None)
            self._tell(f"{stage}, {done}{f' of {planned}' if planned else ''} done", done in (0, planned))
            if not out:
                break
            for number, score in self.pool.wait(LOOK):
                way, seed, estimate = out.pop(number)
                done += 1
                if score.status == "ok":
                    found.append(Trained(number, way, seed, score))
                    if estimate > 0:
                        self.pace.append(score.seconds / estimate)
                else:
                    self.errors.append(f"{score.key[:8]}: {score.error or score.status}")
        return sorted(found, key=lambda one: one.number)

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

    def _estimate(self, way: Way, whole: bool) -> float:
        """Seconds of a training, from what the search took."""
        took = self.seconds[way.candidate] * way.epochs / self.spec.recipe.epochs
        if whole:
            took = took / self.folds / share_of_rows(self.task, self.folds)
        return took

    def _corrected(self, estimate: float) -> float:
        """The estimate, by what trainings took since."""
        return estimate * (median(self.pace) if self.pace else 1.0)

    # -- the choice

    def _targets(self) -> Array:
        """Of the examples that networks were judged on."""
        if self.folds < 2:
            return self.task.validation.y
        return np.concatenate([self.task.train.y, self.task.validation.y])

    def _rank(self, one: Trained) -> tuple[float, int]:
        """By the metric, of equal ones the longer training."""
        return self.task.measure.sign * one.score.objectives[self.task.metric], one.way.epochs

    def _choice(self, held: list[Trained]) -> tuple[dict[Way, float], dict[str, Any]]:
        """The weight of each way, the best single one's first, and what held-out data said of them."""
        if not held:
            return {}, {}
        y, sign = self._targets(), self.task.measure.sign
        outputs = [read(self.folder, one.number)[0] for one in held]
        by_way: dict[Way, list[float]] = {}
        for one in held:
            by_way.setdefault(one.way, []).append(one.score.objectives[self.task.metric])
        means = {way: sum(values) / len(values) for way, values in by_way.items()}
        rounds = 1 if self.settings.members == 1 else MOST
        found = select(outputs, self.task.kind.averaging, lambda out: sign * self.task.judge(y, out), rounds=rounds)
        chosen: dict[Way, float] = {}
        for one, weight in zip(held, found, strict=True):
            if weight > 0:
                chosen[one.way] = chosen.get(one.way, 0.0) + weight
        single = max(chosen, key=lambda way: sign * means[way])
        ordered = dict(sorted(chosen.items(), key=lambda item: (item[0] != single, -item[1])))
        averaging = self.task.kind.averaging
        mean = sum(w * averaging.to_average(out) for w, out in zip(found, outputs, strict=True))
        joint = averaging.to_outputs(np.asarray(mean, outputs[0].dtype))
        figures = {
            "networks": len(held),
            "epochs": {str(way.epochs): mean for way, mean in means.items() if not way.candidate},
            "again": means.get(Way(0, self.spec.recipe.epochs)),
            "single": means[single],
            "ensemble": self.task.judge(y, joint),
            "se": standard_error(self.task.judge, y, joint),
        }
        return ordered, figures

    # -- the result

    def _joined(self, whole: list[Trained], weights: dict[Way, float], figures: dict[str, Any]) -> Finished:
        """The trainings on everything as one; what was chosen and not trained is left out, its weight the others'."""
        import torch

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
        first = self.finalists[whole[0].way.candidate]
        single = {task.metric: score.objectives[task.metric]}
        metrics: dict[str, Any] = {
            "key": first.key,
            "test": single,
            "metrics": dict(score.metrics),
            "cost": asdict(first.cost),
            "seconds": self.clock() - self.begun,
            "seed": score.seed,
            "device": self.device,
            "torch": torch.__version__,
            "held_out": figures,
        }
        if len(whole) == 1:
            module = network.build(first)
            module.load_state_dict(read_back[0][1])
            return Finished(first, module.eval(), single, metrics)
        ensemble = Ensemble(tuple(self.finalists[one.way.candidate] for one in whole), shares, averaging)
        module = network.build(ensemble)
        states = (state for _, state in read_back)
        module.load_state_dict({f"members.{n}.{k}": v for n, state in enumerate(states) for k, v in state.items()})
        mean = sum(w * averaging.to_average(out) for w, (out, _) in zip(shares, read_back, strict=True))
        out = averaging.to_outputs(np.asarray(mean, read_back[0][0].dtype))
        test = {task.metric: task.judge(y, out)}
        error = standard_error(task.judge, y, out)
        metrics |= {
            "test": test,
            "metrics": {**score.metrics, f"test_{task.metric}": test[task.metric], f"{task.metric}_se": error},
            "cost": asdict(ensemble.cost),
            "single": {"test": single, "cost": asdict(first.cost), "metrics": dict(score.metrics)},
            "members": members,
        }
        return Finished(ensemble, module.eval(), test, metrics)


def wanted(held_out: float, whole: float, total: float, members: int, size: int) -> float:
    """Seconds to keep back for all this, of the time given in total.

    held_out, whole: of one training by the final recipe, judged by the search's scheme, and on everything. members: as
    in EnsembleSettings. size: trainings at a time.
    """
    return min(SPARE * (held_out + whole) * math.ceil((members or MOST) / size), SHARE * total)


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


__all__ = ["STARTING", "Finishing", "Trained", "Way", "share_of_rows", "wanted"]
