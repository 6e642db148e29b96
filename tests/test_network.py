"""The module that is built: what was predicted of it, against torch's own counts and hand-written networks."""

from __future__ import annotations

import math
import subprocess
import sys
import traceback
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone gives it
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from evosearch import grammar, network
from evosearch.architecture import Architecture, Limits, Space
from evosearch.ensemble import Averaging, Ensemble
from evosearch.errors import ExportError, LayerError, UsageError
from evosearch.layers import vocabulary
from evosearch.layers.base import Leaf, Shape, WrittenLeaf
from evosearch.layers.builder import Builder
from evosearch.layers.library import NAMES
from evosearch.layers.library.activations import LeakyReLU
from evosearch.layers.library.combinators import Branching, Chain, Sequential
from evosearch.layers.library.linear import Linear
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.layers.library.merges import Add
from evosearch.layers.library.norm import Norm
from evosearch.layers.library.norms import RMSNorm
from evosearch.layers.library.routing import IM2COL, Col2im, Im2col, Routing
from evosearch.layers.library.splits import Clone
from evosearch.layers.node import Node
from evosearch.layers.writing import write
from tests.spaces import SHAPES, headed, samples, seed, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evosearch.layers.base import Emission

SMALL = Limits(max_params=500_000, max_activations=400_000, max_modules=200)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def check_predictions(architecture: Architecture, *, device: str = "cpu") -> None:
    """Builds it without a head and runs a batch of two: parameters, output shape and FLOPs are those predicted.

    torch's counter counts linear layers, convolutions and matrix products, which are all that Cost.flops counts;
    attention's where it is not one fused kernel.
    """
    with torch.device(device):
        module = network.build(architecture).eval()
        x = torch.zeros(2, *architecture.input)
    plain = torch.backends.mkldnn.flags(enabled="lstm" not in architecture.text)  # whose LSTM counts as nothing
    with plain, FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        output = module(x)
    cost = architecture.cost
    assert tuple(output.shape) == (2, *architecture.output), architecture.text
    assert parameters(module) == cost.params, architecture.text
    assert counter.get_total_flops() == 2 * cost.flops, architecture.text


# -- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("einspace", 30),
        ("einspace_1d", 30),
        ("tiny_cnn", 20),
        ("mlp", 20),
        ("images", 15),
        ("series", 20),
        ("tables", 20),
        ("convnets", 8),
        ("mobile", 8),
        ("vit", 8),
        ("hybrid", 5),
        ("sequence", 15),
        ("tdnn", 8),
        ("tabular", 20),
    ],
)
def test_samples_cost_and_put_out_what_was_predicted(name: str, count: int) -> None:
    for architecture in samples(name, count, limits=SMALL):
        check_predictions(architecture)


@pytest.mark.parametrize("name", ["nasbench201", "nasnet", "ofa_mbv3"])
def test_networks_that_are_large_at_any_size_cost_what_was_predicted(name: str) -> None:
    for architecture in samples(name, 2):
        check_predictions(architecture, device="meta")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("name", SHAPES)
def test_five_thousand_samples_cost_and_put_out_what_was_predicted(name: str, part: int) -> None:
    """A thousand in each part. They render, parse back to themselves, build, and run; the large ones without memory, on
    the meta device."""
    shape = (3, 8, 8) if name == "nasbench201" else SHAPES[name]  # its networks have hundreds of layers at any size
    there = space(name, shape)
    within = Limits(max_params=5_000_000, max_activations=4_000_000)
    for architecture in samples(name, 1_000, shape=shape, seed=part):
        assert there.parse(architecture.text) is architecture.derivation
        check_predictions(architecture, device="cpu" if within.exceeded(architecture.cost) is None else "meta")


FURTHER = """
// input: image
start: block
?block: "chain" "(" block ("," block)* ")"       -> chain
      | "repeat" "(" TIMES "," block ")"         -> repeat
      | "residual" "(" block ")"                 -> residual
      | "conv" "(" WIDTH "," KERNEL ")"          -> conv
      | "strided" "(" WIDTH "," KERNEL "," STRIDE ")" -> conv
      | "depthwise" "(" KERNEL ")"               -> depthwise
      | "head" "(" WIDTH ")"                     -> mean_linear
      | "smooth" "(" KERNEL ")"                  -> smooth
      | "max" "(" STRIDE ")"                     -> max_pool
      | "avg" "(" STRIDE ")"                     -> avg_pool
      | "relu" -> relu | "gelu" -> gelu | "silu" -> silu | "tanh" -> tanh
TIMES: "3"
WIDTH: "8" | "6"
KERNEL: "1" | "3" | "5"
STRIDE: "2"
"""


@pytest.mark.parametrize(
    "text",
    [
        "chain(conv(8,3),relu,depthwise(5),gelu,conv(6,1),silu)",
        "chain(strided(8,3,2),max(2),tanh,avg(2))",
        "residual(chain(repeat(3,chain(conv(8,3),relu)),conv(6,5)))",
        "repeat(3,chain(residual(smooth(3)),strided(8,3,2)))",
        "chain(smooth(5),repeat(3,repeat(3,depthwise(3))))",
        "chain(conv(8,3),relu,head(6))",
    ],
)
def test_the_layers_of_no_bundled_grammar_cost_what_was_predicted(text: str) -> None:
    read = grammar.loads(FURTHER, name="further.lark")
    there = Space(read, vocabulary(read), (6, 13, 11))
    architecture = there.read(there.parse(text))
    check_predictions(architecture)
    counted, _ = saved(network.build(architecture), torch.randn(4, 6, 13, 11, requires_grad=True))
    assert counted / 1.5 <= architecture.cost.activations <= 1.5 * counted
    exported = run_source(network.source(architecture))["Network"]()
    exported.load_state_dict(network.build(architecture).state_dict())


def words_of_grammars() -> set[str]:
    """The words that samples of the bundled grammars and of the one above use."""
    used = {cls for name in SHAPES if (words := space(name).vocabulary) for cls in words.classes.values()}
    used |= set(vocabulary(grammar.loads(FURTHER, name="further.lark")).classes.values())
    return {name for name, cls in NAMES.items() if cls in used}


SEEDS = ("resnet10", "resnet18", "resnet34", "wrn16_4", "vit", "mlp_mixer")


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_cost_what_was_predicted(name: str) -> None:
    check_predictions(seed(name), device="meta")


def saved(module: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """(scalars saved for backward, the same with each stored tensor counted once) for one example, by torch's hooks."""
    weights = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    stored: dict[int, int] = {}
    total = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            total += tensor.numel()
            stored[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
            kept.append(tensor)
        return tensor

    kept: list[torch.Tensor] = []  # alive, so that no address is used twice
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return total / len(x), sum(stored.values()) / len(x)


def learning(name: str, count: int, shape: Shape | None = None) -> Iterator[Architecture]:
    """Samples that begin with trained layers: before the first of these, torch has nothing to save."""
    start = {"einspace": "linear", "einspace_1d": "linear", "mlp": "linear"}.get(name, "conv")
    for architecture in samples(name, 10_000, shape=shape, limits=SMALL, seed=2):
        if count and start in architecture.text[:40] and architecture.cost.params > 1000:
            count -= 1
            yield architecture
        if not count:
            return


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "wrn16_4", "vit", "mlp_mixer"])
def test_activations_of_seeds_are_what_autograd_saves(name: str) -> None:
    """Within a factor of 1.5 (issue of counting: statistics of norms); here within 5 %."""
    architecture = seed(name)
    counted, held = saved(network.build(architecture), torch.randn(4, *architecture.input))
    assert counted == pytest.approx(architecture.cost.activations, rel=0.05)
    assert held == pytest.approx(network.working_scalars(architecture).held, rel=0.05)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("einspace", (1, 8, 8)),
        ("einspace_1d", None),
        ("tiny_cnn", (1, 16, 16)),
        ("images", (1, 16, 16)),
        ("series", (40, 2)),
    ],
)
def test_activations_of_samples_are_what_autograd_saves(name: str, shape: Shape | None) -> None:
    for architecture in learning(name, 5, shape):
        counted, held = saved(network.build(architecture), torch.randn(4, *architecture.input))
        assert counted / 1.5 <= architecture.cost.activations <= 1.5 * counted, architecture.text
        assert held / 1.1 <= network.working_scalars(architecture).held <= 1.1 * held, architecture.text


def test_activations_of_the_benchmarks_networks_are_what_autograd_saves() -> None:
    """Within a factor of 1.5, for the twenty networks of tests/bench: narrow seeds, and samples as they come."""
    there = space("einspace", (1, 28, 28))
    for line in (Path(__file__).parent / "bench" / "fashion_mnist.txt").read_text().splitlines():
        architecture = there.read(there.parse(line.partition(" ")[2]))
        counted, held = saved(network.build(headed(architecture, 10)), torch.randn(4, 1, 28, 28))
        assert counted / 1.5 <= architecture.cost.activations <= 1.5 * counted, architecture.text
        assert held / 1.5 <= network.working_scalars(headed(architecture, 10)).held <= 1.5 * held, architecture.text


# -- the seeds as other people write them ---------------------------------------------------------------------------


class Block(nn.Module):
    """ResNet's basic block, with biased convolutions and leaky ReLU as einspace writes it."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(before, width, 3, stride, 1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Sequential(nn.Conv2d(before, width, 1, stride), nn.BatchNorm2d(width))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        main = F.leaky_relu(self.norm1(self.conv1(x)), 0.01)
        return F.leaky_relu(self.norm2(self.conv2(main)) + self.shortcut(x), 0.01)


class ResNet18(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.01), nn.Conv2d(64, 64, 3, 2, 1)
        )
        widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        widths += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
        self.blocks = nn.Sequential(*(Block(*sizes) for sizes in widths))
        self.head = nn.Linear(512, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return result


def test_resnet18_is_the_network_written_by_hand() -> None:
    """Same weights, same outputs and same gradients, in double precision."""
    torch.manual_seed(0)
    ours, theirs = network.build(headed(seed("resnet18", (3, 16, 16)), 10)).double(), ResNet18(10).double()
    # both make their layers in the order in which they are used
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x, labels = torch.randn(4, 3, 16, 16, dtype=torch.double), torch.arange(4)
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    for module in (ours, theirs):
        F.cross_entropy(module.train()(x), labels).backward()  # type: ignore[no-untyped-call]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-12)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(width, 64), nn.Linear(width, 64), nn.Linear(width, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Attention(512) for _ in range(4))
        self.out, self.norm1 = nn.Linear(256, 512), nn.LayerNorm(512)
        self.up, self.down, self.norm2 = nn.Linear(512, 512), nn.Linear(512, 512), nn.LayerNorm(512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(self.out(torch.cat([head(x) for head in self.heads], dim=-1)) + x)
        result: torch.Tensor = self.norm2(self.down(F.leaky_relu(self.up(x), 0.01)) + x)
        return result


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 512, 4, 4)
        self.position = nn.Parameter(torch.randn(64, 512))
        self.layers = nn.Sequential(*(Transformer() for _ in range(4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(self.patch(x).flatten(2).transpose(1, 2) + self.position)
        return result


def test_vit_is_the_network_written_with_torch_attention() -> None:
    """Patches by a strided convolution, attention by torch's own function: the same outputs with the same weights."""
    torch.manual_seed(0)
    ours, theirs = network.build(seed("vit")).double(), ViT().double()
    by_order = dict(zip(ours.state_dict(), ours.state_dict().values(), strict=True))
    weights = [
        by_order.pop("linear1.weight"),
        by_order.pop("linear1.bias"),
        by_order.pop("position1"),
        *by_order.values(),
    ]
    names = ["patch.weight", "patch.bias", "position"]
    names += [name for name in theirs.state_dict() if name not in names]
    state = theirs.state_dict()
    theirs.load_state_dict({n: w.reshape(state[n].shape) for n, w in zip(names, weights, strict=True)})
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


@dataclass(frozen=True)
class WithoutBias(Linear):
    """A linear layer of one's own that has the bundled one's shape."""

    def params(self, x: Shape) -> int:
        return x[-1] * self.width

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        module = build.module(f"nn.Linear({node.inputs[-1]}, {node.output[-1]}, bias=False)", "plain")
        return build.line(f"{module}({{}})", x, shape=node.output, keeps="in")


def test_an_own_kind_of_linear_layer_is_no_convolution() -> None:
    """Inside a routing it is built by its own code and has the parameters that it states."""
    inner = Node(WithoutBias(16), (16, 27), (16, 16))
    root = Node(Routing(Im2col(3, 2, 0), Col2im()), (3, 9, 9), (16, 4, 4), (inner,))
    architecture = architecture_of(root)
    module = network.build(architecture)
    assert parameters(module) == architecture.cost.params == 27 * 16
    assert module(torch.randn(2, 3, 9, 9)).shape == (2, 16, 4, 4)


def test_attributes_are_told_apart_however_layers_call_them() -> None:
    """Eleven of "conv" and one of "conv1" do not meet at "conv11", whichever comes first."""
    for names in (["conv1", *["conv"] * 11], [*["conv"] * 11, "conv1"]):
        build = Builder()
        attributes = [build.module(f"nn.Identity({number})", name) for number, name in enumerate(names)]
        assert len(set(attributes)) == len(build.modules) == 12
        assert list(build.modules.values()) == [f"nn.Identity({number})" for number in range(12)]


def test_a_routing_of_im2col_linear_col2im_is_a_convolution() -> None:
    """Its weights are those of the linear layer over the columns that torch's unfold makes."""
    there = space("einspace", (3, 9, 9))
    built = network.build(there.read(there.parse("route(im2col3s2,linear(16),col2im)")))
    columns = network.build(there.read(there.parse("route(im2col3s2,seq(linear(16),identity),col2im)")))
    assert isinstance(built.conv1, nn.Conv2d)
    assert isinstance(columns.linear1, nn.Linear)
    with torch.no_grad():
        for weight, other in zip(columns.parameters(), built.parameters(), strict=True):
            weight.copy_(other.reshape(weight.shape))
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(built(x), columns(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("window", [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (4, 4, 0), (8, 8, 0), (7, 2, 3)])
def test_columns_are_those_of_unfold(window: tuple[int, int, int], everywhere: bool) -> None:
    """Both ways of making them, values and gradients; `everywhere` takes the one for CUDA here too."""
    code = IM2COL.replace("not gpu", "False") if everywhere else IM2COL
    namespace = run_source(f"import torch\nfrom torch.nn import functional as F\n{code}")
    kernel, stride, padding = window
    x = torch.randn(2, 3, 11, 9, requires_grad=True)
    columns = namespace["im2col"](x, kernel, stride=stride, padding=padding)
    expected = F.unfold(x, kernel, stride=stride, padding=padding).transpose(1, 2)
    torch.testing.assert_close(columns, expected, rtol=0, atol=0)
    weights = torch.randn_like(columns)
    ours, theirs = (torch.autograd.grad((c * weights).sum(), x)[0] for c in (columns, expected))
    torch.testing.assert_close(ours, theirs)


# -- the source -----------------------------------------------------------------------------------------------------


def run_source(text: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "model.py", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", ["einspace", "einspace_1d", "tiny_cnn", "mlp"])
def test_exported_source_is_the_built_module(name: str) -> None:
    """Run on its own, with the built module's state dict, it gives the same outputs."""
    for architecture in samples(name, 8, limits=SMALL, seed=3):
        built = network.build(headed(architecture, 3)).eval()
        exported = run_source(network.source(headed(architecture, 3)))["Network"]().eval()
        exported.load_state_dict(built.state_dict())
        x = torch.randn(2, *architecture.input)
        with torch.no_grad():
            torch.testing.assert_close(exported(x), built(x), rtol=0, atol=0, equal_nan=True)
            assert exported(x).shape == (2, 3)


def test_exported_source_needs_torch_and_nothing_else(tmp_path: Any) -> None:
    text = network.source(headed(seed("wrn16_4", (3, 8, 8)), 10), name="Best")
    imports = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"torch"}
    assert "class Best(nn.Module):" in text
    (tmp_path / "model.py").write_text(text)
    code = "import model, sys; print(sum(p.numel() for p in model.Best().parameters()), 'evosearch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(seed("wrn16_4").cost.params + 257 * 10), "False"]


def test_source_has_one_operation_a_line_and_reuses_its_variables() -> None:
    text = network.source(headed(seed("resnet18"), 10))
    assert "x2 =" not in text  # a residual network never needs more than two intermediate results
    assert "def im2col" not in text  # helpers only where they are called
    assert "def im2col" in network.source(headed(seed("vit"), 10))

    body = text.split("def forward")[1].splitlines()
    assert body[1].strip() == "x = self.conv1(x)  # 64x32x32"
    assert all(line.count("(x") <= 1 for line in body[1:])


def test_the_usual_head_is_a_number() -> None:
    """Of a space, and of an architecture that was read without one."""
    there = space("einspace", (3, 8, 8))
    bare = there.read(there.parse("route(identity,norm,identity)"))
    other = Space(there.grammar, there.vocabulary, (3, 8, 8), head=10)
    assert network.source(bare, 10) == network.source(headed(bare, 10)) == network.source(other.read(bare.derivation))
    assert network.build(bare, 10)(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    with pytest.raises(UsageError, match="7 outputs are asked for, and the network's head gives 10; leave"):
        network.build(other.read(bare.derivation), 7)


def test_intermediate_results_are_freed_as_soon_as_they_are_not_needed() -> None:
    """Without gradients, no more than a block's own results are ever alive at once."""
    module = network.build(headed(seed("resnet18"), 10)).eval()
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal most
        alive.add(output)
        most = max(most, len(alive))

    for layer in module.children():
        layer.register_forward_hook(hook)
    with torch.no_grad():
        module(torch.randn(1, 3, 32, 32))
    assert most <= 3


def test_a_traceback_shows_the_line_of_the_generated_source() -> None:
    module = network.build(headed(seed("resnet18"), 10))
    with pytest.raises(RuntimeError) as caught:
        module(torch.randn(1, 4, 32, 32))
    assert "x = self.conv1(x)  # 64x32x32" in "".join(traceback.format_exception(caught.value))


def test_building_is_repeatable() -> None:
    """Same torch seed, same weights."""
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(network.build(headed(seed("resnet10"), 10)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("name", "text", "shape"),
    [
        ("einspace", "seq(norm,linear(16))", (3, 8, 8)),
        ("einspace", "route(im2col4s4,linear(16),identity)", (3, 8, 8)),
        ("einspace_1d", "seq(norm,linear(16))", (10, 4)),
        ("mlp", "linear(16)", (7,)),
    ],
)
def test_the_head_averages_positions_and_keeps_features(name: str, text: str, shape: Shape) -> None:
    """Image: mean over H and W, linear from C. Column: mean over S, linear from D. Vector: linear."""
    there = space(name, shape)
    architecture = there.read(there.parse(text))
    backbone, whole = network.build(architecture).eval(), network.build(headed(architecture, 5)).eval()
    missing = whole.load_state_dict(backbone.state_dict(), strict=False)
    assert missing.missing_keys == ["head.weight", "head.bias"]
    x = torch.randn(2, *shape)
    features = backbone(x)
    if len(architecture.output) == 3:
        features = features.mean(dim=(2, 3))
    elif len(architecture.output) == 2:
        features = features.mean(dim=1)
    assert isinstance(whole.head, nn.Linear)
    torch.testing.assert_close(whole(x), whole.head(features))


# -- pieces, and where parameters come from --------------------------------------------------------------------------


PIECES = [
    (
        "einspace",
        "seq(seq(route(im2col3s2,linear(16),col2im),norm),branch(group2d1,leakyrelu,identity,cat1))",
    ),
    ("einspace", "branch(clone2,linear(16),linear(16),add)"),
    ("mlp", "linear(16);gelu;residual(norm;linear(16));linear(32)"),
    ("mlp", "norm"),
]


@pytest.mark.parametrize(("name", "text"), PIECES)
def test_segments_compute_what_the_network_does(name: str, text: str) -> None:
    """Bit for bit, from the same seed, and each parameter is in one of them under its name."""
    there = space(name)
    architecture = headed(there.read(there.parse(text)), 10)
    torch.manual_seed(0)
    whole = network.build(architecture)
    torch.manual_seed(0)
    pieces = network.segments(architecture)
    names = [key for piece in pieces for key in piece.state_dict()]
    assert names == list(whole.state_dict())
    x = torch.randn(3, *architecture.input)
    assert torch.equal(nn.Sequential(*pieces)(x), whole(x))


def test_segments_are_the_steps_of_the_outermost_series() -> None:
    there = space("mlp")
    architecture = headed(there.read(there.parse("linear(16);gelu;residual(norm;linear(16));linear(32)")), 10)
    assert len(network.segments(architecture)) == 5


def test_each_parameter_is_traced_to_its_place_in_the_tree() -> None:
    """A part that is written four times is told apart by its copy; the place leads to the node that wrote it."""
    there = space("einspace")
    architecture = there.read(there.parse("seq(seq(norm,norm),branch(clone4,seq(linear(64),norm),add))"))
    builder = Builder()
    write(architecture.root, builder.start(architecture.input), builder)
    paths = {name: origin.path() for name, origin in builder.origins.items()}
    assert [paths["norm1"], paths["norm2"]] == [((0, 0), (0, 0)), ((0, 0), (1, 0))]
    assert [paths[f"linear{n}"] for n in (1, 2, 3, 4)] == [((1, 0), (0, copy), (0, 0)) for copy in range(4)]
    for name, path in paths.items():
        node = architecture.root
        for part, _ in path:
            node = node.parts[part]
        assert name.startswith(node.layer.name)


def test_what_a_layer_writes_besides_its_parts_takes_no_part_s_place() -> None:
    class Normed(Sequential):
        """A sequence that writes a normalisation of its own before its first part, and another after its last."""

        def emit(self, node: Node, x: str, build: Builder) -> Emission:
            for part in (Node(Norm(), (4,), (4,)), *node.parts, Node(Norm(), (4,), (4,))):
                x = yield part, x
            return x

    parts = tuple(Node(Linear(4), (4,), (4,)) for _ in range(2))
    builder = Builder()
    write(Node(Normed(), (4,), (4,), parts), builder.start((4,)), builder)
    paths = {name: origin.path() for name, origin in builder.origins.items()}
    assert paths == {"norm1": ((2, 0),), "linear1": ((0, 0),), "linear2": ((1, 0),), "norm2": ((3, 0),)}


@dataclass(frozen=True)
class Projected(WrittenLeaf):
    """Multiplied by a random matrix that is not trained."""

    name = "projected"

    def shape(self, x: Shape) -> Shape:
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        build.helper("def twice(x):\n    return 2 * x")
        matrix = build.buffer(f"torch.randn({node.inputs[-1]}, {node.inputs[-1]})", "matrix")
        return build.line(f"twice({{}} @ {matrix})", x, shape=node.output)


def test_a_buffer_is_saved_and_not_trained_and_a_helper_stands_in_the_source() -> None:
    architecture = architecture_of(Node(Projected(), (4,), (4,)))
    module, text = network.build(architecture), network.source(architecture)
    assert list(module.state_dict()) == ["matrix1"]
    assert list(module.parameters()) == []
    exported = run_source(text)["Network"]()
    exported.load_state_dict(module.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(exported(x), 2 * x @ module.state_dict()["matrix1"])
    assert torch.equal(module(x), exported(x))


@dataclass(frozen=True)
class Helped(WrittenLeaf):
    """A layer with a helper, or with a submodule of a fixed name."""

    name = "helped"
    source: str = ""
    fixed: str = ""

    def shape(self, x: Shape) -> Shape:
        return x

    def emit(self, node: Node, x: str, build: Builder) -> Emission:
        if self.fixed:
            return build.line(f"{build.module('nn.Tanh()', self.fixed, numbered=False)}({{}})", x, shape=node.output)
        build.helper(self.source)
        return build.line(f"{self.source[4:].partition('(')[0]}({{}})", x, shape=node.output)


def in_a_row(*layers: Leaf) -> Architecture:
    nodes = [Node(layer, (4,), (4,)) for layer in layers]
    return architecture_of(Node(Chain(), (4,), (4,), tuple(nodes)))


def test_helpers_of_one_name_are_one_or_an_error() -> None:
    twice, thrice = ("def times(x):\n    return 2 * x", "def times(x):\n    return 3 * x")
    x = torch.randn(2, 4)
    assert torch.equal(network.build(in_a_row(Helped(twice), Helped(f"{twice}\n")))(x), 4 * x)
    says = r"helped \(Helped\) and helped \(Helped\) have different helpers of one name, 'times'; rename"
    with pytest.raises(LayerError, match=says):
        network.build(in_a_row(Helped(twice), Helped(thrice)))
    squares = "def rms_norm(x):\n    return x * x"
    with pytest.raises(LayerError, match=r"rms_norm \(RMSNorm\) and helped \(Helped\) have .*'rms_norm'"):
        network.build(in_a_row(RMSNorm(), Helped(squares)))


def test_helpers_of_an_ensembles_members_are_compared() -> None:
    members = tuple(
        replace(in_a_row(Helped(f"def times(x):\n    return {factor} * x")), name=str(factor)) for factor in (2, 3)
    )
    both = Ensemble(members, (0.5, 0.5), Averaging("{out}", "{mean}"))
    x = torch.randn(2, 4)
    torch.testing.assert_close(network.build(both)(x), 2.5 * x)  # each is built by itself
    with pytest.raises(LayerError, match="different helpers of one name, 'times'"):
        network.source(both)


def test_a_submodule_s_name_is_given_once() -> None:
    with pytest.raises(LayerError, match=r"helped \(Helped\) and helped \(Helped\) both have a submodule 'gate'"):
        network.build(in_a_row(Helped(fixed="gate"), Helped(fixed="gate")))


def test_a_mean_linear_in_a_sentence_and_the_head_are_two_layers() -> None:
    architecture = headed(in_a_row(MeanLinear(4), MeanLinear(4)), 3)
    module = network.build(architecture)
    names = [f"{name}.{what}" for name in ("head", "head2", "head3") for what in ("weight", "bias")]
    assert list(module.state_dict()) == names
    assert parameters(module) == architecture.cost.params == 2 * 20 + 15
    assert module(torch.randn(2, 4)).shape == (2, 3)
    assert [name for piece in network.segments(architecture) for name in piece.state_dict()] == names
    assert list(network.build(headed(in_a_row(Norm()), 3)).state_dict())[-2:] == names[:2]


# -- own layers, and depth ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Own(Leaf):
    name = "own"

    def shape(self, x: Shape) -> Shape:
        return x

    def module(self, x: Shape) -> nn.Module:
        return nn.Sequential(nn.Linear(x[-1], x[-1]), nn.Tanh())


def architecture_of(root: Node) -> Architecture:
    return Architecture(root, root.inputs, "", None)  # type: ignore[arg-type]


def test_a_layer_with_a_module_is_built_and_not_exported() -> None:
    shape = (4,)
    root = Node(Sequential(), shape, shape, (Node(Own(), shape, shape), Node(Own(), shape, shape)))
    architecture = architecture_of(root)
    module = network.build(headed(architecture, 2))
    assert module(torch.randn(3, 4)).shape == (3, 2)
    assert parameters(module) - 10 == architecture.cost.params == 2 * (4 * 4 + 4)
    with pytest.raises(ExportError, match="cannot write own as plain PyTorch; give the layer an `emit`"):
        network.source(headed(architecture, 2))


def deep(depth: int) -> Node:
    """seq(seq(seq(...),leakyrelu),leakyrelu) around a residual connection, nested `depth` deep."""
    shape = (3,)
    node = Node(Linear(3), shape, shape)
    for level in range(depth):
        if level % 100 == 50:
            node = Node(Branching(Clone(2), Add()), shape, shape, (node, Node(Norm(), shape, shape)))
        else:
            node = Node(Sequential(), shape, shape, (node, Node(LeakyReLU(), shape, shape)))
    return node


def test_trees_thousands_deep_are_built_without_recursion() -> None:
    before = sys.getrecursionlimit()
    module = network.build(headed(architecture_of(deep(2_000)), 2))
    assert sys.getrecursionlimit() == before
    output = module(torch.randn(2, 3))
    assert output.shape == (2, 2)
    assert math.isfinite(output.sum().item())


def test_the_builder_is_imported_without_torch() -> None:
    code = "import sys, evosearch.network, evosearch.layers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- convolutions over time, and what reads them --------------------------------------------------------------------


def read_at(name: str, text: str, shape: Shape) -> Architecture:
    there = space(name, shape)
    return there.read(there.parse(text))


@pytest.mark.parametrize(
    ("name", "entry", "shape"), [("images", "conv(16,3,2)", (3, 9, 7)), ("series", "conv(16,5,2)", (11, 3))]
)
def test_the_mean_and_the_maximum_are_those_over_all_places(name: str, entry: str, shape: Shape) -> None:
    """As torch's own reductions of what comes before, in both modes."""
    module = network.build(read_at(name, f"stage({entry});stage({entry});meanmax", shape)).eval()
    seen: list[torch.Tensor] = []
    last = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)][-1]
    last.register_forward_hook(lambda _module, _inputs, output: seen.append(output.relu().flatten(2)))
    output = module(torch.randn(4, *shape))
    assert torch.allclose(output, torch.cat([seen[0].mean(2), seen[0].amax(2)], 1), atol=1e-6)


def test_an_inception_module_is_the_one_written_by_hand() -> None:
    """InceptionTime's, in double precision: bottleneck, three convolutions, a pooled one, batch norm and ReLU."""

    class Inception(nn.Module):
        def __init__(self, channels: int, width: int, kernels: tuple[int, ...]) -> None:
            super().__init__()
            self.narrow1 = nn.Conv1d(channels, width, 1, bias=False)
            for number, kernel in enumerate(kernels, 1):
                self.add_module(f"conv{number}", nn.Conv1d(width, width, kernel, padding="same", bias=False))
            self.pooled1 = nn.Conv1d(channels, width, 1, bias=False)
            self.norm1 = nn.BatchNorm1d(4 * width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.mT
            narrow = self.narrow1(x)
            branches = [self.get_submodule(f"conv{number}")(narrow) for number in (1, 2, 3)]
            branches.append(self.pooled1(nn.MaxPool1d(3, stride=1, padding=1)(x)))
            out = torch.relu(self.norm1(torch.cat(branches, 1)))
            return torch.cat([out.mean(2), out.amax(2)], 1)

    ours = network.build(read_at("series", "stage(inception(8,19));meanmax", (30, 5))).double()
    theirs = Inception(5, 8, (19, 9, 5)).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(6, 30, 5, dtype=torch.float64)
    assert torch.allclose(ours(x), theirs(x), atol=1e-12)


WRITTEN_OUT = """
// input: image
start: conv (";" conv)* -> chain
conv: "conv" "(" WIDTH "," KERNEL "," STRIDE ")" -> conv_norm_relu
    | "meanmax" -> mean_max
WIDTH: "16"
KERNEL: "3"
STRIDE: "1" | "2"
"""


def test_a_convolution_as_wide_as_its_input_has_the_key_of_the_one_that_says_its_width() -> None:
    one = read_at("images", "stage(conv(16,3,1);conv(3));stage(conv(16,3,2));meanmax", (3, 8, 8))
    read = grammar.loads(WRITTEN_OUT, name="written.lark")
    there = Space(read, vocabulary(read), (3, 8, 8))
    other = there.read(there.parse("conv(16,3,1);conv(16,3,1);conv(16,3,2);meanmax"))
    assert one.key == other.key
