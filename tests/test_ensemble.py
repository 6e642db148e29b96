"""Ensembles: chosen as by brute force, answering the mean of their members' answers, one module in every format."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

from evosearch import network
from evosearch.cost import Cost
from evosearch.ensemble import Averaging, Ensemble, select
from evosearch.formats import FORMATS, Original, export
from evosearch.tasks.kinds import BUNDLED
from tests.spaces import headed, samples
from tests.test_export import as_trained, task_of

Array = np.ndarray[Any, np.dtype[Any]]

CLASSES, NUMBERS = BUNDLED["classification"].averaging, BUNDLED["regression"].averaging


def softmax(out: Array) -> Array:
    powers = np.exp(out - out.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def worth_of(y: Array) -> Any:
    """The negative mean squared error: a mean of several can be better than each."""
    return lambda out: -float(((out[:, 0] - y) ** 2).mean())


# --- chosen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_each_step_of_the_selection_is_the_best_one(seed: int) -> None:
    """Against the definition, written by enumeration: of all ways to add one network, the best; of all sizes too."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(30)
    outputs = [(y + rng.standard_normal(30) * rng.uniform(0.5, 2))[:, None] for _ in range(5)]
    worth = worth_of(y)
    chosen: tuple[int, ...] = ()
    on_the_way = []
    for _ in range(6):
        options = [(*chosen, number) for number in range(5)]
        chosen = max(options, key=lambda option: worth(np.mean([outputs[n] for n in option], axis=0)))
        on_the_way.append((worth(np.mean([outputs[n] for n in chosen], axis=0)), chosen))
    best = max(on_the_way, key=lambda pair: pair[0])[1]
    assert select(outputs, NUMBERS, worth, rounds=6) == tuple(best.count(n) / len(best) for n in range(5))


@pytest.mark.parametrize("seed", range(10))
def test_two_steps_are_at_most_the_best_of_all_pairs_and_at_least_the_best_single(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(40)
    outputs = [(y + rng.standard_normal(40))[:, None] for _ in range(6)]
    worth = worth_of(y)
    weights = select(outputs, NUMBERS, worth, rounds=2)
    found = worth(sum(w * out for w, out in zip(weights, outputs, strict=True)))
    pairs = [worth((a + b) / 2) for a, b in itertools.combinations_with_replacement(outputs, 2)]
    assert max(map(worth, outputs)) <= found <= max(pairs) + 1e-12
    assert sum(weights) == pytest.approx(1)


def test_the_first_of_equal_networks_is_taken_alone() -> None:
    out = np.ones((4, 2), np.float32)
    assert select([out, out, out], CLASSES, lambda _: 1.0) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="no networks"):
        select([], CLASSES, lambda _: 1.0)


def test_what_an_ensemble_begins_with_stays_in_it() -> None:
    """Where nothing makes it better, alone; else with what does."""
    y = np.arange(8.0)
    good, worse, opposite = ((y + error)[:, None] for error in (0.0, 1.0, -1.0))
    assert select([worse, opposite], NUMBERS, worth_of(y), start=[0]) == (0.5, 0.5)
    assert select([good, good], NUMBERS, worth_of(y), start=[0, 1]) == (0.5, 0.5)
    assert select([good, worse], NUMBERS, worth_of(y), start=[0, 1], rounds=2) == (0.5, 0.5)


# --- answering ------------------------------------------------------------------------------------------------------


def ensemble_of(grammar: str, averaging: Averaging, count: int = 2) -> tuple[Ensemble, torch.nn.Module]:
    """Two architectures, the first one twice, with weights as a training would leave them."""
    members = [headed(architecture, 3) for architecture in samples(grammar, count)]
    ensemble = Ensemble((members[0], members[1], members[0]), (0.5, 0.3, 0.2), averaging)
    return ensemble, as_trained(network.build(ensemble)).eval()


@pytest.mark.parametrize("averaging", [CLASSES, NUMBERS])
def test_an_ensemble_answers_the_mean_of_its_members_answers(averaging: Averaging) -> None:
    ensemble, module = ensemble_of("tiny_cnn", averaging)
    x = torch.randn(7, *ensemble.input)
    with torch.no_grad():
        answer = module(x).numpy()
        each = []
        for number, member in enumerate(ensemble.members):
            alone = network.build(member)
            prefix = f"members.{number}."
            state = module.state_dict()
            alone.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
            each.append(alone.eval()(x).numpy())
    if averaging is NUMBERS:
        np.testing.assert_allclose(answer, np.average(each, axis=0, weights=ensemble.weights), atol=1e-5)
    else:
        mean = np.average([softmax(out) for out in each], axis=0, weights=ensemble.weights)
        np.testing.assert_allclose(softmax(answer), mean, atol=1e-6)
    weighted = [w * averaging.to_average(out) for w, out in zip(ensemble.weights, each, strict=True)]
    expected = averaging.to_outputs(np.sum(weighted, axis=0))
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_probability_of_zero_is_a_finite_output() -> None:
    out = np.array([[0.0, 1000.0]], np.float32)
    assert np.isfinite(CLASSES.to_outputs(CLASSES.to_average(out))).all()


@pytest.mark.parametrize("averaging", [CLASSES, NUMBERS])
@pytest.mark.parametrize("count", [1, 2])
def test_with_mirror_images_it_answers_the_mean_over_both(averaging: Averaging, count: int) -> None:
    """And mirrored examples have the same answer; training evaluates by the same mean."""
    plain, module = ensemble_of("tiny_cnn", averaging, 2)
    ensemble = Ensemble(plain.members[:count], (1.0,) if count == 1 else (0.6, 0.4), averaging, mirrored=True)
    both = network.build(ensemble)
    both.load_state_dict({k: v for k, v in module.state_dict().items() if int(k.split(".")[1]) < count})
    one_way = network.build(replace(ensemble, mirrored=False))
    one_way.load_state_dict(both.state_dict())
    x = torch.randn(7, *ensemble.input)
    with torch.no_grad():
        answer = both.eval()(x)
        expected = averaging.mean([one_way.eval()(x), one_way(x.flip(3))])
        torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(answer, both(x.flip(3)), atol=1e-5, rtol=1e-5)
    assert ensemble.cost.flops == 2 * one_way_cost(ensemble).flops
    assert ensemble.cost.params == one_way_cost(ensemble).params


def one_way_cost(ensemble: Ensemble) -> Cost:
    return replace(ensemble, mirrored=False).cost


def test_its_cost_is_its_members_together() -> None:
    ensemble, module = ensemble_of("tiny_cnn", CLASSES)
    assert ensemble.cost.params == sum(p.numel() for p in module.parameters())
    assert ensemble.text == ensemble.members[0].text


def test_weights_are_one_for_each_member() -> None:
    (member,) = samples("tiny_cnn", 1)
    for weights in ((), (0.0,), (0.5, 0.5)):
        with pytest.raises(ValueError, match="each has one"):
            Ensemble((member,), weights, NUMBERS)


@pytest.mark.parametrize("format", [name for name in FORMATS if not name.startswith("onnx")])
def test_every_format_holds_the_whole_ensemble(format: str, tmp_path: Path) -> None:
    """`export` compares what is loaded again with the module; here its weights besides."""
    ensemble, module = ensemble_of("tiny_cnn", CLASSES)
    original = Original(ensemble, module, task_of(ensemble.input, 3))
    exported = export(original, format, tmp_path / f"a{FORMATS[format].suffix}")
    assert exported.difference < 1e-5
    if format == "safetensors":
        assert load(exported.path.read_bytes()).keys() == module.state_dict().keys()


@pytest.mark.slow
def test_onnx_holds_the_whole_ensemble(tmp_path: Path) -> None:
    ensemble, module = ensemble_of("tiny_cnn", CLASSES)
    original = Original(ensemble, module, task_of(ensemble.input, 3))
    assert export(original, "onnx", tmp_path / "a.onnx").difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [CLASSES, NUMBERS])
def test_onnx_answers_as_the_ensemble_does(averaging: Averaging, tmp_path: Path) -> None:
    """Run by onnxruntime, beside the module: with mirror images, and any number of examples."""
    runtime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    ensemble, _ = ensemble_of("tiny_cnn", averaging)
    ensemble = replace(ensemble, mirrored=True)
    module = as_trained(network.build(ensemble)).eval()
    file = tmp_path / "a.onnx"
    export(Original(ensemble, module, task_of(ensemble.input, 3)), "onnx", file)
    session = runtime.InferenceSession(str(file))
    for batch in (1, 2, 9):
        x = torch.randn(batch, *ensemble.input)
        (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(out, module(x).numpy(), atol=1e-4)
