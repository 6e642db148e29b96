"""Files of data, edited at random: loaded with the meaning that another reader gives them, or refused in one line.

CSV files are read with polars and Python's csv module beside, arrays with NumPy, images with Pillow, IDX files with
struct. The second reader of .ts files is a few lines of Python's float, and aeon where EVOSEARCH_AEON names a Python
that has it: it asks for older libraries than ours, so for an environment of its own.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import os
import re
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from evosearch.errors import TaskError
from evosearch.tasks import Task, TaskSettings, load

pytestmark = pytest.mark.slow

EDITS_FOR_AEON = 2000
SECONDS = 150  # for one kind of file; 20,000 edits take about two minutes of one core in all
Array = np.ndarray[Any, np.dtype[Any]]
Rows = Counter[tuple[float | str, ...]]

TOKENS = [
    *(b",", b";", b"\t", b'"', b"'", b"\n", b"\r\n", b"\r", b" ", b"?", b"NaN", b"NA", b"inf", b"-", b"1e5", b"1e400"),
    *(
        b"1_0",
        b"007",
        b"1,5",
        b"0.1",
        b"-0",
        b"12345678901234567890",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\x0c",
        b"\xff",
        b"\0",
    ),
    *("é٣".encode(), b"true", b"False", b":", b"@data", b"#", b"a", b"label", b"\xef\xbb\xbf"),
]


def edited(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three edits: a token put in, in place of what is there, a piece left out, doubled, moved, a bit turned."""
    for _ in range(rng.integers(1, 4)):
        at, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        end = min(end, at + int(rng.integers(0, 12)))
        token = TOKENS[rng.integers(len(TOKENS))]
        kind = rng.integers(6)
        if kind == 0:
            data = data[:at] + token + data[at:]
        elif kind == 1:
            data = data[:at] + token + data[end:]
        elif kind == 2:
            data = data[:at] + data[end:]
        elif kind == 3:
            data = data[:end] + data[at:end] + data[end:]
        elif kind == 4 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
        else:
            lines = data.split(b"\n")
            one, other = rng.integers(0, len(lines), 2)
            lines[one], lines[other] = lines[other], lines[one]
            data = b"\n".join(lines)
    return data


def loaded(path: Path, **settings: Any) -> Task | None:
    """The task, or None where it is refused: by a TaskError of one line, and nothing else."""
    try:
        task = load(str(path), TaskSettings(**settings))
    except TaskError as error:
        said = str(error)
        assert said, "no word"
        assert not re.search(r"[\n\r]", said), said
        return None
    assert isinstance(task, Task)
    for split in (task.train, task.validation, task.test_split()):
        assert np.isfinite(split.x).all()
        assert np.isfinite(task.normalise(split.x)).all()
    return task


def rows_of(task: Task) -> Rows:
    """All examples with their labels or targets, to four digits, in no order."""
    found: Rows = Counter()
    for split in (task.train, task.validation, task.test_split()):
        x = split.x.reshape(len(split), -1)
        for row, y in zip(x, split.y, strict=True):
            goal = task.labels[y] if task.labels else _rounded(y[0])
            found[(*map(_rounded, row), goal)] += 1
    return found


def _rounded(value: Any) -> float:
    return float(f"{np.float32(value) if abs(value) < 3e38 else value:.4g}") + 0.0


def fuzz(
    path: Path, data: bytes, expected: Callable[[bytes, Task], Rows], count: int, seed: int, **settings: Any
) -> None:
    """Edit, load, compare; as many as asked for, or as the time allows."""
    rng, started, taken = np.random.default_rng(seed), time.monotonic(), 0
    for number in range(count):
        wrong = edited(data, rng)
        path.write_bytes(wrong)
        try:
            task = loaded(path, **settings)
            if task is not None:
                taken += 1
                assert rows_of(task) == expected(wrong, task)
        except Exception as error:
            error.add_note(f"edit {number} of seed {seed}: {wrong!r}")
            raise
        if time.monotonic() - started > SECONDS:
            break
    assert taken > 0  # not everything is refused, so the comparison has been made


# -- CSV --------------------------------------------------------------------------------------------------------------

MISSING = {"", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"}


def numeric(cells: pd.Series) -> pd.Series | None:
    """A column's numbers as polars reads them, NaN where it is missing; None for a column of words."""
    known = cells[~cells.str.lower().isin(MISSING)]
    coded = known.str.fullmatch(r"[+-]?0[0-9]+").any()
    plain = known.str.fullmatch(r"[-+.0-9eE]+").all()
    wanted = [cell if at in known.index else None for at, cell in cells.items()]
    numbers = pd.Series(pl.Series(wanted, dtype=pl.String).cast(pl.Float64, strict=False).to_list(), dtype=float)
    return numbers if len(known) and plain and not coded and numbers[known.index].notna().all() else None


def cells_of(text: str, separator: str) -> list[list[str]]:
    """A file's rows that hold anything, as Python's csv module reads them, and polars wherever it reads the dialect:
    lines that end with a line feed, and quotes only around whole cells."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    found = [cells for row in rows if any(cells := [cell.strip(" \t") for cell in row])]
    cell = rf'(?:^|(?<=[{separator}\n]))"(?:[^"]|"")*"(?=[{separator}\r\n]|$)'
    odd = '"' in re.sub(cell, "", text)
    if "\r" not in text.replace("\r\n", "") and not odd:
        frame = pl.read_csv(text.encode(), separator=separator, has_header=False, infer_schema=False)
        there = [[(cell or "").strip(" \t") for cell in row] for row in frame.rows()]
        assert [row for row in there if any(row)] == found
    return found


def expected_of_csv(separator: str) -> Callable[[bytes, Task], Rows]:
    def expected(data: bytes, task: Task) -> Rows:
        frame = pd.DataFrame(cells_of(data.decode("utf-8-sig"), separator), dtype=object)
        if not task.target.isdigit() or list(frame.iloc[0]) == list(task.names):
            assert list(task.names) == [name or str(place) for place, name in enumerate(frame.iloc[0])]
            frame = frame.iloc[1:]
        frame = frame.reset_index(drop=True)
        columns: list[pd.Series] = []
        for place in frame.columns[:-1]:
            numbers = numeric(frame[place])
            if numbers is not None:
                columns.append(numbers.fillna(numbers.mean()))
                if numbers.isna().any():
                    columns.append(numbers.isna().astype(float))
            else:
                columns += [(frame[place] == word).astype(float) for word in sorted(set(frame[place]))]
        goal = frame[frame.columns[-1]]
        numbers = numeric(goal)
        found: Rows = Counter()
        for row, values in enumerate(zip(*columns, strict=True)):
            said = goal[row]
            if not task.labels:
                assert numbers is not None
                last: float | str = _rounded(numbers[row])
            elif numbers is not None:
                last = next(name for name in task.labels if float(name) == float(said))
            else:
                last = said if said in task.labels else said.removesuffix(".")
            found[(*map(_rounded, values), last)] += 1
        return found

    return expected


def csv_rows(header: bool = True) -> str:
    rng = np.random.default_rng(0)
    rows = [
        f"{number},{rng.normal():.3f},{['red', 'green', 'blue'][number % 3]},{'yn'[number % 2]}" for number in range(24)
    ]
    return "\n".join([*(["id,dose,colour,label"] if header else []), *rows]) + "\n"


CSVS = {
    "plain": (csv_rows(), ","),
    "semicolons": (csv_rows().replace(",", ";"), ";"),
    "tabs, crlf": (csv_rows().replace(",", "\t").replace("\n", "\r\n"), "\t"),
    "quotes": (csv_rows().replace("red", '"red, or\nso"').replace("blue", '"bl""ue"'), ","),
    "no header": (csv_rows(header=False), ","),
    "missing": (re.sub(r"\n(\d*[37]),[^,]*,", r"\n\1,?,", csv_rows()), ","),
    "numbers to predict": (re.sub(r"[yn]\n", "0.5\n", csv_rows()).replace("red,0.5", "red,1.25"), ","),
}


@pytest.mark.parametrize("name", CSVS)
def test_edited_csv_files(tmp_path: Path, name: str) -> None:
    text, separator = CSVS[name]
    assert loaded_plain(tmp_path / "a.csv", text) is not None
    fuzz(tmp_path / "a.csv", text.encode(), expected_of_csv(separator), 1300, seed=len(name))


def loaded_plain(path: Path, text: str) -> Task | None:
    path.write_bytes(text.encode())
    return loaded(path)


# -- .ts --------------------------------------------------------------------------------------------------------------

SERIES = "@problemName Two\n@timeStamps false\n@classLabel true up down\n@data\n" + "".join(
    f"{n},2.5,{3 + n}:10,{20 - n},30:{'up' if n % 2 else 'down'}\n" for n in range(16)
)


def expected_of_ts(data: bytes, task: Task) -> Rows:
    lines = data.decode("utf-8-sig").split("\n")
    start = next(
        number for number, line in enumerate(lines) if line.strip().split()[:1] and line.split()[0].lower() == "@data"
    )
    found: list[tuple[list[list[float]], str]] = []
    for line in lines[start + 1 :]:
        if line.strip() and line.strip()[0] not in "#%":
            *dimensions, end = line.strip().split(":")
            values = [
                [math.nan if cell.strip().lower() in MISSING else float(cell) for cell in one.split(",")]
                for one in dimensions
            ]
            found.append((values, end.strip()))
    return rows_of_series(found, task)


def rows_of_series(found: list[tuple[list[list[float]], str]], task: Task) -> Rows:
    """Series with their ends: what is missing is its mean, and behind a shorter one it begins again."""
    length = max(len(one) for case, _ in found for one in case)
    rows: Rows = Counter()
    for case, end in found:
        filled = []
        for one in case:
            mean = float(np.nanmean(np.array(one)))
            one = [mean if math.isnan(value) else value for value in one]
            filled.append([value for _, value in zip(range(length), itertools.cycle(one), strict=False)])
        last = end if end in task.labels else next(name for name in task.labels if float(name) == float(end))
        rows[(*map(_rounded, np.array(filled).T.ravel()), last)] += 1
    return rows


def test_edited_series(tmp_path: Path) -> None:
    fuzz(tmp_path / "a.ts", SERIES.encode(), expected_of_ts, 4500, seed=1)
    fuzz(tmp_path / "a.ts", SERIES.replace("up", "1").replace("down", "2").encode(), expected_of_ts, 1500, seed=2)


AEON = """
import json, sys
from aeon.datasets import load_from_ts_file
for path in sys.stdin.read().splitlines():
    try:
        cases, ends = load_from_ts_file(path)
    except Exception:
        print("null")
    else:
        print(json.dumps([[[channel.tolist() for channel in case], end] for case, end in zip(cases, ends.tolist())]))
"""


@pytest.mark.skipif("EVOSEARCH_AEON" not in os.environ, reason="EVOSEARCH_AEON: a Python in whose environment aeon is")
def test_edited_series_are_those_that_aeon_reads(tmp_path: Path) -> None:
    """Wherever it reads them: it takes no comments, and asks for more in a head."""
    head = (
        "@problemName Two\n@timeStamps false\n@univariate false\n@equalLength false\n@classLabel true up down\n@data\n"
    )
    data = (head + SERIES.partition("@data\n")[2].replace(":10,", ",4:10,11,")).encode()
    rng = np.random.default_rng(9)
    paths: list[Path] = []
    for number in range(EDITS_FOR_AEON):
        path = tmp_path / f"{number}.ts"
        path.write_bytes(edited(data, rng))
        if loaded(path) is not None:
            paths.append(path)
    done = subprocess.run(
        [os.environ["EVOSEARCH_AEON"], "-c", AEON], input="\n".join(map(str, paths)), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    compared = 0
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        if (found := json.loads(line)) is not None:
            task = loaded(path)
            assert task is not None
            assert rows_of(task) == rows_of_series([(case, end.strip()) for case, end in found], task), (
                path.read_bytes()
            )
            compared += 1
    assert compared > len(paths) / 4


# -- arrays -----------------------------------------------------------------------------------------------------------


def expected_of_arrays(x: Array, y: Array, task: Task) -> Rows:
    found: Rows = Counter()
    for row, goal in zip(x.reshape(len(x), -1), np.asarray(y).reshape(len(y), -1)[:, 0].tolist(), strict=True):
        last = _rounded(goal) if not task.labels else task.labels[task.values.index(goal)]
        found[(*map(_rounded, row.tolist()), last)] += 1
    return found


def test_edited_archives(tmp_path: Path) -> None:
    """Most edits break the archive's checksum; that they are refused is the point."""
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    np.savez(file, x=rng.normal(size=(20, 3)), y=np.arange(20) % 2)

    def expected(data: bytes, task: Task) -> Rows:
        with np.load(io.BytesIO(data)) as archive:
            arrays = {name.lower(): archive[name] for name in archive.files}
        return expected_of_arrays(arrays["x"], arrays["y"], task)

    fuzz(tmp_path / "a.npz", file.getvalue(), expected, 2500, seed=3)


DTYPES = [
    *("u1", "i1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8"),
    *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "?", "<U2", "S2", "<c8", "<M8[s]", "V3"),
]


def test_arrays_of_every_dtype_with_values_changed(tmp_path: Path) -> None:
    """The smallest and the largest of each dtype, NaN and infinity among the examples and the targets."""
    rng = np.random.default_rng(4)
    taken, started = 0, time.monotonic()
    for _ in range(2500):
        dtype = np.dtype(str(rng.choice(DTYPES)))
        shape = [(30, 2), (30, 2, 2), (30, 1, 2, 2)][rng.integers(3)]
        x = rng.integers(0, 100, shape).astype(np.float64)
        if dtype.kind in "iuf":
            limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            odd = [float(limits.max), float(limits.min), 0.0, *([math.nan, math.inf] if dtype.kind == "f" else [])]
            for _ in range(rng.integers(0, 3)):
                x.ravel()[rng.integers(x.size)] = odd[rng.integers(len(odd))]
        with np.errstate(all="ignore"):
            x = x.astype(dtype) if dtype.kind != "V" else np.zeros(shape, dtype)
        y = np.arange(30) % 3 - int(rng.integers(2)) if rng.integers(2) else rng.normal(size=30)
        np.savez(tmp_path / "a.npz", x=x, y=y)
        task = loaded(tmp_path / "a.npz")
        if task is not None:
            taken += 1
            assert rows_of(task) == expected_of_arrays(x, y, task), (dtype, x, y)
        if time.monotonic() - started > SECONDS:
            break
    assert taken > 100


def test_edited_idx_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (30, 3, 3)).astype(np.uint8), np.arange(30) % 2
    head = struct.pack(">HBB3I", 0, 8, 3, 30, 3, 3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 30) + y.astype(np.uint8).tobytes())
    path = tmp_path / "train-images-idx3-ubyte"

    def expected(data: bytes, task: Task) -> Rows:
        _, code, axes = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
        size, letter = {8: (1, "B"), 9: (1, "b"), 11: (2, "h"), 12: (4, "i"), 13: (4, "f"), 14: (8, "d")}[code]
        values = struct.unpack(f">{math.prod(shape)}{letter}", data[4 + 4 * axes :])
        assert len(values) * size == len(data) - 4 - 4 * axes
        return expected_of_arrays(np.array(values, np.float64).reshape(shape), y, task)

    fuzz(path, head + x.tobytes(), expected, 2000, seed=6)
    path.unlink()
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    fuzz(
        packed, gzip.compress(head + x.tobytes()), lambda data, task: expected(gzip.decompress(data), task), 500, seed=7
    )


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGB", "png"), ("RGB", "bmp"), ("RGBA", "png"), ("I;16", "png")]
)
def test_edited_images(tmp_path: Path, mode: str, suffix: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(8)
    for number in range(8):
        shape = {"RGB": (3, 4, 3), "RGBA": (3, 4, 4)}.get(mode, (3, 4))
        pixels = rng.integers(0, 65536 if mode == "I;16" else 256, shape).astype(
            np.uint16 if mode == "I;16" else np.uint8
        )
        (tmp_path / "pets" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "pets" / "ab"[number % 2] / f"{number}.{suffix}")
    path = tmp_path / "pets/a/0.png".replace("png", suffix)
    data, settings = path.read_bytes(), TaskSettings(validation=0.2, test=0.2)
    taken, started = 0, time.monotonic()
    for number in range(300):
        path.write_bytes(edited(data, rng))
        try:
            task = load(str(tmp_path / "pets"), settings)
        except TaskError as error:
            assert "\n" not in str(error)  # noqa: PT017 - what it says is looked at where it comes
            continue
        assert isinstance(task, Task)
        taken += 1
        shown: Rows = Counter()
        for file in sorted((tmp_path / "pets").rglob(f"*.{suffix}")):
            with Image.open(file) as image:
                seen = image.convert("RGBA").convert("RGBa") if task.input_shape[0] == 4 else image
                seen = seen.convert("RGB") if task.input_shape[0] == 3 else seen
                deep = mode == "I;16" and seen.mode == "L"
                array = np.atleast_3d(np.asarray(seen, np.float64) * (257 if deep else 1))
            shown[(*map(_rounded, array.transpose(2, 0, 1).ravel()), file.parent.name)] += 1
        assert rows_of(task) == shown, number
        if time.monotonic() - started > SECONDS:
            break
    assert taken > 0
