"""NASNet's space: the published cells written by hand, what cells put out, and what no cell may say."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone gives it

from evosearch import network
from evosearch.errors import ArchitectureError
from tests.spaces import GRAMMARS, space
from tests.test_gallery import trained_statistics

PUBLISHED = (GRAMMARS / "seeds" / "nasnet" / "nasnet_a_mobile.arch").read_text()


class Separable(nn.Sequential):
    def __init__(self, width: int, kernel: int, stride: int = 1) -> None:
        def half(stride: int) -> list[nn.Module]:
            spread = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
            return [nn.ReLU(), spread, nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)]

        super().__init__(*half(stride), *half(1))


class Entry(nn.Sequential):
    def __init__(self, before: int, width: int) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width))


class Halving(nn.Module):
    """To half the size: half the channels from even places, half from odd ones."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.even, self.odd = (nn.Conv2d(before, width // 2, 1, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.relu()
        result: torch.Tensor = self.norm(
            torch.cat([self.even(x[:, :, ::2, ::2]), self.odd(F.pad(x, (0, 1, 0, 1))[:, :, 1::2, 1::2])], 1)
        )
        return result


def average(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)


class Normal(nn.Module):
    """Zoph et al. 2018, figure 4 left, with the older input beside the blocks as in its code."""

    def __init__(self, last: int, older: nn.Module, width: int) -> None:
        super().__init__()
        self.entry, self.older = Entry(last, width), older
        self.a, self.b, self.c, self.d, self.e = (Separable(width, k) for k in (5, 3, 5, 3, 3))

    def forward(self, last: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        h, p = self.entry(last), self.older(before)
        blocks = [self.a(h) + self.b(p), self.c(p) + self.d(p), average(h) + p, average(p) * 2, self.e(h) + h]
        return torch.cat([p, *blocks], 1)


class Reduction(nn.Module):
    """Figure 4 right."""

    def __init__(self, last: int, before: int, width: int) -> None:
        super().__init__()
        self.entry, self.older = Entry(last, width), Entry(before, width)
        self.a, self.b, self.c, self.d = (Separable(width, k, 2) for k in (5, 7, 7, 5))
        self.e = Separable(width, 3)

    def forward(self, last: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        h, p = self.entry(last), self.older(before)
        largest = F.max_pool2d(h, 3, 2, 1)
        first = self.a(h) + self.b(p)
        second = largest + self.c(p)
        return torch.cat([second, average(h, 2) + self.d(p), second + average(first), self.e(first) + largest], 1)


class ByHand(nn.Module):
    """One normal cell in each stage, for small images: 8 channels at first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.cells = nn.ModuleList(
            [
                Normal(16, Entry(16, 8), 8),
                Reduction(48, 16, 16),
                Normal(64, Halving(48, 16), 16),
                Reduction(96, 64, 32),
                Normal(128, Halving(96, 32), 32),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before: torch.Tensor = self.stem(x)
        last = before
        for cell in self.cells:
            before, last = last, cell(last, before)
        return last.relu()


def test_the_published_cells_are_the_ones_written_by_hand() -> None:
    there = space("nasnet", (3, 9, 12))
    ours = network.build(there.read(there.parse(PUBLISHED.replace("(44,4,32,imagenet)", "(8,1,16,cifar)"))))
    ours = trained_statistics(ours.double()).eval()
    theirs = ByHand().double().eval()
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in theirs.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


NORMAL = "identity~0+identity~1;identity~0+identity~1;identity~0+identity~1;identity~0+identity~1;{};{}"


def test_a_cell_puts_out_what_no_block_reads() -> None:
    """One block that reads two others hides them; inputs of a block have no order."""
    there = space("nasnet")

    def read(last: str, joined: str = "unread") -> tuple[int, str]:
        cell = NORMAL.format(last, joined)
        reduction = NORMAL.format("identity~0+identity~1", "unread")
        architecture = there.read(there.parse(f"normal[{cell}]reduce[{reduction}](8,1,16,cifar)"))
        return architecture.output[0], architecture.key

    assert read("identity~2+identity~3")[0] == 3 * 32  # two that are not read, and the last
    assert read("identity~0+identity~1")[0] == 5 * 32
    assert read("identity~2+identity~3")[1] == read("identity~3+identity~2")[1] != read("identity~2+identity~4")[1]


def test_a_reduction_puts_out_blocks_alone() -> None:
    cell = NORMAL.format("identity~0+identity~1", "123456")
    with pytest.raises(ArchitectureError, match="a reduction cell puts out blocks alone"):
        space("nasnet").read(space("nasnet").parse(f"normal[{cell}]reduce[{cell}](8,1,16,cifar)"))


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_its_shape_is_its_outputs(stem: str) -> None:
    """Of sides that do not divide, too."""
    there = space("nasnet", (1, 37, 40))
    architecture = there.read(there.parse(PUBLISHED.replace("(44,4,32,imagenet)", f"(8,1,16,{stem})")))
    assert tuple(network.build(architecture)(torch.zeros(2, 1, 37, 40)).shape[1:]) == architecture.output
