"""The networks of the literature as sentences: published counts, and equality with what their papers say by hand."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from evosearch import grammar, network
from evosearch.architecture import Architecture, Space
from evosearch.ensemble import Ensemble
from evosearch.errors import ShapeError
from evosearch.layers import vocabulary
from evosearch.layers.block import Block
from evosearch.layers.builder import Builder
from evosearch.layers.library import NAMES
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.node import Node
from evosearch.layers.shapes import Shape, size
from evosearch.layers.writing import write
from evosearch.tasks.kinds import BUNDLED
from tests.published import PUBLISHED, Published
from tests.spaces import GRAMMARS, language
from tests.test_network import words_of_grammars

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.layers.base import Leaf

SEEDS = GRAMMARS / "seeds"
Array = np.ndarray[Any, np.dtype[Any]]


@cache
def space_of(name: str, shape: Shape, outputs: int | None) -> Space:
    read = language(name)
    return Space(read, vocabulary(read), shape, head=None if outputs is None else MeanLinear(outputs))


def seed_of(row: Published, shape: Shape | None = None) -> Architecture:
    there = space_of(row.grammar, shape or row.shape, row.outputs)
    return there.read(there.parse((SEEDS / row.grammar / f"{row.seed}.arch").read_text()))


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.seed)
def test_a_seed_has_the_parameters_that_were_published(row: Published) -> None:
    cost = seed_of(row).cost
    assert cost.params == row.params
    if row.gflops is not None:
        assert cost.flops / 1e9 == pytest.approx(row.gflops, abs=1e-3)


def test_every_seed_of_the_gallery_has_its_row() -> None:
    listed = {(row.grammar, row.seed) for row in PUBLISHED}
    assert listed == {(path.parent.name, path.stem) for path in SEEDS.glob("*/*.arch")}


def test_a_seed_with_other_parameters_than_are_stated_says_why() -> None:
    assert all(bool(row.stated) == bool(row.why) and row.stated != row.params for row in PUBLISHED)
    assert len([row for row in PUBLISHED if not row.stated]) >= 40


# -- words ------------------------------------------------------------------------------------------------------------


def genotype(*edges: tuple[str, int]) -> object:
    """A cell of DARTS: eight edges, two for each node."""
    made = [NAMES["darts_edge"](*edge) for edge in edges]
    return NAMES["darts_cell"](*(NAMES["darts_node"](*pair) for pair in zip(made[::2], made[1::2], strict=True)))


# Every operation once, and one of them twice; nodes are read too.
GENOTYPE = genotype(
    ("sep_conv_3x3", 0),
    ("max_pool_3x3", 1),
    ("dil_conv_5x5", 2),
    ("skip_connect", 0),
    ("avg_pool_3x3", 1),
    ("sep_conv_5x5", 3),
    ("dil_conv_3x3", 4),
    ("skip_connect", 1),
)

WORDS: list[tuple[str, tuple[object, ...], Shape]] = [
    *(
        (name, (), shape)
        for name in ("sigmoid", "hard_sigmoid", "hard_swish", "relu6", "elu", "softplus", "mish", "exp")
        for shape in ((6,),)
    ),
    *((name, (), (4, 5)) for name in ("abs", "square", "sin", "cos", "neg")),
    *(("prelu", (), shape) for shape in ((6,), (5, 6), (6, 4, 5))),
    *(
        (name, (), shape)
        for name in ("batch_norm", "layer_norm", "rms_norm", "affine", "layer_scale", "l2_norm")
        for shape in ((6,), (5, 6), (6, 4, 5))
    ),
    *(("group_norm", (3,), shape) for shape in ((5, 6), (6, 4, 5))),
    *(("instance_norm", (), shape) for shape in ((5, 6), (6, 4, 5))),
    *(("z_normalise", (), shape) for shape in ((9, 1), (9, 2))),
    *(("grn", (), shape) for shape in ((5, 6), (6, 4, 5))),
    ("conv_free", (8, 3), (6, 5, 7)),
    ("conv_free", (8, 3, 2, 2, 2, 1), (6, 9, 7)),
    ("conv_free", (8, 3, 2, 2), (9, 6)),
    ("conv_norm_act", (8, 3, 2, "silu"), (9, 6)),
    ("depthwise_conv", (5, 2, 1, 1), (6, 9, 7)),
    ("depthwise_conv", (3, 1, 2), (9, 6)),
    ("depthwise_norm_act", (3, 2, "relu6"), (6, 9, 7)),
    *((name, (3, 2), shape) for name in ("max_window", "avg_window") for shape in ((9, 6), (6, 9, 7))),
    *((name, (), shape) for name in ("global_pool", "global_max", "squeeze") for shape in ((9, 6), (6, 9, 7))),
    ("adaptive_pool", (2,), (6, 9, 7)),
    ("avg_pool_column", (2,), (9, 6)),
    *(("flatten", (), shape) for shape in ((6,), (5, 6), (6, 4, 5))),
    ("reshape", (2, 3), (18,)),
    ("tokens", (), (6, 4, 5)),
    ("untokens", (4,), (8, 6)),
    ("class_token", (), (5, 6)),
    ("first_token", (), (5, 6)),
    ("last_token", (), (5, 6)),
    ("space_to_depth", (2,), (3, 4, 6)),
    ("space_to_depth", (2,), (3, 5, 7)),
    ("pixel_shuffle", (2,), (8, 4, 6)),
    ("upsample", (2, "bilinear"), (3, 4, 6)),
    ("channel_shuffle", (2,), (6, 4, 5)),
    *(("conv_up", (5, kernel, stride), (3, 4, 6)) for kernel, stride in ((4, 2), (3, 2), (3, 1))),
    ("attention", (2,), (7, 6)),
    ("attention", (3, 1, 0), (7, 6)),
    ("cross_attention", (2, 3), (7, 6)),
    ("window_attention", (2, 4), (6, 8, 8)),
    ("window_attention", (2, 4, 1), (6, 6, 9)),
    ("pooled_attention", (2,), (6, 4, 4)),
    ("pooled_attention", (2, 2), (6, 4, 6)),
    ("drop_path", (0.3,), (6, 4, 5)),
    ("drop_channels", (0.3,), (6, 4, 5)),
    ("drop_channels", (0.3,), (5, 6)),
    ("fixed_linear", (9,), (5, 6)),
    ("basic_block", (8, 2), (6, 9, 7)),
    ("bottleneck", (8, 2, 2), (6, 9, 7)),
    ("bottleneck", (8, 1, 1, 64, "ibn"), (32, 5, 7)),
    ("pooled_bottleneck", (4, 2), (6, 9, 7)),
    ("regnet_block", (16, 2, 8, 0.25), (8, 9, 7)),
    ("se_bottleneck", (8, 2), (6, 8, 6)),
    ("se_bottleneck", (8, 2, 16, 0), (6, 9, 7)),
    ("squeeze_excite", (3, "silu", "hsigmoid"), (6, 4, 5)),
    *(("mbconv", (3.0, 8, 3, 1, "hswish", se), (8, 6, 5)) for se in ("none", "in4", "mid4", "mid4s")),
    ("mbconv", (1.0, 16, 5, 2, "relu", "none", 1), (8, 6, 5)),
    ("fused_mbconv", (4.0, 8, 3), (8, 6, 5)),
    ("same_mbconv", (4.0, 3), (8, 6, 5)),
    ("patches", (8, 2), (3, 8, 6)),
    ("convnext_block", (7,), (8, 9, 7)),
    ("dense_layer", (4,), (8, 6, 5)),
    ("transition", (), (8, 6, 5)),
    ("fire", (3, 5), (8, 6, 5)),
    ("shuffle_down", (16,), (8, 6, 5)),
    ("shuffle_unit", (), (8, 6, 5)),
    ("convmixer_block", (5,), (8, 6, 5)),
    ("poolformer_block", (2,), (8, 6, 5)),
    ("encoder", (2,), (7, 6)),
    ("encoder", (2, 1.5, 1), (7, 6)),
    ("post_encoder", (2,), (7, 6)),
    ("gated_encoder", (2, 1.5, "silu", 0.1), (7, 6)),
    ("feature_tokens", (4,), (6,)),
    ("mixer", (5, 9), (7, 6)),
    ("gmlp_block", (12,), (7, 6)),
    ("resmlp_block", (2.0,), (7, 6)),
    ("swin_block", (2, 4, 1), (6, 8, 8)),
    ("merge_patches", (), (6, 8, 8)),
    ("pooled_encoder", (2, 2), (6, 4, 6)),
    *((name, (8,), (20, 6)) for name in ("rnn", "gru", "lstm")),
    *((name, (2,), (20, 6)) for name in ("gru_diag", "lstm_diag")),
    ("selective_scan", (4, 2, 3), (20, 6)),
    ("kan", (8, 5, 3), (6,)),
    ("kan", (8, 4, 2), (5, 6)),
    ("cheby_kan", (8, 4), (5, 6)),
    ("fourier_kan", (8, 3), (5, 6)),
    ("rbf_kan", (8, 4), (5, 6)),
    ("snnk", (8, 10), (5, 6)),
    ("pattention", (9, 8), (5, 6)),
    ("afno", (2,), (6, 5, 7)),
    ("afno", (2, 0.01, 0.5), (6, 5, 7)),
    ("gfn", (), (6, 5, 7)),
    ("fourier_mix", (), (5, 6)),
    ("dct_mix", (), (5, 6)),
    ("central_difference", (8, 3, 2, 0.7), (6, 9, 7)),
    ("reparam_kernel", (7,), (6, 9, 7)),
    ("reparam_kernel", (9,), (9, 6)),
    *(("lark", (kernel,), shape) for kernel in (3, 7) for shape in ((9, 8), (8, 9, 7))),
    ("series_activation", (2,), (6, 9, 7)),
    ("causal_conv", (8, 3, 2), (9, 6)),
    ("tcn_block", (8, 3, 2), (9, 6)),
    *(("axis_conv", (3, axis), (6, 5, 7)) for axis in (1, 2)),
    ("separable", (8, 3, 2), (6, 5, 7)),
    ("linear_free", (8,), (5, 6)),
    ("linear_low", (8, 0.5), (5, 6)),
    ("glu", (12,), (5, 6)),
    ("glu", (12, "gelu", 1), (5, 6)),
    ("activator", (12,), (5, 6)),
    ("activator", (12, 1), (5, 6)),
    *(("max_mixer", (2,), shape) for shape in ((9, 6), (6, 4, 5))),
    ("max_encoder", (2, 2.0), (9, 6)),
    ("attentive_pool", (5,), (7, 6)),
    ("log1p", (), (5, 6)),
    ("softmax_over", (1,), (5, 6)),
    ("avg_window", (3, 2, 0), (6, 9, 7)),
    ("resize", (5,), (3, 8, 6)),
    ("causal_conv", (6, 4, 1, 6), (9, 6)),
    ("prepbn", (), (7, 6)),
    ("prepbn", (), (6,)),
    ("simple_linear_attention", (2, 3), (6, 5, 7)),
    ("fading_relu", (), (6, 4, 5)),
    ("vanilla_block", (8, 2), (6, 8, 6)),
    ("head_conv", (2,), (6, 5, 7)),
    ("next_conv", (32, 2), (32, 6, 8)),
    ("next_attention", (128, 2, 2), (32, 8, 8)),
    ("tnt", (2, 12, 4, 3, 2, 8, 4), (3, 16, 24)),
    ("gla", (2, 0.5, 1.0, 4), (40, 16)),
    ("relu_depthwise_norm", (3, 2, 2), (6, 9, 7)),
    ("separable_twice", (5, 2), (6, 9, 7)),
    ("factorized_reduce", (8,), (6, 9, 7)),
    ("difference_norm_relu", (8,), (6, 9, 7)),
    ("tucker", (0.5, 8, 0.75, 3, 1), (8, 6, 5)),
    ("kan_mix", (8,), (5, 6)),
    *(("prototypes", (4, pull), (6,)) for pull in (0.0, 0.05)),
    ("karat", (2, 4, 2), (7, 6)),
    ("rhn", (8, 2), (9, 6)),
    ("rnn_block", (2,), (9, 6)),
    *(("spatial_gate", (2, how), (6, 4, 6)) for how in ("block", "grid")),
    ("multi_axis", (2, 2), (6, 4, 8)),
    ("kmeans_attention", (4, 8), (6, 5, 7)),
    ("standardise", (), (5, 6)),
    *(("bare_attention", (2, causal, 0.5), (7, 24)) for causal in (0, 1)),
    ("tokenformer_block", (2, 2, 1), (7, 16)),
    ("darts", (GENOTYPE, GENOTYPE, 4, 3), (3, 9, 8)),
    ("darts", (GENOTYPE, GENOTYPE, 4, 2, "imagenet"), (3, 33, 32)),
    ("attentive_pool", (5, 0), (7, 6)),
    ("tdnn_layer", (8, 3, 2), (9, 6)),
    ("se_res2", (16, 3, 2), (9, 8)),
]


def word(name: str, *arguments: object) -> Leaf:
    made: Leaf = NAMES[name](*arguments)
    return made


def alone(leaf: Leaf, x: Shape) -> Architecture:
    return Architecture(Node(leaf, x, leaf.shape(x)), x, leaf.name, None)  # type: ignore[arg-type]


def saved_scalars(module: nn.Module, x: torch.Tensor) -> int:
    """Scalars for one example that autograd saves, parameters and buffers not counted, as Cost.activations counts."""
    own = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    counted = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        if tensor.data_ptr() not in own and tensor.dim():
            counted += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x).sum().backward()
    return counted // len(x)


@pytest.mark.parametrize(("name", "arguments", "shape"), WORDS, ids=str)
def test_a_word_costs_and_puts_out_what_it_states(name: str, arguments: tuple[object, ...], shape: Shape) -> None:
    """Parameters, output shape and FLOPs are torch's own; what backward saves is within 1.5 and a few scalars of it."""
    leaf = word(name, *arguments)
    architecture = alone(leaf, shape)
    module = network.build(architecture)
    assert sum(p.numel() for p in module.parameters()) == architecture.cost.params
    with torch.backends.mkldnn.flags(enabled=name != "lstm"):  # its LSTM counts as nothing and saves more
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            output = module.eval()(torch.randn(2, *shape))
        counted = saved_scalars(module.train(), torch.randn(64, *shape, requires_grad=True))
    assert tuple(output.shape[1:]) == architecture.output
    assert counter.get_total_flops() == 2 * architecture.cost.flops
    allowed = 2 * size(shape)  # of the smallest layers, masks and statistics
    assert counted / 1.5 - allowed <= architecture.cost.activations <= 1.5 * counted + allowed


def test_every_word_of_the_gallery_is_checked() -> None:
    """The list above and the grammars whose samples are checked hold all there are; merges and combinators follow."""
    merges = {"mul", "sub", "div", "max", "mean", "gate", "stack"}
    combinators = {"skip", "skip_pool", "parallel", "ladder", "cascade", "highway", "both_ways", "weave", "dense"}
    cells = {"darts_edge", "darts_node", "darts_cell"}
    training = {"as_format", "recipe", "setting", "with_recipe"}  # tests/test_joint.py, tests/test_number_formats.py
    others = merges | combinators | cells | training
    assert set(NAMES) - {name for name, _, _ in WORDS} - words_of_grammars() - others == set()


# -- combinators and merges -------------------------------------------------------------------------------------------

COMPOSED = """
// input: image
start: step (";" step)*                        -> chain
?step: "conv(" WIDTH "," KERNEL "," N ")"      -> conv_norm_act
     | "plain(" WIDTH "," KERNEL "," N ")"     -> conv_free
     | "bn" -> batch_norm | "relu" -> relu | "tokens" -> tokens | "linear(" WIDTH ")" -> linear | "gap" -> global_pool
     | "skip(" start ")"                       -> skip
     | "skippool(" start ")"                   -> skip_pool
     | "all(" merge (":" start)+ ")"           -> parallel
     | "ladder(" start (":" start)* ")"        -> ladder
     | "cascade(" N "," start ")"              -> cascade
     | "aggregate(" start (":" start)* ")"     -> aggregate
     | "highway(" start ")"                    -> highway
     | "bothways(" merge "," start ")"         -> both_ways
     | "weave(" start (":" start)* ")"         -> weave
     | "dense(" start ")"                      -> dense
     | "basic(" WIDTH "," N ")"                -> basic_block
     | "repeat(" N "," step ")"                -> repeat
merge: "add" -> add | "mul" -> mul | "sub" -> sub | "div" -> div | "max" -> max | "mean" -> mean
     | "gate" -> gate | "stack" -> stack
WIDTH: "8" | "16" | "32"
KERNEL: "1" | "3"
N: "1" | "2" | "4"
"""


@cache
def composed(text: str, shape: Shape = (8, 6, 6)) -> Architecture:
    read = grammar.loads(COMPOSED, name="composed.lark")
    there = Space(read, vocabulary(read), shape)
    return there.read(there.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "skip(conv(16,3,2))",
        "skip(conv(8,3,1);relu)",
        "skippool(conv(16,3,2))",
        *(f"all({merge}:conv(8,3,1):plain(8,1,1))" for merge in ("add", "mul", "sub", "div", "max", "mean", "gate")),
        "all(stack:gap:conv(8,3,2);gap:gap)",
        "ladder(conv(8,3,1):bn:conv(8,1,1):relu)",
        "cascade(4,relu;bn)",
        "weave(conv(8,3,1):bn:conv(8,1,1))",
        "dense(conv(16,3,1))",
        "tokens;dense(linear(16))",
        "tokens;aggregate(linear(8):linear(8);relu)",
        "tokens;aggregate(linear(8))",
        "tokens;highway(linear(8))",
        "tokens;bothways(add,linear(16);relu)",
    ],
)
def test_a_combinator_costs_and_puts_out_what_it_states(text: str) -> None:
    architecture = composed(text)
    module = network.build(architecture)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module.eval()(torch.randn(2, *architecture.input))
    assert tuple(output.shape[1:]) == architecture.output
    assert sum(p.numel() for p in module.parameters()) == architecture.cost.params
    assert counter.get_total_flops() == 2 * architecture.cost.flops
    counted = saved_scalars(module.train(), torch.randn(64, *architecture.input, requires_grad=True))
    allowed = 3 * size(architecture.input)
    assert counted / 1.5 - allowed <= architecture.cost.activations <= 1.5 * counted + allowed


SAME = [
    ("basic(16,2)", "skip(conv(16,3,2);plain(16,3,1);bn);relu"),
    ("basic(8,1)", "skip(plain(8,3,1);bn;relu;plain(8,3,1);bn);relu"),
    ("repeat(2,basic(8,1))", "basic(8,1);basic(8,1)"),
    ("skip(conv(16,3,2))", "all(add:conv(16,3,2):plain(16,1,2);bn)"),
]


@pytest.mark.parametrize(("block", "written"), SAME)
def test_a_block_has_the_key_of_what_it_is_made_of(block: str, written: str) -> None:
    assert composed(block).key == composed(written).key


def test_every_block_has_the_key_cost_and_output_of_its_body() -> None:
    """Written out with the layers that it is made of."""
    made = [(word(name, *arguments), shape) for name, arguments, shape in WORDS]
    blocks = [(one, shape) for one, shape in made if isinstance(one, Block)]
    assert len({type(one) for one, _ in blocks}) > 50
    for block, shape in blocks:
        whole, written = alone(block, shape), Architecture(block.at(shape), shape, "written out", None)  # type: ignore[arg-type]
        assert (whole.key, whole.cost, whole.output) == (written.key, written.cost, written.output), block


def test_blocks_that_differ_in_an_argument_have_two_keys() -> None:
    assert composed("basic(16,1)").key != composed("basic(16,2)").key


def test_what_does_not_fit_in_a_block_is_told_with_its_name() -> None:
    with pytest.raises(ShapeError, match="transition: width is at least 1, not 0"):
        word("transition").shape((1, 8, 8))


# -- equality with independent references -----------------------------------------------------------------------------


def double(leaf: Leaf, shape: Shape) -> nn.Module:
    torch.manual_seed(0)
    return network.build(alone(leaf, shape)).double().eval()


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_is_torchs_own(causal: int) -> None:
    ours = double(word("attention", 2, causal), (7, 6))
    theirs = nn.MultiheadAttention(6, 2, batch_first=True).double()
    state = ours.state_dict()
    theirs.load_state_dict(
        {
            "in_proj_weight": state["qkv1.weight"],
            "in_proj_bias": state["qkv1.bias"],
            "out_proj.weight": state["out1.weight"],
            "out_proj.bias": state["out1.bias"],
        }
    )
    x = torch.randn(3, 7, 6, dtype=torch.float64)
    mask = torch.triu(torch.ones(7, 7, dtype=torch.bool), 1) if causal else None
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=mask)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "first"), [("encoder", True), ("post_encoder", False)])
def test_an_encoder_is_torchs_own(name: str, first: bool) -> None:
    ours = double(word(name, 2, 4.0), (7, 6))
    theirs = nn.TransformerEncoderLayer(6, 2, 24, 0.0, "gelu", batch_first=True, norm_first=first).double().eval()
    state = ours.state_dict()
    names = {"self_attn.in_proj_": "qkv1.", "self_attn.out_proj.": "out1."}
    names |= {f"{part}{n}.": f"{part}{n}." for part in ("linear", "norm") for n in (1, 2)}
    theirs.load_state_dict({t + k: state[o + k] for t, o in names.items() for k in ("weight", "bias")})
    x = torch.randn(3, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_window_attention_is_a_loop_over_windows() -> None:
    """Each place sees those of its rolled window that lay there before the roll, with a bias by relative position."""
    heads, window, shift, c, side = 2, 4, 1, 6, 8
    module = double(word("window_attention", heads, window, shift), (c, side, side))
    x = torch.randn(2, c, side, side, dtype=torch.float64)
    qkv, out = module.get_submodule("qkv1"), module.get_submodule("out1")
    table = module.get_parameter("bias1")
    rows = qkv(x.permute(0, 2, 3, 1)).unflatten(3, (3, heads, c // heads))  # (N, H, W, 3, heads, c / heads)
    expected = torch.zeros(2, side, side, c, dtype=torch.float64)

    def home(i: int, j: int) -> tuple[int, int, int, int]:
        """Of a place: its window after the roll, and in which strip the rolled place lies."""
        a, b = (i - shift) % side, (j - shift) % side
        strip = [0 if at < side - window else 1 if at < side - shift else 2 for at in (a, b)]
        return a // window, b // window, strip[0], strip[1]

    places = [(i, j) for i in range(side) for j in range(side)]
    for i, j in places:
        seen = [(k, m) for k, m in places if home(k, m) == home(i, j)]
        for head in range(heads):
            scores = []
            for k, m in seen:
                di = (i - shift) % side - (k - shift) % side + window - 1
                dj = (j - shift) % side - (m - shift) % side + window - 1
                dot = (rows[:, i, j, 0, head] * rows[:, k, m, 1, head]).sum(-1) / (c // heads) ** 0.5
                scores.append(dot + table[di * (2 * window - 1) + dj, head])
            weights = torch.stack(scores, 1).softmax(1)
            values = torch.stack([rows[:, k, m, 2, head] for k, m in seen], 1)
            part = slice(head * (c // heads), (head + 1) * (c // heads))
            expected[:, i, j, part] = (weights[..., None] * values).sum(1)
    torch.testing.assert_close(module(x), out(expected).permute(0, 3, 1, 2), rtol=0, atol=1e-10)


def trained_statistics(module: nn.Module) -> nn.Module:
    """With statistics of batch norm that are not 0 and 1, so that a missing norm shows."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module


class HandBottleneck(nn.Module):
    """He et al. 2016, with the stride at the 3x3 as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.norm3 = nn.Conv2d(8, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.conv4, self.norm4 = nn.Conv2d(6, 32, 1, 2, bias=False), nn.BatchNorm2d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm1(self.conv1(x)).relu()
        out = self.norm2(self.conv2(out)).relu()
        added: torch.Tensor = self.norm3(self.conv3(out)) + self.norm4(self.conv4(x))
        return added.relu()


class HandMBConv(nn.Module):
    """MobileNetV3's block with squeeze-and-excitation (Howard et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.BatchNorm2d(32)
        self.conv3, self.conv4 = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.conv5, self.norm3 = nn.Conv2d(32, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.swish = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.swish(self.norm1(self.conv1(x)))
        out = self.swish(self.norm2(self.conv2(out)))
        gate = self.conv4(self.conv3(out.mean((2, 3), keepdim=True)).relu())
        added: torch.Tensor = x + self.norm3(self.conv5(out * ((gate + 3).clamp(0, 6) / 6)))
        return added


class HandConvNeXt(nn.Module):
    """Liu et al. 2022, figure 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8)
        self.conv2, self.conv3 = nn.Conv2d(8, 32, 1), nn.Conv2d(32, 8, 1)
        self.scale1 = nn.Parameter(torch.zeros(8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm1(self.conv1(x).movedim(1, 3)).movedim(3, 1)
        added: torch.Tensor = x + self.scale1 * self.conv3(nn.functional.gelu(self.conv2(out)))
        return added


BY_HAND: list[tuple[str, tuple[object, ...], Shape, type[nn.Module]]] = [
    ("bottleneck", (8, 2), (6, 9, 7), HandBottleneck),
    ("mbconv", (4.0, 8, 3, 1, "hswish", "mid4"), (8, 6, 5), HandMBConv),
    ("convnext_block", (), (8, 9, 7), HandConvNeXt),
]


@pytest.mark.parametrize(("name", "arguments", "shape", "hand"), BY_HAND, ids=lambda value: str(value)[:20])
def test_a_block_is_the_one_written_by_hand(
    name: str, arguments: tuple[object, ...], shape: Shape, hand: type[nn.Module]
) -> None:
    ours = trained_statistics(double(word(name, *arguments), shape))
    theirs = hand().double().eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, *shape, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_a_ladder_is_its_recurrence() -> None:
    """r_i = r_(i-1) + y_(i-2); the output is the last r and what was not added yet."""
    architecture = composed("tokens;ladder(linear(8):linear(8):linear(8):linear(8))")
    module = network.build(architecture).double()
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    r, outputs = x.flatten(2).mT, [torch.zeros(()), torch.zeros(())]
    for number in (1, 2, 3, 4):
        r = r + outputs[-2]
        outputs.append(module.get_submodule(f"linear{number}")(r))
    torch.testing.assert_close(module(x), r + outputs[-2] + outputs[-1], rtol=0, atol=1e-12)


def test_a_cascade_is_res2nets_loop() -> None:
    architecture = composed("tokens;cascade(2,linear(8))", (16, 2, 2))
    module = network.build(architecture).double()
    x = torch.randn(2, 16, 2, 2, dtype=torch.float64)
    first, last = x.flatten(2).mT.chunk(2, 2)
    expected = torch.cat([module.get_submodule("linear1")(first), last], 2)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_aggregated_parts_are_their_loop() -> None:
    """y_i = part_i(y_(i-1)) + y_0 + ... + y_(i-1), and all y but y_0 side by side."""
    architecture = composed("tokens;aggregate(linear(8):linear(8):linear(8))")
    module = network.build(architecture).double()
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    outputs = [x.flatten(2).mT]
    for number in (1, 2, 3):
        outputs.append(module.get_submodule(f"linear{number}")(outputs[-1]) + torch.stack(outputs).sum(0))
    torch.testing.assert_close(module(x), torch.cat(outputs[1:], 2), rtol=0, atol=1e-12)


def test_splines_are_scipys() -> None:
    """Inside the grid, whose knots are float32; a KAN layer is the base and the sum of its splines."""
    from scipy.interpolate import BSpline

    grid, order = 5, 3
    module = double(word("kan", 4, grid, order), (3,))
    x = torch.rand(7, 3, dtype=torch.float64) * 1.98 - 0.99
    knots = module.get_buffer("knots1").numpy()
    bases = torch.stack(
        [torch.from_numpy(BSpline.design_matrix(column.numpy(), knots, order).toarray()) for column in x.T], 1
    )
    weight = module.get_parameter("spline1") * module.get_parameter("scale1")
    expected = nn.functional.silu(x) @ module.get_parameter("base1").T + torch.einsum("nib,oib->no", bases, weight)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-6)


def test_the_cosine_mix_is_scipys() -> None:
    from scipy.fft import dctn

    module, x = double(word("dct_mix"), (5, 6)), torch.randn(2, 5, 6, dtype=torch.float64)
    expected = torch.from_numpy(dctn(x.numpy(), axes=(1, 2), norm="ortho"))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_the_fourier_mix_is_numpys() -> None:
    module, x = double(word("fourier_mix"), (5, 6)), torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(module(x), torch.from_numpy(np.fft.fft2(x.numpy()).real), rtol=0, atol=1e-4)


def test_z_normalised_series_are_scipys() -> None:
    """Whatever their scales; beside them their means and deviations. A series that stands still stays finite."""
    from scipy.stats import zscore

    module, x = double(word("z_normalise"), (9, 2)), torch.randn(4, 9, 2, dtype=torch.float64)
    x = x * 10.0 ** torch.arange(-3, 1)[:, None, None] + torch.randn(4, 1, 2, dtype=torch.float64)
    given = x.numpy()
    mean, deviation = (np.repeat(figure(given, 1, keepdims=True), 9, axis=1) for figure in (np.mean, np.std))
    expected = np.concatenate([zscore(given, axis=1), np.arcsinh(mean), np.log10(deviation)], axis=2)
    np.testing.assert_allclose(module(x).numpy(), expected, rtol=0, atol=1e-9)
    still = module(torch.full_like(x, 5)).numpy()
    np.testing.assert_allclose(still[..., :2], 0, atol=1e-9)
    np.testing.assert_allclose(still[..., 4:], -6)  # the least that counts as a deviation


def test_series_that_stand_still_pass_finite_gradients_through_a_z_normalisation() -> None:
    """As those of a ReLU do that is never active, where the layer stands behind others."""
    x = torch.zeros(4, 9, 2, dtype=torch.float64, requires_grad=True)
    double(word("z_normalise"), (9, 2))(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("keep", "kept"), [(1.0, 4), (0.6, 2), (0.1, 1)])
def test_an_adaptive_fourier_layer_is_a_loop_over_frequencies(keep: float, kept: int) -> None:
    """With numpy's transform and complex numbers; what is not kept gives zeros."""
    c, h, w, blocks, threshold = 4, 5, 6, 2, 0.01
    module, x = double(word("afno", blocks, threshold, keep), (c, h, w)), torch.randn(2, c, h, w, dtype=torch.float64)
    layers = []
    for n in (1, 2):
        weight, bias = (module.get_parameter(f"{name}{n}").detach().numpy() for name in ("weight", "bias"))
        layers.append((weight[0] + 1j * weight[1], bias[0] + 1j * bias[1]))
    f = np.fft.rfft2(x.numpy(), norm="ortho")
    out = np.zeros_like(f)

    def halves(values: Array, function: Callable[[Array], Array]) -> Array:
        return np.asarray(function(values.real) + 1j * function(values.imag))

    for block in range(blocks):
        part = slice(block * c // blocks, (block + 1) * c // blocks)
        for n in range(2):
            for i in range(h):
                for j in range(kept):
                    z = halves(f[n, part, i, j] @ layers[0][0][block] + layers[0][1][block], lambda v: np.maximum(v, 0))
                    z = z @ layers[1][0][block] + layers[1][1][block]
                    out[n, part, i, j] = halves(z, lambda v: np.sign(v) * np.maximum(np.abs(v) - threshold, 0))
    expected = x.numpy() + np.fft.irfft2(out, s=(h, w), norm="ortho")
    torch.testing.assert_close(module(x), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_a_central_difference_is_one_convolution_with_another_centre() -> None:
    module = double(word("central_difference", 4, 3, 2, 0.7), (3, 9, 7))
    kernel = module.get_parameter("conv1.weight").detach().clone()
    kernel[:, :, 1, 1] -= 0.7 * kernel.sum((2, 3))
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    expected = nn.functional.conv2d(x, kernel, stride=2, padding=1)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_a_reparametrised_kernel_is_one_large_kernel() -> None:
    """The form that is deployed: norms folded into their kernels, dilated ones spread out, all added."""
    kernel, c = 9, 4
    module = trained_statistics(double(word("reparam_kernel", kernel), (c, 12, 11)))
    total, bias = torch.zeros(c, 1, kernel, kernel, dtype=torch.float64), torch.zeros(c, dtype=torch.float64)
    for n, dilation in enumerate((1, 1, 2, 3, 4), 1):
        weight = module.get_parameter(f"conv{n}.weight")
        norm = module.get_submodule(f"norm{n}")
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        reach = dilation * (weight.shape[-1] // 2)
        at = slice(kernel // 2 - reach, kernel // 2 + reach + 1, dilation)
        total[:, :, at, at] += weight * scale[:, None, None, None]
        bias += norm.bias - norm.running_mean * scale
    x = torch.randn(2, c, 12, 11, dtype=torch.float64)
    expected = nn.functional.conv2d(x, total, bias, padding=kernel // 2, groups=c)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_a_diagonal_gru_is_its_plain_loop() -> None:
    """h' = z tanh(a3 h r + c) + (1 - z) h for each feature on its own."""
    d, heads, steps = 6, 2, 5
    module = double(word("gru_diag", heads), (steps, d))
    weight, state, bias = (module.get_parameter(f"{name}1") for name in ("weight", "state", "bias"))
    x = torch.randn(3, steps, d, dtype=torch.float64)
    h, states = torch.zeros(3, d, dtype=torch.float64), []
    for step in range(steps):
        inner = d // heads
        seen = [
            torch.cat([x[:, step, k * inner : (k + 1) * inner] @ weight[gate, k] for k in range(heads)], 1) + bias[gate]
            for gate in range(3)
        ]
        z, r = torch.sigmoid(seen[0] + state[0] * h), torch.sigmoid(seen[1] + state[1] * h)
        h = z * torch.tanh(seen[2] + state[2] * h * r) + (1 - z) * h
        states.append(h)
    torch.testing.assert_close(module(x), torch.stack(states, 1), rtol=0, atol=1e-12)


def test_a_selective_scan_is_the_sum_over_what_came_before() -> None:
    """y_t = sum over s <= t of c_t . exp(a (steps summed over s+1..t)) b_s steps_s x_s, without any recurrence."""
    module = double(word("selective_scan", 3, 2, 2), (5, 4))
    helper = type(module).forward.__globals__["selective_scan"]
    n, s, e, k = 2, 5, 8, 3
    x, b, c = (torch.randn(n, s, width, dtype=torch.float64) for width in (e, k, k))
    steps, a = torch.rand(n, s, e, dtype=torch.float64), -torch.rand(e, k, dtype=torch.float64)
    skip = torch.randn(e, dtype=torch.float64)
    expected = skip * x
    for t in range(s):
        for at in range(t + 1):
            decay = torch.exp(steps[:, at + 1 : t + 1].sum(1)[..., None] * a)
            reach = (decay * b[:, at, None] * c[:, t, None]).sum(2)
            expected[:, t] += reach * steps[:, at] * x[:, at]
    torch.testing.assert_close(helper(x, steps, a, b, c, skip, s), expected, rtol=0, atol=1e-12)


# -- classes in the written source ------------------------------------------------------------------------------------


def row_of(seed: str) -> Published:
    return next(row for row in PUBLISHED if row.seed == seed)


@pytest.mark.parametrize(("seed", "most"), [("vit_b_16", 100), ("convnext_tiny", 160)])
def test_the_source_of_a_network_of_blocks_is_short(seed: str, most: int) -> None:
    """A block that stands at least twice is a class; the source runs alone and has the module's parameters."""
    architecture = seed_of(row_of(seed))
    text = network.source(architecture)
    assert len(text.splitlines()) < most
    namespace: dict[str, Any] = {"__name__": "written"}
    with torch.device("meta"):
        exec(compile(text, "written", "exec"), namespace)
        written, built = namespace["Network"](), network.build(architecture)
    assert list(written.state_dict()) == list(built.state_dict())
    assert sum(p.numel() for p in built.parameters()) == row_of(seed).params


TWICE = "conv(8,3,1);repeat(2,basic(8,1));basic(16,2);basic(16,1);gap"


def test_only_what_stands_twice_becomes_a_class() -> None:
    text = network.source(composed(TWICE))
    assert text.count("class BasicBlock(nn.Module):  # 8x6x6 to 8x6x6") == 1
    assert text.count("class ") == 2
    assert "self.basic_block1(x)" in text
    assert "self.basic_block2(" in text


def test_a_network_with_classes_computes_and_holds_what_it_does_in_line() -> None:
    """The same layers, weights in the same order, and the same memory; pieces and places of parameters fit too."""
    architecture = composed(TWICE)
    torch.manual_seed(0)
    module = network.build(architecture)
    builder = Builder()
    start = builder.start(architecture.input)
    end = write(architecture.root, start, builder)
    assert network.working_scalars(architecture) == builder.working()
    assert end
    plain = composed(TWICE.replace("repeat(2,basic(8,1))", "skip(conv(8,3,1);plain(8,3,1);bn);relu;basic(8,1)"))
    torch.manual_seed(0)
    other = network.build(plain)
    for ours, theirs in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    x = torch.randn(2, *architecture.input)
    assert torch.equal(module(x), other(x))
    torch.manual_seed(0)
    pieces = network.segments(architecture)
    assert torch.equal(nn.Sequential(*pieces).train()(x), network_of(architecture)(x))
    assert [key for piece in pieces for key in piece.state_dict()] == list(module.state_dict())


def network_of(architecture: Architecture) -> nn.Module:
    torch.manual_seed(0)
    return network.build(architecture)


def test_members_of_an_ensemble_have_classes_of_their_own() -> None:
    """Blocks of one name in two members do not take each other's place in the joint source."""
    members = [composed(text) for text in (TWICE, TWICE.replace("basic(8,1)", "basic(16,2)"))]
    ensemble = Ensemble(tuple(members), (0.5, 0.5), BUNDLED["regression"].averaging)
    module, namespace = network.build(ensemble), {"__name__": "written"}
    exec(compile(network.source(ensemble), "written", "exec"), namespace)
    written = namespace["Network"]()  # type: ignore[operator]
    written.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(written.eval()(x), module.eval()(x), rtol=0, atol=0)
