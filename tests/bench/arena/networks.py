"""One network written by hand for each mode of input, in plain PyTorch: what a search has to be as good as.

Each has one architecture and one recipe for all data sets of its mode, chosen before the arena was first run: for
images and tables on other draws than the arena's; for series, of which there is one draw alone, by cross-validation on
ArrowHead's training rows, so that its figure there is a little flattered. AdamW under a one-cycle schedule; the mean of
the weights' last steps (EMA) is kept.

    images   a residual CNN with mean-and-max head (He et al. 2016); random crops, and mirror images where they mean
             the same; label smoothing
    series   ResNet for time series (Wang, Yan and Oates 2017)
    tables   an MLP on periodic embeddings of numbers (Gorishniy, Rubachev and Babenko 2022, "PLR") and embedded
             categories; as many steps as held-out rows said, then all rows from the start
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch's own documents use
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.bench.arena.sets import Array, DataSet

HELD_OUT = 0.2  # of a table's rows, to find the number of steps


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. steps: at least so many, however few rows there are; ema: decay of the mean weights."""

    epochs: int
    steps: int
    batch: int
    lr: float
    weight_decay: float
    smoothing: float = 0.0
    ema: float = 0.99

    def total(self, rows: int) -> int:
        """Steps of a training on so many rows."""
        return max(self.steps, self.epochs * math.ceil(rows / self.batch))


IMAGES = Recipe(epochs=15, steps=800, batch=64, lr=4e-3, weight_decay=0.05, smoothing=0.1)
SERIES = Recipe(epochs=15, steps=500, batch=16, lr=1e-3, weight_decay=0.01, ema=0.0)
TABLES = Recipe(epochs=12, steps=600, batch=128, lr=2e-3, weight_decay=0.05)


def predict(data: DataSet, seed: int) -> Array:
    """Fit the network of the data set's mode on its training rows; a class or a target for each test row."""
    torch.manual_seed(seed)
    if data.mode == "table":
        return _table(data, seed)
    outputs, y = data.classes, torch.from_numpy(data.y_train)
    x, x_test = (torch.from_numpy(part).float() for part in (data.x_train, data.x_test))
    axes = (0, 2, 3) if data.mode == "images" else (0, 1)
    mean, std = x.mean(axes, keepdim=True), x.std(axes, keepdim=True)
    x, x_test = (x - mean) / std, (x_test - mean) / std
    if data.mode == "images":
        network: nn.Module = ImageNet(x.shape[1], outputs)
        trained = fit(network, x, y, IMAGES, augment=lambda batch: cropped(batch, mirrored=data.mirrored))
    else:
        x, x_test = x.transpose(1, 2).contiguous(), x_test.transpose(1, 2).contiguous()
        trained = fit(SeriesNet(x.shape[1], outputs), x, y, SERIES)
    return evaluate(trained, x_test).argmax(1).numpy()


def fit(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    *,
    augment: Callable[[Tensor], Tensor] | None = None,
    steps: int = 0,
    watch: Callable[[int, nn.Module], None] | None = None,
) -> nn.Module:
    """The mean of the network's weights after training on rows x of classes or targets y.

    steps: in place of the recipe's; the schedule stays the recipe's. watch: called with each number of steps done and
    the network of the mean weights.
    """
    total = recipe.total(len(x))
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=total)
    averaging = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
    mean = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
    order: list[int] = []
    for step in range(1, (steps or total) + 1):
        if len(order) < min(recipe.batch, len(x)):
            order += torch.randperm(len(x)).tolist()
        rows, order = order[: recipe.batch], order[recipe.batch :]
        batch = x[rows] if augment is None else augment(x[rows])
        network.train()
        out = network(batch)
        if y.dtype == torch.int64:
            loss = F.cross_entropy(out, y[rows], label_smoothing=recipe.smoothing)
        else:
            loss = F.mse_loss(out[:, 0], y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        mean.update_parameters(network)
        if watch is not None:
            watch(step, mean.module)
    trained: nn.Module = mean.module
    return trained


def evaluate(network: nn.Module, x: Tensor) -> Tensor:
    """(N, outputs) of rows x, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in torch.split(x, 1000)])


# --- images ---------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """(N, C, H, W) -> the same: two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu(x + self.second(F.relu(self.first(x))))
        return y


class ImageNet(nn.Module):
    """(N, C, H, W) -> (N, classes); 153 k parameters for one channel and ten classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, 24), nn.ReLU(), nn.MaxPool2d(2),
            convolution(24, 40), nn.ReLU(), Residual(40), nn.MaxPool2d(2),
            convolution(40, 64), nn.ReLU(), Residual(64),
        )  # fmt: skip
        self.head = nn.Linear(2 * 64, classes)
        for weight in self.body.parameters():
            if weight.dim() == 4:  # on CPU a convolution is 1.3 to 1.7 times faster so
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        y: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return y


def convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))


def cropped(x: Tensor, *, mirrored: bool) -> Tensor:
    """Each image shifted by up to a fourteenth of its side, 2 of 28 pixels; half of them mirrored where they may be."""
    N, _, H, W = x.shape
    pad = max(1, H // 14)
    x = F.pad(x, (pad, pad, pad, pad), value=float(x.min()))
    down, right = torch.randint(0, 2 * pad + 1, (2, N))
    rows = (down[:, None] + torch.arange(H))[:, :, None]
    columns = right[:, None] + torch.arange(W)
    if mirrored:
        columns = torch.where(torch.rand(N, 1) < 0.5, columns.flip(1), columns)
    return x[torch.arange(N)[:, None, None], :, rows, columns[:, None, :]].permute(0, 3, 1, 2)


# --- series ---------------------------------------------------------------------------------------------------------


class SeriesBlock(nn.Module):
    """(N, C, S) -> (N, outputs, S): convolutions of 8, 5 and 3 steps beside a projection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = ((inputs, 8), (outputs, 5), (outputs, 3))
        parts = [
            nn.Sequential(nn.Conv1d(width, outputs, size, padding="same", bias=False), nn.BatchNorm1d(outputs))
            for width, size in sizes
        ]
        self.body = nn.Sequential(parts[0], nn.ReLU(), parts[1], nn.ReLU(), parts[2])
        self.beside = nn.Sequential(nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.beside(x))


class SeriesNet(nn.Module):
    """(N, C, S) -> (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(SeriesBlock(channels, 32), SeriesBlock(32, 64), SeriesBlock(64, 64))
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x).mean(2))
        return y


# --- tables ---------------------------------------------------------------------------------------------------------


class TableNet(nn.Module):
    """(N, numbers + categories) -> (N, outputs). sizes: of each category."""

    def __init__(self, numbers: int, sizes: tuple[int, ...], outputs: int, width: int = 192, embedded: int = 8) -> None:
        super().__init__()
        self.numbers = numbers
        self.frequencies = nn.Parameter(0.05 * torch.randn(numbers, 24))
        self.weights = nn.Parameter(torch.randn(numbers, 48, embedded) / math.sqrt(48))
        self.biases = nn.Parameter(torch.zeros(numbers, embedded))
        self.categories = nn.ModuleList(nn.Embedding(size, min(embedded, size)) for size in sizes)
        inputs = numbers * embedded + sum(min(embedded, size) for size in sizes)
        self.mlp = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(width, outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        angles = 2 * math.pi * x[:, : self.numbers, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 2)  # (N, numbers, 48)
        embedded = F.relu(torch.einsum("ndf,dfe->nde", waves, self.weights) + self.biases)
        codes = x[:, self.numbers :].long()
        parts = [table(codes[:, column]) for column, table in enumerate(self.categories)]
        y: Tensor = self.mlp(torch.cat([embedded.flatten(1), *parts], 1))
        return y


def _table(data: DataSet, seed: int) -> Array:
    from sklearn.model_selection import train_test_split

    numbers = [column for column in range(data.x_train.shape[1]) if column not in data.categories]
    codes = list(data.categories)
    mean, std = data.x_train[:, numbers].mean(0), data.x_train[:, numbers].std(0) + 1e-9
    both = np.concatenate([data.x_train, data.x_test])
    sizes = tuple(int(both[:, column].max()) + 1 for column in codes)
    x, x_test = (
        torch.from_numpy(np.concatenate([(part[:, numbers] - mean) / std, part[:, codes]], 1)).float()
        for part in (data.x_train, data.x_test)
    )
    y = torch.from_numpy(data.y_train)
    centre, spread = 0.0, 1.0
    if not data.classes:
        centre, spread = float(y.mean()), float(y.std())
        y = ((y - centre) / spread).float()

    def fresh() -> nn.Module:
        return TableNet(len(numbers), sizes, max(1, data.classes))

    stratify = data.y_train if data.classes else None
    kept, held = train_test_split(np.arange(len(y)), test_size=HELD_OUT, random_state=seed, stratify=stratify)
    share = _best_share(fresh(), (x[kept], y[kept]), (x[held], y[held]))
    out = evaluate(fit(fresh(), x, y, TABLES, steps=max(1, round(share * TABLES.total(len(x))))), x_test)
    return out.argmax(1).numpy() if data.classes else out[:, 0].numpy() * spread + centre


def _best_share(network: nn.Module, train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> float:
    """The share of the recipe's steps after which held-out rows are predicted best."""
    total = TABLES.total(len(train[0]))
    every = max(1, total // 40)
    losses: dict[int, float] = {}

    def watch(step: int, mean: nn.Module) -> None:
        if step % every == 0:
            out, y = evaluate(mean, held[0]), held[1]
            loss = F.cross_entropy(out, y) if y.dtype == torch.int64 else F.mse_loss(out[:, 0], y)
            losses[step] = float(loss)

    fit(network, *train, TABLES, watch=watch)
    return min(losses, key=lambda step: losses[step]) / total
