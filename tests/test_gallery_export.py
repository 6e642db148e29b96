"""Every seed of the gallery exports, and the file answers as the network does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from evosearch import network
from evosearch.formats import Original, export
from evosearch.layers.base import Shape
from tests.published import PUBLISHED, Published
from tests.test_gallery import seed_of

pytestmark = pytest.mark.slow


def settled(module: nn.Module, shape: Shape) -> nn.Module:
    """The module with the statistics of one batch in its norms, so that its answers are of the order of 1."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.randn(4, *shape))
    return module.eval()


@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.seed)
def test_a_seed_answers_alike_where_it_is_exported(row: Published, format: str, tmp_path: Path) -> None:
    """At most 1e-4 apart, at the size that the network was published for."""
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    architecture = seed_of(row)
    torch.manual_seed(0)
    module = settled(network.build(architecture), row.shape)
    exported = export(Original(architecture, module, None), format, tmp_path / f"model.{format}")
    print(f"{row.seed}: {exported.difference:.1e} apart, ", end="")
    assert exported.difference <= 1e-4
