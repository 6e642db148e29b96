"""A run's network asked about new examples, as they stand in a file: `evolve predict RUN FILE`.

What the examples are made of is in best/data.json (`Task.description`); no code of the run's folder is run.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch import final, results
from evosearch.engine.replay import recorded
from evosearch.errors import RunError, TaskError
from evosearch.store.run import Run
from evosearch.tasks import images
from evosearch.tasks.arrays import IDX, Opening, read_idx
from evosearch.tasks.base import Reading
from evosearch.tasks.cells import counted, read
from evosearch.tasks.encode import RowError, encode
from evosearch.tasks.kinds import Kinds
from evosearch.tasks.series import examples as series_examples
from evosearch.tasks.source import TEMPERATURE

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
        """A file's examples as numbers (N, *input): a table's rows, with or without the target; .npz, .npy, IDX or .ts;
        of a network for image files one of those, or a folder with such.

        Raises TaskError with file and row.
        """
        return self._read(file)[1]

    def predictions(self, file: Path) -> dict[str, Sequence[Any]]:
        """`answers` for a file's examples; those for image files beside their names, as the column `file`."""
        names, x = self._read(file)
        return {**({"file": names} if names else {}), **self.answers(x)}

    def asked(self, examples: Any) -> dict[str, Sequence[Any]]:
        """`answers` for examples that a program holds: of a table rows as a DataFrame, mappings by column, or cells in
        the file's order; else an array or a tensor (N, *input), or a list of examples.

        Raises TaskError with the row.
        """
        try:
            if self.description["columns"]:
                examples = encode(self.description["columns"], examples, self.description["names"])
            return self.answers(self._batch(examples))
        except (ValueError, TypeError) as error:  # torch has no words, nor Python's objects
            raise TaskError(f"examples: {error}") from None

    def _batch(self, examples: Any) -> Array:
        from evosearch.tasks.batch import batch

        return batch(examples, tuple(self.description["input"]), self._circular, self._masked).numpy()

    @property
    def _circular(self) -> bool:
        """Whether short series begin again; those of earlier versions went on with their mean."""
        return bool(self.description.get("circular", False))

    @property
    def _masked(self) -> bool:
        """Whether the network is told where a series ends; see `Task`."""
        return bool(self.description.get("masked", False))

    def _read(self, file: Path) -> tuple[list[str], Array]:
        """A file's examples, and the names of the files that they are where each is one."""
        if not file.exists():
            raise TaskError(f"{file}: no such file or folder")
        names: list[str] = []
        if self.description["columns"]:
            x = self._rows(file)
        elif ".ts" in file.suffixes[-2:] and len(self.description["input"]) == 2:
            steps, numbers = self.description["input"]
            circular, masked = self._circular, self._masked
            x = series_examples(file, Reading(self.settings), steps, numbers, circular=circular, masked=masked)
        elif "pixels" in self.description and (file.is_dir() or file.suffix.lower() in images.SUFFIXES):
            _, high, wide = self.description["input"]
            found = images.of_file(file, self.description["pixels"], self.description["size"])
            for one, image in found:
                if image.shape[1:] != (high, wide):
                    size = f"{image.shape[2]}x{image.shape[1]}"
                    raise TaskError(f"{one}: {size} pixels, and the network takes {wide}x{high}; scale it to that")
            names, x = [str(one) for one, _ in found], np.stack([image for _, image in found])
        else:
            x = self._arrays(file)
        try:
            return names, self._batch(x)
        except (ValueError, TypeError) as error:  # torch has no words, nor Python's objects
            raise TaskError(f"{file}: {error}") from None

    def _rows(self, file: Path) -> Array:
        """A CSV's rows, by the names of its columns where it was trained on such."""
        if file.is_dir():
            raise TaskError(f"{file}: it is a folder, and this network takes the rows of a table; give one CSV file")
        names = list(self.description["names"])
        headed = self.settings.header == "yes" or names != [str(number) for number in range(len(names))]
        cells = read(file, replace(self.settings, header="yes" if headed else "no"), fewest=1)
        if not headed and counted(cells.rows[0]):
            cells = replace(cells, rows=cells.rows[1:], lines=cells.lines[1:])
        if not cells.rows:
            raise TaskError(f"{file}: no rows below the header")
        lacking = [one["name"] for one in self.description["columns"] if one["name"] not in cells.names]
        if headed and lacking:
            raise TaskError(f"{file}: no column '{lacking[0]}'; there are {', '.join(cells.names)}")
        rows = [dict(zip(cells.names, row, strict=True)) for row in cells.rows] if headed else cells.rows
        try:
            found: Array = encode(self.description["columns"], rows, names)
        except RowError as error:
            raise TaskError(f"{file}: line {cells.lines[error.row]}: {error.message}") from None
        return found

    def _arrays(self, file: Path) -> Array:
        if re.search(IDX, file.name):
            return read_idx(file)
        if file.suffix not in (".npz", ".npy"):
            more = ", an image, a folder of images" if "pixels" in self.description else ""
            raise TaskError(f"{file}: no examples for this network, which takes a .npz, a .npy or a .ts file{more}")
        with Opening(file):
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                name = next((name for name in EXAMPLES if name in loaded.files), None)
                if name is None:
                    there = ", ".join(loaded.files)
                    raise TaskError(f"{file}: none of {', '.join(EXAMPLES)} is in it; there are: {there}")
                loaded = loaded[name]
        return np.asarray(loaded)

    def answers(self, x: Array) -> dict[str, Sequence[Any]]:
        """What the network says of examples, by column: prediction; of classes the probability of each, `p(LABEL)`;
        of several numbers prediction_0, prediction_1, ...
        """
        import torch

        mean, std = (np.asarray(self.description[name]) for name in ("mean", "std"))
        parts = [x[at : at + BATCH] for at in range(0, max(len(x), 1), BATCH)]
        with torch.no_grad():
            out = torch.cat([self.network(torch.as_tensor((part - mean) / std).float()) for part in parts])
        labels = list(self.description["labels"])
        names: dict[str, Any] = {"LABELS": labels, "out": out, TEMPERATURE: self.description.get("temperature", 1.0)}
        constants = self.description.get("constants", CONSTANTS)
        names |= _tensors({name: self.description[name] for name in constants if name in self.description})
        answers = {one.name: one.source.format(out="out") for one in self.kind.answers}
        said = {name: eval(source, names) for name, source in answers.items()}  # noqa: S307 - the kind's, no run's
        columns: dict[str, Sequence[Any]] = {}
        found = said["predict"]
        if isinstance(found, torch.Tensor):
            found = [_shortest(one) for one in found.reshape(len(x), -1).T]
            columns = {"prediction" if len(found) == 1 else f"prediction_{n}": one for n, one in enumerate(found)}
        else:
            columns["prediction"] = found
        if "predict_proba" in said:
            columns |= {f"p({label})": _shortest(said["predict_proba"][:, n]) for n, label in enumerate(labels)}
        return columns


def _tensors(constants: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that answers have for them; float64 where they are no numbers of float32, as of targets that float32
    would not tell apart.
    """
    import torch

    exact = {name: np.asarray(values, np.float64) for name, values in constants.items()}
    with np.errstate(over="ignore"):
        wide = any((values.astype(np.float32) != values).any() for values in exact.values())
    dtype = torch.float64 if wide else torch.float32
    return {name.upper(): torch.tensor(values, dtype=dtype) for name, values in exact.items()}


def _shortest(values: Any) -> list[Any]:
    """A tensor's numbers, with no more digits than its own type tells apart."""
    return [float(str(value)) for value in values.numpy()] if values.is_floating_point() else values.tolist()


CONSTANTS = ("target_mean", "target_std")  # of a description that does not name its own


def load(folder: Path, layers: Sequence[Path | str] = (), operators: Sequence[Path | str] = ()) -> Predictor:
    """The best network of a run, or the one in a folder that `evolve train` wrote, whose data has to be where it was.

    layers, operators: as in `results.load`. Raises RunError where there is none, or an old one; UsageError where its
    own code is not found.
    """
    at = None if folder.name == "best" else final.stored(folder)
    if at is not None and at.files == at.folder:
        config = final.configured(at, {}, [str(path) for path in layers], [str(path) for path in operators])
        found = final.subject(config, at.text())
        final.same(at, found, "grammar", "layers", "task")
        return Predictor(final.restore(at, found).network, _description(at.files), config.data, found.task.kind)
    network = results.load(folder, layers, operators)
    run = folder.parent if folder.name == "best" else folder
    description = _description(run / "best")
    opened = Run.open(run)
    kinds = Kinds(results.own_plugins(opened, operators).own("kind"))
    return Predictor(network, description, recorded(opened).data, kinds.named(description["kind"]))


def _description(best: Path) -> dict[str, Any]:
    """What the examples of the network in a folder are. Raises RunError where it is older than that."""
    file = best / results.DATA_FILE
    if not file.is_file():
        run = best.parent if best.name == "best" else best
        raise RunError(f"{file} is not there: the run is older than it; `evolve train {run}` writes the network anew")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


__all__ = ["Predictor", "load", "table"]
