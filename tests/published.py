"""Parameters and FLOPs that papers and well-known packages state of networks that are bundled as seeds."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """grammar, seed: where it lies in grammars/seeds. outputs: of the usual head; None for none.

    params: trainable scalars. gflops: 2 x multiply-accumulates / 1e9 of one example, None where no count was published
    that leaves out what evosearch leaves out. source: who states them.
    """

    grammar: str
    seed: str
    params: int
    gflops: float | None
    source: str
    outputs: int | None = 1000
    shape: tuple[int, ...] = (3, 224, 224)


TORCHVISION, TIMM, PAPER = "torchvision", "timm", "the authors' code, counted by hand"

PUBLISHED = [
    Published("convnets", "resnet18", 11_689_512, 3.628, TORCHVISION),
    Published("convnets", "resnet34", 21_797_672, 7.328, TORCHVISION),
    Published("convnets", "resnet50", 25_557_032, 8.178, TORCHVISION),
    Published("convnets", "resnet101", 44_549_160, 15.603, TORCHVISION),
    Published("convnets", "resnext50_32x4d", 25_028_904, 8.461, TORCHVISION),
    Published("convnets", "resnet50_ibn_a", 25_557_032, None, PAPER),
    Published("convnets", "resnet50_max", 14_232_232, None, PAPER),
    Published("convnets", "resnet_rs_50", 35_691_912, None, TIMM),
    Published("convnets", "resnet_rs_101", 63_618_696, None, TIMM),
    Published("convnets", "regnety_400mf", 4_344_144, 0.804, TORCHVISION),
    Published("convnets", "regnetx_400mf", 5_495_976, 0.828, TORCHVISION),
    Published("convnets", "densenet121", 7_978_856, 5.668, TORCHVISION),
    Published("convnets", "squeezenet1_0", 1_248_424, None, TORCHVISION),
    Published("convnets", "vgg11", 132_863_336, 15.218, TORCHVISION),
    Published("convnets", "vgg16", 138_357_544, 30.941, TORCHVISION),
    Published("convnets", "shufflenet_v2_x1_0", 2_278_604, 0.290, TORCHVISION),
    Published("convnets", "convnext_tiny", 28_589_128, 8.911, TORCHVISION),
    Published("convnets", "convmixer_768_32", 21_110_248, None, TIMM),
    Published("convnets", "poolformer_s12", 11_915_176, None, TIMM),
    Published("mobile", "mobilenet_v2", 3_504_872, 0.602, TORCHVISION),
    Published("mobile", "mobilenet_v3_large", 5_483_032, 0.433, TORCHVISION),
    Published("mobile", "mobilenet_v3_small", 2_542_856, 0.113, TORCHVISION),
    Published("mobile", "efficientnet_b0", 5_288_548, 0.772, TORCHVISION),
    Published("mobile", "mnasnet_b1", 4_383_312, 0.629, TORCHVISION),
    Published("mobile", "mnasnet_a1", 3_887_038, None, TIMM),
    Published("mobile", "fbnet_c", 5_572_200, None, TIMM),
    Published("vit", "vit_b_16", 86_567_656, 35.128, TORCHVISION),
    Published("vit", "deit_s", 22_050_664, None, TIMM),
    Published("vit", "mixer_b_16", 59_880_472, None, TIMM),
    Published("vit", "mixer_s_16", 18_528_264, None, TIMM),
    Published("vit", "gmlp_s", 19_422_656, None, TIMM),
    Published("vit", "gmlp_ti", 5_867_328, None, TIMM),
    Published("vit", "resmlp_12", 15_350_872, None, TIMM),
    Published("hybrid", "swin_t", 28_288_354, None, TORCHVISION),
]
