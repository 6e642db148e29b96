"""What a recipe may add to a training: warps, mixed pairs, averaged weights, balanced classes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evosearch.errors import ConfigError
from evosearch.evaluation.augment import AUGMENT
from evosearch.evaluation.averaging import WeightAverage
from evosearch.evaluation.batches import Batches
from evosearch.evaluation.fit import final_train, train
from evosearch.evaluation.memory import memory_estimate
from evosearch.evaluation.mixing import cutmix, mixup
from evosearch.evaluation.recipe import Recipe, check
from evosearch.layers.builder import Working
from evosearch.tasks import Split, Task, make_task


def task(*shape: int, rare: int = 300, images: bool = False, kind: str = "classification") -> Task:
    """Two classes, told apart by their mean; `rare` of 600 examples are of class 1."""
    rng = np.random.default_rng(0)
    y = np.arange(600) % (600 // rare) == 0
    x = (rng.normal(size=(600, *shape)) + y.reshape(-1, *[1] * len(shape))).astype(np.float32)
    targets = y.astype(np.int64) if kind == "classification" else y[:, None].astype(np.float32)
    parts = [Split(x[rows], targets[rows]) for rows in np.split(np.arange(600), [400, 500])]
    return make_task("made", *parts, kind=kind, images=images)


QUICK = Recipe(epochs=3, batch=50, lr=0.05)


def test_a_warp_moves_what_a_series_shows_and_keeps_its_ends() -> None:
    """Of a series that rises steadily, a warped one says to what time each step was moved."""
    torch.manual_seed(0)
    time = torch.linspace(0, 1, 101)
    x = torch.stack([time, 2 * time], 1).repeat(64, 1, 1)
    seen = [AUGMENT["warp"](x) for _ in range(20)]
    warped = [y for y in seen if not torch.allclose(y, x, atol=1e-5)]
    assert 4 <= len(warped) <= 16
    for y in warped:
        assert torch.allclose(y[:, :, 1], 2 * y[:, :, 0], atol=1e-5)
        assert torch.allclose(y[:, [0, -1]], x[:, [0, -1]], atol=1e-5)
        moved = (y[:, :, 0] - time).abs().amax(1)
        assert 0.01 < float(moved.mean()) < 0.1
        assert len({round(float(m), 6) for m in moved}) > 50


def test_noise_is_a_tenth_of_the_deviation() -> None:
    torch.manual_seed(0)
    x = torch.zeros(100, 30, 4)
    assert float(AUGMENT["noise"](x).std()) == pytest.approx(0.1, rel=0.05)


def test_every_augmentation_is_refused_where_it_means_nothing() -> None:
    fitting: dict[tuple[int, ...], set[str]] = {
        (4,): {"noise"},
        (9, 2): {"noise", "warp"},
        (1, 6, 6): {"noise", "crop", "shift", "flip", "cutout"},
    }
    for shape, names in fitting.items():
        here = task(*shape, images=True)
        for name in AUGMENT:
            if name in names:
                check(here, Recipe(augment=(name,)))
                continue
            with pytest.raises(ConfigError, match=r"recipe\.augment is for"):
                check(here, Recipe(augment=(name,)))
    with pytest.raises(ConfigError, match=r"recipe\.cutmix is for images"):
        check(task(4), Recipe(cutmix=1.0))
    with pytest.raises(ConfigError, match=r"recipe\.balanced is for classes"):
        check(task(4, kind="regression"), Recipe(balanced=True))
    with pytest.raises(ConfigError, match="one of the two"):
        Recipe(mixup=0.2, cutmix=1.0)


@pytest.mark.parametrize("mixing", [mixup, cutmix])
def test_a_mixed_example_has_as_much_of_each_as_its_target_says(mixing: object) -> None:
    """With images of one value each, the mean of a mixed one is the mean of the two by their shares."""
    torch.manual_seed(1)
    values = torch.arange(32.0)
    x = values[:, None, None, None].expand(32, 3, 8, 8).contiguous()
    shares = []
    for _ in range(50):
        mixed = (mixup if mixing is mixup else cutmix)(x, 1.0)
        expected = mixed.share * values + (1 - mixed.share) * values[mixed.other]
        assert torch.allclose(mixed.x.mean((1, 2, 3)), expected, atol=1e-4)
        shares.append(float(mixed.share))
    assert 0.3 < np.mean(shares) < 0.85
    assert np.std(shares) > 0.1
    assert min(shares) >= 0
    assert max(shares) <= 1


def test_a_mixed_batchs_loss_is_that_of_mixed_targets() -> None:
    """Cross-entropy against both classes by their shares is cross-entropy against the mixed probabilities."""
    torch.manual_seed(0)
    x, out, y = torch.randn(16, 5), torch.randn(16, 4), torch.randint(4, (16,))
    mixed = mixup(x, 0.4)
    soft = mixed.share * nn.functional.one_hot(y, 4) + (1 - mixed.share) * nn.functional.one_hot(y[mixed.other], 4)
    expected = nn.functional.cross_entropy(out, soft)
    assert torch.allclose(mixed.loss(partial(nn.functional.cross_entropy, out), y), expected)


def test_an_average_is_the_sum_of_all_weights_by_what_is_left_of_them() -> None:
    """As the recurrence says it, of weights and of a norm's statistics; two exchanges leave the network as it was."""
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = WeightAverage(network, 0.7)
    names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    expected = {name: network.state_dict()[name].clone() for name in names}
    for step in range(1, 12):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.normal_()
        average.update()
        stays = min(0.7, (1 + step) / (10 + step))
        for name in names:
            expected[name] = stays * expected[name] + (1 - stays) * network.state_dict()[name]
    last = {name: network.state_dict()[name].clone() for name in names}
    average.swap()
    assert all(torch.allclose(network.state_dict()[name], expected[name], atol=1e-6) for name in names)
    average.swap()
    assert all(torch.equal(network.state_dict()[name], last[name]) for name in names)


def _perceptron() -> nn.Module:
    """Without a bias before its norm, which has no gradient but for rounding, and on some processors none at all."""
    return nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def test_an_average_changes_what_is_judged_and_kept_not_what_is_trained() -> None:
    """The training losses are those without one; the weights at the end are the average's."""
    here = task(4)
    plain, smooth = (final_train(_perceptron, here, replace(QUICK, ema=ema), seed=3) for ema in (0.0, 0.9))
    assert plain.score.metrics["train_loss"] == smooth.score.metrics["train_loss"]
    assert plain.network is not None
    assert smooth.network is not None
    pairs = zip(plain.network.parameters(), smooth.network.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    test = here.test_split()
    with torch.no_grad():
        guess = smooth.network.eval()(torch.from_numpy(here.normalise(test.x))).argmax(1).numpy()
    assert np.mean(guess == test.y) == pytest.approx(smooth.score.metrics["test_accuracy"], abs=1e-9)


def test_an_average_takes_memory_as_large_as_the_weights() -> None:
    sizes = [memory_estimate(1000, Working(0, 0, 0), task(4), Recipe(ema=ema)) for ema in (0.0, 0.9)]
    assert sizes[1] - sizes[0] == 4 * 1000


def test_a_balanced_epoch_shows_every_class_as_often() -> None:
    torch.manual_seed(0)
    rare = task(4, rare=60)
    seen: list[Tensor] = []
    for balanced in (False, True):
        batches = Batches(rare, rare.train, Recipe(balanced=balanced), "cpu", torch.contiguous_format)
        rows = torch.cat([batches.order() for _ in range(20)])
        seen.append(torch.from_numpy(rare.train.y)[rows].float().mean())
    assert float(seen[0]) == pytest.approx(0.1)
    assert float(seen[1]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("change", [{"mixup": 0.4}, {"cutmix": 1.0}, {"balanced": True}, {"ema": 0.9}])
def test_each_learns_and_repeats_itself(change: dict[str, float]) -> None:
    here = task(1, 6, 6, images=True)
    recipe = replace(QUICK, **change)  # type: ignore[arg-type]
    build = partial(nn.Sequential, nn.Flatten())

    def made() -> nn.Module:
        return build(nn.Linear(36, 2))

    first, again = (train(made, here, recipe, seed=5).score for _ in range(2))
    assert first.status == "ok", first.error
    assert first.objectives["accuracy"] > 0.9
    assert first.curve == again.curve


def test_a_recipe_that_uses_none_of_it_has_the_digest_from_before_there_was_any() -> None:
    """The figures are those of 2588839, which had none of these keys."""
    assert Recipe().digest() == "2fcd8077fa7baa0e52c196812291fa1f"
    assert Recipe(augment=("flip",), epochs=3).digest() == "6f32ad97e4c4695ae443e84f013fe5ac"
    changes = ({"mixup": 0.4}, {"cutmix": 1.0}, {"balanced": True}, {"ema": 0.9})
    assert len({replace(Recipe(), **change).digest() for change in changes} | {Recipe().digest()}) == 5
