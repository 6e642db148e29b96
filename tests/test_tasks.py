"""Tasks: data from every kind of file arrive as they are, splits repeat, mistakes name the file and the row."""

from __future__ import annotations

import gzip
import json
import lzma
import math
import os
import shutil
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from evosearch.errors import TaskError
from evosearch.evaluation.batches import Batches
from evosearch.evaluation.recipe import Recipe
from evosearch.tasks import Split, Task, TaskSettings, load, make_task
from evosearch.tasks.assemble import Part, assemble
from evosearch.tasks.base import Reading, cut
from evosearch.tasks.encode import encode, written
from evosearch.tasks.encode import number as number_of
from evosearch.tasks.folds import fold, fold_rows
from evosearch.tasks.images import files_below
from evosearch.tasks.kinds import BUNDLED
from evosearch.tasks.metrics import metric_of
from evosearch.tasks.source import answer_source, encoder_source


def task_of(spec: Path | str, **settings: Any) -> Task:
    task = load(str(spec), TaskSettings(**settings))
    assert isinstance(task, Task)
    return task


def value(kind: str, metric: str, y: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> float:
    return metric_of(BUNDLED[kind].metrics, kind, metric).value(y, out)


def sizes(task: Task) -> list[int]:
    return [len(task.train), len(task.validation), len(task.test_split())]


def printed(program: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# -- digits, splits, metrics --------------------------------------------------------------------------------------


def test_digits() -> None:
    """All 1,797 digits, in three stratified parts that share none, normalised by the train part's own constants."""
    task = task_of("digits")
    assert (task.input_shape, task.outputs, task.metric, sum(sizes(task))) == ((1, 8, 8), 10, "accuracy", 1797)
    assert task.train.x.dtype == np.uint8
    splits = [task.train, task.validation, task.test_split()]
    assert [len(split) for split in splits] == [1078, 360, 359]
    for split in splits:
        share = np.bincount(split.y, minlength=10) / len(split)
        np.testing.assert_allclose(share, np.bincount(task.train.y) / len(task.train), atol=0.005)
    normal = task.normalise(task.train.x)
    assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=1e-5)
    whole = {
        image.tobytes() + bytes([label]) for split in splits for image, label in zip(split.x, split.y, strict=True)
    }
    assert len(whole) > 1790  # hardly two alike, so no image is in two splits


def test_digest_follows_data_split_and_metric() -> None:
    """Equal in another process; different when the split, the metric or one pixel is."""
    digest = task_of("digits").digest
    program = "from evosearch.tasks import load; print(load('digits').digest)"
    assert printed(program) == digest
    assert task_of("digits", split_seed=1).digest != digest
    assert task_of("digits", metric="macro_f1").digest != digest
    task = task_of("digits")
    x = task.train.x.copy()
    x[0, 0, 0, 0] += 1
    other = make_task("digits", Split(x, task.train.y), task.validation, task.test_split(), kind="classification")
    assert other.digest != digest


def test_cuts_are_stratified_and_of_the_size_asked_for() -> None:
    y = np.repeat([0, 1, 2, 3], [501, 7, 90, 2])
    parts = cut(600, y, (0.2, 0.1), 3)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(600))
    assert [len(part) for part in parts] == pytest.approx([120, 60, 420], abs=1)
    for label in (0, 1, 2):
        for part, share in zip(parts, (0.2, 0.1, 0.7), strict=True):
            assert np.sum(y[part] == label) == pytest.approx(share * np.sum(y == label), abs=1)
    again = cut(600, y, (0.2, 0.1), 3)
    assert all(np.array_equal(one, two) for one, two in zip(parts, again, strict=True))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", reference.accuracy_score),
        ("balanced_accuracy", reference.balanced_accuracy_score),
        ("macro_f1", lambda y, guess: reference.f1_score(y, guess, average="macro")),
    ],
)
def test_class_metrics_are_sklearns(name: str, expected: Callable[..., float]) -> None:
    for seed in range(5):
        y, guess = np.random.default_rng(seed).integers(0, 6, (2, 50))
        y[y == 3] = 2  # a class that does not occur
        assert value("classification", name, y, np.eye(7)[guess]) == pytest.approx(expected(y, guess))


@pytest.mark.parametrize("outputs", [2, 5])
def test_probability_metrics_are_sklearns(outputs: int) -> None:
    """On logits of any size, those of a network that is sure and wrong too."""
    for seed in range(5):
        draw = np.random.default_rng(seed)
        y = np.r_[np.arange(outputs), draw.integers(0, outputs, 50)]
        out = (draw.normal(size=(len(y), outputs)) * 10**seed).astype(np.float32)
        shares = torch.from_numpy(out).double().softmax(1).numpy()
        scores = shares[:, 1] if outputs == 2 else shares
        assert value("classification", "auc", y, out) == pytest.approx(
            reference.roc_auc_score(y, scores, multi_class="ovr")
        )
        assert value("classification", "log_loss", y, out) == pytest.approx(reference.log_loss(y, shares))
    assert np.isnan(value("classification", "auc", np.zeros(5, int), np.zeros((5, 2))))
    for metric in ("auc", "log_loss"):
        assert np.isnan(value("classification", metric, np.arange(5) % 2, np.full((5, 2), np.nan)))


def test_regression_metrics_are_sklearns() -> None:
    y = rng().normal(size=(50, 3)).astype(np.float32)
    guess = y + rng().normal(size=y.shape).astype(np.float32)
    assert value("regression", "r2", y, guess) == pytest.approx(reference.r2_score(y, guess), abs=1e-5)
    assert value("regression", "mse", y, guess) == pytest.approx(reference.mean_squared_error(y, guess), rel=1e-5)
    assert value("regression", "rmse", y, guess) == pytest.approx(reference.root_mean_squared_error(y, guess), rel=1e-5)
    assert value("regression", "mae", y, guess) == pytest.approx(reference.mean_absolute_error(y, guess), rel=1e-5)
    assert value("regression", "r2", y * 1e30, guess * 1e30) == pytest.approx(reference.r2_score(y, guess), abs=1e-5)
    assert value("regression", "r2", np.ones((5, 1)), np.zeros((5, 1))) == 0


# -- numbers keep their meaning -----------------------------------------------------------------------------------

# Offsets, scales and units in which a unit-free pattern can be written; float32 holds few of them.
OFFSETS = st.sampled_from([0.0, 1.0, -1e3, 1.7e9, -1e12, 1.0e-19])
SCALES = st.sampled_from([1.0, 1e-3, 1e3, 1.6e-19, 1e-30, 1e-44, 1e-160, 1e30, 1e40, 1e160])


@given(OFFSETS, SCALES, st.sampled_from([2, 3, 4]), st.integers(0, 9))
def test_examples_in_any_unit_normalise_alike(offset: float, scale: float, axes: int, seed: int) -> None:
    """Centred and scaled before precision is lost: x * scale + offset * scale is as good as x, to 1e-3 deviations."""
    pattern = np.random.default_rng(seed).normal(size=(60, 2, 3, 3)[:axes])
    y = np.arange(60) % 2
    task = assemble("pattern", {"train": Part((pattern + offset) * scale, y, "x", "y")}, Reading())
    plain = assemble("pattern", {"train": Part(pattern, y, "x", "y")}, Reading())
    np.testing.assert_allclose(task.normalise(task.train.x), plain.normalise(plain.train.x), atol=1e-3)
    batches = Batches(task, task.train, Recipe(), "cpu", torch.contiguous_format)
    x, _ = batches.take(torch.arange(len(task.train)))
    np.testing.assert_allclose(x.numpy(), task.normalise(task.train.x), atol=1e-4)


@given(OFFSETS, SCALES, st.integers(0, 9))
def test_targets_in_any_unit_are_learned_and_told_alike(offset: float, scale: float, seed: int) -> None:
    """Normalised targets do not follow the unit; what a network gives comes back in it."""
    rng = np.random.default_rng(seed)
    pattern, x = rng.normal(size=60), rng.normal(size=(60, 2))
    regression = Reading(kind=BUNDLED["regression"])
    task = assemble("pattern", {"train": Part(x, (pattern + offset) * scale, "x", "y")}, regression)
    plain = assemble("pattern", {"train": Part(x, pattern, "x", "y")}, regression)
    normal = task.kind.normalise(task, task.train.y)
    np.testing.assert_allclose(normal, plain.kind.normalise(plain, plain.train.y), atol=1e-3)
    assert task.judge(task.train.y, normal) == pytest.approx(1, abs=1e-6)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_constant_column_says_nothing(value: float) -> None:
    """Whatever the constant, its column is all zeros; one that varies by a millionth of its size is no constant."""
    x = np.stack([np.full(60, value), np.arange(60.0)], 1)
    task = assemble("constant", {"train": Part(x, np.arange(60) % 2, "x", "y")}, Reading())
    assert np.abs(task.normalise(task.train.x)[:, 0]).max() < 1e-3
    if 1e-290 < abs(value) < 1e290:
        x[:, 0] *= 1 + 1e-6 * np.sin(np.arange(60))
        task = assemble("almost", {"train": Part(x, np.arange(60) % 2, "x", "y")}, Reading())
        assert task.normalise(task.train.x)[:, 0].std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_byte_orders_say_the_same(code: str) -> None:
    """Arrays as FITS and Analyze files give them: another byte order, the same task."""
    x = np.random.default_rng(0).integers(0, 100, (60, 1, 4, 4)).astype(code)
    y = np.arange(60) % 2
    one, other = (
        assemble("scan", {"train": Part(x.astype(f"{order}{code}"), y, "x", "y")}, Reading()) for order in "<>"
    )
    assert one.digest == other.digest
    assert torch.from_numpy(other.train.x[:1]).shape == (1, 1, 4, 4)
    np.testing.assert_array_equal(np.sort(one.train.x.ravel()), np.sort(other.train.x.ravel()))


def test_time_stamps_in_nanoseconds_are_told_apart() -> None:
    """Whole numbers beyond 2^53 that lie seconds apart keep their order and distances."""
    seconds = np.random.default_rng(0).permutation(60)
    x = np.stack([1_700_000_000_000_000_000 + seconds * 10**9, seconds], 1)
    task = assemble("stamps", {"train": Part(x, np.arange(60) % 2, "x", "y")}, Reading())
    normal = task.normalise(task.train.x)
    np.testing.assert_allclose(normal[:, 0], normal[:, 1], atol=1e-3)


# -- arrays -------------------------------------------------------------------------------------------------------


def test_npz_with_and_without_splits(tmp_path: Path) -> None:
    """keras's names with a test split; x and y alone; channels last is turned to channels first."""
    x, y = rng().integers(0, 256, (100, 12, 10, 3)).astype(np.uint8), np.arange(100) % 4
    np.savez(tmp_path / "named.npz", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])
    task = task_of(tmp_path / "named.npz")
    assert (task.name, task.input_shape, task.outputs, task.images) == ("named", (3, 12, 10), 4, True)
    assert sizes(task) == [64, 16, 20]
    np.testing.assert_array_equal(task.test_split().x, x[80:].transpose(0, 3, 1, 2))
    assert task.mean.shape == (3, 1, 1)

    np.savez_compressed(tmp_path / "bare.npz", X=x[..., 0], Y=y.astype(np.float64)[:, None])
    task = task_of(tmp_path / "bare.npz", kind="classification")
    assert (task.input_shape, sizes(task)) == (
        (1, 12, 10),
        [60, 20, 20],
    )
    assert task_of(tmp_path / "bare.npz").kind.name == "regression"


LABELLED: list[tuple[Any, tuple[str, ...], tuple[Any, ...]]] = [
    (np.array(["no", "yes"] * 20), ("no", "yes"), ("no", "yes")),
    (np.array([b"no", b"yes"] * 20), ("no", "yes"), ("no", "yes")),
    (np.array([True, False] * 20), ("0", "1"), (False, True)),
    (np.array([-1, 1] * 20), ("-1", "1"), (-1, 1)),
    (np.array([[1], [2]] * 20), ("1", "2"), (1, 2)),
    (np.array([5000, 0] * 20), ("0", "5000"), (0, 5000)),
    (np.arange(40) % 3, ("0", "1", "2"), (0, 1, 2)),
]


@pytest.mark.parametrize(("y", "labels", "values"), LABELLED)
def test_labels_of_arrays_keep_their_type(
    tmp_path: Path, y: Any, labels: tuple[str, ...], values: tuple[Any, ...]
) -> None:
    np.savez(tmp_path / "a.npz", x=rng().normal(size=(40, 3)), y=y)
    task = task_of(tmp_path / "a.npz")
    assert (task.kind.name, task.labels, task.values) == ("classification", labels, values)
    assert list(map(type, task.values)) == list(map(type, values))


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.arange(40) % 10, "classification"),
        (np.arange(40) % 10 * 7, "classification"),
        (np.arange(40) % 20 * 3, "regression"),  # each comes twice
        (np.arange(40) % 20, "classification"),
        (np.arange(2000) % 100, "classification"),  # counted from 0
        (np.arange(2000) % 100 + 1, "classification"),
        (np.arange(2000) % 100 + 17, "regression"),  # ages
        (np.arange(40) / 2, "regression"),
    ],
)
def test_the_kind_is_told_from_the_data(tmp_path: Path, y: Any, kind: str) -> None:
    """Alike from arrays and from a table; said where there are more than two, and never in silence."""
    x = rng().normal(size=(len(y), 1))
    np.savez(tmp_path / "a.npz", x=x, y=y)
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{a},{b}\n" for [a], b in zip(x, y, strict=True)))
    for name in ("a.npz", "a.csv"):
        task = task_of(tmp_path / name)
        assert task.kind.name == kind
        if y.dtype.kind == "i":
            assert any(f"{len(np.unique(y))} different whole numbers" in note for note in task.notes)


def test_classes_that_are_kept_as_floating_point_numbers_are_told_of(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=rng().normal(size=(40, 1)), y=np.arange(40) % 2.0)
    task = task_of(tmp_path / "a.npz")
    assert task.kind.name == "regression"
    assert any("2 floating-point numbers are to be predicted; say kind = classification" in note for note in task.notes)
    assert task_of(tmp_path / "a.npz", kind="classification").values == (0.0, 1.0)


def test_the_diabetes_target_is_a_number(tmp_path: Path) -> None:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    np.savetxt(tmp_path / "diabetes.csv", np.c_[x, y], delimiter=",", fmt=["%.6f"] * 10 + ["%d"])
    assert task_of(tmp_path / "diabetes.csv").kind.name == "regression"


def test_a_summary_says_what_was_made_of_the_data(tmp_path: Path) -> None:
    said = "\n".join(table_of(tmp_path / "people.csv", PLAIN).summary())
    assert "classification of 'label' by accuracy: 2 classes (n, y)" in said
    assert "examples of 4 numbers from 1 columns of numbers and 1 of words" in said
    assert "36 rows to train on, 12 to judge on, 12 to test" in said
    by_folds = table_of(tmp_path / "folds.csv", PLAIN).summary(folds=5)
    assert "48 rows to train and judge on by 5 folds, 12 to test" in by_folds[1]
    assert "no validation or test split: cut from the train rows by seed 0" in said


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_folds_cover_all_rows_once_class_by_class(kind: str) -> None:
    """Fixed from the rows: the same at every call; each fold has its share of every class; none has a test row."""
    y = np.sort(np.arange(103) % 3)
    part = Part(rng().normal(size=(103, 2)), y if kind == "classification" else y / 7, "x", "y")
    task = assemble("sorted", {"train": part}, Reading(kind=BUNDLED[kind]))
    rows = [fold_rows(task, 5) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*rows, strict=True))
    known = len(task.train) + len(task.validation)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows[0])), np.arange(known))
    folds = [fold(task, number, 5) for number in range(5)]
    assert len({one.digest for one in (task, *folds)}) == 6
    for one in folds:
        assert len(one.train) + len(one.validation) == known
        assert len(one.validation) == pytest.approx(known / 5, abs=1)
        assert one.test_split() is task.test_split()
        assert one.mean == pytest.approx(one.train.x.mean(0), abs=1e-6)
        if kind == "classification":
            counts = np.bincount(one.validation.y, minlength=3)
            assert counts.max() - counts.min() <= 2


def test_unseen_nas_folder(tmp_path: Path) -> None:
    """train_x.npy, valid_x.npy, test_x.npy with their labels, and the number of classes from `metadata`."""
    for title, count in (("train", 30), ("valid", 10), ("test", 12)):
        np.save(tmp_path / f"{title}_x.npy", rng().normal(size=(count, 3, 6, 6)))
        np.save(tmp_path / f"{title}_y.npy", np.arange(count) % 3)
    (tmp_path / "metadata").write_text(json.dumps({"num_classes": 5, "codename": "Caitie"}))
    task = task_of(tmp_path)
    assert (task.outputs, task.train.x.dtype.name) == (5, "float32")
    assert sizes(task) == [30, 10, 12]


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()) if path.suffix == ".gz" else head + array.tobytes())


def idx_folder(folder: Path) -> Path:
    folder.mkdir()
    for prefix, count in (("train", 40), ("t10k", 10)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", rng().integers(0, 256, (count, 5, 4)).astype(np.uint8))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", (np.arange(count) % 2).astype(np.uint8))
    return folder


def test_idx_folder(tmp_path: Path) -> None:
    task = task_of(idx_folder(tmp_path / "mnist"))
    assert (task.name, task.input_shape, sum(sizes(task)), len(task.test_split())) == ("mnist", (1, 5, 4), 50, 10)
    np.testing.assert_array_equal(
        task.test_split().x[:, 0], np.random.default_rng(0).integers(0, 256, (10, 5, 4)).astype(np.uint8)
    )
    assert task_of(tmp_path / "mnist" / "train-images-idx3-ubyte.gz").digest == task.digest


def test_sequences_and_vectors_keep_their_axes(tmp_path: Path) -> None:
    y = np.arange(50) % 2
    for name, shape in (("sequence", (50, 9, 4)), ("vector", (50, 7))):
        np.savez(tmp_path / f"{name}.npz", x=rng().normal(size=shape), y=y)
        task = task_of(tmp_path / f"{name}.npz")
        assert task.input_shape == shape[1:]
        assert task.mean.shape == shape[-1:]
        assert not task.images


# -- tables, series, images ---------------------------------------------------------------------------------------

PEOPLE = """age, job, hours, earns
39, clerk, 40, little
50, smith, 13, much
38, clerk, 40, much
53, ?, 40, little
28, nurse, 40.5, little
37, nurse, 40, much
"""


def test_csv_of_mixed_columns(tmp_path: Path) -> None:
    """Numbers stay numbers, words become a column each, the last column is the class unless another is named."""
    (tmp_path / "people.csv").write_text(PEOPLE * 5)
    with pytest.raises(TaskError, match=r"people.csv: line 8: .*'age' holds numbers, and here 'age'"):
        load(str(tmp_path / "people.csv"))
    rows = PEOPLE.splitlines(keepends=True)
    with lzma.open(tmp_path / "people.csv.xz", "wt") as file:
        file.write(rows[0] + "".join(rows[1:]) * 5)
    task = task_of(tmp_path / "people.csv.xz")
    assert (task.name, task.labels, task.input_shape) == ("people", ("little", "much"), (6,))
    first = np.flatnonzero(task.train.x[:, 0] == 28)[0]
    np.testing.assert_array_equal(task.train.x[first], np.array([28, 0, 0, 1, 0, 40.5], np.float32))
    assert task.train.y[first] == 0

    task = task_of(tmp_path / "people.csv.xz", target="age", kind="regression", drop=("earns",), metric="mse")
    assert (task.outputs, task.input_shape, task.metric) == (1, (5,), "mse")
    assert task.target_mean == pytest.approx(task.train.y.mean())
    assert task_of(tmp_path / "people.csv.xz", target="hours").kind.name == "regression"
    assert task_of(tmp_path / "people.csv.xz", target="0").labels[0] == "28"


def test_csv_without_header_and_with_test_file(tmp_path: Path) -> None:
    """As UCI Adult: no header, a test file beside, a full stop after its classes, a word met only in it."""
    rows = PEOPLE.splitlines(keepends=True)[1:]
    (tmp_path / "adult-train.csv").write_text("".join(rows) * 5)
    tested = "".join(rows).replace("\n", ".\n").replace("smith", "pilot")
    (tmp_path / "adult-test.csv").write_text(tested)
    task = task_of(tmp_path / "adult-train.csv")
    assert (task.name, task.labels, sum(sizes(task))) == ("adult", ("little", "much"), 36)
    np.testing.assert_array_equal(task.test_split().x[1], np.array([50, 0, 0, 0, 0, 13], np.float32))
    np.testing.assert_array_equal(task.test_split().y, [0, 1, 1, 0, 0, 1])


# What a cell writes, and the number it is; None: a word.
WRITTEN = {
    "1": 1.0,
    "-2.50": -2.5,
    "+.5": 0.5,
    "5.": 5.0,
    "1e5": 1e5,
    "1.5E-3": 0.0015,
    "0": 0.0,
    "0.1": 0.1,
    **dict.fromkeys(
        ("1_10", "1e5x", "inf", "infinity", "0x10", "1,5", "1 000", "--1", "e5", ".", "٣", "½", "1e"), None
    ),
}


@pytest.mark.parametrize("cell", WRITTEN)
def test_what_is_a_number(cell: str) -> None:
    """ASCII digits as everyone writes them; what only looks like a number is a word."""
    assert number_of(cell) == WRITTEN[cell]
    assert number_of(f" {cell}\t") == WRITTEN[cell]


def table_of(path: Path, text: str | bytes, **settings: Any) -> Task:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return task_of(path, **settings)


PLAIN = "dose,ward,label\n" + "".join(f"{n}.5,{'abc'[n % 3]},{'yn'[n % 2]}\n" for n in range(60))


@pytest.mark.parametrize(
    "same",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ";").replace(".5", ",5"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("a", '"a"').replace("dose", '"dose"').replace('w"a"rd,l"a"bel', "ward,label"),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xff\xfe\0\0" + PLAIN.encode("utf-32-le"),
        PLAIN.removeprefix("dose,ward,label\n"),
    ],
    ids=[*";\t|5 ", "crlf", "cr", "blank lines", "quotes", "mark", "utf-16", "utf-32", "no header"],
)
def test_one_table_however_it_is_written(tmp_path: Path, same: str | bytes) -> None:
    assert table_of(tmp_path / "same.csv", same).digest == table_of(tmp_path / "plain.csv", PLAIN).digest


def test_other_encodings_and_separators_are_said(tmp_path: Path) -> None:
    text = PLAIN.replace("label", "über").replace(",", "~")
    task = table_of(tmp_path / "a.csv", text.encode("latin-1"), encoding="latin-1", separator="~")
    assert (task.target, task.digest) == ("über", table_of(tmp_path / "plain.csv", PLAIN).digest)


GERMAN = str.maketrans(",.", ".,")
AMOUNTS = np.random.default_rng(0).uniform(-1, 4, 150)


def amounts_of(rows: slice, notation: str) -> str:
    """A table of whole numbers, amounts, small decimals, words, and an amount to predict, as a country writes them."""
    count, dose, share = 10 ** np.abs(AMOUNTS), 10**AMOUNTS * np.sign(AMOUNTS), np.abs(AMOUNTS) / 10
    lines = [
        ";".join((f"{count[n]:,.0f}", f"{dose[n]:,.2f}", f"{share[n]:.3f}", "abc"[n % 3], f"{dose[n] + count[n]:,.1f}"))
        for n in range(*rows.indices(150))
    ]
    return "count;dose;share;ward;goal\n" + "\n".join(lines).translate(GERMAN if notation == "," else {}) + "\n"


@pytest.mark.parametrize("decimal", [",", "."])
def test_the_mark_before_decimals_is_said(tmp_path: Path, decimal: str) -> None:
    """Every split, the target, and rows that the encoder beside a network is given, are what pandas makes of them."""
    frames = {}
    for title, rows in (("train", slice(0, 110)), ("test", slice(110, 150))):
        (tmp_path / f"a-{title}.csv").write_text(amounts_of(rows, decimal))
        thousands = "." if decimal == "," else ","
        frames[title] = pd.read_csv(tmp_path / f"a-{title}.csv", sep=";", decimal=decimal, thousands=thousands)
    assert frames["train"]["count"].max() > 1000
    task = task_of(tmp_path / "a-train.csv", decimal=decimal)
    assert (task.kind.name, [one["type"] for one in task.columns]) == ("regression", ["number"] * 3 + ["category"])

    def numbers(frame: pd.DataFrame) -> Any:
        words = [frame.ward == word for word in "abc"]
        return np.column_stack([frame["count"], frame.dose, frame.share, *words]).astype(np.float32)

    test = task.test_split()
    np.testing.assert_array_equal(test.x.astype(np.float32), numbers(frames["test"]))
    np.testing.assert_allclose(test.y[:, 0], frames["test"].goal, rtol=1e-6)
    rest = np.concatenate([task.train.x, task.validation.x]).astype(np.float32)
    order = [np.lexsort(x.T) for x in (rest, numbers(frames["train"]))]
    np.testing.assert_array_equal(rest[order[0]], numbers(frames["train"])[order[1]])
    goals = np.concatenate([task.train.y, task.validation.y])
    np.testing.assert_allclose(goals[order[0], 0], frames["train"].goal.to_numpy()[order[1]], rtol=1e-6)
    names: dict[str, Any] = {}
    exec(encoder_source(task), names)
    cells = [line.split(";")[:4] for line in amounts_of(slice(110, 150), decimal).splitlines()[1:]]
    expected = task.normalise(test.x)
    np.testing.assert_allclose(names["preprocess"](cells), expected, atol=1e-6)
    np.testing.assert_allclose(names["preprocess"](frames["test"]), expected, atol=1e-6)  # numbers are what they are
    with pytest.raises(ValueError, match=f"row 0: '0{thousands}5' in column 'share', which holds numbers as 1"):
        names["preprocess"]([["1", "1", f"0{thousands}5", "a"]])


def test_a_notation_makes_no_other_task(tmp_path: Path) -> None:
    """Amounts as classes and to predict, with or without quotes between commas: one digest with plain numbers."""
    amounts = [f"{1234.5 * n:,.2f}" for n in range(1, 41)]
    plain = "a,y\n" + "".join(f"{cell.replace(',', '')},{1000 * (n % 3)}\n" for n, cell in enumerate(amounts))
    english = "a,y\n" + "".join(f'"{cell}","{1000 * (n % 3):,}"\n' for n, cell in enumerate(amounts))
    german = english.translate(GERMAN).replace("a.y", "a;y").replace('"."', '";"').replace('"', "")
    quoted = english.translate(GERMAN).replace("a.y", "a,y").replace('"."', '","')
    for settings in ({}, {"kind": "classification"}, {"kind": "regression"}):
        expected = table_of(tmp_path / "plain.csv", plain, **settings)
        for decimal, text in ((".", plain), (".", english), (",", german), (",", quoted)):
            same = table_of(tmp_path / "same.csv", text, decimal=decimal, **settings) if text != plain else expected
            assert (same.digest, same.labels, same.values) == (expected.digest, expected.labels, expected.values)
    assert table_of(tmp_path / "bare.csv", "1.234,5;u\n0,5;v\n" * 20, decimal=",").labels == ("u", "v")


@given(st.floats(-1e12, 1e12, allow_nan=False), st.integers(0, 6), st.booleans())
def test_an_amount_is_the_number_that_python_writes(value: float, decimals: int, grouped: bool) -> None:
    text = f"{value:,.{decimals}f}"
    text = text if grouped else text.replace(",", "")
    assert number_of(text, ".", ",") == float(text.replace(",", ""))
    assert number_of(text.translate(GERMAN), ",", ".") == float(text.replace(",", ""))


@pytest.mark.parametrize(
    "cell", ["1.23", "1.2345", "0.421", "1234.567", "1.234.56", "1,5.000", "1..234", ".234", "1.-23"]
)
def test_what_is_no_thousand(cell: str) -> None:
    assert number_of(cell, ",", ".") is None
    assert number_of(cell.translate(GERMAN), ".", ",") is None


def test_a_leading_nought_is_no_thousand(tmp_path: Path) -> None:
    """So a column with one has decimal commas, and 1,877 beside it is a little less than two."""
    cells = [f"{n / 1000:.3f}".replace(".", ",") for n in range(421, 2400, 33)]
    assert "0,421" in cells
    assert "1,411" in cells
    task = table_of(tmp_path / "a.csv", "a;y\n" + "".join(f"{cell};{'uv'[n % 2]}\n" for n, cell in enumerate(cells)))
    x = np.concatenate([split.x for split in (task.train, task.validation, task.test_split())])
    np.testing.assert_allclose(np.sort(x[:, 0]), [n / 1000 for n in range(421, 2400, 33)])


COUNTS = [f"{n:,}".replace(",", ".") for n in range(300, 2500, 40)]  # 300 ... 980, 1.020 ...
LEVELS = [f"{n},{n % 9}{n % 7}" for n in range(10, 65)]


def two_columns(counts: list[str], levels: list[str], goals: list[str] | None = None) -> str:
    rows = zip(counts, levels, goals or ["u", "v"] * 40, strict=False)
    return "a;b;y\n" + "".join(f"{';'.join(row)}\n" for row in rows)


def test_points_that_may_be_behind_thousands_are_never_decimals(tmp_path: Path) -> None:
    """In a table with decimal commas: to train on, to test on, to predict, and in rows that come later; where another
    cell shows that a point is before decimals, they are decimals."""
    said = r"line 20: '1.020' in column '{}' may be a thousand .*--set data.decimal=, or --set data.decimal=\. says"
    for levels in (LEVELS, ["k.A.", *LEVELS[1:]]):
        with pytest.raises(TaskError, match=said.format("a")):
            table_of(tmp_path / "a.csv", two_columns(COUNTS, levels))
    with pytest.raises(TaskError, match=said.format("y")):
        table_of(tmp_path / "a.csv", two_columns(["u", "v"] * 40, LEVELS, COUNTS))
    with pytest.raises(TaskError, match=r"line 2: '1.234.567' in column 'a' may be a thousand"):
        table_of(tmp_path / "a.csv", two_columns(["1.234.567", *COUNTS[1:]], LEVELS))
    shown = table_of(tmp_path / "a.csv", two_columns(["0.5", *COUNTS[1:]], LEVELS))
    assert max(float(split.x[:, 0].max()) for split in (shown.train, shown.validation, shown.test_split())) == 980
    alone = table_of(tmp_path / "a.csv", two_columns(COUNTS, ["u"] * 80))
    assert alone.columns[0]["decimal"] == "."
    small = [str(n) for n in range(300, 355)]
    (tmp_path / "b-test.csv").write_text(two_columns(COUNTS, LEVELS))
    with pytest.raises(TaskError, match=r"b-test.csv: line 20: '1.020' in column 'a' .*; write 1020 or 1,020"):
        table_of(tmp_path / "b-train.csv", two_columns(small, LEVELS))
    (tmp_path / "c-test.csv").write_text(two_columns(["u", "v"] * 40, LEVELS, COUNTS))
    with pytest.raises(TaskError, match=r"c-test.csv: " + said.format("y")):
        table_of(tmp_path / "c-train.csv", two_columns(["u", "v"] * 40, LEVELS, small), kind="regression")
    for cells in (["1.877"], ["1.877", "1,5"], ["901", "1.877"]):
        with pytest.raises(ValueError, match=r"'1.877' in column 'a' may be a thousand and more"):
            encode([{"name": "a", "type": "number", "decimal": ",", "fill": 0.0, "flag": False}], [[c] for c in cells])


@pytest.mark.parametrize("word", ["k.A.", "-", "1.348,22"])
def test_a_word_among_decimal_commas_is_said_as_among_points(tmp_path: Path, word: str) -> None:
    """Of an input and of the target; an amount over a thousand with the setting that reads it."""
    levels = [*LEVELS[:7], word, *LEVELS[8:]]
    pointed = [cell.replace(",", ".") for cell in levels]
    reads = "--set data.decimal=, reads it as a number; " if word[0] == "1" else ""
    for text, name in (
        (two_columns(LEVELS, levels), "b"),
        (two_columns(["u", "v"] * 40, LEVELS, levels), "y"),
    ):
        with pytest.raises(TaskError) as caught:
            table_of(tmp_path / "a.csv", text)
        start = f"line 9: column '{name}' holds numbers, and here '{word}'; "
        assert start + reads in str(caught.value)
        if not reads:
            with pytest.raises(TaskError) as other:
                table_of(tmp_path / "a.csv", two_columns(LEVELS, pointed) if name == "b" else text.replace(",", "."))
            assert str(other.value) == str(caught.value)
            with pytest.raises(TaskError, match=start):
                table_of(tmp_path / "a.csv", text, decimal=",")
    kept = table_of(tmp_path / "a.csv", two_columns(["u", "v"] * 40, levels), words=["b"])
    assert word in kept.columns[1]["categories"]


def test_the_other_notation_is_never_words(tmp_path: Path) -> None:
    for torn in ("4,", ",4"):
        with pytest.raises(TaskError, match=f"line 5: column 'a' holds numbers, and here '{torn}'"):
            table_of(tmp_path / "a.csv", two_columns(["1", "2", "3", torn, "5"], ["u"] * 5))
    for decimal, cell in ((",", "0.421"), (".", "0,421")):
        with pytest.raises(TaskError, match=f"line 2: column 'a' holds numbers, and here '{cell}'; data.decimal is '"):
            table_of(tmp_path / "a.csv", f"a;y\n{cell};u\n{cell[:3]};v\n" + f"{cell};u\n" * 20, decimal=decimal)
    for decimal, cells in ((",", ("0,5", "12,25", "7,5")), (".", ("1,234.5", "0.5", "2,000"))):
        text = "a,y\n" + "".join(f'"{cell}",{"uv"[n % 2]}\n' for n, cell in enumerate(cells * 20))
        assert [one for one in table_of(tmp_path / "a.csv", text).notes if f"data.decimal={decimal} makes" in one]
        assert table_of(tmp_path / "a.csv", text, decimal=decimal).columns[0]["type"] == "number"


def test_codes_stay_words(tmp_path: Path) -> None:
    """One number that begins with a nought makes a column of whole numbers one of names; so it does of classes."""
    text = "zip,dose,ward\n" + "".join(f"{['01', '10', '1'][n % 3]},{n},{['007', '7'][n % 2]}\n" for n in range(60))
    task = table_of(tmp_path / "a.csv", text)
    assert task.input_shape == (4,)
    assert task.columns[0]["categories"] == ["01", "1", "10"]
    assert task.values == task.labels == ("007", "7")
    text = "dose,ward\n" + "".join(f"{n % 9},{n % 3:03}\n" for n in range(60))
    assert not [note for note in table_of(tmp_path / "b.csv", text).notes if "amounts" in note]


def test_missing_numbers_are_the_mean_and_said(tmp_path: Path) -> None:
    text = "dose,label\n" + "".join(f"{'NA' if n % 4 == 0 else n % 4},{'yn'[n % 2]}\n" for n in range(80))
    task = table_of(tmp_path / "a.csv", text)
    assert task.input_shape == (2,)
    assert {tuple(row) for row in task.train.x.tolist()} == {(2, 1), (1, 0), (2, 0), (3, 0)}
    assert "column 'dose' lacks 20 of 80 values: its mean instead" in task.notes


def test_files_are_joined_by_header(tmp_path: Path) -> None:
    """Columns in another order are the same columns; the position says nothing."""
    rows = [(n, n % 7, "yn"[n % 2]) for n in range(60)]
    train = "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows)
    (tmp_path / "t-train.csv").write_text(train)
    (tmp_path / "t-test.csv").write_text(train)
    digest = task_of(tmp_path / "t-train.csv").digest
    (tmp_path / "t-test.csv").write_text("y,b,a\n" + "".join(f"{y},{b},{a}\n" for a, b, y in rows))
    assert task_of(tmp_path / "t-train.csv").digest == digest


HEADERS = [
    ("a,b,y\n", "a,c,y\n", r"t-test.csv: no column 'b', as .*t-train.csv has it; there are a, c, y"),
    ("a,b,y\n", "", r"t-test.csv: no header, and .*t-train.csv has one"),
    ("", "a,b,y\n", r"t-train.csv: no header, and .*t-test.csv has one"),
    ("a,b,y\n", "a,a,y\n", r"t-test.csv: line 1: two columns are called 'a'"),
]


@pytest.mark.parametrize(("one", "other", "said"), HEADERS)
def test_headers_that_do_not_match_are_said(tmp_path: Path, one: str, other: str, said: str) -> None:
    rows = "".join(f"{n},{n % 7},{'yn'[n % 2]}\n" for n in range(60))
    (tmp_path / "t-train.csv").write_text(one + rows)
    (tmp_path / "t-test.csv").write_text(other + rows)
    with pytest.raises(TaskError, match=said):
        load(str(tmp_path / "t-train.csv"))


def test_a_missing_value_in_the_first_row_is_no_header(tmp_path: Path) -> None:
    text = "?,x,1\n" + "".join(f"{n},{'xz'[n % 2]},{n % 2}\n" for n in range(59))
    task = table_of(tmp_path / "a.csv", text)
    assert (sum(sizes(task)), task.values) == (60, (0, 1))


@pytest.mark.parametrize("first", ["0,1,2,3", ",0,1,2"], ids=["numbers", "behind an index"])
def test_a_row_that_counts_the_columns_is_their_header(tmp_path: Path, first: str) -> None:
    """As pandas writes a frame without names; taken for data, it would be a row more, and a class."""
    rows = "".join(f"{n},{n * 1.5},{n % 7},{n % 2}\n" for n in range(60))
    task = table_of(tmp_path / "a.csv", f"{first}\n{rows}")
    assert (sum(sizes(task)), task.values) == (60, (0, 1))
    assert len(set(task.names)) == 4


SAID: dict[str, tuple[Callable[[int], object], str]] = {
    "1,100 and the like": (lambda n: f'"{n % 9 + 1},{n % 3}00"', "that read as amounts or times"),
    "percent": (lambda n: f"{n % 9}%", "that read as amounts or times"),
    "money": (lambda n: f"${n % 9}.50", "that read as amounts or times"),
    "accountants' minus": (lambda n: f"({n % 9}.5)", "that read as amounts or times"),
    "clock": (lambda n: f"{n % 9:02}:30", "that read as amounts or times"),
    "months": (lambda n: f"{n % 9 + 1} Jan 2024", "that read as amounts or times"),
    "numbers among words": (lambda n: n % 9 if n % 3 == 0 else "unknown", "has numbers, as '0', and words"),
    "letters": (lambda n: ["Yes", "yes", "no"][n % 3], "has 'Yes' and 'yes', which are two words"),
    "accents": (lambda n: ["\u00e9", "e\u0301", "no"][n % 3], "which are two words"),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_words_that_may_be_meant_otherwise_are_said(tmp_path: Path, what: str) -> None:
    """Of columns and of classes; a table whose words are plain is read without a note of this kind."""
    cell, said = SAID[what]
    text = "".join(f"{n},{cell(n)},{'yn'[n % 2]}\n" for n in range(60))
    (note,) = [note for note in table_of(tmp_path / "a.csv", "a,b,c\n" + text).notes if said in note]
    assert "column 'b'" in note
    text = "".join(f"{n},{cell(n)}\n" for n in range(60))
    task = table_of(tmp_path / "b.csv", "a,b\n" + text, kind="classification")
    assert any(said in note and "the target 'b'" in note for note in task.notes)


def test_columns_that_are_said_to_hold_words_do(tmp_path: Path) -> None:
    """Postal codes are no amounts; as classes they stay the texts that they are."""
    text = "zip,dose,ward\n" + "".join(f"{[10115, 20095, 80331][n % 3]},{n},{n % 2 + 7}\n" for n in range(60))
    assert table_of(tmp_path / "a.csv", text).input_shape == (2,)
    task = table_of(tmp_path / "a.csv", text, words=("zip", "ward"))
    assert (task.input_shape, task.values) == ((4,), ("7", "8"))
    assert task.columns[0]["categories"] == ["10115", "20095", "80331"]
    assert encode(task.columns, [{"zip": 20095, "dose": 1}]).tolist() == [[0, 1, 0, 1]]


def test_arrays_that_are_not_used_are_said(tmp_path: Path) -> None:
    x, y = rng().normal(size=(20, 3)), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, weights=y, x_tets=x)
    assert task_of(tmp_path / "a.npz").notes[0].startswith("not used: weights, x_tets; arrays of data are called")


def test_dev_is_the_validation_split_where_no_other_is(tmp_path: Path) -> None:
    x, y = rng().normal(size=(20, 3)), np.arange(20) % 2
    arrays: dict[str, Any] = {"x_train": x, "y_train": y, "x_dev": x[:6], "y_dev": y[:6]}
    np.savez(tmp_path / "a.npz", **arrays)
    assert len(task_of(tmp_path / "a.npz").validation) == 6
    np.savez(tmp_path / "b.npz", **arrays, x_val=x[:8], y_val=y[:8])
    task = task_of(tmp_path / "b.npz")
    assert len(task.validation) == 8
    assert task.notes[0].startswith("not used: x_dev, y_dev; ")


def test_a_class_that_a_split_lacks_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'xyz'[n % 3]}\n" for n in range(60))
    (tmp_path / "t-train.csv").write_text("a,b\n" + rows)
    (tmp_path / "t-test.csv").write_text("a,b\n1,x\n2,z\n")
    assert "the test split has no example of class y" in task_of(tmp_path / "t-train.csv").notes


@pytest.mark.parametrize(("copies", "said"), [(0, None), (2, None), (8, "8 of 40 test rows are copies of rows to ")])
def test_test_rows_that_are_copies_are_said(tmp_path: Path, copies: int, said: str | None) -> None:
    """With their targets; a row that is like another one and has another target is no copy."""
    rows = [f"{n},{n * n},{'xy'[n % 2]}" for n in range(200)]
    test = [*rows[:copies], *(f"{n},{n * n},{'yx'[n % 2]}" for n in range(100, 140 - copies))]
    for title, lines in (("train", rows), ("test", test)):
        (tmp_path / f"t-{title}.csv").write_text("\n".join(["a,b,c", *lines]))
    notes = [note for note in task_of(tmp_path / "t-train.csv").notes if "copies" in note]
    assert [note.startswith(str(said)) for note in notes] == [True] * (said is not None)


@pytest.mark.parametrize(("rare", "metric", "said"), [(10, "", True), (20, "", False), (10, "auc", False)])
def test_a_rare_class_is_said_where_no_metric_is_chosen(tmp_path: Path, rare: int, metric: str, said: bool) -> None:
    """Of 200 rows."""
    text = "a,b\n" + "".join(f"{n},{'yes' if n < rare else 'no'}\n" for n in range(200))
    notes = [note for note in table_of(tmp_path / "a.csv", text, metric=metric).notes if note.startswith("class ")]
    assert len(notes) == said
    if said:
        assert "class 'no' has 190 of 200 rows, 'yes' has 10: accuracy hardly sees the rare one" in notes[0]
        assert table_of(tmp_path / "a.csv", text, metric="balanced_accuracy").metric == "balanced_accuracy"


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (("0", "1"), (0, 1)),
        (("-1", "1"), (-1, 1)),
        (("0.5", "1.5"), (0.5, 1.5)),
        (("False", "True"), (False, True)),
        (("no", "yes"), ("no", "yes")),
        (("00", "01"), ("00", "01")),
    ],
)
def test_labels_keep_their_type(tmp_path: Path, labels: tuple[str, str], values: tuple[Any, Any]) -> None:
    text = "a,b\n" + "".join(f"{n},{labels[n % 2]}\n" for n in range(60))
    task = table_of(tmp_path / "a.csv", text, kind="classification")
    assert (task.labels, task.values) == (labels, values)
    assert list(map(type, task.values)) == list(map(type, values))


def test_equal_numbers_are_one_class_under_every_hash_seed(tmp_path: Path) -> None:
    """However a number is written, in either file, its class is the same; order and digest do not follow hash()."""
    written = ("2", "1.0", "1", "1.00", "1e1", "9007199254740993", "9007199254740992")
    (tmp_path / "train.csv").write_text("".join(f"{row},{cell}\n" for row, cell in enumerate(written * 10)))
    (tmp_path / "test.csv").write_text("0,1.00\n1,2.0\n2,10\n3,+9007199254740993\n")
    program = (
        "from evosearch.tasks import load; from evosearch.tasks.base import TaskSettings; "
        f"task = load({str(tmp_path / 'train.csv')!r}, TaskSettings(kind='classification')); "
        "print(task.digest, task.labels, task.test_split().y)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.partition(" ")[::2]
        for seed in range(4)
    }
    assert {rest.strip() for _, rest in said} == {"('1', '2', '1e1', '9007199254740992', '9007199254740993') [0 1 2 4]"}
    assert len(said) == 1


def test_a_split_may_lack_the_first_class(tmp_path: Path) -> None:
    """Classes are numbered from 0 over all splits; one of them alone need not hold each."""
    x, y = rng().normal(size=(8, 3)), np.arange(8) % 4
    arrays: dict[str, Any] = {
        "x_train": x,
        "y_train": y,
        "x_valid": x[:2],
        "y_valid": y[1:3],
        "x_test": x[:2],
        "y_test": y[2:4],
    }
    np.savez(tmp_path / "data.npz", **arrays)
    task = task_of(tmp_path / "data.npz")
    assert (task.outputs, task.validation.y.tolist(), task.test_split().y.tolist()) == (4, [1, 2], [2, 3])


SERIES = """# a comment
@problemName Two
@timeStamps false
@univariate false
@classLabel true up down
@data
1,2,3:10,20,30:up
3,2,1:30,?,10:down
"""


def test_time_series(tmp_path: Path) -> None:
    """Dimensions side by side; a missing value is its series' mean; series shorter than the longest begin again, and a
    last number says where they end."""
    body = "".join(SERIES.splitlines(keepends=True)[-2:])
    with lzma.open(tmp_path / "Two_TRAIN.ts.xz", "wt") as file:
        file.write(SERIES + body * 9)
    with lzma.open(tmp_path / "Two_TEST.ts.xz", "wt") as file:
        file.write(SERIES.replace("1,2,3:10,20,30:up", "1,2,3,4:10,20,30,40:up"))
    task = task_of(tmp_path / "Two_TRAIN.ts.xz")
    assert (task.name, task.labels, task.input_shape, len(task.test_split())) == ("Two", ("up", "down"), (4, 3), 2)
    expected = np.array([[3, 30, 1], [2, 20, 1], [1, 10, 1], [3, 30, 0]], np.float32)
    np.testing.assert_array_equal(task.test_split().x[1], expected)
    np.testing.assert_array_equal(task.normalise(expected)[:, 2], expected[:, 2])
    assert (task.mean.shape, task.masked, task.description()["masked"]) == ((3,), True, True)
    assert any("series of 3 to 4 steps" in note for note in task.notes)
    target = (
        SERIES.replace("@classLabel true up down", "@targetLabel true").replace(":up", ":1.5").replace(":down", ":2")
    )
    (tmp_path / "rate.ts").write_text(target + target.split("@data\n")[1] * 9)
    assert task_of(tmp_path / "rate.ts").kind.name == "regression"


def image_folder(folder: Path, size: tuple[int, int] = (6, 4)) -> Path:
    from PIL import Image

    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng().integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
            pixels[0, 0] = (200, number, 0 if name == "cat" else 1)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_image_folders(tmp_path: Path) -> None:
    """Classes are folders; grey images have one channel; train, val and test folders are the splits."""
    from PIL import Image

    task = task_of(image_folder(tmp_path / "pets"))
    assert (task.labels, task.input_shape, sum(sizes(task))) == (("cat", "dog"), (3, 4, 6), 20)
    np.testing.assert_array_equal(task.train.x[:, 2, 0, 0], task.train.y)

    for title in ("train", "val", "test"):
        for file in image_folder(tmp_path / "split" / title).rglob("*.png"):
            Image.open(file).convert("L").save(file)
    task = task_of(tmp_path / "split")
    assert (task.input_shape, len(task.train), len(task.validation), len(task.test_split())) == ((1, 4, 6), 20, 20, 20)


def test_images_of_any_sizes_are_scaled_to_one(tmp_path: Path) -> None:
    """The square in the middle is taken; greys of any depth keep their values; it is told how where it is not asked."""
    from PIL import Image

    def framed(height: int, width: int, colour: Any) -> np.ndarray[Any, Any]:
        side = min(width, height)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = np.zeros((height, width, *np.shape(colour)), np.asarray(colour).dtype)
        pixels[top : top + side, left : left + side] = colour
        return pixels

    sizes_ = [(8, 4), (5, 9), (6, 6), (3, 3)] * 5
    for colour in (np.array([9, 200, 77], np.uint8), np.uint8(77), np.uint16(7700), np.float32(7.5)):
        at = tmp_path / str(colour)
        suffix = "tiff" if colour.dtype == np.float32 else "png"
        save(at, None, *(framed(*size, colour) for size in sizes_), suffix=suffix)
        task = task_of(at, size=3)
        assert task.input_shape[1:] == (3, 3)
        assert seen(at, 1, size=3) == [tuple(colour.reshape(-1).tolist())]
        assert (task.description()["pixels"], task.description()["size"]) == (task.pixels, 3)
        with pytest.raises(TaskError, match=r"scale the images to one size, as --set data\.size=64 does"):
            load(str(at))
    save(tmp_path / "large", None, *[Image.new("L", (200, 130), n) for n in range(20)])
    assert any("--set data.size=64 lets a search see" in note for note in task_of(tmp_path / "large").notes)
    with pytest.raises(TaskError, match=r"data\.size is -1"):
        TaskSettings(size=-1)


def test_series_as_the_archive_writes_them(tmp_path: Path) -> None:
    """Capitals in the head; 1 there and 1.0 in a row; NaN for a missing value; a text of another system's newlines."""
    plain = SERIES.replace("up down", "1 2").replace(":up", ":1").replace(":down", ":2")
    plain += plain.split("@data\n")[1] * 9
    (tmp_path / "a.ts").write_text(plain)
    task = task_of(tmp_path / "a.ts")
    assert task.values == (1, 2)
    for other in (
        plain.replace(":1\n", ":1.0\n"),
        plain.replace("false", "False").replace("true", "TRUE"),
        plain.replace("?", "NaN"),
        plain.replace("\n", "\r\n"),
        "\ufeff" + plain,
    ):
        (tmp_path / "a.ts").write_text(other, newline="")
        assert task_of(tmp_path / "a.ts").digest == task.digest


def save(folder: Path, mode: str | None, *images: Any, suffix: str = "png", **how: Any) -> Path:
    from PIL import Image

    for number, pixels in enumerate(images):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(place / f"{number}.{suffix}", **how)
    return folder


def seen(folder: Path, at: int = 0, **settings: Any) -> list[tuple[float, ...]]:
    """The different colours of the first pixels of all images, or of others on the diagonal."""
    task = task_of(folder, **settings)
    x = np.concatenate([task.train.x, task.validation.x, task.test_split().x])
    return sorted({tuple(map(float, colour)) for colour in x[:, :, at, at]})


def test_images_mean_what_they_show(tmp_path: Path) -> None:
    """16-bit and floating-point greys keep their values; palettes are colours; what is transparent is not seen."""
    from PIL import Image

    deep = [np.full((2, 3), n, np.uint16) for n in (0, 255, 300, 65535) * 5]
    assert seen(save(tmp_path / "deep", None, *deep)) == [(0,), (255,), (300,), (65535,)]
    grey = [np.full((2, 3), n, np.uint8) for n in (0, 1, 255, 7) * 2]  # in the place of the first eight
    mixed = save(save(tmp_path / "mixed", None, *deep), "L", *grey)
    assert seen(mixed) == [(0,), (255,), (257,), (300,), (7 * 257,), (65535,)]
    floats = [np.full((2, 3), n, np.float32) for n in (0.25, 1e9, -3.5, 7) * 5]
    assert seen(save(tmp_path / "floats", None, *floats, suffix="tiff")) == [(-3.5,), (0.25,), (7,), (1e9,)]
    coloured = [Image.new("RGB", (3, 2), colour).quantize(4) for colour in ("red", "blue") * 10]
    assert seen(save(tmp_path / "palette", None, *coloured)) == [(0, 0, 255), (255, 0, 0)]
    clear = [Image.new("RGBA", (3, 2), colour) for colour in ((9, 9, 9, 0), (200, 100, 0, 0), (200, 100, 0, 255)) * 7]
    assert seen(save(tmp_path / "clear", None, *clear)) == [(0, 0, 0, 0), (200, 100, 0, 255)]
    opaque = [Image.new("RGBA", (3, 2), colour) for colour in ((9, 9, 9, 255), (200, 100, 0, 255)) * 10]
    assert task_of(save(tmp_path / "opaque", None, *opaque)).input_shape == (3, 2, 3)
    turned = Image.new("L", (3, 2))
    exif = turned.getexif()
    exif[0x0112] = 6
    assert task_of(save(tmp_path / "turned", None, *[turned] * 20, exif=exif)).input_shape == (1, 3, 2)


def test_greys_of_two_depths_are_not_mixed_up(tmp_path: Path) -> None:
    from PIL import Image

    floats, colours = np.zeros((2, 3), np.float32), Image.new("RGB", (3, 2))
    save(tmp_path / "mixed", None, floats, floats, suffix="tiff")
    save(tmp_path / "mixed", None, colours)
    with pytest.raises(TaskError, match=r"0.png: colour pixels, and .*0.tiff has floating-point ones; save them alike"):
        load(str(tmp_path / "mixed"))


def test_what_is_hidden_or_empty_is_no_data(tmp_path: Path) -> None:
    """Notebooks' checkpoints, an archiver's leavings and folders without images, anywhere; an empty class is said."""
    task = task_of(image_folder(tmp_path / "pets"))
    for place in (".ipynb_checkpoints", "cat/.ipynb_checkpoints", "__MACOSX", "dog/__MACOSX/deep", ".hidden"):
        shutil.copytree(tmp_path / "pets/cat", tmp_path / "pets" / place, ignore=lambda *_: [".ipynb_checkpoints"])
    (tmp_path / "pets/cat/._0.png").write_bytes(b"no picture")
    (tmp_path / "pets/notes").mkdir()
    again = task_of(tmp_path / "pets")
    assert again.digest == task.digest
    assert "notes: no image in this folder, so no class" in again.notes
    for name in ("train_x", "train_y", "._train_x"):
        (tmp_path / "arrays").mkdir(exist_ok=True)
        np.save(tmp_path / "arrays" / f"{name}.npy", np.arange(40) % 2 if name[-1] == "y" else np.zeros((40, 3)))
    assert task_of(tmp_path / "arrays").input_shape == (3,)
    folder = idx_folder(tmp_path / "mnist")
    (folder / "._train-images-idx3-ubyte").write_bytes(b"")
    assert sum(sizes(task_of(folder))) == 50


# -- data sets by name --------------------------------------------------------------------------------------------


def test_folders_of_images_are_read_whole_or_it_is_said(tmp_path: Path) -> None:
    """Splits in capitals too, links followed but never in a circle; what is no image of a class is said."""
    image = pytest.importorskip("PIL.Image")
    for split in ("Training", "Testing"):
        image_folder(tmp_path / "pets" / split)
    task = task_of(tmp_path / "pets")
    assert task.labels == task_of(tmp_path / "pets" / "Training").labels
    assert len(task.test_split()) == len(list((tmp_path / "pets/Testing").rglob("*.png")))
    folder = image_folder(tmp_path / "more")
    before = sum(sizes(task_of(folder)))
    (folder / "dog" / "up").symlink_to(folder)
    (folder / "dog" / "linked").symlink_to(tmp_path / "pets" / "Training" / "dog")
    image.new("L", (6, 4)).save(folder / "stray.png")
    (folder / "cat" / "live.heic").write_bytes(b"x")
    (folder / "readme.md").write_text("")
    task = task_of(folder)
    assert sum(sizes(task)) == before + len(list((tmp_path / "pets/Training/dog").glob("*.png")))
    assert any("not read, being no image of a class: live.heic and 1 more" in note for note in task.notes)


def test_torchvision_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data set with `data` and `targets` is loaded from where downloads are kept; without torchvision it is said."""
    with pytest.raises(TaskError, match="torchvision:MNIST needs torchvision: pip install torchvision"):
        load("torchvision:MNIST")

    class Small:
        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            assert (root, download) == (str(tmp_path), True)
            count = 30 if train else 10
            self.data, self.targets = np.zeros((count, 5, 5), np.uint8), [n % 3 for n in range(count)]

    module = types.ModuleType("torchvision.datasets")
    module.Small = Small  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.setenv("EVOSEARCH_DATA", str(tmp_path))
    task = task_of("torchvision:Small")
    assert (task.name, task.input_shape, task.outputs, len(task.test_split())) == ("Small", (1, 5, 5), 3, 10)
    with pytest.raises(TaskError, match=r"torchvision.datasets has no Big"):
        load("torchvision:Big")


def test_hugging_face_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set with an image column and named classes."""
    with pytest.raises(TaskError, match="hf:a/b needs datasets: pip install datasets"):
        load("hf:a/b")

    class Image:
        pass

    class Rows(dict[str, Any]):
        features: dict[str, Any] = {"image": Image(), "label": types.SimpleNamespace(names=["no", "yes"])}  # noqa: RUF012

    def rows(count: int) -> Rows:
        return Rows(image=[np.full((4, 4, 3), n, np.uint8) for n in range(count)], label=[n % 2 for n in range(count)])

    module = types.ModuleType("datasets")
    module.load_dataset = lambda name, cache_dir: {"train": rows(20), "test": rows(6)}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    task = task_of("hf:me/beans")
    assert (task.name, task.labels, task.input_shape, sum(sizes(task))) == ("beans", ("no", "yes"), (4, 4, 3), 26)


# -- what a model is given ----------------------------------------------------------------------------------------

MIXED = "age,job,hours,note,earns\n" + "".join(
    f"{20 + n},{['clerk', 'nurse', '?'][n % 3]},{'' if n % 5 == 0 else n / 2},{'x' if n % 2 else 'y'},{n % 2}\n"
    for n in range(60)
)
ASKED = """
import sys
sys.modules["evosearch"] = None
import json, numpy as np, pandas as pd
import model
rows = pd.read_csv(sys.argv[1])
network = lambda x: model.torch.stack([-x[:, 0], x[:, 0]], 1)  # old ones earn
text = [dict(zip(rows.columns, line.split(","))) for line in open(sys.argv[1]).read().splitlines()[1:]]
inputs = rows.drop(columns=["earns", "note"])
for given in (rows, text, rows.to_dict("records"), rows.to_numpy(object), inputs.to_numpy(object)):
    assert model.torch.equal(model.preprocess(given), model.preprocess(text)), given
found = model.predict(network, rows[rows.age > 60])
assert found == [1] * len(found) and type(found[0]) is int, found
assert model.predict_proba(network, text).shape == (60, 2)
assert model.predict(network, model.encode(model.COLUMNS, rows))[-1] == 1
description = json.load(open("data.json"))
assert np.array_equal(model.encode(description["columns"], text), model.encode(model.COLUMNS, text))
try:
    model.predict(network, [{"age": "old", "job": "nurse", "hours": 3}])
except ValueError as error:
    print(error)
print(model.preprocess(text).tolist())
"""


def test_a_model_takes_rows_as_they_are(tmp_path: Path) -> None:
    """Raw rows in, labels in their own type out, without evosearch: what was trained on is what is asked."""
    task = table_of(tmp_path / "mixed.csv", MIXED, drop=("note",), test=0.1, validation=0.1)
    (tmp_path / "model.py").write_text(f"import torch\n\n\n{answer_source(task)}")
    (tmp_path / "data.json").write_text(json.dumps(task.description()))
    (tmp_path / "asked.py").write_text(ASKED)
    done = subprocess.run(
        [sys.executable, "asked.py", "mixed.csv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, numbers = done.stdout.splitlines()
    assert said == "row 0: 'old' in column 'age', which holds numbers"
    x = np.concatenate([split.x for split in (task.train, task.validation, task.test_split())])
    expected = task.normalise(x[np.argsort(x[:, 0])])
    np.testing.assert_allclose(np.array(json.loads(numbers)), expected, atol=1e-6)


def test_rows_of_another_shape_are_said() -> None:
    columns = [{"name": "a", "type": "number", "decimal": ".", "fill": 2.0, "flag": True}]
    assert encode(columns, [{"a": None}, {"a": 3}, {"a": "4"}, {"a": float("nan")}]).tolist() == [
        [2, 1],
        [3, 0],
        [4, 0],
        [2, 1],
    ]
    for rows, said in (
        ([{"b": 1}], "row 0: no value for column 'a'"),
        ([[1, 2, 3]], "row 0: 3 values; the columns are a"),
        ([[1, 2], [1]], "row 1: 1 values; the columns are a"),
        (["word"], "row 0: 'word' is no row; a row is a mapping by column, or a list of cells"),
        ([1.5], "row 0: 1.5 is no row"),
        ([["1e999"]], "row 0: 1e999 in column 'a' is too large"),
        (pd.DataFrame({"b": [1]}), "no column 'a'; there are b"),
    ):
        with pytest.raises(ValueError, match=said):
            encode(columns, rows, ("a", "b"))


def test_a_word_is_known_however_a_table_keeps_it() -> None:
    """By a missing one of any kind, by a number for its digits where it is the only one; a new one is all zeros."""
    columns = [{"name": "zip", "type": "category", "categories": ["", "007", "10", "1e1", "7b"]}]
    asked = ["007", 7, 7.0, np.int64(7), "7", "new", 10, None, pd.NA, "?", float("nan"), True]
    found = encode(columns, [{"zip": cell, "more": 1} for cell in asked])
    at = [int(row.argmax()) if row.any() else None for row in found]
    assert at == [1, 1, 1, 1, None, None, 2, 0, 0, 0, 0, None]
    comma = [{"name": "a", "type": "number", "decimal": ",", "fill": 2.0, "flag": False}]
    assert encode(comma, [["1,5"], ["1.5"], [1.5], [" 3 "]]).ravel().tolist() == [1.5, 1.5, 1.5, 3]
    assert encode(columns, {"zip": "7b"}).tolist() == [[0, 0, 0, 0, 1]]  # one row by itself


DAYS = pd.to_datetime(["2024-02-29", "1969-12-31T18:00:00", "2031-07-01 12:30:15.25", "1970-01-01"], format="ISO8601")


@pytest.mark.parametrize(
    "written",
    [
        list(DAYS),
        [f"{day:%d.%m.%Y %H:%M:%S.%f}" for day in DAYS],
        [f"{day.day}/{day.month}/{day.year}T{day.time()}" for day in DAYS],
        [day.isoformat() for day in DAYS],
        [day.isoformat(" ") + "Z" for day in DAYS],
        [day.to_pydatetime() for day in DAYS],
        [day.tz_localize("UTC").tz_convert("Asia/Kathmandu") for day in DAYS],
        list(DAYS.to_numpy()),
    ],
)
def test_dates_are_days_and_places_in_their_periods(written: list[Any]) -> None:
    """pandas says which day it is; a missing one is the mean, and nowhere in the year."""
    column = {"name": "day", "type": "date", "order": "dmy", "fill": 5.5, "flag": True, "periods": [365.2425, 7.0]}
    days = (DAYS - pd.Timestamp(0)) / pd.Timedelta(days=1)
    angles = [2 * np.pi * days / period for period in column["periods"]]  # type: ignore[attr-defined]
    expected = np.stack([days, 0 * days, *(f(angle) for angle in angles for f in (np.sin, np.cos))], 1)
    np.testing.assert_allclose(encode([column], [[cell] for cell in written]), expected, atol=1e-9)
    np.testing.assert_allclose(encode([column], pd.DataFrame({"day": written})), expected, atol=1e-9)
    assert encode([column], [[None], [pd.NaT], [np.datetime64("NaT")], [""]]).tolist() == [[5.5, 1, 0, 0, 0, 0]] * 4
    for cell in ("2024-13-01", "soon", 20240101):
        with pytest.raises(ValueError, match="in column 'day', which holds dates, as 2024-12-31"):
            encode([column], [[cell]])


def test_a_column_of_dates_is_told_from_words_and_numbers(tmp_path: Path) -> None:
    """It may lack some; where the time of day is always one, and no year goes by, there is the week alone."""
    rows = [f"{day:%Y-%m-%d},{day.year},{'ab'[n % 2]}" for n, day in enumerate(pd.date_range("2024-03-01", periods=60))]
    task = table_of(tmp_path / "a.csv", "day,year,kind\n" + "\n".join(rows))
    assert [column["type"] for column in task.columns] == ["date", "number"]
    assert task.columns[0]["periods"] == [7.0]
    assert task.input_shape == (4,)
    assert any("1 columns of numbers and 0 of words, 1 of dates" in line for line in task.summary())
    rows[3] = ",2024,a"
    task = table_of(tmp_path / "a.csv", "day,year,kind\n" + "\n".join(rows))
    assert task.columns[0]["flag"]
    assert "column 'day' lacks 1 of 60 values: its mean instead" in task.notes
    rows[3] = "later,2024,a"
    with pytest.raises(TaskError, match="line 5: column 'day' holds dates, and here 'later'"):
        table_of(tmp_path / "a.csv", "day,year,kind\n" + "\n".join(rows))
    task = table_of(tmp_path / "a.csv", "day,year,kind\n" + "\n".join(rows), words=("day",))
    assert task.columns[0]["type"] == "category"


@pytest.mark.parametrize(
    ("form", "last", "order"),
    [
        ("%Y/%m/%d", 60, "ymd"),
        ("%d/%m/%Y", 60, "dmy"),
        ("%m/%d/%Y", 60, "mdy"),
        ("%d.%m.%Y 08:30", 12, "dmy"),
        ("%m/%d/%Y", 12, ""),
    ],
)
def test_dates_of_every_order_are_told_where_they_can_be(tmp_path: Path, form: str, last: int, order: str) -> None:
    """pandas reads them alike; where no day is above twelve they are words, which is said."""
    days = pd.date_range("2024-03-01", periods=60)
    days = days[days.day <= last] if last < 60 else days
    rows = [f"{day.strftime(form)},{n % 2}" for n, day in enumerate([*days, *days])]
    task = table_of(tmp_path / "a.csv", "day,y\n" + "\n".join(rows), kind="classification")
    assert task.columns[0].get("order", "") == order
    assert any("day and month look alike" in note for note in task.notes) == (not order)
    if order:
        x = np.concatenate([split.x[:, 0] for split in (task.train, task.validation, task.test_split())])
        read = pd.to_datetime(days.strftime(form), format=form.replace("08:30", "%H:%M"))
        expected = (read - pd.Timestamp(0)) / pd.Timedelta(days=1)
        np.testing.assert_allclose(np.unique(x), np.unique(expected), rtol=1e-6)


def test_what_looks_like_a_name_or_a_count_is_said(tmp_path: Path) -> None:
    rows = [f"{n + 7},id{n},{'xyz'[n % 3]},{n % 2}" for n in range(60)]
    notes = "\n".join(table_of(tmp_path / "a.csv", "row,name,kind,y\n" + "\n".join(rows)).notes)
    assert "column 'row' counts the rows; if it is no more than that, --set 'data.drop=[\"row\"]' leaves it" in notes
    assert "column 'name' has 60 different words on 60 rows; if they say nothing, --set 'data.drop=" in notes
    assert "'kind'" not in notes


# -- mistakes -----------------------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: Any) -> Path:
    x, y = rng().normal(size=(20, 3)), np.arange(20) % 2
    np.savez(folder / "data.npz", **{"x": x, "y": y, **arrays})
    return folder / "data.npz"


def spoilt(row: int, value: float) -> np.ndarray[Any, Any]:
    x = rng().normal(size=(20, 3))
    x[row, 1] = value
    return x


ARRAY_MISTAKES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"x": spoilt(7, np.nan)}, {}, r"data.npz\[x\]: row 7: a value is not a finite number"),
    (
        {"x": np.arange(60).reshape(20, 3) + 2**62},
        {},
        r"data.npz\[x\]: row 0: whole numbers of this size lie too close together .*; take away their smallest first",
    ),
    (
        {"x": np.arange(60).reshape(20, 3) * np.longdouble("1e400")},
        {},
        r"data.npz\[x\]: row 0: a value is too large for float64",
    ),
    ({"y": np.zeros(20, int)}, {}, "only one class in the train split"),
    ({"y": np.arange(19) % 2}, {}, r"data.npz\[y\]: 19 targets for 20 examples in .*data.npz\[x\]"),
    ({"y": np.array(["a", "b"] * 10)}, {"kind": "regression"}, r"targets of dtype <U1"),
    ({"x": np.array([["a"] * 3] * 20)}, {}, r"data.npz\[x\]: examples of dtype <U1"),
    ({"x": np.array([[None] * 3] * 20)}, {}, r"holds Python objects; save plain numbers"),
    ({"x": np.zeros(20)}, {}, r"an array of shape \(20,\); examples are rows"),
    ({"y": np.arange(20) % 2 / 2}, {"kind": "classification"}, r"row 1: 0.5 is no class number"),
    ({"y": np.where(np.arange(20) == 4, np.inf, 0.5)}, {}, r"data.npz\[y\]: row 4: a value is not a finite"),
    ({"y": np.zeros(20, "V1")}, {}, r"data.npz\[y\]: .*dtype \|V1"),
    ({"x": np.zeros((0, 3)), "y": np.zeros(0, int)}, {}, r"data.npz\[x\]: holds no examples"),
    ({"y": np.array(3)}, {}, r"data.npz\[y\]: targets of shape \(\); they are \(N,\), or \(N, outputs\)"),
    ({"y": np.zeros((20, 2, 2))}, {}, r"data.npz\[y\]: targets of shape \(20, 2, 2\)"),
    ({"y": np.eye(2)[np.arange(20) % 2]}, {}, r"data.npz\[y\]: each row is one 1 among 2 numbers, as classes are"),
    ({"y": np.array([b"a", b"\xe9"] * 10)}, {}, r"data.npz\[y\]: class b'\\xe9' is not UTF-8 text"),
]


@pytest.mark.parametrize(("arrays", "settings", "said"), ARRAY_MISTAKES)
def test_mistakes_in_arrays(tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], said: str) -> None:
    """Each names the file, the array and, where there is one, the row."""
    with pytest.raises(TaskError, match=said) as caught:
        load(str(npz(tmp_path, **arrays)), TaskSettings(**settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 60, 0.5, 0.9])
def test_torn_files(tmp_path: Path, keep: float) -> None:
    """A file that was cut short is an error that names it, wherever the cut is."""
    whole = npz(tmp_path).read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(TaskError, match=r"data.npz.*cannot be read, torn perhaps"):
        load(str(tmp_path / "data.npz"))
    np.save(tmp_path / "x.npy", np.zeros((20, 3)))
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(TaskError, match=r"x.npy: cannot be read, torn perhaps"):
        load(str(tmp_path))


def test_torn_idx_and_text(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "mnist")
    labels = folder / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-5])
    with pytest.raises(TaskError, match=r"idx1-ubyte: row 35: torn, 35 bytes of values where its head says 40"):
        load(str(folder))
    labels.write_bytes(b"<html>")
    with pytest.raises(TaskError, match=r"idx1-ubyte: does not begin as an IDX file does"):
        load(str(folder))
    labels.write_bytes(whole)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:100])
    with pytest.raises(TaskError, match=r"ubyte.gz: cannot be read, torn perhaps"):
        load(str(folder))
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(PEOPLE.encode())[:40])
    with pytest.raises(TaskError, match=r"a.csv.xz: cannot be read, torn perhaps"):
        load(str(tmp_path / "a.csv.xz"))
    (tmp_path / "b.csv").write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(TaskError, match=r"b.csv: byte 6 is not UTF-8 text"):
        load(str(tmp_path / "b.csv"))


TEXT_MISTAKES = [
    ("a.csv", "a,b\n1,x\n2,y,3\n", r"a.csv: line 3: 3 cells, and 2 in the first row"),
    ("a.csv", 'a,b\n"x\ny",1\n2\n', r"a.csv: line 4: 1 cells, and 2 in the first row"),
    ("a.csv", "a,b\n1,x\n,,,,\n2,y,z,1,2,3,4,5\n", r"a.csv: line 4: 8 cells, and 2 in the first row"),
    ("a.csv", 'a,b\n1,"x\n2,y\n', r"a.csv: line 2: a quoted cell that ends before its text does, or nowhere"),
    ("a.csv", "a,b\n", r"a.csv: 1 rows; there is nothing to learn from"),
    ("a.csv", "a,b\n1,x\nx,y\n3,x\n4,y\n", r"a.csv: line 3: column 'a' holds numbers, and here 'x'"),
    ("a.csv", "a,b\n1,x\n2,y\n007,x\n4.5,y\n", r"a.csv: line 4: column 'a' holds numbers, and here '007'"),
    ("a.csv", "a,b\n1,x\n1e999,y\n", r"a.csv: line 3: 1e999 in column 'a' is too large"),
    ("a.csv", "a,b,a\n1,x,2\n2,y,3\n", r"a.csv: line 1: two columns are called 'a'"),
    ("a.csv", "a;b\n1,234;x\n2,500;y\n", r"a.csv: line 2: '1,234' in column 'a' may be a thousand and more"),
    ("a.csv", 'a,b\n"x" 2,y\n2,z\n', r"a.csv: line 2: a quoted cell that ends before its text"),
    ("a.csv", "a,b\n1,x\0\n2,y\n", r"a.csv: a zero byte at character 7"),
    ("a.csv", "a,b\n1,0.5\n2,x\n3,0.1\n4,0.2\n", r"a.csv: line 3: column 'b' holds numbers, and here 'x'"),
    (
        "a.csv",
        "a,b\n" + "".join(f"{9007199254740993 + n},{n % 2}\n" for n in range(20)),
        r"a.csv: line 2: column 'a' holds whole numbers too close together for their size",
    ),
    ("a.csv", "a,b\n1,x\n2,\n", r"a.csv: line 3: no class in column 'b'; leave out such rows"),
    (
        "a.csv",
        "a,b\n" + "".join(f"{n % 9},w{n}\n" for n in range(40)),
        r"a.csv: 40 different classes on 40 rows in column 'b', .* --target COLUMN says which column to predict",
    ),
    (
        "a.csv",
        "a,b\n" + "".join(f"w{n},{n % 2}\n" for n in range(1100)),
        r"'a' has 1100 different words; drop it: .*, or --set 'data.words=.*' keeps it as words, the 1000 of",
    ),
    (
        "a.csv",
        "a;b;c\n1.100;0,5;x\n2.250;1,5;y\n",
        r"a.csv: line 2: '1.100' in column 'a' may be a thousand and more, or a number with three decimals; --set data",
    ),
    (
        "a.csv",
        "a,b\n2024-01-02,x\nsoon,y\n2024-03-01,x\n",
        r"a.csv: line 3: column 'a' holds dates, and here 'soon'; put right .* --set 'data.words=.*' keeps it as words",
    ),
    ("a.csv", "a,b,\n1,x,\n2,y,\n", r"a.csv: column '2' is to be predicted and empty, as the last one is where lines"),
    ("a.csv", "PK\x03\x04 and so on", r"a.csv: a zip archive, as Excel's files are; unpack it, or save the sheet"),
    ("a.csv", "version https://git-lfs.github.com/spec/v1\n", r"a.csv: a pointer to a file that Git LFS keeps"),
    ("a.ts", "1,2,3\n", r"a.ts: line 1: values before @data"),
    ("a.ts", "@data\n1,2:a\n", r"a.ts: its head states neither @classLabel true nor @targetLabel true"),
    ("a.ts", SERIES + "1,2,3:up\n", r"a.ts: line 9: 1 dimensions where 2 dimensions are due"),
    ("a.ts", SERIES + "1,x,3:1,2,3:up\n", r"a.ts: line 9: 'x' is no number"),
    ("a.ts", SERIES + "1,2,3:1,2,3:sideways\n", r"a.ts: line 9: 'sideways' where one of up, down is due"),
    ("a.ts", SERIES + "1,1e999,3:1,2,3:up\n", r"a.ts: line 9: 1e999 is too large"),
    ("a.ts", SERIES.replace("up down", "up down up"), r"a.ts: line 5: the class 'up' is listed twice"),
    ("a.ts", SERIES.replace("up down", "1 1.0"), r"a.ts: line 5: the class '1.0' is listed twice, as '1' too"),
    ("a.ts", SERIES.replace("false", "true", 1), r"a.ts: line 3: series with time stamps are not read"),
    ("a.txt", "hello", r"a.txt: evosearch reads no such file; it reads .npz"),
]


@pytest.mark.parametrize(("name", "text", "said"), TEXT_MISTAKES)
def test_mistakes_in_text(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TaskError, match=said) as caught:
        load(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_mistakes_in_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match="empty: no data in this folder that evosearch reads"):
        load(str(tmp_path / "empty"))
    folder = image_folder(tmp_path / "pets")
    file = folder / "dog" / "3.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:60])
    with pytest.raises(TaskError, match=r"3.png: no image that Pillow reads, torn perhaps"):
        load(str(folder))
    file.write_bytes(b"nothing")
    with pytest.raises(TaskError, match=r"3.png: no image that Pillow reads"):
        load(str(folder))
    image_folder(tmp_path / "large", (8, 8))
    file.write_bytes((tmp_path / "large" / "dog" / "3.png").read_bytes())
    with pytest.raises(TaskError, match=r"3.png: 8x8 pixels, and .*0.png has 6x4"):
        load(str(folder))
    file.unlink()
    file.symlink_to(tmp_path / "gone.png")
    with pytest.raises(TaskError, match=r"3.png: a link to nothing; put the image there, or take the link away"):
        load(str(folder))
    np.save(tmp_path / "empty" / "train_x.npy", np.zeros((3, 3)))
    with pytest.raises(TaskError, match="there is train_x and no train_y"):
        load(str(tmp_path / "empty"))
    np.save(tmp_path / "empty" / "train_y.npy", np.zeros(3))
    (tmp_path / "empty" / "metadata").write_text("nonsense")
    with pytest.raises(TaskError, match="metadata: no JSON object with a whole number num_classes"):
        load(str(tmp_path / "empty"))


def test_what_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no task 'digitz': it is no file or folder here"):
        load("digitz")
    with pytest.raises(TaskError, match="no metric 'r2' for classification, which this task is; use accuracy"):
        load("digits", TaskSettings(metric="r2"))
    with pytest.raises(TaskError, match="no kind of task named 'regresion'; did you mean regression"):
        load("digits", TaskSettings(kind="regresion"))
    with pytest.raises(TaskError, match="leave nothing to train on"):
        TaskSettings(validation=0.5, test=0.5)
    (tmp_path / "p.csv").write_text(PEOPLE)
    with pytest.raises(TaskError, match="no column 'wage'; there are age, job, hours, earns"):
        load(str(tmp_path / "p.csv"), TaskSettings(target="wage"))


def test_tasks_are_described_without_loading_libraries() -> None:
    """Importing tasks, training's settings and the pool's loads neither torch nor scikit-learn."""
    program = (
        "import sys, evosearch.tasks, evosearch.evaluation.fit, evosearch.workers, evosearch.workers.processes;"
        "print([name for name in ('torch', 'sklearn', 'PIL', 'numba') if name in sys.modules])"
    )
    assert printed(program) == "[]"


def test_what_looks_like_something_else_is_what_it_is(tmp_path: Path) -> None:
    """Names that begin as packed files do, decimals below one, a first row of small whole numbers."""
    rows = "\n".join(f"{n},{n % 5},{'ab'[n % 2]}" for n in range(40))
    for name in ("PAR1", "BZh9"):
        assert table_of(tmp_path / "a.csv", f"{name},PAR2,y\n{rows}").columns[0]["name"] == name
    rows = "\n".join(f"{n},5;0.{200 + n};{'ab'[n % 2]}" for n in range(40))
    assert [one["type"] for one in table_of(tmp_path / "b.csv", f"q;p;y\n{rows}").columns] == ["number", "number"]
    rows = "\n".join(f"{n % 7},{n % 5},{n % 3}" for n in range(2, 61))
    task = table_of(tmp_path / "c.csv", f"0,1,2\n{rows}", kind="classification")
    assert len(task.train) + len(task.validation) + len(task.test_split()) == 60


def test_a_folder_that_links_lead_to_again_is_read_once(tmp_path: Path) -> None:
    for name, other in ("ab", "ba"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
        (tmp_path / name / "again").symlink_to(tmp_path / other)
    assert len(files_below(tmp_path / "a")) == 2


def test_a_class_may_be_called_as_a_split_is_in_capitals(tmp_path: Path) -> None:
    from PIL import Image

    for number, name in enumerate(("Train", "Car", "Bus")):
        (tmp_path / name).mkdir()
        for n in range(6):
            Image.fromarray(np.full((8, 8), 40 * number + n, np.uint8)).save(tmp_path / name / f"{n}.png")
    assert task_of(tmp_path).outputs == 3


CELL = st.one_of(
    st.sampled_from(
        [
            "",
            "1",
            "-0.5",
            ".5",
            "5.",
            "1e3",
            "1e999",
            "007",
            "1_0",
            "nan",
            "inf",
            "1,5",
            " 1",
            "1\n2",
            "\n",
            "１",
            "+3",
            "e5",
        ]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.text(max_size=3),
    st.none(),
    st.floats(),
)


@given(st.lists(CELL, max_size=6))
def test_a_column_that_is_read_at_once_is_what_its_cells_are_one_by_one(cells: list[Any]) -> None:
    """Where each is a text that writes a finite number and nothing else; all others are left to be read one by one."""
    values = [number_of(cell) if isinstance(cell, str) and cell == cell.strip(" \t") else None for cell in cells]
    plain = all(value is not None and math.isfinite(value) for value in values)
    found = written(cells)
    assert (found is not None) == plain
    if plain:
        assert found.tolist() == values


def test_many_columns_are_told_in_a_few_lines(tmp_path: Path) -> None:
    """What is said of each is said of five, and how many more; a name that is not there brings those like it."""
    file = tmp_path / "wide.csv"
    names = [f"gene {number}" for number in range(100)]
    rows = [["" if (row + place) % 9 == 0 else str(row * place % 7 + 0.5) for place in range(100)] for row in range(40)]
    lines = [",".join([*names, "ill or not"]), *(",".join([*row, "ny"[at % 2]]) for at, row in enumerate(rows))]
    file.write_text("\n".join(lines))
    task = load(str(file))
    assert isinstance(task, Task)
    said = [line for line in task.summary() if "its mean instead" in line]
    assert len(said) == 6
    assert said[-1].startswith("95 more columns like these: 'column 'gene 0' lacks ")
    with pytest.raises(TaskError, match=r"no column 'ill_or_not'; did you mean 'ill or not'\?$"):
        load(str(file), TaskSettings(target="ill_or_not"))
    with pytest.raises(TaskError, match=r"no column 'weight'; there are 101, from 'gene 0' to 'ill or not'$"):
        load(str(file), TaskSettings(target="weight"))
