"""Run folders for the tests of the reports: a real search over a bundled grammar, its scores made up at once."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import operators
from evosearch.config import Config
from evosearch.cost import Cost
from evosearch.score import Score
from evosearch.search import Proposal, Search
from evosearch.store.run import Run
from tests.spaces import GRAMMARS, space

SHAPE = (1, 8, 8)
STARTED = 1_750_000_000.0


def searched(folder: Path, *, budget: int = 120, seed: int = 0, failing: float = 0.1, **settings: Any) -> Run:
    """A finished run of a search on einspace at 1x8x8 whose scores are made up at once; opened for reading.

    settings: of the search, as in `strategy="random"`. failing: share of candidates that fail.
    """
    config = configuration.validate(
        {"grammar": "einspace", "task": "digits", "seed": seed, "search": {"budget": budget, **settings}}, "test"
    )
    there = space("einspace", SHAPE)
    objectives = config.search.objectives or ("+accuracy",)
    search = Search(there, replace(config.search, objectives=objectives), operators.find())
    with created(folder, config) as run:
        while not search.done:
            proposal = search.ask()
            assert proposal is not None  # every score is told at once, so nothing is ever waited for
            run.append_proposal(proposal.pack())
            score = made_up(proposal, there.read(proposal.derivation).cost, failing)
            run.write_scores([stamped(score, proposal.number)])
            run.sync()
            search.tell(proposal.number, score)
        run.write_checkpoint(search.state())
        best = search.best()
        assert best is not None
        metrics = {"key": best.key, "test": {"accuracy": 0.9}, "baseline": {"accuracy": 0.8}}
        run.write_best({"metrics.json": json.dumps(metrics), "architecture.arch": best.text})
    return Run.open(folder)


def made_up(proposal: Proposal, cost: Cost, failing: float) -> Score:
    """A score that depends on the key, and a little on the parents' number: descendants are better."""
    draw = np.random.default_rng(int(proposal.key[:15], 16))
    if draw.random() < failing:
        status, error = ("nan", "the loss became NaN in epoch 2") if draw.random() < 0.6 else ("oom", "out of memory")
        return Score(proposal.key, status, cost=cost, seconds=0.5, seed=proposal.seed, error=error)  # type: ignore[arg-type]
    accuracy = 1 - float(draw.beta(2, 5)) / (1 + proposal.number / 60)
    curve = tuple(accuracy * step / 8 for step in range(1, 9))
    seconds = float(draw.uniform(0.5, 3))
    objectives = {"accuracy": accuracy, "params": float(cost.params), "flops": float(cost.flops), "seconds": seconds}
    return Score(proposal.key, "ok", objectives, {"loss": 1 - accuracy}, curve, cost, seconds, proposal.seed)


def stamped(score: Score, number: int) -> dict[str, Any]:
    return {**score.pack(), "number": number, "at": STARTED + number}


def written(folder: Path, evaluations: int) -> Run:
    """A run of so many evaluations whose journal is made up entirely: quick where thousands are wanted.

    Its texts are of einspace's length and change from parent to child as mutations change them.
    """
    rng = np.random.default_rng(0)
    there = space("einspace", SHAPE)
    pieces = [there.render(there.draw(rng)) for _ in range(60)]
    texts: list[str] = []
    scores: list[dict[str, Any]] = []
    with created(folder, configuration.validate({"search": {"budget": evaluations}}, "test")) as run:
        for number in range(evaluations):
            piece = pieces[int(rng.integers(len(pieces)))]
            parents: tuple[int, ...] = ()
            if number < 100:
                texts.append(f"seq({piece},{pieces[number % 60]})")
            else:
                parents = (int(rng.integers(max(0, number - 200), number)),)
                texts.append(_mutated(texts[parents[0]], piece, rng))
            key = blake2b(str(number).encode(), digest_size=16).hexdigest()
            operator = ("redraw", "swap_subtrees", "insert_around")[number % 3] if parents else "early_exit"
            record = {"number": number, "key": key, "text": texts[-1], "parents": list(parents), "operator": operator}
            run.append_proposal({**record, "seed": number, "state": None})
            params = int(10 ** rng.uniform(2, 6))
            proposal = Proposal(number, None, key, texts[-1], parents, operator, number)  # type: ignore[arg-type]
            score = made_up(proposal, Cost(params, 40 * params, 10 * params, 20), 0.1)
            scores.append(stamped(score, number))
        run.write_scores(scores)
        run.sync()
    return Run.open(folder)


def _mutated(text: str, piece: str, rng: np.random.Generator) -> str:
    text = text[:900]
    at = text.find("norm", int(rng.integers(len(text))))
    return f"{text[:at]}{piece}{text[at + 4 :]}" if at >= 0 else f"seq({text},norm)"


def created(folder: Path, config: Config, **changes: Any) -> Run:
    """A new run folder with the files and the header that the engine would write. changes: of the header."""
    source = (GRAMMARS / "einspace.lark").read_text()
    environment = {"python": "3.11.7", "device": "cpu", "packages": {"evosearch": "0.1.0", "torch": "2.13.0"}}
    files = {
        "config.toml": configuration.dumps(config),
        "environment.json": json.dumps(environment),
        "grammar/einspace.lark": source,
    }
    digests = {"task": "1" * 32, "recipe": "2" * 32, "grammar": space("einspace", SHAPE).grammar.digest}
    header = {
        "evosearch": "0.1.0", "digests": digests, "seed": config.seed, "grammar_file": "einspace.lark",
        "task": "digits", "metric": "accuracy", "input": list(SHAPE), "outputs": 10, "started": STARTED, **changes,
    }  # fmt: skip
    return Run.create(folder, header=header, files=files)
