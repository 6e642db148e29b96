"""The estimators keep scikit-learn's contract, and are a run whose seed, grammar and settings can be said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csc_array, csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from evosearch import EvoSearchClassifier, EvoSearchRegressor, Study
from evosearch.errors import ConfigError

QUICK: dict[str, Any] = {
    "recipe.epochs": 8,
    "recipe.batch": 16,
    "recipe.optimizer": "adamw",
    "recipe.lr": 0.01,
    "final.epochs": 40,
    "search.population": 2,
    "search.tournament": 2,
    "workers.device": "cpu",
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))


ONCE = QUICK | {
    "recipe.folds": 1,
    "final.epochs": 20,
}  # judged by held-out rows, where it is not the figure that counts


def classifier(**more: Any) -> EvoSearchClassifier:
    return EvoSearchClassifier(**{"budget": 2, "random_state": 0, "settings": QUICK, **more})


def blobs(rows: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    kinds = np.arange(rows) % 3
    return rng.normal(size=(rows, 4)) + 3 * kinds[:, None], np.array(["ant", "bee", "cat"])[kinds]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EvoSearchClassifier, EvoSearchRegressor])
def test_scikit_learns_own_checks_pass(kind: Any) -> None:
    """All of check_estimator with a fixed budget; it asks for better than 0.83 on blobs and 0.5 on a plane."""
    results = estimator_checks.check_estimator(kind(budget=2, settings=QUICK | {"recipe.folds": 1}), on_skip=None)
    assert len(results) > 50
    assert {one["check_name"] for one in results if one["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.parametrize("kind", [EvoSearchClassifier, EvoSearchRegressor])
@pytest.mark.parametrize(
    "check",
    [
        "check_no_attributes_set_in_init",
        "check_estimators_unfitted",
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_dict_unchanged",
        "check_estimators_nan_inf",
        "check_methods_subset_invariance",
    ],
)
def test_scikit_learns_checks_that_found_something(kind: Any, check: str) -> None:
    """Those of check_estimator that failed while this was written, and their like."""
    getattr(estimator_checks, check)(kind.__name__, kind(budget=2, settings=QUICK))


def test_nothing_is_said_of_rows_that_stand_in_for_those_to_test_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither that they are copies of those to fit on, which they are, nor that a linear model is better on them."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    quick: dict[str, Any] = {"budget": 1, "grammar": "mlp", "random_state": 0}
    EvoSearchRegressor(**quick, settings={**QUICK, "final.epochs": 1}).fit(x, x @ [1.0, 2.0, 3.0])
    assert capsys.readouterr() == ("", "")
    EvoSearchRegressor(**quick, settings=QUICK, verbose=1).fit(x, x @ [1.0, 2.0, 3.0])
    told = "".join(capsys.readouterr())
    assert "rows to train on" in told
    assert "test rows" not in told


def test_labels_of_any_type_come_back_with_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is said meanwhile, where nobody asked to watch."""
    x, y = blobs()
    model = classifier().fit(x, y)
    assert capsys.readouterr() == ("", "")
    assert model.score(x, y) > 0.9
    assert list(model.classes_) == ["ant", "bee", "cat"]
    chances = model.predict_proba(x)
    assert np.allclose(chances.sum(1), 1)
    assert (model.classes_[chances.argmax(1)] == model.predict(x)).all()
    for labels, kind in (
        (pd.Series(y == "ant", dtype="boolean"), bool),
        (pd.array(np.arange(60) % 2, "Int64"), np.int64),
    ):
        assert classifier(budget=1, settings=ONCE | {"final.epochs": 1}).fit(x, labels).predict(x).dtype == kind


def test_it_works_where_estimators_work() -> None:
    """In a pipeline, cross-validated; cloned; pickled, without evosearch's folder."""
    x, y = blobs(150)
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipeline, x, y, cv=2).min() > 0.8
    fitted = pipeline.fit(x, y)
    joblib.dump(fitted, file := io.BytesIO())
    again = joblib.load(io.BytesIO(file.getvalue()))
    assert (again.predict_proba(x) == fitted.predict_proba(x)).all()
    assert clone(fitted[-1]).get_params() == fitted[-1].get_params()


def test_a_grid_searches_over_grammars() -> None:
    x, y = blobs(90)
    split = [(np.arange(60), np.arange(60, 90))]
    search = GridSearchCV(classifier(budget=1, settings=ONCE), {"grammar": ["mlp", "tabular"]}, cv=split)
    assert search.fit(x, y).best_params_["grammar"] in ("mlp", "tabular")
    assert search.best_score_ > 0.6
    assert search.predict(x).shape == (90,)


def people(rows: int = 60) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    age, job = rng.integers(20, 60, rows), np.array(["smith", "nurse", None])[np.arange(rows) % 3]
    hired = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, rows), "D")
    return pd.DataFrame({"age": age, "job": job, "hired": hired}), np.where(age > 40, "old", "young")


def test_a_data_frame_of_words_is_taken_as_it_is(tmp_path: Path) -> None:
    """Words, gaps and dates; new words and other gaps in what is predicted; pickled, and in a Pipeline."""
    x, y = people()
    model = classifier(folder=tmp_path / "run", settings=ONCE).fit(x, y)
    assert model.score(x, y) > 0.7
    assert list(model.feature_names_in_) == ["age", "job", "hired"]
    asked = x.assign(job="pilot", hired=None)
    asked.loc[0, "age"] = None
    joblib.dump(model, file := io.BytesIO())
    again = joblib.load(io.BytesIO(file.getvalue()))
    assert (again.predict_proba(asked) == model.predict_proba(asked)).all()
    assert np.isfinite(model.predict_proba(asked)).all()
    assert Study.resume(tmp_path / "run").best.text == model.architecture_
    with pytest.raises(ValueError, match="feature names"):
        model.predict(x[["job", "age", "hired"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.predict(x.assign(more=1))
    assert (model.predict(x.assign(more=1)[model.feature_names_in_]) == model.predict(x)).all()
    assert len(Study.resume(tmp_path / "run").predict(x.assign(more=1))) == len(x)
    with pytest.raises(ValueError, match="fitted on a DataFrame"):
        model.predict(x.to_numpy())
    numbers = classifier(budget=1, settings=ONCE).fit(x[["age"]], y)
    with pytest.raises(ValueError, match=r"X has gaps \(NaN\) or words, and the DataFrame that was fitted"):
        numbers.predict(x[["age"]].where(x["age"] > 30))
    gaps = x[["age"]].assign(gap=np.where(x["age"] % 2, np.nan, 1.0))
    assert classifier(budget=1, settings=ONCE).fit(gaps, y).predict(gaps).shape == (60,)
    hundreds = EvoSearchRegressor(budget=1, random_state=0, settings=ONCE).fit(x, 100.0 * x["age"])
    assert abs(hundreds.predict(x).mean() - 100 * x["age"].mean()) < 1000


def test_a_sparse_matrix_is_taken_as_the_dense_one() -> None:
    x, y = blobs(40)
    x[np.abs(x) < 1] = 0
    model = classifier(budget=1, settings=ONCE).fit(csr_matrix(x), y)
    assert (model.predict_proba(csc_array(x)) == model.predict_proba(x)).all()


def test_weights_of_samples_are_refused() -> None:
    """Whoever has some is told that they would count for nothing."""
    x, y = blobs()
    with pytest.raises(TypeError, match="sample_weight"):
        classifier().fit(x, y, sample_weight=np.ones(60))  # type: ignore[call-arg]


def test_the_random_state_decides_what_is_found() -> None:
    x, y = blobs()
    one, same, other = (classifier(random_state=seed).fit(x, y) for seed in (1, 1, 2))
    assert one.source_ == same.source_
    assert one.weights_ == same.weights_
    assert one.weights_ != other.weights_


def test_images_and_series_find_a_grammar_that_fits_them() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    images = rng.normal(size=(40, 1, 6, 6)) + y[:, None, None, None]
    model = EvoSearchClassifier(budget=1, random_state=0, settings=QUICK | {"recipe.folds": 1}).fit(images, y)
    assert model.predict(images).shape == (40,)
    with pytest.raises(ValueError, match="when fitted"):
        model.predict(images[:, :, :4])
    series = EvoSearchClassifier(budget=1, random_state=0, settings=QUICK | {"recipe.folds": 1, "final.epochs": 2})
    assert series.fit(images[:, 0], y).predict(images[:, 0]).shape == (40,)


def test_a_time_ends_the_search() -> None:
    x, y = blobs()
    model = EvoSearchClassifier(time=2, random_state=0, settings={"workers.device": "cpu"}).fit(x, y)
    assert model.score(x, y) > 0.5


def test_several_targets_are_predicted_together_in_their_own_units() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.stack([100 * x[:, 0] + 1000, x[:, 1]], 1)
    model = EvoSearchRegressor(budget=2, random_state=0, settings=QUICK).fit(x, y)
    assert model.predict(x).shape == (200, 2)
    assert abs(model.predict(x)[:, 0].mean() - 1000) < 50
    assert model.score(x, y) > 0.5
    assert EvoSearchRegressor(budget=2, settings=QUICK).fit(x, y[:, 0]).predict(x).shape == (200,)


def test_several_targets_of_rows_with_words_and_gaps() -> None:
    """Each column by its kind, the targets together; a column of numbers may be named as one of words."""
    rng = np.random.default_rng(0)
    word, number, code = rng.choice(["u", "v"], 200), rng.normal(size=200), rng.integers(1, 4, 200)
    x = pd.DataFrame({"number": number, "word": word, "code": code})
    x.loc[3, "number"] = np.nan
    y = np.stack([100 * number + 1000, 3.0 * (word == "u")], 1)
    model = EvoSearchRegressor(budget=2, random_state=0, settings=QUICK | {"data.words": ["code"]}).fit(x, y)
    assert model.predict(x).shape == (200, 2)
    assert model.predict(x.iloc[:0]).shape == (0, 2)
    assert model.score(x[4:], y[4:]) > 0.5
    joblib.dump(model, file := io.BytesIO())
    assert np.array_equal(joblib.load(io.BytesIO(file.getvalue())).predict(x), model.predict(x))
    assert model.n_features_in_ == 3
    assert model.fit(x, y[:, 0]).predict(x).shape == (200,)


def test_the_run_can_be_kept_and_evaluated_by_processes(tmp_path: Path) -> None:
    x, y = blobs()
    threads = torch.get_num_threads()
    model = classifier(folder=tmp_path / "run", n_jobs=2).fit(x, y)
    assert torch.get_num_threads() == threads
    assert Study.resume(tmp_path / "run").best.text == model.architecture_
    with pytest.raises(ValueError, match="n_jobs=0"):
        classifier(n_jobs=0).fit(x, y)


def test_what_cannot_be_fitted_is_said() -> None:
    x, y = blobs()
    with pytest.raises(ValueError, match="one class"):
        classifier().fit(x, np.zeros(60, int))
    for frame in (x, people()[0]):
        with pytest.raises(ValueError, match="y holds NoneType and str values; give labels of one type"):
            classifier().fit(frame, np.array(["a", "b", None] * 20, dtype=object))
    with pytest.raises(ValueError, match="n_samples=4"):
        classifier().fit(x[:4], y[:4])
    with pytest.raises(ConfigError, match=r"recipe\.epoch"):
        classifier(settings={"recipe.epoch": 3}).fit(x, y)
