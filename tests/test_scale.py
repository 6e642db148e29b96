"""What a run of many evaluations rests on: no score is shown before it is durable, and nothing is written twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch import engine, logs
from evosearch.engine import session
from evosearch.evaluation.evaluators import Spec
from evosearch.evaluation.job import Job, Resources
from evosearch.logs.rows import rows
from evosearch.report import figures, standing
from evosearch.report.html import write_report
from evosearch.report.page import candidates
from evosearch.report.reading import read_run
from evosearch.store.run import ARCHIVE_FILE, CHECKPOINT_FILE, PREVIOUS_FILE, Run
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
from tests.report_runs import searched, written
from tests.watch import Silent


@pytest.fixture
def settings(tmp_path: Path) -> configuration.Config:
    return words_config(words(tmp_path / "words", 4), budget=120, seed=1)


def test_status_reads_the_checkpoint_and_what_stands_behind_it(
    settings: configuration.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what the whole journal says, and reads none of it before the checkpoint."""
    monkeypatch.setattr(session, "CHECKPOINT_SCORES", 50)
    write = Run.write_checkpoint

    def until_a_hundred(run: Run, state: Any, told: Any = None) -> None:
        if state["evaluated"] <= 110:
            write(run, state, told)

    monkeypatch.setattr(Run, "write_checkpoint", until_a_hundred)
    folder = tmp_path / "run"
    engine.start(settings, folder, Silent())
    read = []
    records = Run.records

    def counted(run: Run, start: int | None = None) -> Any:
        for record in records(run, start):
            read.append(record)
            yield record

    monkeypatch.setattr(Run, "records", counted)
    by_checkpoint = standing.status(folder)
    assert 0 < len(read) < 150
    for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
        (folder / name).unlink(missing_ok=True)
    whole = standing.status(folder)
    assert len(read) > 240
    assert {**whole, "idle_seconds": 0} == {**by_checkpoint, "idle_seconds": 0}
    assert whole["evaluated"] == 120


def test_logs_that_lack_their_end_read_no_more_than_stands_behind_a_checkpoint(
    settings: configuration.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are those that the whole journal gives; proposals that were waiting at the checkpoint are among them."""
    monkeypatch.setattr(session, "CHECKPOINT_SCORES", 50)
    folder = tmp_path / "run"
    engine.start(settings, folder, Silent())
    for name in (CHECKPOINT_FILE, PREVIOUS_FILE):
        run = Run.open(folder)
        whole, checkpoint = list(rows(run)), run.load_checkpoint()
        assert checkpoint is not None
        evaluated = checkpoint.standing["evaluated"]
        read: list[int] = []
        located = run.located
        monkeypatch.setattr(run, "located", lambda start, located=located, read=read: _noted(located(start), read))
        assert list(rows(run, evaluated)) == whole[evaluated:]
        assert len(read) <= 2 * (120 - evaluated)
        assert list(rows(run, evaluated - 1)) == whole[evaluated - 1 :]
        (folder / name).unlink(missing_ok=True)
    assert list(rows(Run.open(folder), 119)) == whole[119:]


def _noted(records: Iterator[Any], read: list[int]) -> Iterator[Any]:
    for offset, record in records:
        read.append(offset)
        yield offset, record


def test_the_archive_is_appended_and_a_damaged_one_is_the_journals_to_tell(
    settings: configuration.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHECKPOINT_SCORES", 30)
    folder = tmp_path / "run"
    engine.start(settings, folder, Silent())
    archive = folder / ARCHIVE_FILE
    assert archive.stat().st_size == 16 * 120
    assert (folder / CHECKPOINT_FILE).stat().st_size < 16 * 120 + 20_000
    checkpoint = Run.open(folder).load_checkpoint()
    assert checkpoint is not None
    assert checkpoint.state["archive"] == archive.read_bytes()
    with archive.open("ab") as file:  # what a killed process had written behind its last checkpoint
        file.write(b"x" * 33)
    assert engine.verify(folder) == []
    engine.resume(folder, Silent(), budget=140)
    assert archive.stat().st_size == 16 * 140
    assert engine.verify(folder) == []
    archive.write_bytes(b"\0" + archive.read_bytes()[1:])
    assert {finding.file for finding in engine.verify(folder)} == {CHECKPOINT_FILE, PREVIOUS_FILE}
    engine.repair(folder)
    assert engine.verify(folder) == []


def test_no_score_is_shown_before_it_is_durable(
    settings: configuration.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many scores share an fsync: logs and views hear of none that a power cut could take back."""
    synced, shown = set[int](), list[int]()
    written: list[int] = []
    write, sync, add = Run.write_scores, Run.sync, logs.Logs.add

    def write_scores(run: Run, records: list[dict[str, Any]]) -> None:
        write(run, records)
        written.extend(record["number"] for record in records)

    def syncing(run: Run) -> None:
        sync(run)
        synced.update(written)

    def adding(one: logs.Logs, scored: Sequence[logs.Scored]) -> None:
        shown.extend(each.score["number"] for each in scored)
        assert synced >= set(shown)
        add(one, scored)

    class Looking(Silent):
        def progress(self, progress: engine.Progress) -> None:
            assert progress.evaluated <= len(synced)

    monkeypatch.setattr(Run, "write_scores", write_scores)
    monkeypatch.setattr(Run, "sync", syncing)
    monkeypatch.setattr(logs.Logs, "add", adding)
    engine.start(settings, tmp_path / "run", Looking())
    assert shown == list(range(120))


def test_an_evaluator_in_this_process_parses_no_text_again(settings: configuration.Config, tmp_path: Path) -> None:
    """A job that has its derivation is not parsed; one that crossed from elsewhere is. Both score alike."""
    (tmp_path / "same.py").write_text("def fitness(text, derivation, seed):\n    return float(derivation.size)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        evaluate: Any = Spec(settings.grammar, "same:fitness").build(Resources())
        derivation = evaluate.context.space.parse("abcd")
        crossed = Job(0, "abcd", "0" * 32)
        here = Job(0, "no sentence", "0" * 32, derivation=derivation)
        assert evaluate(here).score.objectives == evaluate(crossed).score.objectives
        assert evaluate(Job(0, "no sentence", "0" * 32)).score.status == "invalid"
        assert "derivation" not in here.pack()


def test_a_reading_holds_some_hundred_bytes_of_a_candidate_however_long_texts_are(tmp_path: Path) -> None:
    """What figures need of all candidates is in columns; of each other thing the journal is asked when it is wanted."""
    run = written(tmp_path / "run", 300)
    reading = read_run(run.folder)
    columns = reading.columns
    arrays = [value for value in vars(columns).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in (*arrays, *columns.values.values())) < 200 * len(columns)
    records: dict[str, dict[int, Any]] = {"proposal": {}, "score": {}}
    for record in run.records():
        records[record["kind"]][record["number"]] = record
    for number in (0, 299, 17):
        one = reading.candidates[number]
        assert (one.text, one.score) == (records["proposal"][number]["text"], records["score"][number])
    assert [one.number for one in reading.candidates[5:9]] == [5, 6, 7, 8]
    assert reading.candidates[-1].number == 299


def test_a_page_of_too_many_candidates_is_exact_where_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dots, words and the list are of an even choice, and say so; the best, the fronts, counts and rewards of all."""
    run = searched(tmp_path / "run", budget=150)
    whole = write_report(run.folder, tmp_path / "whole.html").read_text()
    monkeypatch.setattr(candidates, "MOST", 30)
    monkeypatch.setattr(figures, "WORDED", 20)
    some = write_report(run.folder, tmp_path / "some.html").read_text()
    assert "an even choice of" not in whole
    assert "of 150" in some
    assert "by an even choice of 20 of" in some
    for name in (
        "The improvements as a table",
        "The front of",
        "What the mutations and crossovers earned",
        "Failures by",
    ):
        tables = [re.findall(rf"{name}.*?</table>", page, re.DOTALL) for page in (whole, some)]
        assert tables[0]
        assert tables[0] == tables[1]
    best, axis = r'<path class="best" d="([^"]*)"', r'data-y="([^"]*)"'
    assert re.findall(best, whole) == re.findall(best, some)
    assert re.findall(axis, whole) == re.findall(axis, some)
    assert len(re.findall("h0", some)) < len(re.findall("h0", whole))


@pytest.mark.parametrize("more", [{}, {"rungs": (0.3,)}, {"order": "arrival"}], ids=str)
def test_rewards_are_those_of_going_through_the_scores_one_by_one(tmp_path: Path, more: dict[str, Any]) -> None:
    run = searched(tmp_path / "run", budget=120, failing=0.2, population=20, **more)
    reading = read_run(run.folder)
    window: list[float] = []
    known: dict[tuple[str, float], float] = {}
    expected = []
    scored = list(reading.scored())
    if "order" in more:
        scored.sort(key=lambda one: one.score["at"] if one.score else 0.0)
    for one in scored:
        if one.operator == "promote":
            continue
        value = one.objectives.get("accuracy")
        if value is not None:
            known.setdefault((one.key, one.fidelity), value)
            window = [*window, value][-50:]
        if one.parents and (reading.candidates[one.parents[0]].key, one.fidelity) in known:
            before = known[reading.candidates[one.parents[0]].key, one.fidelity]
            ranks = [sum((v < at) + (v == at) / 2 for v in window) / len(window) for at in (value or 0.0, before)]
            expected.append((one.number, one.parents[0], 0.0 if value is None else max(0.0, ranks[0] - ranks[1])))
    found = figures.rewards(reading)
    assert list(zip(found.children, found.parents, strict=True)) == [(child, parent) for child, parent, _ in expected]
    assert found.values.tolist() == pytest.approx([value for *_, value in expected])
    assert len(expected) > 30


@pytest.mark.parametrize("more", [{}, {"rungs": (0.3,)}, {"strategy": "random"}], ids=str)
def test_what_samples_came_to_is_counted_as_scores_come(tmp_path: Path, more: dict[str, Any]) -> None:
    """The line at a run's end is the one that reading all of it gives."""
    run = searched(tmp_path / "run", budget=60, population=20, **more)
    reading = read_run(run.folder)
    counted = standing.standing(run, ("+accuracy",), whole=True)
    again = standing.Standing(counted.objective, counted.sign, counted.origin)
    again.unpack(counted.pack())
    assert again.at_random(reading.metrics) == figures.at_random(reading)
    assert ("is the best of" in figures.at_random(reading)) == (not more)
