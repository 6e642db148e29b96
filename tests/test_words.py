"""Words of the gallery against independent references: plain loops, numpy, scipy, torch.nn, and networks by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone gives it

from evosearch import grammar, network
from evosearch.architecture import Architecture, Space
from evosearch.errors import ShapeError
from evosearch.evaluation.fit import train
from evosearch.evaluation.recipe import Recipe
from evosearch.layers import vocabulary
from evosearch.layers.library import NAMES
from evosearch.tasks import Split, make_task
from tests.test_gallery import (
    GENOTYPE,
    WORDS,
    alone,
    composed,
    double,
    genotype,
    row_of,
    seed_of,
    trained_statistics,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.test_gallery import Array


def exactly(ours: Tensor, theirs: Tensor, within: float = 1e-12) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def set_progress(module: nn.Module, value: float) -> None:
    for name, buffer in module.named_buffers():
        if name.endswith("progress"):
            buffer.fill_(value)


# -- images as a training lays them out, channels last ----------------------------------------------------------------


def trained_on_images(architecture: Architecture) -> str:
    """What comes of one epoch of two steps, as of a candidate: "ok", or its status and error."""
    rng, shape = np.random.default_rng(0), architecture.input
    x, y = rng.normal(size=(8, *shape)).astype(np.float32), np.arange(8) % 2
    task = make_task("noise", Split(x, y), Split(x[:2], y[:2]), Split(x[:2], y[:2]), kind="classification")
    score = train(lambda: network.build(architecture, 2), task, Recipe(epochs=1, batch=4)).score
    return " ".join([score.status, score.error]).strip()


def test_every_word_of_images_trains_as_the_first_of_a_network() -> None:
    """The input needs no gradient, and what has four axes, weights among it, lies with its channels last."""
    ended = {
        f"{name}{arguments} at {shape}": trained_on_images(alone(word(name, *arguments), shape))
        for name, arguments, shape in WORDS
        if len(shape) == 3
    }
    assert len(ended) > 50
    assert {what: how for what, how in ended.items() if how != "ok"} == {}


@pytest.mark.parametrize(
    ("text", "contiguous"), [("relu;gn;gn", 1), ("bn;gn", 0), ("pf;pf;pf", 1), ("bn;pf;pf;relu", 0), ("pf", 1)]
)
def test_group_norm_has_channels_first_only_where_no_gradient_reaches_its_input(text: str, contiguous: int) -> None:
    """Of repeated blocks too, whose class is then one of the first, and one of those behind it."""
    source = """// input: image
    start: step (";" step)* -> chain
    ?step: "gn" -> group_norm2 | "pf" -> poolformer_block | "relu" -> relu | "bn" -> batch_norm"""
    read = grammar.loads(source)
    there = Space(read, vocabulary(read), (6, 4, 5))
    architecture = there.read(there.parse(text))
    assert network.source(architecture).count("contiguous()") == contiguous
    assert trained_on_images(architecture) == "ok"


def test_group_norm_of_channels_last_is_that_of_channels_first() -> None:
    module, x = double(word("group_norm", 3), (6, 4, 5)), normal(4, 6, 4, 5)
    exactly(module(x.contiguous(memory_format=torch.channels_last)), F.group_norm(x, 3))


def test_a_global_filter_takes_one_row() -> None:
    assert trained_on_images(alone(word("gfn"), (2, 1, 6))) == "ok"


# -- shapes that do not go together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8,), (5, 6), (1,)])
def test_tokens_are_those_of_an_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="is not an image"):
        word("tokens").shape(shape)


@pytest.mark.parametrize(("left", "right"), [((4, 4), (4,)), ((2, 3, 3), (2,)), ((4,), (5,)), ((4,), (1, 4))])
def test_a_stack_is_of_vectors(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="are not vectors of one size"):
        NAMES["stack"]().pair(left, right)


def test_a_stack_of_many_has_a_row_for_each() -> None:
    stack = NAMES["stack"]()
    assert [stack.many((4,), n) for n in (2, 3, 5)] == [(2, 4), (3, 4), (5, 4)]
    with pytest.raises(ShapeError, match="no further row"):
        stack.further((2, 4), (5,))


def many(text: str, shape: tuple[int, ...] = (4, 4)) -> Architecture:
    source = """// input: column
    start: "all(" merge (":" step)+ ")" -> parallel | step
    ?step: "relu" -> relu | "linear(" W ")" -> linear | "gap" -> global_pool
    merge: "dot" -> dot | "sdot" -> scaled_dot | "mul" -> mul | "stack" -> stack
    W: "4" """
    read = grammar.loads(source)
    there = Space(read, vocabulary(read), shape)
    return there.read(there.parse(text))


@pytest.mark.parametrize("merge", ["dot", "sdot"])
def test_a_product_of_matrices_has_two_branches(merge: str) -> None:
    assert many(f"all({merge}:linear(4):relu)").output == (4, 4)
    with pytest.raises(ShapeError, match="exactly two"):
        many(f"all({merge}:linear(4):relu:relu)")
    with pytest.raises(ShapeError, match="are not vectors"):
        many("all(stack:relu:gap)")


@pytest.mark.parametrize("merge", ["dot", "sdot", "mul", "stack"])
def test_one_branch_is_that_branch(merge: str) -> None:
    one, alone_ = many(f"all({merge}:linear(4))"), many("linear(4)")
    assert (one.key, one.cost, one.output) == (alone_.key, alone_.cost, alone_.output)
    assert network.source(one) == network.source(alone_)


@pytest.mark.parametrize(("groups", "shape"), [(4, (4, 1, 1)), (1, (1, 1, 1)), (3, (1, 3))])
def test_group_norm_needs_two_numbers_in_a_group(groups: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="one number in each"):
        word("group_norm", groups).shape(shape)


def test_group_norm_needs_no_second_place() -> None:
    assert trained_on_images(alone(word("group_norm", 2), (4, 1, 1))) == "ok"
    with pytest.raises(ShapeError, match="one number in each"):
        word("poolformer_block").shape((1, 1, 1))


@pytest.mark.parametrize(
    ("shape", "stride", "output"),
    [((1, 1, 64), 2, (8, 1, 32)), ((3, 64, 1), 2, (8, 32, 1)), ((1, 3, 16), 4, (8, 1, 4))],
)
def test_a_skip_s_stride_is_that_of_the_axis_which_shrinks(
    shape: tuple[int, ...], stride: int, output: tuple[int, ...]
) -> None:
    block = alone(word("basic_block", 8, stride), shape)
    assert block.output == output
    assert network.build(block)(torch.zeros(2, *shape)).shape == (2, *output)


# -- what follows how far training is ---------------------------------------------------------------------------------


def test_a_progressive_norm_goes_from_layer_norm_to_batch_norm() -> None:
    """While training by the share that is done; afterwards it is batch norm and the input times a factor."""
    module, x = double(word("prepbn"), (5, 6)).train(), normal(64, 5, 6)
    layer, batch = F.layer_norm(x, (6,)), F.batch_norm(x.mT, None, None, training=True).mT + x
    for done in (0.0, 0.25, 1.0):
        set_progress(module, done)
        exactly(module(x), (1 - done) * layer + done * batch)
    norm = module.get_submodule("norm2")
    mean, variance = (norm.get_buffer(f"running_{name}") for name in ("mean", "var"))
    exactly(module.eval()(x), (x - mean) / (variance + 1e-5).sqrt() + x)


def test_a_fading_relu_lets_through_what_is_below_zero_as_training_goes_on() -> None:
    module, x = double(word("fading_relu"), (6,)), normal(4, 6)
    for done in (0.0, 0.3, 1.0):
        set_progress(module, done)
        exactly(module(x), F.leaky_relu(x, done))


def test_training_tells_layers_how_far_it_is() -> None:
    """From 0 in the first step up to 1 once all are done; each step a bit further, also behind a class of its own."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)).astype(np.float32), rng.integers(0, 2, 64)
    task = make_task("steps", train=Split(x, y), validation=Split(x, y), test=Split(x, y), kind="classification")
    architecture = alone(word("fading_relu"), (6,))
    seen: list[float] = []

    def built() -> nn.Module:
        module = nn.Sequential(network.build(architecture), nn.Linear(6, 2))
        module[0].register_forward_pre_hook(lambda m, _: seen.append(float(m.get_buffer("progress"))))
        return module

    result = train(built, task, Recipe(epochs=2, batch=16), seed=0)
    assert result.network is not None
    steps = [at for at in dict.fromkeys(seen) if at < 1]
    assert steps == pytest.approx([at / 8 for at in range(8)])
    assert seen[-1] == 1.0  # what is judged is the network that is kept
    assert float(result.network.get_buffer("0.progress")) == 1.0


def test_a_vanilla_block_is_deployed_as_one_convolution() -> None:
    """Once its ReLU has faded: both 1x1 with their norms are one matrix, the series activation one kernel with bias."""
    module = trained_statistics(double(word("vanilla_block", 5, 2, 1), (4, 6, 8)))

    def folded(conv: str, norm: str) -> tuple[Tensor, Tensor]:
        layer, stats = module.get_submodule(conv), module.get_submodule(norm)
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(stats, nn.BatchNorm2d)
        assert stats.running_mean is not None
        assert stats.running_var is not None
        scale = stats.weight / (stats.running_var + stats.eps).sqrt()
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias
        return layer.weight * scale[:, None, None, None], (bias - stats.running_mean) * scale + stats.bias

    (first, start), (second, middle), (kernel, end) = (folded(f"conv{n}", f"norm{n}") for n in (1, 2, 3))
    weight = second[:, :, 0, 0] @ first[:, :, 0, 0]
    bias = second[:, :, 0, 0] @ start + middle
    x = normal(2, 4, 6, 8)
    pooled = F.max_pool2d(F.conv2d(x, weight[:, :, None, None], bias), 2)
    exactly(module(x), F.conv2d(pooled.relu(), kernel, end, padding=1, groups=5), 1e-10)


def test_a_penalty_is_lowered_beside_the_loss() -> None:
    """The gradients are those of the loss and the penalty together; once trained there is none."""
    module, x, goal = double(word("prototypes", 3, 0.5), (4,)).train(), normal(8, 4).requires_grad_(), normal(8, 3)
    rows = module.get_parameter("prototypes1")
    distances = torch.cdist(x, rows).square()
    loss = (distances - goal).square().mean()
    total = loss + 0.5 * (distances.amin(0).mean() + distances.amin(1).mean())
    expected = torch.autograd.grad(total, (x, rows))
    told = (module(x) - goal).square().mean()
    exactly(told, loss, 1e-10)
    for ours, theirs in zip(torch.autograd.grad(told, (x, rows)), expected, strict=True):
        exactly(ours, theirs, 1e-10)
    plain = torch.autograd.grad((module.eval()(x) - goal).square().mean(), rows)[0]
    exactly(plain, torch.autograd.grad((torch.cdist(x, rows).square() - goal).square().mean(), rows)[0], 1e-10)


# -- attention --------------------------------------------------------------------------------------------------------


def test_simple_linear_attention_is_a_loop_over_pairs_of_places() -> None:
    heads, c, h, w = 2, 6, 3, 4
    module, x = double(word("simple_linear_attention", heads, 3), (c, h, w)), normal(2, c, h, w)
    rows = x.flatten(2).mT
    q, k, v = module.get_submodule("qkv1")(rows).chunk(3, 2)
    q, k = q.relu(), (k + module.get_parameter("place1")).relu()
    out = torch.zeros_like(rows)
    for head in range(heads):
        part = slice(head * c // heads, (head + 1) * c // heads)
        for i in range(h * w):
            shares = torch.stack([(q[:, i, part] * k[:, j, part]).sum(1) for j in range(h * w)], 1)
            mixed = torch.einsum("nj,njd->nd", shares, v[:, :, part])
            out[:, i, part] = mixed / (shares.sum(1, keepdim=True) + 1e-6)
        local = module.get_submodule("conv1")(v[:, :, part].mT.unflatten(2, (h, w)))
        out[:, :, part] += local.flatten(2).mT
    exactly(module(x), module.get_submodule("out1")(out).mT.unflatten(2, (h, w)))


@pytest.mark.parametrize("steps", [5, 16, 35])
def test_gated_linear_attention_is_its_recurrence(steps: int) -> None:
    """s_t = diag(a_t) s_(t-1) + k_t^T v_t, o_t = q_t s_t, within a chunk and over the border of chunks."""
    heads, d = 2, 8
    module, x = double(word("gla", heads, 0.5, 1.0, 3), (steps, d)), normal(2, steps, d)
    made = {name: module.get_submodule(f"{name}1") for name in ("query", "key", "value", "low", "high", "gate", "out")}
    q, k, v = (made[name](x) for name in ("query", "key", "value"))
    alpha = torch.sigmoid(made["high"](made["low"](x))) ** (1 / 16)
    outputs = torch.zeros_like(v)
    for head in range(heads):
        keys, values = slice(head * 2, head * 2 + 2), slice(head * 4, head * 4 + 4)
        state = torch.zeros(2, 2, 4, dtype=torch.float64)
        for t in range(steps):
            state = alpha[:, t, keys, None] * state + k[:, t, keys, None] * v[:, t, None, values]
            outputs[:, t, values] = (q[:, t, None, keys] / 2**0.5 @ state)[:, 0]
    rows = outputs.reshape(2, steps, heads, -1)
    rows = rows / (rows.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    exactly(module(x), made["out"](rows.flatten(2) * F.silu(made["gate"](x))), 1e-10)


def test_strong_forgetting_stays_finite() -> None:
    """Products of a hundred gates near 0: as logarithms they do not leave a float's range."""
    module = network.build(alone(word("gla", 2, 1.0, 1.0, 2), (64, 8)))
    with torch.no_grad():
        module.get_parameter("high1.bias").fill_(-2000.0)
    x = torch.randn(2, 64, 8, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("causal", [0, 1])
def test_bare_attention_is_softmax_over_rows(causal: int) -> None:
    module, x = double(word("bare_attention", 2, causal), (5, 12)), normal(3, 5, 12)
    q, k, v = x.chunk(3, 2)
    out = torch.zeros(3, 5, 4, dtype=torch.float64)
    for part in (slice(0, 2), slice(2, 4)):
        for i in range(5):
            seen = slice(0, i + 1) if causal else slice(0, 5)
            weights = ((q[:, i, None, part] * k[:, seen, part]).sum(2) / 2**0.5).softmax(1)
            out[:, i, part] = (weights[..., None] * v[:, seen, part]).sum(1)
    exactly(module(x), out)


def test_rotary_places_change_scores_by_their_distance_alone() -> None:
    """The same query and key everywhere: what two rows see of each other hangs on how far they are apart."""
    module = network.build(alone(word("bare_attention", 1, 0, 1.0), (6, 12))).double()
    rotated = type(module).forward.__globals__["rotated"]
    q, k = (rotated(normal(4).expand(1, 1, 6, 4), 4)[0, 0] for _ in range(2))
    scores = q @ k.mT
    for apart in range(-3, 4):
        line = scores.diagonal(apart)
        exactly(line, line[:1].expand_as(line), 1e-5)
    assert len({round(float(scores[0, j]), 6) for j in range(6)}) == 6


def test_karat_is_a_loop_over_scores() -> None:
    heads, rank, waves, s, d = 2, 3, 3, 4, 6
    module, x = double(word("karat", heads, rank, waves - 1), (s, d)), normal(2, s, d)
    q, k, v = module.get_submodule("qkv1")(x).chunk(3, 2)
    inner, outer = module.get_parameter("inner1"), module.get_parameter("outer1")
    out = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * d // heads, (head + 1) * d // heads)
        scores = q[:, :, part] @ k[:, :, part].mT / (d // heads) ** 0.5
        for i in range(s):
            few = torch.zeros(2, rank, dtype=torch.float64)
            for j in range(s):
                for wave in range(1, waves + 1):
                    at = j * 2 * waves + wave - 1
                    angle = (wave * scores[:, i, j])[:, None]
                    few += angle.cos() * inner[head, at] + angle.sin() * inner[head, at + waves]
            out[:, i, part] = torch.einsum("ns,nsd->nd", few @ outer[head], v[:, :, part])
    exactly(module(x), module.get_submodule("out1")(out))


def test_kmeans_attention_takes_each_place_once() -> None:
    module = trained_statistics(double(word("kmeans_attention", 3, 4), (5, 2, 3)))
    x = normal(2, 5, 2, 3)
    centres = module.get_parameter("centres1")
    key, value = (module.get_submodule(f"{name}1")(x).flatten(2) for name in ("key", "value"))
    taken = torch.zeros(2, 3, 4, dtype=torch.float64)
    for n in range(2):
        for place in range(6):
            nearest = int((centres @ key[n, :, place]).argmax())
            taken[n, nearest] += value[n, :, place]
    rows = module.get_submodule("linear1")(taken)
    exactly(module(x), module.get_submodule("norm1")(rows.mT).mT + centres)


def test_a_transformer_in_a_transformer_is_its_two_streams() -> None:
    """Each stream's step is torch's encoder layer without bias on q, k, v; patches hear their words in between."""
    d, inner, heads, inner_heads, patch, words = 12, 4, 3, 2, 4, 2
    module = double(word("tnt", 2, d, inner, heads, inner_heads, patch, words), (3, 8, 12))
    x = normal(2, 3, 8, 12)

    def layer(stream: nn.Module, width: int, count: int) -> nn.TransformerEncoderLayer:
        made = nn.TransformerEncoderLayer(width, count, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        state = stream.state_dict()
        names = {
            f"{part}{n}.{kind}": f"{part}{n}.{kind}" for part in ("linear", "norm") for n in (1, 2) for kind in KINDS
        }
        names |= {f"self_attn.out_proj.{kind}": f"out.{kind}" for kind in KINDS}
        loaded = {theirs: state[ours] for theirs, ours in names.items()}
        loaded |= {"self_attn.in_proj_weight": state["qkv.weight"], "self_attn.in_proj_bias": torch.zeros(3 * width)}
        made.double().load_state_dict(loaded)
        return made.eval()

    image = module.get_submodule("conv1")(x)
    patches = [image[:, :, i : i + words, j : j + words] for i in range(0, 4, words) for j in range(0, 6, words)]
    small = torch.stack([one.flatten(2).mT for one in patches], 1) + module.get_parameter(
        "place1"
    )  # (N, patches, words, d)
    joined = module.get_submodule("linear1")(module.get_submodule("norm1")(small.flatten(2)))
    large = torch.cat([module.get_parameter("token1").expand(2, -1, -1), module.get_submodule("norm2")(joined)], 1)
    large = large + module.get_parameter("place2")
    for number in (1, 2):
        block = module.get_submodule(f"block{number}")
        small = layer(block.get_submodule("inside"), inner, inner_heads)(small.flatten(0, 1)).unflatten(0, (2, -1))
        said = block.get_submodule("norm2")(block.get_submodule("join")(block.get_submodule("norm1")(small.flatten(2))))
        large = torch.cat([large[:, :1], large[:, 1:] + said], 1)
        large = layer(block.get_submodule("outside"), d, heads)(large)
    exactly(module(x), large, 1e-10)


KINDS = ("weight", "bias")


def test_cross_attention_is_torchs_own_from_learned_rows() -> None:
    module, x = double(word("cross_attention", 2, 3), (7, 6)), normal(4, 7, 6)
    theirs = nn.MultiheadAttention(6, 2, batch_first=True).double()
    state = module.state_dict()
    loaded = {f"in_proj_{kind}": torch.cat([state[f"query1.{kind}"], state[f"pair1.{kind}"]]) for kind in KINDS}
    theirs.load_state_dict(loaded | {f"out_proj.{kind}": state[f"out1.{kind}"] for kind in KINDS})
    rows = module.get_parameter("queries1").expand(4, -1, -1)
    exactly(module(x), theirs(rows, x, x)[0])


@pytest.mark.parametrize("reduce", [1, 2])
def test_pooled_attention_is_torchs_own_to_means_of_places(reduce: int) -> None:
    """In reading order so many after one another, then batch norm; of one place each, the places themselves."""
    c, h, w = 6, 4, 6
    module, x = double(word("pooled_attention", 2, reduce), (c, h, w)), normal(2, c, h, w)
    rows = x.flatten(2).mT
    few = rows
    if reduce > 1:
        norm = module.get_submodule("norm1")
        norm.get_buffer("running_mean").normal_()
        norm.get_buffer("running_var").uniform_(0.5, 2)
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        few = torch.stack([rows[:, at : at + reduce**2].mean(1) for at in range(0, h * w, reduce**2)], 1)
        few = (few - mean) / (variance + 1e-5).sqrt()
    theirs = nn.MultiheadAttention(c, 2, batch_first=True).double()
    state = module.state_dict()
    loaded = {f"in_proj_{kind}": torch.cat([state[f"query1.{kind}"], state[f"pair1.{kind}"]]) for kind in KINDS}
    theirs.load_state_dict(loaded | {f"out_proj.{kind}": state[f"out1.{kind}"] for kind in KINDS})
    exactly(module(x), theirs(rows, few, few)[0].mT.unflatten(2, (h, w)))


def test_attention_to_slots_is_a_loop_over_them() -> None:
    slots, width = 5, 4
    module, x = double(word("pattention", slots, width), (3, 6)), normal(2, 3, 6)
    keys, values = (module.get_parameter(f"{name}1") for name in ("keys", "values"))
    scores = torch.stack([(x * key).sum(2) for key in keys], 2)
    scores = F.gelu(scores / scores.square().sum(2, keepdim=True).sqrt() * slots**0.5)
    exactly(module(x), sum((scores[:, :, n, None] * values[:, n] for n in range(slots)), torch.zeros(())))


# -- recurrences ------------------------------------------------------------------------------------------------------


def test_a_state_space_layer_is_its_plain_loop() -> None:
    """Mamba's: a causal convolution, steps, memory and gate, from the layer's own weights."""
    state, expand, kernel, steps, d = 3, 2, 2, 6, 4
    module, x = double(word("selective_scan", state, expand, kernel), (steps, d)), normal(2, steps, d)
    made = {name: module.get_submodule(f"{name}1") for name in ("enter", "choose", "step", "leave")}
    inner, gate = made["enter"](x).chunk(2, 2)
    weight, bias = (module.get_parameter(f"conv1.{kind}") for kind in KINDS)
    decay, skip = -module.get_parameter("decay1").exp(), module.get_parameter("skip1")
    memory, outputs = torch.zeros(2, expand * d, state, dtype=torch.float64), []
    for t in range(steps):
        seen = bias + sum(weight[:, 0, kernel - 1 - back] * inner[:, t - back] for back in range(kernel) if back <= t)
        u = seen * torch.sigmoid(seen)
        low, b, c = made["choose"](u).split([1, state, state], 1)
        step = torch.log1p(made["step"](low).exp())
        memory = torch.exp(step[:, :, None] * decay) * memory + (step * u)[:, :, None] * b[:, None]
        outputs.append((memory @ c[:, :, None])[:, :, 0] + skip * u)
    exactly(module(x), made["leave"](torch.stack(outputs, 1) * F.silu(gate)), 1e-10)


def test_both_ways_are_a_part_forwards_and_another_backwards() -> None:
    module = network.build(composed("tokens;bothways(add,linear(16))")).double()
    x, parts = normal(2, 8, 6, 6), [module.get_submodule(f"linear{n}") for n in (1, 2)]
    rows = x.flatten(2).mT
    backwards = torch.stack([parts[1](rows[:, t]) for t in reversed(range(36))], 1)
    exactly(module(x), parts[0](rows) + torch.stack([backwards[:, 35 - t] for t in range(36)], 1))


def test_a_highway_carries_what_its_gate_leaves() -> None:
    module, x = network.build(composed("tokens;highway(linear(8))")).double(), normal(2, 8, 6, 6)
    rows = x.flatten(2).mT
    gate = torch.sigmoid(module.get_submodule("carry1")(rows))
    exactly(module(x), gate * module.get_submodule("linear1")(rows) + (1 - gate) * rows)


def test_a_diagonal_lstm_is_its_plain_loop() -> None:
    d, heads, steps = 6, 2, 5
    module, x = double(word("lstm_diag", heads), (steps, d)), normal(3, steps, d)
    weight, state, bias, peep = (module.get_parameter(f"{name}1") for name in ("weight", "state", "bias", "peep"))
    with torch.no_grad():
        peep.normal_()
    h, cell, states = torch.zeros(3, d, dtype=torch.float64), torch.zeros(3, d, dtype=torch.float64), []
    for t in range(steps):
        parts = x[:, t].chunk(heads, 1)
        f, g, o = (torch.cat([p @ weight[n, k] for k, p in enumerate(parts)], 1) + bias[n] for n in range(3))
        forget = torch.sigmoid(f + state[0] * h + peep[0] * cell)
        cell = forget * cell + (1 - forget) * torch.tanh(g + state[1] * h)
        h = torch.sigmoid(o + state[2] * h + peep[1] * cell) * torch.tanh(cell)
        states.append(h)
    exactly(module(x), torch.stack(states, 1))


def test_a_recurrent_highway_is_its_plain_loop() -> None:
    width, depth, steps = 4, 3, 5
    module, x = double(word("rhn", width, depth), (steps, 6)), normal(2, steps, 6)
    layers = [module.get_submodule(f"step{n}") for n in range(1, depth + 1)]
    h, states = torch.zeros(2, width, dtype=torch.float64), []
    for t in range(steps):
        for n, layer in enumerate(layers):
            seen = layer(h) + (module.get_submodule("enter1")(x[:, t]) if n == 0 else 0)
            gate = torch.sigmoid(seen[:, width:])
            h = gate * torch.tanh(seen[:, :width]) + (1 - gate) * h
        states.append(h)
    exactly(module(x), torch.stack(states, 1))


@pytest.mark.parametrize(("name", "made"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_a_recurrent_layer_is_torchs_own(name: str, made: Callable[..., nn.Module]) -> None:
    ours, theirs = double(word(name, 4), (7, 6)), made(6, 4, batch_first=True).double()
    theirs.load_state_dict({key.partition(".")[2]: value for key, value in ours.state_dict().items()})
    x = normal(3, 7, 6)
    exactly(ours(x), theirs(x)[0])


def test_a_block_around_a_recurrence_reads_nothing_from_later_rows() -> None:
    module, x = double(word("rnn_block", 2), (9, 4)), normal(1, 9, 4)
    other = x.clone()
    other[:, 5:] += 1
    before, after = module(x), module(other)
    exactly(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (2, 2), (5, 1), (7, 4), (6, 3)])
def test_an_upwards_convolution_spreads_each_place(kernel: int, stride: int) -> None:
    """A plain loop; of what is too much as much goes on the right as on the left, or one less."""
    c, h, w, width = 2, 3, 4, 3
    module, x = double(word("conv_up", width, kernel, stride), (c, h, w)), normal(2, c, h, w)
    weight, bias = (module.get_parameter(f"conv1.{kind}") for kind in KINDS)
    out = torch.zeros(2, width, (h + 1) * stride + kernel, (w + 1) * stride + kernel, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            at = (
                slice(None),
                slice(None),
                slice(i * stride, i * stride + kernel),
                slice(j * stride, j * stride + kernel),
            )
            out[at] += torch.einsum("nc,coab->noab", x[:, :, i, j], weight)
    cut = (kernel - stride + 1) // 2
    exactly(module(x), out[:, :, cut : cut + h * stride, cut : cut + w * stride] + bias[:, None, None])


def test_an_upwards_convolution_that_keeps_the_size_has_an_odd_kernel() -> None:
    with pytest.raises(ValueError, match="with a stride of 1 the kernel is odd, not 4"):
        word("conv_up", 8, 4, 1)


@pytest.mark.parametrize("shape", [(5, 6), (6, 4, 5)])
def test_a_response_norm_compares_a_channel_with_the_mean_of_all(shape: tuple[int, ...]) -> None:
    module, x = double(word("grn"), shape), normal(3, *shape)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    scale, shift = (module.get_parameter(f"{name}1").flatten() for name in ("scale", "shift"))
    rows = x.flatten(2).mT if len(shape) == 3 else x  # (N, places, channels)
    length = rows.square().sum(1).sqrt()
    expected = rows + scale * rows * (length / (length.mean(1, keepdim=True) + 1e-6))[:, None] + shift
    exactly(module(x).flatten(2).mT if len(shape) == 3 else module(x), expected)


@pytest.mark.parametrize("shape", [(6,), (5, 6)])
def test_rms_norm_is_torchs_own(shape: tuple[int, ...]) -> None:
    module, x = double(word("rms_norm"), shape), normal(3, *shape)
    with torch.no_grad():
        module.get_parameter("scale1").normal_()
    exactly(module(x), F.rms_norm(x, (6,), module.get_parameter("scale1"), 1e-6))


def test_a_perceptron_of_maxima_sees_the_tokens_around() -> None:
    """A plain loop over a square of tokens; of an image the same with the same weights."""
    side, d, expand = 4, 5, 2
    module, x = double(word("max_mixer", expand), (side * side, d)), normal(2, side * side, d)
    wide, back = (module.get_submodule(f"linear{n}") for n in (1, 2))
    hidden = F.gelu(wide(x)).reshape(2, side, side, -1)
    out = torch.stack(
        [
            back(F.gelu(hidden[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].amax((1, 2))))
            for i in range(side)
            for j in range(side)
        ],
        1,
    )
    exactly(module(x), out)
    image = double(word("max_mixer", expand), (d, side, side))
    state = {
        f"conv{n}.{kind}": module.get_parameter(f"linear{n}.{kind}")[(..., None, None) if kind == "weight" else ...]
        for n in (1, 2)
        for kind in KINDS
    }
    image.load_state_dict(state)
    exactly(image(x.mT.reshape(2, d, side, side)).flatten(2).mT, out)
    with pytest.raises(ShapeError, match="max_mixer: 7 rows are not the tokens of a square image"):
        word("max_mixer").shape((7, 6))


def test_fields_that_came_later_are_left_out_of_a_form_at_their_defaults() -> None:
    assert word("afno", 2, 0.01, 1.0).arguments() == (2, 0.01)
    assert word("afno", 2, 0.01, 0.5).arguments() == (2, 0.01, 0.5)
    image, column = (8, 8, 6), (9, 8)
    others = {
        ("glu", column): ((12, "silu"), (12, "silu", 0), (12, "silu", 1)),
        ("activator", column): ((12,), (12, 0), (12, 1)),
        ("se_bottleneck", image): ((8, 2), (8, 2, 4, 1), (8, 2, 4, 0)),
    }
    for (name, shape), (before, default, other) in others.items():
        keys = [alone(word(name, *arguments), shape).key for arguments in (before, default, other)]
        assert keys[0] == keys[1] != keys[2], name


@pytest.mark.parametrize("how", ["block", "grid"])
def test_a_spatial_gate_mixes_the_places_of_a_block_or_across_a_grid(how: str) -> None:
    size, (c, h, w) = 2, (6, 4, 6)
    module, x = double(word("spatial_gate", size, how), (c, h, w)), normal(2, c, h, w)
    u, v = x.chunk(2, 1)
    v = module.get_submodule("norm1")(v.movedim(1, 3)).movedim(3, 1)
    weight, bias = (module.get_parameter(f"linear1.{kind}") for kind in KINDS)
    mixed = torch.zeros_like(v)
    for i in range(h):
        for j in range(w):
            if how == "block":
                rows, columns = ([at // size * size + n for n in range(size)] for at in (i, j))
            else:
                rows, columns = (
                    [at % (side // size) + n * (side // size) for n in range(size)] for at, side in ((i, h), (j, w))
                )
            places = [(a, b) for a in rows for b in columns]
            mine = places.index((i, j))
            mixed[:, :, i, j] = bias[mine] + sum(weight[mine, n] * v[:, :, a, b] for n, (a, b) in enumerate(places))
    exactly(module(x), u * (mixed + 1))


def test_a_global_filter_is_numpys_product_of_frequencies() -> None:
    module, x = double(word("gfn"), (3, 4, 6)), normal(2, 3, 4, 6)
    weight = next(iter(module.parameters())).detach().numpy()
    found = np.fft.rfft2(x.numpy(), norm="ortho") * (weight[..., 0] + 1j * weight[..., 1])
    exactly(module(x), torch.from_numpy(np.fft.irfft2(found, s=(4, 6), norm="ortho")), 1e-6)


def test_bases_of_one_kind_are_numpys() -> None:
    """Chebyshev polynomials of tanh(x); cosines and sines; Gaussians beside silu(x)."""
    from numpy.polynomial.chebyshev import chebvander

    x = normal(7, 3)
    inputs = x.numpy()

    def summed(module: nn.Module, bases: list[Array], weight: str) -> Tensor:
        return torch.from_numpy(np.concatenate(bases, 1)) @ module.get_parameter(weight).T

    module = double(word("cheby_kan", 4, 3), (3,))
    exactly(module(x), summed(module, [chebvander(np.tanh(column), 3) for column in inputs.T], "weight1"))
    module = double(word("fourier_kan", 4, 3), (3,))
    waves = [np.outer(column, np.arange(1, 4)) for column in inputs.T]
    bases = [np.concatenate([np.cos(wave), np.sin(wave)], 1) for wave in waves]
    exactly(module(x), summed(module, bases, "linear1.weight") + module.get_parameter("linear1.bias"))
    module = double(word("rbf_kan", 4, 5), (3,))
    bases = [np.exp(-np.square(column[:, None] - np.linspace(-2, 2, 5))) for column in inputs.T]  # one apart
    exactly(module(x), F.silu(x) @ module.get_parameter("base1").T + summed(module, bases, "weight1"))


def test_random_features_are_numpys_and_stand_upright() -> None:
    module, x = double(word("snnk", 4, 10), (6,)), normal(7, 6)
    fixed, weight = module.get_buffer("features1"), module.get_parameter("weight1")
    expected = np.maximum(x.numpy() @ fixed.numpy().T, 0) / 10**0.5 @ weight.detach().numpy().T
    exactly(module(x), torch.from_numpy(expected))
    exactly(fixed[:6] @ fixed[:6].T, 6 * torch.eye(6, dtype=torch.float64), 1e-5)


def test_mixed_bases_are_scipys_and_numpys() -> None:
    from numpy.polynomial.chebyshev import chebvander
    from scipy.interpolate import BSpline

    module, x = double(word("kan_mix", 4), (3,)), torch.rand(7, 3, dtype=torch.float64) * 1.9 - 0.95
    shares = module.get_parameter("shares1")
    with torch.no_grad():
        shares.normal_()
    knots = module.get_buffer("knots1").numpy()
    weights = shares.softmax(0).detach().numpy()
    bases = []
    for column in x.numpy().T:
        waves = np.outer(column, np.arange(1, 5))
        radial = np.exp(-np.square((column[:, None] - np.linspace(-2, 2, 8)) * 7 / 4))
        parts = [BSpline.design_matrix(column, knots, 3).toarray(), chebvander(np.tanh(column), 4)]
        parts += [np.concatenate([np.cos(waves), np.sin(waves)], 1), radial]
        bases.append(np.concatenate([w * part for w, part in zip(weights, parts, strict=True)], 1))
    expected = torch.from_numpy(np.concatenate(bases, 1)) @ module.get_parameter("weight1").T
    exactly(module(x), expected, 1e-5)


class HandSwin(nn.Module):
    """Liu et al. 2021, figure 3b, with attention of a window that holds the whole image."""

    def __init__(self, c: int, heads: int, side: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.attention = nn.MultiheadAttention(c, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.bias, self.side, self.heads = torch.zeros((2 * side - 1) ** 2, heads, dtype=torch.float64), side, heads

    def forward(self, x: Tensor) -> Tensor:
        side, rows = self.side, x.flatten(2).mT
        mask = torch.zeros(self.heads, side * side, side * side, dtype=torch.float64)
        for i in range(side * side):
            for j in range(side * side):
                down, right = i // side - j // side + side - 1, i % side - j % side + side - 1
                mask[:, i, j] = self.bias[down * (2 * side - 1) + right]
        seen = self.norm1(rows)
        rows = rows + self.attention(seen, seen, seen, attn_mask=mask.repeat(len(x), 1, 1), need_weights=False)[0]
        rows = rows + self.linear2(F.gelu(self.linear1(self.norm2(rows))))
        return torch.reshape(rows.mT, x.shape)


def test_a_swin_block_is_the_one_written_by_hand() -> None:
    ours, theirs = double(word("swin_block", 2, 3, 0), (6, 3, 3)), HandSwin(6, 2, 3).double().eval()
    state = ours.state_dict()
    names = {"attention.in_proj_": "qkv1.", "attention.out_proj.": "out1.", "norm1.": "norm1.", "norm2.": "norm2."}
    loaded = {t + k: state[o + k] for t, o in names.items() for k in KINDS}
    for n in (1, 2):
        loaded |= {f"linear{n}.weight": state[f"conv{n}.weight"][:, :, 0, 0], f"linear{n}.bias": state[f"conv{n}.bias"]}
    theirs.load_state_dict(loaded)
    theirs.bias = state["bias1"]
    x = normal(2, 6, 3, 3)
    exactly(ours(x), theirs(x))


def test_a_woven_stack_mixes_all_before_it() -> None:
    module = network.build(composed("tokens;weave(linear(8):linear(8))")).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    x = normal(2, 8, 6, 6)
    features = [x.flatten(2).mT]
    weights = [module.get_parameter(f"weave{n}") for n in (1, 2, 3)]
    for n in (1, 2):
        mixed = sum(w * f for w, f in zip(weights[n - 1], features, strict=True))
        features.append(module.get_submodule(f"linear{n}")(mixed))
    exactly(module(x), torch.stack([w * f for w, f in zip(weights[2], features, strict=True)]).sum(0))


def test_a_dense_part_is_a_branching_and_a_mean_half_a_sum() -> None:
    module, x = network.build(composed("dense(plain(16,1,1))")).double(), normal(2, 8, 6, 6)
    exactly(module(x), torch.cat([x, module.get_submodule("conv1")(x)], 1))
    module = network.build(composed("all(mean:plain(8,1,1):plain(8,1,1))")).double()
    exactly(module(x), (module.get_submodule("conv1")(x) + module.get_submodule("conv2")(x)) / 2)


# -- cells ------------------------------------------------------------------------------------------------------------


def cells_of(**changed: Any) -> Any:
    return NAMES["darts"](**{"normal": GENOTYPE, "reduction": GENOTYPE, "channels": 4, "layers": 3} | changed)


def test_the_order_of_a_nodes_edges_is_no_difference_and_all_else_is() -> None:
    """Two edges of a node are added; operations, sources, sizes and the stem tell networks apart."""
    edges = [("sep_conv_3x3", 0), ("max_pool_3x3", 1)] * 4
    swapped = [edge for pair in zip(edges[1::2], edges[::2], strict=True) for edge in pair]
    moved = [*edges[:6], ("sep_conv_3x3", 4), edges[7]]
    shape = (3, 16, 16)
    assert alone(cells_of(normal=genotype(*edges)), shape).key == alone(cells_of(normal=genotype(*swapped)), shape).key
    others = [cells_of(), cells_of(normal=genotype(*edges)), cells_of(normal=genotype(*moved)), cells_of(channels=6)]
    others += [cells_of(layers=4), cells_of(stem="imagenet"), cells_of(reduction=genotype(*edges))]
    assert len({alone(one, shape).key for one in others}) == len(others)


def test_a_cell_reads_only_what_is_there() -> None:
    with pytest.raises(ValueError, match="node 2 cannot read 2"):
        genotype(("sep_conv_3x3", 2), *[("sep_conv_3x3", 0)] * 7)


def test_a_cell_is_the_graph_it_says() -> None:
    """A stem and one cell that halves, of pools and skips, by hand: the entries, four sums, side by side."""
    cell = genotype(
        ("max_pool_3x3", 0), ("skip_connect", 1), ("avg_pool_3x3", 2), ("skip_connect", 0),
        ("skip_connect", 3), ("max_pool_3x3", 1), ("avg_pool_3x3", 4), ("skip_connect", 2),
    )  # fmt: skip
    architecture = alone(cells_of(normal=cell, reduction=cell, layers=1), (3, 6, 6))
    module = trained_statistics(network.build(architecture).double().eval())
    x = normal(2, 3, 6, 6)
    stem = module.get_submodule("norm1")(module.get_submodule("conv1")(x))
    states = [module.get_submodule(f"norm{n}")(module.get_submodule(f"conv{n}")(stem.relu())) for n in (2, 3)]

    def reduced(at: int, norm: int) -> Tensor:
        """The factorised reduction whose first convolution is so numbered, of one of the entries."""
        source = states[1 if norm == 4 else 0].relu()
        halves = [
            module.get_submodule(f"conv{at}")(source),
            module.get_submodule(f"conv{at + 1}")(source[:, :, 1:, 1:]),
        ]
        out: Tensor = module.get_submodule(f"norm{norm}")(torch.cat(halves, 1))
        return out

    pool = F.max_pool2d(states[0], 3, 2, 1) + reduced(4, 4)
    second = F.avg_pool2d(pool, 3, 1, 1, count_include_pad=False) + reduced(6, 5)
    third = second + F.max_pool2d(states[1], 3, 2, 1)
    fourth = F.avg_pool2d(third, 3, 1, 1, count_include_pad=False) + pool
    exactly(module(x), torch.cat([pool, second, third, fourth], 1))


# -- a whole network --------------------------------------------------------------------------------------------------


class HandResNet50(nn.Module):
    """He et al. 2016, table 1, with the stride at the 3x3; each block's projection behind its other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64))
        self.blocks = nn.ModuleList()
        before = 64
        for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for number in range(count):
                stride = 2 if number == 0 and width > 64 else 1
                sizes = [(before, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
                if number == 0:
                    sizes.append((before, 4 * width, 1, stride))
                self.blocks.append(
                    nn.ModuleList(
                        nn.Sequential(nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b))
                        for a, b, k, s in sizes
                    )
                )
                before = 4 * width
        self.head = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x).relu(), 3, 2, 1)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            first, second, third, *side = block
            added = third(second(first(x).relu()).relu())
            x = (added + (side[0](x) if side else x)).relu()
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def test_resnet_50_is_the_one_written_by_hand() -> None:
    architecture = seed_of(row_of("resnet50"), (3, 64, 64))
    ours, theirs = trained_statistics(network.build(architecture).double().eval()), HandResNet50().double().eval()
    state = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state, strict=True)))
    x = normal(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-9, atol=1e-12)
