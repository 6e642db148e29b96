"""What a network is given: examples as people hold them become one batch, or an error that names the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from evosearch.tasks.batch import batch

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6)).astype(np.uint8)
SERIES = np.random.default_rng(0).normal(size=(4, 7, 2))
GREY, ROWS, LINE = IMAGES[:, :1], IMAGES[:, 0, 0].astype(float), SERIES[:, :, :1]


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (IMAGES, IMAGES),
        (torch.from_numpy(IMAGES), IMAGES),
        (IMAGES.transpose(0, 2, 3, 1), IMAGES),
        (list(IMAGES.transpose(0, 2, 3, 1)), IMAGES),
        (tuple(IMAGES), IMAGES),
        (GREY[:, 0], GREY),
        (list(GREY[:, 0]), GREY),
        (GREY.transpose(0, 2, 3, 1), GREY),
        (LINE[:, :, 0], LINE),
        (list(LINE[:, :, 0]), LINE),
        (SERIES, SERIES),
        (ROWS, ROWS),
        (ROWS.tolist(), ROWS),
        (pd.DataFrame(ROWS), ROWS),
    ],
)
def test_the_same_examples_however_they_lie(examples: Any, expected: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(batch(examples, expected.shape[1:]).numpy(), expected)


def test_a_short_series_begins_again_and_a_missing_value_is_the_mean() -> None:
    """As the reader of .ts files fills them, whatever else is in the batch."""
    gap = SERIES[0, :3].copy()
    gap[2, 1] = np.nan
    found = batch([gap, SERIES[1, :5], SERIES[2]], (7, 2)).numpy()
    filled = [pd.DataFrame(one).pipe(lambda one: one.fillna(one.mean())) for one in (gap, SERIES[1, :5], SERIES[2])]
    np.testing.assert_allclose(found, [np.pad(one, ((0, 7 - len(one)), (0, 0)), mode="wrap") for one in filled])
    np.testing.assert_array_equal(batch(SERIES[:, :5], (7, 2))[:, 5:], SERIES[:, :2])
    assert batch([[1, 2]], (5, 1)).flatten().tolist() == [1, 2, 1, 2, 1]


def test_for_a_network_of_earlier_versions_a_short_series_goes_on_with_its_mean() -> None:
    found = batch([SERIES[1, :5], SERIES[2]], (7, 2), circular=False).numpy()
    np.testing.assert_allclose(found[0, 5:], [SERIES[1, :5].mean(0)] * 2)
    np.testing.assert_array_equal(found[1], SERIES[2])


def test_a_network_that_is_told_where_series_end_gets_a_last_number_for_it() -> None:
    """1 where a step is there, 0 behind the end; what has it already is taken as it is."""
    found = batch([SERIES[0, :3], SERIES[1]], (7, 3), masked=True).numpy()
    np.testing.assert_array_equal(found[:, :, :2], batch([SERIES[0, :3], SERIES[1]], (7, 2)))
    np.testing.assert_array_equal(found[:, :, 2], [[1, 1, 1, 0, 0, 0, 0], [1] * 7])
    np.testing.assert_array_equal(batch(found, (7, 3), masked=True), found)
    np.testing.assert_array_equal(batch(SERIES.astype(int), (7, 3), masked=True)[:, :, 2], np.ones((4, 7)))
    assert batch([[1, 2]], (3, 2), masked=True).tolist() == [[[1, 1], [2, 1], [1, 0]]]
    ended = SERIES.copy()
    ended[0, 3:], ended[2, 1, 1] = np.nan, np.nan
    expected = batch([SERIES[0, :3], SERIES[1], ended[2], SERIES[3]], (7, 3), masked=True)
    np.testing.assert_array_equal(batch(ended, (7, 3), masked=True), expected)
    frames, objects = [pd.DataFrame(one) for one in SERIES], np.empty(4, object)
    objects[:] = list(SERIES)
    for one in (frames, objects):
        np.testing.assert_array_equal(batch(one, (7, 3), masked=True), batch(SERIES, (7, 3), masked=True))
    with pytest.raises(ValueError, match="series of 3 numbers a step; the network takes 2, or beside them a last one"):
        batch(np.random.default_rng(0).normal(size=(4, 7, 3)), (7, 3), masked=True)
    with pytest.raises(ValueError, match="row 1: a value is not a finite number"):
        batch([SERIES[1], np.full((4, 2), np.nan)], (7, 3), masked=True)
    with pytest.raises(ValueError, match=r"examples of shape \(5, 4\); the network takes \(7, 2\)"):
        batch(np.ones((2, 5, 4)), (7, 3), masked=True)
    with pytest.raises(ValueError, match=r"examples of shape \(4, 3\); the network takes \(7, 2\)"):
        batch(found[:, :4], (7, 3), masked=True)


@pytest.mark.parametrize(
    ("examples", "shape", "said"),
    [
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), (2,), "row 1: a value is not a finite number"),
        ([[1.0, 2.0], [np.inf, 1.0]], (2,), "row 1: a value is not a finite number"),
        (np.full((2, 7, 2), np.nan), (7, 2), "row 0: a value is not a finite number"),
        (np.zeros(3), (3,), r"examples of shape \(\); the network takes \(3,\), batch first"),
        (IMAGES[:, :, :3], (3, 4, 6), r"examples of shape \(3, 3, 6\); the network takes \(3, 4, 6\)"),
        ([IMAGES[0], IMAGES[1, :, :2]], (3, 4, 6), r"row 1: an example of shape \(3, 2, 6\)"),
        (np.zeros((2, 9, 2)), (7, 2), r"examples of shape \(9, 2\)"),
        (np.zeros((2, 0, 2)), (7, 2), "row 0: a value is not a finite number"),
    ],
)
def test_what_a_network_cannot_take_is_said(examples: Any, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        batch(examples, shape)


def test_no_examples_are_an_empty_batch() -> None:
    assert batch([], (3, 4, 6)).shape == (0, 3, 4, 6)
