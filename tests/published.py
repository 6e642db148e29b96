"""Parameters and FLOPs that papers and well-known packages state of networks that are bundled as seeds."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """grammar, seed: where it lies in grammars/seeds. outputs: of the usual head; None for none.

    params: trainable scalars of the seed. gflops: 2 x multiply-accumulates / 1e9 of one example, None where no count
    was published that leaves out what evosearch leaves out. source: who states them.
    claim: the figure that the network's paper gives, as this list has it; nothing here trains to it. Empty where this
    list has none.
    stated, why: the parameters that the source states where these are others, and what the difference is.
    """

    grammar: str
    seed: str
    params: int
    gflops: float | None
    source: str
    claim: str = ""
    outputs: int | None = 1000
    shape: tuple[int, ...] = (3, 224, 224)
    stated: int = 0
    why: str = ""


TORCHVISION, TIMM, PYTORCHCV, PAPER = "torchvision", "timm", "pytorchcv", "the authors' code, counted by hand"

PUBLISHED = [
    Published("convnets", "resnet18", 11_689_512, 3.628, TORCHVISION, "27.9 %"),
    Published("convnets", "resnet34", 21_797_672, 7.328, TORCHVISION, "24.5 %"),
    Published("convnets", "resnet50", 25_557_032, 8.178, TORCHVISION, "22.9 %"),
    Published("convnets", "resnet101", 44_549_160, 15.603, TORCHVISION, "21.8 %"),
    Published("convnets", "resnet152", 60_192_808, 23.028, TORCHVISION, "21.4 %"),
    Published("convnets", "resnext50_32x4d", 25_028_904, 8.461, TORCHVISION, "22.2 %"),
    Published("convnets", "resnet50_ibn_a", 25_557_032, None, PAPER),
    Published("convnets", "resnet50_max", 14_232_232, None, PAPER),
    Published("convnets", "se_resnet50", 28_088_024, None, TIMM, "23.3 %"),
    Published("convnets", "resnet_rs_50", 35_691_912, None, TIMM, "21.2 %"),
    Published("convnets", "resnet_rs_101", 63_618_696, None, TIMM),
    Published("convnets", "regnety_400mf", 4_344_144, 0.804, TORCHVISION, "25.9 %"),
    Published("convnets", "regnetx_400mf", 5_495_976, 0.828, TORCHVISION, "27.3 %"),
    Published("convnets", "densenet121", 7_978_856, 5.668, TORCHVISION, "25.0 %"),
    Published("convnets", "densenet169", 14_149_480, 6.720, TORCHVISION, "23.8 %"),
    Published("convnets", "squeezenet1_0", 1_248_424, None, TORCHVISION, "42.5 %"),
    Published("convnets", "squeezenet1_1", 1_235_496, None, TORCHVISION),
    Published("convnets", "vgg11", 132_863_336, 15.218, TORCHVISION, "29.6 %"),
    Published("convnets", "vgg13", 133_047_848, 22.616, TORCHVISION, "28.7 %"),
    Published("convnets", "vgg16", 138_357_544, 30.941, TORCHVISION, "25.6 %"),
    Published("convnets", "shufflenet_v2_x1_0", 2_278_604, 0.290, TORCHVISION, "30.6 %"),
    Published("convnets", "shufflenet_v2_x0_5", 1_366_792, None, TORCHVISION, "39.7 %"),
    Published("convnets", "convnext_tiny", 28_589_128, 8.911, TORCHVISION, "17.9 %"),
    Published("convnets", "convmixer_768_32", 21_110_248, None, TIMM, "19.8 %"),
    Published("convnets", "convmixer_1024_20", 24_383_464, None, TIMM, "23.1 %"),
    Published("convnets", "poolformer_s12", 11_915_176, None, TIMM, "22.8 %"),
    Published("convnets", "simplenet_310k", 312_362, None, PAPER, outputs=10, shape=(3, 32, 32)),
    Published("convnets", "simplenet_5m", 5_498_378, None, PAPER, outputs=10, shape=(3, 32, 32)),
    Published("mobile", "mobilenet_v2", 3_504_872, 0.602, TORCHVISION, "28.0 %"),
    Published("mobile", "mobilenet_v3_large", 5_483_032, 0.433, TORCHVISION, "24.8 %"),
    Published("mobile", "mobilenet_v3_small", 2_542_856, 0.113, TORCHVISION, "32.6 %"),
    Published("mobile", "efficientnet_b0", 5_288_548, 0.772, TORCHVISION, "22.9 %"),
    Published("mobile", "mnasnet_b1", 4_383_312, 0.629, TORCHVISION, "25.5 %"),
    Published("mobile", "mnasnet_a1", 3_887_038, None, TIMM, "24.8 %"),
    Published("mobile", "fbnet_c", 5_572_200, None, TIMM, "25.1 %"),
    Published("mobile", "spnasnet", 4_421_616, None, TIMM, "25.0 %"),
    Published("nasnet", "nasnet_a_mobile", 5_289_978, None, PYTORCHCV, "26.0 %"),
    Published("nasnet", "nasnet_a_large", 88_753_150, None, PYTORCHCV, "17.3 %", shape=(3, 331, 331)),
    Published("vit", "vit_b_16", 86_567_656, 35.128, TORCHVISION, "22.1 %"),
    Published("vit", "deit_s", 22_050_664, None, TIMM, "20.2 %"),
    Published("vit", "deit_ti", 5_717_416, None, TIMM, "27.8 %"),
    Published("vit", "mixer_b_16", 59_880_472, None, TIMM, "23.6 %"),
    Published("vit", "mixer_s_16", 18_528_264, None, TIMM),
    Published("vit", "gmlp_s", 19_422_656, None, TIMM, "20.4 %"),
    Published("vit", "gmlp_ti", 5_867_328, None, TIMM, "27.7 %"),
    Published("vit", "resmlp_12", 15_350_872, None, TIMM, "23.4 %"),
    Published("hybrid", "swin_t", 28_288_354, 8.982, TORCHVISION, "18.7 %"),
    Published("hybrid", "swin_s", 49_606_258, 17.482, TORCHVISION, "17.0 %"),
    Published("tdnn", "efficient_tdnn", 5_961_792, None, PAPER, outputs=None, shape=(300, 80)),
    Published("tabular", "kan_784_64_10", 508_160, None, PAPER, outputs=None, shape=(784,)),
    Published("darts", "darts_v2", 3_349_342, None, PAPER, "2.8 %, CIFAR-10", outputs=10, shape=(3, 32, 32)),
    Published("darts", "darts_v2_imagenet", 4_718_752, None, PAPER, "26.7 %"),
    Published("reparam", "unireplknet_a", 4_649_060, None, PAPER, "23.0 %"),
    Published(
        "reparam",
        "vanillanet_5",
        21_325_800,
        None,
        PAPER,
        stated=22_328_800,
        why="while it trains, the classifier there is two layers and a norm, which become the one that is here",
    ),
    Published("reparam", "vanillanet_5_deployed", 15_523_304, None, PAPER, "27.5 %"),
    Published("reparam", "cdcn", 2_245_016, None, PAPER, outputs=None, shape=(3, 256, 256)),
    Published("darts", "pc_darts", 3_634_678, None, PAPER, "2.6 %, CIFAR-10", outputs=10, shape=(3, 32, 32)),
    Published("darts", "pc_darts_imagenet", 5_342_464, None, PAPER, "24.2 %"),
    Published("hybrid", "next_vit_s", 31_763_368, None, PAPER, "17.5 %"),
    Published("hybrid", "next_vit_b", 44_818_856, None, PAPER, "16.8 %"),
    Published("vit", "tnt_s", 23_768_584, None, PAPER, "18.5 %"),
    Published("vit", "vit_s_max", 23_819_368, None, PAPER),
    Published(
        "vit",
        "activator",
        2_657_034,
        None,
        PAPER,
        outputs=10,
        shape=(3, 32, 32),
        stated=2_650_890,
        why="each block there uses two layer norms twice, which are four here, of 1,536 weights more",
    ),
    Published(
        "sequence",
        "mamba_130m",
        90_520_320,
        None,
        PAPER,
        outputs=None,
        shape=(4, 768),
        stated=129_135_360,
        why="here without the embedding of 50,280 words, which is the head there too",
    ),
]
