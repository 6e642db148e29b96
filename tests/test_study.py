"""A study is a run, from Python: data in memory, functions, ask and tell, going on; from any kind of interpreter."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.utils.data import TensorDataset

import evosearch
from evosearch import engine, given, inference
from evosearch.config import NO_END
from evosearch.engine.replay import longest_time
from evosearch.errors import RunError, TaskError, UsageError
from evosearch.report import notebook
from evosearch.report.reading import read_run
from evosearch.store.run import Run
from evosearch.study import Study
from evosearch.tasks import Task, TaskSettings, load
from evosearch.tasks.encode import encode
from evosearch.watch import Progress

QUICK: dict[str, Any] = {
    "recipe": {"epochs": 1, "batch": 16},
    "final": {"epochs": 2},
    "search": {"budget": 3, "population": 2, "tournament": 2},
    "workers": {"pool": "inline", "device": "cpu"},
}
WORDS = '// input: none\nstart: word+ // more=0.8\nword: "a" | "b"\n'


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOSEARCH_CACHE", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)


def blobs(rows: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 3
    return (rng.normal(size=(rows, 4)) + 3 * y[:, None]).astype(np.float32), y


def language(tmp_path: Path) -> str:
    (tmp_path / "words.lark").write_text(WORDS)
    return str(tmp_path / "words.lark")


def test_a_pair_of_arrays_is_searched_and_gone_on_with(tmp_path: Path) -> None:
    """As many candidates more as asked for, best/ written anew; another process can go on from the folder alone."""
    x, y = blobs()
    study = Study(task=(x, y), grammar="mlp", folder=tmp_path / "runs/blobs", **QUICK)
    seen: list[int] = []
    summary = study.optimize(callbacks=[lambda study, progress: seen.append(progress.evaluated)], progress=False)
    assert summary.evaluated == 3
    assert seen[-1] == 3
    assert "accuracy" in summary.test_metric
    assert study.best.key == summary.best_key
    assert study.network()(torch.zeros(2, 4)).shape == (2, 3)
    assert Study.resume(study.folder).optimize(budget=2, progress=False).evaluated == 5
    assert [row["number"] for row in study.rows()] == [0, 1, 2, 3, 4]
    assert {"params", "accuracy", "status", "text"} <= set(study.rows()[0])
    front = study.pareto()
    assert front
    assert all(one.status == "ok" for one in front)


def test_what_is_not_said_follows_from_the_data(tmp_path: Path) -> None:
    """Grammar, recipe and seeds; the size of the search is a number of candidates, or the time that is given."""
    assert Study(task=blobs()).folder == Path("runs/study")
    study = Study(task=blobs(), folder=tmp_path / "a", workers={"pool": "inline", "device": "cpu"})
    assert (study.config.grammar, study.config.recipe.optimizer) == ("tables", "adamw")
    assert (study.config.time, study.config.search.budget) == ("", 80)
    assert study.config.seeds
    summary = study.optimize(time=1, progress=False)
    assert study.config.time == "1"
    assert summary.test_metric
    more = study.optimize(time="1s", progress=False)
    assert more.evaluated >= summary.evaluated
    assert longest_time(Run.open(study.folder)) != "1"
    with pytest.raises(UsageError, match=r"its time ends it, and no number of candidates; optimize\(time=...\) it"):
        study.optimize(budget=5, progress=False)


def test_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    first, second = (Study(task=blobs(), grammar="mlp", folder=tmp_path / name, seed=5, **QUICK) for name in "ab")
    first.optimize(progress=False)
    second.optimize(progress=False)
    assert [row["text"] for row in first.rows()] == [row["text"] for row in second.rows()]


def test_changed_data_are_noticed(tmp_path: Path) -> None:
    """The file beside the run is what the run was started with, or the run does not go on."""
    x, y = blobs()
    study = Study(task=(x, y), grammar="mlp", folder=tmp_path / "a", **QUICK)
    study.optimize(progress=False)
    given.spec((x + 1, y), tmp_path / "a-data")
    with pytest.raises(RunError, match="task changed"):
        Study.resume(study.folder).optimize(budget=1, progress=False)


def test_a_torch_data_set_and_a_mapping_are_tasks(tmp_path: Path) -> None:
    x, y = blobs()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    assert Study(task=data, grammar="mlp", folder=tmp_path / "a", **QUICK).optimize(progress=False).evaluated == 3
    arrays = {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}
    study = Study(task=arrays, grammar="mlp", folder=tmp_path / "b", **QUICK)
    assert study.optimize(progress=False).test_metric
    with np.load(study.config.task) as saved:
        assert (saved["x_test"] == x[40:]).all()
    halves = TensorDataset(data.tensors[0].bfloat16(), data.tensors[1])
    with np.load(given.spec(halves, tmp_path / "half")[0]) as saved:
        assert np.allclose(saved["x"], x, rtol=0.01)
    for name in ("test", "validation", "Val"):
        splits = {"train": TensorDataset(*data[:40]), name: TensorDataset(*data[40:])}
        with np.load(given.spec(splits, tmp_path / "c")[0]) as saved:
            assert (saved["x_train"] == x[:40]).all()
            assert (saved[f"y_{name}"] == y[40:]).all()


def test_a_data_frame_is_written_with_its_columns(tmp_path: Path) -> None:
    """Its names, words and gaps; the targets last, by their own name."""

    class Column:
        def __init__(self, values: list[Any]) -> None:
            self.values = values

        def to_numpy(self) -> np.ndarray[Any, Any]:
            return np.array(self.values, dtype=object)

    class Frame(dict[str, Column]):
        columns = property(list)

    frame = Frame(age=Column([31, float("nan")]), job=Column(["smith", None]))
    task, data = given.spec((frame, np.array(["yes", "no"])), tmp_path / "people")
    assert Path(task).read_bytes() == b"age,job,target\r\n31,smith,yes\r\n,,no\r\n"
    assert data == {"target": "target", "header": "yes"}


def test_a_data_frame_of_any_columns_is_a_table(tmp_path: Path) -> None:
    """Gaps of every kind, categories, times; with its targets in it, beside it, or in a frame of one column."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3] * 10, dtype="Int64"),
            "kind": pd.Categorical(["a", "b", None] * 10),
            "day": pd.to_datetime(["2024-01-01", None, "2024-03-01 12:00"] * 10, format="ISO8601"),
            "good": [True, False, True] * 10,
            "y": ["no", "yes", "no"] * 10,
        }
    )
    inputs = frame.drop(columns="y")
    ways = (frame, (inputs, frame["y"]), (inputs, frame[["y"]]))
    read = []
    for number, task in enumerate(ways):
        name, data = given.spec(task, tmp_path / f"way-{number}")
        read.append(load(name, TaskSettings(**data)))
    assert len({one.digest for one in read}) == 1
    assert isinstance(read[0], Task)
    assert [column["type"] for column in read[0].columns] == ["number", "category", "date", "category"]
    assert (read[0].values, read[0].target) == (("no", "yes"), "y")
    name, data = given.spec((frame, list(range(30))), tmp_path / "free")
    assert data["target"] == "target"
    with pytest.raises(TaskError, match="column 'y' of X has the name of the target"):
        given.spec((frame, frame["y"]), tmp_path / "twice")
    with pytest.raises(TaskError, match="29 targets for 30 rows"):
        given.spec((inputs, frame["y"][:29]), tmp_path / "short")
    with pytest.raises(TaskError, match=r"targets of shape \(30, 2\); a table has one for each row"):
        given.spec((inputs, frame[["y", "n"]]), tmp_path / "two")


def test_a_frames_types_say_what_its_numbers_are(tmp_path: Path) -> None:
    """Categories and texts stay words, lengths of time are days; the frame is encoded as its file is."""
    pd = pytest.importorskip("pandas")
    n = np.arange(60)
    frame = pd.DataFrame(
        {
            " ward ": pd.Categorical(n % 3),
            "code": (n % 4).astype(str),
            "stay": pd.to_timedelta(n * 43200, unit="s"),
            None: n,
            "y": (n % 2).astype(str),
        }
    )
    name, data = given.spec(frame, tmp_path / "a")
    task = load(name, TaskSettings(**data))
    assert isinstance(task, Task)
    assert task.values == ("0", "1")
    assert [column["type"] for column in task.columns] == ["category", "category", "number", "number"]
    rows = encode(task.columns, frame)
    assert rows[:3, 7].tolist() == [0, 0.5, 1.0]
    kept = np.concatenate([task.train.x, task.validation.x, task.test_split().x])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, kept.tolist()))
    beside = load(given.spec((frame[["code"]], frame["stay"]), tmp_path / "c")[0])
    assert isinstance(beside, Task)
    assert beside.train.y.max() < 30
    ages = pd.Series(pd.Categorical(n % 25))
    for y in (ages, ages.to_frame("age")):
        assert given.spec((frame[["code"]], y), tmp_path / "b")[1]["kind"] == "classification"


def test_the_column_to_predict_may_be_any(tmp_path: Path) -> None:
    """Categories of numbers are words in the last column too, where another holds the targets, and classes there."""
    n = np.arange(60)
    frame = pd.DataFrame({"y": n / 2, "dose": n, "ward": pd.Categorical(n % 3)})
    study = Study(task=frame, grammar="mlp", folder=tmp_path / "a", data={"target": "y"}, **QUICK)
    assert (study.config.data.words, study.config.data.kind) == (("ward",), "auto")
    for target in ("", "ward", "-1"):
        assert given.spec(frame, tmp_path / "b", target)[1] == {"header": "yes", "kind": "classification"}


def test_a_column_of_many_categories_keeps_the_most_frequent(tmp_path: Path) -> None:
    """Thousands of numbers or words, said to be categories: all but a thousand are one more; dates stay dates."""
    n = np.arange(6000)
    often = np.where(n < 3000, n, n % 900 + 3000)
    days = pd.date_range("2000-01-01", periods=6000).strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {"id": often, "name": [f"w{one}" for one in often], "day": days, "y": np.where(n % 2, "a", "b")}
    )
    frame = frame.astype(dict.fromkeys(("id", "name", "day"), "category"))
    file, data = given.spec(frame, tmp_path / "a")
    assert data["words"] == ["id", "name"]
    task = load(file, TaskSettings(**data))
    assert isinstance(task, Task)
    assert [column["type"] for column in task.columns] == ["category", "category", "date"]
    kept = {int(one) for one in task.columns[0]["categories"]}
    assert len(kept) == 1000
    assert kept >= {*range(3000, 3900)}
    assert (
        "column 'id' has 3900 different words: the 1000 of most rows are told apart, all others are one" in task.notes
    )
    row = next(one for one in range(3000) if one not in kept)
    assert not encode(task.columns[:1], [{"id": row}]).any()


def test_a_long_text_takes_its_own_room_alone(tmp_path: Path) -> None:
    """NumPy's array of texts would give each of the thousand the room of the longest, 400 MB."""
    y = np.array(["a", "b"] * 500, dtype=object)
    y[7] = "c" * 100_000
    tracemalloc.start()
    try:
        given.spec((pd.DataFrame({"n": range(1000)}), y), tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (lambda pd, x, y: (pd.DataFrame(x), pd.Series(y, index=range(60)[::-1])), "the index of X in another order"),
        (lambda pd, x, y: (pd.DataFrame({"a": [[1]] * 60}), y), "column 'a' holds list values; give numbers, words or"),
        (lambda pd, x, y: (pd.DataFrame({"a": x[:, 0] + 1j}), y), "column 'a' holds complex values"),
        (lambda pd, x, y: (pd.DataFrame({"a": ["\ud800"] * 60}), y), "which is no text: half of a pair of surrogates"),
        (lambda pd, x, y: (pd.DataFrame(x[:, :2], columns=["a", "a "]), y), "two columns are called 'a'"),
        (lambda pd, x, y: (np.ma.masked_greater(x, 1), y), "masked values: fill them, or leave out such rows"),
    ],
)  # fmt: skip
def test_what_would_be_lost_of_a_frame_is_refused(task: Any, said: str, tmp_path: Path) -> None:
    x, y = blobs()
    with pytest.raises(TaskError) as caught:
        given.spec(task(pytest.importorskip("pandas"), x, y), tmp_path / "a")
    assert said in str(caught.value)


def test_arrays_of_other_types_keep_their_numbers(tmp_path: Path) -> None:
    """Python's numbers one by one, as a frame of several types gives them, and those of torch's that NumPy has not."""
    x, y = blobs()
    short = torch.from_numpy(x).bfloat16()
    sparse = csr_matrix(x)
    for number, (given_x, want) in enumerate(((x.astype(object), x), (short, short.double().numpy()), (sparse, x))):
        task = load(given.spec((given_x, y), tmp_path / f"{number}")[0])
        assert isinstance(task, Task)
        rows = np.concatenate([task.train.x, task.validation.x, task.test_split().x])
        np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(want, axis=0), rtol=1e-6)


def test_words_are_classes_of_arrays_too(tmp_path: Path) -> None:
    """NumPy's, those of a list, and what pandas keeps them as."""
    x, y = blobs()
    words = np.array(["ant", "bee", "cat"])[y]
    for number, labels in enumerate((words, words.tolist(), words.astype(object))):
        task = load(given.spec((x, labels), tmp_path / f"{number}")[0])
        assert isinstance(task, Task)
        assert task.labels == ("ant", "bee", "cat")
    task = load(given.spec([(row, word) for row, word in zip(x, words, strict=True)], tmp_path / "set")[0])
    assert isinstance(task, Task)
    assert task.labels == ("ant", "bee", "cat")
    with pytest.raises(TaskError, match="y holds object values; give numbers, or words for classes"):
        given.spec((x, [None] * 60), tmp_path / "none")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (3, "of type int"),
        ((np.array(["a", "b"]), np.array([0, 1])), "x holds <U1 values"),
        (([[1, 2], [3]], [0, 1]), "of one shape"),
        ([1, 2], "pairs"),
        ([(np.zeros(2), 0), (np.zeros(3), 1)], "one shape"),
    ],
)
def test_what_is_no_task_is_said(task: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=said):
        Study(task=task, grammar="mlp", folder=tmp_path / "a")


def test_any_function_is_a_task(tmp_path: Path) -> None:
    """A closure too; a run of it is gone on with by whoever gives the function again."""

    def count(text: str, derivation: object, seed: int) -> float:
        return float(text.count("a"))

    settings: dict[str, Any] = {"search": {"budget": 20, "population": 5, "tournament": 2}}
    study = Study(task=count, grammar=language(tmp_path), folder=tmp_path / "a", **settings)
    summary = study.optimize(progress=False)
    assert summary.fitness == study.best.text.count("a")
    assert Study.resume(study.folder, task=count).optimize(budget=5, progress=False).evaluated == 25
    with pytest.raises(UsageError, match="give the function it was"):
        Study.resume(study.folder, task=lambda text, derivation, seed: 0.0)


def test_functions_that_differ_in_what_they_close_over_are_several_tasks(tmp_path: Path) -> None:
    """Of a loop, a default, a partial, an object that is called; each study keeps its own, and finds it again."""

    def scaled(factor: float) -> Any:
        return lambda text, derivation, seed, plus=factor: factor * len(text) + plus

    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, text: str, derivation: object, seed: int) -> float:
            return self.factor * len(text) + self.factor

    def by(text: str, derivation: object, seed: int, factor: float) -> float:
        return factor * len(text) + factor

    settings: dict[str, Any] = {"search": {"budget": 5, "population": 3, "tournament": 2}}
    grammar = language(tmp_path)
    for kind, make in (("a", scaled), ("b", Scaled), ("c", lambda factor: functools.partial(by, factor=factor))):
        functions = {factor: make(factor) for factor in (1.0, 10.0)}
        folders = {factor: tmp_path / f"{kind}{factor}" for factor in functions}
        studies = {
            factor: Study(task=task, grammar=grammar, folder=folders[factor], **settings)
            for factor, task in functions.items()
        }
        for factor, study in studies.items():
            study.optimize(progress=False)
            again = Study.resume(folders[factor], task=make(factor))
            again.optimize(budget=5, progress=False)
            assert all(row["fitness"] == factor * len(row["text"]) + factor for row in again.rows())


def test_a_run_that_keeps_its_data_is_resumed_without_them(tmp_path: Path) -> None:
    study = Study(task=blobs(), grammar="mlp", folder=tmp_path / "a", **QUICK)
    study.optimize(progress=False)
    there = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"its data are in .*a-data\.npz; resume it without `task`"):
        Study.resume(study.folder, task=blobs())
    with pytest.raises(UsageError, match="give the function it was"):
        Study.resume(study.folder, task=len)
    assert sorted(tmp_path.iterdir()) == there


def test_examples_are_answered_as_they_are(tmp_path: Path) -> None:
    """Rows of a table with words and gaps, arrays, several numbers: as `evolve predict` answers the file of them."""
    rng = np.random.default_rng(0)
    age = rng.integers(20, 60, 60)
    frame = pd.DataFrame({"age": age, "job": np.array(["smith", "nurse", None])[np.arange(60) % 3], "old": age > 40})
    study = Study(task=frame, grammar="mlp", folder=tmp_path / "a", **QUICK)
    with pytest.raises(RunError, match="no network here"):
        study.predict(frame)
    study.optimize(progress=False)
    assert study.labels == [False, True]
    found, chances = study.predict(frame), study.predict_proba(frame)
    assert found.dtype == bool
    assert chances.shape == (60, 2)
    assert np.allclose(chances.sum(1), 1)
    assert (found == chances.argmax(1).astype(bool)).all()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    file = inference.load(study.folder).predictions(tmp_path / "rows.csv")
    assert np.allclose(file["p(True)"], chances[:, 1])
    one = study.predict_proba({"age": 30, "job": "pilot"})
    assert np.allclose(one, study.predict_proba([[30, "pilot"]]))
    assert study.predict([]).shape == (0,)
    with pytest.raises(TaskError, match="row 0: 'x' in column 'age', which holds numbers"):
        study.predict([["x", "smith"]])

    x = rng.normal(size=(80, 3))
    y = np.stack([1000 + 100 * x[:, 0], x[:, 1]], 1)
    several = Study(task=(x, y), grammar="mlp", folder=tmp_path / "b", **QUICK)
    several.optimize(progress=False)
    assert several.labels == []
    assert several.predict(x).shape == (80, 2)
    assert abs(several.predict(torch.from_numpy(x))[:, 0].mean() - 1000) < 100
    with pytest.raises(UsageError, match="its task has no classes"):
        several.predict_proba(x)
    with pytest.raises(TaskError, match=r"examples of shape \(4,\); the network takes \(3,\), batch first"):
        several.predict(np.zeros((2, 4)))


def test_what_a_callback_raises_ends_the_search_which_goes_on_from_there(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(study: Study, progress: Progress) -> None:
        raise Enough

    study = Study(task=blobs(), grammar="mlp", folder=tmp_path / "a", **QUICK)
    with pytest.raises(Enough):
        study.optimize(callbacks=[stop], progress=False)
    assert study.optimize(progress=False).evaluated == 3


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    """Ctrl-C in a notebook: what was evaluated is kept, by the same object or another, and the folder is let go of."""

    def interrupt(study: Study, progress: Progress) -> None:
        if progress.evaluated:
            raise KeyboardInterrupt

    study = Study(task=blobs(), grammar="mlp", folder=tmp_path / "a", **QUICK)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(callbacks=[interrupt], progress=False)
    first = study.rows()
    assert 0 < len(study.rows()) <= 3
    again = Study.resume(study.folder)
    assert again.optimize(progress=False).evaluated == 3
    assert [row["text"] for row in again.rows()[: len(first)]] == [row["text"] for row in first]
    assert study.best.key == again.best.key


def test_asked_and_told_a_study_finds_what_a_run_finds(tmp_path: Path) -> None:
    """The same candidates as `optimize`, whether or not somebody closes and resumes it meanwhile."""
    grammar = language(tmp_path)
    settings: dict[str, Any] = {"search": {"budget": 30, "population": 5, "tournament": 2}}

    def count(text: str, derivation: object, seed: int) -> float:
        return float(text.count("a")) - 0.5 * text.count("b")

    whole = Study(task=count, grammar=grammar, folder=tmp_path / "whole", **settings)
    whole.optimize(progress=False)
    study = Study(input="none", grammar=grammar, folder=tmp_path / "asked", **settings)
    told = 0
    while (trial := study.ask()) is not None:
        if told == 12:
            study.close()
            study = Study.resume(tmp_path / "asked")
            again = study.ask()
            assert again is not None
            assert again.number == trial.number
        study.tell(trial, count(trial.text, None, trial.seed))
        told += 1
    study.close()
    assert [row["text"] for row in study.rows()] == [row["text"] for row in whole.rows()]
    assert study.best.text == whole.best.text
    assert engine.verify(study.folder) == []


def test_others_evaluate_by_rungs(tmp_path: Path) -> None:
    """Whoever evaluates is told the share that is wanted: a short one for all, a whole one for the best."""
    search = {"rungs": [0.25], "eta": 2, "budget": 12, "lookahead": 0}
    shares: dict[str, list[float]] = {}
    with Study(input="none", grammar=language(tmp_path), folder=tmp_path / "a", search=search) as study:
        while (trial := study.ask()) is not None:
            shares.setdefault(trial.key, []).append(trial.fidelity)
            study.tell(trial, trial.text.count("a"))
    assert {tuple(asked) for asked in shares.values()} == {(0.25,), (0.25, 1.0)}


def test_networks_are_asked_for_at_an_input_shape(tmp_path: Path) -> None:
    with Study(grammar="tiny_cnn", input=(3, 16, 16), folder=tmp_path / "a", search={"lookahead": 2}) as study:
        first, second, third = (study.ask() for _ in range(3))
        assert first is not None
        assert second is not None
        assert third is not None
        assert study.ask() is None  # three are out
        assert first.network(outputs=7)(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
        assert first.architecture is not None
        assert first.network()(torch.zeros(2, 3, 16, 16)).shape == (2, *first.architecture.output)
        study.tell(first, {"fitness": 0.5})
        study.tell(second, None, "too slow")
        study.tell(third, float("nan"))
        with pytest.raises(UsageError, match="waits for no score"):
            study.tell(first, 1.0)
    assert [one.status for one in read_run(study.folder).scored()] == ["ok", "crashed", "nan"]
    assert study.best.cost["params"] == first.architecture.cost.params


def test_to_frame_is_what_pandas_makes_of_the_rows(tmp_path: Path) -> None:
    study = Study(input="none", grammar=language(tmp_path), folder=tmp_path / "a")
    study.ask()
    study.close()
    frame = study.to_frame()
    assert list(frame.columns) == list(study.rows()[0])
    assert frame["text"].tolist() == [row["text"] for row in study.rows()]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            5,
            "a task of type int: give a name or path, a pair (X, y), a DataFrame, a mapping of arrays, a torch Dataset",
        ),
        ([], "a data set must hold pairs (example, target), and one at least"),
        ([(1, 2, 3)], "a data set must hold pairs (example, target), and one at least"),
        ((TensorDataset(torch.zeros(2, 1)),) * 2, 'two data sets: say which is which, {"train": ..., "test": ...}'),
        ([([1, 2], 0), ([1], 0)], "the examples of a data set must be of one shape: "),
        ({"x": np.array([{}])}, "x holds object values; give numbers"),
        ({"x": np.zeros((2, 1)), "y": np.array([{}, {}])}, "y holds object values; give numbers, or words for classes"),
        (
            (pd.DataFrame({"up": [1, 2]}), pd.Series([0, 1], name="up")),
            "column 'up' of X has the name of the target; rename one",
        ),
    ],
)
def test_data_that_are_none_are_told_what_they_should_be(task: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=re.escape(said)):
        given.spec(task, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_what_a_study_does_not_do_is_said(tmp_path: Path) -> None:
    study = Study(input="none", grammar=language(tmp_path), folder=tmp_path / "a")
    trial = study.ask()
    assert trial
    with pytest.raises(UsageError, match="this grammar's sentences are no networks"):
        trial.network()
    with pytest.raises(UsageError, match="this study is asked and told; close"):
        study.optimize(budget=1, progress=False)
    study.close()
    for shape in (4, "3x32x32", (3.0, 8)):
        with pytest.raises(UsageError, match=r"input=.*: the shape of one example, as \(3, 32, 32\), or 'none'"):
            Study(grammar="mlp", input=shape, folder=tmp_path / "b")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a study has a task, or the input shape of networks that others evaluate"):
        Study(task="digits", input="none", folder=tmp_path / "b")
    decimal: Any = {"data.decimal": ","}
    frame = pd.DataFrame({"a": [1.877, 0.5] * 30, "y": ["u", "v"] * 30})
    with pytest.raises(UsageError, match="decimal says how a file writes numbers, and a DataFrame holds them"):
        Study(task=frame, grammar="mlp", folder=tmp_path / "b", **decimal)
    elsewhere: Any = getattr(given, given.told("fitness", None).partition(":")[2])
    with pytest.raises(TaskError, match=r"evaluated elsewhere: Study\.ask gives them, Study.tell scores them"):
        elsewhere("a", None, 0)


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match=r"Study\.resume"):
        Study(folder=tmp_path / "a")
    with pytest.raises(RunError):
        Study.resume(tmp_path / "a")
    with pytest.raises(RunError, match="no candidate has succeeded yet"):
        _ = Study(folder=tmp_path / "b").best


SCRIPT = """
import sys
import numpy as np
from evosearch import Study
x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
study = Study(task=(x, (x[:, 0] > 0).astype(int)), grammar="mlp", folder="run", recipe={"epochs": 1},
              final={"epochs": 2}, search={"budget": 3, "population": 2}, workers={"workers": 1, "device": "cpu"})
print(study.optimize().evaluated, *{"numba", "torch._dynamo"} & set(sys.modules))
"""


def test_a_plain_python_reads_it_from_a_pipe(tmp_path: Path) -> None:
    """Workers are processes that never import the program: `python -` needs no file and no guard.

    What takes long to load and is of no use for few and small networks is not loaded: Numba, and torch's compiler.
    """
    done = subprocess.run(
        [sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
    assert "classification by accuracy: 2 classes (0, 1)" in done.stderr


@pytest.mark.slow
def test_ctrl_c_in_a_script_ends_all_of_it_and_the_study_goes_on(tmp_path: Path) -> None:
    """As a terminal sends it, to the script and its workers: none of them stays."""
    script = SCRIPT.replace('"budget": 3', '"budget": 12').replace('"workers": 1', '"workers": 2')
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, start_new_session=True)
    rows = tmp_path / "run/evaluations.jsonl"
    while process.poll() is None and not (rows.is_file() and rows.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) not in (0, None)
    end = time.monotonic() + 60
    while (left := _group(process.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []
    assert 0 < len(Study.resume(tmp_path / "run").rows()) <= 12
    assert Study.resume(tmp_path / "run").optimize(progress=False).evaluated == 12


def _group(number: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_notebook_gets_one_bar_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, str]] = []
    handle = SimpleNamespace(update=lambda html: drawn.append(("update", html)))

    def display(html: str, display_id: bool) -> object:
        drawn.append(("display", html))
        return handle

    assert not notebook.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    assert notebook.in_notebook()
    view = notebook.NotebookView()
    view.started({"run": "<a>"})
    for number in (1, 2):
        view.progress(Progress(number, 4, "0" * 32, 0.5, 10, 1.0, 2.0, {}, 0, 0, (), {}, 1, "search"))
    assert [how for how, _ in drawn] == ["display", "update"]
    assert '<progress value="0.500" max="1"></progress> search 2/4' in drawn[1][1]
    assert "&lt;a&gt;" in drawn[0][1]
    timed = Progress(7, NO_END, "0" * 32, 0.5, 10, 1.0, 30.0, {}, 0, 0, (), {}, 1, "search", time=120, endless=True)
    assert '<progress value="0.750" max="1"></progress> search 7, 1.0/s, 30 s left' in notebook.page("", timed)


def test_the_package_gives_it_without_loading_anything_early() -> None:
    assert evosearch.Study is Study
    with pytest.raises(AttributeError):
        _ = evosearch.Nothing


class Scale:
    def __init__(self, by: float) -> None:
        self.by = by

    def score(self, text: str, derivation: object, seed: int) -> float:
        return self.by


def test_methods_of_two_objects_are_two_functions(tmp_path: Path) -> None:
    more: dict[str, Any] = {"grammar": "mlp", "workers": {"pool": "inline"}}
    studies = [Study(task=Scale(by).score, folder=tmp_path / str(by), **more) for by in (1.0, 2.0)]
    assert [study.optimize(budget=2).fitness for study in studies] == [1.0, 2.0]
