"""What `evolve init --task` writes: a config for a person's data, each setting with its reason, and its grammar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch import config as configuration
from evosearch import paths, tasks
from evosearch.auto import facts_of, plan
from evosearch.errors import UsageError
from evosearch.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.auto.plan import Choice

SECONDS = 600.0  # that the settings are made for
CONFIG, GRAMMARS = "evosearch.toml", "grammars"
HEAD = """\
# A search for {file}:  evolve run evosearch.toml
# Settings that follow from the data and this machine, for about ten minutes; each says why, and each may be changed.
# All other keys, with their values:  evolve run evosearch.toml --dry-run
"""


def files(task: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The files to begin with, by their path in the project: the config, and a copy of the grammar that fits.

    task: as `--task` takes it, a data set. given: settings by their dotted keys, which are kept. Raises UsageError
    where there is nothing to train on, TaskError where the data are wrong, ConfigError where a setting is.
    """
    config = configuration.load(None, {"task": task, **given})
    found = tasks.load(config.task, config.data)
    if not isinstance(found, Task):
        raise UsageError(f"--task {task}: no data to train on; `evolve init` alone writes a config to start from")
    made = plan(facts_of(found, share=config.data.validation, seconds=SECONDS), given)
    choices = dict(made.choices)
    name = str(given["grammar"] if "grammar" in given else choices["grammar"].value)
    told = "".join(f"# {line}\n" for line in found.summary(made.validation.value))
    grammar = paths.find("grammars", name, ".lark")
    copied = f"{GRAMMARS}/{grammar.stem}.lark"
    text = HEAD.format(file=Path(task).name) + told + "\n" + _toml(config.task, copied, given, choices)
    return {CONFIG: text, copied: grammar.read_text(encoding="utf-8")}


def _toml(task: str, grammar: str, given: Mapping[str, Any], choices: Mapping[str, Choice]) -> str:
    """The config's text: keys of the top level first, then a table at a time, reasons above their keys."""
    lines = [_line("task", task)]
    tables: dict[str, list[str]] = {}
    for key, said in {**given, **choices}.items():
        table, dot, name = key.partition(".")
        place = tables.setdefault(table, []) if dot else lines
        place += [f"# {said.reason}"] if key in choices else []
        value = grammar if key == "grammar" else said.value if key in choices else said
        place.append(_line(name if dot else key, value))
    parts = ["\n".join(lines), *(f"[{table}]\n" + "\n".join(body) for table, body in tables.items())]
    return "\n\n".join(parts) + "\n"


def _line(key: str, value: Any) -> str:
    import tomli_w

    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, list):
        return f"{key} = [{', '.join(_line('x', one).removeprefix('x = ') for one in plain)}]"
    return tomli_w.dumps({key: plain}).strip()


__all__ = ["files"]
