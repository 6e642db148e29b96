"""scikit-learn's estimators: `EvoSearchClassifier(budget=30).fit(X, y)`, in a Pipeline, a grid search, cross_val_score.

`fit` is a run (evosearch.study) in a folder that is gone afterwards: a part of the rows judges candidates, and the best
one is trained on all of them. What is kept is the run's best/, the code of the network and its weights, so that a
fitted estimator is pickled as plain values.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d, validate_data

from evosearch import given, tasks
from evosearch.study import Study
from evosearch.tasks import TaskSettings
from evosearch.tasks.encode import encode
from evosearch.tasks.source import TEMPERATURE

if TYPE_CHECKING:
    from torch import nn

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST = 5  # rows: some to train on, and some to judge by


class _Fitting(Study):
    """A study whose test rows are a few of those to fit on: what they come to says nothing."""

    _untold = ("test rows",)


class _Searched(BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """What classifier and regressor have in common; the docstrings of both say what the parameters are."""

    _columns: Any = ()  # how rows are made numbers here, and not in the network's code: with several targets

    def __init__(
        self,
        *,
        time: str | float | None = None,
        budget: int | None = None,
        grammar: str | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        settings: Mapping[str, Any] | None = None,
        folder: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        self.time = time
        self.budget = budget
        self.grammar = grammar
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.settings = settings
        self.folder = folder
        self.verbose = verbose

    def _taken(self, X: Any, y: Any, **checks: Any) -> tuple[Any, Array]:
        """X and y, checked: arrays, or a DataFrame as it is where more than numbers is in it."""
        self._mixed, y = _is_mixed(X), _plain(y)
        self._columns = ()
        if not self._mixed:
            X, y = validate_data(self, X, y, accept_sparse="csr", allow_nd=True, dtype="numeric", **checks)
            X = X.toarray() if issparse(X) else X  # a network reads all of a row
        else:
            validate_data(self, X, skip_check_array=True)  # remembers the columns' names
            y = check_array(y, ensure_2d=False, dtype="numeric" if "y_numeric" in checks else None)
            y = y if checks.get("multi_output") and y.ndim == 2 else column_or_1d(y)
            check_consistent_length(X, y)
        self._axes, self._shape = len(X.shape), tuple(X.shape[1:])
        return X, y

    def _search(self, X: Any, y: Array, kind: str, groups: Any = None) -> Self:
        """Run a search on rows X with targets y as a task takes them, and keep its result. groups: (N,), or None."""
        if len(X) < FEWEST:
            raise ValueError(f"n_samples={len(X)} is too few to search with; at least {FEWEST} are needed")
        if groups is not None:
            groups = column_or_1d(_plain(groups))
            check_consistent_length(X, groups)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        with TemporaryDirectory(prefix="evosearch-") as place:
            folder = Path(place) / "run" if self.folder is None else Path(self.folder)
            settings = dict(self.settings or {})
            if self._mixed and y.ndim == 2:
                X = self._encoded(X, y, Path(place), settings)
            task, data = self._task(X, y, folder, groups)
            settings = {**data, "data.kind": kind, **self._workers(), **settings}
            if self.grammar is not None:
                settings["grammar"] = self.grammar
            size = {"time": None if self.time is None else str(self.time), "search.budget": self.budget}
            settings |= {key: value for key, value in size.items() if value is not None}
            with _threads_as_they_were():
                study = _Fitting(task=task, folder=folder, seed=self.seed_, **settings)
                summary = study.optimize(progress=bool(self.verbose))
            self.source_ = (folder / "best" / "model.py").read_text(encoding="utf-8")
            self.weights_ = (folder / "best" / "weights.safetensors").read_bytes()
        self.architecture_, self.fitness_ = summary.best_text, summary.fitness
        self._load()
        return self

    def _task(self, X: Any, y: Array, folder: Path, groups: Any) -> tuple[Any, dict[str, Any]]:
        """What a study is given, and what else of its configuration follows.

        A task has test rows. Here they are with whoever calls `score`; a few of those to fit on stand in for them.
        """
        rows = np.unique(y[:, 0] if y.ndim == 2 else y, return_index=True)[1][:100]
        some = () if groups is None else (groups,)
        if not self._mixed or self._columns:
            task = {"x_train": X, "y_train": y, "x_test": X[rows], "y_test": y[rows]}
            of = {
                f"{given.GROUPS}_{split}": one[part] for one in some for split, part in (("train", ...), ("test", rows))
            }
            return task | of, {"data.groups": given.GROUPS} if of else {}
        beside = folder.with_name(f"{folder.name}-data")
        given.spec((_safe_indexing(X, rows), y[rows], *(one[rows] for one in some)), beside / "test")
        file, data = given.spec((X, y, *some), beside / "train")
        return file, {f"data.{name}": value for name, value in data.items()}

    def _encoded(self, X: Any, y: Array, place: Path, settings: dict[str, Any]) -> Array:
        """Rows of a DataFrame as numbers (N, D), read as a table is: a table has one target, and here are several.

        y: (N, outputs). place: for its file. settings: what says how columns are read is taken out of them.
        """
        file, data = given.spec((X, y[:, 0]), place / "table.csv")
        said = {name: settings.pop(f"data.{name}") for name in ("words", "drop") if f"data.{name}" in settings}
        read: Any = tasks.load(file, TaskSettings(**{**data, "kind": "regression", **said}))
        self._columns, self._names = read.columns, read.names[:-1]
        encoded: Array = encode(self._columns, X, self._names)
        return encoded

    def _workers(self) -> dict[str, Any]:
        """One evaluation at a time in this process, or so many processes; -1 is one for each core."""
        jobs = 1 if self.n_jobs is None else self.n_jobs
        if jobs < -1 or jobs == 0:
            raise ValueError(f"n_jobs={jobs}: say how many processes, or -1 for one for each core")
        return {"workers.pool": "inline"} if jobs == 1 else {"workers.workers": max(jobs, 0)}

    def _load(self) -> None:
        """The network of the kept code and weights."""
        from safetensors.torch import load

        self._model = _module(self.source_)
        self._network: nn.Module = self._model.Network()
        self._network.load_state_dict(load(self.weights_))
        self._network.eval()

    def _outputs(self, X: Any) -> Array:
        """(N, outputs) of the network, float64."""
        import torch

        check_is_fitted(self)
        if self._mixed:
            if not hasattr(X, "columns"):
                raise ValueError(f"fitted on a DataFrame; give one with its columns, and no {type(X).__name__}")
            validate_data(self, X, reset=False, skip_check_array=True)
        else:
            if _is_mixed(X):
                raise ValueError(
                    "X has gaps (NaN) or words, and the DataFrame that was fitted on had numbers alone; fill them, or "
                    "fit on one with gaps"
                )
            X = validate_data(self, X, reset=False, accept_sparse="csr", allow_nd=True, dtype="numeric")
        if len(X.shape) != self._axes or tuple(X.shape[1:]) != self._shape:
            raise ValueError(f"X has shape {X.shape}, and was (N, {', '.join(map(str, self._shape))}) when fitted")
        # In float64, where it costs nothing that counts: a row's answer then does not hang on the rows beside it.
        dtype = torch.float64 if self._axes == 2 else torch.float32
        network = self._network.to(dtype)
        with torch.no_grad():
            parts = [network(self._prepared(part).to(dtype)) for part in _parts(X)]
        found: Array = torch.cat(parts).double().numpy()
        return found

    def _prepared(self, X: Any) -> Any:
        """Rows as the network takes them, a tensor."""
        if self._mixed:
            return self._model.preprocess(encode(self._columns, X, self._names) if self._columns else X)
        return self._model.preprocess(np.array(X.toarray() if issparse(X) else X, dtype=np.float64))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Without what `_load` makes anew."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_model", "_network")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "weights_" in state:
            self._load()


class EvoSearchClassifier(ClassifierMixin, _Searched):  # type: ignore[misc]  # scikit-learn publishes no types
    """A classifier that searches for a network.

    time: that `fit` may take, as "10m" or in seconds. budget: candidates to evaluate; where neither is said, 80.
    grammar: name or path of a grammar; None for one that fits X, with recipe, limits and known networks to start from:
    (N, D) rows of a table, (N, S, D) series, (N, C, H, W) images. n_jobs: evaluations at a time; None is one,
    in this process, -1 one for each core. random_state: of all randomness; the same int finds the same network.
    settings: other keys of the configuration, dotted: {"recipe.epochs": 20}. folder: where the run is to stay; None
    keeps what is needed to predict alone. verbose: 1 to watch.

    Fitted: classes_, n_features_in_, architecture_ (the network's sentence), fitness_ (on the rows that judged it),
    source_ and weights_ (the network as PyTorch code and safetensors), seed_.
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Search on rows X and their classes y, (N,).

        X: (N, D), (N, S, D) or (N, C, H, W) numbers, a sparse matrix, or a DataFrame of any columns. groups: (N,)
        numbers or words; rows of one group are never both trained on and judged by.

        Raises ValueError where they are no data to classify, EvosearchError where a setting is wrong.
        """
        X, y = self._taken(X, y)
        kinds = sorted({type(one).__name__ for one in y.tolist()}) if y.dtype == object else []
        if len(kinds) > 1:
            raise ValueError(f"y holds {' and '.join(kinds)} values; give labels of one type, and one for each row")
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {self.classes_[0]!r}; there is nothing to classify")
        return self._search(X, numbers, "classification", groups)

    def predict_proba(self, X: Any) -> Array:
        """(N, classes): the probability of each of `classes_`."""
        out = self._outputs(X) / getattr(self._model, TEMPERATURE, 1.0)  # of a model of before, none was fitted
        exponents = np.exp(out - out.max(1, keepdims=True))
        found: Array = exponents / exponents.sum(1, keepdims=True)
        return found

    def predict(self, X: Any) -> Array:
        """(N,): the likeliest class of each row."""
        out = self._outputs(X)
        found: Array = self.classes_[out.argmax(1)]
        return found


class EvoSearchRegressor(RegressorMixin, _Searched):  # type: ignore[misc]  # scikit-learn publishes no types
    """A regressor that searches for a network; the parameters and what is fitted are EvoSearchClassifier's.

    y may have several columns, which are predicted together.
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Search on rows X with their groups, as a classifier takes them, and their targets y, (N,) or (N, outputs).

        Of a DataFrame with other columns than numbers and several targets, `source_` takes its rows as numbers.

        Raises ValueError where they are no numbers, EvosearchError where a setting is wrong.
        """
        X, y = self._taken(X, y, multi_output=True, y_numeric=True)
        self._flat = y.ndim == 1
        return self._search(X, np.asarray(y, np.float64), "regression", groups)

    def predict(self, X: Any) -> Array:
        """The targets of each row, of the shape that y had."""
        out = self._outputs(X)
        found: Array = out * self._model.TARGET_STD.double().numpy() + self._model.TARGET_MEAN.double().numpy()
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _is_mixed(X: Any) -> bool:
    """Whether this is a DataFrame with anything else than numbers in it: words, dates, categories, gaps."""
    columns = [X[name] for name in X.columns] if hasattr(X, "columns") else []
    if any(given.is_category(getattr(one, "dtype", "")) for one in columns):
        return True
    return any(one.dtype.kind not in "biuf" or bool((one != one).any()) for one in map(np.asarray, columns))


def _plain(y: Any) -> Any:
    """Targets of pandas' nullable types as NumPy's, which scikit-learn would make floats of; others as they are."""
    plain = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
    return y if plain is None or y.isna().any() else y.astype(plain)


def _parts(X: Any, size: int = 1000) -> Iterator[Any]:
    """Some rows at a time; one part without rows where there are none."""
    return (_safe_indexing(X, slice(at, at + size)) for at in range(0, max(X.shape[0], 1), size))


def _module(source: str) -> types.ModuleType:
    """The code of best/model.py as a module."""
    module = types.ModuleType("evosearch.generated")
    exec(compile(source, "<model.py>", "exec"), vars(module))  # noqa: S102 - what evosearch itself has written
    return module


@contextlib.contextmanager
def _threads_as_they_were() -> Iterator[None]:
    """Puts back torch's number of threads, which evaluations in this process set."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


__all__ = ["EvoSearchClassifier", "EvoSearchRegressor"]
