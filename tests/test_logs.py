"""The CSV and the JSON Lines of a run, and what TensorBoard shows of it: what the journal says, whatever happens."""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import os
import tracemalloc
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evosearch import config as configuration
from evosearch import engine, logs
from evosearch.cli import DONE, FAILED, USAGE, main
from evosearch.errors import UsageError
from evosearch.logs import Logs, Scored, Session, comma_separated, makers
from evosearch.logs.comma_separated import MOST_NAMES
from evosearch.logs.rows import COLUMNS
from evosearch.logs.tensorboard import Tensorboard
from evosearch.store.run import Record, Run
from tests.chaos.faults import FaultyDisk
from tests.chaos.sessions import config, logged, words
from tests.conftest import ROOT
from tests.journals import append_score, equal_journals
from tests.watch import Silent

FILES = ("evaluations.csv", "evaluations.jsonl")


def proposed(number: int, **changes: Any) -> Record:
    made = {"key": f"{number:032x}", "text": f"linear({number})", "parents": [number - 1] if number else []}
    return {"number": number, "operator": "redraw" if number else "early_exit", **made, "seed": number, **changes}


def scored(number: int, **changes: Any) -> Record:
    cost = {"params": 10 * number, "flops": 40 * number, "activations": number, "modules": 2}
    measured = {"objectives": {"accuracy": number / 8}, "metrics": {"loss": 1 - number / 8}, "curve": [0.0, number / 8]}
    when = {"seconds": 0.5, "at": 1_750_000_000.0 + number}
    return {"number": number, "status": "ok", **measured, "cost": cost, "seed": number, "error": "", **when, **changes}


def failed(number: int) -> Record:
    return scored(number, status="nan", objectives={}, metrics={}, curve=[], error="loss is not finite by step 3")


def journaled(folder: Path, scores: list[Record], disk: FaultyDisk | None = None, **proposal: Any) -> Path:
    """A run with these scores and its logs, written as they came."""
    with Run.create(folder, header={}, files={}, disk=disk or FaultyDisk()) as run:
        written = Logs(Session(run), makers([]))
        for score in scores:
            made = proposed(score["number"], **proposal)
            run.append_proposal(made)
            append_score(run, score)
            written.add([Scored(made, score)])
        written.close()
    return folder


def completed(folder: Path) -> None:
    """Open the run for writing, as resuming does, and bring its logs up to its journal."""
    with Run.open(folder, write=True, disk=FaultyDisk()) as run:
        Logs(Session(run), makers([])).close()


def contents(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / name).read_bytes() for name in FILES)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "evaluations.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().split("\n")[:-1]]


# --- what they say


def test_a_row_says_what_the_journal_says(tmp_path: Path) -> None:
    """Numbers come back as they were, lists as words, what was not measured empty; both files have the same columns."""
    folder = journaled(tmp_path / "run", [scored(0), failed(1), scored(2)])
    first, second, third = table(folder)
    assert list(first) == [*COLUMNS, "objective_accuracy", "metric_loss"]
    assert {**third, "parents": "1"} == {
        "number": "2", "key": f"{2:032x}", "status": "ok", "operator": "redraw", "parents": "1", "params": "20",
        "flops": "80", "activations": "2", "modules": "2", "seconds": "0.5", "at": "1750000002.0", "seed": "2",
        "curve": "0.0 0.25", "error": "", "text": "linear(2)", "objective_accuracy": "0.25", "metric_loss": "0.75",
    }  # fmt: skip
    assert (second["status"], second["error"]) == ("nan", "loss is not finite by step 3")
    assert second["objective_accuracy"] == second["curve"] == ""
    exact = lines(folder)
    assert [list(row) for row in exact] == [list(first), list(COLUMNS), list(first)]
    assert (exact[2]["parents"], exact[2]["curve"], exact[2]["objective_accuracy"]) == ([1], [0.0, 0.25], 0.25)


def test_a_text_cannot_command_a_spreadsheet_or_a_terminal(tmp_path: Path) -> None:
    """Formulas get an apostrophe, control characters go, each row is one line; the JSON Lines keep every letter."""
    evil = ['=HYPERLINK("http://a")', "+1", "-1", "@a", "\t=1", "a\nb\x1b[2J\u202eb", 'say "x", y', "＝1"]
    shown = ['\'=HYPERLINK("http://a")', "'+1", "'-1", "'@a", " =1", "a b[2Jb", 'say "x", y', "'＝1"]
    folder = tmp_path / "run"
    with Run.create(folder, header={}, files={}) as run:
        for number, text in enumerate(evil):
            run.append_proposal(proposed(number, text=text, operator=text))
            append_score(run, scored(number, error=text, objectives={"accuracy": -1.5, f"b{text}": 1.0}))
    completed(folder)
    rows = table(folder)
    for name in ("text", "operator", "error"):
        assert [row[name] for row in rows] == shown
        assert [row[name] for row in lines(folder)] == evil
    assert {row["objective_accuracy"] for row in rows} == {"-1.5"}  # a number is none of those texts
    whole = b"".join(contents(folder))
    assert whole.count(b"\n") == 2 * len(evil) + 1
    assert not {*whole} & {*range(32)} - {10}
    assert "\u202e" not in whole.decode()


@given(st.lists(st.none() | st.integers() | st.floats() | st.text(), min_size=1, max_size=5))
def test_a_line_is_the_one_that_csv_writes(cells: list[Any]) -> None:
    """Whether its cells are quoted or not."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([comma_separated._cell(cell) for cell in cells])
    assert comma_separated._line(cells) == out.getvalue().encode("utf-8", "backslashreplace")


def test_what_json_has_no_word_for_is_null(tmp_path: Path) -> None:
    infinite = scored(0, metrics={"loss": float("inf"), "drift": float("nan")}, curve=[float("nan"), 0.5])
    folder = journaled(tmp_path / "run", [infinite])
    (row,) = lines(folder)
    assert (row["metric_loss"], row["metric_drift"], row["curve"]) == (None, None, [None, 0.5])
    (cells,) = table(folder)
    assert (cells["metric_loss"], cells["metric_drift"], cells["curve"]) == ("", "", " 0.5")


def test_a_name_that_comes_late_gets_a_column_behind_the_others(tmp_path: Path) -> None:
    """The rows before it are there again, and what was a column stays where it was."""
    folder = journaled(tmp_path / "run", [failed(0), scored(1), scored(2, objectives={"accuracy": 0.5, "b": 2.0})])
    rows = table(folder)
    assert list(rows[0])[len(COLUMNS) :] == ["objective_accuracy", "metric_loss", "objective_b"]
    assert [row["objective_b"] for row in rows] == ["", "", "2.0"]
    assert [row["number"] for row in rows] == ["0", "1", "2"]


def test_a_task_that_invents_names_makes_no_endless_table(tmp_path: Path) -> None:
    """Beyond a hundred, a name stands in the JSON Lines alone; and the file is as the journal says it should be."""
    folder = journaled(tmp_path / "run", [scored(n, objectives={f"o{n}": 1.0}, metrics={}) for n in range(150)])
    assert len(table(folder)[0]) == len(COLUMNS) + MOST_NAMES
    assert lines(folder)[149]["objective_o149"] == 1.0
    assert logs.verify(Run.open(folder)) == []


# --- kills, and files that are not what they should be


SCORES = [failed(0), *map(scored, range(1, 5)), scored(5, objectives={"accuracy": 0.1, "b": 1.0}), scored(6)]


def test_whatever_is_left_of_them_resuming_makes_them_whole(tmp_path: Path) -> None:
    """Cut anywhere, gone, with zeros that never arrived, or another file altogether: again as if nothing had been."""
    folder = journaled(tmp_path / "run", SCORES)
    whole = contents(folder)
    for name, content in zip(FILES, whole, strict=True):
        cuts: list[bytes | None] = [content[:size] for size in range(0, len(content), 7)]
        zeros = content[:300] + bytes(len(content) - 300)
        for left in [*cuts, None, zeros, content + b"{}\n", b"a,b,c\n" + content, b"\n" * 20, content + b"torn"]:
            path = folder / name
            if left is None:
                path.unlink()
            else:
                path.write_bytes(left)
            completed(folder)
            assert contents(folder) == whole, (name, left)


def test_a_run_that_was_begun_without_logs_gets_them_when_it_goes_on(tmp_path: Path) -> None:
    table_folder = words(tmp_path / "table", letters=3)
    engine.start(config(table_folder, 20, 0), tmp_path / "run", Silent())
    whole = logged(tmp_path / "run")
    for name in FILES:
        (tmp_path / "run" / name).unlink()
    assert engine.verify(tmp_path / "run") == []  # an older evosearch wrote none
    engine.resume(tmp_path / "run", Silent())
    assert logged(tmp_path / "run") == whole


def test_the_config_of_a_run_from_before_the_key_is_not_another_one(tmp_path: Path) -> None:
    """Else no run that was begun without `log` could be resumed; and a log changes nothing of what a run finds."""
    golden = ROOT / "tests" / "golden" / "run-format-1"
    text = (golden / "config.toml").read_text()
    assert "log" not in text
    before = configuration.recorded(text)
    assert configuration.differences(text, before) == []
    assert configuration.differences(text, before.model_copy(update={"log": ("tensorboard",)})) == []


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """Completing what is whole, and what is gone."""
    peaks = []
    for evaluations in (200, 3_000):
        folder = tmp_path / str(evaluations)
        with Run.create(folder, header={}, files={}, disk=FaultyDisk()) as run:
            for number in range(evaluations):
                run.append_proposal(proposed(number))
            run.write_scores([scored(number) for number in range(evaluations)])
            run.sync()
        tracemalloc.start()
        for _ in range(2):
            with Run.open(folder, write=True) as again:
                tracemalloc.reset_peak()
                Logs(Session(again), makers([])).close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        assert len(lines(folder)) == evaluations
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000  # what CHUNK holds; all rows are 2,800 * 1.5 kB of objects


# --- verify and repair


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of the engine, in runs/ of the working directory."""
    monkeypatch.chdir(tmp_path)
    engine.start(config(words(tmp_path / "table", letters=3), 30, 0), tmp_path / "runs" / "mine", Silent())
    return tmp_path / "runs" / "mine"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data.replace(b"ok", b"OK", 1), "evaluation 1 of the journal reads otherwise"),
        (lambda data: data[: data.rindex(b"\n", 0, -1) + 3], "it ends before evaluation 30 of the journal"),
        (lambda data: data + b"x", "something behind the journal's last evaluation"),
        (lambda data: b"", "it ends before "),
    ],
)
def test_verify_says_where_one_is_not_what_the_journal_says_and_repair_mends_it(
    searched: Path, name: str, spoil: Callable[[bytes], bytes], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(searched)
    (searched / name).write_bytes(spoil((searched / name).read_bytes()))
    assert main(["verify", "mine"]) == FAILED
    assert f"runs/mine/{name}: " in (said := capsys.readouterr().out)
    assert says in said
    assert "evolve repair" in said
    assert main(["repair", "mine"]) == DONE
    assert f"{name}: written anew from 30 scores" in capsys.readouterr().out
    assert contents(searched) == before
    assert main(["verify", "mine"]) == DONE


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_in_their_place_is_found_and_the_checkpoint_mended_all_the_same(
    searched: Path, name: str, put: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` does not wait for what nobody writes; `repair` does first what the run needs."""
    before = contents(searched)
    (searched / name).unlink()
    put(searched / name)
    assert main(["verify", "mine"]) == FAILED
    assert f"runs/mine/{name}: it is no plain file" in capsys.readouterr().out
    (searched / "checkpoint.msgpack").write_bytes(b"")
    assert main(["repair", "mine"]) == DONE
    said = capsys.readouterr().out
    assert "checkpoint.msgpack: written anew" in said
    if (searched / name).is_dir():
        assert f"{name}: not written: " in said
        (searched / name).rmdir()
        assert main(["repair", "mine"]) == DONE
    assert contents(searched) == before
    assert main(["verify", "mine"]) == DONE


def test_a_score_that_is_made_otherwise_has_a_row_all_the_same(tmp_path: Path) -> None:
    """Whoever wrote such a journal: what is no number of a name is left out, and nothing fails."""
    odd = [scored(0, metrics=[1], cost=7, curve=3), scored(1, metrics={"a": {"b": float("nan")}, "c": b"x"})]
    folder = journaled(tmp_path / "run", odd, parents=5)
    assert [row["number"] for row in lines(folder)] == [0, 1]
    assert lines(folder)[1]["metric_a"] == {"b": None}
    assert logs.verify(Run.open(folder)) == []


def test_commands_that_read_a_run_write_none(searched: Path) -> None:
    key = lines(searched)[3]["key"]
    for name in FILES:
        (searched / name).unlink()
    for command in ("status mine", "list", "best mine", f"why mine {key}", f"lineage mine {key}", "verify mine"):
        assert main(command.split()) == DONE
    assert not [name for name in FILES if (searched / name).exists()]


# --- a disk that refuses


class Refusing(FaultyDisk):
    """Refuses steps on files whose name begins with one of these words, from the n-th such step on."""

    def __init__(self, *names: str, fault: int = 0, error: int = errno.ENOSPC) -> None:
        super().__init__(fault, error)
        self.names = names

    def perform(self, step: str, path: Path, function: Callable[..., Any], *arguments: Any) -> Any:
        if path.name.startswith(self.names):
            return super().perform(step, path, function, *arguments)
        return self.carry_out(step, function, *arguments)


def test_a_disk_that_refuses_them_at_any_step_costs_no_evaluation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal goes on, the log says so once for each file, and when there is room they are made whole."""
    counted = Refusing("evaluations", fault=-1)
    whole = contents(journaled(tmp_path / "whole", SCORES, counted))
    assert len(counted.calls) > 15
    for fault in range(len(counted.calls)):
        for error in (errno.ENOSPC, errno.EIO):
            folder = tmp_path / f"run-{fault}-{error}"
            caplog.clear()
            journaled(folder, SCORES, Refusing("evaluations", fault=fault, error=error))
            assert 1 <= caplog.text.count("is not kept up, and the run goes on without it") <= 2
            assert os.strerror(error) in caplog.text
            assert equal_journals(Run.open(folder), Run.open(tmp_path / "whole"))
            assert not list(folder.glob("*.new")), "a full disk keeps half a file"
            completed(folder)
            assert contents(folder) == whole


def test_a_run_whose_logs_cannot_be_written_ends_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder and a symbolic link in their places: neither is written through, and the search is the same."""
    settings = config(words(tmp_path / "table", letters=3), 30, 0)
    engine.start(settings, tmp_path / "whole", Silent())
    (tmp_path / "precious").write_text("mine")
    created = Run.create

    def create(folder: Path, **options: Any) -> Run:
        run = created(folder, **options)
        (folder / "evaluations.csv").mkdir()
        (folder / "evaluations.jsonl").symlink_to(tmp_path / "precious")
        (folder / "tensorboard").symlink_to(tmp_path / "nowhere")
        return run

    monkeypatch.setattr(Run, "create", create)
    with caplog.at_level(logging.WARNING):
        engine.start(settings.model_copy(update={"log": ("tensorboard",)}), tmp_path / "run", Silent())
    assert equal_journals(Run.open(tmp_path / "run"), Run.open(tmp_path / "whole"))
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    for words_of_it in (
        "evaluations.csv: Is a directory",
        "evaluations.jsonl: Too many levels",
        "a log of the run, tensorboard, is not kept up",
    ):
        assert words_of_it in caplog.text


# --- TensorBoard


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, as TensorBoard reads the run."""
    seen = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in seen.Scalars(tag)] for tag in seen.Tags()["scalars"]}


def watched(folder: Path) -> configuration.Config:
    return config(words(folder / "table", letters=3), 30, 0).model_copy(update={"log": ("tensorboard",)})


def test_tensorboard_shows_the_scores_of_the_journal_over_all_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitness, best so far and costs step by step; a run that was stopped and resumed goes on where it was."""
    add = Tensorboard.add

    def stop(board: Tensorboard, *arguments: Any) -> None:
        add(board, *arguments)
        if board.scalars.step >= 11:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Tensorboard, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.start(watched(tmp_path), tmp_path / "run", Silent())
    engine.resume(tmp_path / "run", Silent())
    seen = shown(tmp_path / "run")
    scores = [record for record in Run.open(tmp_path / "run").records() if record["kind"] == "score"]
    fitness = [score["objectives"]["fitness"] for score in scores]
    assert [step for step, _ in seen["fitness/evaluated"]] == list(range(1, 31))
    assert [value for _, value in seen["fitness/evaluated"]] == pytest.approx(fitness)
    assert [value for _, value in seen["fitness/best"]] == pytest.approx([max(fitness[: n + 1]) for n in range(30)])
    assert {tag for tag in seen if tag.startswith("cost/")} == {"cost/params", "cost/flops", "cost/seconds"}


def test_tensorboard_shows_failures_and_what_mutations_are_worth(tmp_path: Path) -> None:
    """Counts of failures by kind; the policy's estimates once a second; the best where less is better."""
    now = [0.0]
    worth = {"redraw": 0.25}
    with Run.create(tmp_path / "run", header={}, files={}) as run:
        before = Session(run, "error", -1, evaluated=5, best=0.5, failures={"nan": 2}, worth=lambda: worth)
        board = Tensorboard(before, clock=lambda: now[0])
        for number in range(3):
            board.add([Scored({}, failed(number))])
            now[0] += 0.6
            worth["redraw"] *= 2
        later = scored(9, objectives={"error": 0.75}), scored(10, objectives={"error": 0.25})
        board.add([Scored({}, score) for score in later])
        board.add([Scored({"fidelity": 0.3}, scored(11, objectives={"error": 0.125}))])  # of a part of an evaluation
        board.close()
    seen = shown(tmp_path / "run")
    assert seen["failures/nan"] == [(6, 3), (7, 4), (8, 5)]
    assert seen["q/redraw"] == [(6, 0.25), (8, 1.0)]
    assert [value for _, value in seen["fitness/best"]] == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert seen["fitness/evaluated"][-1] == (11, 0.125)
    assert seen["cost/params"][-1] == (11, 110.0)


def test_a_disk_that_refuses_tensorboard_costs_no_evaluation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Refusing("events", "tensorboard", fault=4)
    with Run.create(tmp_path / "run", header={}, files={}, disk=disk) as run:
        board = Logs(Session(run, "accuracy"), {"tensorboard": Tensorboard})
        for number in range(5):
            board.add([Scored({}, scored(number))])
        board.close()
    assert caplog.text.count("tensorboard, is not kept up, and the run goes on without it") == 1
    assert len(shown(tmp_path / "run")["fitness/best"]) == 1


def test_tensorboard_that_is_not_there_is_missed_before_the_run(
    searched: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evosearch.logs.tensorboard.util", SimpleNamespace(find_spec=lambda name: None))
    for command in ("run --log tensorboard", "resume mine --log tensorboard --budget 31"):
        assert main(command.split()) == USAGE
        captured = capsys.readouterr()
        assert captured.err.startswith("evolve: --log tensorboard needs tensorboard: pip install")
        assert captured.err.count("\n") == 1
    assert [path.name for path in searched.parent.iterdir()] == ["mine"]
    assert main(["resume", "mine", "--log", "none", "--budget", "31"]) == DONE


# --- a person's own


class Tally:
    """Counts in a file of its own, and fails at the third score."""

    def __init__(self, session: Session) -> None:
        self.file = (session.folder / "tally.txt").open("w")
        self.seen = 0

    def add(self, scored: Sequence[Scored]) -> None:
        for one in scored:
            self.seen += 1
            if self.seen == 3:
                raise ValueError("no third")
            self.file.write(f"{one.row['number']} {one.row['objective_accuracy']}\n")

    def close(self) -> None:
        self.file.close()


def test_a_log_of_ones_own_is_written_and_one_that_fails_is_named_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises ends neither the run nor the other logs; the file and line of it are said once."""
    with Run.create(tmp_path / "run", header={}, files={}) as run:
        written = Logs(Session(run, "accuracy"), makers(["tally"], {"tally": Tally}))
        for number in range(5):
            run.append_proposal(proposed(number))
            append_score(run, scored(number))
            written.add([Scored(proposed(number), scored(number))])
        written.close()
    assert (tmp_path / "run" / "tally.txt").read_text() == "0 0.0\n1 0.125\n"
    (said,) = [record.message for record in caplog.records]
    assert "tally, is not kept up" in said
    assert "ValueError: no third" in said
    assert "test_logs.py" in said
    assert len(lines(tmp_path / "run")) == 5


def test_a_log_that_nobody_wrote_is_an_error_before_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--log", "paper", "--task", "digits", "--budget", "1"]) == USAGE
    assert (
        "log paper: there are mlflow, tensorboard, wandb; one of your own is operators/log/paper.py"
        in capsys.readouterr().err
    )


# --- tracking services


def interrupted(settings: configuration.Config, folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin the run; end it as a kill would, when so many scores are journaled, the last of which no log knows."""
    add = Logs.add

    def stop(logs: Logs, scored: Sequence[Scored]) -> None:
        if sum(record["kind"] == "score" for record in Run.open(folder).records()) >= at:
            raise KeyboardInterrupt
        add(logs, scored)

    with monkeypatch.context() as patch:
        patch.setattr(Logs, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            engine.start(settings, folder, Silent())


def curves(folder: Path) -> dict[str, list[float]]:
    """What the journal says that fitness and best so far were, after each evaluation."""
    fitness = [r["objectives"]["fitness"] for r in Run.open(folder).records() if r["kind"] == "score"]
    return {"fitness/evaluated": fitness, "fitness/best": [max(fitness[: n + 1]) for n in range(len(fitness))]}


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client, writing to a folder."""
    found = pytest.importorskip("mlflow", reason="no MLflow: pip install 'evosearch[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return found.MlflowClient((tmp_path / "mlruns").as_uri())


def test_mlflow_shows_one_run_over_all_sessions_each_step_once(
    mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill, a session without the log, and one with it: each evaluation is there once, in the journal's order."""
    settings = watched(tmp_path).model_copy(update={"log": ("mlflow",)})
    interrupted(settings, tmp_path / "run", 12, monkeypatch)
    engine.resume(tmp_path / "run", Silent())
    engine.resume(tmp_path / "run", Silent(), budget=40, log=())
    engine.resume(tmp_path / "run", Silent(), budget=45)
    where = mlflow.get_experiment_by_name("evosearch").experiment_id
    (found,) = mlflow.search_runs([where])
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"
    assert found.data.params["search.budget"] == "30"
    for name, values in curves(tmp_path / "run").items():
        history = mlflow.get_metric_history(found.info.run_id, name)
        assert [point.step for point in history] == list(range(1, 46))
        assert [point.value for point in history] == pytest.approx(values)
    assert found.data.metrics["evaluated"] == 45


def test_mlflow_is_told_in_requests_that_it_takes(mlflow: Any, tmp_path: Path) -> None:
    """A run of thousands that was begun without it: no request is over MLflow's limit, and all of it arrives."""
    from mlflow import MlflowClient

    from evosearch.logs.mlflow import METRICS, Mlflow

    sizes = []
    send = MlflowClient.log_batch

    def counted(client: Any, run: str, metrics: Sequence[Any] = (), **more: Any) -> Any:
        sizes.append(len(metrics))
        return send(client, run, metrics, **more)

    folder = tmp_path / "run"
    with Run.create(folder, header={}, files={"config.toml": "seed = 1\n"}) as run:
        for number in range(700):
            run.append_proposal(proposed(number))
        run.write_scores([scored(number) for number in range(700)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MlflowClient, "log_batch", counted)
            Mlflow(Session(run, "accuracy", evaluated=700)).close()
    assert max(sizes) <= METRICS
    assert sum(sizes) == 700 * 6
    (found,) = mlflow.search_runs([mlflow.get_experiment_by_name("evosearch").experiment_id])
    assert found.data.metrics["evaluated"] == 700
    assert found.data.metrics["fitness/best"] == 699 / 8


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sqlite:///there.db", "takes the whole MLflow: pip install mlflow"),
        ("file:///there", "set MLFLOW_ALLOW_FILE_STORE=true"),
    ],
)
def test_mlflow_that_cannot_write_there_is_said_before_the_run(
    uri: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    there = SimpleNamespace(find_spec=lambda name: None if name == "sqlalchemy" else find_spec(name))
    monkeypatch.setattr("evosearch.logs.mlflow.util", there)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(UsageError, match=says):
        makers(["mlflow"])


def kept_by_wandb(folder: Path) -> list[tuple[str, list[tuple[int, dict[str, float]]]]]:
    """Of each session's file in the run's folder, its id and its steps: LevelDB's log format, with W&B's records."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, parts, steps, name = file.read_bytes(), 7, b"", [], ""
        while at + 7 <= len(data):
            if 32_768 - at % 32_768 < 7:  # what is left of a block has no room for a head
                at += 32_768 - at % 32_768
                continue
            size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
            parts += data[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):  # whole, or the last of its pieces
                record = wandb_internal_pb2.Record.FromString(parts)
                parts = b""
                name = record.run.run_id or name
                if record.WhichOneof("record_type") == "history":
                    items = {
                        item.key or "/".join(item.nested_key): json.loads(item.value_json)
                        for item in record.history.item
                    }
                    steps.append((record.history.step.num, items))
        found.append((name, steps))
    return found


def test_weights_and_biases_goes_on_in_the_same_run_and_repeats_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept offline in the run's folder, session by session under one id, as its own records say."""
    pytest.importorskip("wandb", reason="no client of Weights & Biases: pip install 'evosearch[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = watched(tmp_path).model_copy(update={"log": ("wandb",)})
    interrupted(settings, tmp_path / "run", 12, monkeypatch)
    engine.resume(tmp_path / "run", Silent())
    sessions = kept_by_wandb(tmp_path / "run")
    assert len(sessions) == 2
    assert len({name for name, _ in sessions}) == 1
    steps = [step for _, found in sessions for step in found]
    assert [number for number, _ in steps] == list(range(1, 31))
    for name, values in curves(tmp_path / "run").items():
        assert [items[name] for _, items in steps] == pytest.approx(values)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_client_that_is_not_there_is_missed_before_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"evosearch.logs.{name}.util", SimpleNamespace(find_spec=lambda name: None))
    with pytest.raises(UsageError, match=rf"--log {name} needs .*pip install 'evosearch\[{name}\]'"):
        makers([name])
