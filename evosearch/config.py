"""A run's configuration: one model made of its owners' settings, read from TOML, printed resolved.

    name = "demo"                    # top-level keys: which space, which task
    grammar = "einspace"
    task = "digits"

    [search]                         # each table is one owner's frozen dataclass:
    budget = 80                      #   search    evosearch.search.SearchSettings
                                     #   limits    evosearch.architecture.Limits
    [recipe]                         #   recipe    evosearch.evaluation.recipe.Recipe, how a candidate is trained
    epochs = 8                       #   final     likewise, how the best one is trained: what differs from recipe
                                     #   workers   evosearch.workers.WorkerSettings
                                     #   data      evosearch.tasks.TaskSettings, how a task's files are read
                                     #   strategy  the strategy's own settings, as its file says

What the command line says wins over the file, the file over the defaults. An unknown key is an error that offers near
names. `dumps` prints every key with its value; `loads(dumps(config)) == config`.

A key that is added has its *neutral* value beside it, which does what was done before there was such a key:
`field(default=0.5, metadata={"neutral": 0.0})` in a table, `Annotated[float, _neutral(0.0)] = 0.5` at the top. A run
that was started without the key goes on with that value, whatever the default is by then.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from evosearch.architecture import Limits
from evosearch.ensemble import EnsembleSettings
from evosearch.errors import ConfigError
from evosearch.evaluation.hardware import HardwareSettings
from evosearch.evaluation.recipe import Recipe
from evosearch.paths import bundled, is_file, is_folder, project, run_around
from evosearch.search import SearchSettings
from evosearch.tasks import TaskSettings
from evosearch.text import decoded, kept, restored
from evosearch.workers import WorkerSettings

# What a run does that says nothing: a few minutes on two cores with the digits task.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"search": {"budget": 80}}
# What people call keys after other libraries, where the letters alone do not say which is meant.
CALLED: Mapping[str, str] = {
    **dict.fromkeys(("learning_rate", "eta", "lr0"), "lr"),
    **dict.fromkeys(("wd", "l2", "decay"), "weight_decay"),
    **dict.fromkeys(("optim", "solver"), "optimizer"),
    **dict.fromkeys(("scheduler", "lr_scheduler"), "schedule"),
    **dict.fromkeys(("grad_clip", "max_grad_norm"), "clip"),
    **dict.fromkeys(("generations", "trials", "n_trials", "max_evals"), "budget"),
    **dict.fromkeys(("n_jobs", "jobs", "processes", "num_workers"), "workers"),
    **dict.fromkeys(("timeout", "max_time"), "time_limit"),
    **dict.fromkeys(("pop_size", "mu"), "population"),
    **dict.fromkeys(("y", "label", "label_column"), "target"),
}
BUILT_IN = ("digits",)  # tasks whose name comes before a folder of that name
# Where what a config names may lie beside it; a run's own config has the run's seeds there.
BESIDE = {"grammar": ("grammars/{}.lark",), "seeds": ("grammars/seeds/{}.arch", "grammar/seeds/{}.arch")}
NAMELESS = ("layers", "operators", "learn_from")  # files and folders, never a name on the search path
FROM_SEED = (("search", "seed"), ("recipe", "seed"), ("final", "seed"))  # set by the one `seed` at the top
NO_LIMIT = "none"  # TOML has no null
OPEN = ("strategy",)  # tables whose keys a plug-in's own settings check
FREE = (
    "name",
    "workers",
    "log",
    "layers",
    "operators",
    "time",
    "task",
)  # no part of what a run finds, or compared by their digests
NO_END = 1_000_000_000  # the budget of a run that ends with its time
FINAL_EPOCHS = 4  # the final training's epochs, as a multiple of a candidate's, where [final] does not say


def _neutral(value: Any) -> Any:
    return pydantic.Field(json_schema_extra={"neutral": value})


class Config(pydantic.BaseModel):
    """Everything that decides what a run does. Frozen; two equal configs make equal runs.

    name: of the run's folder under runs/; a number is added where it is taken.
    grammar: name or path of the grammar file.
    task: "digits", a path, "table:FILE.csv" or "package.module:function".
    seeds: names or paths of .arch files, or sentences, that start in the population.
    layers, operators: files and folders of the user's own; code, so never taken from a run's folder.
    log: where evaluations are written besides evaluations.csv and evaluations.jsonl: "tensorboard", "mlflow", "wandb",
        and the names of logs of the user's own (operators/log/NAME.py). No part of what a run finds.
    time: how long the run may take, the final training included: "10m", "90s", "1h30m"; empty: as long as its
        candidates do. It decides when a run ends, and what follows for settings that nobody gave. With a time and no
        budget, the budget has no end.
    evaluator: how a candidate is scored, of the user's own; empty: by training it, or by the task itself.
    head: what stands behind every network, of the user's own; empty: the head that the kind of task has.
    learn_from: folders of other runs, from whose candidates the surrogate that screens learns, too; what they say is
        kept in the run's folder.
    strategy: what the search's strategy has of settings of its own.
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
    log: Annotated[tuple[str, ...], _neutral([])] = ()
    time: Annotated[str, _neutral("")] = ""
    evaluator: Annotated[str, _neutral("")] = ""
    head: Annotated[str, _neutral("")] = ""
    learn_from: Annotated[tuple[str, ...], _neutral([])] = ()
    search: SearchSettings = SearchSettings()
    strategy: Annotated[Mapping[str, Any], _neutral({})] = {}
    limits: Limits = Limits()
    recipe: Recipe = Recipe()
    final: Recipe = Recipe()
    ensemble: Annotated[EnsembleSettings, _neutral({})] = EnsembleSettings()
    workers: WorkerSettings = WorkerSettings()
    data: TaskSettings = TaskSettings()
    hardware: Annotated[HardwareSettings, _neutral({})] = HardwareSettings()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _complete(cls, data: dict[str, Any]) -> dict[str, Any]:
        """What one key decides for several tables: the seed for all of them, [recipe] for what [final] leaves out."""
        data = {key: dataclasses.asdict(value) if _is_table(value) else value for key, value in data.items()}
        seed = data.get("seed", 0)
        recipe = {**data.get("recipe", {}), "seed": seed}
        epochs = recipe.get("epochs", Recipe().epochs)
        follow = {**recipe, "epochs": epochs * FINAL_EPOCHS if isinstance(epochs, int) else epochs, "stop": "off"}
        limits = {key: None if value == NO_LIMIT else value for key, value in data.get("limits", {}).items()}
        time = data.get("time", "")
        budget = {"budget": NO_END} if time else DEFAULTS["search"]
        return {
            **data,
            "time": str(time),
            "search": {**budget, **data.get("search", {}), "seed": seed},
            "limits": limits,
            "recipe": recipe,
            "final": {**follow, **data.get("final", {}), "seed": seed},
        }

    @pydantic.field_validator("time")
    @classmethod
    def _a_time(cls, text: str) -> str:
        if text:
            seconds(text)
        return text


def seconds(text: str) -> float:
    """The seconds of a time as people write it: 90, 90s, 10m, 1h30m, 1.5h. Raises ValueError."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    found = re.fullmatch(r"(?:[0-9]*\.?[0-9]+\s*[hms]\s*)+", text.strip())
    if found:
        parts = re.findall(r"([0-9]*\.?[0-9]+)\s*([hms])", text)
        total = sum(float(number) * units[unit] for number, unit in parts)
    else:
        try:
            total = float(text)
        except ValueError:
            raise ValueError("a time is written as 10m, 90s or 1h30m") from None
    if not (total > 0 and math.isfinite(total)):
        raise ValueError("a time is above 0, as 10m, 90s or 1h30m")
    return total


def load(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration in a TOML file, or the defaults, with `overrides` (dotted keys to values) laid over it.

    Paths in the file are relative to the file; `operators/` beside it belongs to it, and what lies in `grammars/` and
    `grammars/seeds/` there goes by its name. Raises ConfigError.
    """
    return validate(*read(path, overrides))


def read(path: Path | None, overrides: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """What a TOML file and `overrides` give, as `load` takes it, without the defaults; and where, for errors."""
    data: dict[str, Any] = {}
    where = "command line"
    if path is not None:
        where = str(path)
        try:
            data = _parsed(decoded(path.read_bytes()))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such config file; `evolve init` writes one to start from") from None
        except OSError as error:
            said = _meant_as(path, "name a config file")
            raise ConfigError(f"{path}: cannot be read: {error.strerror}; {said}") from error
        except UnicodeDecodeError as error:
            said = _meant_as(path, "a config is a TOML file")
            raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}; {said}") from None
        except tomllib.TOMLDecodeError as error:
            said = _meant_as(path, "")
            raise ConfigError(f"{path}: not TOML: {error}{said and f'; {said}'}") from None
        check_keys(data, where)
        data = _with_paths(data, path.parent, beside=path.parent.resolve() != project())
    _override(data, overrides or {})
    if path is not None:
        _add_operators(data, path.parent)
    return data, where


def _meant_as(path: Path, otherwise: str) -> str:
    """How a file that is no config is named: a grammar by its flag, anything that is not called *.toml as data."""
    if path.suffix == ".toml":
        return otherwise
    flag = {".lark": "--grammar", ".arch": "--start"}.get(path.suffix, "--task")
    return f"a config is a TOML file; say {flag} {path}"


def loads(text: str, where: str = "<text>", overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration that TOML text says, with `overrides` laid over it as in `load`. Raises ConfigError.

    Names in the text stay as they are: none is looked for in any folder.
    """
    try:
        data = _parsed(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    check_keys(data, where)
    _override(data, overrides or {})
    return validate(data, where)


def dumps(config: Config) -> str:
    """The configuration as TOML, every key written out."""
    import tomli_w

    data = config.model_dump(mode="python")
    for table, key in FROM_SEED:
        del data[table][key]
    return tomli_w.dumps(_toml(data))


def recorded(text: str, where: str = "<text>") -> Config:
    """The configuration that a run wrote down. Keys that it was started without have their neutral values."""
    try:
        data = _parsed(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    check_keys(data, where)
    for name, info in Config.model_fields.items():
        if isinstance(info.json_schema_extra, dict) and "neutral" in info.json_schema_extra:
            data.setdefault(name, info.json_schema_extra["neutral"])
        if name in data and isinstance(info.annotation, type) and dataclasses.is_dataclass(info.annotation):
            for field in dataclasses.fields(info.annotation):
                if "neutral" in field.metadata:
                    data[name].setdefault(field.name, field.metadata["neutral"])
    return validate(data, where)


def differences(text: str, config: Config) -> list[str]:
    """What of a run's written configuration is otherwise in `config`, a line each: `search.window: 50 then, 40 now`.

    What a resume may change (FREE) and the budget are left out.
    """
    then, now = flat(_parsed(text)), flat(_parsed(dumps(config)))
    return [
        f"{key}: {value!r} then, {now.get(key)!r} now"
        for key, value in then.items()
        if key.partition(".")[0] not in FREE and key != "search.budget" and now.get(key) != value
    ]


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        inner = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, Mapping) else {key: value}
        found |= inner
    return found


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables: the opposite of `flat`."""
    data: dict[str, Any] = {}
    for key, value in keys.items():
        _lay(data, _nest(key, value))
    return data


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
        said = first["msg"].removeprefix("Value error, ")
        message = said[0].lower() + said[1:]
        got = first["input"] if isinstance(first["input"], str | int | float | bool) else type(first["input"]).__name__
        # [final] follows [recipe]: one mistake there is told once.
        rest = [one for one in rest if one["loc"][1:] != first["loc"][1:] or one["input"] != first["input"]]
        more = f" (and {len(rest)} more)" if rest else ""
        if first["type"] in {"tuple_type", "list_type"}:
            message = "a list is wanted, as " + (f'["{got}"]' if isinstance(first["input"], str) else f"[{got}]")
        near = _meant(got, re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", ""))))
        raise ConfigError(f"{where}: {key}: {message}, not {got!r}{near}{more}") from None


def _meant(wrong: Any, known: Sequence[str]) -> str:
    """The name that someone meant who wrote another, in words; empty where none is near."""
    near = difflib.get_close_matches(str(wrong).lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_keys(data: Mapping[str, Any], where: str) -> None:
    """Refuse keys that no setting has, with near names. Raises ConfigError."""
    for key, value in data.items():
        table = tables().get(key)
        if key in OPEN:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {key} is a table; say [{key}] and its keys below, or {key}.KEY = ...")
        elif table is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {key} is a table; say [{key}] and its keys below, or {key}.KEY = ...")
            for inner in value:
                if (key, inner) in FROM_SEED:
                    raise ConfigError(
                        f"{where}: {key}.{inner}: say seed at the top, outside every table; it sets them all"
                    )
                if inner not in table:
                    raise ConfigError(f"{where}: unknown key {key}.{inner}; {_near(inner, table, prefix=f'{key}.')}")
        elif isinstance(value, Mapping) and key in Config.model_fields:
            raise ConfigError(f"{where}: {key} is a single value, not a table; the tables are {', '.join(tables())}")
        elif key not in Config.model_fields:
            raise ConfigError(f"{where}: unknown key {key}; {_near(key, [*Config.model_fields, *_homes(key)])}")


def tables() -> dict[str, tuple[str, ...]]:
    """The keys of each table: those of the settings dataclass that stands for it."""
    found = {}
    for name, info in Config.model_fields.items():
        if isinstance(info.annotation, type) and dataclasses.is_dataclass(info.annotation):
            fields = dataclasses.fields(info.annotation)
            found[name] = tuple(field.name for field in fields if (name, field.name) not in FROM_SEED)
    return found


def _homes(key: str) -> list[str]:
    """Where a key that stands outside its table belongs: `budget` -> search.budget; a mistyped one, what is near."""
    homes = {inner: f"{table}.{inner}" for table, keys in reversed(tables().items()) for inner in keys}
    if key in homes:
        return [f"{table}.{key}" for table, keys in tables().items() if key in keys]
    own = difflib.get_close_matches(key, Config.model_fields, n=1, cutoff=0.6)
    return [] if own else [homes[name] for name in difflib.get_close_matches(key, homes, n=3, cutoff=0.7)]


def _near(wrong: str, known: Iterable[str], prefix: str = "") -> str:
    names = list(known)
    if (said := CALLED.get(wrong.lower())) in names:
        return f"did you mean {prefix}{said}?"
    near = [name for name in names if "." in name] or difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(prefix + name for name in near)}?"
    return f"there are: {', '.join(sorted(names))}"


def _is_table(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _nest(key: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value as {"a": {"b": value}}."""
    head, dot, tail = key.partition(".")
    return {head: _nest(tail, value) if dot else value}


def _override(data: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Lay what the command line says over the data of a configuration. Paths in it are relative to here."""
    for key, value in overrides.items():
        nested = _nest(key, value)
        check_keys(nested, "command line")
        _lay(data, _with_paths(nested, Path()))


def _add_operators(data: dict[str, Any], folder: Path) -> None:
    """The operators that lie beside a config count as named by it, where they are not found anyway; no run's do."""
    beside = folder.resolve() / "operators"
    found = [root / "operators" for root in (project(), bundled()) if root is not None]
    given = data.get("operators", [])
    if isinstance(given, list) and is_folder(beside) and beside not in found and run_around(beside) is None:
        data["operators"] = [*given, str(beside)]


def _lay(data: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay settings over others, table by table."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(data.get(key), Mapping):
            data[key] = {**data[key], **value}
        else:
            data[key] = value


def _with_paths(data: Mapping[str, Any], folder: Path, *, beside: bool = False) -> dict[str, Any]:
    """The files that settings name, made absolute, so that a run resumes from any folder; other names stay names.

    beside: names may be of files that lie in the folder's own grammars/, which is not on the search path.
    """

    def absolute(key: str, text: Any) -> Any:
        if not isinstance(text, str):
            return text
        kind, colon, rest = text.rpartition(":")
        path = folder / rest
        # A bare word is the name of a grammar or a seed on the search path; NAMELESS keys hold no such names.
        folder_of_data = key == "task" and not colon and rest not in BUILT_IN and is_folder(path)
        looks_like_a_path = path.suffix or "/" in rest or key in NAMELESS or folder_of_data
        if looks_like_a_path and (is_file(path) or is_folder(path)):
            return f"{kind}{colon}{path.resolve()}"
        named = (folder / pattern.format(text) for pattern in BESIDE.get(key, ())) if beside else ()
        return next((str(file.resolve()) for file in named if is_file(file)), text)

    found = dict(data)
    for key in ("grammar", "task", "seeds", *NAMELESS):
        if key in data:
            value = data[key]
            found[key] = [absolute(key, text) for text in value] if isinstance(value, list) else absolute(key, value)
    for table in ("recipe", "final"):
        settings = found.get(table)
        if isinstance(settings, Mapping) and "teacher" in settings:
            found[table] = {**settings, "teacher": absolute("teacher", settings["teacher"])}
    hardware = found.get("hardware")
    if isinstance(hardware, Mapping) and "table" in hardware:
        found["hardware"] = {**hardware, "table": absolute("table", hardware["table"])}
    return found


def _toml(data: Any) -> Any:
    """Plain data as TOML can say it: a path of any bytes with those escaped that are no text."""
    if isinstance(data, Mapping):
        return {key: NO_LIMIT if value is None else _toml(value) for key, value in data.items()}
    if isinstance(data, str):
        return kept(data)
    return [_toml(value) for value in data] if isinstance(data, list | tuple) else data


def _parsed(text: str) -> dict[str, Any]:
    """The data in TOML text, what `_toml` escaped as it was. Raises TOMLDecodeError."""
    data: dict[str, Any] = _restored(tomllib.loads(text))
    return data


def _restored(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _restored(value) for key, value in data.items()}
    if isinstance(data, str):
        return restored(data)
    return [_restored(value) for value in data] if isinstance(data, list) else data


__all__ = [
    "Config",
    "check_keys",
    "differences",
    "dumps",
    "load",
    "loads",
    "parse_setting",
    "recorded",
    "seconds",
    "validate",
]
