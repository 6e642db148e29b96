"""Series of unequal length: networks answer as if the series ended where it does, and every word says what it does to
the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from evosearch import grammar, network
from evosearch.errors import TaskError
from evosearch.given import spec
from evosearch.identity import canonical_key
from evosearch.layers.builder import Builder
from evosearch.layers.library.masked import Masked, Unmasked, mask_of
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.node import Node
from evosearch.layers.writing import write
from evosearch.paths import find
from evosearch.space import open_space
from evosearch.tasks import Task, load
from evosearch.tasks.batch import batch

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.architecture import Architecture, Space

STEPS, NUMBERS, OUTPUTS = 24, 3, 2


def space(name: str, steps: int = STEPS, masked: bool = True) -> Space:
    shape = (steps, NUMBERS + masked)
    stem = Masked() if masked else None
    return open_space(grammar.load(find("grammars", name, ".lark")), (), shape, head=MeanLinear(OUTPUTS), stem=stem)


def built(architecture: Architecture, state: dict[str, torch.Tensor] | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    made = network.build(architecture).double().eval()
    if state is None:  # norms that do something
        for name, value in made.state_dict().items():
            if value.is_floating_point() and "running" in name:
                value.copy_(torch.rand(value.shape) + 0.5)
    else:
        made.load_state_dict(state)
    return made


def series(lengths: list[int], behind: float) -> torch.Tensor:
    """Random ones with marks, and something else behind their ends."""
    torch.manual_seed(1)
    x = torch.randn(len(lengths), STEPS, NUMBERS, dtype=torch.float64)
    there = torch.arange(STEPS) < torch.tensor(lengths)[:, None]
    x = torch.where(there[:, :, None], x, behind)
    return torch.cat([x, there.double()[:, :, None]], dim=2)


# Words whose steps see no step behind themselves, and poolings.
ALONE = {
    "sequence": [
        "conv(16,3,1);gru(16)",  # before which only zeros are: as where a series ends, and its padding begins
        "conv(16,3,1);gru(16);meanmax",
        "conv(16,3,1);lstm(16);attentive(16)",
        "conv(16,3,1);gru(16);last",
        "conv(16,3,1);gru(16);gap",
        "conv(16,3,1);tcn(16,3,2);gru(16);lstm(16)",
        "conv(16,3,1);rhn(16,2);last",
        "conv(16,3,1);encoder(4);encoder(4);encoder(4)",
        "conv(16,3,1);repeat(2,encoder(2));attentive(16)",
        "conv(16,3,1);res(attention(2));meanmax",
        "conv(16,3,1);res(scan(4));res(gla(2));highway(attention(2));last",
        "conv(16,3,1);res(grudiag(2));res(lstmdiag(2));res(mlp(x2,gelu,/2));meanmax",
        "conv(16,3,1);res(glu(16))",
        "conv(16,3,1);bothways(add,gru(16));last",
        "conv(16,3,1);bothways(cat(2),lstm(16));bothways(cat(2),gru(16))",
    ],
    "series": ["znorm;stage(conv(16,3,1))", "znorm;stage(conv(16,5,1));meanmax", "stage(conv(16,9,1));dropout(0.5)"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in ALONE.items() for text in texts])
@pytest.mark.parametrize("length", [9, STEPS])
def test_a_series_is_answered_as_if_nothing_were_behind_its_end(name: str, text: str, length: int) -> None:
    """As the same weights answer it in a network without a mask for series of just that length."""
    here, short = space(name), space(name, length, masked=False)
    masked = built(here.read(here.parse(text)))
    alone = built(short.read(short.parse(text)), masked.state_dict())
    x = series([length, 15, 1], behind=7.0)
    with torch.no_grad():
        torch.testing.assert_close(masked(x)[:1], alone(x[:1, :length, :-1]), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["series", "sequence", "tdnn", "einspace_1d"])
def test_what_stands_behind_the_end_says_nothing(name: str) -> None:
    rng, there = np.random.default_rng(0), space(name)
    for _ in range(10):
        one = there.read(there.draw(rng))
        if one.stem is None or not isinstance(one.stem.layer, Masked):
            continue
        made = built(one)
        with torch.no_grad():
            torch.testing.assert_close(
                made(series([5, 24, 13], 0.0)), made(series([5, 24, 13], 9.0)), atol=0, rtol=0, equal_nan=True
            )


@pytest.mark.parametrize("name", ["series", "sequence", "tdnn"])
def test_every_network_of_the_grammars_for_series_is_told_of_the_ends(name: str) -> None:
    """Wherever one takes a mean, a maximum or a last step, it is of those that are there."""
    rng, there = np.random.default_rng(0), space(name)
    for _ in range(200):
        one = there.read(there.draw(rng))
        assert one.stem is not None
        assert isinstance(one.stem.layer, Masked), one.text
        text = network.source(one)
        assert not any(word in text for word in (".sum(dim=1) /", ".mean(dim=1", "}.amax(dim=1)", "[:, -1]  #")), (
            one.text
        )


def test_a_mask_is_known_behind_strides() -> None:
    """As a pooling that sees every so many steps alone makes it smaller."""
    for steps in range(6, 40):
        marks = (torch.arange(steps) < torch.tensor([[1], [5], [steps]])).float()
        for stride in (1, 2, 3, 4):
            seen = torch.nn.functional.max_pool1d(marks[:, None], 1, stride)[:, 0]
            torch.testing.assert_close(mask_at(marks, seen.shape[1]).float(), seen)
    assert mask_at((torch.arange(10) < torch.tensor([[1], [5], [10]])).float(), 7).sum(1).tolist() == [1, 4, 7]


def mask_at(marks: torch.Tensor, steps: int) -> torch.Tensor:
    """The mask for a column of so many steps, as a network computes it."""
    build = Builder()
    start = build.start((marks.shape[1], 2))
    stem = Masked()
    write(Node(stem, (marks.shape[1], 2), stem.shape((marks.shape[1], 2))), start, build)
    mask = mask_of(build.start((steps, 1)), build)
    assert mask is not None
    text = "\n    ".join(build.forward(start, mask))
    helpers = "\n".join(build.helpers.values())
    names = {"torch": torch, "F": torch.nn.functional}
    exec(f"{helpers}\ndef forward(x):\n    {text}", names)
    found: torch.Tensor = names["forward"](torch.stack([marks, marks], dim=2))  # type: ignore[operator]
    return found


def test_before_layers_that_rearrange_steps_a_short_series_begins_again() -> None:
    """No mask would be right for what is behind them: it is used nowhere then, and what the task has stands there."""
    rng, there = np.random.default_rng(0), space("einspace_1d")
    drawn = [there.read(there.draw(rng)) for _ in range(100)]
    masked = [network.source(one) for one in drawn if one.stem and isinstance(one.stem.layer, Masked)]
    others = [network.source(one) for one in drawn if one.stem and isinstance(one.stem.layer, Unmasked)]
    assert len(masked) + len(others) == 100
    assert len(masked) >= 3
    assert len(others) >= 3
    assert not any("mask" in text for text in others)
    for text in masked:
        body = text[text.rindex("def forward") :]
        assert "masked_mean(x" in body
        assert not any(word in body for word in (".permute(0, 2, 1)", "dim=1)  #")), body


def test_equal_keys_are_equal_functions_with_a_mask_too() -> None:
    """Two permutations in a row are none, and no mask is used behind them: the keys differ where the functions do."""
    there = space("einspace_1d")
    plain = "seq(linear(16),norm)"
    once, twice = (
        there.read(there.parse(text))
        for text in (plain, f"route(permute21,route(permute21,{plain},identity),identity)")
    )
    assert once.stem is not None
    assert twice.stem is not None
    assert (type(once.stem.layer), type(twice.stem.layer)) == (Masked, Unmasked)
    assert canonical_key(once.root) == canonical_key(twice.root)
    assert once.key != twice.key


def test_pieces_of_a_masked_network_are_one() -> None:
    there = space("series")
    architecture = there.read(there.parse("stage(conv(16,3,1));stage(conv(16,3,2));meanmax"))
    (piece,) = network.segments(architecture)
    assert isinstance(piece, torch.nn.Module)
    made = network.build(architecture)
    piece.load_state_dict(made.state_dict())
    x = series([3, 20], 0.0).float()
    torch.testing.assert_close(piece.eval()(x), made.eval()(x), atol=0, rtol=0)


@pytest.mark.parametrize("form", ["list", "nan", "tensors", "splits", "data set"])
def test_series_of_unequal_length_in_a_program(form: str, tmp_path: Path) -> None:
    """As arrays of several lengths, with NaN behind their ends, or as a data set: one task, that of the .ts file."""
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(length, 2)).round(3) for length in rng.integers(3, 12, 60)]
    y = np.arange(60) % 2
    padded = np.full((60, 11, 2), np.nan)
    for row, one in zip(padded, series, strict=True):
        row[: len(one)] = one
    given: Any = {
        "list": (series, y),
        "nan": (padded, y),
        "tensors": ([torch.from_numpy(one) for one in series], torch.from_numpy(y)),
        "splits": {"x_train": series, "y_train": y, "x_test": padded[:9, :10], "y_test": y[:9]},
        "data set": list(zip(series, y, strict=True)),
    }[form]
    name, _ = spec(given, tmp_path / "given")
    found = load(name)
    assert isinstance(found, Task)
    cases = [":".join(",".join(map(str, of)) for of in one.T) for one in series]
    lines = [f"{case}:{label}" for case, label in zip(cases, y, strict=True)]
    (tmp_path / "same.ts").write_text("@timeStamps false\n@classLabel true 0 1\n@data\n" + "\n".join(lines))
    same = load(str(tmp_path / "same.ts"))
    assert isinstance(same, Task)
    assert (found.masked, found.input_shape) == (True, (11, 3))
    assert any("series of 3 to 11 steps" in note for note in found.notes)
    if form == "splits":
        np.testing.assert_array_equal(found.test_split().x, batch(series[:9], (11, 3), masked=True).float())
    else:
        np.testing.assert_array_equal(found.train.x, same.train.x)
        np.testing.assert_array_equal(found.test_split().x, same.test_split().x)


def test_a_gap_within_series_is_no_end(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 5, 2))
    x[3, 2] = np.nan
    np.savez(tmp_path / "gap.npz", x=x, y=np.arange(20) % 2)
    with pytest.raises(TaskError, match="row 3: a value is not a finite number"):
        load(str(tmp_path / "gap.npz"))
    x[1, 4] = np.nan
    np.savez(tmp_path / "gap.npz", x=x, y=np.arange(20) % 2)
    with pytest.raises(TaskError, match="row 3: a value is not a finite number"):
        load(str(tmp_path / "gap.npz"))
    with pytest.raises(TaskError, match="examples must be of one shape"):
        spec(([[1, 2, 3], [4, 5]], [0, 1]), tmp_path / "given")
    with pytest.raises(TaskError, match="examples must be of one shape"):
        spec(([np.zeros((3, 2)), np.zeros((4, 3))], [0, 1]), tmp_path / "given")
