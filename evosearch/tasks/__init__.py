"""Tasks: what a candidate is trained on or called with, and how it is judged.

`load` takes what `--task` takes. Nothing here imports torch or scikit-learn before a task needs it.
"""

from __future__ import annotations

from evosearch.errors import TaskError
from evosearch.tasks.base import DEFAULTS, AnyTask, DirectTask, Reading, Split, Task, TaskSettings, make_task
from evosearch.tasks.kinds import BUNDLED, Kind, Kinds

__all__ = ["AnyTask", "DirectTask", "Kind", "Kinds", "Split", "Task", "TaskSettings", "data_of", "load", "make_task"]


def load(spec: str, settings: TaskSettings = DEFAULTS, kinds: Kinds = BUNDLED) -> AnyTask:
    """The task that `spec` names; kinds: those that `settings.kind` may name.

    digits                    scikit-learn's 1,797 handwritten digits, 8x8
    PATH                      a file or folder of data: .npz, .npy and IDX folders, image folders, .csv, .ts
    torchvision:NAME          a data set of torchvision.datasets, where torchvision is installed
    hf:OWNER/NAME             a data set of the Hugging Face hub, where `datasets` is installed
    table:FILE.csv            recorded figures by architecture; nothing is trained
    package.module:function   a person's own fitness function

    Raises TaskError that names the file and, where there is one, the row, in one line whatever the file holds.
    """
    try:
        return _load(spec, settings, kinds)
    except TaskError as error:
        if len(str(error).splitlines()) > 1:
            raise TaskError(" ".join(str(error).split())) from None
        raise


def data_of(spec: str) -> str:
    """The file or folder whose data the spec names, as it stands in it; empty where it names none."""
    from pathlib import Path

    if spec.startswith("table:"):
        from evosearch.tasks import table

        return table.file_of(spec.removeprefix("table:"))
    return spec if spec != "digits" and Path(spec).exists() else ""


def _load(spec: str, settings: TaskSettings, kinds: Kinds) -> AnyTask:
    reading = Reading(settings, None if settings.kind == "auto" else kinds.named(settings.kind))
    if spec == "digits":
        from evosearch.tasks.digits import load_digits

        return load_digits(reading)
    if spec.startswith("table:"):
        from evosearch.tasks import table

        return table.load(spec.removeprefix("table:"), settings)
    if spec.startswith(("torchvision:", "hf:")):
        from evosearch.tasks.hubs import load_hub

        return load_hub(spec, reading)
    from pathlib import Path

    if Path(spec).exists():
        from evosearch.tasks.files import load_path

        return load_path(Path(spec), reading)
    module, colon, function = spec.partition(":")
    if colon and function.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        from evosearch.tasks import function as functions

        return functions.load(spec, settings)
    raise TaskError(
        f"no task '{spec}': it is no file or folder here; use digits, a path, table:FILE.csv or package.module:function"
    )
