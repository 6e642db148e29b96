"""Children begin with their parents' weights: what is copied, and which mutations keep the function."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from evosearch import config as configuration
from evosearch import engine, grammar, inherit, network, operators
from evosearch.architecture import Space
from evosearch.cli import main
from evosearch.cost import Cost
from evosearch.engine import compression, lifecycle
from evosearch.engine.lineage import PARENT, Lineages
from evosearch.engine.setup import prepare
from evosearch.errors import OperatorError
from evosearch.evaluation.evaluators import evaluator
from evosearch.evaluation.job import EvaluationContext, Job, Resources
from evosearch.evaluation.lineage import FOLDER, file_of
from evosearch.evaluation.recipe import Recipe
from evosearch.evaluation.rules import built, load_plain, plain_state
from evosearch.layers import vocabulary
from evosearch.report.html import write_report
from evosearch.score import Score
from evosearch.search import Proposal, Search, SearchSettings
from evosearch.search.rungs import PROMOTE
from evosearch.store.run import Run
from evosearch.study import Study
from evosearch.workers import WorkerSettings
from tests.chaos.sessions import child, killed, session
from tests.spaces import SHAPES, headed, space
from tests.test_finishing import points
from tests.watch import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.architecture import Architecture
    from evosearch.grammar.core import Derivation

PRESERVING = ("deepen", "duplicate", "grow")
LARGEST = 1_000_000  # parameters of a parent that is built here
EXACT = 1e-9
BLOCKS = "tdnn(32,3);blocks(res2(32,3,2),res2(32,3,3));"


def weights(architecture: Architecture, seed: int) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A network in float64, as if trained: its norms have statistics."""
    torch.manual_seed(seed)
    made = network.build(architecture).double().eval()
    for module in made.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return made, made.state_dict()


def begun(parent: Architecture, child: Architecture) -> tuple[float, inherit.Inherited]:
    """The largest difference of a child that inherits, on a batch; and what it inherited."""
    old, state = weights(parent, 0)
    new, fresh = weights(child, 1)
    taken = inherit.inherit(parent, state, child, fresh)
    new.load_state_dict(taken.weights)
    x = torch.randn(4, *parent.input, dtype=torch.double)
    with torch.no_grad():
        return float((old(x) - new(x)).abs().max()), taken


def offspring(there: Space, name: str, parents: int) -> list[tuple[Derivation, Derivation]]:
    """(parent, child) of a mutation, of so many parents at the most."""
    mutation, rng = operators.find().get("mutate", name), np.random.default_rng(7)
    found = []
    for _ in range(parents):
        parent = there.draw(rng)
        if there.within(there.read(parent)) or there.read(parent).cost.params > LARGEST:
            continue
        child = mutation(parent, there, rng)
        if child is not None and there.read(child).cost.params <= LARGEST:
            found.append((parent, child))
    return found


@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize(("grammar", "parents"), [("tiny_cnn", 8), ("mlp", 15), ("einspace", 15), ("tables", 8)])
def test_offspring_of_a_preserving_mutation_compute_what_their_parents_do(
    name: str, grammar: str, parents: int
) -> None:
    there = space(grammar, SHAPES[grammar] if len(SHAPES[grammar]) == 1 else (3, 16, 16))
    for parent, made in offspring(there, name, parents):
        assert begun(headed(there.read(parent), 5), headed(there.read(made), 5))[0] < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESERVING)
@pytest.mark.parametrize("grammar", SHAPES)
def test_no_offspring_of_200_parents_of_a_grammar_differs(name: str, grammar: str) -> None:
    shape = (3, 32, 32) if len(SHAPES[grammar]) == 3 else SHAPES[grammar]
    there = space(grammar, shape)
    for parent, made in offspring(there, name, 200):
        assert begun(headed(there.read(parent), 5), headed(there.read(made), 5))[0] < EXACT


def read(text: str, shape: tuple[int, ...] = (3, 8, 8), grammar: str = "tiny_cnn") -> Architecture:
    there = space(grammar, shape)
    return headed(there.read(there.parse(text)), 5)


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("conv(16,3);conv(16,3)", "conv(32,3);conv(16,3)"),  # more channels
        ("conv(16,3);conv(16,3)", "conv(16,5);conv(16,3)"),  # a larger kernel
        ("conv(16,3);maxpool;conv(16,3)", "conv(64,5);maxpool;conv(16,3)"),
        ("conv(16,3)", "conv(32,3)"),  # read by the head
        ("conv(16,3)", "conv(16,3);residual(conv(16,3))"),
        ("conv(16,3);conv(16,3)", "conv(16,3);residual(conv(32,3);conv(16,3));conv(16,3)"),
    ],
)
def test_growth_that_no_layer_sees_keeps_the_function(parent: str, child: str) -> None:
    before, after = read(parent), read(child)
    assert inherit.preserves(before, after)
    assert begun(before, after)[0] < EXACT


@pytest.mark.parametrize("grammar", SHAPES)
def test_a_copy_has_all_weights_of_the_original(grammar: str) -> None:
    """Whatever its layers write: convolutions in place of windows, projections, the operations of a cell."""
    there, rng = space(grammar), np.random.default_rng(3)
    drawn = [one for one in (there.read(there.draw(rng)) for _ in range(6)) if one.cost.params <= LARGEST]
    for sample in drawn[:3]:
        architecture = headed(sample, 5)
        difference, taken = begun(architecture, architecture)
        assert difference == 0
        assert taken.copied == taken.of
    assert drawn or grammar == "ofa_mbv3"  # all of its networks are larger


@pytest.mark.parametrize("block", ["basic(16,1)", "basic(48,2)", "bottleneck(8,1)", "regnet(48,2,16,0.25)"])
def test_the_projection_beside_a_block_passes_its_weights_on(block: str) -> None:
    """It is no part of the block's tree, but what the block writes besides."""
    before = read(f"conv(32,3,1);{block}", (3, 8, 8), "convnets")
    after = read(f"conv(32,3,1);repeat(2,convnext(3));{block}", (3, 8, 8), "convnets")
    difference, taken = begun(before, after)
    assert difference < EXACT
    assert taken.copied >= before.cost.params


@pytest.mark.parametrize(
    ("grammar", "parent", "child"),
    [
        ("sequence", "conv(64,9,2);highway(glu(32))", "conv(64,9,2);res(glu(32));highway(glu(32))"),
        ("tdnn", BLOCKS + "join(96);relu;meanmax;bn;linear(64);bn", BLOCKS + "join(384);relu;meanmax;bn;linear(64);bn"),
    ],
)
def test_a_mutation_of_a_series_keeps_the_function(grammar: str, parent: str, child: str) -> None:
    """A layer that keeps its own module beside its part's; a norm of means and maxima, which are two blocks."""
    before, after = (read(text, SHAPES[grammar], grammar) for text in (parent, child))
    assert inherit.preserves(before, after)
    assert begun(before, after)[0] < EXACT


def test_places_in_a_tensor_do_not_pass_to_one_of_another_size() -> None:
    text = "patches(16,2);ln;swin(2,{},2);merge;pooled(2,2)"
    before, after = (read(text.format(window), (3, 56, 56), "hybrid") for window in (7, 4))
    assert begun(before, after)[1].copied


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("bins(8);kan(32,5,3)", "bins(16);kan(32,5,3)"),
        ("plain;kan(32,3,3)", "plain;kan(32,5,3)"),
        ("plain;kan(32,5,3)", "plain;kan(32,5,2)"),
        ("plain;kan(32,5,2)", "plain;kan(32,3,3)"),  # of one size
        ("plain;rbf(32,4)", "plain;rbf(32,8)"),
        ("plain;kan(32,5,3)", "plain;kan(64,5,3)"),
    ],
)
def test_what_a_layer_computes_is_its_own(parent: str, child: str) -> None:
    before, after = read(parent, (6,), "tabular"), read(child, (6,), "tabular")
    module, fresh = weights(after, 1)
    taken = begun(before, after)[1]
    made = dict(module.named_buffers())
    assert made
    assert taken.copied
    for name in made:
        assert torch.equal(taken.weights[name], fresh[name]), name


def test_a_projection_that_nobody_trains_passes_on_as_weights_do() -> None:
    before, after = (read(f"lift({width});dense(16,relu,0.1)", (6,), "tabular") for width in (128, 256))
    assert inherit.preserves(before, after)
    assert begun(before, after)[0] < EXACT


def test_what_several_layers_share_belongs_to_none_of_them(tmp_path: Path) -> None:
    """The share of training that is done, once for all norms that ask for it: also where another one comes first."""
    file = tmp_path / "norms.lark"
    file.write_text(
        "// input: vector\n"
        'start: step (";" step)* -> chain\n'
        '?step: "linear" "(" WIDTH ")" -> linear | "prepbn" -> prepbn | "res" "(" start ")" -> residual\n'
        'WIDTH: "8" | "16"\n'
    )
    own = grammar.load(file)
    there = Space(own, vocabulary(own), (8,))
    texts = ("linear(16);prepbn;linear(16)", "linear(16);res(prepbn;linear(16));prepbn;linear(16)")
    before, after = (headed(there.read(there.parse(text)), 5) for text in texts)
    assert inherit.preserves(before, after)
    assert begun(before, after)[0] < EXACT


def test_a_linear_layer_of_windows_passes_its_weights_on_where_it_is_a_convolution() -> None:
    """im2col, linear, col2im is built as one module; with a residual more it is not."""
    alone = read("route(im2col3s1,linear(256),col2im)", (3, 8, 8), "einspace")
    body = "seq(linear(256),branch(clone2,seq(identity,norm),identity,add))"
    deeper = read(f"route(im2col3s1,{body},col2im)", (3, 8, 8), "einspace")
    assert inherit.preserves(alone, deeper)
    difference, taken = begun(alone, deeper)
    assert difference < EXACT
    assert taken.copied == alone.cost.params
    _, taken = begun(deeper, alone)
    assert taken.copied == alone.cost.params


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("conv(64,1);residual(conv(16,3);conv(64,3))", "conv(64,1);residual(conv(64,3);conv(64,3))"),
        ("conv(32,3);residual(conv(16,1);conv(32,5))", "conv(32,3);residual(conv(32,5);conv(32,5))"),
        ("conv(16,3);conv(32,3)", "conv(32,3);conv(32,3)"),
    ],
)
def test_what_becomes_like_its_neighbour_is_said_to_keep_the_function_only_where_it_does(
    parent: str, child: str
) -> None:
    """The alignment may take it for the neighbour."""
    before, after = read(parent), read(child)
    assert not inherit.preserves(before, after) or begun(before, after)[0] < EXACT


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ("conv(16,3);conv(16,3)", "conv(16,3);conv(32,3);conv(16,3)"),  # a layer more, and no residual
        ("conv(32,3);conv(16,3)", "conv(16,3);conv(16,3)"),  # fewer channels
        ("conv(16,3);maxpool", "conv(16,3);avgpool"),
        ("conv(16,3);maxpool", "conv(16,3)"),
    ],
)
def test_other_changes_are_not_said_to_keep_it(parent: str, child: str) -> None:
    before, after = read(parent), read(child)
    assert not inherit.preserves(before, after)
    assert begun(before, after)[0] > EXACT


def test_widening_before_a_layer_norm_is_refused() -> None:
    """Its statistics would see the new features."""
    before, after = (read(f"linear({width});norm;linear(16)", (8,), "mlp") for width in (16, 32))
    assert not inherit.preserves(before, after)


def test_the_same_network_inherits_everything() -> None:
    one = read("conv(16,3);residual(conv(16,3));maxpool")
    difference, taken = begun(one, one)
    assert difference == 0
    assert taken.copied == taken.of


def test_layers_behind_a_new_one_are_found_again() -> None:
    """A layer put in front shifts all names; the weights follow the layers."""
    before, after = read("conv(16,3);maxpool;conv(32,3)"), read("conv(16,3);maxpool;conv(16,1);conv(32,3)")
    _, state = weights(before, 0)
    _, fresh = weights(after, 1)
    taken = inherit.inherit(before, state, after, fresh)
    shared = {str(value.tolist()) for value in state.values()}
    assert sum(str(value.tolist()) in shared for value in taken.weights.values()) >= len(state)


def test_a_larger_kernel_has_the_old_one_in_its_centre() -> None:
    before, after = read("conv(16,3)"), read("conv(16,5)")
    _, state = weights(before, 0)
    _, fresh = weights(after, 1)
    taken = inherit.inherit(before, state, after, fresh).weights
    (name,) = [name for name, value in taken.items() if value.dim() == 4]
    (old,) = [value for value in state.values() if value.dim() == 4]
    assert torch.equal(taken[name][:, :, 1:-1, 1:-1], old)
    assert float(taken[name].abs().sum()) == pytest.approx(float(old.abs().sum()))


def test_a_narrower_layer_keeps_its_largest_channels() -> None:
    """The same as the parent with its small channels cut off, when those are zero."""
    before, after = read("conv(32,3);maxpool;conv(16,3)"), read("conv(16,3);maxpool;conv(16,3)")
    old, state = weights(before, 0)
    small = torch.randperm(32)[:16]
    for name, value in state.items():  # the first layer's: zero, also behind its norm
        if value.shape[:1] == (32,):
            value[small] = 1 if name.endswith("running_var") else 0
    new, fresh = weights(after, 1)
    new.load_state_dict(inherit.inherit(before, state, after, fresh).weights)
    x = torch.randn(4, *before.input, dtype=torch.double)
    with torch.no_grad():
        assert float((old(x) - new(x)).abs().max()) < EXACT


# --- runs -----------------------------------------------------------------------------------------------------------


def settings(budget: int = 10, workers: Mapping[str, object] | None = None) -> configuration.Config:
    return configuration.load(None, {
        "task": "digits", "grammar": "tiny_cnn", "seeds": [], "search.budget": budget,
        "search.population": 4, "search.lookahead": 2, "search.hall_of_fame": 3, "recipe.epochs": 2,
        "recipe.inherit": "parent", "final.epochs": 1, "limits.max_params": 20_000, "limits.max_flops": 1_500_000,
        **(workers or {}),
    })  # fmt: skip


def journal(folder: Path) -> list[object]:
    """What a run's journal says, times aside, in the order of numbers."""
    found: list[object] = []
    for record in Run.open(folder).records():
        if record["kind"] == "proposal":
            found.append(("proposal", record["number"], record["text"], record.get(PARENT)))
        elif record["kind"] == "score":
            score = Score.unpack(record)
            found.append(("score", record["number"], score.status, score.curve, score.seed, str(score.metrics)))
    return sorted(found, key=repr)


def test_a_candidate_begins_with_the_weights_of_the_one_it_was_made_from(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    engine.start(settings(10, {"workers.pool": "inline"}), folder, Silent())
    records = list(Run.open(folder).records())
    proposals = {r["number"]: r for r in records if r["kind"] == "proposal"}
    scores = {r["number"]: Score.unpack(r) for r in records if r["kind"] == "score"}
    children = [number for number, record in proposals.items() if PARENT in record]
    assert children
    for number in children:
        parent = proposals[number][PARENT]
        assert parent == proposals[number]["parents"][0]
        metrics = scores[number].metrics
        assert metrics["epochs"] == 1
        assert metrics["lineage_epochs"] == scores[parent].metrics["lineage_epochs"] + 1
        assert 0 <= metrics["inherited"] <= 1
    there = {int(file.stem) for file in (folder / FOLDER).iterdir()}
    assert there < set(scores)
    assert len(there) <= 4 + 3 + 2 + 2  # population, hall of fame, window, and parents that left meanwhile
    evaluated_again(folder, [n for n in children if proposals[n][PARENT] in there], proposals, scores)


def test_what_is_kept_of_a_run_is_told_of_a_candidate_and_on_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    engine.start(rows(tmp_path, 8, "parent"), folder, Silent())
    child = next(record for record in Run.open(folder).records() if PARENT in record)
    assert main(["why", str(folder), child["key"]]) == 0
    assert "% copied; at first its outputs were at most" in capsys.readouterr().out
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "Weights passed on" in page


def rows(folder: Path, budget: int, inherit: str, **more: object) -> configuration.Config:
    """A run on a table of points that takes milliseconds a candidate."""
    return configuration.load(None, {
        "task": str(points(folder)), "grammar": "mlp", "search.budget": budget, "search.population": 4,
        "search.lookahead": 2, "recipe.epochs": 4, "recipe.batch": 64, "recipe.optimizer": "adamw", "recipe.lr": 0.01,
        "recipe.inherit": inherit, "final.epochs": 1, "ensemble.members": 1, "workers.pool": "inline",
        "limits.max_params": 5_000, **{name.replace("__", "."): value for name, value in more.items()},
    })  # fmt: skip


@pytest.mark.parametrize("inherit", ["self", "parent"])
def test_who_is_promoted_goes_on_with_its_own_weights(inherit: str, tmp_path: Path) -> None:
    """For the epochs that it lacks at its new rung, with all of its weights; unless it waited for long: then anew."""
    folder = tmp_path / "run"
    config = rungs(tmp_path, inherit, 26)
    engine.start(config, folder, Silent())
    assert engine.verify(folder) == []
    records = list(Run.open(folder).records())
    proposals = {r["number"]: r for r in records if r["kind"] == "proposal"}
    scores = {r["number"]: Score.unpack(r) for r in records if r["kind"] == "score" if r["status"] == "ok"}
    own: dict[int, float] = {}  # epochs that a network itself had
    promoted, children, anew = 0, 0, 0
    for number, score in sorted(scores.items()):
        proposal, metrics = proposals[number], score.metrics
        parent, share = proposal.get(PARENT), proposal.get("fidelity", 1.0)
        if parent is None:
            assert metrics["epochs"] == metrics["lineage_epochs"] == 4 * share
            own[number] = metrics["epochs"]
            anew += proposal["operator"] == PROMOTE
            continue
        assert metrics["lineage_epochs"] == scores[parent].metrics["lineage_epochs"] + metrics["epochs"]
        if proposal["operator"] != PROMOTE:
            assert (metrics["epochs"], share) == (1, 0.5)
            own[number] = 1
            children += 1
            continue
        assert (metrics["inherited"], metrics["inherited_difference"]) == (1, 0)
        own[number] = own[parent] + metrics["epochs"]
        assert own[number] == (4 if PARENT not in proposals[parent] else 2)
        promoted += 1
        assert number - parent <= 4
    assert promoted > 5
    assert (children > 3) == (inherit == "parent")
    assert anew < promoted


def rungs(folder: Path, inherit: str, budget: int) -> configuration.Config:
    return rows(folder, budget, inherit, search__rungs=[0.5], search__eta=2, recipe__inherit_epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("inherit", ["self", "parent"])
def test_rungs_that_go_on_are_the_same_with_more_workers(inherit: str, tmp_path: Path) -> None:
    config = rungs(tmp_path, inherit, 40)
    engine.start(config, tmp_path / "one", Silent())
    workers = WorkerSettings(workers=3, device="cpu")
    engine.start(config.model_copy(update={"workers": workers}), tmp_path / "three", Silent())
    assert journal(tmp_path / "three") == journal(tmp_path / "one")


@pytest.mark.parametrize(
    ("budget", "population"), [(50, 8), pytest.param(1000, 20, marks=pytest.mark.slow)], ids=["quick", "slow"]
)
def test_weights_of_a_run_take_no_more_than_twice_its_population_s(
    budget: int, population: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever those that nobody needs were removed: of 1,000 candidates under 40 are left with a population of 20."""
    folder = tmp_path / "run"
    left: list[int] = []
    written: set[str] = set()
    collect = Lineages.collect

    def watched(self: Lineages, search: Search) -> None:
        written.update(file.name for file in (folder / FOLDER).iterdir())
        collect(self, search)
        left.append(len(list((folder / FOLDER).iterdir())))

    monkeypatch.setattr(Lineages, "collect", watched)
    more = {"recipe__epochs": 1, "recipe__inherit_epochs": 1, "search__hall_of_fame": population // 2}
    lookahead = 8 if population > 8 else 2
    more |= {"search__population": population, "search__lookahead": lookahead}
    engine.start(rows(tmp_path, budget, "parent", **more), folder, Silent())
    assert len(written) > budget * 0.8
    assert max(left) <= population + population // 2 + lookahead < 2 * population


def test_segments_with_losses_of_their_own_begin_with_a_parent_s_weights() -> None:
    """Mono-Forward's names are not the plain network's: a child of equal layers computes what the parent does."""
    one = read("linear(16);relu;linear(32);relu", (8,), "mlp")
    _, state = weights(one, 0)
    made = built(one, Recipe(rule="mono_forward")).double().eval()
    taken = inherit.inherit(one, state, one, plain_state(made))
    load_plain(made, taken.weights)
    assert taken.copied == taken.of
    x = torch.randn(4, 8, dtype=torch.double)
    plain, _ = weights(one, 0)
    with torch.no_grad():
        assert torch.equal(made(x), plain(x))


@pytest.mark.parametrize("rule", ["mono_forward", "distillation"])
def test_rules_learn_from_and_with_a_parent_s_weights(rule: str, tmp_path: Path) -> None:
    """A run of each; with distillation its children learn what their parents answer, which changes what they become."""
    config = rows(tmp_path, 10, "parent", recipe__rule=rule, recipe__teacher="parent" if rule == "distillation" else "")
    engine.start(config, tmp_path / "run", Silent())
    records = list(Run.open(tmp_path / "run").records())
    children = {record["number"] for record in records if PARENT in record}
    assert children
    assert {r["status"] for r in records if r["kind"] == "score" and r["number"] in children} == {"ok"}


def evaluated_again(
    folder: Path, numbers: list[int], proposals: dict[int, dict[str, object]], scores: dict[int, Score]
) -> None:
    """The same parent, the same seed: the same score."""
    setup = prepare(settings())
    context = EvaluationContext(setup.space, setup.task, setup.config.recipe, Resources())
    one = evaluator(context)
    one.prepare(folder)
    for number in numbers[:2]:
        parent = proposals[number][PARENT]
        assert isinstance(parent, int)
        job = Job(
            10**6, str(proposals[number]["text"]), scores[number].key, scores[number].seed,
            parent=(parent, str(proposals[parent]["text"])),
        )  # fmt: skip
        assert one(job).score.curve == scores[number].curve


def test_what_a_whole_training_takes_is_told_from_a_short_one(tmp_path: Path) -> None:
    """A candidate that begins with weights is trained for half of the epochs here; the final training is not."""
    setup = prepare(settings(12, {"time": "10m", "workers.pool": "inline"}))
    children = 0
    with lifecycle.begun(setup, tmp_path / "run", Silent()) as session:
        for _ in range(12):
            proposal = session.ask()
            assert proposal is not None
            assert session.lineages is not None
            child = session.lineages.inherits(proposal.number)
            children += child
            metrics = {"epochs": 1.0 if child else 2.0, "lineage_epochs": 2.0}
            took = 1.0 if child else 2.0
            score = Score(proposal.key, "ok", {"accuracy": 0.5}, metrics, seconds=took, seed=proposal.seed)
            session.tell(proposal.number, score)
        assert children
        assert set(session.durations.seconds.values()) == {2.0}
        session.close()
    with lifecycle.reopened(tmp_path / "run", Silent()) as again:
        assert again.durations.seconds == session.durations.seconds
        again.close()


def points_study(folder: Path, name: str) -> Study:
    """A study of `rows`, whose candidates are asked for one at a time."""
    made: dict[str, Any] = {
        "search": {"budget": 20, "population": 4, "lookahead": 0}, "limits": {"max_params": 5_000},
        "recipe": {"epochs": 4, "batch": 64, "optimizer": "adamw", "lr": 0.01, "inherit": "parent"},
        "workers": {"pool": "inline", "device": "cpu"},
    }  # fmt: skip
    return Study(folder=folder / name, task=str(points(folder)), grammar="mlp", **made)


def asked(study: Study, count: int, told: Mapping[int, float]) -> None:
    """So many candidates more: those that are named are told a score, the others are evaluated as the run does it."""
    for _ in range(count):
        trial = study.ask()
        assert trial is not None
        if trial.number in told:
            study.tell(trial, told[trial.number])
        else:
            study.evaluate(trial)


def test_a_child_of_one_that_was_told_its_score_begins_from_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no weights to begin with; the next one that has some passes them on. `why` and the page say it, and a
    study that is closed and resumed between any two candidates is the same.
    """
    told = {0: 0.99, 1: 0.98, 2: 0.97, 3: 0.2}
    whole = points_study(tmp_path, "whole")
    asked(whole, 14, told)
    whole.close()
    records = list(Run.open(whole.folder).records())
    proposals = {r["number"]: r for r in records if r["kind"] == "proposal"}
    scores = {r["number"]: Score.unpack(r) for r in records if r["kind"] == "score"}
    assert {score.status for score in scores.values()} == {"ok"}
    first = {number: one["parents"][0] for number, one in proposals.items() if one["parents"]}
    anew = [number for number, parent in first.items() if parent in told]
    assert anew
    assert not any(PARENT in proposals[number] for number in anew)
    for number in anew:
        assert scores[number].metrics["epochs"] == scores[number].metrics["lineage_epochs"] == 4
        assert "inherited" not in scores[number].metrics
    assert any(PARENT in proposals[number] for number in set(first) - set(anew))
    for number, said in ((0, "none: it was told its score"), (anew[0], "was told its score and left none")):
        assert main(["why", str(whole.folder), proposals[number]["key"]]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
    page = write_report(whole.folder).read_text()
    assert f"{len(anew)} began from nothing" in page

    study = points_study(tmp_path, "again")
    for _ in range(7):
        asked(study, 2, told)
        study.close()
        study = Study.resume(study.folder)
    assert journal(study.folder) == journal(whole.folder)


def test_what_is_known_of_lines_does_not_grow_with_a_run(tmp_path: Path) -> None:
    """Members are those of population, hall of fame and window, and the parents of what has no score yet: of 150
    candidates, and of a process that resumes.
    """
    config = rows(tmp_path, 400, "parent", search__hall_of_fame=3)
    most = 4 + 3 + 2 * (2 + 1)
    with lifecycle.begun(prepare(config), tmp_path / "run", Silent()) as session:
        children = 0
        for _ in range(150):
            proposal = session.ask()
            assert proposal is not None
            assert session.lineages is not None
            children += session.lineages.inherits(proposal.number)
            session.tell(proposal.number, made_up(proposal))
            assert len(session.lineages.members) <= most
        assert children > 100
        held = set(session.lineages.members)  # type: ignore[union-attr]
        session.close()
    with lifecycle.reopened(tmp_path / "run", Silent()) as again:
        assert set(again.lineages.members) == held  # type: ignore[union-attr]
        again.close()


STRATEGY = '''
from dataclasses import dataclass

from evosearch.search.proposal import Candidate


class {name}:
    """Children of whoever is in its population."""

    @dataclass(frozen=True)
    class Settings:
        """None."""

    needs_history = False

    def __init__(self, settings, context):
        self.context, self.all = context, []

    @property
    def population(self):
        return {population}

    @property
    def winner(self):
        return {winner}

    def candidates(self, history, rng):
        while True:
            space, parent = self.context.space, self.all[-1].derivation if self.all else None
            child = self.context.mutations["redraw"](parent, space, rng) if parent else None
            yield Candidate(child or space.draw(rng), "redraw", tuple(self.population[-1:]))

    def fold(self, evaluated):
        self.all += [one for one in (evaluated.individual,) if one is not None]

    def pack(self):
        return {{"all": [one.pack() for one in self.all]}}

    def unpack(self, data):
        self.all = [self.context.individual(one) for one in data["all"]]
'''


def strategy(folder: Path, name: str, population: str, winner: str) -> dict[str, object]:
    """The settings of a run with a strategy of one's own; what its population and its winner are, as code."""
    (folder / "own/strategy").mkdir(parents=True)
    said = STRATEGY.format(name=name.title(), population=population, winner=winner)
    (folder / f"own/strategy/{name}.py").write_text(f'"""Its own."""\n{said}')
    return {"operators": [str(folder / "own")], "search__strategy": name, "search__hall_of_fame": 1}


def test_who_left_a_population_is_no_parent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are gone: which says so, and what a strategy has to do."""
    monkeypatch.setattr("evosearch.engine.session.SYNC", 0.0)
    more = strategy(tmp_path, "turns", "self.all[:1] if len(self.all) > 9 else self.all[-2:]", "None")
    with pytest.raises(OperatorError, match="had left the strategy's `population`"):
        engine.start(rows(tmp_path, 30, "parent", **more), tmp_path / "run", Silent())


def test_a_winner_s_weights_are_kept_though_it_is_in_no_population(tmp_path: Path) -> None:
    worst = "min(self.all, key=lambda one: one.values, default=None)"
    more = strategy(tmp_path, "worst", "()", worst)
    engine.start(rows(tmp_path, 12, "parent", **more), tmp_path / "run", Silent())
    assert (tmp_path / "run/best/weights.safetensors").is_file()


def made_up(proposal: Proposal) -> Score:
    value = int(proposal.key[:6], 16) / 2**24
    return Score(proposal.key, "ok", {"accuracy": value}, {"lineage_epochs": 4.0}, seed=proposal.seed)


def test_weights_pass_on_in_doubles(tmp_path: Path) -> None:
    setup = prepare(settings())
    recipe = dataclasses.replace(setup.config.recipe, precision="float64", epochs=1)
    one = evaluator(EvaluationContext(setup.space, setup.task, recipe, Resources()))
    one.prepare(tmp_path)
    parent, child = "conv(16,3)", "conv(32,3)"
    assert one(Job(0, parent, "0" * 32)).score.status == "ok"
    score = one(Job(1, child, "1" * 32, parent=(0, parent))).score
    assert score.status == "ok", score.error
    assert score.metrics["inherited"] > 0


def test_weights_of_the_latest_stay_where_there_are_rungs(tmp_path: Path) -> None:
    """Also before the first proposal of a process: a resumed run collects what is not needed as the one before it."""
    there = Space(grammar.loads('// input: none\nstart: bit bit bit bit\nbit: "0" | "1"\n'), None, None)
    search = Search(there, SearchSettings(strategy="random", population=3, rungs=(0.5,), lookahead=0), operators.find())
    (tmp_path / FOLDER).mkdir()
    for number in range(6):
        assert search.ask() is not None
        search.tell(number, None)
        (tmp_path / FOLDER / f"{number}.safetensors").touch()
    Lineages(tmp_path).collect(search)
    assert {int(file.stem) for file in (tmp_path / FOLDER).iterdir()} == {3, 4, 5}


def test_a_repeat_begins_from_nothing(tmp_path: Path) -> None:
    """Its folds are others: the parent has seen what it would be judged on."""
    lineages = Lineages(tmp_path, held=frozenset({0}))
    there = space("tiny_cnn")
    derivation = there.draw(np.random.default_rng(0))
    one = Proposal(0, derivation, "0" * 32, there.render(derivation), (), "sample", 0)
    lineages.propose(one)
    assert lineages.propose(dataclasses.replace(one, number=1, parents=(0,))) == {PARENT: 0}
    assert lineages.propose(dataclasses.replace(one, number=2, parents=(0,), repeat=1)) == {}


def test_without_the_weights_of_its_parent_a_candidate_says_so(tmp_path: Path) -> None:
    from evosearch.workers.records import contained

    setup = prepare(settings())
    one = evaluator(EvaluationContext(setup.space, setup.task, setup.config.recipe, Resources()))
    one.prepare(tmp_path)
    score, _ = contained(one, Job(3, "conv(16,3)", "0" * 32, parent=(1, "conv(16,3)")))
    assert score.status == "crashed"
    assert "1.safetensors" in score.error


def test_a_network_of_any_run_may_be_made_smaller() -> None:
    """What the run's search had that does not go with this one is left behind; what it trained by stays."""
    made = configuration.load(None, {
        "task": "digits", "grammar": "tiny_cnn", "search.rungs": [0.5], "search.grow": True, "recipe.epochs": 2,
        "search.strategy": "random", "search.replacement": True, "workers.executor": "somewhere:else",
        "learn_from": ["another"], "evaluator": "mine", "recipe.lr": 0.02,
    })  # fmt: skip
    found = compression.compressing(made, "accuracy", 1000)
    assert (found.recipe.lr, found.search.population) == (0.02, compression.POPULATION)
    assert compression.compressing(made, "accuracy", 1000, population=30).search.population == 30
    assert prepare(found).search().strategy.population == []


def test_the_smallest_is_held_against_the_best_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children have had the epochs of their parents too, so a large one that was trained on is the measure."""
    figures = [(900, 0.88), (800, 0.91), (90, 0.902), (20, 0.89), (10, 0.905)]  # parameters and accuracy
    records: list[dict[str, object]] = []
    for number, (params, accuracy) in enumerate(figures):
        score = Score(f"{number}", "ok", {"accuracy": accuracy}, cost=Cost(params, 1, 1, 1))
        records += [
            {"kind": "proposal", "number": number, "text": f"text {number}"},
            {"kind": "score", "number": number, **score.pack()},
        ]
    run = SimpleNamespace(records=lambda: records, header={"objectives": ["accuracy", "-params"]})
    monkeypatch.setattr(Run, "open", lambda _: run)
    for number in range(4):  # the last one's weights were not kept
        file = file_of(tmp_path, number)
        file.parent.mkdir(exist_ok=True)
        file.touch()
    texts = {lost: compression.smallest(tmp_path, lost).text for lost in (0.0, 0.01, 0.025)}
    assert texts == {0.0: "text 1", 0.01: "text 2", 0.025: "text 3"}
    found = compression.smallest(tmp_path, 0.01)
    assert (found.params, found.value, found.teacher_params) == (90, 0.902, 900)
    assert (found.teacher_value, found.best) == (0.88, 0.91)


@pytest.mark.slow
def test_a_network_is_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = "--grammar tiny_cnn --task digits --epochs 2 --budget 16 --lost 0.1 --name less --set final.epochs=2"
    flags += " --set recipe.batch=64 --set final.batch=64"
    assert main(["compress", "conv(32,3);conv(32,3);maxpool;residual(conv(32,3))", *flags.split()]) == 0
    said = capsys.readouterr().out
    searched, _, both = said.partition("The large network and the small one:")
    assert "The search's best network, whatever its size, trained from nothing:\n\ntest accuracy" in searched
    assert "small from nothing" in both
    less = json.loads((tmp_path / "runs/less/small/metrics.json").read_text())
    assert less["architecture"] in said
    run = Run.open(tmp_path / "runs/less")
    params = {record["cost"]["params"] for record in run.records() if record["kind"] == "score"}
    assert len(params) > 3
    assert read(less["architecture"], (1, 8, 8)).cost.params < max(params)


@pytest.mark.slow
def test_a_run_that_is_killed_or_has_more_workers_ends_with_the_same_weights(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    session(settings(24), plain)
    workers = tmp_path / "workers"
    session(settings(24, {"workers.workers": 4}), workers)
    rng = np.random.default_rng(1)
    broken, acknowledged = tmp_path / "broken", tmp_path / "acknowledged"
    for _ in range(4):
        pid = child(lambda _, folder, file: session(settings(24), folder, file), 0, broken, acknowledged)
        killed(pid, acknowledged, int(rng.integers(1, 5)), float(rng.random()))
    session(settings(24), broken)
    for other in (workers, broken):
        assert journal(other) == journal(plain)
        files = sorted(file.name for file in (plain / FOLDER).iterdir())
        assert sorted(file.name for file in (other / FOLDER).iterdir()) == files
        assert all((other / FOLDER / name).read_bytes() == (plain / FOLDER / name).read_bytes() for name in files)
