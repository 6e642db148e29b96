"""A run's network asked about new examples, as they stand in a file: `evolve predict RUN FILE`.

What the examples are made of is in best/data.json (`Task.description`); no code of the run's folder is run.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import results
from evosearch.engine.replay import recorded
from evosearch.errors import RunError, TaskError
from evosearch.store.run import Run
from evosearch.tasks.assemble import as_examples
from evosearch.tasks.base import Reading
from evosearch.tasks.cells import read
from evosearch.tasks.encode import RowError, encode
from evosearch.tasks.kinds import Kinds
from evosearch.tasks.series import examples as series_examples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from evosearch.tasks import Kind, TaskSettings

Array = np.ndarray[Any, np.dtype[Any]]

EXAMPLES = ("x", "x_test", "test_x")  # arrays of an .npz that are looked for, in this order
BATCH = 1000  # examples at a time


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network; description: what its examples and answers are (`Task.description`), and its files.

    kind: of its task, which says how it answers.
    """

    network: nn.Module
    description: Mapping[str, Any]
    settings: TaskSettings
    kind: Kind

    def examples(self, file: Path) -> Array:
        """A file's examples as numbers (N, *input): a table's rows, with or without the target; .npz, .npy or .ts.

        Raises TaskError with file and row.
        """
        x = self._rows(file) if self.description["columns"] else self._arrays(file)
        if tuple(x.shape[1:]) != tuple(self.description["input"]):
            due = "x".join(map(str, self.description["input"]))
            raise TaskError(f"{file}: examples of shape {'x'.join(map(str, x.shape[1:]))}; the network takes {due}")
        return x

    def _rows(self, file: Path) -> Array:
        """A CSV's rows, by the names of its columns where it was trained on such."""
        names = list(self.description["names"])
        headed = names != [str(number) for number in range(len(names))]
        cells = read(file, replace(self.settings, header="yes" if headed else "no"))
        rows = [dict(zip(cells.names, row, strict=True)) for row in cells.rows] if headed else cells.rows
        try:
            found: Array = encode(self.description["columns"], rows, names)
        except RowError as error:
            raise TaskError(f"{file}: line {cells.lines[error.row]}: {error.message}") from None
        return found

    def _arrays(self, file: Path) -> Array:
        if ".ts" in file.suffixes[-2:]:
            steps, dimensions = self.description["input"]
            return series_examples(file, Reading(self.settings), steps, dimensions)
        if file.suffix not in (".npz", ".npy"):
            raise TaskError(f"{file}: this network takes arrays or series; give a .npz, a .npy or a .ts file")
        try:
            loaded = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise TaskError(f"{file}: cannot be read: {error}") from None
        if isinstance(loaded, np.lib.npyio.NpzFile):
            name = next((name for name in EXAMPLES if name in loaded.files), None)
            if name is None:
                there = ", ".join(loaded.files)
                raise TaskError(f"{file}: none of {', '.join(EXAMPLES)} is in it; there are: {there}")
            loaded = loaded[name]
        return as_examples(np.asarray(loaded), str(file))[0]

    def answers(self, x: Array) -> dict[str, Sequence[Any]]:
        """What the network says of examples, by column: prediction; of classes the probability of each, `p(LABEL)`;
        of several numbers prediction_0, prediction_1, ...
        """
        import torch

        mean, std = (np.asarray(self.description[name]) for name in ("mean", "std"))
        parts = [x[at : at + BATCH] for at in range(0, len(x), BATCH)]
        with torch.no_grad():
            out = torch.cat([self.network(torch.as_tensor((part - mean) / std).float()) for part in parts])
        labels = list(self.description["labels"])
        names: dict[str, Any] = {"LABELS": labels, "out": out}
        constants = self.description.get("constants", CONSTANTS)
        names |= {name.upper(): torch.tensor(self.description[name]) for name in constants if name in self.description}
        answers = {one.name: one.source.format(out="out") for one in self.kind.answers}
        said = {name: eval(source, names) for name, source in answers.items()}  # noqa: S307 - the kind's, no run's
        columns: dict[str, Sequence[Any]] = {}
        found = said["predict"]
        if isinstance(found, torch.Tensor):
            found = found.reshape(len(x), -1).T.tolist()
            columns = {"prediction" if len(found) == 1 else f"prediction_{n}": one for n, one in enumerate(found)}
        else:
            columns["prediction"] = found
        if "predict_proba" in said:
            columns |= {f"p({label})": said["predict_proba"][:, n].tolist() for n, label in enumerate(labels)}
        return columns


CONSTANTS = ("target_mean", "target_std")  # of a description that does not name its own


def load(folder: Path, layers: Sequence[Path | str] = (), operators: Sequence[Path | str] = ()) -> Predictor:
    """The best network of a run. layers, operators: as in `results.load`.

    Raises RunError where it has none, or an old one.
    """
    network = results.load(folder, layers, operators)
    run = folder.parent if folder.name == "best" else folder
    file = run / "best" / "data.json"
    if not file.is_file():
        raise RunError(f"{file} is not there: the run is older than it; `evolve train {run}` writes the network anew")
    description = json.loads(file.read_text(encoding="utf-8"))
    opened = Run.open(run)
    kinds = Kinds(results.own_plugins(opened, operators).own("kind"))
    return Predictor(network, description, recorded(opened).data, kinds.named(description["kind"]))


def table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


__all__ = ["Predictor", "load", "table"]
