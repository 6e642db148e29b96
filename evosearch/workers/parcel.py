"""What a worker on another machine needs to score candidates, by content: nothing is looked for by a path there.

A parcel is a manifest (the evaluator's spec in plain values, and the digest of each file) and the files: the grammar
with all that it imports, layers, plug-ins, the code of a function, a teacher, a table of latencies, and data. Its
digest is that of the manifest. A machine keeps each parcel once, in a folder of its own that is named after the digest;
who opens it checks every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evosearch import __version__, plugins, tasks
from evosearch.errors import WorkerError
from evosearch.evaluation.evaluators import Spec
from evosearch.executed import modules
from evosearch.layers.vocabulary import module_name
from evosearch.paths import expanded
from evosearch.store.disk import content
from evosearch.store.framing import decode, encode

MANIFEST = "manifest.msgpack"
PLACE = "EVOSEARCH_PARCELS"  # the variable that says where a machine keeps parcels


@dataclass(frozen=True)
class Parcel:
    """digest: 32 hex digits, of the manifest. data: manifest and files, as msgpack."""

    digest: str
    data: bytes


def packed(spec: Spec) -> Parcel:
    """The parcel of a spec whose task and layers this process has loaded. Reads every file that it names."""
    files: dict[str, Path] = {}
    grammar = Path(spec.grammar)
    files |= {f"grammar/{path.relative_to(grammar.parent)}": path for path in sorted(grammar.parent.rglob("*.lark"))}
    layers = []
    for number, path in enumerate(map(Path, spec.layers)):
        layers.append(f"layers/{number}/{path.name}")
        files[layers[-1]] = path
        files |= _code(module_name(path))
    own = dict(_plugins(spec))
    files |= own
    data = tasks.data_of(spec.task)
    named = f"data/{expanded(data).name}" if data else ""
    if data:
        files |= dict(_tree(named, expanded(data)))
    elif ":" in spec.task:
        files |= _code(spec.task.partition(":")[0])
    teacher = _one_file(spec.recipe.teacher, "teacher", files)
    table = _one_file(spec.hardware.table, "table", files)
    there = replace(
        spec,
        grammar=f"grammar/{grammar.name}",
        search_path=(),
        layers=tuple(layers),
        task=spec.task.replace(data, named, 1) if data else spec.task,
        operators=("operators",) if any(name.startswith("operators/") for name in own) else (),
        folder="",
        recipe=replace(spec.recipe, teacher=teacher),
        hardware=replace(spec.hardware, table=table),
    )
    contents = {name: path.read_bytes() for name, path in files.items()}
    digests = {name: _digest(data) for name, data in contents.items()}
    manifest = encode({"evosearch": __version__, "spec": asdict(there), "data": named, "files": digests})
    return Parcel(_digest(manifest), encode({"manifest": manifest, "files": contents}))


def _one_file(named: str, folder: str, files: dict[str, Path]) -> str:
    """What a setting that may name a file says in the parcel, to whose files that is added."""
    path = Path(named)
    if not named or not path.is_file():
        return named
    files[f"{folder}/{path.name}"] = path
    return f"{folder}/{path.name}"


def _plugins(spec: Spec) -> Iterator[tuple[str, Path]]:
    """The plug-ins of the user's own that the spec's evaluator uses, with the files that they import."""
    found = plugins.find(spec.operators)
    asked = [("evaluator", spec.evaluator), ("head", spec.head), ("stop", spec.recipe.stop), ("kind", spec.data.kind)]
    asked += [(kind, name) for name, _ in spec.signs for kind in ("measure", "proxy")]
    asked += [("proxy", name) for name in spec.recipe.proxies]
    for kind, name in asked:
        if name in found.of(kind) and not plugins.is_bundled(found.get(kind, name).path):
            yield f"operators/{kind}/{name}.py", found.get(kind, name).path
            yield from _code(found.get(kind, name).function.__module__).items()


def _code(name: str) -> dict[str, Path]:
    """The files of the person's project behind a loaded module, where an import from code/ finds them."""
    found = modules(sys.modules[name]) if name in sys.modules else {}
    packages = {path for path in found.values() if path.stem == "__init__"}
    return {
        f"code/{dotted.replace('.', '/')}{'/__init__' if path in packages else ''}.py": path
        for dotted, path in found.items()
    }


def _tree(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """A file, or all files of a folder, by their place in the parcel."""
    if path.is_file():
        yield name, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield f"{name}/{file.relative_to(path)}", file


# --- on the worker's machine -----------------------------------------------------------------------------------------


def place() -> Path:
    """Where this machine keeps parcels: $EVOSEARCH_PARCELS, else a folder of this user's among temporary files."""
    named = os.environ.get(PLACE)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"evosearch-parcels-{os.getuid()}"


def has(digest: str) -> bool:
    """Whether this machine has the parcel."""
    return (place() / digest / MANIFEST).is_file()


def put(digest: str, data: bytes) -> None:
    """Keep a parcel, unless it is there. Raises WorkerError where it is not the one that was announced."""
    record = decode(data)
    if _digest(record["manifest"]) != digest:
        raise WorkerError(f"what came is not parcel {digest}; start the run anew, or look at the network between")
    place().mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=place()))
    try:
        for name, held in {**record["files"], MANIFEST: record["manifest"]}.items():
            file = beside / name
            if not file.resolve().is_relative_to(beside.resolve()):
                raise WorkerError(f"parcel {digest} names a file outside of it: {name!r}; nothing was written")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(held)
        with contextlib.suppress(OSError):  # another process was quicker
            beside.rename(place() / digest)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def opened(digest: str) -> Spec:
    """The spec of a parcel that is here, its paths those on this machine; its code can be imported from now on.

    Raises WorkerError where a file is not what was sent, or another evosearch sent it.
    """
    from pydantic import TypeAdapter

    folder = place() / digest
    manifest = content(folder / MANIFEST) or b""
    if _digest(manifest) != digest:
        raise WorkerError(f"{folder / MANIFEST}: not what was sent; delete {folder}")
    record = decode(manifest)
    if record["evosearch"] != __version__:
        raise WorkerError(
            f"a worker has evosearch {__version__}, the run has {record['evosearch']}; install one version on all"
        )
    for name, wanted in record["files"].items():
        held = content(folder / name)
        if held is None or _digest(held) != wanted:
            raise WorkerError(f"{folder / name}: not what was sent; delete {folder}")
    found: Spec = TypeAdapter(Spec).validate_python(record["spec"])
    if (code := str(folder / "code")) not in sys.path and (folder / "code").is_dir():
        sys.path.insert(0, code)
    data = record["data"]

    def placed(named: str) -> str:
        return str(folder / named) if named in record["files"] else named

    return replace(
        found,
        grammar=str(folder / found.grammar),
        layers=tuple(str(folder / name) for name in found.layers),
        task=found.task.replace(data, str(folder / data), 1) if data else found.task,
        operators=tuple(str(folder / name) for name in found.operators),
        recipe=replace(found.recipe, teacher=placed(found.recipe.teacher)),
        hardware=replace(found.hardware, table=placed(found.hardware.table)),
    )


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


__all__ = ["Parcel", "has", "opened", "packed", "put"]
