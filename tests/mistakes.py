"""Every error that the command line can give, as one table: what is typed, where, and what the answer says.

`tests/test_errors.py` drives it, and looks for places in evosearch/ that raise an error which no row reaches. Mistakes
in grammar files have a table of their own, the folder tests/grammar_mistakes/.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import lzma
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from evosearch import config as configuration
from evosearch import engine, given
from evosearch.cli import FAILED, USAGE
from evosearch.cost import Cost
from evosearch.engine import timing
from evosearch.score import Score
from evosearch.store import framing
from evosearch.store.framing import JOURNAL
from evosearch.store.run import Run
from tests.chaos import sessions
from tests.journals import append_score
from tests.report_runs import created
from tests.test_export import SECOND, finished_run, key_of, write_data
from tests.test_tasks import ARRAY_MISTAKES, HEADERS, PEOPLE, TEXT_MISTAKES, idx_folder, image_folder, npz
from tests.test_tasks_table import BROKEN_TABLES, TABLE_MISTAKES
from tests.watch import Silent

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Mistake:
    """One error the command can give: what is typed, how it exits, what its line says.

    prepare: what lies in the folder. carets: the source follows, with a caret. notes: lines may stand above the error.
    leaves: the command gets so far that it leaves something. patches: what is otherwise than on this machine.
    """

    arguments: str
    code: int
    says: tuple[str, ...]
    prepare: Prepare | None = None
    carets: bool = False
    notes: bool = False
    leaves: bool = False
    patches: Mapping[str, Any] | None = None


def usage(arguments: str, *says: str, at: Prepare | None = None, **more: Any) -> Mistake:
    return Mistake(arguments, USAGE, says, at, **more)


def failed(arguments: str, *says: str, at: Prepare | None = None, **more: Any) -> Mistake:
    return Mistake(arguments, FAILED, says, at, **more)


# --- what lies in the folder -----------------------------------------------------------------------------------------

TINY = """\
// input: image
start: "seq" "(" step "," step ")" -> sequential
?step: "norm" -> norm | "linear" "(" WIDTH ")" -> linear
WIDTH: "16" | "32"
"""
BIG = TINY.replace('"norm" -> norm | ', "")  # no sentence of it is without parameters
BITS = '// input: none\nstart: bit bit\nbit: "0" -> zero | "1" -> one\n'
POINTS = "a,b,c\n" + "".join(f"{n % 7},{n % 5},{'xy'[n % 2]}\n" for n in range(60))
LONG = f"branching({'(norm,' * 60}"  # longer than a file's name may be, and no sentence


def write(name: str, content: str | bytes) -> Prepare:
    def prepare(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def both(*steps: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        for step in steps:
            step(folder)

    return prepare


def folder(name: str) -> Prepare:
    return lambda at: (at / name).mkdir(parents=True)


def empty(name: str, **files: str) -> Prepare:
    """A run without a proposal."""
    contents = {f"{key}.toml": text for key, text in files.items()}
    return lambda at: Run.create(at / "runs" / name, header={}, files=contents).close()


def broken_run(at: Path) -> None:
    Run.create(at / "runs/broken", header={}, files={}).close()
    journal = at / "runs/broken/journal.msgpack"
    data = bytearray(journal.read_bytes())
    data[-1] ^= 0xFF
    journal.write_bytes(data)


tiny, big = write("tiny.lark", TINY), write("big.lark", BIG)
bits = both(write("bits.lark", BITS), write("bits.csv", "arch,fitness\n00,0\n01,1\n10,1\n11,2\n"))
points = write("points.csv", POINTS)


@functools.cache
def _searched() -> Path:
    """A finished run of twelve evaluations over words, made once a process; the grammar and the table beside it."""
    at = Path(tempfile.mkdtemp(prefix="evosearch-test-"))
    engine.start(sessions.config(sessions.words(at, letters=3), 12, 0), at / "run", Silent())
    return at


def words(at: Path) -> None:
    """runs/words: a copy of that run, and words.lark, its grammar."""
    shutil.copytree(_searched() / "run", at / "runs/words")
    shutil.copy(_searched() / "words.lark", at)


def ablated(at: Path) -> None:
    """runs/whole-0: a run of another configuration than any that an ablation in `runs` would make."""
    shutil.copytree(_searched() / "run", at / "runs/whole-0")


def forged(header: Mapping[str, Mapping[str, Any]] | None = None, change: Mapping[int, str] | None = None) -> Prepare:
    """runs/words as someone would have it who writes journals: another header, other texts by number."""

    def prepare(at: Path) -> None:
        old = Run.open(_searched() / "run")
        files = {name: (old.folder / name).read_bytes() for name in old.header["files"]}
        changed = {name: {**old.header[name], **value} for name, value in (header or {}).items()}
        with Run.create(at / "runs/words", header={**old.header, **changed}, files=files) as run:
            for record in old.records():
                plain = {key: value for key, value in record.items() if key != "kind"}
                if record["kind"] == "proposal":
                    text = (change or {}).get(record["number"], record["text"])
                    run.append_proposal({**plain, "text": text})
                else:
                    append_score(run, plain)

    return prepare


def imported(at: Path) -> None:
    """runs/words whose grammar imports its letters from a file beside it."""
    old = Run.open(_searched() / "run")
    files = {name: (old.folder / name).read_bytes() for name in old.header["files"]}
    first, _, letters = files["grammar/words.lark"].decode().partition("letter: ")
    files["grammar/words.lark"] = (first + "\n%import .parts.letter\n").encode()
    files["grammar/parts.lark"] = ("letter: " + letters).encode()
    with Run.create(at / "runs/words", header=old.header, files=files) as run:
        run.append_proposal({"number": 0, "key": "0" * 32, "text": "abc", "parents": [], "operator": "sample"})
        score = {"key": "0" * 32, "status": "ok", "objectives": {"fitness": 1.0}, "cost": {}}
        append_score(run, {**score, "number": 0})


def appended(data: bytes) -> Prepare:
    """runs/words with something behind its journal."""

    def prepare(at: Path) -> None:
        words(at)
        with (at / "runs/words/journal.msgpack").open("ab") as journal:
            journal.write(data)

    return prepare


def cut(at: Path) -> None:
    """runs/words whose journal lost what its checkpoint reflects."""
    words(at)
    ends = [end for end, _ in Run.open(at / "runs/words").located()]
    with (at / "runs/words/journal.msgpack").open("r+b") as journal:
        journal.truncate(ends[3])


def without_its_archive(at: Path) -> None:
    """runs/words whose checkpoint goes with an archive that is gone."""
    words(at)
    (at / "runs/words/archive.bin").unlink()


def other_state(at: Path) -> None:
    """runs/words with the checkpoint of a later evosearch."""
    words(at)
    with Run.open(at / "runs/words", write=True) as run:
        loaded = run.load_checkpoint()
        assert loaded
        run.write_checkpoint({**loaded.state, "version": 99})


def checkpoint(data: bytes) -> Prepare:
    def prepare(at: Path) -> None:
        words(at)
        path = at / "runs/words/checkpoint.msgpack"
        path.write_bytes(data or path.read_bytes()[:-1])

    return prepare


def another_s_checkpoint(at: Path) -> None:
    words(at)
    with Run.create(at / "other", header={}, files={}) as run:
        run.write_checkpoint({})
    shutil.copy(at / "other/checkpoint.msgpack", at / "runs/words")


def changed(name: str, change: Callable[[bytes], bytes]) -> Prepare:
    """runs/words with one of its files otherwise."""

    def prepare(at: Path) -> None:
        words(at)
        path = at / "runs/words" / name
        path.write_bytes(change(path.read_bytes()))

    return prepare


_held: list[Run] = []  # so that a lock outlives the function that took it


def held(at: Path) -> None:
    """runs/words while someone writes it."""
    words(at)
    _held[:] = [Run.open(at / "runs/words", write=True)]


CONFIG = configuration.validate({"grammar": "einspace", "search": {"budget": 3}}, "test")


def made_up(name: str, scores: str = "o-o", config: Mapping[str, Any] | None = None, **header: Any) -> Prepare:
    """A run of einspace with a score for each letter (o: it succeeded, -: it failed), made up."""

    def prepare(at: Path) -> None:
        settings = configuration.validate({"grammar": "einspace", **(config or {})}, "test")
        with created(at / "runs" / name, settings, **header) as run:
            for number, letter in enumerate(scores):
                key = f"{number:x}" * 32
                made = {"number": number, "key": key, "text": "norm", "parents": [], "operator": "sample", "seed": 1}
                run.append_proposal(made)
                objectives = {"accuracy": 0.5, "params": 1.0} if letter == "o" else {}
                status: Any = "ok" if letter == "o" else "nan"
                score = Score(key, status, objectives, cost=Cost(params=100), seconds=1.0)
                append_score(run, {"number": number, **score.pack()})

    return prepare


def ended(name: str, used: float, final: float, **config: Any) -> Prepare:
    """A run that came to the end of its time: seconds that it used of it, and of these for its final training."""

    def prepare(at: Path) -> None:
        made_up(name, config=config)(at)
        with Run.open(at / "runs" / name, write=True) as run:
            run.append_note(timing.opened(0.0))
            run.append_note(timing.closed(used))
            run.write_best({"metrics.json": json.dumps({"seconds": final}), "architecture.arch": "norm"})

    return prepare


def metrics_that_are_no_json(at: Path) -> None:
    made_up("first")(at)
    with Run.open(at / "runs/first", write=True) as run:
        run.write_best({"metrics.json": "{", "architecture.arch": "norm"})


def without_grammar(name: str) -> Prepare:
    def prepare(at: Path) -> None:
        made_up(name)(at)
        shutil.rmtree(at / "runs" / name / "grammar")

    return prepare


def trained(metrics: str) -> Prepare:
    """A folder like those of `evolve train`."""
    contents = {
        "config.toml": 'grammar = "mlp.lark"\n',
        "metrics.json": metrics,
        "weights.safetensors": "",
        "mlp.lark": "",
    }
    return both(*(write(f"net/{name}", text) for name, text in contents.items()))


def own_code(kind: str, place: str) -> Prepare:
    """A run that was begun with own layers or operators which lie there now."""

    def prepare(at: Path) -> None:
        where = at / place
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text("")
        settings = {"grammar": "einspace", kind: [str(where)]}
        text = configuration.dumps(configuration.validate(settings, "test"))
        Run.create(at / "made", header={"digests": {}, "grammar_file": "x"}, files={"config.toml": text}).close()
        shutil.copytree(at / "made", at / "runs/own", dirs_exist_ok=True)

    return prepare


def layers(text: str, grammar: str = '// input: vector\nstart: "x" -> mine\n') -> Prepare:
    return both(write("own.py", text), write("own.lark", grammar))


LAYER = """
from dataclasses import dataclass
from evosearch.layers.base import Leaf, register

@register("mine")
@dataclass(frozen=True)
class Mine(Leaf):
    {field}: {kind}

    def __post_init__(self):
        {check}

    def shape(self, x):
        return x
"""


def own_shape(gives: str, emits: str = "x") -> Prepare:
    """A layer of one's own, with what its methods give as Python writes it."""
    plain = LAYER.format(field="size", kind="int = 1", check="pass")
    methods = f"return {gives}\n\n    def emit(self, node, x, build):\n        return {emits}"
    return layers(plain.replace("return x", methods), '// input: vector\nstart: "x" -> mine | "y" start -> residual\n')


def layer(
    field: str = "size", kind: str = "int", check: str = "pass", word: str = "/[0-9]+/  // range=1..9 int"
) -> Prepare:
    grammar = f'// input: vector\nstart: "x" SIZE -> mine\nSIZE: {word}\n'
    return layers(LAYER.format(field=field, kind=kind, check=check), grammar)


def operator(text: str, name: str = "mine", kind: str = "mutate") -> Prepare:
    return write(f"ops/{kind}/{name}.py", text)


@functools.cache
def _finished() -> Path:
    """A run with a trained network, made once a process; where its data lie, it knows by their whole path."""
    at = Path(tempfile.mkdtemp(prefix="evosearch-test-"))
    with contextlib.chdir(at):
        finished_run(at)
    return at


def exported(*steps: Prepare) -> Prepare:
    """runs/first with a trained network, and then what the steps do to it."""

    def prepare(at: Path) -> None:
        shutil.copytree(_finished(), at, dirs_exist_ok=True)
        for step in steps:
            step(at)

    return prepare


def torn_weights(at: Path) -> None:
    path = at / "runs/first/best/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def described(**values: Any) -> Prepare:
    """What the network of runs/first is told of its examples, otherwise than it is."""

    def prepare(at: Path) -> None:
        path = at / "runs/first/best/data.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return prepare


of_columns = described(
    columns=[{"name": "a", "type": "number", "decimal": ".", "fill": 0.0, "flag": False}], names=["a", "y"]
)


def idx(name: str, content: bytes) -> Prepare:
    def prepare(at: Path) -> None:
        idx_folder(at / "mnist")
        (at / "mnist" / name).unlink(missing_ok=True)
        (at / "mnist" / name).write_bytes(content)

    return prepare


def arrays(at_name: str = "data.npz", **values: Any) -> Prepare:
    return lambda at: np.savez(at / at_name, **values)


def npy(**values: Any) -> Prepare:
    """A folder of arrays."""

    def prepare(at: Path) -> None:
        (at / "data").mkdir(exist_ok=True)
        for name, value in values.items():
            np.save(at / "data" / f"{name}.npy", value)

    return prepare


def pictures(change: Callable[[Path], object], **size: Any) -> Prepare:
    return lambda at: (image_folder(at / "pets", **size), change(at / "pets"))


def without_pictures(at: Path) -> None:
    shutil.rmtree(at)
    (at / "train/dog").mkdir(parents=True)


def mixed_pictures(at: Path) -> None:
    image_folder(at / "pets")
    image_folder(at / "large", (8, 8))
    shutil.copy(at / "large/dog/3.png", at / "pets/dog/3.png")


def split_pictures(at: Path) -> None:
    image_folder(at / "pets/train")
    image_folder(at / "pets/test")
    (at / "pets/test/dog").rename(at / "pets/test/wolf")


def deep_pictures(at: Path) -> None:
    from PIL import Image

    (at / "pets/cat").mkdir(parents=True)
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(at / "pets/cat/deep.png")
    Image.new("RGB", (2, 2)).save(at / "pets/cat/bright.png")


def ledger(content: bytes) -> Prepare:
    return write("theirs.msgpack", content)


def many_imports(at: Path) -> None:
    """Two imports a file, seven files deep."""
    for depth in range(8):
        imports = "".join(f"%import .{side}{depth + 1}.{side}{depth + 1}\n" for side in "ab") if depth < 7 else ""
        for side in "ab":
            body = f"a{depth + 1} b{depth + 1}" if depth < 7 else f'"{side}"'
            (at / f"{side}{depth}.lark").write_text(f"{side}{depth}: {body}\n{imports}")
    (at / "many.lark").write_text("start: a0\n%import .a0.a0\n")


def other_letters(at: Path) -> None:
    """runs/words, whose config names a grammar that has other words by now."""
    made = _searched()
    (at / "words.lark").write_text((made / "words.lark").read_text().replace('"a"', '"v"'))
    old = Run.open(made / "run")
    files = {name: (old.folder / name).read_bytes() for name in old.header["files"]}
    files["config.toml"] = files["config.toml"].replace(f"{made}/words.lark".encode(), f"{at}/words.lark".encode())
    with Run.create(at / "runs/words", header=old.header, files=files) as run:
        for record in old.records():
            plain = {key: value for key, value in record.items() if key != "kind"}
            if record["kind"] == "proposal" and "a" in record["text"]:
                run.append_proposal({**plain, "number": run.proposals})
                append_score(run, {"number": run.proposals - 1, "status": "ok"})


X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
SECOND_KEY = key_of(SECOND)


def taken(server: object) -> None:
    raise OSError(errno.EADDRINUSE, "Address already in use")


NO_MODULE = SimpleNamespace(find_spec=lambda name: None)


def refuse_import(name: str) -> Any:
    raise ImportError(name)


def nobody(*of: Any) -> Any:
    raise RuntimeError("Could not determine home directory.")


# --- the table -------------------------------------------------------------------------------------------------------

TASK = "run --dry-run --grammar mlp --task"
IMAGES = "run --dry-run --grammar tiny_cnn --task"
TABLE = "run --dry-run --grammar bits.lark --task table:t.csv"
VECTOR = "run --grammar mlp --task points.csv --device cpu --set workers.pool=inline --set recipe.epochs=1 --quiet"

JOINT = """\
// input: vector
start: {start}
net: "relu" -> relu
word: setting -> recipe
setting: KEY "=" VALUE -> setting
KEY: "{key}"
VALUE: "{value}"
"""


def joint(key: str = "lr", value: str = "0.1", start: str = 'net "@" word -> with_recipe') -> Prepare:
    """points.csv, and a grammar whose sentences say one field of their recipe."""
    return both(points, write("joint.lark", JOINT.format(start=start, key=key, value=value)))


INNER = 'inner\ninner: net "@" word -> with_recipe'
LATE = f"{TASK} points.csv --set search.objectives=['accuracy','table_latency']"
ENERGY = f"{TASK} points.csv --set search.objectives=['accuracy','energy']"
RAPL = "evosearch.evaluation.hardware.RAPL"

COMMANDS = [
    usage("fly", "No such command 'fly'", "evolve --help"),
    usage("run --bugdet 3", "No such option: --bugdet", "--budget", "evolve run --help"),
    usage("run --budget many", "--budget", "valid integer"),
    usage("run --budget 0", "--budget", "greater than or equal to 1"),
    usage("resume", "Missing argument 'RUN' (a run's folder, or its name in runs/); see evolve resume --help"),
    usage("refine norm", "Missing option '--latency' (that a call may take: 3ms, 800us); see evolve refine --help"),
    usage("init here", "here: a file is in the way", "another folder", at=write("here", "")),
    usage("init", "evosearch.toml is there already"),
    usage("bench nothing --grammar tiny.lark --seeds 1", "no task 'nothing'", at=tiny),
    usage("bench nothing --grammar tiny.lark --budgets 5,x", "--budgets 5,x", at=tiny),
    usage("bench table:bits.csv --grammar bits.lark --budgets ,", "at least one seed and budgets", at=bits),
    usage("bench table:bits.csv --grammar bits.lark --seconds 60", "--seconds: ", "cost=COLUMN", at=bits),
    usage("bench table:bits.csv --grammar bits.lark --rungs 0.1,x", "--rungs 0.1,x: say shares", at=bits),
    usage("bench table:bits.csv --grammar bits.lark --set strategy.step=0.1", "--set strategy.step: ", at=bits),
    usage("bench table:bits.csv --grammar bits.lark --csv no/out.csv", "--csv no/out.csv: there is no folder", at=bits),
    usage("bench digits --grammar tiny.lark --seeds 1", "digits: a comparison needs a table or a function", at=tiny),
    usage("bench table:bits.csv --grammar tiny.lark --seeds 1", "no input shape is known", at=both(bits, tiny)),
    usage(
        "bench x --grammar mlp --strategies best", "no strategy named 'best'; there are: aging, local, netadapt, nsga2"
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --set recipe.proxies=['naswot']",
        "proxies are of networks that are trained",
        at=bits,
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --strategy walk --set strategy.by=flops",
        "strategy.by: a language without layers has no flops",
        at=bits,
    ),
    usage(
        "ablate --grammar bits.lark --task table:bits.csv --seeds 1 --output runs",
        "whole-0: ",
        "; name another --output",
        at=both(bits, ablated),
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --learn-from runs/words",
        "learn_from is for the surrogate that screens",
        at=both(bits, words),
    ),
    usage(
        "run --grammar tiny_cnn --task digits --set search.proxies=['naswot']",
        "search.proxies is for the surrogate that screens; say how many drafts: search.screen = 20",
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --learn-from runs/words --set search.screen=4 "
        "--set search.objectives=['-fitness']",
        "learn_from: ",
        "not for -fitness",
        at=both(bits, words),
    ),
    usage(
        "learn words -o better.lark --prune 2",
        "--prune needs LightGBM: pip install 'evosearch[lightgbm]'",
        at=words,
        patches={"sys.modules": {"lightgbm": None}},
    ),
    usage("bench x --grammar mlp --policies best", "no policy named 'best'; there are: ", "uniform"),
    usage("cache gc", "--older-than DAYS"),
    usage("cache merge nothing", "nothing: no such file", "ledger"),
    usage("cache merge .", ".: a folder, and not a run's", "ledger"),
    failed("cache merge theirs.msgpack", "offset 0: its first 16 bytes are not those", "ledger", at=ledger(b"x" * 40)),
    failed(
        "cache merge theirs.msgpack",
        "written in format 2; this evosearch reads",
        at=ledger(framing.preamble(framing.LEDGER, 2)),
    ),
    failed(
        "cache ls",
        "this user has no home folder; EVOSEARCH_CACHE names another place",
        patches={"EVOSEARCH_CACHE": "", "pathlib.Path.expanduser": nobody},
    ),
    failed(
        "cache ls",
        "Is a directory",
        "look at the file",
        patches={"EVOSEARCH_CACHE": "cache"},
        at=folder("cache/ledger.msgpack"),
    ),
]

CONFIGS = [
    usage("run nothing.toml", "nothing.toml: no such config file", "evolve init"),
    usage("run bad.toml", "bad.toml: not TOML", "line 1", at=write("bad.toml", "search == 3")),
    usage("run odd.toml", "odd.toml: unknown key search.x", at=write("odd.toml", "search.x = 3")),
    usage(
        "run odd.toml", "odd.toml: unknown key bugdet; did you mean search.budget?", at=write("odd.toml", "bugdet = 3")
    ),
    usage("run odd.toml", "unknown key budget; did you mean search.budget?", at=write("odd.toml", "budget = 3")),
    usage("run odd.toml", "search is a table; say [search]", at=write("odd.toml", "search = 3")),
    usage("run odd.toml", "task is a single value, not a table", at=write("odd.toml", "[task]\nx = 3")),
    usage("run odd.toml", "search.seed: say seed at the top", at=write("odd.toml", "search.seed = 3")),
    usage("run runs", "Is a directory; a config is a TOML file; say --task runs", at=folder("runs")),
    usage("run bin.toml", "bin.toml: not UTF-8 text at byte 3", at=write("bin.toml", b"a='\xff'")),
    usage("run odd.toml", "unknown key sedd; did you mean seed", at=write("odd.toml", "sedd = 3")),
    usage("run --set search.budget", "--set search.budget: say KEY=VALUE"),
    usage("run --strategy best", "search.strategy", "there are: aging, local, netadapt, nsga2", "'best'"),
    usage("run --log csv", "log csv: there are mlflow, tensorboard, wandb; one of your own is operators/log/csv.py"),
    usage(
        "run --log tensorboard",
        "--log tensorboard needs tensorboard: pip install",
        patches={"evosearch.logs.tensorboard.util": NO_MODULE},
    ),
    usage(
        "run --log mlflow",
        "--log mlflow needs MLflow's client: pip install",
        patches={"evosearch.logs.mlflow.util": NO_MODULE},
    ),
    usage(
        "run --log wandb",
        "--log wandb needs the client of Weights & Biases: pip install",
        patches={"evosearch.logs.wandb.util": NO_MODULE},
    ),
    usage("run --name a/b", "--name a/b: a name, not a path"),
    usage("run --name a\nb", "--name 'a\\nb': line ends and other control characters make no name"),
    usage("run --name first", "runs/first exists", "evolve resume runs/first", at=write("runs/first/x", "")),
    failed(
        "run --runs here/runs --grammar bits.lark --task table:bits.csv",
        "here/runs: Not a directory: look at the file and its disk",
        at=both(bits, write("here", "")),
    ),
    usage("run --device gpu", "workers.device is 'gpu'", "cpu, cuda"),
    usage("run --device cuda:99", "workers.device is 'cuda:99', and torch", "use cpu"),
    usage("run --set workers.threads=0", "workers.threads: input should be greater than or equal to 1, not 0"),
    usage("run --executor rya", "workers.executor: no executor 'rya'; did you mean ray?"),
    usage("run --executor ray", "pip install 'evosearch[ray]'", patches={"sys.modules": {"ray": None}}),
    usage(
        "run --grammar bits.lark --task table:bits.csv --quiet --executor slurm --device cpu",
        "workers.workers: how many pilot jobs? say --workers N",
        at=bits,
        leaves=True,
        patches={"importlib.util.find_spec": lambda name: name},
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --quiet --executor slurm --device cpu",
        "pip install 'evosearch[slurm]'",
        at=bits,
        leaves=True,
        patches={"sys.modules": {"submitit": None}},
    ),
    usage("run --executor os:nothing", "workers.executor: os has no function 'nothing'"),
    usage("run --executor os:getpid", "os:getpid returned a int; return a concurrent.futures.Executor"),
    usage("run --set search.window=1", "search.window: input should be greater than or equal to 2, not 1"),
    usage("run --set search.alpha=2", "search.alpha: input should be less than or equal to 1, not 2"),
    usage("run --set search.initial=50", "search.initial = 50: at most population = 20 are kept"),
    usage(
        "run --set search.rungs=[0.5,0.1]", "search.rungs = [0.5, 0.1]: name rising shares, each above 0 and below 1"
    ),
    usage("run --set search.grow=true", "search.grow: there are no rungs to grow"),
    usage("run --set search.rungs=[0.5,0.6] --set recipe.epochs=4", "2, 2, 4 epochs; two rungs are the same"),
    usage(
        "run --set search.rungs=[0.5] --set recipe.inherit='parent' --set recipe.shorten='rows'",
        "search.rungs and recipe.inherit: a training goes on for more epochs",
    ),
    usage("run --set recipe.inherit='self'", "recipe.inherit: self: there are no rungs to go on from"),
    usage(
        "run --set recipe.rule=distillation --set recipe.teacher=parent",
        "recipe.teacher: parent: nobody begins with a parent's weights; say recipe.inherit = parent",
    ),
    usage("run --strategy netadapt", "search.strategy: netadapt loses little of one objective and lowers another"),
    usage("refine linear(16) --grammar mlp --latency 3", "--latency 3: say a time with its unit, as in 3ms"),
    usage(
        "refine linear(16) --grammar mlp --task points.csv --latency 9s --set workers.device=cpu",
        "re:--latency 9s: a call takes .* ms as it is; name a shorter time",
        at=points,
    ),
    usage(
        "refine linear(16) --grammar mlp --task points.csv --latency 0.001us --set workers.device=cpu",
        "re:--latency 0.001us: with all its layers narrowed a call takes .* ms still; name a longer time",
        at=points,
    ),
    *(
        usage(
            f"compress linear(16) --grammar mlp --task points.csv --set workers.device=cpu --set {said}",
            f"--set {said.partition('=')[0]}: what the command does says it, or a flag of it; leave it out",
            at=points,
        )
        for said in ("search.strategy=aging", "search.budget=9", "time=1m", "workers.executor=ray")
    ),
    usage(
        "compress linear(16) --grammar mlp --task points.csv --set search={population=9,strategy='aging'}",
        "--set search.strategy: what the command does says it",
        at=points,
    ),
    usage(
        "refine linear(16) --grammar mlp --task points.csv --latency 3us --set workers.workers=2",
        "--set workers.workers: what the command does says it",
        at=points,
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --set search.rungs=[0.5]",
        "search.rungs: bits has no evaluation of 0.5; a table has one in a column fitness@0.5",
        at=bits,
    ),
    usage("run --set search.replacement=true", "only random search draws with replacement"),
    usage("run --set search.objectives=['a','-a']", "search.objectives: a, -a: one objective is named twice"),
    usage("run --set search.objectives=['a+b','']", "search.objectives: '': write a name"),
    usage("run --set strategy.x=1", "strategy.x: strategy 'aging' has no such setting; it has none of its own"),
    usage("run --strategy nsga2 --set search.objectives=['accuracy']", "nsga2 is for several"),
    usage("run --dry-run --set search.objectives=['margin']", "margin: digits has accuracy, activations, "),
    usage(
        "run --dry-run --grammar bits.lark --task table:bits.csv --set search.objectives=['margin']",
        "search.objectives: 'margin'",
        "say '+margin' where it is, '-margin' where smaller is",
        at=bits,
    ),
    usage("run --set recipe.modifier=w9", "recipe.modifier: no format 'w9'; there are e4m3, w4a8, sparse0.9, 2:4"),
    usage("run --set recipe.rule=backprob", "recipe.rule: no rule 'backprob'; did you mean backprop?"),
    usage(
        f"{TASK} points.csv --set recipe.rule=distillation",
        "recipe.teacher: none is named; name a file of `evolve export RUN -o FILE.pt2`",
        at=points,
    ),
    usage("run --set hardware.threads=0", "hardware.threads: input should be greater than or equal to 1, not 0"),
    usage("run --set hardware.target=0", "hardware.target: input should be greater than 0, not 0"),
    usage(LATE, "table_latency: say which table: hardware.table = FILE.csv", at=points),
    usage(f"{LATE} --set hardware.table=t.csv", "t.csv: cannot be read", "name a CSV file", at=points),
    usage(
        f"{LATE} --set hardware.table=t.csv",
        "t.csv:1: a table of layers has the columns layer, input, ms",
        at=both(points, write("t.csv", "a,b\n1,2\n")),
    ),
    usage(
        f"{LATE} --set hardware.table=t.csv",
        "t.csv:2: ms is 'fast'; it is a number",
        at=both(points, write("t.csv", "layer,input,ms\nrelu,3,fast\n")),
    ),
    usage(ENERGY, "energy: there are no RAPL counters in", at=points, patches={RAPL: Path("nowhere")}),
    usage(
        ENERGY,
        "energy_uj cannot be read: Is a directory; let this user read it",
        at=both(points, folder("rapl/intel-rapl:0/energy_uj")),
        patches={RAPL: Path("rapl")},
    ),
    usage(
        "run --dry-run --grammar joint.lark --task points.csv",
        "joint.lark:5: a sentence's recipe says lrr=0.1; it may say epochs, batch",
        at=joint("lrr"),
    ),
    usage(
        "run --dry-run --grammar joint.lark --task points.csv",
        "joint.lark:5: a sentence's recipe says epochs=x; it must be a whole number",
        at=joint("epochs", "x"),
    ),
    usage(
        "run --dry-run --grammar joint.lark --task points.csv",
        "joint.lark:5: recipe.epochs is 0; it must be at least 1",
        at=joint("epochs", "0"),
    ),
    usage(
        "run --dry-run --grammar joint.lark --task points.csv",
        "joint.lark:3: only what 'start' stands for has a recipe",
        at=joint(start=INNER),
    ),
    usage("run --dry-run --set recipe.stop=medain", "recipe.stop: no stop rule 'medain'; did you mean median?"),
    usage("run --set recipe.batch=1", "recipe.batch: input should be greater than or equal to 2, not 1"),
    usage("run --set recipe.lr=0", "recipe.lr: input should be greater than 0, not 0"),
    usage("run --set data.drop=id", 'data.drop: a list is wanted, as ["id"], not ', "'id'"),
    usage("run --set recipe.epochs=abc", "recipe.epochs: input should be a valid integer", "not 'abc'"),
    usage("run --set recipe.momentum=1", "recipe.momentum: input should be less than 1, not 1"),
    usage(
        "run --set recipe.augment=['blur']",
        "recipe.augment",
        "'blur'; there are crop, shift, flip, cutout, warp, noise",
    ),
    usage(
        f"{TASK} points.csv --set recipe.augment=['flip']",
        "recipe.augment is for images, and points has none",
        at=points,
    ),
    usage(
        f"{TASK} points.csv --set recipe.mirrored=true",
        "recipe.mirrored is for images, and points has none",
        at=points,
    ),
    usage(
        f"{TASK} points.csv --set final.augment=['flip']", "final.augment is for images, and points has none", at=points
    ),
    usage("run --set data.kind=regresion", "no kind of task named 'regresion'; did you mean regression"),
    usage("run --set data.validation=0.5 --set data.test=0.5", "leave nothing to train on"),
    usage("run --dry-run --set data.metric=r2", "no metric 'r2' for classification, which this task is; use accuracy"),
]

SPACES = [
    usage("check nothing.lark", "nothing.lark: no such grammar", ".lark file"),
    usage("check .", "no such grammar"),
    usage(
        "check large.lark",
        "over the limit of 1,000,000; split the grammar",
        at=write("large.lark", 'start: "a"\n' + "#" * (1 << 20)),
    ),
    usage("check many.lark", "over 100 grammar files are imported", carets=True, at=many_imports),
    usage(
        "check rules.lark",
        "expands to over 1,000 rules",
        carets=True,
        at=write(
            "rules.lark",
            "start: "
            + " ".join(f"r{n}" for n in range(1_002))
            + "\n"
            + "".join(f'r{n}: "{n} "\n' for n in range(1_002)),
        ),
    ),
    usage(
        "check ways.lark",
        "expands to over 1,000 alternatives",
        carets=True,
        at=write("ways.lark", "start: " + " | ".join(f'"{n} "' for n in range(1_002)) + "\n"),
    ),
    usage(
        "check long.lark",
        "it is over 1,000 characters long",
        carets=True,
        at=write("long.lark", f'start: "{"a" * 20_000}"\n'),
    ),
    usage(
        "check nested.lark",
        "terminals are nested over",
        carets=True,
        at=write("nested.lark", 'start: A0 "x"\n' + "".join(f"A{n}: A{n + 1}\n" for n in range(300)) + 'A300: "a"\n'),
    ),
    usage("sample einspce", "einspce: no such grammar", "did you mean einspace"),
    usage("sample tiny.lark --input 3x", "--input 3x", "3x32x32", at=tiny),
    usage("sample tiny.lark --input 64", "takes image input", "64 is vector", at=tiny),
    usage("sample bits.lark --input 64", "--input 64: bits is a language without shapes", at=bits),
    failed("sample big.lark --max-params 0", "max_params", "10000 samples", at=big),
    failed("sample tiny.lark --max-nodes 1", "samples in a row were over max_nodes=1", at=tiny),
    failed("run --dry-run --grammar big.lark --max-params 0", "10,000 draws", "within max_params=0", at=big),
    usage(
        "sample pair.lark",
        "the start rule 'start' must stand for one layer",
        at=write("pair.lark", '// input: vector\nstart: "add" -> add\n'),
    ),
    usage("check own.lark --layers gone.py", "gone.py: cannot read it: No such file", at=layers("")),
    usage("check own.lark --layers own.py", "own.py:1: not Python: ", at=layers("def (:\n")),
    usage("check own.lark --layers own.py", "own.py:2: ZeroDivisionError: division by zero", at=layers("\n1 / 0\n")),
    usage("check own.lark --layers own.py", "own.py:1: SystemExit: over", at=layers("raise SystemExit('over')")),
    usage("sample own.lark --layers own.py", "own.py:13: Mine.shape: it gave [64] at 64", at=own_shape("list(x)")),
    usage(
        "sample own.lark --layers own.py", "Mine.shape: KeyError: 'x' (", "raises ShapeError", at=own_shape("{}['x']")
    ),
    *(
        failed(
            f"{VECTOR} --grammar own.lark --layers own.py --budget {number}",
            f"none of {number} candidates succeeded ({number} crashed); evolve why runs/own-points ",
            notes=True,
            leaves=True,
            at=both(points, own_shape("x", body)),
        )
        for number, body in ((2, "build.line('F.pad({}, (0, 1))', x, shape=node.output)"), (3, "(yield 1 / 0)"))
    ),
    usage("check own.lark --layers own.py", "it registers no layer; write @register", at=layers("x = 1\n")),
    *(
        usage(
            "check own.lark --layers own.py",
            f"own.py: My{base} has no `shape`",
            at=layers(
                f"from evosearch.layers.base import {base}, register\n"
                f"@register('mine')\nclass My{base}({base}):\n    pass\n"
            ),
        )
        for base in ("Leaf", "Combinator")
    ),
    usage(
        "check own.lark --layers own.py",
        "own.lark:2:8: Mine is not a dataclass",
        carets=True,
        at=layers(
            "from evosearch.layers.base import Leaf, register\n@register('mine')\nclass Mine(Leaf):\n"
            "    def shape(self, x): return x\n"
        ),
    ),
    usage(
        "check own.lark --layers own.py",
        "size must be a dict; the terminal SIZE is text",
        carets=True,
        at=layer(kind="'dict[str, int]'"),
    ),
    usage(
        "check own.lark --layers own.py",
        "no even number, please",
        carets=True,
        at=layer(check="if not self.size % 2: raise ValueError('no even number, please')", word='"2" | "3"'),
    ),
    usage(
        "check own.lark",
        "'norm2': Norm does not take 1 numbers",
        carets=True,
        at=write("own.lark", '// input: vector\nstart: "x" -> norm2\n'),
    ),
    usage(
        "check own.lark",
        "can be Add",
        carets=True,
        at=write(
            "own.lark",
            '// input: image\nstart: word leaf leaf word -> branching\nleaf: "n" -> norm\nword: "a" -> add\n',
        ),
    ),
    usage("fmt nothing.arch", "nothing.arch: cannot be read: "),
    usage("fmt norm --write --grammar mlp", "--write: norm is no .arch file"),
    usage("fmt bad.arch --grammar mlp", "bad.arch: line 1, column 1", at=write("bad.arch", "nrom")),
    usage("show nothing", "nothing: no architecture text, no file and no run"),
    usage("show nothing abc", "no run 'nothing'"),
    usage("show seq(norm,what) --grammar tiny.lark", "column 10", "'what'", at=tiny),
    usage("show nrom --grammar tiny_cnn", "no architecture text, no file and no run; line 1", "'nrom'"),
    usage("show maxpool;avgpol --grammar tiny_cnn", "column 9", '"avgpool"'),
    usage("show 00 --grammar bits.lark", "bits is a language without layers: there are no shapes", at=bits),
    usage(
        "show 12 --grammar ranged.lark",
        "SIZE is a whole number from 1 to 9, not 12",
        at=write("ranged.lark", "// input: none\nstart: SIZE -> size\nSIZE: /[0-9]+/ // range=1..9 int\n"),
    ),
    usage(
        "show x8 --grammar own.lark --layers own.py",
        "Mine: no eights",
        at=layer(check="if self.size == 8: raise ValueError('no eights')"),
    ),
    usage(
        "show deep.arch --grammar tiny_cnn",
        "deep; at most 10000 are read",
        at=write("deep.arch", "residual(" * 11_000 + "conv(16,1)" + ")" * 11_000),
    ),
    usage(f"show {LONG}", "line 1, column "),
    usage(f"train {LONG}", "line 1, column "),
    usage(f"run --start {LONG}", "--start: line 1, column 1: expected "),
    usage(f"sample {LONG}", "no such grammar"),
    usage(f"status {LONG}", "no run 'branching(("),
    usage("train x", "x: no architecture text, no file and no run", "there are: demo", at=empty("demo")),
    usage("train gone.arch", "gone.arch: no such file"),
    usage("show gone.arch", "gone.arch: no such file"),
    usage("show bin.arch", "bin.arch: not UTF-8 text at byte 1", at=write("bin.arch", b"l\xff\x00\x89PNG")),
    usage("train bin.arch", "bin.arch: not UTF-8 text at byte 1", at=write("bin.arch", b"l\xff\x00\x89PNG")),
    usage("run --dry-run --start ./bin.arch", "bin.arch: not UTF-8 text at byte 1", at=write("bin.arch", b"l\xff\x00")),
    usage("run --dry-run --start bad.arch", "seed bad: line 1, column 1", at=write("bad.arch", "nrom")),
    usage("run --start nope", "no seed named 'nope'"),
    usage(
        "run --dry-run --grammar bits.lark --task table:bits.csv --start a.arch --start b/a.arch",
        "b/a.arch: another seed is called a too; rename one of the files",
        at=both(bits, write("a.arch", "00"), write("b/a.arch", "01")),
    ),
    usage("layers relv", "no layer named 'relv'; did you mean "),
    usage("layers nosuch", "no layer named 'nosuch'; `evolve layers` lists them"),
    usage(
        "init --task zero:f",
        "no data to train on; `evolve init` alone writes a config",
        at=write("zero.py", "def f(text, derivation, seed):\n    return 0.0\n"),
    ),
    usage("run --dry-run --set ensemble.members=-1", "ensemble.members: input should be greater than or equal to 0"),
    usage("run --dry-run --set recipe.mixup=0.5 --set recipe.cutmix=0.5", "recipe.mixup and recipe.cutmix: one of the"),
    usage(f"{VECTOR} --dry-run --set recipe.cutmix=0.5", "recipe.cutmix is for images, and points has none", at=points),
    usage(f"{VECTOR} --dry-run --set recipe.folds=100", "rows to train on; say fewer", at=points),
    usage(
        f"{VECTOR} --dry-run --target a --set data.kind=regression --set recipe.balanced=true",
        "recipe.balanced is for classes, and points has none",
        at=points,
    ),
    usage(
        f"{VECTOR} --dry-run --target a --set data.kind=regression --set search.objectives=['piece']",
        "search.objectives: piece: points has no classes",
        at=points,
    ),
    usage(
        f"{VECTOR} --dry-run --target a --set data.kind=regression --set data.metric=mae "
        "--set search.objectives=['robustness']",
        "search.objectives: robustness: points has no metric that is better where it is larger",
        at=points,
    ),
    usage("run --start ~nobody/x", "~nobody/x: no such seed file"),
    usage(
        "run --grammar einspace --start small_cnn --max-params 10 --device cpu",
        "seed 'small_cnn' is over the limit max_params=10",
    ),
    usage(
        "run --start deep.arch --grammar tiny_cnn --device cpu",
        "seed 'deep' does not fit the input shape",
        at=write("deep.arch", ";".join(["maxpool"] * 5)),
    ),
    failed(
        "run --grammar mlp --task points.csv --max-params 1 --set search.draws=50 --device cpu",
        "max_params=1",
        at=points,
    ),
    usage(
        "run --dry-run --grammar bits.lark",
        "bits has no layers (`input: none`), and task digits trains networks",
        at=bits,
    ),
    usage("show norm --grammar mlp --svg no/x.svg", "--svg no/x.svg: there is no folder no"),
    usage("show norm --grammar mlp --svg .", "--svg .: a folder"),
    usage("show norm --grammar mlp --svg a.csv", "--svg a.csv: is there, ", at=write("a.csv", "1,2\n")),
    usage("sample bits.lark --svg out.svg", "--svg: the sentences of bits.lark are no networks", at=bits),
]

OPERATORS = [
    usage("run --operators nowhere", "nowhere: no such folder of operators"),
    usage("run --dry-run --operators ops", "mine.py: cannot be read: Is a directory", at=folder("ops/mutate/mine.py")),
    usage("run --dry-run --operators ops", "mine.py:1: does not load: SyntaxError: ", at=operator("def (:")),
    usage("run --dry-run --operators ops", "mine.py:2: does not load: ZeroDivisionError: ", at=operator("\n1 / 0")),
    usage(
        "run --dry-run --operators ops",
        "no function named 'mine'; a mutate operator's file defines mine(",
        at=operator("x = 1"),
    ),
    usage(
        "run --dry-run --operators ops",
        "takes (a); write mine(parent, space, rng)",
        at=operator("def mine(a):\n    'x'"),
    ),
    usage(
        "run --dry-run --operators ops",
        "mine has no docstring",
        at=operator("def mine(parent, space, rng):\n    return None"),
    ),
    usage(
        "run --grammar bits.lark --task table:bits.csv --set search.mutations=['nope']",
        "no mutate operator named 'nope'",
        at=bits,
    ),
    failed(
        "run --grammar bits.lark --task table:bits.csv --operators ops --set search.initialise=mine",
        "'mine' ended before the population was full",
        at=both(bits, operator("def mine(space, seeds, rng):\n    'Nothing.'\n    return iter(())", kind="initialise")),
    ),
]

OWN = (
    "run --grammar bits.lark --task table:bits.csv --operators ops --quiet --set workers.pool=inline "
    "--set search.population=2 --set search.lookahead=1"
)
OPERATORS += [
    *(
        usage(f"{OWN} --set search.{kind}", said, leaves=True, at=both(bits, operator(text, kind=folder)))
        for kind, folder, text, said in (
            (
                "mutations=['mine']",
                "mutate",
                "def mine(parent, space, rng):\n    'Mine.'\n    return 1 / 0",
                "mutate operator 'mine' raised ZeroDivisionError: division by zero (",
            ),
            (
                "mutations=['mine']",
                "mutate",
                "def mine(parent, space, rng):\n    'Mine.'\n    return 'text'",
                "mine.py:1, mine: it gave 'text'; a mutate operator gives a Derivation, or None",
            ),
            (
                "initialise=mine",
                "initialise",
                "def mine(space, seeds, rng):\n    'Mine.'\n    yield 1 / 0",
                "initialise operator 'mine' raised ZeroDivisionError: division by zero (",
            ),
        )
    ),
    *(
        usage("run --dry-run --operators ops --strategy mine", said, at=operator(text, kind="strategy"))
        for text, said in (
            ("x = 1", "mine.py: no class named 'Mine'; a strategy's file mine.py defines one"),
            (
                "class Mine:\n    Settings = needs_history = candidates = fold = pack = unpack = None",
                "mine.py: Mine has no docstring; say what it does and where it is from",
            ),
            (
                "class Mine:\n    'Mine.'",
                "mine.py: Mine has no Settings, needs_history, candidates, fold, pack, unpack",
            ),
        )
    ),
]

RUNS = [
    usage("resume nothing", "no run 'nothing'", "`evolve run` makes one"),
    usage(
        "learn young -o new.lark",
        "no candidate has succeeded yet, so there is nothing to learn",
        at=empty("young", config="[search]\nobjectives = []"),
    ),
    usage("learn words -o new.txt", "-o new.txt: a grammar's file ends in .lark", at=words),
    usage(
        "learn words -o new.lark",
        "parts.lark: imported by the grammar, and another file lies there",
        at=both(imported, write("parts.lark", "another")),
    ),
    usage("learn words -o parts.lark", "-o parts.lark: the grammar imports a file of that name", at=imported),
    usage("status runs", "runs: not a run's folder", "evolve list", at=write("runs/x", "")),
    usage("status frist", "no run 'frist'", "mean first?", at=write("runs/first/journal.msgpack", "")),
    failed("status broken", "runs/broken/journal.msgpack", "offset", at=broken_run),
    failed(
        "status words",
        "journal.msgpack: offset 0: its first 16 bytes are not those of an evosearch journal",
        at=write("runs/words/journal.msgpack", "x" * 40),
    ),
    failed(
        "status words",
        "written in format 2; this evosearch reads formats 1 to 1",
        at=write("runs/words/journal.msgpack", framing.preamble(JOURNAL, 2)),
    ),
    failed(
        "status words",
        "the run's header is not there",
        at=write("runs/words/journal.msgpack", framing.preamble(JOURNAL)),
    ),
    failed("status words", "the record cannot be read", at=appended(framing.frame(b"\xc1"))),
    failed(
        "status words",
        "over the limit of 16777216",
        at=appended(struct.pack("<II", 1 << 25, zlib.crc32(struct.pack("<I", 1 << 25)))),
    ),
    failed(
        "status words",
        "not a record of a proposal, a score or a note",
        at=appended(framing.frame(framing.encode({"kind": "x"}))),
    ),
    failed(
        "resume words",
        "proposal 5 stands where proposal 12 is due",
        at=appended(framing.frame(framing.encode({"kind": "proposal", "number": 5}))),
    ),
    failed(
        "report words",
        "proposal 5 stands where proposal 12 is due",
        at=appended(framing.frame(framing.encode({"kind": "proposal", "number": 5}))),
    ),
    failed(
        "status words",
        "config.toml: it is not the file that the run was started with",
        at=changed("config.toml", lambda data: data + b"#"),
    ),
    failed(
        "resume words",
        "config.toml: it is not the file that the run was started with",
        at=changed("config.toml", lambda data: data + b"#"),
    ),
    failed("status first", "config.toml: cannot be read: ", at=empty("first", config="x ==")),
    failed("report first", "config.toml: cannot be read: ", at=empty("first", config="x ==")),
    usage("watch nowhere", "no run 'nowhere' here or in runs; "),
    usage("watch first --host 0.0.0.0", "--host 0.0.0.0: others than this machine", at=made_up("first")),
    usage(
        "watch first --port 80",
        "--host 127.0.0.1 --port 80: Address already in use; choose another",
        at=made_up("first"),
        patches={"evosearch.report.server.Server.server_bind": taken},
    ),
    usage("resume first", "config.toml: not TOML: ", at=empty("first", config="x ==")),
    usage("resume first --fork new", "config.toml: not TOML: ", at=empty("first", config="x ==")),
    usage("resume first --time soon", "--time soon: a time is written as 10m, 90s or 1h30m", at=empty("first")),
    usage(
        "resume first --time 75s",
        "14 s more than it has used are too few: the final training takes 27 s again, so nothing would be searched; "
        "give it 30 s more at least, 91 s in all",
        at=ended("first", 61.0, 27.0, time="1m"),
    ),
    usage(
        "resume first --budget 60",
        "--budget 60: the run has no number of candidates to end with; a longer --time gives it more",
        at=made_up("first", config={"time": "1m"}),
    ),
    usage(
        "resume first",
        "its candidates are evaluated elsewhere; go on with Study.resume(",
        "ask and tell in Python, or with evolve serve",
        at=made_up("first", config={"task": given.told("fitness", (6,))}),
    ),
    usage(
        "resume first --time 1m",
        "--time 1m: the run was given 10m already; say a longer one",
        at=made_up("first", config={"time": "10m"}),
    ),
    usage(
        "resume first",
        "no task 'gone.csv'",
        "where the run's data lies elsewhere now, resume it with --task",
        at=made_up("first", config={"task": "gone.csv"}),
    ),
    failed("resume words", "is writing this run; wait until it ends", at=held),
    failed("resume words --quiet", "records are missing; restore the journal from a copy", notes=True, at=cut),
    usage(
        "resume words --budget 13 --quiet",
        "search state of version 99; this evosearch reads 1",
        notes=True,
        at=other_state,
    ),
    usage(
        "resume first",
        "it was evaluated where x:y says, which is code; say --executor x:y again",
        at=made_up("first", config={"workers": {"executor": "x:y"}}),
    ),
    usage(
        "resume first --fork new",
        "it was evaluated where x:y says, which is code; say --executor x:y again",
        at=made_up("first", config={"workers": {"executor": "x:y"}}),
    ),
    usage("resume words --budget 3", "--budget 3: the run was given 12 already", at=words),
    failed(
        "resume words --quiet", "proposal 2 comes out otherwise than the journal says", at=forged(change={2: "zzz"})
    ),
    failed(
        "resume words",
        "the operators changed: mutate/gone is gone or not used since the run was started",
        at=forged({"operators": {"mutate/gone": "version 1"}}),
    ),
    failed("resume words", "its scores were made on cpu with 1 threads", at=forged({"digests": {"recipe": "0" * 32}})),
    usage(
        "resume words --fork new --quiet",
        "individuals of its population can start the new run",
        notes=True,
        at=other_letters,
    ),
    usage("resume own", "the run's layers lie in the folder of a run", at=own_code("layers", "runs/own/l.py")),
    usage(
        "resume own",
        "the run uses operators of its own; say where they are: --operators",
        at=own_code("operators", "../outside/o.py"),
    ),
    failed("best first", "no candidate has succeeded yet", at=made_up("first", "--")),
    failed(
        "best first",
        "best/metrics.json: it does not match SHA256SUMS",
        at=both(metrics_that_are_no_json, write("runs/first/best/metrics.json", "{}")),
    ),
    failed("best first", "best/metrics.json: cannot be read: ", "evolve verify", at=metrics_that_are_no_json),
    failed("why first f", "no candidate's key begins with 'f'", at=made_up("first")),
    failed("why first 1", "2 keys begin with '1'", at=made_up("first", "o" * 17)),
    usage("pareto first --against watts", "re:--against watts: there are accuracy, .*params", at=made_up("first")),
    failed("show first", "the run's grammar is gone; say which it was: --grammar", at=without_grammar("first")),
    failed(
        "run --grammar bits.lark --task failing:f --set workers.pool=inline --time 0.01s --quiet",
        "the time was over before any candidate had a score; give it more: evolve resume runs/bits-f --time 10m",
        leaves=True,
        at=both(bits, write("failing.py", "def f(text, derivation, seed):\n    return 1 / 0\n")),
    ),
    failed(
        "run --grammar bits.lark --task failing:f --set workers.pool=inline --budget 3 --quiet",
        "none of 3 candidates succeeded (3 crashed)",
        leaves=True,
        at=both(bits, write("failing.py", "def f(text, derivation, seed):\n    return 1 / 0\n")),
    ),
    failed(
        f"{VECTOR} --budget 2 --set search.population=2 --set final.optimizer=sgd --set final.lr=1e30",
        "none of the best candidates survived the final training",
        notes=True,
        leaves=True,
        at=points,
    ),
    usage("compare first", "compare takes two runs or more", at=made_up("first")),
    usage("compare first first", "runs/first: named twice", at=made_up("first")),
    usage(
        "compare first b",
        "different tasks",
        at=both(made_up("first"), made_up("b", digests={"task": "9" * 32, "grammar": "", "recipe": ""})),
    ),
    usage(
        "compare first b",
        "different first objectives",
        at=both(made_up("first"), made_up("b", config={"search": {"objectives": ["-params"]}})),
    ),
    usage("compare first b", "none of its candidates has a score yet", at=both(made_up("first"), made_up("b", ""))),
    usage(
        "report first --baseline b",
        "its strategy is aging; a baseline is a run with --strategy random",
        at=both(made_up("first"), made_up("b")),
    ),
    usage(
        "report first --baseline b",
        "its task is not that of",
        at=both(made_up("first"), made_up("b", config={"search": {"strategy": "random"}}, digests={"task": "9" * 32})),
    ),
    failed(
        "report first",
        "report.html: Is a directory: look at the file and its disk",
        at=both(made_up("first"), folder("runs/first/report.html")),
    ),
    usage("report first --output .", "--output .: a folder", at=made_up("first")),
    usage(
        "report first --output data.csv",
        "--output data.csv: is there, and is no .html file",
        at=both(made_up("first"), write("data.csv", "a,b\n")),
    ),
    usage(
        "report first --output here/x.html",
        "--output here/x.html: here is a file; choose another place",
        at=both(made_up("first"), write("here", "")),
    ),
]

PREDICTED = [
    usage("predict first x.csv", "x.csv: no such file or folder", at=exported()),
    usage("predict first x.csv -o ./x.csv", "--output x.csv: is the file to ", at=exported(write("x.csv", "1,2\n"))),
    usage(
        "predict first x.txt",
        "x.txt: no examples for this network, which takes a .npz, a .npy or a .ts file",
        at=exported(write("x.txt", "")),
    ),
    usage(
        "predict first pets",
        "0.png: 6x4 pixels, and the network takes 8x8; scale it to that",
        at=exported(described(pixels="grey", size=0), pictures(lambda at: None)),
    ),
    usage(
        "predict first empty",
        "empty: no images in this folder",
        at=exported(described(pixels="grey", size=0), lambda at: (at / "empty").mkdir()),
    ),
    usage("predict first x.npy", "x.npy: cannot be read: ", at=exported(write("x.npy", b"nothing"))),
    usage(
        "predict first x.npz",
        "x.npz: none of x, x_test, test_x is in it; there are: z",
        at=exported(arrays("x.npz", z=X)),
    ),
    usage(
        "predict first x.npz",
        "x.npz: examples of shape (3,); the network takes (1, 8, 8), batch first",
        at=exported(arrays("x.npz", x=X.astype(np.float32))),
    ),
    failed(
        "predict first halves.npz",
        "data.json is not there: the run is older than it; `evolve train runs/first` writes the network anew",
        at=exported(lambda at: (at / "runs/first/best/data.json").unlink()),
    ),
    *(
        usage("predict first x.csv", said, at=exported(of_columns, write("x.csv", text)))
        for text, said in (
            ("a,y\n1,x\nold,x\n", "x.csv: line 3: 'old' in column 'a', which holds numbers"),
            ("b,y\n1,x\n2,x\n", "x.csv: no column 'a'; there are b, y"),
            ("a,y\n", "x.csv: no rows below the header"),
            ("", "x.csv: it is empty; a table has a line for each example"),
        )
    ),
    usage(
        "predict first new",
        "new: it is a folder, and this network takes the rows of a table; give one CSV file",
        at=exported(of_columns, lambda at: (at / "new").mkdir()),
    ),
    usage(
        "predict first x.ts",
        "x.ts: line 4: 3 steps, and the longest to train on had 2",
        at=exported(described(input=[2, 1]), write("x.ts", "@classLabel true up down\n@data\n1,2:up\n1,2,3:up\n")),
    ),
    failed(
        "export first --format pt2",
        "ensemble.json: not the members of an ensemble: ",
        at=exported(write("runs/first/best/ensemble.json", "{}")),
    ),
]

TRAINING = [
    failed("export first --format pt2", "the grammar of", "is gone; put it back", at=without_grammar("first")),
    failed("train first", "no candidate has succeeded yet", at=made_up("first", "")),
    failed("train net", "not what `evolve train` writes", at=trained("[]")),
    usage("train net abc", "net holds one network; leave abc out", at=trained('{"digests": {}}')),
    usage("train nothing abc", "no run 'nothing'"),
    usage(
        "train norm --grammar mlp --task direct:f",
        "no networks to train",
        at=write("direct.py", "def f(a, b, c):\n    return 1\n"),
    ),
    usage("export nothing --format pt2", "no run 'nothing'"),
    usage("export first", "say which format: --format python or safetensors or pt2 or onnx", at=exported()),
    usage("export first -o net.bin", "say which format", at=exported()),
    usage("export first --format tflite", "--format tflite: there are python, safetensors, pt2, onnx", at=exported()),
    usage("export first -o no/net.pt2", "there is no folder no", at=exported()),
    usage(
        "export first --format pt2 -o x.csv",
        "--output x.csv: is there, and is no .pt2 file",
        at=exported(write("x.csv", "1,2\n")),
    ),
    failed("export first ffff --format pt2", "no candidate's key begins with 'ffff'", at=exported()),
    failed(
        "export first --format onnx",
        "--format onnx needs onnx, ",
        "pip install 'evosearch[onnx]'",
        at=exported(),
        patches={"evosearch.formats.onnx.util": NO_MODULE},
    ),
    failed("export first --format pt2", "weights.safetensors: not the weights of", at=exported(torn_weights)),
    failed(
        "export first --format pt2",
        "data.json: not what describes a network's examples",
        at=exported(lambda at: (at / "runs/first/best/data.json").write_text("[")),
    ),
    failed(
        "export first --format pt2",
        "weights.safetensors is gone; train the network again",
        at=exported(lambda at: (at / "runs/first/best/weights.safetensors").unlink()),
    ),
    failed(
        "export first KEY --format pt2".replace("KEY", SECOND_KEY),
        "keeps no weights of",
        "only those of its best",
        at=exported(),
    ),
    failed(
        "export first --format pt2",
        "no network here yet; `evolve status runs/first`",
        at=exported(lambda at: shutil.rmtree(at / "runs/first/best")),
    ),
    failed(
        "export first --format pt2",
        "runs/first: the task changed since it was trained",
        at=both(finished_run, lambda at: write_data(at / "halves.npz", bright=90)),
    ),
    usage(
        "export first --format pt2", "--task says where", at=both(finished_run, lambda at: (at / "halves.npz").unlink())
    ),
    usage("train first -o runs", "runs exists; choose another --output", at=exported()),
    usage("train first -o halves.npz/out", "nothing can be written in", at=exported()),
    usage("train first --grammar mlp", "--grammar mlp: first has its own; leave it out", at=exported()),
    usage("train conv(16,3) abc", "a text has no candidates; leave abc out"),
    usage("train conv(16,9) --grammar tiny_cnn", "'9'"),
    usage("train first --set final.lrr=1", "unknown key final.lrr; did you mean final.lr?", at=exported()),
    usage("train first --epochs 0", "--epochs"),
    usage(
        "train first --task small.npz",
        "this architecture does not fit small, 1x2x2: max_pool: 16x1x1",
        at=exported(lambda at: write_data(at / "small.npz", (1, 2, 2))),
    ),
    failed(
        "train norm --grammar mlp --task points.csv --seeds 1 --json --set final.lr=1e30 --set final.optimizer=sgd",
        "no seed came through the training (",
        "change [final]",
        notes=True,
        at=points,
    ),
]

GROUPED = "--set data.groups=who"
SERIES_HEAD = "@timeStamps false\n@classLabel true up down\n"

TASKS = [
    usage(
        f"{TASK} train.csv",
        "test.csv: 3 columns, and 2 in ",
        at=both(write("train.csv", "a,b\n1,x\n2,y\n"), write("test.csv", "a,b,c\n1,2,x\n2,2,y\n")),
    ),
    usage(
        f"{TASK} train.csv",
        "test.csv: line 2: 'x' in column 'a', which holds numbers",
        at=both(write("train.csv", "a,b\n1,x\n2,y\n"), write("test.csv", "a,b\nx,x\ny,y\n")),
    ),
    usage(
        f"{TASK} train.csv",
        "test.csv: line 3: class 'z' is not one of x, y",
        at=both(write("train.csv", "a,b\n1,x\n2,y\n"), write("test.csv", "a,b\n1,x\n2,z\n")),
    ),
    usage(
        f"{TASK} wide.csv",
        "1100 different classes in column 'b'; choose another target",
        at=write("wide.csv", "a,b\n" + "".join(f"{n},w{n}\n" for n in range(1_100))),
    ),
    usage(f"{TASK} a.ts", "a.ts: no series after @data", at=write("a.ts", SERIES_HEAD + "@data\n")),
    usage(
        f"{TASK} a.ts",
        "a.ts: line 4: a series without values",
        at=write("a.ts", SERIES_HEAD + "@data\n?,NaN:up\n"),
    ),
    usage(
        f"{TASK} a.ts --set data.kind=classification",
        "a.ts: its head states no classes",
        at=write("a.ts", "@targetLabel true\n@data\n1,2:3\n"),
    ),
    usage(
        f"{TASK} A_TRAIN.ts",
        "A_TEST.ts: line 4: 2 dimensions, and 1 in the file to train on",
        at=both(
            write("A_TRAIN.ts", SERIES_HEAD + "@data\n1,2:up\n2,1:down\n"),
            write("A_TEST.ts", SERIES_HEAD + "@data\n1,2:1,2:up\n"),
        ),
    ),
    usage(
        f"{IMAGES} pets",
        "0.png: no image that Pillow reads, torn perhaps",
        at=pictures(lambda at: (at / "cat/0.png").write_bytes(b"nothing")),
    ),
    usage(
        "run --dry-run --grammar bits.lark --task runs.words.evil:f",
        "lies in a run's folder",
        "where no code is run",
        at=both(bits, words, write("runs/words/evil.py", "def f(a, b, c): ...")),
    ),
    usage(
        "run --dry-run --grammar bits.lark --task wsgiref:f",
        "wsgiref is a module of Python's, which stands before ",
        "wsgiref.py; give that another name",
        at=both(bits, write("wsgiref.py", "def f(a, b, c): ...")),
    ),
    usage("run --task digitz", "no task 'digitz': it is no file or folder here"),
    usage(f"{TASK} points.csv --set data.target=wage", "no column 'wage'; there are a, b, c", at=points),
    usage(
        f"{TASK} days-train.csv",
        "days-test.csv: line 2: 'soon' in column 'a', which holds dates, as 2024-12-31",
        "keeps it as words",
        at=both(
            write("days-train.csv", "a,b\n" + "".join(f"2024-03-{n:02d},{'xy'[n % 2]}\n" for n in range(1, 31))),
            write("days-test.csv", "a,b\nsoon,x\n2024-01-01,y\n"),
        ),
    ),
    usage("init --set seed=1", "--target and --set say something of --task; name your data by it"),
    usage(f"{TASK} points.csv --set data.size=-1", "data.size is -1; it is the pixels of a side", at=points),
    usage("run points.csv", "points.csv: not TOML", "a config is a TOML file; say --task points.csv", at=points),
    usage("run mine.lark", "a config is a TOML file; say --grammar mine.lark", at=write("mine.lark", TINY)),
    *(
        usage(
            f"{TASK} t-train.csv",
            f"re:{said}",
            at=both(
                write("t-train.csv", one + "".join(f"{n},{n % 7},{'yn'[n % 2]}\n" for n in range(60))),
                write("t-test.csv", other + "".join(f"{n},{n % 7},{'yn'[n % 2]}\n" for n in range(60))),
            ),
        )
        for one, other, said in HEADERS
    ),
    usage(f"{TASK} points.csv --set data.separator=::", "data.separator is '::'; it is one character", at=points),
    usage(
        f"{TASK} visits.csv --set data.groups=who",
        "visits.csv: line 3: no group in column 'who'; give it one, of its own where the row belongs to no other",
        at=write("visits.csv", "who,a,y\n" + "".join(f"{'pq?r'[n % 4]},{n},{n % 2}\n" for n in range(1, 60))),
    ),
    usage(
        f"{TASK} points.csv --set data.groups=a --set data.drop=['b']",
        "no column is left beside the target 'c'",
        at=points,
    ),
    usage(
        f"{TASK} points.csv --set data.groups=c",
        "points.csv: column 'c' is to be predicted, as the last one is or one that was named, and data.groups names it",
        at=points,
    ),
    usage(
        f"{TASK} visits.csv --set data.groups=who",
        "visits.csv: 2 groups in column 'who', and 3 splits to cut from them; bring splits of your own, or leave",
        at=write("visits.csv", "who,a,y\n" + "".join(f"{'pq'[n % 2]},{n},{n // 2 % 2}\n" for n in range(60))),
    ),
    usage(
        f"{TASK} visits.csv --dry-run --set data.groups=who --set recipe.folds=5",
        "recipe.folds is 5, and visits has ",
        "groups of rows for 4 to train on; say fewer",
        at=write("visits.csv", "who,a,y\n" + "".join(f"{'pqrst'[n % 5]},{n},{n // 5 % 2}\n" for n in range(60))),
    ),
    usage(f"run --task digits {GROUPED}", "digits: data.groups is 'who', and tables and arrays alone have such; leave"),
    usage(
        f"{TASK} pets {GROUPED}",
        "data.groups is 'who', and tables and arrays alone have such; leave it out",
        at=lambda at: image_folder(at / "pets"),
    ),
    usage(
        f"{TASK} data.npz {GROUPED}",
        "data.npz: no array who, which data.groups asks for; there are: x, y",
        at=arrays(x=X, y=Y),
    ),
    usage(
        f"{TASK} data.npz {GROUPED}",
        "data.npz: no array who_test or test_who, which data.groups asks for; there are: who_train, x_test, x_train",
        at=arrays(x_train=X, y_train=Y, who_train=Y, x_test=X, y_test=Y),
    ),
    usage(
        f"{TASK} data.npz {GROUPED}",
        "data.npz[who]: groups of shape (19,) for 20 examples; give each example one",
        at=arrays(x=X, y=Y, who=np.arange(19)),
    ),
    usage(
        f"{TASK} data.npz {GROUPED}",
        "data.npz[who]: row 3: no group; give it one, of its own where the row belongs to no other, or leave out",
        at=arrays(x=X, y=Y, who=np.where(np.arange(20) == 3, np.nan, np.arange(20) // 4)),
    ),
    usage(
        f"{TASK} points.csv --set data.decimal=;", "data.decimal: input should be '', '.' or ',', not ';'", at=points
    ),
    usage(
        f"{TASK} sums.csv",
        "sums.csv: line 3: '1.877' in column 'a' may be a thousand and more",
        "--set data.decimal=, or --set data.decimal=. says which mark",
        at=write("sums.csv", "a;b;y\n901;0,5;u\n1.877;1,5;v\n"),
    ),
    usage(
        f"{TASK} s-train.csv",
        "s-test.csv: line 2: '1.877' in column 'a' may be a thousand and more",
        "write 1877 or 1,877",
        at=both(
            write("s-train.csv", "a;b;y\n" + "901;0,5;u\n902;1,5;v\n" * 20),
            write("s-test.csv", "a;b;y\n1.877;0,5;u\n"),
        ),
    ),
    usage(
        f"{TASK} points.csv --set data.encoding=latin-0",
        "no encoding is called 'latin-0'; leave data.encoding empty for UTF-8",
        at=points,
    ),
    usage(
        f"{TASK} data.npz",
        "data.npz: two arrays are called x, but for capitals; leave one of them",
        at=arrays(x=X, X=X, y=Y),
    ),
    usage(f"{TASK} data.npz", "x_train and train_x are both there", at=arrays(x_train=X, train_x=X, y_train=Y)),
    usage(
        f"{TASK} data.npz",
        "the validation split is there twice, as val too",
        at=arrays(x_train=X, y_train=Y, x_val=X, y_val=Y, x_valid=X, y_valid=Y),
    ),
    usage(
        f"{IMAGES} pets",
        "valid: validation beside it is the validation split already",
        at=lambda at: [image_folder(at / "pets" / name) for name in ("train", "validation", "valid")],
    ),
    usage(f"{IMAGES} pets", "bright.png: colour pixels, and", "16-bit grey ones; save them alike", at=deep_pictures),
    usage(f"{TASK} empty", "empty: no data in this folder that evosearch reads", at=folder("empty")),
    usage(f"{TASK} one.csv", "no column is left beside the target", at=write("one.csv", "a\n" + "x\ny\n" * 20)),
    usage(f"{TASK} b.csv", "b.csv: byte 6 is not UTF-8 text", at=write("b.csv", b"a,b\n1,\xff\n")),
    usage(
        f"{TASK} a.csv.xz",
        "a.csv.xz: cannot be read, torn perhaps",
        at=write("a.csv.xz", lzma.compress(PEOPLE.encode())[:40]),
    ),
    usage(f"{TASK} d.npz", "cannot be read, torn perhaps", at=write("d.npz", b"PK\x03\x04")),
    usage(f"{TASK} d.npz", "this is no .npz archive", at=lambda at: np.save((at / "d.npz").open("wb"), X)),
    usage(f"{TASK} data.npz", "no arrays called x_train and y_train, or x and y; there are: z", at=arrays(z=X)),
    usage(
        f"{TASK} lines.csv",
        "lines.csv: line 4: column 'a' holds numbers, and here 'x y'",
        at=write("lines.csv", 'a,b\n1,2\n"x\ny",3\n4,4\n5,5\n'),
    ),
    usage(
        f"{TASK} large.csv",
        "large.csv: line 3: 1e999 in column 'b' is too large",
        at=write("large.csv", "a,b\n1,0.5\n2,1e999\n3,0.1\n"),
    ),
    usage(
        f"{TASK} lacking.csv",
        "lacking.csv: line 3: no value in column 'b', which is the number to predict",
        at=write("lacking.csv", "a,b\n1,0.5\n2,NA\n3,0.1\n4,0.2\n"),
    ),
    usage(
        f"{TASK} data.npz --set data.kind=classification",
        "data.npz[y]: class labels of dtype complex128; use words or whole numbers",
        at=arrays(x=X, y=Y * 1j),
    ),
    usage(
        f"{TASK} data.npz",
        "data: the test split: a value of ",
        "too far to be normalised; leave out such rows",
        at=arrays(x_train=X, y_train=Y, x_test=X * 1e60, y_test=Y),
    ),
    usage(f"{TASK} data", "there is train_x and no train_y", at=npy(train_x=X)),
    usage(
        f"{TASK} data",
        "no JSON object with a whole number num_classes",
        at=both(npy(train_x=X, train_y=Y), write("data/metadata", "x")),
    ),
    usage(
        f"{TASK} data.npz",
        "the splits' examples differ in shape",
        at=arrays(x_train=X, y_train=Y, x_test=X[:, :2], y_test=Y),
    ),
    usage(f"{TASK} data.npz", "class labels of shape (20, 3)", at=arrays(x=X, y=np.zeros((20, 3), int))),
    usage(
        f"{TASK} data.npz --set data.kind=regression",
        "targets of dtype <U1",
        at=arrays(x=X, y=np.array(["a", "b"] * 10)),
    ),
    usage(
        f"{TASK} data.npz",
        "data.npz[y_train]: class labels are words in one file and numbers in another; write them alike",
        at=arrays(x_train=X, y_train=np.array(["a", "b"] * 10), x_test=X, y_test=Y),
    ),
    usage(
        f"{TASK} data.npz",
        "data.npz[y_test]: row 1: class 'c' is not one of a, b",
        at=arrays(x_train=X, y_train=np.array(["a", "b"] * 10), x_test=X, y_test=np.array(["a", "c"] * 10)),
    ),
    usage(
        f"{TASK} data.npz",
        "data.npz[y]: 1100 different classes; choose another target",
        at=arrays(x=np.zeros((1100, 2)), y=np.array([f"w{n}" for n in range(1100)])),
    ),
    usage(
        f"{TASK} data",
        "train_y.npy: row 1: class 1; there are 1 classes, numbered from 0",
        at=both(npy(train_x=X, train_y=Y), write("data/metadata", '{"num_classes": 1}')),
    ),
    usage(f"{TASK} data.npz", "split is empty; give more data", at=arrays(x=X[:2], y=Y[:2])),
    usage(
        f"{IMAGES} mnist",
        "row 35: torn, 35 bytes",
        at=idx("train-labels-idx1-ubyte", struct.pack(">HBBI", 0, 8, 1, 40) + bytes(35)),
    ),
    usage(f"{IMAGES} mnist", "does not begin as an IDX file does", at=idx("train-labels-idx1-ubyte", b"<html>")),
    usage(
        f"{IMAGES} mnist/other-idx3-ubyte",
        "an IDX file is named train-images-idx3-ubyte",
        at=idx("other-idx3-ubyte", b""),
    ),
    usage(
        f"{IMAGES} pets",
        "3.png: no image that Pillow reads",
        at=pictures(lambda at: (at / "dog/3.png").write_bytes(b"nothing")),
    ),
    usage(
        f"{IMAGES} pets",
        "3.png: no image that Pillow reads, torn perhaps",
        at=pictures(lambda at: (at / "dog/3.png").write_bytes((at / "dog/3.png").read_bytes()[:60])),
    ),
    usage(f"{IMAGES} pets", "8x8 pixels, and", "scale the images to one size", at=mixed_pictures),
    usage(
        f"{IMAGES} pets",
        "gone.png: a link to nothing; put the image there, or take the link away",
        at=pictures(lambda pets: (pets / "dog/gone.png").symlink_to("nowhere.png")),
    ),
    usage(f"{IMAGES} pets", "wolf: a class that the train folder has not", at=split_pictures),
    usage(
        f"{IMAGES} pets",
        "no images in sub-folders named by class",
        at=pictures(without_pictures),
    ),
    usage(
        f"{IMAGES} pets",
        "reading image files needs Pillow",
        at=pictures(lambda at: None),
        patches={"sys.modules": {"PIL": None}},
    ),
    usage(
        f"{IMAGES} torchvision:MNIST",
        "torchvision:MNIST needs torchvision: pip install torchvision",
        patches={"evosearch.tasks.hubs.importlib": SimpleNamespace(import_module=refuse_import)},
    ),
    usage(
        f"{IMAGES} torchvision:MNIST",
        "this user has no home folder to keep data in; EVOSEARCH_DATA names another place",
        patches={
            "evosearch.tasks.hubs.importlib": SimpleNamespace(
                import_module=lambda name: SimpleNamespace(MNIST=lambda root, train, download: None)
            ),
            "pathlib.Path.home": nobody,
        },
    ),
    usage(
        "run --dry-run --task data.npz",
        "rows is 3; it must be at least 4",
        at=arrays(x_train=X[:2], y_train=Y[:2], x_val=X[:1], y_val=Y[:1], x_test=X, y_test=Y),
    ),
    usage(
        "run --dry-run --task data.npz --grammar tiny_cnn",
        "tiny_cnn takes image input, and the examples are ",
        "say grammar = ",
        at=arrays(x=X, y=Y),
    ),
    usage(
        "run --dry-run --task data.npz",
        "fits examples of 1x1x1",
        at=arrays(x=X[:, :1, None, None].astype(np.float32), y=Y),
    ),
    usage(
        "run --dry-run --task data.npz",
        "no column holds more than one value in the rows to train on",
        at=arrays(x=np.ones((len(Y), 3)), y=Y),
    ),
    usage("run --dry-run --grammar bits.lark --task nowhere_at_all:f", "no module 'nowhere_at_all'", at=bits),
    usage(
        "run --dry-run --grammar bits.lark --task raises:f",
        "raises:f: the module does not load: ZeroDivisionError",
        at=both(bits, write("raises.py", "1 / 0")),
    ),
    usage(
        "run --dry-run --grammar bits.lark --task lacks:f",
        "lacks:f: the module does not load: No module named 'not_to_be_found'",
        at=both(bits, write("lacks.py", "import not_to_be_found")),
    ),
    usage(
        "run --dry-run --grammar bits.lark --task mistyped:lenght",
        "has no function 'lenght'; did you mean length?",
        at=both(bits, write("mistyped.py", "def length(a, b, c): ...")),
    ),
    usage(
        "run --dry-run --grammar bits.lark --task two_only:f",
        "it is called as f(text, derivation, seed)",
        at=both(bits, write("two_only.py", "def f(a, b): ...")),
    ),
    *(
        usage(
            f"{TASK} data.npz{''.join(f' --set data.{k}={v}' for k, v in settings.items())}",
            f"re:{said}",
            at=functools.partial(npz, **values),
        )
        for values, settings, said in ARRAY_MISTAKES
    ),
    *(usage(f"{TASK} {name}", f"re:{said}", at=write(name, text)) for name, text, said in TEXT_MISTAKES),
    *(
        usage(f"{TABLE}{spec}", said, at=bits if content is None else both(bits, write("t.csv", content)))
        for content, spec, said in TABLE_MISTAKES
    ),
    *(
        usage(
            f"run --dry-run --grammar bits.lark --task table:{number}{name}",
            f"{number}{name}",
            said,
            at=both(bits, write(f"{number}{name}", content)),
        )
        for number, (name, content, said) in enumerate(BROKEN_TABLES)
    ),
]


# What `verify` finds is no error of the command: it is said on stdout, and the exit code is 1.
VERIFIED = [
    failed("verify words", "the checkpoint is cut short or has something behind it", at=checkpoint(b"")),
    failed(
        "verify words",
        "not a checkpoint's record",
        at=checkpoint(framing.preamble(framing.CHECKPOINT) + framing.frame(framing.encode([]))),
    ),
    failed("verify words", "the checkpoint belongs to another run", at=another_s_checkpoint),
    failed("verify words", "archive.bin beside it is not what it goes with", at=without_its_archive),
]

MISTAKES = [*COMMANDS, *CONFIGS, *SPACES, *OPERATORS, *RUNS, *PREDICTED, *TRAINING, *TASKS]
