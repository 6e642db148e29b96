"""Our proxies beside the published ones, on the cells of NAS-Bench-201 for which these are.

`python -m tests.bench.bench_proxies DATA`: a row of JSON for each cell in proxies.jsonl, appended as it is measured;
what has a row is not measured again. Then what they say. The benchmark's own network at initialisation, a batch of 32
rows of noise in place of images. DATA: the folder with nasbench201_proxies.csv.xz (values that NASLib publishes) and
nasbench201_cifar10.csv.xz. One core.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from tests.bench.resumable import completed

FILE = Path(__file__).with_name("proxies.jsonl")
PUBLISHED = {"synflow": "synflow", "naswot": "nwot", "jacob_cov": "jacov"}  # our name and theirs
BATCH, CLASSES = 32, 10
BAND = 10  # cells that a band of equal size needs at least

Values = np.ndarray[Any, np.dtype[np.float64]]


def row(arch: str) -> dict[str, Any]:
    import torch
    from torch.nn import functional

    from evosearch import network, plugins
    from evosearch.evaluation.proxies import Probe, measured
    from tests.spaces import headed, space

    there = space("nasbench201", (3, 32, 32))
    torch.manual_seed(0)
    built = network.build(headed(there.read(there.parse(arch)), CLASSES))
    x, y = torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) % CLASSES
    at = Probe(lambda: copy.deepcopy(built), x, y, functional.cross_entropy, CLASSES)
    found = plugins.find()
    return {"arch": arch, **measured({name: found.get("proxy", name) for name in PUBLISHED}, at)}


def log_ranks(columns: Sequence[Values]) -> Values:
    """Of each cell the sum of the logarithms of its ranks as shares of all (AZ-NAS, Lee and Ham 2024)."""
    total: Values = np.sum([np.log(rankdata(column) / len(column)) for column in columns], axis=0)
    return total


def within_bands(worth: Values, accuracy: Values, sizes: Values) -> str:
    """The mean of the rank correlations within the bands of equal size."""
    bands = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    bands = [band for band in bands if len(band) >= BAND]
    each = [float(spearmanr(worth[band], accuracy[band]).statistic) for band in bands] or [np.nan]
    return f"{np.mean(each):.3f} (mean of {len(bands)} bands, {sum(map(len, bands))} cells)"


def said(rows: Sequence[Mapping[str, Any]], data: Path) -> Iterator[str]:
    """What the rows say, a line each."""
    theirs = pd.read_csv(data / "nasbench201_proxies.csv.xz").set_index("arch")
    table = pd.read_csv(data / "nasbench201_cifar10.csv.xz").set_index("arch")
    ours = pd.DataFrame(list(rows)).set_index("arch")
    theirs, accuracy = theirs.loc[ours.index], table.loc[ours.index]["test_accuracy_200ep"].to_numpy()
    yield f"{len(ours)} cells; Spearman with the published values, and with test accuracy"
    for name, other in PUBLISHED.items():
        mine, published = ours[name].to_numpy(), theirs[other].to_numpy()
        both = np.isfinite(mine) & np.isfinite(published)
        pair = spearmanr(mine[both], published[both]).statistic, spearmanr(mine, accuracy).statistic
        yield f"  {name}: {pair[0]:.4f} ({both.sum()} cells), {pair[1]:.3f}"
    apart = (ours["synflow"] - theirs["synflow"]).abs().dropna()
    yield f"  synflow, apart in the logarithm: at most {apart.max():.2f}, in the median {apart.median():.2f}"
    lowest = [theirs[other].replace([np.inf, -np.inf], np.nan) for other in PUBLISHED.values()]
    for title, columns in (
        ("ours", [ours[name].to_numpy() for name in PUBLISHED]),
        ("published", [column.fillna(column.min() - 1).to_numpy() for column in lowest]),
    ):
        worth = log_ranks(columns)
        whole = spearmanr(worth, accuracy).statistic
        bands = within_bands(worth, accuracy, theirs["params"].to_numpy())
        yield f"  log-rank of the three, {title}: {whole:.3f}; within bands of equal size {bands}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-n", "--cells", type=int, default=None, help="the first so many; all by default")
    given = parser.parse_args()
    archs = pd.read_csv(given.data / "nasbench201_proxies.csv.xz")["arch"][: given.cells]
    rows = completed(({"arch": arch} for arch in archs), row, FILE)
    print("\n".join(said([one for one in rows if one["arch"] in set(archs)], given.data)))


if __name__ == "__main__":
    main()
