"""Candidates per hour on Fashion-MNIST: the pool of workers against a plain training loop, on the same networks.

Twenty architectures (tests/bench/fashion_mnist.txt): five seeds with narrower layers, fifteen samples of einspace. A
subset of the data, 4,000 images to train on and 1,000 to judge by, two epochs of batch 64, else einspace's recipe.
The yardstick is what one writes first: a Dataset and a DataLoader, float32, one process with torch's default threads,
`.item()` each step. Neither side's imports count: workers are ready when the clock starts, as in a search of thousands.

Needs fashion_mnist.npz (x_train, y_train, x_test, y_test) in the folder DATA; says so where it is not there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from evosearch import network
from evosearch.tasks import Split, Task, make_task
from evosearch.training import Recipe
from evosearch.workers import Evaluator, Job, Resources, WorkerSettings, cores
from evosearch.workers.evaluator import evaluator
from evosearch.workers.processes import ProcessPool
from tests import spaces

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECIPE = Recipe(epochs=2, batch=64)
TRAIN, VALIDATION = 4_000, 1_000
SHAPE = (1, 28, 28)


def architectures() -> list[tuple[str, str]]:
    lines = Path(__file__).with_name("fashion_mnist.txt").read_text().splitlines()
    return [(name, text) for name, _, text in (line.partition(" ") for line in lines)]


def fashion_mnist() -> Task:
    file = DATA / "fashion_mnist.npz"
    if not file.is_file():
        pytest.skip(f"not run: {file} is not there")
    with np.load(file) as archive:
        x, y = archive["x_train"][:, None], archive["y_train"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    train, validation, rest = (Split(x[rows], y[rows]) for rows in np.split(order, [TRAIN, TRAIN + VALIDATION]))
    return make_task("fashion_mnist", train, validation, rest, kind="classification", images=True)


class Spec:
    """The evaluator of the subset."""

    def build(self, resources: Resources) -> Evaluator:
        torch.set_num_threads(resources.threads)
        return evaluator(spaces.space("einspace", SHAPE), fashion_mnist(), RECIPE, resources)


class Images(Dataset[tuple[Tensor, int]]):
    def __init__(self, split: Split, mean: float, std: float) -> None:
        self.x, self.y, self.mean, self.std = split.x, split.y, mean, std

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (torch.from_numpy(self.x[index]).float() - self.mean) / self.std, int(self.y[index])


def plain_loop(build: Any, task: Task, recipe: Recipe, seed: int) -> float:
    """The yardstick; returns the validation accuracy after the last epoch."""
    torch.manual_seed(seed)
    mean, std = float(task.mean.item()), float(task.std.item())
    train = DataLoader(Images(task.train, mean, std), batch_size=recipe.batch, shuffle=True)
    validation = DataLoader(Images(task.validation, mean, std), batch_size=recipe.batch)
    model = build()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * len(train))
    criterion = nn.CrossEntropyLoss()
    accuracy = 0.0
    for _ in range(recipe.epochs):
        model.train()
        running = 0.0
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            running += loss.item()
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in validation:
                right += (model(x).argmax(1) == y).sum().item()
        accuracy = right / len(task.validation)
    return accuracy


def test_candidates_per_hour_on_two_cores(benchmark: Any) -> None:
    """At least 1.5 times the yardstick's, at the same accuracy within noise (three standard errors of the mean)."""
    if cores() < 2:
        pytest.skip("not run: it compares on two cores, and this machine has one")
    task, space, texts = fashion_mnist(), spaces.space("einspace", SHAPE), architectures()
    settings = WorkerSettings(workers=2, device="cpu", memory=4)

    def evaluated() -> dict[int, float]:
        found: dict[int, float] = {}
        for number, (_, text) in enumerate(texts):
            pool.submit(Job(number, text, f"{number:032x}", seed=number))
        while len(found) < len(texts):
            for number, score in pool.wait(600):
                assert score.status == "ok", score.error
                found[number] = score.objectives["accuracy"]
        return found

    with ProcessPool(Spec(), settings) as pool:
        for number in (1000, 1001):  # both workers are ready when both have answered
            pool.submit(Job(number, "linear(16)", "0" * 32))
        answered = 0
        while answered < 2:
            answered += len(pool.wait(600))
        begun = time.perf_counter()
        ours = benchmark.pedantic(evaluated, rounds=1)
        our_seconds = time.perf_counter() - begun

    torch.set_num_threads(2)
    begun = time.perf_counter()
    theirs = {}
    for number, (_, text) in enumerate(texts):
        architecture = space.read(space.parse(text))
        theirs[number] = plain_loop(lambda a=architecture: network.build(a, 10), task, RECIPE, seed=number)
    their_seconds = time.perf_counter() - begun
    torch.set_num_threads(1)

    difference = np.array([ours[n] - theirs[n] for n in range(len(texts))])
    error = difference.std(ddof=1) / np.sqrt(len(texts))
    hourly = [3600 * len(texts) / seconds for seconds in (our_seconds, their_seconds)]
    print(
        f"\n2 of {os.cpu_count()} cores, torch {torch.__version__}, seeds 0..{len(texts) - 1}"
        f", load {os.getloadavg()[0]:.1f}"
        f"\n{len(texts)} architectures, {TRAIN} images: pool {our_seconds:.1f} s ({hourly[0]:.0f} an hour), "
        f"plain loop {their_seconds:.1f} s ({hourly[1]:.0f} an hour): {their_seconds / our_seconds:.2f} times"
        f"\nmean accuracy {np.mean(list(ours.values())):.4f} and {np.mean(list(theirs.values())):.4f}, "
        f"difference {difference.mean():+.4f} +- {error:.4f}"
    )
    assert abs(difference.mean()) < 3 * error
    assert their_seconds / our_seconds >= 1.5
