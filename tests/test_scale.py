"""What a run of many evaluations rests on: no score is shown before it is durable, and nothing is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evosearch import config as configuration
from evosearch import engine, logs
from evosearch.engine import session
from evosearch.evaluation.evaluators import Spec
from evosearch.evaluation.job import Job, Resources
from evosearch.report import standing
from evosearch.store.run import ARCHIVE_FILE, CHECKPOINT_FILE, PREVIOUS_FILE, Run
from tests.chaos.sessions import config as words_config
from tests.chaos.sessions import words
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
