"""A folder of images, one sub-folder for each class; or train, validation and test folders of such sub-folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import TaskError
from evosearch.tasks.arrays import TITLES
from evosearch.tasks.assemble import Name, Part, assemble
from evosearch.tasks.sources import hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import ModuleType

    from evosearch.tasks.base import Array, Reading, Task

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
SUFFIXES = (*JPEG, ".png", ".bmp", ".gif", ".ppm", ".pgm", ".webp", ".avif", ".tif", ".tiff")

LITTER = ("Thumbs.db", "desktop.ini")  # what a file manager leaves
OTHER = (".txt", ".md", ".csv", ".json", ".xml", ".html", ".pdf", ".tsv", ".yaml", ".yml")  # what is told about images

LARGE = 128  # pixels of the shorter side, from which on it is said how to have smaller ones

GREY, GREY16, WHOLE, FLOAT, COLOUR, ALPHA = "grey", "16-bit grey", "32-bit grey", "floating-point", "colour", "alpha"
# What Pillow's modes show; any other is shown in colour. A palette, or an alpha channel, is told from the image itself.
SHOWS = {
    **dict.fromkeys(("1", "L"), GREY),
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), GREY16),
    "I": WHOLE,
    "F": FLOAT,
}


def load_folder(folder: Path, reading: Reading) -> Task:
    """Images as (C, H, W), of one size or scaled to `data.size`, turned as their camera says. Classes are the
    sub-folders' names in order.

    One channel where all are grey: bytes, or 16-bit, 32-bit or floating-point numbers where the files have such; bytes
    among 16-bit images are as white as they were. Three bytes where one has colours; four, red, green and blue times
    alpha and alpha, where one is transparent anywhere. Needs Pillow.
    """
    notes: list[str] = []
    places: dict[Name, Path] = {}
    beside = [child for child in sorted(folder.iterdir()) if child.is_dir() and not hidden(child.name)]
    for title, words in TITLES.items():
        there = [child for word in words for child in beside if _is_split(child, word)]
        if len(there) > 1:
            raise TaskError(f"{there[1]}: {there[0].name} beside it is the {title} split already; leave one of them")
        if there:
            places[title] = there[0]
    if "train" in places:
        notes += [
            f"{child.name}: neither train, validation nor test; not read"
            for child in beside
            if child not in places.values()
        ]
    else:
        places = {"train": folder}
    children = sorted(child for child in places["train"].iterdir() if child.is_dir() and not hidden(child.name))
    labels = [child.name for child in children if images_below(child)]
    notes += [f"{child.name}: no image in this folder, so no class" for child in children if child.name not in labels]
    files = {title: _files(place, labels) for title, place in places.items()}
    notes += _left_out(places.values(), {file for found in files.values() for file, _ in found})
    paths = [file for found in files.values() for file, _ in found]
    common, size = _common(paths, notes), reading.settings.size
    pixels = as_shown(common, size)
    first = files["train"][0][0]
    shape, dtype = pixels(first).shape, pixels(first).dtype
    if not size and min(shape[1:]) >= LARGE:
        notes.append(
            f"images of {shape[2]}x{shape[1]} pixels; --set data.size=64 lets a search see many more candidates"
        )
    read: dict[Name, Part] = {}
    for title, found in files.items():
        x = np.empty((len(found), *shape), dtype)
        for row, (file, _) in enumerate(found):
            one = pixels(file)
            if one.shape != shape:
                raise TaskError(
                    f"{file}: {one.shape[2]}x{one.shape[1]} pixels, and {first} has {shape[2]}x{shape[1]}; "
                    "scale the images to one size, as --set data.size=64 does"
                )
            x[row] = one
        y = np.array([number for _, number in found], np.int64)
        read[title] = Part(x, y, str(places[title]), str(places[title]))
    return assemble(folder.resolve().name, read, reading, labels=labels, images=True, notes=notes, pixels=common)


def of_file(file: Path, pixels: str, size: int) -> list[tuple[Path, Array]]:
    """An image file, or the image files in a folder and below it, in order, each with what `load_folder` makes of it.

    pixels, size: as in Task. Raises TaskError.
    """
    files = images_below(file) if file.is_dir() else [file]
    if not files:
        raise TaskError(f"{file}: no images in this folder; it reads {', '.join(SUFFIXES)}")
    shown = as_shown(pixels, size)
    return [(one, shown(one)) for one in files]


def _is_split(folder: Path, word: str) -> bool:
    """Whether a folder is a split by its name; in capitals it may be a class as well, which has no folders in it."""
    if folder.name == word or folder.name.lower() != word:
        return folder.name == word
    return any(child.is_dir() and not hidden(child.name) for child in folder.iterdir())


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below it, links followed, in order; what is hidden is no data.

    Raises TaskError for a link to nothing.
    """
    found = [file for file in files_below(folder) if file.suffix.lower() in SUFFIXES]
    if lost := next((file for file in found if not file.exists()), None):
        raise TaskError(f"{lost}: a link to nothing; put the image there, or take the link away")
    return found


def files_below(folder: Path) -> list[Path]:
    """What is no folder in a folder and below it, in order, without what is hidden. A link to a folder that was read
    already, or that it lies in, ends there.
    """
    found: list[Path] = []
    seen: set[Path] = set()
    for above, folders, names in os.walk(folder, followlinks=True):
        here = Path(above)
        seen.add(here.resolve())
        folders[:] = [name for name in folders if not hidden(name) and not _was_read(here / name, seen)]
        found += [here / name for name in names if not hidden(name)]
    return sorted(found)


def _was_read(folder: Path, seen: Collection[Path]) -> bool:
    """Whether a folder is a link to one of those, or to one that it lies in."""
    if not folder.is_symlink():
        return False
    there = folder.resolve()
    return there in seen or folder.parent.resolve().is_relative_to(there)


def _left_out(places: Iterable[Path], read: Collection[Path]) -> list[str]:
    """A line of the files in and beside the classes' folders that are not read, if there are such."""
    beside = [file for place in places for file in files_below(place) if file not in read and file.name not in LITTER]
    rest = [file for file in beside if file.suffix.lower() not in OTHER]
    if not rest:
        return []
    named = f"{rest[0].name}{f' and {len(rest) - 1} more' if len(rest) > 1 else ''}"
    return [f"not read, being no image of a class: {named}; it reads {', '.join(SUFFIXES)} in the classes' folders"]


def _files(place: Path, labels: list[str]) -> list[tuple[Path, int]]:
    found = []
    for child in sorted(place.iterdir()):
        if not child.is_dir() or hidden(child.name) or not (files := images_below(child)):
            continue
        if child.name not in labels:
            raise TaskError(f"{child}: a class that the train folder has not; it has {', '.join(labels[:10])}")
        found += [(file, labels.index(child.name)) for file in files]
    if not found:
        raise TaskError(f"{place}: no images in sub-folders named by class; it reads {', '.join(SUFFIXES)}")
    return found


def _common(files: Iterable[Path], notes: list[str]) -> str:
    """What can hold all of these images. Raises TaskError where nothing can without a loss."""
    seen: dict[str, Path] = {}
    cut: list[Path] = []
    frames: list[Path] = []
    for file in files:
        with _Opened(file) as image:
            deep = any(";16" in str(tile[3]) for tile in image.tile)
            many = getattr(image, "n_frames", 1) > 1
            shows = SHOWS.get(image.mode, COLOUR)
            if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
                shows = COLOUR if image.convert("RGBA").getchannel("A").getextrema()[0] == 255 else ALPHA
        seen.setdefault(shows, file)
        if deep and shows not in (GREY16, WHOLE):
            cut.append(file)
        if many:
            frames.append(file)
    if cut:
        notes.append(
            f"{cut[0].name} and others, {len(cut)} in all, have 16 bits a channel in colour: 8 of them are kept"
        )
    if frames:
        notes.append(f"{frames[0].name} and others, {len(frames)} in all, hold several pictures: the first is taken")
    for shows, others in ((FLOAT, {FLOAT}), (WHOLE, {WHOLE, GREY16}), (GREY16, {GREY16, GREY})):
        if shows in seen:
            if odd := next((other for other in seen if other not in others), None):
                raise TaskError(f"{seen[odd]}: {odd} pixels, and {seen[shows]} has {shows} ones; save them alike")
            return shows
    return next(shows for shows in (ALPHA, COLOUR, GREY) if shows in seen)


def as_shown(common: str, size: int = 0) -> Callable[[Path], Array]:
    """What gives an image as (C, H, W). size: of the square that is cut of its middle and scaled; 0: as it is."""
    mode = {GREY: "L", COLOUR: "RGB", ALPHA: "RGBa"}.get(common)

    def pixels(file: Path) -> Array:
        from PIL import Image, ImageOps

        def scaled(image: Image.Image) -> Image.Image:
            return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR) if size else image

        with _Opened(file) as image:
            image = ImageOps.exif_transpose(image)
            shown: Array
            if mode is not None:  # to premultiplied alpha there is a way from RGBA alone
                image = (image.convert("RGBA") if mode == "RGBa" else image).convert(mode)
                shown = np.asarray(scaled(image), np.uint8)
            elif common == GREY16 and image.mode in ("1", "L"):
                shown = np.asarray(image.convert("L"), np.uint16) * 257
            else:
                shown = np.asarray(image, {GREY16: np.uint16, WHOLE: np.int32, FLOAT: np.float32}[common])
        if mode is None and size:  # Pillow scales the deeper ones as floating-point numbers alone
            deep = np.asarray(scaled(Image.fromarray(shown.astype(np.float32))))
            shown = deep if common == FLOAT else np.rint(deep).astype(shown.dtype)
        return shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)

    return pixels


class _Opened:
    """An image file that Pillow reads. What a torn or strange one makes it raise is a TaskError that names the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> Any:
        image_of = _pillow().open
        try:
            self.image = image_of(self.file)
        except Exception as error:  # noqa: BLE001 - Pillow's readers raise whatever they meet in a broken file
            raise self._broken(error) from None
        return self.image

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.image.close()
        if isinstance(error, Exception) and not isinstance(error, TaskError):
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> TaskError:
        return TaskError(f"{self.file}: no image that Pillow reads, torn perhaps: {error}")


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError:
        raise TaskError("reading image files needs Pillow: pip install pillow") from None
    return PIL.Image
