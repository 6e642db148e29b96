"""A network is made faster step by step: which change is taken, when it ends, and what a run of it leaves."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evosearch import config as configuration
from evosearch import engine, operators
from evosearch.architecture import Limits, Space
from evosearch.cli import DONE, FAILED, main
from evosearch.engine import refinement
from evosearch.engine.lineage import PARENT
from evosearch.errors import SpaceExhausted
from evosearch.evaluation import hardware
from evosearch.evaluation.hardware import Spread
from evosearch.report.ancestry import lineage
from evosearch.report.reading import read_run
from evosearch.results import Final, Finished
from evosearch.score import Score
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.store.run import Run
from tests.journals import equal_journals
from tests.spaces import space
from tests.test_finishing import points
from tests.watch import Silent

if TYPE_CHECKING:
    from torch import nn

    from evosearch.architecture import Architecture

START = "linear(256);relu;linear(256);relu;residual(linear(128);relu;linear(256));linear(128)"
TRIES, STEP, TARGET = 4, 0.02, 0.05


def searched(target: float, budget: int = 400) -> tuple[Search, list[Proposal], dict[int, tuple[float, float]]]:
    """A search with made-up figures: the latency is the FLOPs', the accuracy falls with them and has its noise."""
    there = space("mlp", (14,))
    there = Space(there.grammar, there.vocabulary, there.input, Limits())
    settings = SearchSettings(
        strategy="netadapt", objectives=("+accuracy", "-latency"), budget=budget, lookahead=0,
        mutations=("narrow", "remove_node"), crossover=0.0,
    )  # fmt: skip
    own = {"target": target, "step": STEP, "tries": TRIES}
    search = Search(there, settings, operators.find(), seeds=[there.parse(START)], own=own)
    made, figures = [], {}
    while not search.done:
        try:
            proposal = search.ask()
        except SpaceExhausted:
            break
        assert proposal is not None
        made.append(proposal)
        taken = there.read(proposal.derivation).cost.flops / 1e5
        found = 0.9 + taken / 100 + proposal.seed % 1000 / 1e5
        figures[proposal.number] = found, taken
        search.tell(proposal.number, Score(proposal.key, "ok", {"accuracy": found, "latency": taken}))
    return search, made, figures


def test_each_step_takes_the_change_that_loses_least_for_what_it_saves() -> None:
    """NetAdapt's choice, by hand: of a step's mutants that save enough the one with the most accuracy for its time."""
    search, made, figures = searched(TARGET)
    _, first = figures[0]
    parents = [proposal.parents[0] for proposal in made[1:]]
    steps = [(parent, list(group)) for parent, group in itertools.groupby(made[1:], lambda one: one.parents[0])]
    assert len(steps) >= 5
    assert len({parent for parent, _ in steps}) == len(steps), "once left, a network is not gone on from"
    for (parent, mutants), (chosen, _) in itertools.pairwise(steps):
        accuracy, taken = figures[parent]
        latest = mutants[-TRIES:]
        saving = [one.number for one in latest if figures[one.number][1] <= taken - STEP * first]
        assert chosen in saving
        worth = {one: (figures[one][0] - accuracy) / (taken - figures[one][1]) for one in saving}
        if max(worth.values()) < 0:  # where some gained, the gain counts, and how much is saved beside it
            assert chosen == max(worth, key=worth.__getitem__)
        else:
            assert worth[chosen] >= 0
        assert len(mutants) % TRIES == 0
    winner = search.strategy.winner  # type: ignore[attr-defined]  # netadapt's
    assert winner is not None
    assert figures[winner.born][1] <= TARGET < min(figures[parent][1] for parent in parents)
    assert "the target of 0.05 is reached" in search.exhausted


def test_a_target_out_of_reach_ends_it_with_the_reason() -> None:
    search, made, figures = searched(1e-4)
    assert search.strategy.winner is None  # type: ignore[attr-defined]
    assert "0.0001 is out of reach: at latency" in search.exhausted
    assert len(made) < 400
    assert min(taken for _, taken in figures.values()) < 0.1 * figures[0][1]


def test_times_are_read_with_their_units() -> None:
    assert [refinement.milliseconds(text) for text in ("3ms", "800us", "0.1 s", ".5ms")] == [3, 0.8, 100, 0.5]


# --- a run ----------------------------------------------------------------------------------------------------------


def phone(folder: Path) -> Path:
    """A device's own table of every layer that the networks here may have: a linear layer takes a ns a weight."""
    widths = (16, 32, 64, 128, 256)
    rows = [(f"linear {out}", size, out * size / 1e6) for out in widths for size in (2, *widths)]
    rows += [("relu", size, size / 1e6) for size in widths]
    rows += [("mean_linear 2", size, 2 * size / 1e6) for size in (2, *widths)]
    with (folder / "phone.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("layer", "input", "ms"))
        writer.writerows(rows)
    return folder / "phone.csv"


TEXT = "linear(128);relu;linear(128);relu;linear(64)"
SMALL = "--set recipe.epochs=2 --set recipe.inherit_epochs=1 --set final.epochs=2 --set recipe.batch=32"
QUICK = f"{SMALL} --set workers.pool=inline --set workers.device=cpu --set strategy.tries=2 --quiet"


def command(folder: Path, latency: str, name: str, budget: int = 40) -> list[str]:
    words = f"--grammar mlp --task {points(folder)} --table {phone(folder)} --latency {latency} --name {name}"
    return ["refine", TEXT, *f"{words} --budget {budget} {QUICK}".split()]


def test_a_network_comes_to_its_target_and_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """best/ is the network at the target, with code and weights as of any run; its weights passed on to the end. A run
    whose budget was too small goes on to the same journal.
    """
    monkeypatch.chdir(tmp_path)
    given: list[Mapping[str, Any] | None] = []
    train = Final.train

    def watched(self: Final, *arguments: Any) -> Finished:
        given.append(arguments[2])
        return train(self, *arguments)

    monkeypatch.setattr(Final, "train", watched)
    assert main(command(tmp_path, "10us", "fast")) == DONE
    said = capsys.readouterr().out
    assert "refined" in said
    reading = read_run(tmp_path / "runs/fast")
    found = reading.candidate(reading.metrics["key"])
    assert found.objectives["table_latency"] <= 0.010 < reading.candidates[0].objectives["table_latency"]
    assert json.loads((tmp_path / "runs/fast/best/metrics.json").read_text())["test"]
    assert (tmp_path / "runs/fast/best/model.py").is_file()
    (weights,) = given
    assert weights is not None
    proposals = [record for record in Run.open(tmp_path / "runs/fast").records() if record["kind"] == "proposal"]
    assert all(PARENT in record for record in proposals[1:]), "every mutant begins with the weights there are"

    assert main(command(tmp_path, "10us", "short", budget=3)) == FAILED
    assert "not there after 3 candidates; give it more: evolve resume" in capsys.readouterr().err
    engine.resume(tmp_path / "runs/short", Silent(), budget=40)
    assert equal_journals(Run.open(tmp_path / "runs/short"), Run.open(tmp_path / "runs/fast"))
    assert engine.verify(tmp_path / "runs/short") == []


@pytest.mark.parametrize("slower", [1, 10])
def test_a_latency_that_is_measured_leads_to_the_target_too(
    slower: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a clock that counts weights, 10 us each thousand. Each step saves a hundredth of the first network's time at
    the least; a network that is `slower` when it is measured beside the first one is said to be over its time.
    """
    monkeypatch.chdir(tmp_path)
    compared, told = refinement.compared, list[bool]()

    def counted(network: nn.Module, *_: object) -> Spread:
        return Spread(sum(weight.numel() for weight in network.parameters()) / 1e5, 0.001)

    def measured(architectures: Sequence[Architecture], config: configuration.Config) -> list[Spread]:
        found = compared(architectures, config)
        told.append(True)
        return found if len(told) == 1 else [Spread(one.median * slower, one.range) for one in found]

    monkeypatch.setattr(hardware, "latency", counted)
    monkeypatch.setattr(refinement, "compared", measured)
    words = f"--grammar mlp --task {points(tmp_path)} --latency 100us --name fast --budget 60 {QUICK}"
    assert main(["refine", TEXT, *words.split()]) == DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "in turn " in said
    assert ("over the 100us asked for" in said) == (slower > 1)
    reading = read_run(tmp_path / "runs/fast")
    line = lineage(reading, reading.candidate(reading.metrics["key"]))
    taken = [one.objectives["latency"] for one in line]
    assert taken[0] == pytest.approx(0.2526, abs=0.01)
    assert taken[-1] <= 0.1 < taken[-2]
    assert all(before - after >= 0.01 * taken[0] for before, after in itertools.pairwise(taken[:-1]))


def test_what_is_measured_before_it_begins_refuses_what_cannot_be(tmp_path: Path) -> None:
    """The network as it is, and the smallest that it was narrowed to, in turn."""
    from evosearch import final

    config = configuration.load(
        None, {"grammar": "mlp", "task": str(points(tmp_path)), "workers.device": "cpu", "hardware.repeats": 31}
    )
    found = refinement.room(final.subject(config, "linear(256);" * 6 + "linear(256)"))
    assert 0 < found.least < found.now
