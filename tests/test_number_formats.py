"""Number formats and sparsity: against torch's casts, fake quantisation and sparse format; and in the source."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

from evosearch import grammar, network
from evosearch.architecture import Architecture, Space
from evosearch.evaluation.fit import train
from evosearch.evaluation.recipe import DIGITS, Recipe
from evosearch.layers.builder import weighted
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.modifiers import named
from evosearch.space import open_space
from tests.test_training import digits

GRAMMAR = """\
// input: image
start: net
net: step (";" step)* -> chain
?step: "as" "(" FORMAT ";" net ")" -> as_format
     | "conv" "(" WIDTH "," KERNEL ")" -> conv_norm_relu
     | "basic" "(" WIDTH "," STRIDE ")" -> basic_block
     | "pool" -> max_pool2
     | "gap" -> global_pool
     | "linear" "(" WIDTH ")" -> linear
FORMAT: "w8a8" | "w4a8" | "e4m3" | "e5m2" | "2:4" | "sparse0.9" | "random0.9"
WIDTH: "8" | "16" | "32"
KERNEL: "3"
STRIDE: "1"
"""
FORMATS = ("w8a8", "w4a8", "e4m3", "e5m2", "2:4", "sparse0.9", "random0.9")
BODY = "conv(16,3);pool;conv(32,3);gap;linear(32)"


@cache
def there() -> Space:
    return open_space(grammar.loads(GRAMMAR, "formats"), input=(1, 8, 8), head=MeanLinear(10))


def read(text: str) -> Architecture:
    return there().read(there().parse(text))


def module(format: str, layer: str) -> nn.Module:
    """The module that a format puts in the place of a layer, from its sources alone."""
    modifier = named(format)
    names: dict[str, Any] = {"__name__": "written", "torch": torch, "nn": nn, "F": nn.functional}
    for source in modifier.sources:
        exec(source, names)
    made: nn.Module = eval(modifier.code(layer), names)  # noqa: S307 - ours, as a source has it
    return made


# -- the numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "seed"), [(8, 0), (8, 1), (4, 2), (2, 3)])
def test_whole_numbers_are_torch_s_fake_quantisation(bits: int, seed: int) -> None:
    """Weights in evaluation mode, bit for bit, channel by channel."""
    torch.manual_seed(seed)
    made: Any = module(f"w{bits}a8", "nn.Conv2d(3, 16, 3)").eval()
    weight, top = made.layer.weight, 2 ** (bits - 1) - 1
    steps = made.step.detach().flatten()
    expected = torch.fake_quantize_per_channel_affine(weight, steps, torch.zeros(16, dtype=torch.int32), 0, -top, top)
    assert torch.equal(made.weight, expected)
    assert len(torch.unique(made.weight[0] / steps[0])) <= 2 * top + 1
    made.limit.fill_(1.7)
    x = torch.randn(5, 3, 8, 8)
    expected = torch.fake_quantize_per_tensor_affine(x, float(made.limit / 127), 0, -127, 127)
    assert torch.equal(made.of_input(x), expected)


@pytest.mark.parametrize(("name", "dtype"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)])
def test_eight_bit_floats_are_torch_s_casts(name: str, dtype: torch.dtype) -> None:
    """Bit for bit on every float16 there is within the range, and on what is beyond: the largest one."""
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    every = every[torch.isfinite(every)]
    largest = {"e4m3": 448.0, "e5m2": 57344.0}[name]
    made: Any = module(name, "nn.Linear(4, 4)").eval()
    names = made.of_input.__globals__
    found = names["on_floats"](every, torch.ones(()), dtype, largest)
    assert torch.equal(found, every.clamp(-largest, largest).to(dtype).float())
    assert len(torch.unique(found)) == {"e4m3": 253, "e5m2": 247}[name]  # of 256 codes: no NaN, no infinity, one zero


def test_a_learned_step_has_lsq_s_gradient() -> None:
    """d/ds of clamp(round(w / s)) s: round(w/s) - w/s inside, the bound outside (Esser et al. 2020, equation 3)."""
    made: Any = module("w4a8", "nn.Linear(6, 2)").eval()
    with torch.no_grad():
        made.layer.weight.copy_(torch.tensor([[0.1, -0.26, 0.33, 9.0, -9.0, 0.0]] * 2))
        made.step.fill_(0.1)
    made.weight.sum().backward()
    w = made.layer.weight.detach()[0] / 0.1
    inside = w.abs() <= 7
    expected = torch.where(inside, w.round() - w, 7 * w.sign()).sum()
    assert made.step.grad.flatten().tolist() == pytest.approx([float(expected)] * 2, abs=1e-5)
    assert made.layer.weight.grad[0].tolist() == inside.float().tolist()


@pytest.mark.parametrize(("rows", "columns", "seed"), [(64, 64, 0), (128, 32, 1)])
def test_two_of_four_is_what_torch_compresses(rows: int, columns: int, seed: int) -> None:
    """Torch's own format for sparse tensor cores holds it without loss, which it does of no other matrix."""
    torch.manual_seed(seed)
    made: Any = module("2:4", f"nn.Linear({columns}, {rows})").eval()
    masked = made.weight.detach().half()
    assert torch.equal(_compressed(masked), masked)
    dense = made.layer.weight.detach().half()
    assert not torch.equal(_compressed(dense), dense)
    groups = masked.reshape(-1, 4)
    kept = dense.reshape(-1, 4).abs()
    assert ((groups != 0).sum(1) == 2).all()
    assert torch.equal(groups.abs().sum(1), kept.topk(2, 1).values.sum(1))  # the largest two


def _compressed(dense: Tensor) -> Tensor:
    pack: Any = sparse_semi_structured_from_dense_cutlass
    unpack: Any = sparse_semi_structured_to_dense_cutlass
    found: Tensor = unpack(*pack(dense))
    return found


def test_masks_of_convolutions_lie_along_the_input_channels() -> None:
    made: Any = module("2:4", "nn.Conv2d(8, 4, 3)").eval()
    kept = (made.weight != 0).movedim(1, -1).reshape(-1, 4).sum(1)
    assert (kept == 2).all()


def test_sr_ste_by_hand() -> None:
    """The gradient reaches every weight; those that are masked are drawn to 0 by 2e-4 of what they are."""
    made: Any = module("1:2", "nn.Linear(4, 1, bias=False)").train()
    with torch.no_grad():
        made.layer.weight.copy_(torch.tensor([[3.0, 1.0, -0.5, 2.0]]))
    made(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert made.weight.tolist() == [[3.0, 0.0, 0.0, 2.0]]
    assert made.layer.weight.grad.tolist()[0] == pytest.approx([1.0, 2.0 + 2e-4, 3.0 - 1e-4, 4.0], abs=1e-6)


@pytest.mark.parametrize("format", ["sparse0.9", "random0.9"])
def test_masks_leave_their_share(format: str) -> None:
    """A tenth; the largest ones, or ones that had nothing to do with size and stay."""
    made: Any = module(format, "nn.Linear(100, 50)").eval()
    left = made.weight != 0
    assert int(left.sum()) == 500
    smallest = made.layer.weight.abs()[left].min()
    assert bool(smallest >= made.layer.weight.abs()[~left].max()) == (format == "sparse0.9")


def signal_to_noise(x: Tensor, rounded: Any) -> float:
    """In dB, at the clipping that makes it largest."""

    def noise(log_limit: float) -> float:
        return float((rounded(x, 2**log_limit) - x).square().sum())

    best = min(
        float(minimize_scalar(noise, bounds=(low, low + 3), method="bounded", options={"xatol": 0.02}).fun)
        for low in (-2, 1, 4, 7)
    )
    return float(10 * np.log10(float(x.square().sum()) / best))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drawn", "int8", "e4m3", "e5m2"),
    [("uniform", 48.1, 32.1, 26.3), ("gaussian", 40.8, 31.6, 25.6), ("student", 14.8, 32.3, 26.0)],
)
def test_signal_to_noise_is_what_was_found_by_simulation(drawn: str, int8: float, e4m3: float, e5m2: float) -> None:
    """2e5 numbers, best clipping: no more noise than there, by 0.3 dB; of Gaussian numbers no less either.

    The clipping that is found here is a little better for E5M2 on uniform numbers; of Student's t with two degrees the
    largest numbers decide, and they are others with each draw.
    """
    rng = np.random.default_rng(0)
    draws = {"uniform": rng.uniform(-1, 1, 200_000), "gaussian": rng.normal(size=200_000)}
    x = torch.from_numpy(draws.get(drawn, rng.standard_t(2, 200_000))).float()
    integers: Any = module("w8a8", "nn.Linear(4, 4)")
    floats: Any = module("e4m3", "nn.Linear(4, 4)")
    grid: Any = integers.of_input.__globals__["on_grid"]
    on_floats: Any = floats.of_input.__globals__["on_floats"]
    found = {int8: signal_to_noise(x, lambda x, c: grid(x, torch.tensor(c / 127), 127))}
    for expected, dtype, largest in ((e4m3, torch.float8_e4m3fn, 448.0), (e5m2, torch.float8_e5m2, 57344.0)):

        def rounded(x: Tensor, limit: float, dtype: torch.dtype = dtype, largest: float = largest) -> Any:
            return on_floats(x, torch.tensor(limit / largest), dtype, largest)

        found[expected] = signal_to_noise(x, rounded)
    print(f"{drawn}: " + ", ".join(f"{measured:.2f} ({expected})" for expected, measured in found.items()), end=" dB ")
    for expected, measured in found.items():
        assert measured >= expected - (0.6 if drawn == "student" else 0.3)
        assert drawn != "gaussian" or measured <= expected + 0.3


# -- in a network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_in_a_format_is_plain_pytorch(format: str, tmp_path: Path) -> None:
    """Its source needs torch alone and computes what the built network does; its parameters are those of the cost."""
    one = read(f"as({format};{BODY})")
    built = network.build(one).train()
    built(torch.randn(8, 1, 8, 8))  # a format of inputs sees some
    built.eval()
    names: dict[str, Any] = {"__name__": "written"}
    exec(compile(network.source(one), "<written>", "exec"), names)
    again = names["Network"]()
    again.load_state_dict(built.state_dict())
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), built(x))
    assert sum(p.numel() for p in built.parameters()) == one.cost.params
    plain = read(BODY)
    assert one.key != plain.key
    assert one.cost.flops == plain.cost.flops
    assert one.cost.bytes < plain.cost.bytes
    assert one.cost.bitops < plain.cost.bitops


def test_bytes_and_bit_operations_by_hand() -> None:
    """One convolution of 16 x 3 x 3 weights at 64 places, in 4 bits with inputs of 8; what the rest takes in 32."""
    one, plain = read("as(w4a8;conv(16,3))"), read("conv(16,3)")
    assert plain.cost.bytes - one.cost.bytes == 16 * 9 * 28 // 8 - 4 * 16  # a step for each channel
    assert plain.cost.bitops - one.cost.bitops == 16 * 9 * 64 * (32 * 32 - 4 * 8)
    sparse = read("as(2:4;conv(16,3);conv(16,3))")
    assert read("conv(16,3);conv(16,3)").cost.bitops - sparse.cost.bitops == 16 * 9 * 17 * 64 * 512


def test_an_outer_format_holds_and_blocks_have_their_own_class() -> None:
    """Of two formats the outer one; a repeated block under a format is another class than the same one without."""
    nested = read("as(w4a8;conv(8,3);as(w8a8;conv(8,3)))")
    flat = read("as(w4a8;conv(8,3);conv(8,3))")
    assert nested.cost == flat.cost
    assert network.source(nested).split('"""')[2:] == network.source(flat).split('"""')[2:]
    mixed = read("conv(8,3);basic(8,1);basic(8,1);as(w4a8;basic(8,1);basic(8,1))")
    source = network.source(mixed)
    assert source.count("class BasicBlock") == 2
    assert sum(p.numel() for p in network.build(mixed).parameters()) == mixed.cost.params


def test_segments_of_a_network_in_a_format_compute_what_it_does() -> None:
    for one in (read(f"as(w4a8;{BODY})"), _whole("w4a8")):
        torch.manual_seed(0)
        whole = network.build(one)
        torch.manual_seed(0)
        pieces = network.segments(one)
        x = torch.randn(4, 1, 8, 8)
        expected = whole(x)
        for piece in pieces:
            x = piece(x)
        assert torch.equal(x, expected)


def _whole(format: str) -> Architecture:
    space = open_space(there().grammar, input=(1, 8, 8), head=MeanLinear(10), format=format)
    return space.read(space.parse(BODY))


def test_a_format_of_the_whole_network_takes_in_the_head() -> None:
    """As `recipe.modifier` has it; the key is the network's own, for the recipe's digest says the format."""
    one = _whole("w8a8")
    assert one.key == read(BODY).key
    assert "self.head = FormattedInt(nn.Linear(32, 10), 8, 8)" in network.source(one)
    assert sum(p.numel() for p in network.build(one).parameters()) == one.cost.params
    assert Recipe(modifier="w8a8").digest() != Recipe().digest()
    assert one.memory < read(BODY).memory / 3


@pytest.mark.parametrize(
    ("code", "weights"),
    [
        ("nn.Linear(64, 10)", 640),
        ("nn.Conv2d(8, 16, 3, padding=1, bias=False)", 1152),
        ("nn.Conv2d(8, 8, 5, padding=2, groups=8)", 200),
        ("nn.Conv1d(4, 6, (3,))", 72),
        ("nn.Conv2d(4, 6, (1, 7))", 168),
    ],
)
def test_weights_are_counted_from_the_code_that_makes_them(code: str, weights: int) -> None:
    """As torch counts them."""
    found = weighted(code)
    assert found is not None
    weight = eval(code, {"nn": nn}).weight  # noqa: S307 - one of the lines above
    assert found == (weights, len(weight))
    assert weights == weight.numel()
    assert weighted("nn.BatchNorm2d(8)") is None


@pytest.mark.slow
@pytest.mark.parametrize(("format", "lost"), [("w8a8", 0.01), ("w4a8", 0.01), ("2:4", 0.01), ("e4m3", 0.01)])
def test_digits_are_learned_in_a_format(format: str, lost: float) -> None:
    """Trained in it, at most a point of validation accuracy is lost, mean of three seeds.

    Of 32 channels: in a network of 16, whose first layer has nine weights a channel, 2:4 loses two points.
    """
    body, values = "conv(32,3);pool;conv(32,3);conv(32,3);gap;linear(32)", {}
    for one in (read(body), read(f"as({format};{body})")):
        scores = [train(partial(network.build, one), digits(), DIGITS, seed=s).metric for s in range(3)]
        values[one.text] = float(np.mean(scores))
    plain, formatted = values.values()
    print(f"{format}: {formatted:.4f}, plain {plain:.4f}", end=" ")
    assert formatted >= plain - lost
