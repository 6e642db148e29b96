"""What layers state: shapes as torch computes them, hints that lead to them, mistakes told with their place."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evosearch import grammar, network
from evosearch.architecture import Space
from evosearch.cost import Cost
from evosearch.errors import LayerError, ShapeError
from evosearch.layers import load_layers, vocabulary
from evosearch.layers.base import Leaf, Shape, Want, matches
from evosearch.layers.library.linear import LinearRelative
from evosearch.layers.library.merges import Add, Cat, Dot, Merge, ScaledDot
from evosearch.layers.library.routing import Col2im, Im2col, Permute, Windows
from evosearch.layers.library.splits import Clone, Group
from tests.spaces import language

if TYPE_CHECKING:
    import torch


SMALL = """
// input: image
start: module
?module: sequential | computation
sequential: "seq" "(" module "," module ")"
computation: {computation}
%import common.WS
%ignore WS
"""


def space(text: str, shape: Shape, layers: dict[str, type] | None = None) -> Space:
    read = grammar.loads(text, name="small.lark")
    return Space(read, vocabulary(read, layers), shape)


# -- shapes against torch -------------------------------------------------------------------------------------------


def ones(shape: Shape) -> torch.Tensor:
    import torch

    return torch.ones(1, *shape)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from([(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (4, 4, 0), (8, 8, 0), (16, 16, 0), (7, 2, 3)]),
)
def test_im2col_has_the_shape_of_torch_unfold(shape: Shape, window: tuple[int, int, int]) -> None:
    """The columns and their grid are those of torch's own unfold and convolution, and it fits where they do."""
    import torch

    kernel, stride, padding = window
    try:
        columns, grid = Im2col(*window).enter(shape)
    except ShapeError:
        with pytest.raises(RuntimeError):
            torch.nn.functional.unfold(ones(shape), kernel, stride=stride, padding=padding)
        return
    unfolded = torch.nn.functional.unfold(ones(shape), kernel, stride=stride, padding=padding)
    convolved = torch.nn.Conv2d(shape[0], 5, kernel, stride, padding)(ones(shape))
    assert columns == (unfolded.shape[2], unfolded.shape[1])
    assert grid is not None
    assert Col2im().leave((columns[0], 5), grid) == tuple(convolved.shape[1:])


@given(st.tuples(st.integers(1, 40), st.integers(1, 5)), st.sampled_from([(1, 2, 0), (3, 1, 1), (3, 2, 1), (8, 8, 0)]))
def test_windows_have_the_shape_of_a_convolution_over_time(shape: Shape, window: tuple[int, int, int]) -> None:
    import torch

    kernel, stride, padding = window
    steps, features = shape
    try:
        (windows, width), _ = Windows(*window).enter(shape)
    except ShapeError:
        assert steps + 2 * padding < kernel
        return
    convolved = torch.nn.Conv1d(features, 7, kernel, stride, padding)(torch.ones(1, features, steps))
    assert (windows, width) == (convolved.shape[2], features * kernel)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple), st.data())
def test_permutations_are_those_of_torch(shape: Shape, data: st.DataObject) -> None:
    """`permute231` puts out the input's dimensions 2, 3, 1; and `back` undoes it."""
    orders = ["".join(map(str, p)) for p in itertools.permutations(range(1, len(shape) + 1))]
    permute = Permute(data.draw(st.sampled_from(orders)))
    output = permute.leave(shape, None)
    assert output == tuple(ones(shape).permute(0, *(int(digit) for digit in permute.order)).shape[1:])
    assert permute.back(output, None) == shape


shapes = st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=1, max_size=3).map(tuple)
merges = st.sampled_from([Add(), Cat(1), Cat(2), Cat(3), Dot(), ScaledDot()])


@given(merges, shapes, shapes)
def test_merges_hold_exactly_where_torch_merges(merge: Merge, left: Shape, right: Shape) -> None:
    """A merge's shape is that of the tensor operation, and it refuses what is not one (torch's broadcasting too)."""
    import torch

    try:
        predicted = merge.pair(left, right)
    except ShapeError:
        predicted = None
    actual: torch.Tensor | None = None
    a, b = ones(left), ones(right)
    try:
        if isinstance(merge, Cat):
            actual = torch.cat([a, b], dim=merge.axis)
        elif isinstance(merge, Dot):
            actual = a @ b if len(left) == len(right) > 1 and left[:-2] == right[:-2] else None
        else:
            actual = a + b if left == right else None
    except (RuntimeError, IndexError):
        pass  # not a shape that torch takes
    assert predicted == (None if actual is None else tuple(actual.shape[1:]))


@pytest.mark.parametrize("merge", [Add(), Cat(1), Cat(2), Cat(3), Dot(), ScaledDot()])
def test_hints_lead_to_what_is_wanted(merge: Merge) -> None:
    """From a wanted output, `first` and `mate` never exclude branches that give it: all shapes of sizes up to 3."""
    small = [shape for axes in (1, 2, 3) for shape in itertools.product((1, 2, 3), repeat=axes)]
    found = 0
    for left, right in itertools.product(small, repeat=2):
        try:
            output = merge.pair(left, right)
        except ShapeError:
            continue
        found += 1
        assert matches(left, merge.first(output))
        assert matches(right, merge.mate(left, output))
        assert matches(right, merge.mate(left, None))
    assert found >= 27


@given(st.sampled_from([Add(), Cat(1), Cat(2), Cat(3)]), shapes, st.sampled_from([2, 4, 8]))
def test_many_branches_are_merged_like_pairs(merge: Merge, part: Shape, count: int) -> None:
    try:
        output = merge.many(part, count)
    except ShapeError:
        with pytest.raises(ShapeError):
            merge.pair(part, part)
        return
    by_pairs = part
    for _ in range(count - 1):
        by_pairs = merge.pair(by_pairs, part)
    assert output == by_pairs
    assert matches(part, merge.each(output, count))


def test_dot_products_take_exactly_two_branches() -> None:
    with pytest.raises(ShapeError, match="exactly two"):
        Dot().many((4, 4), 4)


@given(shapes, st.sampled_from([2, 4, 8]), st.sampled_from([1, 2, 3]))
def test_groups_are_equal_parts(shape: Shape, factor: int, axis: int) -> None:
    divides = axis <= len(shape) and shape[axis - 1] % factor == 0
    if not divides:
        with pytest.raises(ShapeError):
            Group(factor, axis).shape(shape)
        return
    chunks = ones(shape).chunk(factor, dim=axis)
    assert [tuple(chunk.shape[1:]) for chunk in chunks] == [Group(factor, axis).shape(shape)] * factor


def test_col2im_belongs_to_the_im2col_of_its_own_routing() -> None:
    """Without a grid there is none, and other numbers of columns are refused, even where the scalars would fit."""
    with pytest.raises(ShapeError, match="no im2col"):
        Col2im().leave((16, 8), None)
    with pytest.raises(ShapeError, match="32x8 is not 16 columns"):
        Col2im().leave((32, 8), (4, 4))
    wanted: Want = (8, 4, 4)
    assert Col2im().back(wanted, (4, 4)) == (16, 8)
    with pytest.raises(ShapeError):
        Col2im().back((8, 2, 8), (4, 4))


def test_relative_widths_follow_the_input() -> None:
    assert LinearRelative("x4").shape((512, 64)) == (512, 256)
    assert LinearRelative("/4").shape((512, 256)) == (512, 64)
    with pytest.raises(ShapeError, match="does not divide"):
        LinearRelative("/4").shape((512, 6))


def test_a_shape_error_says_the_sizes() -> None:
    with pytest.raises(ShapeError, match=r"^group2: dimension 1 of 3x32x32 does not divide by 2$"):
        Group(2, 1).shape((3, 32, 32))
    assert str(ShapeError("plain {text}")) == "plain {text}"


def test_costs_add_and_multiply() -> None:
    assert Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, 44)
    assert Cost(1, 2, 3, 4) * 3 == Cost(3, 6, 9, 12)


def test_clones_share_their_input_and_groups_do_not() -> None:
    assert Clone(2).shared
    assert not Group(2, 1).shared


# -- the vocabulary: words to classes -------------------------------------------------------------------------------


def test_numbers_in_a_name_are_arguments() -> None:
    read = language("einspace")
    words = vocabulary(read)
    (im2col,) = (a for a in read.rules["pre"] if a.layer == "im2col3_2_1")
    (permute,) = (a for a in read.rules["pre"] if a.layer == "permute231")
    assert words.layer(im2col, ()) == Im2col(kernel=3, stride=2, padding=1)
    assert words.layer(permute, ()) == Permute("231")
    assert words.layer(im2col, ()) is words.layer(im2col, ())


MISTAKES = {
    '"norm" -> nrom': r"small.lark:6:\d+: no layer is called 'nrom'; did you mean 'norm'",
    '"x" -> quux': r"small.lark:6:\d+: no layer is called 'quux'; `--layers FILE`",
    '"linear" -> linear': r"small.lark:6:\d+: 'linear' takes width \(a whole number\); here are 0 arguments",
    '"norm" WIDTH -> norm': r"small.lark:6:\d+: 'norm' takes no arguments; here are 1 arguments",
    '"cat" -> cat1_2': r"small.lark:6:\d+: 'cat1_2': Cat does not take 2 numbers",
    '"linear" WORD -> linear\nWORD: "narrow" | "wide"': r"small.lark:6:\d+: 'linear': width must be a whole number; "
    r"WORD can be 'narrow'",
    '"route" "(" merge "," module "," merge ")" -> routing\nmerge: "add" -> add': r"small.lark:6:\d+: 'routing': pre "
    r"must be a Before; merge can be Add",
    '"norm" "(" module ")" -> norm': r"small.lark:6:\d+: 'norm' takes 0 parts; here are 1",
    '"seq" "[" module "]" -> sequential': r"small.lark:6:\d+: 'sequential' takes 2 parts; here are 1",
}


@pytest.mark.parametrize("computation", MISTAKES)
def test_mistakes_are_told_with_their_place(computation: str) -> None:
    """A name without a layer and arguments that do not fit name the file, the line and what is there instead."""
    alternative, *rest = computation.split("\n")
    text = SMALL.format(computation=f'{alternative}\n  | "linear" WIDTH -> linear\nWIDTH: "16" | "32"') + "\n".join(
        rest
    )
    with pytest.raises(LayerError, match=MISTAKES[computation]) as caught:
        vocabulary(grammar.loads(text, name="small.lark"))
    assert caught.value.line == 6
    assert caught.value.caret.startswith("computation: ")


NOT_TAKEN = {
    '"x" -> clone1': "into 2 to 1000 branches, not 1",
    '"x" -> group2_0': "the dimension is 1, 2 or 3, not 0",
    '"x" -> cat4': "the dimension is 1, 2 or 3, not 4",
    '"x" -> permute223': "223 is no order of dimensions",
    '"x" -> im2col3_0_1': "the stride is at least 1, not 0",
    '"x" -> windows0_1_0': "the kernel is at least 1, not 0",
    '"x" WIDTH -> linear\nWIDTH: "16" | "0"': "the width is at least 1, not 0",
    '"x" SCALE -> linear_relative\nSCALE: "x0"': "x4 or /4 say a scale, not 'x0'",
    '"x" WIDTH KERNEL -> conv\nWIDTH: "16"\nKERNEL: "3" | "4"': "the kernel is odd, not 4",
    '"x" -> max_pool0': "the window is at least 1, not 0",
    '"x" -> smooth2': "the kernel is odd, not 2",
    '"x" -> relu_conv_norm2': "the kernel is odd, not 2",
    '"x" RATE -> dropout\nRATE: "0.5" | "1.5"': "the rate is at least 0 and below 1, not 1.5",
    '"x" RATE -> dropout\nRATE: "nan"': "the rate is at least 0 and below 1, not nan",
    '"x" TIMES module -> repeat\nTIMES: "1000000000"': "1 to 1000 times, not 1000000000",
}


@pytest.mark.parametrize("computation", NOT_TAKEN)
def test_arguments_that_a_layer_cannot_take_are_told_with_their_place(computation: str) -> None:
    """Before anything is sampled, not by an accident inside a rule."""
    if " -> repeat" in computation:
        text = SMALL.format(computation='"norm" -> norm').replace("sequential |", "sequential | many |")
        rule, terminal = computation.split("\n")
        text += f"many: {rule}\n{terminal}\n"
    else:
        text = SMALL.format(computation=computation)
    with pytest.raises(LayerError, match=re.escape(NOT_TAKEN[computation])) as caught:
        vocabulary(grammar.loads(text, name="small.lark"))
    assert caught.value.line


def test_a_number_of_a_sentence_that_a_layer_cannot_take_is_an_error_there() -> None:
    small = space(SMALL.format(computation='"linear" WIDTH -> linear\nWIDTH: "1".."9" ("0".."9")*'), (3, 8, 8))
    assert small.read(small.parse("linear17")).output == (3, 8, 17)


def test_fields_with_a_default_may_be_left_out() -> None:
    """`conv` has a stride of 1 where the grammar does not say one."""
    small = space(SMALL.format(computation='"conv" WIDTH KERNEL -> conv\nWIDTH: "16" | "32"\nKERNEL: "3"'), (3, 8, 8))
    assert small.read(small.parse("conv163")).output == (16, 8, 8)


# -- layers of one's own --------------------------------------------------------------------------------------------

OWN = """
from dataclasses import dataclass
from evosearch.layers import Leaf, register

@register("square")
@dataclass(frozen=True)
class Square(Leaf):
    def shape(self, x):
        return x
    def module(self, x):
        from torch import nn
        return nn.Bilinear(x[-1], x[-1], x[-1])

@register("norm")
@dataclass(frozen=True)
class Norm(Leaf):
    def shape(self, x):
        return x
"""


def test_own_layers_are_loaded_from_a_file(tmp_path: Path) -> None:
    """They go before bundled ones of the same name, in the vocabularies they are given to and nowhere else."""
    file = tmp_path / "my_layers.py"
    file.write_text(OWN)
    own = load_layers(file)
    read = grammar.loads(SMALL.format(computation='"square" -> square\n  | "norm" -> norm'), name="small.lark")
    words = vocabulary(read, own)
    assert words.classes["square"] is own["square"]
    assert words.classes["norm"] is own["norm"]
    assert len(words.digest) == 32
    assert vocabulary(read).classes["square"] is not own["square"]
    file.write_text(OWN + "\n# changed\n")
    assert vocabulary(read, load_layers(file)).digest != words.digest


def test_an_own_layers_parameters_are_counted_on_its_module(tmp_path: Path) -> None:
    file = tmp_path / "my_layers.py"
    file.write_text(OWN)
    read = grammar.loads(SMALL.format(computation='"square" -> square\n  | "norm" -> norm'), name="small.lark")
    small = Space(read, vocabulary(read, load_layers(file)), (3, 4, 5))
    architecture = small.read(small.parse("square"))
    module = network.build(architecture)
    assert architecture.cost.params == 5**3 + 5 == sum(p.numel() for p in module.parameters())


WITH_CODE = """
from dataclasses import dataclass
from evosearch.layers import Leaf, register

@register("scale")
@dataclass(frozen=True)
class Scale(Leaf):
    start: float
    keeps_zero = True

    def shape(self, x):
        return x

    def params(self, x):
        return x[0]

    def emit(self, node, x, build):
        weight = build.module(f"nn.Parameter(torch.full(({node.inputs[0]}, 1, 1), {self.start}))", "scale")
        return build.line(f"{{}} * {weight}", x, shape=node.output, keeps="in")
"""


def test_an_own_layer_with_code_is_exported(tmp_path: Path) -> None:
    import torch

    file = tmp_path / "my_layers.py"
    file.write_text(WITH_CODE)
    read = grammar.loads(SMALL.format(computation='"scale" START -> scale\nSTART: "0.5" | "2"'), name="small.lark")
    small = Space(read, vocabulary(read, load_layers(file)), (3, 4, 5))
    architecture = small.read(small.parse("seq(scale0.5,scale2)"))
    module = network.build(architecture)
    assert architecture.cost.params == 6 == sum(p.numel() for p in module.parameters())
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(module(x), x)
    assert "x = x * self.scale1  # 3x4x5" in network.source(architecture)


def test_a_broken_layer_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(LayerError, match=r"broken.py:2: ZeroDivisionError"):
        load_layers(file)
    file.write_text("def f(:\n")
    with pytest.raises(LayerError, match=r"broken.py:1: not Python: invalid syntax"):
        load_layers(file)
    file.write_text("x = 1\n")
    with pytest.raises(LayerError, match="registers no layer"):
        load_layers(file)
    with pytest.raises(LayerError, match="No such file"):
        load_layers(tmp_path / "missing.py")


def test_a_layer_without_code_says_so() -> None:
    @dataclass(frozen=True)
    class Bare(Leaf):
        name = "bare"

        def shape(self, x: Shape) -> Shape:
            return x

    with pytest.raises(NotImplementedError, match="Bare has neither `emit` nor `module`"):
        Bare().module((3,))


def test_a_layer_file_may_be_called_anything(tmp_path: Path) -> None:
    """What is run is the file as it is, not what Python remembers of another one of the same stem."""
    for name in ("mine.py", "mine.txt", "mine"):
        (tmp_path / name).write_text(OWN)
        assert set(load_layers(tmp_path / name)) == {"square", "norm"}
    (tmp_path / "mine").write_text(OWN.replace("square", "cubics"))
    assert set(load_layers(tmp_path / "mine")) == {"cubics", "norm"}
    with pytest.raises(LayerError, match="cannot read it: Is a directory"):
        load_layers(tmp_path)


def test_two_layer_files_may_have_one_name_in_two_folders(tmp_path: Path) -> None:
    """A class looks the types of its fields up in its module: each file's is its own."""
    begin = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    begin += "from evosearch.layers import Leaf, register\n"
    layer = '@register("{0}")\n@dataclass(frozen=True)\nclass Own(Leaf):\n    by: {1}\n'
    layer += "    def shape(self, x):\n        return x\n"
    files = []
    for name, kind in (("one", "Number"), ("two", "int")):
        files.append(tmp_path / name / "mine.py")
        files[-1].parent.mkdir()
        files[-1].write_text(begin + ("Number = int\n" if kind == "Number" else "") + layer.format(name, kind))
    own = load_layers(files[0]) | load_layers(files[1])
    read = grammar.loads(SMALL.format(computation='"one" N -> one\n  | "two" N -> two\nN: "1"'), name="small.lark")
    small = Space(read, vocabulary(read, own), (3, 4, 5))
    assert [getattr(small.read(small.parse(text)).root.layer, "by", 0) for text in ("one1", "two1")] == [1, 1]


def test_a_file_that_a_layer_file_misses_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "reads.py"
    file.write_text("x = 1\nopen('not_there.csv')\n")
    with pytest.raises(LayerError, match=r"reads.py:2: FileNotFoundError: .*not_there.csv"):
        load_layers(file)


def test_a_missing_layer_is_told_where_its_word_stands_among_imported_files(tmp_path: Path) -> None:
    (tmp_path / "parts.lark").write_text('\n\nblock: "b" -> nrom\n')
    (tmp_path / "main.lark").write_text('start: "a" -> norm\n  | block\n%import .parts.block\n')
    with pytest.raises(LayerError, match=r"parts.lark:3:\d+: no layer is called 'nrom'") as caught:
        vocabulary(grammar.load(tmp_path / "main.lark"))
    assert caught.value.caret.startswith('block: "b" -> nrom')
