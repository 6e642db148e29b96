"""A run's configuration: one model made of its owners' settings, read from TOML, printed resolved.

    name = "demo"                    # top-level keys: which space, which task
    grammar = "einspace"
    task = "digits"

    [search]                         # each table is one owner's frozen dataclass:
    budget = 80                      #   search    evosearch.search.SearchSettings
                                     #   limits    evosearch.architecture.Limits
    [recipe]                         #   recipe    evosearch.training.Recipe, how a candidate is trained
    epochs = 8                       #   final     likewise, how the best one is trained: what differs from recipe
                                     #   workers   evosearch.workers.WorkerSettings
                                     #   data      evosearch.tasks.TaskSettings, how a task's files are read

What the command line says wins over the file, the file over the defaults. An unknown key is an error that offers near
names. `dumps` prints every key with its value; `loads(dumps(config)) == config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from evosearch.architecture import Limits
from evosearch.errors import ConfigError
from evosearch.search import SearchSettings
from evosearch.tasks import TaskSettings
from evosearch.training import Recipe
from evosearch.workers import WorkerSettings

FINAL_EPOCHS = 4  # the final training's epochs, as a multiple of a candidate's, where [final] does not say


class Config(pydantic.BaseModel):
    """Everything that decides what a run does. Frozen; two equal configs make equal runs.

    name: of the run's folder under runs/; a number is added where it is taken.
    grammar: name or path of the grammar file. seeds: names or paths of .arch files that start in the population.
    task: "digits", a path, "table:FILE.csv" or "package.module:function".
    layers, operators: files and folders of the user's own; code, so never taken from a run's folder.
    seed: of all randomness.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=False)

    name: str = ""
    grammar: str = "einspace"
    task: str = "digits"
    seed: int = pydantic.Field(default=0, ge=0)
    seeds: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    search: SearchSettings = SearchSettings()
    limits: Limits = Limits()
    recipe: Recipe = Recipe()
    final: Recipe = Recipe()
    workers: WorkerSettings = WorkerSettings()
    data: TaskSettings = TaskSettings()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _final_follows_recipe(cls, data: dict[str, Any]) -> dict[str, Any]:
        """[final] says only how it differs from [recipe]: what it leaves out is the recipe's, epochs times four."""
        recipe = data.get("recipe", {})
        epochs = recipe.get("epochs", Recipe().epochs)
        follow = {**recipe, "epochs": epochs * FINAL_EPOCHS if isinstance(epochs, int) else epochs}
        return {**data, "recipe": recipe, "final": {**follow, **data.get("final", {})}}


def load(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration in a TOML file, or the defaults, with `overrides` (dotted keys to values) laid over it.

    Paths in the file are relative to the file. Raises ConfigError.
    """
    data: dict[str, Any] = {}
    where = "command line"
    if path is not None:
        where = str(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such config file; `evolve init` writes one to start from") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        check_keys(data, where)
        data = _beside(path.parent, data)
    for key, value in (overrides or {}).items():
        check_keys(_nest(key, value), "command line")
        _lay(data, key, value)
    return validate(data, where)


def loads(text: str, where: str = "<text>") -> Config:
    """The configuration that TOML text says. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    check_keys(data, where)
    return validate(data, where)


def dumps(config: Config) -> str:
    """The configuration as TOML, every key written out; keys that are None (no limit, say) are left out."""
    import tomli_w

    return tomli_w.dumps(_without_none(config.model_dump(mode="python")))


def parse_setting(text: str) -> tuple[str, Any]:
    """`search.budget=80` as (key, value): the value as TOML reads it, else the text itself. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: say KEY=VALUE, as in --set search.budget=80")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def validate(data: Mapping[str, Any], where: str) -> Config:
    """The model of plain data whose keys are known; a wrong value is one line that names its key."""
    try:
        return Config.model_validate(data)
    except pydantic.ValidationError as error:
        first, *rest = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"][0].lower() + first["msg"][1:]
        got = first["input"] if isinstance(first["input"], str | int | float | bool) else type(first["input"]).__name__
        more = f" (and {len(rest)} more)" if rest else ""
        raise ConfigError(f"{where}: {key}: {message}, not {got!r}{more}") from None


def check_keys(data: Mapping[str, Any], where: str) -> None:
    """Refuse keys that no setting has, with near names. Raises ConfigError."""
    for key, value in data.items():
        table = tables().get(key)
        if table is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {key} is a table; say [{key}] and its keys below, or {key}.KEY = ...")
            for inner in value:
                if inner not in table:
                    raise ConfigError(f"{where}: unknown key {key}.{inner}; {_near(inner, table, prefix=f'{key}.')}")
        elif key not in Config.model_fields:
            raise ConfigError(f"{where}: unknown key {key}; {_near(key, [*Config.model_fields, *_homes(key)])}")


def tables() -> dict[str, tuple[str, ...]]:
    """The keys of each table: those of the settings dataclass that stands for it."""
    found = {}
    for name, info in Config.model_fields.items():
        if isinstance(info.annotation, type) and dataclasses.is_dataclass(info.annotation):
            found[name] = tuple(field.name for field in dataclasses.fields(info.annotation))
    return found


def _homes(key: str) -> list[str]:
    """Where a key that stands outside its table belongs: `budget` -> search.budget."""
    return [f"{table}.{key}" for table, keys in tables().items() if key in keys]


def _near(wrong: str, known: Iterable[str], prefix: str = "") -> str:
    names = list(known)
    near = [name for name in names if "." in name] or difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(prefix + name for name in near)}?"
    return f"there are: {', '.join(sorted(names))}"


def _nest(key: str, value: Any) -> dict[str, Any]:
    head, dot, tail = key.partition(".")
    return {head: _nest(tail, value) if dot else value}


def _lay(data: dict[str, Any], key: str, value: Any) -> None:
    *tables_, last = key.split(".")
    for table in tables_:
        data = data.setdefault(table, {})
    data[last] = value


def _beside(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Paths that stand beside the config file, made absolute; names on the search path stay names."""

    def resolve(text: Any) -> Any:
        at = folder / text if isinstance(text, str) else folder
        return str(at.resolve()) if at.is_file() or (at.is_dir() and text in at.parts and "/" in text) else text

    return {
        key: [resolve(item) for item in value]
        if key in ("seeds", "layers", "operators") and isinstance(value, list)
        else resolve(value)
        if key in ("grammar", "task")
        else value
        for key, value in data.items()
    }


def _without_none(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_none(value) for key, value in data.items() if value is not None}
    if isinstance(data, list | tuple):
        return [_without_none(value) for value in data]
    return str(data) if isinstance(data, Path) else data


__all__ = ["Config", "check_keys", "dumps", "load", "loads", "parse_setting", "validate"]
