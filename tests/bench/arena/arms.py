"""What competes in the arena: each arm fits on a data set's training rows and is judged once on its test rows.

The models of scikit-learn have its defaults, after what each needs of its input: numbers standardised, categories as
0/1 columns (as categories for the gradient boosting). They and the networks by hand run on one thread; `evolve run`
takes the cores that it finds, as it does for anybody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.arena.sets import Array, DataSet

SEARCHES: Mapping[str, tuple[str, ...]] = {"evosearch": (), "random search": ("--strategy", "random")}


class ArmError(Exception):
    """An arm that came to no figure; the message says why."""


@dataclass(frozen=True)
class Result:
    """The figure on the test rows, larger is better; more: what else is worth keeping of how it came about."""

    value: float
    more: Mapping[str, Any] = field(default_factory=dict)


def names() -> tuple[str, ...]:
    """The arms' names, in the order in which they are measured: cheap ones first."""
    return (*_MODELS, "by hand", *SEARCHES)


def measure(arm: str, data: DataSet, seed: int, time: str, folder: Path) -> Result:
    """Fit an arm and judge it. time: what a search is given, as `--time` reads it. Raises ArmError."""
    if arm in SEARCHES:
        return search(SEARCHES[arm], data, seed, time, folder)
    import torch
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        torch.set_num_threads(1)
        if arm == "by hand":
            from tests.bench.arena import networks

            return Result(judged(data, networks.predict(data, seed)))
        return Result(judged(data, _fitted(arm, data, seed)))


def judged(data: DataSet, predicted: Array) -> float:
    """The data set's metric of a prediction for each test row."""
    from sklearn.metrics import accuracy_score, r2_score

    return float((accuracy_score if data.classes else r2_score)(data.y_test, predicted))


# --- evosearch ------------------------------------------------------------------------------------------------------


def search(flags: Sequence[str], data: DataSet, seed: int, time: str, folder: Path) -> Result:
    """`evolve run --task FILE --time TIME` as anybody types it, with a seed, its own folders and an empty ledger.

    Raises ArmError.
    """
    command = [sys.executable, "-m", "evosearch", "run", "--task", str(data.file), "--time", time, *flags]
    places = ["--seed", str(seed), "--runs", str(folder / "runs"), "--name", "arena", "--json"]
    there = {**os.environ, "EVOSEARCH_CACHE": str(folder / "ledger")}
    done = subprocess.run([*command, *places], cwd=folder, env=there, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("evolve: ")]
        raise ArmError(said[-1] if said else f"exit code {done.returncode}: {done.stderr[-500:]}")
    summary = json.loads(done.stdout)
    if data.metric not in summary["test_metric"]:
        raise ArmError(f"judged by {', '.join(summary['test_metric'])}, and {data.metric} is asked for")
    more = {"candidates": summary["evaluated"], "validation": summary["fitness"], "best": summary["best_text"]}
    if data.metric in summary["single"]:
        more |= {"single": summary["single"][data.metric], "networks": summary["networks"]}
    return Result(float(summary["test_metric"][data.metric]), more)


# --- scikit-learn ---------------------------------------------------------------------------------------------------


def _fitted(arm: str, data: DataSet, seed: int) -> Array:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(*_MODELS[arm](data, seed))
    if not data.classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    flat, flat_test = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (data.x_train, data.x_test))
    predicted: Array = model.fit(flat, data.y_train).predict(flat_test)
    return predicted


def _encoder(data: DataSet) -> Any:
    """Numbers standardised, categories as 0/1 columns."""
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((hot, list(data.categories)), remainder=StandardScaler())


def _linear(data: DataSet, seed: int) -> list[Any]:
    from sklearn.linear_model import LogisticRegression, Ridge

    return [_encoder(data), LogisticRegression(max_iter=1000) if data.classes else Ridge()]


def _forest(data: DataSet, seed: int) -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return [_encoder(data), (RandomForestClassifier if data.classes else RandomForestRegressor)(random_state=seed)]


def _boosting(data: DataSet, seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    return [kind(categorical_features=list(data.categories) or None, random_state=seed)]


def _mlp(data: DataSet, seed: int) -> list[Any]:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if data.classes else MLPRegressor
    return [_encoder(data), kind(early_stopping=True, max_iter=1000, random_state=seed)]


def _nearest(data: DataSet, seed: int) -> list[Any]:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    return [_encoder(data), (KNeighborsClassifier if data.classes else KNeighborsRegressor)(n_neighbors=1)]


_MODELS: Mapping[str, Callable[[DataSet, int], list[Any]]] = {
    "linear": _linear,
    "random forest": _forest,
    "gradient boosting": _boosting,
    "scikit-learn MLP": _mlp,
    "1-nearest neighbour": _nearest,
}
