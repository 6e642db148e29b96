"""Table and function tasks: recorded figures are read as they stand, and a person's function is called as said."""

from __future__ import annotations

import gzip
import itertools
import lzma
import math
import re
from pathlib import Path
from typing import Any

import pytest

from evosearch.errors import TaskError
from evosearch.tasks import TaskSettings, function, table
from tests import cells

ROWS = """arch,val,seconds,test,params
"a ( b )",0.5,12.5,0.4,100
c,0.7,10,0.6,200
d,,9,0.5,300
"""


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "bench.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def score(task: table.TableTask, text: str) -> Any:
    return task.evaluate(text, None, "0" * 32, 7)


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".xz", lzma.open)])
def test_rows_are_found_by_text_whatever_its_white_space(tmp_path: Path, suffix: str, opener: Any) -> None:
    path = tmp_path / f"bench.csv{suffix}"
    with opener(path, "wt", encoding="utf-8") as file:
        file.write(ROWS)
    task = table.load(f"{path},cost=seconds", TaskSettings())
    found = score(task, "a(b)")
    assert (found.status, found.seed) == ("ok", 7)
    assert found.objectives == {"val": 0.5, "seconds": 12.5, "params": 100.0}
    assert found.metrics == {"test": 0.4}
    assert (task.metric, task.cost, task.report) == ("val", "seconds", "test")


def test_the_search_never_sees_what_is_reported(csv_file: Path) -> None:
    """The report column is a metric, not an objective, whichever column it is."""
    task = table.load(f"{csv_file},fitness=test,report=val", TaskSettings())
    assert "val" not in score(task, "c").objectives
    assert score(task, "c").metrics == {"val": 0.7}


def test_an_unknown_text_and_a_missing_figure_are_failures(csv_file: Path) -> None:
    task = table.load(str(csv_file), TaskSettings())
    assert (score(task, "z").status, score(task, "d").status) == ("invalid", "nan")
    assert "no row for z" in score(task, "z").error


def test_the_data_setting_names_the_fitness_too(csv_file: Path) -> None:
    assert table.load(str(csv_file), TaskSettings(target="params")).metric == "params"


@pytest.mark.parametrize(("column", "sign"), [("val", 0), ("+params", 1), ("-val", -1)])
def test_whether_larger_is_better_is_said_with_the_column(csv_file: Path, column: str, sign: int) -> None:
    task = table.load(f"{csv_file},fitness={column}", TaskSettings())
    assert (task.metric, task.signs[task.metric]) == (column.lstrip("+-"), sign)


def test_the_digest_is_of_figures_and_roles(csv_file: Path) -> None:
    by_val, by_params = (table.load(f"{csv_file},fitness={c}", TaskSettings()).digest for c in ("val", "params"))
    assert by_val != by_params
    csv_file.write_text(ROWS.replace("0.7", "0.8"), encoding="utf-8")
    assert table.load(f"{csv_file},fitness=val", TaskSettings()).digest != by_val


TABLE_MISTAKES: list[tuple[str | None, str, str]] = [
    (None, "", "no such table"),
    ("arch,val\n", "", "no rows below the header"),
    ("arch,speed\na,1\n", "", "which column is the fitness? say "),
    ("arch,val\na,1\n", ",fitness=vall", "no column 'vall' for the fitness; did you mean val?"),
    ("arch,val\na,1\n", ",fittness=val", "did you mean fitness?"),
    ("arch,val\na,1,2\n", "", ":2: 3 fields, but the header has 2"),
    ("arch,val\na,y\nb,x\n", "", "column 'val' is the fitness but does not hold numbers"),
    ("arch,val\na,1\na,2\n", "", ":3: a is there twice, with other figures"),
    ("arch,val\n" + "a,1\n" * 60 + "b,x\n", "", ":62: could not convert string to float: 'x'"),
]


@pytest.mark.parametrize(("content", "spec", "message"), TABLE_MISTAKES)
def test_wrong_tables_are_refused_in_one_line(tmp_path: Path, content: str | None, spec: str, message: str) -> None:
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(TaskError) as caught:
        table.load(f"{path}{spec}", TaskSettings())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.xz"
    path.write_bytes(lzma.compress(ROWS.encode())[:-20])
    with pytest.raises(TaskError, match="cannot be read"):
        table.load(str(path), TaskSettings())


BROKEN_TABLES = [
    ("t.csv", b"arch,val\na,\xff\n", "byte 11 is not UTF-8 text"),
    ("t.csv", b"arch,val\n" + b"a" * 200_000 + b",1\n", ":2: field larger than field limit"),
    ("t.csv", b"arch,val\na\rb,1\n", "new-line character seen in unquoted field"),
    ("t.csv.gz", gzip.compress(b"arch,val\n", mtime=0)[:10] + b"\xff" * 20, "cannot be read"),
    ("t.csv.gz", b"arch,val\n", "cannot be read"),
    ("t.csv.xz", b"arch,val\n", "cannot be read"),
    ("t.csv.xz", lzma.compress(b"arch,val\n")[:40] + b"\xff" * 20, "cannot be read"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    BROKEN_TABLES,
    ids=["bytes", "field", "line", "stream-gz", "plain-gz", "plain-xz", "stream-xz"],
)
def test_a_broken_table_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Whatever is wrong with its bytes: an error that names it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError) as caught:
        table.load(str(tmp_path / name), TaskSettings())
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


CELLS = list(itertools.product(table.NASBENCH201, repeat=6))


def test_nasbench201_strings_are_read_and_written() -> None:
    """All 15,625 cells, edges in the order of the benchmark's string."""
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
    operations = ("avg_pool_3x3", "nor_conv_1x1", "skip_connect", "none", "nor_conv_3x3", "skip_connect")
    assert table.cell(text) == operations
    assert cells.cell_string(operations) == text
    assert all(table.cell(cells.cell_string(c)) == c for c in CELLS)


def test_the_authors_string_rule_tells_6466_cells_apart() -> None:
    """Dong and Yang, ICLR 2020, section 2.1: 6,466 unique topologies among 15,625."""
    assert len({cells.unique_string(c) for c in CELLS}) == 6466


@pytest.mark.parametrize("text", ["", "|none~0|+|none~0|none~1|", "|nine~0|+|none~0|none~1|+|none~0|none~1|none~2|"])
def test_other_strings_are_no_cells(text: str) -> None:
    with pytest.raises(TaskError, match="is no NAS-Bench-201 cell"):
        table.cell(text)


def test_a_table_of_nasbench201_has_the_benchmark_s_input(tmp_path: Path) -> None:
    path = tmp_path / "nb.csv"
    path.write_text(f"arch,val,test\n{cells.cell_string(CELLS[7])},90,91\n", encoding="utf-8")
    task = table.load(str(path), TaskSettings())
    assert task.input_shape == (3, 32, 32)
    assert score(task, cells.cell_string(CELLS[7])).objectives["val"] == 90


MODULE = """
import math
def length(text, derivation, seed):
    return len(text) + seed
def several(text, derivation, seed):
    return {"fitness": 1, "size": len(text)}
def nothing(text, derivation, seed):
    return math.nan
def fails(text, derivation, seed):
    raise ZeroDivisionError("no rows\\nin the sample")
def words(text, derivation, seed):
    return "a lot"
def two(text, derivation):
    return 1
class fitness_of_words:
    pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_fitness_module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_fitness_module"


def called(spec: str) -> Any:
    return function.load(spec, TaskSettings()).evaluate("abc", None, "0" * 32, 5)


def test_a_function_s_number_is_the_fitness(own_module: str) -> None:
    assert called(f"{own_module}:length").objectives == {"fitness": 8.0}


def test_a_function_may_name_its_objectives(own_module: str) -> None:
    assert called(f"{own_module}:several").objectives == {"fitness": 1.0, "size": 3.0}


def test_what_goes_wrong_inside_is_a_score(own_module: str) -> None:
    assert called(f"{own_module}:nothing").status == "nan"
    failed = called(f"{own_module}:fails")
    assert failed.status == "crashed"
    assert re.fullmatch(r"ZeroDivisionError: no rows in the sample \(.*_module.py:10, in fails\)", failed.error)
    assert not failed.objectives


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenght", "has no function 'lenght'; did you mean length?"),
        ("two", "it is called as two(text, derivation, seed)"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(own_module: str, name: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        function.load(f"{own_module}:{name}", TaskSettings())
    assert message in str(caught.value)


def test_a_result_that_is_no_number_is_refused(own_module: str) -> None:
    with pytest.raises(TaskError, match=r"_module.py:11, words: it returned 'a lot'; return a number, or"):
        called(f"{own_module}:words")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(TaskError, match="no module 'no_such_module_here'"):
        function.load("no_such_module_here:f", TaskSettings())


def test_the_function_s_digest_is_of_its_source(own_module: str) -> None:
    first, second = (function.load(f"{own_module}:{name}", TaskSettings()).digest for name in ("length", "several"))
    assert first != second
    assert math.log2(int(first, 16) + 1) <= 128
