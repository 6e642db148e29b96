"""Other networks that one learns from: programs that torch.export wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

OWN = "self"  # in a teacher's place: the network's own earlier states
PARENT = "parent"  # the network whose weights it began with


def require(file: str) -> None:
    """Raise ConfigError where there is no file to learn from."""
    if not Path(file).is_file():
        said = f"{file}: no such file" if file else "none is named"
        raise ConfigError(f"recipe.teacher: {said}; name a file of `evolve export RUN -o FILE.pt2`")


def teacher_of(file: str, device: str) -> nn.Module:
    """The program in a file, on a device. Raises ConfigError where it is none."""
    import torch

    try:
        program = torch.export.load(file).module()
    except Exception as error:  # noqa: BLE001 - torch's reader has no error of its own (BadZipFile, ValueError, ...)
        raise ConfigError(f"recipe.teacher: {file} is no exported program: {type(error).__name__}: {error}") from None
    return program.to(device)


__all__ = ["OWN", "PARENT", "require", "teacher_of"]
