"""A sentence says how its network is trained: `network "@" recipe`, with the words of grammars/recipe.lark."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import lark
import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine, grammar, plugins
from evosearch.architecture import Space
from evosearch.cli import DONE, main
from evosearch.errors import ConfigError
from evosearch.evaluation.evaluators.network import Network
from evosearch.evaluation.job import EvaluationContext, Job, Resources
from evosearch.evaluation.recipe import KEPT, Recipe
from evosearch.report.ancestry import marked_up
from evosearch.space import space_of
from evosearch.store.run import Run
from tests.spaces import GRAMMARS
from tests.test_training import blobs
from tests.watch import Silent

JOINT = """\
// input: vector
start: network "@" recipe -> with_recipe
%import .mlp.network
%import .recipe.recipe
%import common.WS
%ignore WS
"""
BODY = "linear(16);relu"
WORDS = "optimizer=adamw,lr=0.01,weight_decay=0.001,epochs=4,batch=32,schedule=cosine"


def grammar_file(folder: Path) -> Path:
    """The joint grammar of mlp, with what it imports beside it."""
    for name in ("mlp", "recipe"):
        shutil.copy(GRAMMARS / f"{name}.lark", folder)
    (folder / "joint.lark").write_text(JOINT)
    return folder / "joint.lark"


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return space_of(blobs(), grammar.load(grammar_file(tmp_path_factory.mktemp("joint"))))


@cache
def plain() -> Space:
    return space_of(blobs(), grammar.load("mlp"))


def evaluated(space: Space, recipe: Recipe, text: str, **resources: Any) -> Any:
    evaluator = Network(EvaluationContext(space, blobs(), recipe, Resources(**resources)))
    key = space.read(space.parse(text)).key
    return evaluator(Job(0, text, key, seed=7)).score


def test_stock_lark_reads_the_words_by_themselves() -> None:
    """grammars/recipe.lark is an ordinary grammar whose sentences are recipes."""
    stock = lark.Lark((GRAMMARS / "recipe.lark").read_text(), parser="lalr", strict=True)
    stock.parse(f"{WORDS},mixup=0.2")
    language = Space(grammar.load("recipe"), None, None)
    rng = np.random.default_rng(0)
    for _ in range(50):
        text = language.render(language.draw(rng))
        stock.parse(text)
        Recipe().said(dict(word.split("=") for word in text.split(",")))


def test_samples_of_a_joint_grammar_have_recipes(joint: Space) -> None:
    """Each parses back to itself, and what it says is a recipe; numbers from ranges differ."""
    rng = np.random.default_rng(0)
    rates = set()
    for _ in range(50):
        derivation = joint.draw(rng)
        assert joint.parse(joint.render(derivation)) is derivation
        rates.add(Recipe().said(joint.read(derivation).trained_with).lr)
    assert len(rates) > 40
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)


def key(space: Space, text: str) -> str:
    return space.read(space.parse(text)).key


def test_the_recipe_is_part_of_the_key(joint: Space) -> None:
    """Two recipes of one network are two candidates; how a number is written tells none apart; the cost is the same."""
    first = key(joint, f"{BODY}@{WORDS}")
    assert key(joint, f"{BODY}@{WORDS}".replace("0.01,", "1e-2,")) == first
    assert key(joint, f"{BODY}@{WORDS}".replace("0.01,", "0.02,")) != first
    assert key(joint, f"{BODY};relu@{WORDS}") != first
    cost = joint.read(joint.parse(f"{BODY}@{WORDS}")).cost
    assert cost == plain().read(plain().parse(BODY)).cost


def test_every_field_can_be_said_but_how_candidates_are_compared() -> None:
    said = {
        "epochs": "3", "batch": "16", "optimizer": "adamw", "lr": "1e-3", "momentum": "0.8", "nesterov": "true",
        "weight_decay": "0.1", "schedule": "onecycle", "warmup": "0.5", "label_smoothing": "0.1", "clip": "1",
        "precision": "float64", "augment": "crop+flip", "mixup": "0.2", "ema": "0.99", "balanced": "false",
    }  # fmt: skip
    recipe = Recipe().said(said)
    assert (recipe.epochs, recipe.lr, recipe.nesterov, recipe.augment) == (3, 1e-3, True, ("crop", "flip"))
    assert recipe.said({"augment": "none"}).augment == ()
    assert Recipe().said({}) == Recipe()
    for name in KEPT:
        assert name in {field.name for field in fields(Recipe)}
        with pytest.raises(ConfigError, match=f"says {name}=1; it may say epochs, "):
            Recipe().said({name: "1"})


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("lrr", "1", "lrr=1; it may say"),
        ("epochs", "many", "epochs=many; it must be a whole number"),
        ("lr", "fast", "lr=fast; it must be a number"),
        ("optimizer", "adam", "optimizer=adam; it must be sgd or adamw"),
        ("nesterov", "1", "nesterov=1; it must be true or false"),
        ("lr", "0", "it must be above 0 and below inf"),
    ],
)
def test_what_is_no_recipe_is_said(key: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe().said({key: text})


def test_a_candidate_is_trained_as_its_sentence_says(joint: Space) -> None:
    """Bit for bit as the same network by a configuration's recipe, under the same seed."""
    base = Recipe(epochs=2, batch=50, lr=0.5)
    recipe = replace(
        base, optimizer="adamw", lr=0.01, weight_decay=0.001, epochs=4, batch=32, schedule="cosine"
    )  # fmt: skip
    said, given = evaluated(joint, base, f"{BODY}@{WORDS}"), evaluated(plain(), recipe, BODY)
    assert said.status == "ok"
    assert (said.curve, said.metrics) == (given.curve, given.metrics)
    assert said.curve != evaluated(plain(), base, BODY).curve


def test_its_batch_counts_in_the_memory_estimate(joint: Space) -> None:
    """The larger batch is over the limit, the smaller one is not."""
    wide = "linear(256);relu;linear(256);relu"
    small, large = (f"{wide}@{WORDS.replace('batch=32', f'batch={size}')}" for size in (32, 256))
    limit = Network(EvaluationContext(joint, blobs(), Recipe(), Resources()))
    from evosearch import network

    architecture = joint.read(joint.parse(small))
    needed = [
        limit.memory(
            architecture.cost.params, network.working_scalars(architecture), Recipe(batch=size, optimizer="adamw")
        )
        for size in (32, 256)
    ]
    between = sum(needed) // 2
    assert evaluated(joint, Recipe(), small, device_memory=between).status == "ok"
    assert evaluated(joint, Recipe(), large, device_memory=between).status == "over_budget"


def test_a_recipe_that_does_not_hold_together_is_a_candidate_that_failed(joint: Space) -> None:
    """The two mixings exclude each other; a sentence may say one where the configuration has the other."""
    score = evaluated(joint, Recipe(cutmix=1.0), f"{BODY}@{WORDS},mixup=0.2")
    assert score.status == "invalid"
    assert "recipe.mixup and recipe.cutmix" in score.error


def test_the_final_recipe_follows_what_the_sentence_says() -> None:
    """Its words hold in the end too; its epochs are lengthened as those of all candidates are."""
    searched, final = Recipe(epochs=4), Recipe(epochs=12, ema=0.9)
    found = final.lasting(searched, {"epochs": "6", "lr": "0.5"})
    assert (found.epochs, found.lr, found.ema) == (18, 0.5, 0.9)
    assert final.lasting(searched, {}) is final


def test_mutations_change_words_of_the_recipe(joint: Space) -> None:
    """The operator that changes one choice finds them as it finds any other, and nothing is written for it."""
    change = plugins.find().get("mutate", "change_choice")
    rng, parent = np.random.default_rng(0), joint.parse(f"{BODY}@{WORDS}")
    before = joint.read(parent).trained_with
    changed = set()
    for _ in range(60):
        child = change(parent, joint, rng)
        if child is not None:
            after = joint.read(child).trained_with
            changed |= {name for name in before if after[name] != before[name]}
    assert changed == set(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a joint grammar, stopped once and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'x' if a > b * b else 'y'}" for a, b in rng.random((120, 2))]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    small = {
        "grammar": str(grammar_file(folder)), "task": str(folder / "points.csv"), "search.budget": 8,
        "search.population": 4, "search.tournament": 2, "recipe.epochs": 2, "final.epochs": 4,
        "limits.max_params": 20_000, "workers.pool": "inline", "workers.device": "cpu",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOSEARCH_CACHE", str(tmp_path_factory.mktemp("ledger")))
        engine.start(configuration.load(None, small), folder / "run", Silent())
        engine.resume(folder / "run", Silent(), budget=12)
    return folder / "run"


def test_a_run_of_a_joint_grammar_resumes_and_verifies(run: Path) -> None:
    assert engine.verify(run) == []
    texts = [record["text"] for record in Run.open(run).records() if record["kind"] == "proposal"]
    assert len(texts) == 12
    assert all("@optimizer=" in text for text in texts)


def test_the_network_that_is_kept_was_trained_as_it_says(run: Path) -> None:
    """metrics.json holds the recipe of the final training."""
    said = dict(
        word.split("=") for word in (run / "best/architecture.arch").read_text().strip().split("@")[1].split(",")
    )
    recipe = json.loads((run / "best/metrics.json").read_text())["recipe"]
    assert recipe["lr"] == float(said["lr"])
    assert recipe["optimizer"] == said["optimizer"]
    assert recipe["epochs"] == 2 * int(said["epochs"])


def test_why_shows_what_changed_in_the_recipe(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words of a recipe are compared as those of a network are."""
    other = WORDS.replace("lr=0.01", "lr=0.02").replace("adamw", "sgd")
    change = marked_up(f"{BODY}@{WORDS}", f"{BODY}@{other}")
    assert "[-adamw-]{+sgd+}" in change
    assert "lr=0.[-01-]{+02+}" in change
    child = next(record for record in Run.open(run).records() if record.get("parents"))
    assert main(["why", str(run), child["key"], "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["change"]


def test_a_task_that_a_word_is_not_for_refuses_the_grammar(tmp_path: Path) -> None:
    """Before anything is trained: crops are for images."""
    file = grammar_file(tmp_path)
    words = (tmp_path / "recipe.lark").read_text().replace('SCHEDULE: "schedule"', 'SCHEDULE: "augment"')
    (tmp_path / "recipe.lark").write_text(words.replace('"cosine" | "onecycle" | "constant"', '"crop" | "none"'))
    (tmp_path / "points.csv").write_text("a,b,c\n" + "".join(f"{n % 7},{n % 5},{'xy'[n % 2]}\n" for n in range(60)))
    config = configuration.load(None, {"grammar": str(file), "task": str(tmp_path / "points.csv")})
    with pytest.raises(ConfigError, match=r"recipe\.lark:\d+: recipe.augment is for images"):
        engine.prepare(config)


def test_networks_of_one_sentence_are_what_they_are_without_its_recipe(joint: Space) -> None:
    """Segments, source and weights: the words add nothing to the network."""
    from evosearch import network

    said, bare = joint.read(joint.parse(f"{BODY}@{WORDS}")), plain().read(plain().parse(BODY))
    assert network.source(said) == network.source(bare)
    assert len(network.segments(said)) == len(network.segments(bare))
