"""Training: learns what torch's own loop learns, repeats itself bit for bit, and turns failures into scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evosearch import network
from evosearch.architecture import Architecture
from evosearch.cost import Cost
from evosearch.errors import ConfigError
from evosearch.evaluation.augment import AUGMENT
from evosearch.evaluation.fit import final_train, train
from evosearch.evaluation.memory import memory_estimate
from evosearch.evaluation.optimizers import optimizer_of, rate
from evosearch.evaluation.recipe import DIGITS, Recipe
from evosearch.evaluation.step import cuda_graph_capture_failed
from evosearch.evaluation.stopping.median import Median
from evosearch.layers.builder import Working
from evosearch.tasks import Split, Task, load, make_task
from evosearch.tasks.kinds.classification import Classification
from tests import spaces


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def digits() -> Task:
    task = load("digits")
    assert isinstance(task, Task)
    return task


@cache
def blobs(kind: str = "classification") -> Task:
    """A small task on vectors: two clouds, or a plane with targets far from 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4)).astype(np.float32) * 3 + 5
    if kind == "regression":
        y = (x @ np.array([[1.0, 0], [0, 2], [3, 0], [0, 0]]) * 100 + 1000).astype(np.float32)
    else:
        y = (x.sum(1) > 20).astype(np.int64)
    parts = [Split(x[rows], y[rows]) for rows in np.split(np.arange(600), [400, 500])]
    return make_task("blobs", *parts, kind="regression" if kind == "regression" else "classification")


def perceptron(outputs: int = 2, width: int = 16) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, outputs))


def convolutions() -> nn.Module:
    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU())

    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(block(1, 16, 1), block(16, 32, 1), block(32, 64, 2), pool, nn.Linear(64, 10))


QUICK = Recipe(epochs=2, batch=50, lr=0.05)


def test_digits_recipe_learns_digits_in_seconds() -> None:
    """A small convolutional network gets above 0.95 on validation, and on the test split after the final training."""
    trained = train(convolutions, digits(), DIGITS, seed=1, key="k", cost=Cost(params=7, flops=11))
    score = trained.score
    assert score.status == "ok"
    assert score.objectives["accuracy"] > 0.95
    assert score.objectives["error"] == pytest.approx(1 - score.objectives["accuracy"])
    assert (score.figures["params"], score.figures["flops"]) == (7, 11)
    assert set(score.objectives) == {"accuracy", "error", "seconds"}  # what is counted stands in the cost alone
    assert score.objectives["seconds"] == score.seconds > 0
    assert len(score.curve) == DIGITS.epochs
    assert score.curve[-1] == score.objectives["accuracy"]
    assert (score.key, score.seed) == ("k", 1)

    final = final_train(convolutions, digits(), replace(DIGITS, epochs=6), seed=1)
    assert final.score.metrics["test_accuracy"] > 0.95
    assert final.network is not None
    assert all(p.is_contiguous() for p in final.network.parameters())  # safetensors takes no others
    test = digits().test_split()
    with torch.no_grad():
        guess = final.network.eval()(torch.from_numpy(digits().normalise(test.x))).argmax(1).numpy()
    assert np.mean(guess == test.y) == pytest.approx(final.score.metrics["test_accuracy"], abs=1e-9)


def test_same_seed_same_score_bit_for_bit() -> None:
    """Two trainings with one seed agree in every bit; another seed differs; the caller's random state stays."""
    recipe = replace(DIGITS, epochs=2, augment=("crop", "cutout"))
    state = torch.get_rng_state()
    first, again, other = (train(convolutions, digits(), recipe, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.score.metrics == again.score.metrics
    assert first.score.curve == again.score.curve
    assert first.network is not None
    assert again.network is not None
    for one, two in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, two)
    assert first.score.metrics != other.score.metrics


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_is_torchs_own(optimizer: str) -> None:
    """The weights are those of a loop written by hand with torch's unfused optimizer and scheduler, in float64."""
    recipe = Recipe(
        epochs=3,
        batch=64,
        optimizer="adamw" if optimizer == "adamw" else "sgd",
        lr=0.01,
        weight_decay=0.1,
        schedule="onecycle",
        label_smoothing=0.1,
        clip=0.5,
        precision="float64",
    )
    task = blobs()
    trained = train(perceptron(), task, recipe, seed=3)
    assert trained.network is not None

    torch.manual_seed(3)
    network = perceptron()().double()
    first, _, second = network.children()
    groups = [
        {"params": [first.weight, second.weight], "weight_decay": 0.1},
        {"params": [first.bias, second.bias], "weight_decay": 0.0},
    ]
    reference: torch.optim.Optimizer
    if optimizer == "adamw":
        reference = torch.optim.AdamW(groups, lr=0.01, foreach=False)
    else:
        reference = torch.optim.SGD(groups, lr=0.01, momentum=0.9, foreach=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(reference, 0.01, total_steps=18, cycle_momentum=False)
    x, y = torch.from_numpy(task.train.x).double(), torch.from_numpy(task.train.y)
    x = (x - torch.from_numpy(task.mean).double()) / torch.from_numpy(task.std).double()
    for _ in range(3):
        order = torch.randperm(400)
        for step in range(6):
            rows = order[step * 64 : step * 64 + 64]
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows], label_smoothing=0.1)
            reference.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            reference.step()
            schedule.step()
    for ours, theirs in zip(trained.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("schedule", "warmup"), [("cosine", 0.0), ("onecycle", 0.0), ("cosine", 2.0), ("constant", 1.0)]
)
def test_rates_are_torchs_schedulers(schedule: str, warmup: float) -> None:
    """Every step's rate is what torch's scheduler gives, warm-up as LinearLR before it."""
    recipe = Recipe(epochs=5, lr=0.1, schedule=schedule, warmup=warmup)  # type: ignore[arg-type]
    steps, warm = 50, int(warmup * 10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    lr = torch.optim.lr_scheduler
    expected: torch.optim.lr_scheduler.LRScheduler
    if schedule == "onecycle":
        expected = lr.OneCycleLR(optimizer, 0.1, total_steps=steps, cycle_momentum=False)
    else:
        after: torch.optim.lr_scheduler.LRScheduler = lr.CosineAnnealingLR(optimizer, steps - warm)
        if schedule == "constant":
            after = lr.ConstantLR(optimizer, 1.0)
        expected = after
        if warm:
            rise = lr.LambdaLR(optimizer, lambda step: (step + 1) / warm)
            expected = lr.SequentialLR(optimizer, [rise, after], [warm])
    for step in range(steps):
        assert rate(recipe, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), step
        optimizer.step()
        expected.step()


def test_regression_targets_are_learned_in_their_own_units() -> None:
    """Targets around 1,000 are normalised for the loss; r2 and mse are of the targets as they stand in the file."""
    recipe = Recipe(epochs=60, batch=50, lr=0.05)
    score = train(perceptron(outputs=2, width=32), blobs("regression"), recipe, seed=0).score
    assert score.status == "ok", score.error
    assert score.objectives["r2"] > 0.97
    assert "error" not in score.objectives


def test_weight_decay_leaves_norms_biases_and_positions_alone() -> None:
    class Position(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.randn(4, 8))

    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Position(), nn.LayerNorm(8), nn.Linear(8, 8))
    decayed, others = optimizer_of(network, Recipe(), "cpu").param_groups
    assert {tuple(p.shape) for p in decayed["params"]} == {(2, 1, 3, 3), (8, 8)}
    assert decayed["weight_decay"] == 3e-4
    assert others["weight_decay"] == 0
    assert sum(p.numel() for p in others["params"]) == 2 + 2 + 2 + 32 + 8 + 8 + 8


class Sick(nn.Module):
    """A perceptron that falls ill at a given step."""

    def __init__(self, illness: str, step: int = 3) -> None:
        super().__init__()
        self.inner, self.illness, self.step, self.steps = perceptron()(), illness, step, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(x)
        self.steps += 1
        if self.steps < self.step:
            return out
        if self.illness == "nan":
            return out * math.nan
        if self.illness == "gradient":
            # the root of 0 is finite and its slope is not
            return out + torch.sqrt((out * 0).abs())
        if self.illness == "memory":
            return out + torch.empty(1 << 60).sum()
        if self.illness == "refused":
            raise MemoryError
        if self.illness == "backward":
            out.register_hook(_broken)  # type: ignore[no-untyped-call]
        return out


def _broken(_: torch.Tensor) -> torch.Tensor:
    raise ValueError("broken\nin backward")


@pytest.mark.parametrize(
    ("illness", "status", "said"),
    [
        ("nan", "nan", "loss is not finite by step 8"),
        ("gradient", "nan", "gradient is not finite"),
        ("memory", "oom", "memory"),
        ("refused", "oom", "MemoryError"),
        ("backward", "crashed", "ValueError: broken in backward"),
    ],
)
def test_failures_are_scores(illness: str, status: str, said: str) -> None:
    """A failure has its status, one line of reason, no objectives; what was raised is in the log."""
    ill = 8 if illness == "gradient" else 3  # at the epoch's last step the next loss cannot tell
    trained = train(lambda: Sick(illness, ill), blobs(), QUICK, seed=1, key="k", cost=Cost(params=3))
    score = trained.score
    assert (score.status, score.key, score.seed, score.cost.params) == (status, "k", 1, 3)
    assert said in score.error
    assert "\n" not in score.error
    assert not score.objectives
    assert trained.network is None
    assert ("Traceback" in trained.log) == (illness not in ("nan", "gradient"))


def test_a_network_that_asks_for_views_is_trained_with_channels_first() -> None:
    """Images come with channels last, where convolutions are faster; `view` does not take them, and is no failure."""

    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)
            self.seen: list[bool] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.convolution(x)
            self.seen.append(out.is_contiguous())
            flat: torch.Tensor = self.head(out.view(len(x), -1))
            return flat

    trained = train(Viewing, digits(), replace(DIGITS, epochs=1), seed=0)
    assert trained.score.status == "ok", trained.log
    assert isinstance(trained.network, Viewing)
    assert all(trained.network.seen)
    assert len(trained.score.curve) == 1


def test_nan_within_twenty_steps() -> None:
    """A loss that is not finite from step 3 on ends the training by step 20, not at the epoch's end."""
    networks: list[Sick] = []

    def build() -> nn.Module:
        networks.append(Sick("nan"))
        return networks[-1]

    assert train(build, blobs(), replace(QUICK, batch=4, epochs=1)).score.status == "nan"
    assert networks[0].steps == 20


def test_time_limit_ends_a_training() -> None:
    ticks = iter(range(1000))
    score = train(perceptron(), blobs(), QUICK, deadline=5.5, clock=lambda: float(next(ticks))).score
    assert (score.status, score.error) == ("timeout", "time limit reached in epoch 1, step 6")


def test_median_stopping() -> None:
    """A curve under the median ends there, keeps its curve, and has no objectives; one on it goes on."""
    recipe, rule = replace(QUICK, lr=1e-4, epochs=4), Median()
    free = train(perceptron(), blobs(), recipe, seed=2).score
    stopped = train(perceptron(), blobs(), recipe, seed=2, rule=rule, brief=(0.0, 1.1, 1.1, 1.1)).score
    assert stopped.status == "stopped"
    assert stopped.curve == free.curve[:2]
    assert not stopped.objectives
    on_it = train(perceptron(), blobs(), recipe, seed=2, rule=rule, brief=free.curve).score
    assert on_it.status == "ok"
    # mse is better when smaller
    task = replace(blobs("regression"), metric="mse")
    assert train(perceptron(), task, recipe, seed=2, rule=rule, brief=(1e9, 0.0)).score.status == "stopped"
    assert train(perceptron(), task, recipe, seed=2, rule=rule, brief=(1e9, 1e9)).score.status == "ok"


def test_medians_reach_as_far_as_enough_curves_do() -> None:
    curves = [(0.1, 0.5, 0.9), (0.2, 0.6), (0.3, 0.7), ()]
    assert Median(least=2).brief(curves) == pytest.approx((0.2, 0.6))
    assert Median(least=3).brief(curves) == pytest.approx((0.2, 0.6))
    assert Median(least=4).brief(curves) == ()


def test_recipes_refuse_nonsense() -> None:
    with pytest.raises(ConfigError, match=r"recipe.epochs is 0; it must be at least 1"):
        Recipe(epochs=0)
    with pytest.raises(ConfigError, match=r"recipe.lr is nan"):
        Recipe(lr=math.nan)
    with pytest.raises(ConfigError, match="no augmentation 'mixup'"):
        Recipe(augment=("mixup",))
    with pytest.raises(ConfigError, match="augment is for images, and blobs has none"):
        train(perceptron(), blobs(), replace(QUICK, augment=("flip",)))


def test_digest_covers_all_that_changes_a_score() -> None:
    """Every field but the seed, the device's kind, the precision used there and the threads; not which GPU."""
    base = Recipe()
    changes = [{"epochs": 9}, {"lr": 0.05}, {"augment": ("flip",)}, {"precision": "float64"}, {"stop": "median"}]
    digests = {replace(base, **change).digest("cpu") for change in changes}  # type: ignore[arg-type]
    assert len(digests | {base.digest("cpu"), base.digest("cuda")}) == len(changes) + 2
    threads = {base.digest("cpu", threads=number) for number in (1, 2, 4)}
    assert len(threads | digests) == 3 + len(changes)
    # As it stands in the ledgers and journals that there are.
    assert base.digest("cpu", threads=1) == base.digest("cpu") == "2fcd8077fa7baa0e52c196812291fa1f"
    assert replace(base, seed=9).digest() == base.digest()
    assert base.digest("cuda:1") == base.digest("cuda")
    assert replace(base, precision="float32").digest("cpu") == base.digest("cpu")
    assert base.training_seed("a") == Recipe(epochs=3).training_seed("a") != base.training_seed("b")
    assert replace(base, seed=1).training_seed("a") != base.training_seed("a")


# -- ResNet18 as einspace writes it, against the same network by hand ---------------------------------------------


class Block(nn.Module):
    """Two 3x3 convolutions beside an identity, or beside a strided 1x1 convolution where the width changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(inputs, width, 3, stride, 1), nn.BatchNorm2d(width)
        self.second, self.norm2 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, stride), nn.BatchNorm2d(width)) if stride > 1 else nn.Sequential()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = nn.functional.leaky_relu(self.norm1(self.first(x)))
        return nn.functional.leaky_relu(self.norm2(self.second(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem, self.norm, self.down = (
            nn.Conv2d(channels, 64, 3, 1, 1),
            nn.BatchNorm2d(64),
            nn.Conv2d(64, 64, 3, 2, 1),
        )
        widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
        self.blocks = nn.Sequential(*[Block(*sizes) for sizes in [*widths, (512, 512, 1)]])
        self.head = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(nn.functional.leaky_relu(self.norm(self.stem(x))))
        out: torch.Tensor = self.head(self.blocks(x).mean((2, 3)))
        return out


def copied(built: nn.Module, channels: int, classes: int) -> ResNet18:
    """ResNet18 by hand, with the initial weights of the one that was built: both make their parts in one order."""
    network = ResNet18(channels, classes).to(next(built.parameters()).dtype)
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        ours, theirs = ([m for m in net.modules() if isinstance(m, kind)] for net in (network, built))
        for one, two in zip(ours, theirs, strict=True):
            one.load_state_dict(two.state_dict())
    return network


@pytest.mark.parametrize(
    ("size", "precision", "steps"),
    [
        (8, "float32", 1),
        pytest.param(8, "float64", 20, marks=pytest.mark.slow),
        pytest.param(32, "float64", 20, marks=pytest.mark.slow),
    ],
)
def test_resnet18_learns_as_the_one_written_by_hand(
    size: int, precision: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal losses, 1e-6, in every step of batch 8 with einspace's recipe and the same initial weights."""
    rng = np.random.default_rng(0)
    count = 8 * steps
    x, y = rng.integers(0, 256, (count + 16, 3, size, size)).astype(np.uint8), rng.integers(0, 10, count + 16)
    splits = [Split(x[rows], y[rows]) for rows in np.split(np.arange(count + 16), [count, count + 8])]
    task = make_task("noise", *splits, kind="classification", labels=tuple("0123456789"), images=True)
    recipe = Recipe(epochs=1, batch=8, precision="float64" if precision == "float64" else "float32")
    architecture = spaces.headed(spaces.seed("resnet18", (3, size, size)), 10)
    started: list[nn.Module] = []

    def build() -> nn.Module:
        built = network.build(architecture).to(torch.float64 if precision == "float64" else torch.float32)
        started.append(copied(built, 3, 10))
        return built

    losses: list[float] = []

    def recorded(out: torch.Tensor, y: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        loss = Classification().loss(out, y, recipe)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(task.kind, "loss", recorded)
    assert train(build, task, recipe, seed=4).score.status == "ok"

    [by_hand] = started
    torch.manual_seed(4)
    network.build(architecture)  # takes from the generator what the first one took
    ResNet18(3, 10)
    order = torch.randperm(count)
    weights = [p for name, p in by_hand.named_parameters() if p.ndim > 1]
    others = [p for name, p in by_hand.named_parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 3e-4}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.04, momentum=0.9, foreach=False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        rows = order[step * 8 : step * 8 + 8]
        batch = (torch.from_numpy(x)[rows].to(torch.float64) - torch.from_numpy(task.mean)) / torch.from_numpy(task.std)
        out = by_hand(batch.to(next(by_hand.parameters()).dtype))
        loss = nn.functional.cross_entropy(out, torch.from_numpy(y)[rows])
        assert losses[step] == pytest.approx(float(loss.detach()), rel=1e-6), step
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def test_what_is_shifted_in_is_the_usual_colour_of_the_border() -> None:
    torch.manual_seed(0)
    x = torch.rand(64, 3, 28, 28)
    background = torch.rand(64, 3)
    x[:, :, :, 0] = x[:, :, 0] = x[:, :, :, -1] = background[:, :, None]  # three sides of four
    moved = AUGMENT["shift"](x)
    shifts = set()
    for image, source, colour in zip(moved, x, background, strict=True):
        padded = colour[:, None, None].expand(3, 32, 32).clone()
        padded[:, 2:30, 2:30] = source
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.allclose(image, padded[:, down : down + 28, right : right + 28], atol=1e-6)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15


def test_augmentations_move_mirror_and_cut() -> None:
    """Each image by itself: crops are shifts with zeros outside, flips mirror some, cutouts zero one square."""
    torch.manual_seed(0)
    x = torch.rand(64, 3, 16, 16) + 1
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    shifts = set()
    for image, source in zip(AUGMENT["crop"](x), padded, strict=True):
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(image, source[:, down : down + 16, right : right + 16])
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15
    flipped = [torch.equal(image, source.flip(2)) for image, source in zip(AUGMENT["flip"](x), x, strict=True)]
    kept = [torch.equal(image, source) for image, source in zip(AUGMENT["flip"](x), x, strict=True)]
    assert 16 < sum(flipped) < 48
    assert 16 < sum(kept) < 48
    cut = AUGMENT["cutout"](x)
    assert ((cut == 0).sum((1, 2, 3)) == 3 * 16).all()
    assert len({tuple(torch.nonzero(image[0] == 0)[0].tolist()) for image in cut}) > 30
    assert torch.equal(cut[cut != 0], x[cut != 0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_whole_numbers_in_a_recipe_are_numbers(optimizer: Any) -> None:
    whole = train(
        partial(nn.Linear, 4, 2), blobs(), Recipe(epochs=1, lr=1, momentum=0, optimizer=optimizer), seed=0
    ).score
    assert whole.status == "ok", whole.error
    assert (
        whole.curve
        == train(
            partial(nn.Linear, 4, 2), blobs(), Recipe(epochs=1, lr=1.0, momentum=0.0, optimizer=optimizer)
        ).score.curve
    )


def test_memory_estimate_counts_weights_moments_and_activations() -> None:
    working = Working(held=10, copies=5, widest=10)
    sgd = memory_estimate(1000, working, blobs(), Recipe(batch=100))
    assert sgd == 3 * 4 * 1000 + 100 * 4 * (10 + 12)
    assert memory_estimate(1000, working, blobs(), Recipe(batch=100, optimizer="adamw")) == sgd + 4 * 1000
    assert memory_estimate(1000, working, blobs(), Recipe(batch=100, precision="float64")) == 2 * sgd
    half = memory_estimate(1000, working, blobs(), Recipe(batch=100, precision="bfloat16"))
    assert half == 3 * 4 * 1000 + 100 * 2 * (10 + 12)
    assert memory_estimate(1000, working, blobs(), Recipe(batch=100), "cuda:0") == half + 100 * 4 * 5
    assert memory_estimate(1000, working, blobs(), Recipe(batch=1000)) == 3 * 4 * 1000 + 400 * 4 * 22  # all there are


def peak_of_a_step(build: Callable[[], nn.Module], task: Task, recipe: Recipe) -> int:
    """Bytes in use at the most during a training step on CPU, beside what is in use before it, by torch's profiler."""
    built = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as images are trained
    optimizer = optimizer_of(built, recipe, "cpu")
    x = torch.from_numpy(task.normalise(task.train.x[: recipe.batch])).contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(task.train.y[: recipe.batch])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16", cache_enabled=False):
            out = built(x)
        task.kind.loss(out.float(), y, recipe).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    assert profile.profiler is not None
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(sizes).max())


def noise() -> Task:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (480, 1, 28, 28)).astype(np.uint8), np.arange(480) % 10
    splits = [Split(x[rows], y[rows]) for rows in np.split(np.arange(480), [160, 320])]
    return make_task("noise", *splits, kind="classification")


def benchmarks(task: Task, recipe: Recipe, device: str) -> Iterator[tuple[Architecture, int]]:
    """The benchmark's twenty networks, each with the bytes that training it is estimated to take."""
    space = spaces.space("einspace", task.input_shape)
    for line in (Path(__file__).parent / "bench" / "fashion_mnist.txt").read_text().splitlines():
        architecture = space.read(space.parse(line.partition(" ")[2]))
        working = network.working_scalars(spaces.headed(architecture, task.outputs))
        yield architecture, memory_estimate(architecture.cost.params, working, task, recipe, device)


@pytest.mark.parametrize(
    ("precision", "batch", "device"), [("float32", 16, "cpu"), ("bfloat16", 160, "cpu"), ("bfloat16", 160, "cuda")]
)
def test_memory_estimate_is_what_training_takes(
    precision: Literal["float32", "bfloat16"], batch: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a factor of 1.5 of what torch's profiler counts, for the seeds and samples of the benchmark.

    "cuda" is CPU still, with layer norm and softmax in float32, as CUDA's autocast has them by torch's documentation.
    """
    if device == "cuda":
        norm, softmax = nn.functional.layer_norm, nn.functional.softmax
        monkeypatch.setattr(nn.functional, "layer_norm", lambda x, *rest: norm(x.float(), *rest))
        monkeypatch.setattr(nn.functional, "softmax", lambda x, dim: softmax(x, dim, dtype=torch.float32))
    task, recipe = noise(), Recipe(batch=batch, precision=precision)
    for architecture, estimate in benchmarks(task, recipe, device):
        measured = peak_of_a_step(partial(network.build, spaces.headed(architecture, 10)), task, recipe)
        estimated = estimate - 2 * 4 * architecture.cost.params  # weights and momentum are there before the step
        assert estimated / 1.5 <= measured <= 1.5 * estimated, architecture.text


@pytest.mark.gpu
def test_memory_estimate_is_what_training_takes_on_a_gpu() -> None:
    """Within a factor of 1.5 of torch's peak, likewise, at a batch where the data set is the smaller part."""
    task, recipe = noise(), Recipe(batch=160, epochs=8)
    first, _ = next(benchmarks(task, recipe, "cuda"))
    # what cuBLAS and cuDNN keep is there now
    train(partial(network.build, spaces.headed(first, 10)), task, recipe, device="cuda")
    for architecture, estimate in benchmarks(task, recipe, "cuda"):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        score = train(partial(network.build, spaces.headed(architecture, 10)), task, recipe, device="cuda").score
        measured = score.metrics["peak_memory"] - before
        assert estimate / 1.5 <= measured <= 1.5 * estimate, architecture.text


@pytest.mark.gpu
def test_gpu_agrees_with_cpu_and_leaves_nothing() -> None:
    """In float32 the GPU's accuracy is the CPU's within noise, its steps are captured, and its memory comes back."""
    recipe = replace(DIGITS, precision="float32")
    on_cpu = train(convolutions, digits(), recipe, seed=1).score
    train(convolutions, digits(), recipe, device="cuda", seed=2)  # what cuBLAS and cuDNN keep is there now
    before = torch.cuda.memory_allocated()
    trained = train(convolutions, digits(), recipe, device="cuda", seed=1)
    assert trained.score.status == "ok", trained.log
    assert "graph_fallbacks" not in trained.score.metrics
    assert trained.score.objectives["accuracy"] == pytest.approx(on_cpu.objectives["accuracy"], abs=0.03)
    again = train(convolutions, digits(), recipe, device="cuda", seed=1)
    assert again.score.curve == trained.score.curve
    del trained, again
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() - before < 16 << 20  # the data set stays


class Synchronising(nn.Module):
    """Reads a value on the host in each step, which no CUDA graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(1))
        return out * 1.0 if out.sum().item() > 0 else out


@pytest.mark.gpu
def test_a_network_without_a_graph_is_trained_and_told() -> None:
    """Its steps run one kernel at a time; the next training's are captured again."""
    score = train(Synchronising, digits(), DIGITS, device="cuda", seed=1).score
    assert score.status == "ok", score.error
    assert score.metrics["graph_fallbacks"] == 1
    assert cuda_graph_capture_failed()
    after = train(convolutions, digits(), DIGITS, device="cuda", seed=1).score
    assert after.status == "ok", after.error
    assert "graph_fallbacks" not in after.metrics
