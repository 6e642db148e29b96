"""The end of a run: an ensemble that is chosen on held-out data, kept as one module, and done by its time."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import evosearch
from evosearch import config as configuration
from evosearch import engine, tasks, workers
from evosearch.architecture import Architecture
from evosearch.cli import DONE, main
from evosearch.engine import choice, regret
from evosearch.engine.contenders import contenders
from evosearch.engine.finishing import MOST, PLANNED, Finishing, Observation, Way, _turns, drawn_parts, wanted
from evosearch.ensemble import EnsembleSettings
from evosearch.errors import ConfigError
from evosearch.evaluation.final import OUTPUTS, STATE, name_of
from evosearch.evaluation.measures import objective
from evosearch.evaluation.recipe import Recipe
from evosearch.individual import Individual, fitness_class
from evosearch.results import Finished
from evosearch.score import Score, evaluation_seed
from evosearch.search import Proposal
from evosearch.tasks import Split, Task
from evosearch.tasks.folds import fold_rows
from evosearch.tasks.kinds import BUNDLED
from evosearch.workers import Job
from tests.spaces import headed, samples, space
from tests.test_engine import Watching
from tests.watch import Silent


def points(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'x' if a > b * b else 'y'}" for a, b in rng.random((120, 2))]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    return folder / "points.csv"


def settings(folder: Path, **more: Any) -> configuration.Config:
    small = {
        "grammar": "mlp", "task": str(points(folder)), "search.budget": 4, "search.population": 3,
        "search.tournament": 2,
        "recipe.epochs": 2, "recipe.batch": 16, "recipe.optimizer": "adamw", "recipe.lr": 0.01, "final.epochs": 3,
        "workers.workers": 2, "workers.device": "cpu", "ensemble.members": 3,
    }  # fmt: skip
    return configuration.load(None, {**small, **{key.replace("__", "."): value for key, value in more.items()}})


@pytest.fixture(
    scope="module", params=[pytest.param(1, id="held out"), pytest.param(3, id="folds", marks=pytest.mark.slow)]
)
def ensemble(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, engine.Summary]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOSEARCH_CACHE", str(tmp_path_factory.mktemp("ledger")))
        folder = tmp_path_factory.mktemp("runs")
        watching = Watching()
        summary = engine.start(settings(folder, recipe__folds=request.param, seed=3), folder / "whole", watching)
        assert not [note for note in watching.notes if "failed" in note]
        return folder / "whole", summary


def test_what_is_loaded_is_what_was_tested(ensemble: tuple[Path, engine.Summary]) -> None:
    folder, summary = ensemble
    metrics = json.loads((folder / "best/metrics.json").read_text())
    task = tasks.load(configuration.recorded((folder / "config.toml").read_text()).task)
    assert isinstance(task, Task)
    test = task.test_split()
    with torch.no_grad():
        out = evosearch.load(folder)(torch.from_numpy(task.normalise(test.x))).numpy()
    assert task.judge(test.y, out) == pytest.approx(summary.test_metric["accuracy"])
    assert metrics["test"] == dict(summary.test_metric)
    assert metrics["held_out"]["networks"] == 3
    assert metrics["held_out"]["ensemble"] >= metrics["held_out"]["single"] - 2 * metrics["held_out"]["se"]
    assert metrics["metrics"]["accuracy_se"] > 0
    assert 0.05 <= metrics["held_out"]["temperature"] <= 20
    assert 0 <= metrics["held_out"]["ece_at_temperature"] <= 1
    if (folder / "best/ensemble.json").exists():
        members = json.loads((folder / "best/ensemble.json").read_text())["members"]
        assert summary.networks == len(members) == len(metrics["members"])
        assert sum(member["weight"] for member in members) == pytest.approx(1)
        assert metrics["single"]["test"] == dict(summary.single) == metrics["members"][0]["test"]


def test_the_same_seed_makes_the_same_ensemble(ensemble: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    """With one process as with two: what is trained hangs on no clock where no time is given."""
    folder, _ = ensemble
    config = configuration.recorded((folder / "config.toml").read_text())
    config = config.model_copy(update={"workers": workers.WorkerSettings(workers=1, device="cpu")})
    engine.start(config, tmp_path / "again", Silent())
    for name in ("weights.safetensors", "architecture.arch", "model.py"):
        assert (folder / "best" / name).read_bytes() == (tmp_path / "again/best" / name).read_bytes()


def test_the_saved_code_needs_no_evosearch(ensemble: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    folder, _ = ensemble
    script = f"""
import sys
sys.modules["evosearch"] = None
sys.path.insert(0, {str(folder / "best")!r})
import model, torch
from safetensors.torch import load_file
network = model.Network()
network.load_state_dict(load_file({str(folder / "best/weights.safetensors")!r}))
print(network.eval()(torch.ones(1, 2)).tolist())
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    with torch.no_grad():
        assert json.loads(said.stdout) == [
            pytest.approx(evosearch.load(folder)(torch.ones(1, 2))[0].tolist(), abs=1e-5)
        ]


def test_it_is_exported_from_its_folder(ensemble: tuple[Path, engine.Summary], tmp_path: Path) -> None:
    folder, _ = ensemble
    assert main(["export", str(folder), "-o", str(tmp_path / "a.pt2")]) == DONE
    x = torch.randn(5, 2)
    with torch.no_grad():
        expected = evosearch.load(folder)(x)
        torch.testing.assert_close(torch.export.load(tmp_path / "a.pt2").module()(x), expected, atol=1e-4, rtol=1e-4)


def test_what_is_said_of_the_winner_carries_its_error(
    ensemble: tuple[Path, engine.Summary], capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside its fitness: the standard error, and what it came to when it was trained again."""
    folder, summary = ensemble
    assert main(["best", str(folder), "--json"]) == DONE
    best = json.loads(capsys.readouterr().out)
    metrics = json.loads((folder / "best/metrics.json").read_text())
    held_out = metrics["held_out"]
    assert best["again"] == (held_out["again"] if held_out["winner"] == metrics["key"] else None)
    assert held_out["again"] in {None, held_out["epochs"]["2"]}  # None: it was not trained for so few epochs
    assert best["se"] is None or 0 <= best["se"] < 0.5
    assert main(["why", str(folder), summary.best_key]) == DONE
    assert f"± {best['se']:.4f}" in capsys.readouterr().out
    assert "metric_accuracy_se" in (folder / "evaluations.csv").read_text().splitlines()[0]
    assert json.loads((folder / "evaluations.jsonl").read_text().splitlines()[0])["metric_accuracy_se"] >= 0


@pytest.mark.parametrize(("lr", "members"), [(1e-9, 1), (0.05, 2)])
def test_a_network_that_a_linear_model_is_better_than_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lr: float, members: int
) -> None:
    """By more than chance: half of 100 test rows are right by chance, and all by logistic regression."""
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))
    rows = [f"{a:.3f},{b:.3f},{'xy'[int(a > b)]}" for a, b in np.random.default_rng(0).random((500, 2))]
    (tmp_path / "line.csv").write_text("\n".join(rows))
    more = {"recipe__lr": lr, "recipe__epochs": 4, "search__budget": 3, "search__population": 2, "workers__workers": 1}
    watching = Watching()
    config = settings(tmp_path, task=str(tmp_path / "line.csv"), ensemble__members=members, **more)
    summary = engine.start(config, tmp_path / "run", watching)
    said = "logistic regression is better than this network on the test rows by more than chance"
    assert any(said in note for note in watching.notes) == (lr < 1e-3)
    assert (summary.test_metric["accuracy"] < summary.baseline["accuracy"] - 0.2) == (lr < 1e-3)


def test_what_is_no_number_of_networks_is_refused() -> None:
    for name in ("members", "candidates"):
        with pytest.raises(ConfigError, match=rf"ensemble\.{name} is -1"):
            EnsembleSettings(**{name: -1})


@dataclass
class Evaluated:
    """A journal's records, and networks by number; `scored` adds a score of one."""

    objective: str
    records: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.space = space("mlp", (2,))
        drawn = (self.space.draw(np.random.default_rng(seed)) for seed in range(9))
        self.networks = list({self.space.read(one).key: one for one in drawn}.items())

    def scored(self, network: int, value: float, error: float, fidelity: float = 1.0) -> Individual:
        (key, derivation), number = self.networks[network], len(self.records) // 2
        score = Score(key, "ok", {self.objective: value}, {f"{self.objective}_se": error})
        self.records.append({"kind": "proposal", "number": number, "fidelity": fidelity})
        self.records.append({"kind": "score", "number": number, **score.pack()})
        text, fitness = self.space.render(derivation), fitness_class(1)((value,))
        return Individual(derivation, key, text, fitness, (), "sample", number, fidelity=fidelity)

    def compared(
        self, finalists: Sequence[Individual], given: Sequence[int], under_way: Sequence[int] = ()
    ) -> tuple[list[int], list[int]]:
        """The networks in their order, and the places of known ones."""
        waiting = [
            Proposal(9, derivation, key, self.space.render(derivation), (), "early_exit", 0)
            for key, derivation in (self.networks[one] for one in under_way)
        ]
        seeds = [self.networks[one][1] for one in given]
        found, known = contenders(finalists, seeds, waiting, self.records, objective(self.objective), self.space)
        keys = [key for key, _ in self.networks]
        return [keys.index(one.key) for one in found], known


def test_known_networks_are_compared_by_evaluations_as_long_as_the_leader_s() -> None:
    """One that was left on a lower rung is behind, whatever its figure there; so is a finalist."""
    best, other, left, went_on, begun = range(5)
    run = Evaluated("accuracy")
    run.scored(left, 0.99, 0.02, 0.5)
    run.scored(went_on, 0.2, 0.02, 0.5)
    run.scored(went_on, 0.87, 0.02)
    finalists = [run.scored(best, 0.9, 0.02), run.scored(other, 0.95, 0.02, 0.5)]
    assert run.compared(finalists, [left, went_on, begun], [begun]) == ([went_on, best, begun], [0, 2])


def test_a_sample_with_every_answer_right_on_seven_rows_is_compared_with_the_known_networks() -> None:
    """Its own standard error is none: theirs says how little seven rows tell. They go first, since there may be no time
    to compare them; of equal ones not the one that was done first, and not one that is not done.
    """
    lucky, quick, good, bad, begun = range(5)
    run = Evaluated("accuracy")
    leader, *_ = (
        run.scored(network, right / 7, math.sqrt(right / 7 * (1 - right / 7) / 6))
        for network, right in ((lucky, 7), (quick, 6), (good, 6), (bad, 3))
    )
    assert run.compared([leader], [good, quick, bad]) == ([good, lucky, quick], [0, 2])
    assert run.compared([leader], [begun, good, quick, bad], [begun]) == ([good, lucky, begun, quick], [0, 2, 3])


def test_a_known_network_that_came_to_nothing_does_not_make_all_others_as_good_as_the_leader() -> None:
    """Its R2 is far below 0, and so large is its standard error that everything would be within it."""
    best, poor, good, lost = range(4)
    run = Evaluated("r2")
    ranked = [run.scored(best, 0.9, 0.02), run.scored(poor, 0.3, 0.05)]
    run.scored(good, 0.87, 0.02)
    run.scored(lost, -21.0, 10.0)
    assert run.compared(ranked, [good, lost]) == ([good, best], [0])


# --- time, with a clock of the test's own ----------------------------------------------------------------------------


class Simulated:
    """A pool in which trainings take time of a clock that stands still between them."""

    def __init__(
        self,
        task: Task,
        size: int,
        each: float,
        broken: Sequence[int] = (),
        noise: Mapping[int, float] = {},
        slow: float = 1.0,
    ) -> None:
        self.task, self.size, self.each, self.broken, self.noise = task, size, each, broken, noise
        self.slow = slow
        self.now, self.out = 0.0, deque[tuple[float, Job, float]]()
        self.jobs: list[Job] = []
        self.folder = Path()

    def submit(self, job: Job) -> None:
        recipe = job.brief.recipe
        took = self.each * recipe.epochs / 10
        if job.brief.whole:
            took = min(took, job.brief.finish_by - self.now)  # its schedule is shortened
        else:
            took *= (job.brief.first or recipe.folds) * (self.slow if len(self.jobs) >= 4 else 1)
            took = min(took, job.brief.finish_by - self.now + 0.1)  # by then it is given up
        self.jobs.append(job)
        self.out.append((self.now + took, job, took))

    def wait(self, timeout: float | None = None) -> list[tuple[int, Score]]:
        ends, job, took = min(self.out, key=lambda one: one[0])
        if ends > self.now + (timeout or 0):
            self.now += timeout or 0
            return []
        self.now = max(self.now, ends)
        self.out.remove((ends, job, took))
        if job.number in self.broken or (not job.brief.whole and self.now > job.brief.finish_by):
            return [(job.number, Score(job.key, "timeout", error="too slow", seed=job.seed))]
        y = self.task.test_split().y if job.brief.whole else self.judged(job)
        rng = np.random.default_rng(0 if self.noise else job.number)  # as much noise, the same answers
        noise = self.noise.get(job.brief.recipe.epochs, 1.0)
        out = np.eye(2)[y] + noise * rng.standard_normal((len(y), 2))
        state = {f"{STATE}{k}": v for k, v in self.module(job).items()}
        save_file({OUTPUTS: torch.from_numpy(out.astype(np.float32)), **state}, self.folder / name_of(job.number))
        accuracy = self.task.judge(y, out)
        metrics = {"epochs": 10 * took / self.each, "accuracy_se": 0.06}
        return [(job.number, Score(job.key, "ok", {"accuracy": accuracy}, metrics, seconds=took, seed=job.seed))]

    def judged(self, job: Job) -> Any:
        """The targets of the rows that a held-out training stands for."""
        folds = job.brief.recipe.folds
        if folds == 1:
            return self.task.validation.y
        y = np.concatenate([self.task.train.y, self.task.validation.y])
        return y[np.sort(np.concatenate(fold_rows(self.task, folds)[: job.brief.first or folds]))]

    def module(self, job: Job) -> dict[str, torch.Tensor]:
        from evosearch import network

        return {k: v.contiguous() for k, v in network.build(self.networks[job.text]).state_dict().items()}

    def close(self) -> None: ...

    networks: dict[str, Any]


@functools.cache
def three() -> list[Architecture]:
    """The finalists."""
    return [headed(one, 2) for one in samples("mlp", 3, shape=(2,))]


def finish(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, each: float, told: float, until: float, size: int = 2,
    members: int = 0, broken: Sequence[int] = (), augment: tuple[str, ...] = (), noise: Mapping[int, float] = {},
    drawn: bool = False, slow: float = 1.0,
) -> tuple[Finished, Simulated]:  # fmt: skip
    """each: seconds of ten epochs. told: as many as were estimated. noise: of a network's outputs, by its epochs.
    drawn: whether the validation split was drawn from the rows to train on; else it is a person's own.
    slow: times as long as the others takes each held-out training but the first four.
    """
    task = tasks.load(str(points(tmp_path)))
    assert isinstance(task, Task)
    assert task.drawn
    task = replace(task, drawn=drawn)
    pool = Simulated(task, size, each, broken, noise, slow)
    monkeypatch.setattr(workers, "open_pool", lambda *_: pool)
    pool.networks = {one.text: one for one in three()}
    spec: Any = SimpleNamespace(recipe=Recipe(epochs=10))
    phase = Finishing(
        task,
        spec,
        Recipe(epochs=30, augment=augment),
        EnsembleSettings(members),
        workers.WorkerSettings(),
        "cpu",
        clock=lambda: pool.now,
    )
    pool.folder = phase.folder
    try:
        return phase.run(three(), [told] * 3, until), pool
    finally:
        phase.close()


def test_no_held_out_training_is_one_of_the_search_once_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where both recipes are one, as for tables, it had its seed and folds: the luckiest stayed as lucky."""
    _, pool = finish(monkeypatch, tmp_path, each=4.0, told=4.0, until=100.0)
    held_out = [job for job in pool.jobs if not job.brief.whole]
    assert len(held_out) > 3
    for job in held_out:
        assert job.repeat > 0
        assert job.seed != evaluation_seed(Recipe().seed, job.key)
    assert len({job.seed for job in held_out}) == len(held_out)


@pytest.mark.parametrize("off", [0.3, 1.0, 3.0], ids="estimated-{}-fold".format)
@pytest.mark.parametrize("until", [5.0, 30.0, 100.0, 400.0])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("drawn", [False, True], ids=["own split", "drawn anew"])
def test_it_is_done_by_its_time_and_has_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, off: float, until: float, size: int, drawn: bool
) -> None:
    finished, pool = finish(monkeypatch, tmp_path, each=4.0, told=4.0 / off, until=until, size=size, drawn=drawn)
    assert finished.network is not None
    assert pool.now <= until + 0.5
    whole = [job for job in pool.jobs if job.brief.whole]
    assert 1 <= len(whole) <= MOST
    if until == 400.0:
        assert len({job.key for job in pool.jobs}) == 3
        assert finished.metrics["held_out"]["ensemble"] >= finished.metrics["held_out"]["single"]
        assert pool.now > 0.5 * until or len(whole) == MOST


@pytest.mark.parametrize("members", [0, 1])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("slow", [1.0, 1.5, 2.0], ids="held-out-{}-fold".format)
@pytest.mark.parametrize("until", [40.0, 60.0, 90.0, 117.0])
def test_looks_leave_the_network_that_is_kept_its_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: float, slow: float, size: int, members: int
) -> None:
    """Also where one of them takes longer than those before it did, and is given up."""
    finished, pool = finish(
        monkeypatch, tmp_path, each=4.0, told=4.0, until=until, size=size, members=members, drawn=True, slow=slow
    )
    assert [job for job in pool.jobs if not job.brief.whole]
    assert finished.cut >= 0.8


def parts_of(job: Job) -> int:
    """Of how many parts of the rows a held-out training is judged on."""
    return int(job.brief.first or job.brief.recipe.folds)


@pytest.mark.parametrize("members", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("size", "until", "parts"),
    [(1, 60.0, 1), (1, 200.0, 2), (1, 600.0, 4), (2, 300.0, 4), (8, 120.0, 4), (16, 60.0, 3)],
)
def test_a_drawn_split_is_drawn_anew_in_as_many_parts_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, until: float, parts: int, members: int
) -> None:
    """The search chose on the validation split; its networks are compared on rows drawn anew, all on as many."""
    finished, pool = finish(
        monkeypatch, tmp_path, each=2.0, told=2.0, until=until, size=size, members=members, drawn=True,
        noise=dict.fromkeys((10, 30, 90), 1.0),
    )  # fmt: skip
    held_out = [job for job in pool.jobs if not job.brief.whole]
    assert {job.brief.recipe.folds for job in held_out} == {4}
    if members == 0:
        assert {parts_of(job) for job in held_out} == {1, parts}
    most = max(map(parts_of, held_out))
    if most > 1:
        assert len({job.key for job in held_out if parts_of(job) == most}) == 3
        assert len(finished.metrics["held_out"]["looks"]) == 3
    assert len(pool.judged(held_out[-1])) == parts_of(held_out[-1]) * len(pool.task.validation)
    assert pool.now <= until


def test_where_no_training_on_many_parts_goes_well_those_on_one_have_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=300.0, drawn=True)
    many = [job.number for job in pool.jobs if not job.brief.whole and parts_of(job) > 1]
    finished, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=300.0, drawn=True, broken=many)
    assert finished.network is not None
    later = [job for job in pool.jobs if job.number > max(many) and not job.brief.whole]
    assert {parts_of(job) for job in later} == {1}
    assert len(finished.metrics["held_out"]["looks"]) == 3


def test_those_that_are_told_apart_are_the_ensemble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choice, "told_apart", lambda *_: (2, {2}))
    monkeypatch.setattr(Finishing, "_with_unseen", lambda _, chosen, *__: chosen)
    finished, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=60.0, noise=dict.fromkeys(range(999), 0.0))
    assert (
        finished.metrics["key"] == sorted({job.key for job in pool.jobs}, key=[job.key for job in pool.jobs].index)[2]
    )
    assert {job.key for job in pool.jobs if job.brief.whole} == {finished.metrics["key"]}


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_single_network_is_trained_in_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, drawn: bool
) -> None:
    _, pool = finish(
        monkeypatch, tmp_path, each=2.0, told=2.0, until=100.0, size=size, members=1, drawn=drawn,
        noise={10: 2.0, 30: 1.0, 90: 2.0},
    )  # fmt: skip
    assert [job.brief.recipe.epochs for job in pool.jobs if job.brief.whole] == [30]


@pytest.mark.parametrize(
    ("share", "folds", "drawn", "width", "parts"),
    [
        (0.2, 1, True, 2, 4), (0.45, 1, True, 2, 2), (0.02, 1, True, 2, 5), (0.2, 3, True, 2, 1),
        (0.2, 1, False, 2, 1), (0.2, 1, True, 2**21, 1),
    ],
)  # fmt: skip
def test_parts_are_about_as_large_as_the_validation_split(
    share: float, folds: int, drawn: bool, width: int, parts: int
) -> None:
    """A fifth of the rows is for the test; nothing is copied that is a person's own, or large."""
    validation = round(100 * share)
    x = np.broadcast_to(np.float32(0), (80 - validation, width))
    task: Any = SimpleNamespace(train=Split(x, x[:, 0]), validation=range(validation), drawn=drawn)
    assert drawn_parts(task, folds) == parts


@pytest.mark.parametrize("drawn", [False, True])
def test_a_split_of_one_s_own_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawn: bool) -> None:
    _, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=1000.0, drawn=drawn)
    assert {job.brief.recipe.folds for job in pool.jobs} == ({4} if drawn else {1})


def test_a_machine_that_stood_still_leaves_no_network_that_was_hardly_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The time is over when all is looked at: one training has up to a fifth of it all the same, no other begins."""
    choose = Finishing._choice

    def late(self: Any, found: list[Observation]) -> Any:
        self.pool.now = 100.0
        return choose(self, found)

    monkeypatch.setattr(Finishing, "_choice", late)
    finished, pool = finish(monkeypatch, tmp_path, each=4.0, told=4.0, until=100.0)
    assert finished.cut == 1
    assert pool.now <= 120
    assert len([job for job in pool.jobs if job.brief.whole]) == 1


@pytest.mark.parametrize(("until", "epochs"), [(4.0, 10), (10.0, 12), (16.0, 20)])
def test_where_nothing_could_be_looked_at_a_schedule_that_fits_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: float, epochs: int
) -> None:
    """Thirty epochs are estimated to take 20 seconds: as many as fit with a fifth to spare, at the least ten, by which
    the search judged.
    """
    finished, pool = finish(monkeypatch, tmp_path, each=5.0, told=5.0, until=until)
    assert next(job.brief.recipe.epochs for job in pool.jobs if job.brief.whole) == epochs
    assert finished.cut == pytest.approx(min(1, until / (epochs / 2)))


@pytest.mark.parametrize("size", [1, 2])
def test_it_says_what_share_of_the_schedule_there_was_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """Ten epochs would take a hundred seconds, and there are ten."""
    finished, _ = finish(monkeypatch, tmp_path, each=100.0, told=100.0, until=10.0, size=size)
    assert finished.cut == pytest.approx(0.1)


@pytest.mark.parametrize("each", [1.0, 4.0, 100.0], ids="{} s".format)
def test_where_the_search_trained_nothing_a_short_training_says_how_long_one_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, each: float
) -> None:
    """Else a held-out training takes all of the time, and what is trained on everything has none."""
    finished, pool = finish(monkeypatch, tmp_path, each=each, told=0.0, until=60.0, drawn=True)
    held_out = [job for job in pool.jobs if not job.brief.whole]
    whole = [job for job in pool.jobs if job.brief.whole]
    assert held_out[0].brief.recipe.epochs == 1
    assert held_out[0].brief.finish_by == 30.0  # by then it is given up
    assert finished.network is not None
    assert pool.now <= 60.0
    assert (len(held_out) > 1) == (each < 100.0)
    assert len(whole) > 2 if each == 1.0 else len(whole) <= 4
    lengths = [member["epochs"] for member in finished.metrics.get("members", [finished.metrics["recipe"]])]
    assert max(lengths) == pytest.approx({1.0: 30.0, 4.0: 30.0, 100.0: 5.0}[each], abs=0.5)


@pytest.mark.parametrize("told", [4.0, 8.0, 12.0], ids="{} s estimated".format)
@pytest.mark.parametrize("until", [8.0, 16.0, 24.0, 28.0, 39.0, 45.0, 60.0, 80.0])
def test_few_long_trainings_fill_the_time_where_examples_are_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, until: float, told: float
) -> None:
    """Thirty epochs on everything take 24 seconds, two trainings at a time, whatever was estimated."""
    noise = dict.fromkeys((10, 30, 90), 1.0)
    finished, pool = finish(monkeypatch, tmp_path, each=8.0, told=told, until=until, augment=("noise",), noise=noise)
    assert finished.network is not None
    assert (0.9 if told <= 8.0 else 0.79) * until <= pool.now <= until
    if told == 8.0:
        assert sum(job.brief.whole for job in pool.jobs) == (4 if until == 80.0 else 2)
    lengths = [member["epochs"] for member in finished.metrics.get("members", [finished.metrics["recipe"]])]
    if told == 8.0:
        assert 0.6 * 30 <= min(lengths) <= max(lengths) <= 2 * 30 or until < 20.0
    if until < 20.0:  # two at once and one round of them, as long as it may be
        assert lengths == pytest.approx([until / 8.0 * 10] * 2)


@pytest.mark.parametrize(
    ("noise", "tried", "until", "epochs"),
    [
        ({10: 2.0, 30: 1.2, 90: 0.7, 270: 0.2, 810: 0.2}, {10, 30, 90, 270, 810}, 2000.0, 270),
        ({10: 2.0, 30: 1.0, 90: 0.5, 270: 1.0}, {10, 30, 90, 270}, 2000.0, 90),
        ({10: 2.0, 30: 1.0, 90: 1.0}, {10, 30, 90}, 2000.0, 30),
        ({10: 1.0, 30: 2.0, 90: 0.2}, {3, 10, 30}, 2000.0, 10),
        ({1: 0.7, 3: 0.3, 10: 1.0, 30: 2.0}, {1, 3, 10, 30}, 2000.0, 3),
        ({10: 2.0, 30: 1.0, 90: 0.5, 270: 0.2}, {10, 30}, 15.0, 30),  # no time for more
    ],
)
def test_as_many_epochs_as_held_out_examples_say(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    noise: dict[int, float],
    tried: set[int],
    until: float,
    epochs: int,
) -> None:
    _, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=until, noise=noise)
    assert {job.brief.recipe.epochs for job in pool.jobs if not job.brief.whole} == tried
    assert max(job.brief.recipe.epochs for job in pool.jobs if job.brief.whole) == epochs  # the last may be cut short


def test_a_single_network_is_looked_at_in_both_lengths_and_trained_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And its rivals until what one may lose by taking it is less than the examples can tell."""
    noise = dict.fromkeys((10, 30, 90), 1.0)
    finished, pool = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=100.0, members=1, noise=noise)
    assert [job.brief.whole for job in pool.jobs[:2]] == [False, False]
    assert [job.brief.whole for job in pool.jobs].count(True) == 1
    assert pool.jobs[-1].brief.whole
    assert "members" not in finished.metrics
    held_out = finished.metrics["held_out"]
    assert {job.brief.recipe.epochs for job in pool.jobs[2:4]} == {90}  # the third length, which is no better
    assert len({job.brief.recipe.epochs for job in pool.jobs[4:]}) == 1
    assert len(held_out["looks"]) == 3
    assert held_out["regret"] <= regret.SHARE * held_out["se"] * 1.5 or len(pool.jobs) > MOST


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([[0.90, 0.90], [0.90, 0.89], [0.80]], 1),  # the second one is known; 0.005 are within the noise of 0.01
        ([[0.90, 0.90], [0.87, 0.87], [0.80]], 0),
        ([[0.90, 0.90], [], [0.80]], 0),
    ],
)
def test_a_known_network_goes_before_one_that_is_better_by_no_more_than_the_noise(
    values: list[list[float]], first: int
) -> None:
    assert choice.preferred(values, 0.01, {1}) == first


@pytest.mark.parametrize(
    ("sureness", "given", "preferred", "as_good"),
    [
        ((1.0, 2.0, 2.0), (), 1, {1, 2}),  # as often right, and surer where they are: the first of equal ones
        ((2.0, 1.0, 2.0), (2,), 2, {0, 2}),  # a known network before one that is no better
        ((2.0, 1.0, 1.0), (1,), 0, {0}),
        ((1.0, 1.0, 1.0), (2,), 2, {0, 1, 2}),
    ],
)
def test_networks_that_are_as_often_right_are_told_apart_by_how_likely_they_hold_the_truth(
    sureness: tuple[float, ...], given: tuple[int, ...], preferred: int, as_good: set[int]
) -> None:
    """All are right on the same three quarters of the rows; how much surer one is there than elsewhere differs."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    hit = np.arange(2000) % 4 > 0
    kind = BUNDLED.named("classification")
    task: Any = SimpleNamespace(measure=kind.metrics[0], kind=kind)
    outputs = []
    for extra in sureness:
        margin = np.where(hit, extra, 1.0) * np.random.default_rng(1).uniform(0.5, 1.5, 2000)
        sign = np.where(hit, 1.0, -1.0) * np.where(y == 1, 1.0, -1.0)
        outputs.append(np.stack([-sign * margin, sign * margin], 1) / 2)
        assert task.measure.value(y, outputs[-1]) == 0.75
    judge, numbers = choice.Judge(task, y), range(3)
    assert choice.told_apart(judge, numbers, outputs, {0, 1, 2}, 0, given) == (preferred, as_good)
    regression: Any = SimpleNamespace(measure=BUNDLED.named("regression").metrics[0])
    assert choice.told_apart(choice.Judge(regression, y), numbers, outputs, {0, 2}, 2, given) == (2, {0, 2})


def test_a_length_is_better_by_how_likely_the_truth_is_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both lengths are as often right; the longer one is surer where it is right, and no surer where it is wrong."""
    y = np.arange(400) % 2
    right = np.where(np.arange(400) % 5 > 0, 1.0, -1.0) * np.where(y == 1, 1.0, -1.0)
    margins = {1: 1.0, 2: np.where(np.arange(400) % 5 > 0, 2.0, 1.0)}
    outputs = {number: np.stack([-right * margin, right * margin], 1) for number, margin in margins.items()}
    kind = BUNDLED.named("classification")
    task: Any = SimpleNamespace(measure=kind.metrics[0], kind=kind, judge=kind.metrics[0].value)
    phase: Any = SimpleNamespace(folder=tmp_path, _judge=lambda: choice.Judge(task, y))
    for name in ("_apart", "_is_better", "_best_length"):
        setattr(phase, name, functools.partial(getattr(Finishing, name), phase))
    for number, out in outputs.items():
        save_file({OUTPUTS: torch.from_numpy(out)}, tmp_path / name_of(number))
    found: Any = [Observation(number, Way(0, 10 * number), 0, Score("", "ok")) for number in outputs]
    assert phase._best_length(found) == phase._best_length(found[::-1]) == 20
    assert phase._is_better(found, 20, 10)
    assert not phase._is_better(found, 10, 20)
    task.measure = replace(kind.metrics[0], finer=None)
    assert phase._best_length(found) == 20  # of equal ones the longer
    assert not phase._is_better(found, 20, 10)


def test_candidates_that_nobody_had_time_to_look_at_have_their_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noise = dict.fromkeys((10, 30, 90), 1.0)
    finished, pool = finish(monkeypatch, tmp_path, each=8.0, told=8.0, until=100.0, noise=noise)
    looked = {job.key for job in pool.jobs if not job.brief.whole and job.brief.recipe.epochs == 30}
    assert len(looked) == 1
    members = finished.metrics["members"]
    assert len({member["key"] for member in members}) == 3
    assert sum(m["weight"] for m in members if m["key"] in looked) == pytest.approx(1 / 3)


def test_trainings_that_fail_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    finished, _ = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=60.0, broken=range(0, 100, 2))
    assert finished.network is not None
    assert sum(member["weight"] for member in finished.metrics["members"]) == pytest.approx(1)
    finished, _ = finish(monkeypatch, tmp_path, each=1.0, told=1.0, until=60.0, broken=range(100))
    assert finished.network is None
    assert "too slow" in finished.error


def test_the_best_candidates_come_first_and_often() -> None:
    assert list(_turns(3, 8)) == [1, 0, 2, 1, 0, 2, 1, 0]
    assert list(_turns(1, 3)) == [0, 0, 0]
    assert list(_turns(4, -1)) == []


def test_no_more_time_is_kept_back_than_can_be_used() -> None:
    assert 0.2 * PLANNED / 2 < wanted(0.1, 0.1, 600, 0, 2) < 0.2 * MOST / 2
    assert wanted(100, 120, 600, 0, 2) == pytest.approx(0.6 * 600)
    assert 220 <= wanted(100, 120, 600, 1, 1) <= 0.6 * 600
    assert wanted(10, 3, 1000, 1, 2) >= 10 / 0.4  # five folds: a look takes longer than the training on everything
    assert wanted(150, 180, 600, 1, 1) == pytest.approx(1.2 * 180)  # too long to be looked at
    assert wanted(150, 180, 600, 0, 2) == pytest.approx(0.6 * 600)
    assert wanted(1, 1, 600, 0, 2, parts=5) > wanted(1, 1, 600, 0, 2) + 5
    assert wanted(100, 120, 600, 0, 2, parts=5) == pytest.approx(0.6 * 600)
