"""The grammars and seeds that come with evosearch: complete, readable by stock Lark, and with the published figures."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from evosearch import network
from evosearch.grammar.core import Derivation
from tests.spaces import GRAMMARS, SHAPES, headed, language_of, samples, seed, space, stock

if TYPE_CHECKING:
    from evosearch.layers.base import Shape

IMPORTED = ("recipe",)  # for other grammars to import: tests/test_joint.py
NAMES = sorted(path.stem for path in GRAMMARS.glob("*.lark") if path.stem not in IMPORTED)
FILES = sorted(path.stem for path in (GRAMMARS / "seeds").glob("*.arch"))
SEEDS = [name for name in FILES if language_of(name) == "einspace"]


def test_every_bundled_grammar_is_tested() -> None:
    assert sorted(SHAPES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stock_lark_loads_it_without_conflicts(name: str) -> None:
    """An ordinary Lark file: LALR(1), strict; and stock Lark parses what evosearch draws, without white space too."""
    read = stock(name)
    for architecture in samples(name, 20):
        assert not any(c.isspace() for c in architecture.text)
        read.parse(architecture.text)


@pytest.mark.parametrize("name", NAMES)
def test_samples_parse_back_to_themselves_with_other_white_space(name: str) -> None:
    """As they are written they do in tests/test_sampler.py."""
    there = space(name)
    for architecture in samples(name, 50, seed=7):
        assert there.parse(architecture.text.replace("(", " ( ").replace(")", "\n)")) is architecture.derivation


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_its_comments_are_in_the_language(name: str) -> None:
    """Indented lines of the opening comment are sentences of the grammar, and fit its shape."""
    there = space(name)
    lines = (GRAMMARS / f"{name}.lark").read_text().splitlines()
    for line in itertools.takewhile(lambda line: line.startswith("//"), lines):
        if line.startswith(("//   ", "// |")):
            there.read(there.parse(line.removeprefix("//")))


# -- einspace as METHODS gives it -----------------------------------------------------------------------------------


def words(rule: str) -> dict[str, float]:
    """Every derivation of a rule of einspace without parts, as text, with its probability."""
    there = space("einspace")
    found: dict[str, float] = {}
    for alternative in there.grammar.rules[rule]:
        texts = [there.grammar.terminals[name].choices or () for name in alternative.terminals]
        for chosen in itertools.product(*texts):
            derivation = Derivation(alternative, tuple(text for text, _ in chosen))
            text = there.render(derivation)
            found[text] = alternative.weight * math.prod(weight for _, weight in chosen)
    return found


def drawn(rule: str) -> dict[str, float]:
    return {text: weight for text, weight in words(rule).items() if weight}


LINEARS = {f"linear({width})" for width in (16, 32, 64, 128, 256, 512, 1024, 2048)}
PERMUTES = {f"permute{order}" for order in ("21", "132", "213", "231", "312", "321")}
WINDOWS = {f"im2col{window}" for window in ("1s1", "1s2", "3s1", "3s2", "4s4", "8s8", "16s16")}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("computation", LINEARS | {"identity", "norm", "leakyrelu", "softmax", "posenc"}),
        ("pre", PERMUTES | WINDOWS | {"identity"}),
        ("post", PERMUTES | {"identity", "col2im"}),
        ("split2", {"clone2", "group2d1", "group2d2", "group2d3"}),
        ("split4", {"clone4", "group4d1", "group4d2", "group4d3"}),
        ("split8", {"clone8", "group8d1", "group8d2", "group8d3"}),
        ("merge2", {"add", "cat1", "cat2", "cat3", "dot", "scaled"}),
        ("merge", {"add", "cat1", "cat2", "cat3"}),
    ],
)
def test_einspace_draws_the_published_alternatives_uniformly(rule: str, expected: set[str]) -> None:
    """13 computations, 14 pre-routings, 8 post-routings; 12 splits, four for each factor; 12 merges by factor."""
    weights = drawn(rule)
    assert set(weights) == expected
    assert all(weight == pytest.approx(1 / len(expected), abs=1e-12) for weight in weights.values())


def test_einspace_reads_what_the_seeds_need_and_never_draws_it() -> None:
    assert set(words("pre")) - set(drawn("pre")) == {"im2col7s2"}
    assert set(words("computation")) - set(drawn("computation")) == {"linear(x4)", "linear(/4)"}


def test_einspace_chooses_modules_as_published() -> None:
    """The root a third each; a module computation 0.32, the rest shared; branching a third for each factor. So a module
    has 0.98 modules below it, counting a repeated one once, and 1.74 counting every copy."""
    rules = space("einspace").grammar.rules
    assert [a.rules[0] for a in rules["start"]] == ["sequential", "branching", "routing"]
    assert [a.weight for a in rules["start"]] == [pytest.approx(1 / 3)] * 3
    module = {a.rules[0]: a.weight for a in rules["module"]}
    assert module["computation"] == 0.32
    assert [module[rule] for rule in ("sequential", "branching", "routing")] == [pytest.approx(0.68 / 3)] * 3
    assert [a.weight for a in rules["branching"]] == [pytest.approx(1 / 3)] * 3
    once = 0.68 / 3 * (2 + (2 + 1 + 1) / 3 + 1)
    copies = 0.68 / 3 * (2 + (2 + 4 + 8) / 3 + 1)
    below = {rule: sum(a.weight * a.rules.count("module") for a in rules[rule]) for rule in module}
    assert sum(module[rule] * below[rule] for rule in module) == pytest.approx(once)
    assert (round(once, 2), round(copies, 2)) == (0.98, 1.74)


def test_a_repeated_branch_is_built_once_for_every_copy() -> None:
    there = space("einspace")
    architecture = there.read(there.parse("branch(clone4,linear(16),cat3)"))
    assert architecture.cost.params == 4 * (32 + 1) * 16
    assert architecture.cost.modules == 4
    assert architecture.output == (3, 32, 64)


# -- seeds ----------------------------------------------------------------------------------------------------------


def conv(before: int, width: int, kernel: int) -> int:
    return before * width * kernel**2 + width


def block(before: int, width: int) -> int:
    """RB(N), or RS(N) where the width changes: two convolutions and norms; a 1x1 convolution and a norm beside them."""
    main = conv(before, width, 3) + 2 * width + conv(width, width, 3) + 2 * width
    return main + (conv(before, width, 1) + 2 * width if before != width else 0)


def resnet(kernel: int, blocks: tuple[int, ...]) -> int:
    total, before = conv(3, 64, kernel) + 2 * 64 + conv(64, 64, 3), 64
    for stage, count in enumerate(blocks):
        for _ in range(count):
            total += block(before, 64 << stage)
            before = 64 << stage
    return total


def wide_resnet() -> int:
    total, before = conv(3, 16, 3) + 2 * 16, 16
    for width in (64, 128, 256):
        for first in (True, False):
            total += conv(before, width, 3) + 2 * width + conv(width, width, 3) + 2 * width
            total += conv(before, width, 1) if first else 0
            before = width
    return total


def dense(before: int, width: int) -> int:
    return (before + 1) * width


PATCH = dense(48, 512) + 64 * 512
TRANSFORMER = 4 * 3 * dense(512, 64) + dense(256, 512) + 2 * dense(512, 512) + 4 * 512
MIXER = 2 * 512 + dense(64, 256) + dense(256, 64) + dense(512, 256) + dense(256, 512)
PARAMS = {
    "resnet10": resnet(3, (2, 2)),
    "resnet18": 11_210_560,
    "resnet34": resnet(7, (3, 4, 6, 3)),
    "wrn16_4": wide_resnet(),
    "vit": 4_269_568,
    "mlp_mixer": PATCH + 8 * MIXER,
}


def test_the_counts_by_hand_agree_with_the_published_ones() -> None:
    assert resnet(3, (2, 2, 2, 2)) == PARAMS["resnet18"]
    assert PARAMS["vit"] == PATCH + 4 * TRANSFORMER


@pytest.mark.parametrize("name", PARAMS)
def test_seeds_have_the_published_parameters(name: str) -> None:
    """Without a head, at 3x32x32."""
    assert seed(name).cost.params == PARAMS[name]


def test_every_seed_is_tested() -> None:
    assert sorted([*PARAMS, "small_cnn"]) == SEEDS


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 24, 24)])
@pytest.mark.parametrize("name", SEEDS)
def test_seeds_fit_every_image_size(name: str, shape: Shape) -> None:
    architecture = seed(name, shape)
    assert architecture.input == shape
    assert len(architecture.key) == 32


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_differ(name: str) -> None:
    assert [other for other in SEEDS if seed(other).key == seed(name).key] == [name]


@pytest.mark.parametrize("name", sorted(set(FILES) - set(SEEDS)))
def test_a_grammars_own_seeds_fit_what_it_is_for(name: str) -> None:
    """Read, built and run at the usual size of their grammar; no two are one network."""
    language = language_of(name)
    there = space(language)
    found = {}
    for other in FILES:
        if language_of(other) == language:
            read = there.read(there.parse((GRAMMARS / "seeds" / f"{other}.arch").read_text()))
            found[other] = read.key
            if other == name:
                output = network.build(read)(torch.zeros(2, *SHAPES[language]))
                assert tuple(output.shape) == (2, *read.output)
    assert len(set(found.values())) == len(found)


def test_the_small_seed_learns_the_digits() -> None:
    """8 epochs of SGD, under a second on one core: test accuracy of at least 0.97, with under 100,000 parameters."""
    import torch
    from sklearn.datasets import load_digits
    from torch.nn import functional as F  # noqa: N812 - the name everyone gives it

    architecture = seed("small_cnn", (1, 8, 8))
    assert architecture.cost.params < 100_000
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels)
    torch.manual_seed(0)
    order = torch.randperm(len(x))
    test, train = order[:360], order[360:]
    module = network.build(headed(architecture, 10))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.04, momentum=0.9, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=8, steps_per_epoch=-(-len(train) // 128))
    for _ in range(8):
        for batch in torch.split(train[torch.randperm(len(train))], 128):
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    module.eval()
    with torch.no_grad():
        accuracy = (module(x[test]).argmax(1) == y[test]).float().mean().item()
    assert accuracy >= 0.97


# -- NAS-Bench-201 --------------------------------------------------------------------------------------------------

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def test_the_benchmarks_strings_are_the_language() -> None:
    """All 15,625 of them, each its own derivation and drawn with the same probability."""
    there = space("nasbench201")
    assert [a.weight for a in there.grammar.rules["op"]] == [pytest.approx(0.2)] * 5
    derivations = set()
    for a, b, c, d, e, f in itertools.product(OPERATIONS, repeat=6):
        if (a, b) != ("none", "avg_pool_3x3") and (e, f) != ("nor_conv_1x1", "skip_connect"):
            continue  # enough to meet every operation on every edge
        text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        derivation = there.parse(text)
        assert there.render(derivation) == text
        derivations.add(derivation)
    assert len(derivations) == 2 * 5**4 - 5**2


def test_cells_have_the_benchmarks_parameters() -> None:
    """73,306 + 28,000 n(1x1) + 243,040 n(3x3) on CIFAR-10, with the head."""
    for architecture in samples("nasbench201", 100):
        counts = Counter(architecture.text.replace("|", " ").replace("+", " ").replace("~", " ").split())
        expected = 73_306 + 28_000 * counts["nor_conv_1x1"] + 243_040 * counts["nor_conv_3x3"]
        assert architecture.cost.params + 65 * 10 == expected
        assert architecture.output == (64, 8, 8)


def test_the_cell_is_the_authors_own() -> None:
    """The benchmark's cell and residual block, written by hand after its paper: same outputs with the same weights."""
    import torch
    from torch import nn

    class ReLUConvBN(nn.Sequential):
        def __init__(self, before: int, width: int, kernel: int, stride: int = 1) -> None:
            convolution = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
            super().__init__(nn.ReLU(), convolution, nn.BatchNorm2d(width))

    class CellByHand(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.edge01, self.edge12, self.edge03 = (ReLUConvBN(width, width, k) for k in (3, 1, 3))
            self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = self.edge01(x)
            second = self.pool(x) + self.edge12(first)
            result: torch.Tensor = self.edge03(x) + second
            return result

    class Reduction(nn.Module):
        def __init__(self, before: int, width: int) -> None:
            super().__init__()
            self.a, self.b = ReLUConvBN(before, width, 3, 2), ReLUConvBN(width, width, 3)
            self.side = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(before, width, 1, bias=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.side(x) + self.b(self.a(x))
            return result

    def stage(width: int) -> list[nn.Module]:
        return [CellByHand(width) for _ in range(5)]

    theirs = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        *stage(16),
        Reduction(16, 32),
        *stage(32),
        Reduction(32, 64),
        *stage(64),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    )
    there = space("nasbench201", (3, 16, 16))
    text = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"
    ours = network.build(there.read(there.parse(text)))
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in theirs.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x))


# -- the others -----------------------------------------------------------------------------------------------------


def test_tiny_cnn_only_makes_residual_connections_that_keep_the_shape() -> None:
    there = space("tiny_cnn")
    for architecture in samples("tiny_cnn", 50, seed=8):
        for site in there.sites(architecture.derivation):
            if there.bound(site.derivation)[0].name == "residual":
                assert site.input == site.output


def test_dropout_rates_come_from_their_range() -> None:
    there = space("mlp")
    rng = np.random.default_rng(0)
    rates = [float(there.grammar.terminals["RATE"].draw(rng)) for _ in range(200)]
    assert min(rates) >= 0.05
    assert max(rates) <= 0.5
    assert Fraction(len(set(rates)), 200) > Fraction(1, 2)
