"""A folder of images, one sub-folder for each class; or train, validation and test folders of such sub-folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.arrays import TITLES
from evosearch.tasks.assemble import Name, Part, assemble

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from evosearch.tasks.base import Array, Reading, Task

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".tif", ".tiff")


def load_folder(folder: Path, reading: Reading) -> Task:
    """Images as (C, H, W) bytes: one channel where all are grey, else three. All must be of one size.

    Classes are the sub-folders' names in order. Needs Pillow.
    """
    parts: dict[Name, Path] = {}
    for title, words in TITLES.items():
        for word in words:
            if (folder / word).is_dir():
                parts[title] = folder / word
    if "train" not in parts:
        parts = {"train": folder}
    labels = sorted(child.name for child in parts["train"].iterdir() if child.is_dir() and child.name[0] != ".")
    files = {title: _files(place, labels) for title, place in parts.items()}
    grey = all(_mode(file) in ("1", "L", "I;16") for found in files.values() for file, _ in found)
    first = files["train"][0][0]
    size = _pixels(first, grey).shape
    read: dict[Name, Part] = {}
    for title, found in files.items():
        x = np.empty((len(found), *size), np.uint8)
        for row, (file, _) in enumerate(found):
            pixels = _pixels(file, grey)
            if pixels.shape != size:
                raise TaskError(
                    f"{file}: {pixels.shape[2]}x{pixels.shape[1]} pixels, and {first} has {size[2]}x{size[1]}; "
                    "scale the images to one size"
                )
            x[row] = pixels
        y = np.array([number for _, number in found], np.int64)
        read[title] = Part(x, y, str(parts[title]), str(parts[title]))
    return assemble(folder.resolve().name, read, reading, labels=labels, images=True)


def _files(place: Path, labels: list[str]) -> list[tuple[Path, int]]:
    found = []
    for child in sorted(place.iterdir()):
        if not child.is_dir() or child.name.startswith("."):
            continue
        if child.name not in labels:
            raise TaskError(f"{child}: a class that the train folder has not; it has {', '.join(labels[:10])}")
        files = [file for file in sorted(child.rglob("*")) if file.suffix.lower() in SUFFIXES]
        found += [(file, labels.index(child.name)) for file in files]
    if not found:
        raise TaskError(f"{place}: no images in sub-folders named by class; it reads {', '.join(SUFFIXES)}")
    return found


def _mode(file: Path) -> str:
    image_of = _pillow().open
    try:
        with image_of(file) as image:
            return str(image.mode)
    except (OSError, SyntaxError) as error:
        raise TaskError(f"{file}: no image that Pillow reads, torn perhaps: {error}") from None


def _pixels(file: Path, grey: bool) -> Array:
    """(C, H, W) bytes."""
    image_of = _pillow().open
    try:
        with image_of(file) as image:
            pixels = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
    except (OSError, SyntaxError) as error:
        raise TaskError(f"{file}: no image that Pillow reads, torn perhaps: {error}") from None
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError:
        raise TaskError("reading image files needs Pillow: pip install pillow") from None
    return PIL.Image
