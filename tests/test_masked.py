"""Series of unequal length: networks answer as if the series ended where it does, and every word says what it does to
the steps."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch

from evosearch import grammar, network
from evosearch.architecture import Architecture
from evosearch.errors import TaskError
from evosearch.evaluation.proxies import probe
from evosearch.evaluation.recipe import Recipe
from evosearch.given import spec
from evosearch.identity import canonical_key
from evosearch.layers.base import Leaf
from evosearch.layers.block import Body, Composed, chain, tree
from evosearch.layers.builder import Builder
from evosearch.layers.catalogue import MOST_TRIED, _fillings
from evosearch.layers.columns import ReadsColumns
from evosearch.layers.library import NAMES
from evosearch.layers.library.conv_free import Convolution
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.masked import MASKED_NORM, Masked, Unmasked, keeps_steps, mask_of
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.library.routing import Keep, Routing, Windows
from evosearch.layers.node import Node
from evosearch.layers.writing import write
from evosearch.paths import find
from evosearch.space import open_space
from evosearch.tasks import Task, load
from evosearch.tasks.batch import batch
from evosearch.tasks.folds import fold

if TYPE_CHECKING:
    from pathlib import Path

    from evosearch.architecture import Space
    from evosearch.grammar.core import Derivation
    from evosearch.layers.shapes import Shape

STEPS, NUMBERS, OUTPUTS = 24, 3, 2
NOTHING = cast("Derivation", None)  # of a tree that no grammar said


def space(name: str, steps: int = STEPS, masked: bool = True) -> Space:
    shape = (steps, NUMBERS + masked)
    stem = Masked() if masked else None
    return open_space(grammar.load(find("grammars", name, ".lark")), (), shape, head=MeanLinear(OUTPUTS), stem=stem)


def built(architecture: Architecture, state: dict[str, torch.Tensor] | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    made = network.build(architecture).double().eval()
    if state is None:  # norms that do something, and leave about half of what a ReLU is given
        for name, value in made.state_dict().items():
            if name.endswith("running_mean"):
                value.copy_(torch.randn(value.shape) * 0.2)
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape) * 0.5 + 0.1)
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


# Words that tell no step behind the end from the zeros with which kernels are padded, and poolings.
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
        "conv(16,3,1);conv(32,9,1);conv(16,5,1);meanmax",
        "conv(16,3,1);bothways(cat(2),lstm(16));bothways(cat(2),gru(16))",
    ],
    "series": [
        "znorm;stage(conv(16,3,1))",
        "znorm;stage(conv(16,5,1);res(conv(9);conv(3)));stage(conv(32,7,1));meanmax",
        "stage(inception(8,19);res(inception(39)));stage(conv(16,9,1));dropout(0.5)",
    ],
    "tdnn": ["tdnn(32,3);blocks(res2(32,3,2),res2(64,5,3));join(96);relu;attentive(32,1);bn"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in ALONE.items() for text in texts])
@pytest.mark.parametrize("length", [2, 9, 12, 23, STEPS])
def test_a_series_is_answered_as_if_nothing_were_behind_its_end(name: str, text: str, length: int) -> None:
    """As the same weights answer it in a network without a mask for series of just that length."""
    as_if_alone(name, text, length)


@pytest.mark.parametrize("name", ["series", "sequence", "tdnn"])
def test_samples_too_are_answered_as_if_nothing_were_behind_the_end(name: str) -> None:
    rng, there = np.random.default_rng(1), space(name)
    for number in range(25):
        as_if_alone(name, there.render(there.draw(rng)), (7, 13, 20)[number % 3])


def as_if_alone(name: str, text: str, length: int) -> None:
    here, short = space(name), space(name, length, masked=False)
    one = here.read(here.parse(text))
    assert one.stem is not None
    assert isinstance(one.stem.layer, Masked)
    masked = built(one)
    alone = built(short.read(short.parse(text)), masked.state_dict())
    x = series([length, 15, 1], behind=7.0)
    with torch.no_grad():
        found, expected = masked(x)[:1], alone(x[:1, :length, :-1])
    assert torch.allclose(found, expected, atol=1e-9, rtol=1e-7), f"{text} at {length}"


@pytest.mark.parametrize("name", ["series", "sequence", "tdnn"])
def test_every_network_of_the_grammars_for_series_is_told_of_the_ends(name: str) -> None:
    """Wherever one takes a mean, a maximum or a last step, it is of those that are there."""
    rng, there = np.random.default_rng(0), space(name)
    for _ in range(200):
        one = there.read(there.draw(rng))
        assert one.stem is not None
        assert isinstance(one.stem.layer, Masked), one.text
        for line in network.source(one).splitlines():
            plain = (".sum(dim=1) /", ".mean(dim=1", ".amax(dim=1)", "[:, -1]  #", ".flip(1)")
            assert not any(word in line for word in plain) or "masked_fill(~" in line, one.text


# A mean over all steps, the last of which a kernel saw together with what is behind the end.
MEAN_OF_KERNELS = ("lark", "same_mbconv")


def test_the_first_step_of_what_keeps_steps_hears_of_none_behind_the_end() -> None:
    """Whatever the layer's kernel, 40 steps of 64 are answered as by the same weights in a network for 40 steps."""
    held = 0
    for name, cls in NAMES.items():
        layer = made_layer(cls, (64, 16))
        if layer is not None and (pair := answers(layer, 64, 40)) is not None:
            apart = 1e-3 if name in MEAN_OF_KERNELS else 1e-9
            assert torch.allclose(*pair, atol=apart, rtol=apart), name
            held += 1
    assert held > 70


def answers(layer: Leaf, steps: int, length: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """At the first step, of series that end, and of these alone; None where the layer has a parameter for each step."""
    body = chain(Linear(16), layer, Linear(2))  # whose shift makes what is behind the end something else than zero
    stem = Node(Masked(), (steps, NUMBERS + 1), (steps, NUMBERS))
    masked = built(Architecture(tree(body, stem.output), stem.inputs, "", NOTHING, stem=stem))
    short = Architecture(tree(body, (length, NUMBERS)), (length, NUMBERS), "", NOTHING)
    state = masked.state_dict()
    if any(value.shape != state[key].shape for key, value in network.build(short).state_dict().items()):
        return None
    torch.manual_seed(1)
    for value in state.values():  # scales that are zero at first hide what they scale
        if value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    masked.load_state_dict(state)
    x = torch.randn(3, steps, NUMBERS, dtype=torch.float64)
    marks = (torch.arange(steps) < length).double().expand(3, -1)
    with torch.no_grad():
        return masked(torch.cat([x, marks[:, :, None]], 2))[:, 0], built(short, state)(x[:, :length])[:, 0]


def made_layer(cls: type, x: Shape) -> Leaf | None:
    """A layer of the class that keeps the steps of such a column, and keeps it a column; None where none does."""
    if not issubclass(cls, Leaf) or issubclass(cls, ReadsColumns):
        return None
    for values in islice(_fillings(cls), MOST_TRIED):
        with contextlib.suppress(Exception):
            layer = cls(*values)
            if len(layer.shape(x)) == 2 and layer.shape(x)[0] > 1:
                return layer if keeps_steps(tree(layer, x)) else None
    return None


def test_a_mask_is_known_behind_strides() -> None:
    """As poolings that see every so many steps alone make it smaller, whatever the series' length."""
    for steps in range(2, 130):
        marks = (torch.arange(steps) < torch.arange(1, steps + 1)[:, None]).float()
        for strides in ((2,), (3,), (2, 2), (3, 2), (2, 2, 2), (2, 2, 2, 2), (4, 4)):
            seen = marks[:, None]
            for stride in strides:
                seen = torch.nn.functional.max_pool1d(seen, 1, stride) if seen.shape[2] >= stride else seen[:, :, :1]
            body = chain(*(Convolution(1, 1, stride) for stride in strides))
            torch.testing.assert_close(mask_behind(body, marks).float(), seen[:, 0])
        if steps >= 16:  # windows without padding leave the rest out
            windows = Composed(Routing(Windows(16, 16, 0), Keep()), (Linear(1),))
            seen = torch.nn.functional.max_pool1d(marks[:, None, : steps // 16 * 16], 1, 16)[:, 0]
            torch.testing.assert_close(mask_behind(windows, marks).float(), seen)


def mask_behind(body: Body, marks: torch.Tensor) -> torch.Tensor:
    """The mask for the column that layers give, as a network computes it. marks: (N, S)."""
    build, shape = Builder(), (marks.shape[1], 2)
    start = build.start(shape)
    x = write(Node(Masked(), shape, (shape[0], 1)), start, build)
    mask = mask_of(write(tree(body, (shape[0], 1)), x, build), build)
    assert mask is not None
    lines = build.forward(start, mask)
    text = "\n    ".join(line for line in lines if line.startswith(("mask =", "return")) or " = mask[" in line)
    names = {"torch": torch}
    exec("\n".join(build.helpers.values()) + f"\ndef forward(x):\n    {text}", names)
    found: torch.Tensor = names["forward"](torch.stack([marks, marks], dim=2))  # type: ignore[operator]
    return found


@pytest.mark.parametrize("graph", [False, True])
def test_batch_norms_are_over_the_steps_that_are_there(graph: bool) -> None:
    """As torch's, given these alone: what comes out, gradients, and what is remembered for later; zero elsewhere.

    graph: the way that a CUDA graph can hold, here on the CPU.
    """
    names: dict[str, Any] = {"torch": torch}
    exec(MASKED_NORM.replace("not x.is_cuda", "False") if graph else MASKED_NORM, names)
    torch.manual_seed(0)
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    x = torch.randn(3, 5, 9, dtype=torch.float64, requires_grad=True)
    ours, theirs = (torch.nn.BatchNorm1d(5).double() for _ in range(2))
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        found, expected = names["masked_norm"](ours, x, mask), theirs(x.transpose(1, 2)[mask])
        torch.testing.assert_close(found.transpose(1, 2)[mask], expected)
        assert not found.transpose(1, 2)[~mask].any()
        weights = torch.randn_like(found)
        (mine,) = torch.autograd.grad((found * weights).sum(), x)
        (its,) = torch.autograd.grad((expected * weights.transpose(1, 2)[mask]).sum(), x)
        torch.testing.assert_close(mine, its)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    single = names["masked_norm"](ours.train(), x[:1], torch.arange(9)[None] < 1)
    torch.testing.assert_close(single[:, :, 0], ours.bias[None])


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


def test_pieces_of_a_masked_network_hand_the_mask_on() -> None:
    """They have the names of the whole network's parameters and compute what it does, bit for bit."""
    for name, text in (
        ("series", "znorm;stage(conv(16,3,1));stage(conv(16,3,2));meanmax"),
        ("sequence", "conv(16,3,2);encoder(4);encoder(4);gru(16);attentive(16)"),
    ):
        architecture = space(name).read(space(name).parse(text))
        torch.manual_seed(0)
        pieces = network.segments(architecture)
        torch.manual_seed(0)
        whole = network.build(architecture).eval()
        assert len(pieces) > 4
        assert [one for piece in pieces for one in piece.state_dict()] == list(whole.state_dict())
        for lengths in ([3, 20], [24, 7]):
            x = given = series(lengths, 0.0).float()
            for piece in pieces:
                x = piece.eval()(x)
            torch.testing.assert_close(x, whole(given), atol=0, rtol=0)


def test_folds_leave_the_marks_as_they_are(tmp_path: Path) -> None:
    """Whatever their share of the steps, by which constants of a fold's own train rows would scale them."""
    rng = np.random.default_rng(0)
    for least in (3, 22):
        series = [rng.normal(size=(length, 2)) for length in (24, *rng.integers(least, 25, 39))]
        task = load(spec((series, np.arange(40) % 2), tmp_path / f"given{least}")[0])
        assert isinstance(task, Task)
        for one in (task, *(fold(task, number, 4) for number in range(4))):
            marks = one.normalise(one.validation.x)[:, :, -1]
            assert set(np.unique(marks)) == {0.0, 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "conv(32,3,1);bothways(cat(2),gru(16));last",
        "conv(32,3,1);encoder(4);encoder(4);attentive(16)",
        "conv(32,3,2);res(attention(2));meanmax",
    ],
)
def test_what_backward_holds_is_counted_with_a_mask_too(text: str) -> None:
    """Tensors that torch saves, each storage once, at most half more than the lines say, as without a mask."""
    one = space("sequence").read(space("sequence").parse(text))
    made, kept = network.build(one).train(), dict[int, int]()
    own = {value.untyped_storage().data_ptr() for value in (*made.parameters(), *made.buffers())}

    def pack(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    x = series([20, 24, 5, 9], 0.0).float()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        out = made(x)
    really = sum(size for at, size in kept.items() if at not in {*own, x.untyped_storage().data_ptr()}) / 4 / len(x)
    assert out.requires_grad
    assert really <= 1.5 * network.working_scalars(one).held


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
    images = [np.zeros((28, 28), np.uint8), np.zeros((30, 28), np.uint8)]
    with pytest.raises(TaskError, match=r"row 1: an example of shape \(4, 3\), and the first of \(3, 2\); series have"):
        spec(([np.zeros((3, 2)), np.zeros((4, 3))], [0, 1]), tmp_path / "given")
    for one in (images, [np.zeros(3), np.zeros(4)]):
        with pytest.raises(TaskError, match="examples must be of one shape"):
            spec((one, [0, 1]), tmp_path / "given")


def test_noise_that_proxies_are_measured_on_ends_where_series_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, STEPS, 40)
    given = ([rng.normal(size=(length, NUMBERS)) for length in (STEPS, *lengths[1:])], np.arange(40) % 2)
    task = load(spec(given, tmp_path / "given")[0])
    assert isinstance(task, Task)
    there = space("series")
    at = probe(there.read(there.parse("stage(conv(16,3,1));meanmax")), task, Recipe(), 0)
    noise = at.noise()
    assert set(np.unique(noise[:, :, -1])) == {0.0, 1.0}
    torch.testing.assert_close(noise[:, :, -1], at.x[:, :, -1], atol=0, rtol=0)
    assert (noise[:, :, :-1] != at.x[:, :, :-1]).all()
