"""Rules by which networks learn: against autograd, closed forms and the usual training, bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evosearch import network
from evosearch.architecture import Architecture
from evosearch.errors import ConfigError
from evosearch.evaluation.fit import final_train, train
from evosearch.evaluation.optimizers import powered, rate
from evosearch.evaluation.recipe import Recipe, check
from evosearch.evaluation.regularising import drop_paths, dropped
from evosearch.evaluation.rules import Learning, Rule, built, bundled, named
from evosearch.evaluation.rules.gradient_noise import GradientNoise
from evosearch.evaluation.rules.guidance import cka, layers_of, paired
from evosearch.tasks import Split, make_task
from tests.spaces import headed, space
from tests.test_training import blobs, digits


@cache
def architecture(text: str, grammar: str = "mlp", outputs: int = 2, *shape: int) -> Architecture:
    there = space(grammar, shape or (4,))
    return headed(there.read(there.parse(text)), outputs)


BODY = "linear(16);relu;linear(16);relu"
QUICK = Recipe(epochs=2, batch=50, lr=0.05)


def trained(recipe: Recipe, text: str = BODY, seed: int = 3) -> Any:
    return train(lambda: built(architecture(text), recipe), blobs(), recipe, seed=seed)


def rule(recipe: Recipe, module: nn.Module) -> Rule:
    return named(recipe.rule)(module, Learning(blobs(), recipe, "cpu", torch.float32))


def same(one: nn.Module, two: nn.Module) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_parent_teaches_as_a_file_does(tmp_path: Path) -> None:
    """The loss with a parent is that with the same network as a program; without one it is the task's alone."""
    recipe = replace(QUICK, rule="distillation", teacher="parent", inherit="parent")
    parent, module = network.build(architecture(BODY)).eval(), network.build(architecture(BODY))
    file = tmp_path / "teacher.pt2"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(parent, (torch.zeros(3, 4),), dynamic_shapes=shapes), file)
    x, y = torch.randn(20, 4), torch.randint(2, (20,))

    def loss(recipe: Recipe, taught: nn.Module | None) -> torch.Tensor:
        made = named(recipe.rule)(module, Learning(blobs(), recipe, "cpu", torch.float32, taught))
        return made.loss(x, y)

    by_file = replace(recipe, teacher=str(file))
    torch.testing.assert_close(loss(recipe, parent), loss(by_file, None))
    assert loss(recipe, None) == loss(replace(QUICK), None)
    assert loss(recipe, parent) != loss(recipe, None)


def test_the_rules_there_are() -> None:
    assert bundled() == ("backprop", "distillation", "gradient_noise", "guidance", "mono_forward")
    with pytest.raises(ConfigError, match=r"recipe\.rule: no rule 'backprob'; did you mean backprop"):
        Recipe(rule="backprob")


@pytest.mark.parametrize("name", ["gradient_noise", "mono_forward", "distillation"])
def test_a_rule_leaves_the_plain_network_and_repeats_itself(name: str) -> None:
    """Its parameters are those that the source has, and the same seed gives the same ones."""
    recipe = replace(QUICK, rule=name, teacher="self" if name == "distillation" else "")
    first, again = trained(recipe), trained(recipe)
    assert first.score.status == "ok"
    assert same(first.network, again.network)
    assert first.network.state_dict().keys() == network.build(architecture(BODY)).state_dict().keys()
    assert not same(first.network, trained(QUICK).network)


# -- gradient noise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 10, 100])
def test_gradient_noise_has_its_variance(step: int) -> None:
    """eta / (1 + t)^0.55 within 2 %, of 1e5 numbers, around the gradient that was there."""
    module = nn.Linear(400, 250, bias=False)
    learner = rule(replace(QUICK, rule="gradient_noise", gradient_noise=0.3), module)
    assert isinstance(learner, GradientNoise)
    module.weight.grad = torch.full_like(module.weight, 2.0)
    torch.manual_seed(step)
    learner.change(step)
    noise = module.weight.grad - 2.0
    assert float(noise.var()) == pytest.approx(0.3 / (1 + step) ** 0.55, rel=0.02)
    assert abs(float(noise.mean())) < 0.01


# -- Mono-Forward ---------------------------------------------------------------------------------------------------


def test_one_segment_is_backpropagation_bit_for_bit() -> None:
    """Where only the head has weights there is nothing to cut."""
    usual, mono = (trained(replace(QUICK, rule=name), "relu") for name in ("backprop", "mono_forward"))
    assert same(usual.network, mono.network)
    assert usual.score.curve == mono.score.curve
    assert usual.score.metrics == mono.score.metrics


def test_each_segment_s_gradient_is_that_of_its_own_loss() -> None:
    """Autograd of one projection's cross-entropy, with what comes in taken as given; nothing reaches further."""
    torch.manual_seed(0)
    module: Any = built(architecture(BODY), replace(QUICK, rule="mono_forward"))
    x, y = torch.randn(20, 4), torch.randint(0, 2, (20,))
    rule(replace(QUICK, rule="mono_forward"), module).loss(x, y).backward()  # type: ignore[no-untyped-call]
    assert len(module.segments) == 3
    assert len(module.projections) == 2
    at = x
    for segment, projection in zip(module.segments, [*module.projections, nn.Identity()], strict=True):
        given = at.detach()
        out = segment(given)
        own = [*segment.parameters(), *projection.parameters()]
        gradients = torch.autograd.grad(functional.cross_entropy(projection(out), y), own)
        for parameter, gradient in zip(own, gradients, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, gradient)
        at = out


def test_it_is_for_images_too() -> None:
    """Features are pooled for the projections; the outputs are those of the network that is kept."""
    one = architecture("conv(16,3);maxpool;conv(16,3)", "tiny_cnn", 10, 1, 8, 8)
    recipe = replace(QUICK, rule="mono_forward", epochs=1)
    found = train(lambda: built(one, recipe), digits(), recipe, seed=0)
    assert found.score.status == "ok", found.score.error
    assert found.network is not None
    assert found.outputs is not None
    x = torch.from_numpy(digits().normalise(digits().validation.x))
    with torch.no_grad():
        np.testing.assert_allclose(found.network.eval()(x).numpy(), found.outputs, atol=1e-4)


@pytest.mark.slow
def test_mono_forward_learns_digits() -> None:
    """At least 0.98 on the test split with 64-256-256-10, mean of three seeds: what backpropagation reaches, less half
    a point."""
    one = architecture("linear(256);relu;linear(256);relu", "mlp", 10, 64)
    task = digits()
    parts = [Split(s.x.reshape(len(s), -1), s.y) for s in (task.train, task.validation, task.test_split())]
    flat = make_task("flat", *parts, kind="classification")
    recipe = Recipe(epochs=30, batch=32, optimizer="adamw", lr=1e-3, weight_decay=0.01, rule="mono_forward")
    values = [final_train(lambda: built(one, recipe), flat, recipe, seed=seed).metric for seed in range(3)]
    print(f"{np.mean(values):.4f}", end=" ")
    assert np.mean(values) >= 0.98, values


# -- teachers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a trained network."""
    found = trained(replace(QUICK, epochs=5))
    file = tmp_path_factory.mktemp("teacher") / "teacher.pt2"
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(found.network.eval(), (torch.zeros(3, 4),), dynamic_shapes=batch), file)
    return file


def test_distillation_s_loss_by_hand(teacher: Path) -> None:
    """Half the cross-entropy, half 4 KL of the softened answers."""
    recipe = replace(QUICK, rule="distillation", teacher=str(teacher))
    module = network.build(architecture(BODY))
    x, y = torch.randn(30, 4), torch.randint(0, 2, (30,))
    found = rule(recipe, module).loss(x, y)
    other: Any = torch.export.load(teacher).module()
    own, theirs = module(x), other(x)
    p, q = (theirs / 2).softmax(1), (own / 2).softmax(1)
    kl = (p * (p / q).log()).sum(1).mean()
    assert float(found.detach()) == pytest.approx(
        float((functional.cross_entropy(own, y) / 2 + 2 * kl).detach()), abs=1e-5
    )


def test_its_own_teacher_is_asked_from_the_second_epoch_on() -> None:
    recipe = replace(QUICK, rule="distillation", teacher="self")
    one = replace(recipe, epochs=1)
    assert same(trained(one).network, trained(replace(QUICK, epochs=1)).network)
    assert not same(trained(recipe).network, trained(QUICK).network)


def test_a_teacher_that_is_none_is_said(tmp_path: Path) -> None:
    """Before anything is trained where no file is named; a file that is none is that candidate's failure."""
    (tmp_path / "t.pt2").write_text("x")
    recipe = replace(QUICK, rule="distillation")
    for one in (recipe, replace(recipe, rule="guidance", teacher="self"), replace(recipe, teacher="gone.pt2")):
        with pytest.raises(ConfigError, match=r"recipe\.teacher: .*; name a file"):
            check(blobs(), one)
    with pytest.raises(ConfigError, match="is no exported program"):
        rule(replace(recipe, teacher=str(tmp_path / "t.pt2")), network.build(architecture(BODY)))


def test_the_teacher_s_content_is_part_of_the_recipe(teacher: Path, tmp_path: Path) -> None:
    """Wherever it lies."""
    moved = tmp_path / "moved.pt2"
    moved.write_bytes(teacher.read_bytes())
    recipes = [replace(QUICK, rule="distillation", teacher=str(file)) for file in (teacher, moved)]
    assert recipes[0].digest() == recipes[1].digest() != replace(QUICK, rule="distillation").digest()
    moved.write_bytes(b"other")
    assert recipes[0].digest() != recipes[1].digest()


def test_cka_by_its_definition() -> None:
    """1 of features that are rotated and scaled, that of the definition of any, near 0 of independent ones."""
    torch.manual_seed(0)
    a, b = torch.randn(200, 8, dtype=torch.float64), torch.randn(200, 5, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))
    assert float(cka(a, 3 * a @ rotation + 1)) == pytest.approx(1)
    x, y = a - a.mean(0), b - b.mean(0)
    by_hand = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert float(cka(a, b)) == pytest.approx(float(by_hand))
    assert float(cka(a, b)) < 0.1


def test_guidance_compares_the_layers_of_the_guide(teacher: Path) -> None:
    """Paired by depth; a network that is the guide is not drawn anywhere, and another comes nearer to it."""
    guide: Any = torch.export.load(teacher).module()
    x = torch.randn(20, 4)
    found = layers_of(guide, x)
    assert [tuple(one.shape) for one in found] == [(20, 16), (20, 16), (20, 2)]
    assert len(paired(found, found)) == 2
    recipe = replace(QUICK, rule="guidance", teacher=str(teacher), epochs=4)
    twin = network.build(architecture(BODY))
    twin.load_state_dict(guide.state_dict())
    y = torch.randint(0, 2, (20,))
    plain = float(functional.cross_entropy(twin(x), y).detach())
    learner = rule(recipe, twin.train())
    assert float(learner.loss(x, y).detach()) == pytest.approx(plain, abs=1e-5)
    learner.kept()
    near = {}
    for name, one in (("guided", recipe), ("plain", replace(recipe, rule="backprop", teacher=""))):
        result = trained(one, seed=11)
        assert result.score.status == "ok", result.score.error
        seen: list[Any] = []
        layers = [m for m in result.network.modules() if isinstance(m, nn.Linear)]
        hooks = [m.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.detach())) for m in layers]
        result.network.eval()(x)
        near[name] = float(np.mean([float(cka(a, b).detach()) for a, b in paired(seen, found)]))
        for hook in hooks:
            hook.remove()
    assert near["guided"] > near["plain"]


# -- what a recipe drops --------------------------------------------------------------------------------------------


def test_paths_are_dropped_as_often_as_said() -> None:
    """With probability 1 - p a residual part counts, scaled up; in evaluation it is as it was."""
    one = architecture("residual(linear(32);linear(16))", "mlp", 2, 16)
    plain, dropping = network.build(one), network.build(one, drop_path=True)
    dropping.load_state_dict(plain.state_dict())
    x = torch.randn(1, 16).expand(4000, 16)
    features: list[Any] = []
    head: Any = dropping.head
    head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    drop_paths(dropping, 0.25)
    torch.manual_seed(0)
    dropping.train()(x)
    passed_by = (features[0] == x).all(1)
    assert float(passed_by.float().mean()) == pytest.approx(0.25, abs=0.03)
    with torch.no_grad():
        assert torch.equal(dropping.eval()(x), plain.eval()(x))
        kept = features[0][~passed_by][0] - x[0]
        torch.testing.assert_close(kept, (features[1][0] - x[0]) / 0.75)


@pytest.mark.parametrize("setting", [{"drop_path": 0.3}, {"dropout": 0.5}, {"drop_path": 0.3, "rule": "mono_forward"}])
def test_dropping_ends_with_the_training(setting: dict[str, Any]) -> None:
    """What is kept has no trace of it."""
    recipe = replace(QUICK, **setting)
    found = trained(recipe, "linear(16);residual(linear(32);relu;linear(16));linear(16)")
    assert found.score.status == "ok", found.score.error
    first, second = (found.network.train()(torch.ones(3, 4)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(found.network.eval()(torch.ones(3, 4)), found.network(torch.ones(3, 4)))


def test_dropout_is_before_the_last_linear_layer() -> None:
    last = nn.Linear(1000, 1000, bias=False)
    module = nn.Sequential(nn.Linear(4, 1000), last)
    with torch.no_grad():
        last.weight.copy_(torch.eye(1000))
    ended = dropped(module, 0.4)
    zeros = (module.train()(torch.ones(10, 4)) == 0).float().mean()
    assert float(zeros) == pytest.approx(0.4, abs=0.03)
    ended()
    assert not (module(torch.ones(10, 4)) == 0).any()


# -- cosine power annealing -----------------------------------------------------------------------------------------


def test_cosine_power_annealing_of_order_1_is_torch_s_cosine() -> None:
    """And that of order 10 lies below it, with the same ends."""
    recipe = Recipe(lr=0.1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        expected = float(scheduler.get_last_lr()[0])
        assert 0.1 * powered(expected / 0.1, 1.0) == pytest.approx(rate(recipe, step, 50)) == pytest.approx(expected)
        found = rate(replace(recipe, schedule="power"), step, 50)
        assert found <= expected + 1e-12
        by_hand = (10 ** (expected / 0.1 + 1) - 10) / (100 - 10) * 0.1
        assert found == pytest.approx(by_hand)
        optimizer.step()
        scheduler.step()
    assert rate(replace(recipe, schedule="power"), 0, 50) == pytest.approx(0.1)
    assert math.isclose(powered(0.0, 10.0), 0.0)


def test_a_new_field_is_nothing_at_its_default() -> None:
    """Digests of recipes of before stay: 32 hex digits that a ledger holds."""
    assert (
        Recipe().digest()
        == Recipe(rule="backprop", gradient_noise=0.3, teacher="", dropout=0.0, drop_path=0.0).digest()
    )
    assert Recipe(rule="mono_forward").digest() != Recipe().digest()
