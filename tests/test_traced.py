"""Networks as tracers see them: no line of their code asks a tensor which way to go (FX, torch.compile, quantisers)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from evosearch import network
from evosearch.architecture import Architecture
from evosearch.errors import ShapeError
from evosearch.layers.base import Shape
from evosearch.paths import bundled, read_arch
from tests.spaces import SHAPES, headed, language_of, space
from tests.test_gallery import WORDS, alone, word

SEED_FOLDER = bundled() / "grammars/seeds"
SEEDS = sorted(str(path.relative_to(SEED_FOLDER).with_suffix("")) for path in SEED_FOLDER.rglob("*.arch"))


def exported(architecture: Architecture) -> nn.Module:
    """The network that its written source makes, for a judgement that draws nothing at random."""
    names: dict[str, type[nn.Module]] = {}
    exec(network.source(architecture), names)
    torch.manual_seed(0)
    return names["Network"]().eval()


def is_traced(architecture: Architecture) -> None:
    """FX follows the source with no example at hand, and what it wrote down computes the same."""
    module = exported(architecture)
    x = torch.randn(2, *architecture.input)
    traced = fx.symbolic_trace(module)
    with torch.no_grad():
        torch.testing.assert_close(traced(x), module(x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("name", "arguments", "shape"), WORDS, ids=str)
def test_each_word_is_traced(name: str, arguments: tuple[object, ...], shape: Shape) -> None:
    is_traced(alone(word(name, *arguments), shape))


@pytest.mark.parametrize("name", SHAPES)
def test_samples_are_traced(name: str) -> None:
    there, rng = space(name), np.random.default_rng(0)
    for _ in range(4):
        read = there.read(there.draw(rng))
        if read.cost.flops < 3e8:
            is_traced(read)


@pytest.mark.parametrize("seed", ["vit", "resnet18", "mlp_mixer"])
def test_seeds_are_traced(seed: str) -> None:
    there = space("einspace")
    is_traced(headed(there.read(there.parse(read_arch(SEED_FOLDER / f"{seed}.arch"))), 10))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_compiled_whole(seed: str) -> None:
    """torch.compile finds no place where it would have to go back to Python."""
    there = space(seed.partition("/")[0] if "/" in seed else language_of(seed))
    try:
        architecture = headed(there.read(there.parse(read_arch(SEED_FOLDER / f"{seed}.arch"))), 10)
    except ShapeError:
        pytest.skip("made for larger examples")
    module = exported(architecture)
    x = torch.randn(2, *architecture.input)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), module(x), rtol=0, atol=0)


def test_a_layer_that_asks_its_input_is_seen() -> None:
    """That the tests above can fail."""

    class Asking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.is_cuda else -x

    with pytest.raises(fx.proxy.TraceError):
        fx.symbolic_trace(Asking())
