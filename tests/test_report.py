"""The reports: what they say is what the journal says, they load nothing, and nothing of a run becomes markup."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from evosearch import config as configuration
from evosearch.cli import DONE, USAGE, main
from evosearch.config import NO_END
from evosearch.cost import Cost
from evosearch.errors import UsageError
from evosearch.report import compare as comparing
from evosearch.report import figures
from evosearch.report.compare import compare, holm, rank_test
from evosearch.report.figures import Sample, best_of_draws
from evosearch.report.html import write_report
from evosearch.report.page import candidates
from evosearch.report.page.comparison import write_comparison
from evosearch.report.page.drawing import contact_sheet, draw, standalone
from evosearch.report.reading import RunReading, read_run
from evosearch.score import Score
from evosearch.store.run import Run
from tests.journals import append_score
from tests.report_runs import created, searched, stamped, written
from tests.spaces import samples, space

Capture = pytest.CaptureFixture[str]

VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and their text; unbalanced tags raise."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)
        if self.rows and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.texts["script"][0])
        return found


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of 120 evaluations."""
    return searched(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return page_of(write_report(run.folder))


def scores_of(run: Run) -> list[dict[str, Any]]:
    """The journal's scores by number, read without the report's own reader."""
    return sorted((r for r in run.records() if r["kind"] == "score"), key=lambda r: r["number"])


# --- one file, nothing fetched ---------------------------------------------------------------------------------------


def test_the_page_refers_to_nothing_outside_itself(page: Page, run: Run) -> None:
    """No address in it but places of the page, the empty icon, and the name of SVG's language."""
    addresses = [value for _, a in page.elements for name, value in a.items() if name in ("src", "href", "xlink:href")]
    assert {address for address in addresses if not address.startswith("#")} == {"data:,"}
    text = (run.folder / "report.html").read_text()
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_style_and_script_alone(page: Page, run: Run) -> None:
    """The content security policy names the digests of exactly the style and the script that the page holds."""
    text = (run.folder / "report.html").read_text()
    [policy] = [a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    blocks = {
        "style": re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
        "script": re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
    }
    for kind, [content] in blocks.items():
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not any("style" in attributes for _, attributes in page.elements), "the policy would block it"


def test_its_structure_holds(page: Page) -> None:
    """Ids are unique, links within the page lead somewhere, pictures have a text, tables a caption."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    numbers = {row[0] for row in page.data["rows"]}
    for address in (a["href"] for a in page.named("a")):
        assert address[1:] in ids or int(address.removeprefix("#c")) in numbers
    shown = [a for a in page.named("svg") if a.get("aria-hidden") != "true"]
    assert all(a["role"] in ("img", "group") and a["aria-label"] for a in shown)
    assert len(page.named("caption")) == len(page.named("table"))
    classes = " ".join(a.get("class", "") for a in shown)
    for chart in ("progress", "pareto-params", "pareto-flops", "pareto-seconds", "drawing", "tree"):
        assert chart in classes


def test_five_thousand_evaluations_stay_small(tmp_path: Path) -> None:
    """Under 3 MB with every candidate on it, each with its text."""
    run = written(tmp_path / "long", 5000)
    path = write_report(run.folder)
    assert path.stat().st_size < 3_000_000
    data = page_of(path).data
    assert [row[0] for row in data["rows"]] == list(range(5000))
    texts = texts_of(data)
    assert all(texts[r["number"]] == r["text"] for r in run.records() if r["kind"] == "proposal")


# --- what it says is what the journal says ---------------------------------------------------------------------------


def test_improvements_are_the_journals(page: Page, run: Run) -> None:
    """The table of new bests is a running maximum of the journal's scores in the order proposed."""
    expected, best = [], -math.inf
    for score in scores_of(run):
        value = score["objectives"].get("accuracy", -math.inf)
        if value > best:
            best = value
            expected.append([f"#{score['number']}", str(score["number"] + 1), f"{value:.4f}"])
    at = page.rows.index(["candidate", "evaluation", "accuracy", "made by"])
    assert [row[:3] for row in page.rows[at + 1 : at + 1 + len(expected)]] == expected


@pytest.mark.parametrize("against", ["params", "flops", "seconds"])
def test_fronts_are_those_of_comparing_every_two(run: Run, against: str) -> None:
    """A candidate is on the front exactly where no other is as good in both and better in one."""
    points = [
        (s["number"], s["objectives"]["accuracy"], s["objectives"][against]) for s in scores_of(run) if s["objectives"]
    ]
    beaten = {
        a[0] for a in points for b in points
        if b[1] >= a[1] and b[2] <= a[2] and (b[1] > a[1] or b[2] < a[2] or b[0] < a[0])
    }  # fmt: skip
    found = [one.number for one in figures.front(read_run(run.folder), against)]
    assert set(found) == {number for number, *_ in points} - beaten
    costs = {number: cost for number, _, cost in points}
    assert [costs[number] for number in found] == sorted(costs[number] for number in found)


def test_every_candidate_is_in_the_data(page: Page, run: Run) -> None:
    """Key, status, value, costs, operator, parents, error and text of each, the text put together as the page does."""
    data = page.data
    proposals = {r["number"]: r for r in run.records() if r["kind"] == "proposal"}
    rows = {row[0]: row for row in data["rows"]}
    assert len(rows) == 120
    texts = texts_of(data)
    for score in scores_of(run):
        number, key, status, value, params, flops, _, operator, parents, error, curve, _ = rows[score["number"]]
        proposal = proposals[number]
        assert (key, data["statuses"][status]) == (score["key"], score["status"])
        cost = score["cost"] if any(score["cost"].values()) else {}  # zeros: no network was built
        assert (params, flops) == (cost.get("params"), cost.get("flops"))
        accuracy = score["objectives"].get("accuracy")
        assert value is None if accuracy is None else value == pytest.approx(accuracy, rel=1e-6)
        assert (data["operators"][operator], parents) == (proposal["operator"], proposal["parents"])
        assert (data["errors"][error] if error >= 0 else "") == score["error"]
        assert curve == pytest.approx(score["curve"], rel=1e-3)
        assert texts[number] == proposal["text"]


def texts_of(data: dict[str, Any]) -> dict[int, str]:
    """The texts by number, unpacked as page.js does."""
    texts = json.loads(zlib.decompress(base64.b64decode(data["texts"])))
    return {row[0]: texts[row[-1]] for row in data["rows"] if row[-1] >= 0}


def test_failures_and_redraws_are_counted(page: Page, run: Run) -> None:
    """Failures by kind as in the journal; redraws as in the search's tallies."""
    kinds = Counter(s["status"] for s in scores_of(run) if s["status"] != "ok")
    assert {row[0]: row[1] for row in page.rows if row[0] in kinds and len(row) == 4} == {
        k: str(n) for k, n in kinds.items()
    }
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    tallies = checkpoint.state["tallies"]
    at = next(index for index, row in enumerate(page.rows) if row[:3] == ["operator", "calls", "proposed"])
    for row, (name, tally) in zip(page.rows[at + 1 :], sorted(tallies.items()), strict=False):
        assert row[:4] == [name, *(f"{tally[column]:,}" for column in ("calls", "proposed", "duplicates"))]


@pytest.mark.parametrize("settings", [{"policy": "q"}, {"strategy": "nsga2", "objectives": ["accuracy", "-params"]}])
def test_rewards_are_those_that_the_search_gave(tmp_path: Path, settings: dict[str, Any]) -> None:
    """What the page says an operator earned is what the search credited it with, worked out again from the journal."""
    run = searched(tmp_path / "run", budget=70, **settings)
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    state = checkpoint.state
    reading = read_run(run.folder)
    given = figures.rewards(reading)
    folded = given.at(given.children < state["folded"])
    earned = {entry.name: entry for entry in figures.earned_by_operator(reading, folded)}
    credited = {name: tally["reward"] for name, tally in state["tallies"].items() if tally["reward"]}
    assert credited
    assert {name: entry.reward for name, entry in earned.items() if entry.reward} == pytest.approx(credited)
    for entry in earned.values():
        assert entry.tried == sum(tried for tried, _ in entry.over_time)
        assert entry.reward == pytest.approx(sum(reward for _, reward in entry.over_time))


def test_the_q_table_is_the_checkpoints(page: Page, run: Run) -> None:
    """Value and trials of each mutation."""
    checkpoint = run.load_checkpoint()
    assert checkpoint is not None
    arms = checkpoint.state["policy"][""]
    at = next(index for index, row in enumerate(page.rows) if row[0] == "state")
    actions, cells = page.rows[at][1:], page.rows[at + 1][1:]
    assert actions == sorted(arms)
    values = [f"{arms[action][0]:.2f}" if arms[action][0] else "0" for action in actions]
    assert cells == [f"{value}{arms[action][1]}×" for value, action in zip(values, actions, strict=True)]


def test_words_earn_what_brought_them_in(tmp_path: Path) -> None:
    """A word is credited where the offspring has more of it than its first parent, once for each offspring."""
    reading = read_run(searched(tmp_path / "run", budget=60).folder)
    given = figures.rewards(reading)
    found = {entry.name: (entry.tried, entry.reward) for entry in figures.earned_by_word(reading, given)}
    expected: dict[str, list[float]] = {}
    for *numbers, value in zip(given.children, given.parents, given.values, strict=True):
        child, parent = (re.findall(r"[a-z]\w*(?:\(\d+\))?", one.text) for one in reading.candidates.at(numbers))
        for word in set(child):
            if child.count(word) > parent.count(word):
                expected.setdefault(word, []).append(value)
    assert {word: tried for word, (tried, _) in found.items()} == {word: len(v) for word, v in expected.items()}
    sums = {word: sum(values) for word, values in expected.items()}
    assert {word: earned for word, (_, earned) in found.items()} == pytest.approx(sums)


# --- random draws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_the_band_is_that_of_all_possible_draws(sign: int) -> None:
    """Expectation and percentiles of the best of n, against every sequence of n draws, failures as the worst score."""
    sample = Sample((0.2, 0.9, 0.5, 0.7), failed=1)
    band = best_of_draws(sample, sign, 4)
    assert band is not None
    assert band.draws == (1, 2, 3, 4)
    best, worst = (max, min) if sign > 0 else (min, max)
    pool = [*sample.values, worst(sample.values)]
    for n, mean, low, high in zip(band.draws, band.mean, band.low, band.high, strict=True):
        every = sorted((best(draw) for draw in itertools.product(pool, repeat=n)), reverse=sign < 0)
        assert mean == pytest.approx(fmean(every))
        worse, better = (every[math.ceil(share * len(every)) - 1] for share in (0.05, 0.95))
        assert (low, high) == ((worse, better) if sign > 0 else (better, worse))


def test_the_band_ends_with_its_samples() -> None:
    """Nothing is said of more draws than there were samples, and nothing of none."""
    band = best_of_draws(Sample((0.1, 0.2, 0.3)), 1, 500)
    assert band is not None
    assert band.draws[-1] == 3
    assert best_of_draws(Sample(()), 1, 500) is None


def test_seeds_and_their_mutants_are_no_random_draws(tmp_path: Path) -> None:
    """What counts as random has neither parents nor a seed behind it."""
    config = configuration.validate({"seeds": ["known"], "search": {"budget": 5, "initialise": "mixed"}}, "test")
    with created(tmp_path / "run", config) as run:
        made: list[tuple[str, str, list[int]]] = [
            ("seq( norm ,norm)", "early_exit", []),
            ("linear(16)", "early_exit", []),
            ("norm", "mixed", []),
        ]
        made += [("softmax", "random", []), ("identity", "redraw", [1])]
        for number, (text, operator, parents) in enumerate(made):
            key = f"{number:032x}"
            record = {"number": number, "key": key, "text": text, "parents": parents, "operator": operator}
            run.append_proposal({**record, "seed": 0, "state": None})
            append_score(run, stamped(Score(key, "ok", {"accuracy": number / 10}), number))
    (tmp_path / "run/grammar/seeds").mkdir()
    (tmp_path / "run/grammar/seeds/known.arch").write_text("seq(norm,\n  norm)\n")
    assert figures.random_draws(read_run(tmp_path / "run")) == Sample((0.1, 0.3))


def test_the_winners_lead_over_samples_is_told_with_its_noise(tmp_path: Path) -> None:
    """Of the search's winner alone; and that nothing is better, where nothing is."""
    config = configuration.validate({"search": {"budget": 5}}, "test")
    with created(tmp_path / "run", config) as run:
        for number, value in enumerate((0.5, 0.7, 0.9)):
            key, operator = f"{number:032x}", "redraw" if number == 2 else "early_exit"
            record = {"number": number, "key": key, "text": "norm", "parents": [0] * (number == 2)}
            run.append_proposal({**record, "operator": operator, "seed": 0, "state": None})
            append_score(run, stamped(Score(key, "ok", {"accuracy": value}), number))
    assert figures.at_random(read_run(tmp_path / "run")) == "0.7000 is the best of 2 samples of the grammar"
    winner = read_run(tmp_path / "run").ranked()[0].key
    kept: dict[str, Any] = {"held_out": {"again": 0.85, "winner": winner}}
    told = figures.at_random(with_metrics(tmp_path / "run", kept))
    assert told.endswith("of the winner's lead of 0.2000 0.0500 is noise: what it loses by another seed")
    kept["held_out"]["other_rows"] = True  # every network has another figure there
    assert figures.at_random(with_metrics(tmp_path / "run", kept)).endswith("samples of the grammar")
    kept["held_out"] = {"again": 0.85, "winner": "0" * 32}
    assert figures.at_random(with_metrics(tmp_path / "run", kept)).endswith("samples of the grammar")


def with_metrics(folder: Path, metrics: dict[str, Any]) -> RunReading:
    with Run.open(folder, write=True) as run:
        run.write_best({"metrics.json": json.dumps(metrics)})
    return read_run(folder)


# --- nothing of a run becomes markup or code -------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(1)><a href=javascript:alert(1)>",
    "<!--\u2028\u202egnirts\x1b[2J",
    "]]>&lt;b&gt;",
)


def test_what_a_run_holds_is_escaped(tmp_path: Path, capsys: Capture) -> None:
    """Hostile text, key, operator, status, error, configuration, versions, metrics and folder: shown, never obeyed."""
    config = configuration.validate({"grammar": HOSTILE[1], "search": {"budget": 8}}, "test")
    folder = tmp_path / '"><b onclick=alert(1)>run'
    with created(folder, config, task=HOSTILE[1], input=None) as run:
        for number in range(8):
            bad = HOSTILE[number % len(HOSTILE)]
            parents = [number - 1] if number else []
            record = {"number": number, "key": bad, "text": f"{bad}({number})", "parents": parents, "operator": bad}
            run.append_proposal({**record, "seed": 0, "state": None})
            if number % 2:
                score = Score(bad, "nan", error=f"{bad} in epoch {number}")
                append_score(run, {**stamped(score, number), "status": bad})
            else:
                objectives = {"accuracy": 0.1 * number + 0.1, "params": 10.0 + number, "seconds": 1.0}
                append_score(run, stamped(Score(bad, "ok", objectives, cost=Cost(10 + number, 5)), number))
        arm = [0.5, 3, 0, 0.1, 0, 0.0, 0.0, 0.0]
        tally = dict.fromkeys(("calls", "proposed", "duplicates", "over_limit", "invalid", "failed"), 1)
        run.write_checkpoint(
            {"policy": {HOSTILE[0]: {HOSTILE[2]: arm}}, "tallies": {HOSTILE[1]: tally}, "folded": HOSTILE[3]}
        )
        metrics = {"key": HOSTILE[0], "test": {HOSTILE[2]: 0.5, "accuracy": HOSTILE[1]}, "baseline": HOSTILE[0]}
        run.write_best({"metrics.json": json.dumps(metrics)})
    (folder / "environment.json").write_text(json.dumps({HOSTILE[0]: HOSTILE[1], "packages": {HOSTILE[2]: HOSTILE[3]}}))
    shutil.copytree(folder, tmp_path / "copy")
    comparison = write_comparison(compare([folder, tmp_path / "copy"]), tmp_path / "compare.html")
    for path in (write_report(folder), comparison):
        page = page_of(path)
        assert [a.get("type", "") for a in page.named("script")] == ["application/json", ""]
        allowed = {"img", "iframe", "object", "embed", "form", "b", "base"} & {tag for tag, _ in page.elements}
        assert not allowed
        for _, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on")]
            assert not attributes.get("href", "").startswith("javascript")
    text = write_report(folder).read_text()
    assert not set("\u2028\u202e\x1b") & set(text)
    data = page_of(folder / "report.html").data
    assert texts_of(data)[0] == f"{HOSTILE[0]}(0)"
    assert HOSTILE[1] in data["operators"]


def test_no_code_of_the_folder_is_run(tmp_path: Path) -> None:
    """Layers that a run's configuration names are not loaded; the page says how to name them oneself."""
    folder, mark = tmp_path / "run", tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w')\n"
    layers = tmp_path / "layers.py"
    layers.write_text(code)
    config = configuration.validate({"layers": [str(layers)], "search": {"budget": 1}}, "test")
    with created(folder, config) as run:
        record = {"number": 0, "key": "0" * 32, "text": "seq(norm,norm)", "parents": [], "operator": "early_exit"}
        run.append_proposal({**record, "seed": 0, "state": None})
        append_score(run, stamped(Score("0" * 32, "ok", {"accuracy": 0.5}), 0))
    for name in ("layers.py", "model.py", "grammar/layers.py"):
        (folder / name).write_text(code)
    text = write_report(folder).read_text()
    assert not mark.exists()
    assert "--layers FILE.py" in text


def test_a_changed_grammar_is_not_read(tmp_path: Path) -> None:
    """A grammar that is not the one the run was started with draws nothing, and the page says so."""
    run = searched(tmp_path / "run", budget=25)
    (run.folder / "grammar/einspace.lark").write_text("start: nonsense")
    text = write_report(run.folder).read_text()
    assert "It is not drawn" in text
    assert "not the file that the run was started with" in text


# --- runs that are not finished --------------------------------------------------------------------------------------


def test_a_run_without_scores_has_a_page(tmp_path: Path) -> None:
    """Before the first score there is a page that says so."""
    with created(tmp_path / "run", configuration.validate({}, "test")) as run:
        record = {"number": 0, "key": "0" * 32, "text": "norm", "parents": [], "operator": "early_exit"}
        run.append_proposal({**record, "seed": 0, "state": None})
    assert "No candidate has succeeded yet" in write_report(run.folder).read_text()


def test_a_run_that_goes_on_has_a_page(tmp_path: Path) -> None:
    """While it is written, without checkpoint and best/: the page shows what there is, and takes no lock."""
    with created(tmp_path / "run", configuration.validate({}, "test")) as run:
        for number in range(3):
            record = {
                "number": number,
                "key": f"{number:032x}",
                "text": "seq(norm,norm)",
                "parents": [],
                "operator": "random",
            }
            run.append_proposal({**record, "seed": 0, "state": None})
        append_score(run, stamped(Score(f"{0:032x}", "ok", {"accuracy": 0.25, "params": 7.0}, cost=Cost(7, 5)), 0))
        append_score(run, stamped(Score(f"{1:032x}", "oom", error="too large"), 1))
        text = write_report(run.folder).read_text()
    assert "0.2500" in text
    assert "there is none yet" in text
    page_of(run.folder / "report.html")


@pytest.mark.parametrize(
    ("time", "notes", "told", "again"),
    [
        ("10m", [], "aging evolution for 10m, seed 0", ""),
        ("10m", [{"time": "90m"}], "aging evolution for 90m, seed 0", "--time 90m"),
        ("", [{"budget": NO_END}, {"time": "60s"}], "for 60s, seed 0", f"--budget {NO_END} --time 60s"),
        ("", [{"budget": NO_END}], "of as many candidates as are asked for, seed 0", ""),
        ("", [{"budget": 600}], "of 600 candidates, seed 0", "--budget 600"),
    ],
)
def test_a_run_whose_time_ends_it_is_of_no_number_of_candidates(
    time: str, notes: list[dict[str, Any]], told: str, again: str, tmp_path: Path
) -> None:
    """And who runs it again is told the time that it was given."""
    with created(tmp_path / "run", configuration.validate({"time": time} if time else {}, "test")) as run:
        for note in notes:
            run.append_note(note)
        text = write_report(run.folder).read_text()
    assert told in text
    assert again in text
    assert f"{NO_END:,}" not in text


def test_texts_beyond_the_budget_are_left_out_from_the_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Front, winner and lineage keep their texts; the page stays small however long the texts are."""
    run = searched(tmp_path / "run", budget=60)
    monkeypatch.setattr(candidates, "TEXTS", 1_500)
    data = page_of(write_report(run.folder)).data
    assert len(data["texts"]) <= 1_500
    kept = texts_of(data)
    front = [one.number for one in figures.front(read_run(run.folder), "params")]
    assert set(front) <= set(kept)
    assert len(kept) < len(data["rows"])


def test_more_candidates_than_fit_are_chosen_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many an even choice stands for all, with those that the page speaks of."""
    run = searched(tmp_path / "run", budget=60)
    monkeypatch.setattr(candidates, "MOST", 20)
    numbers = {row[0] for row in page_of(write_report(run.folder)).data["rows"]}
    front = {one.number for one in figures.front(read_run(run.folder), "params")}
    assert front <= numbers
    assert 20 <= len(numbers) < 60


# --- drawings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["einspace", "einspace_1d", "nasbench201", "tiny_cnn", "mlp"])
def test_samples_of_every_grammar_are_drawn(name: str) -> None:
    """A drawing is well-formed and holds its boxes within its bounds."""
    for architecture in samples(name, 6):
        picture = ET.fromstring(draw(architecture))
        width = float(picture.attrib["width"])
        for rect in picture.iter("rect"):
            assert 0 < float(rect.attrib["width"]) <= width
        assert sum("box" in rect.attrib["class"] for rect in picture.iter("rect")) >= 1


def test_a_convolution_is_drawn_as_one() -> None:
    """im2col, linear, col2im is one box that says so; other routings are frames."""
    there = space("einspace", (1, 8, 8))
    text = "seq(route(im2col3s2,linear(32),col2im),route(permute213,norm,permute213))"
    picture = draw(there.read(there.parse(text)))
    assert "convolution 3×3, stride 2, 32" in picture
    assert "32x4x4 · 320 params" in picture
    assert picture.count('class="frame"') == 1
    assert "permute 213" in picture


def test_a_drawing_stands_alone() -> None:
    """As a file it is SVG by name, with its own colours: nothing in it asks for a page."""
    [architecture] = samples("tiny_cnn", 1)
    text = standalone(architecture)
    picture = ET.fromstring(text)
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in text
    used = {name for rect in picture.iter("{http://www.w3.org/2000/svg}rect") for name in rect.attrib["class"].split()}
    assert all(f".{name}" in text for name in used - {"box", "t0"})


def test_samples_are_drawn_side_by_side(tmp_path: Path) -> None:
    """Each under its key, none over another, all inside the picture; `evolve sample --svg` writes it."""
    drawn = list(samples("tiny_cnn", 5, seed=1))
    picture = ET.fromstring(contact_sheet(drawn, columns=2))
    svg = "{http://www.w3.org/2000/svg}"
    text = "".join(picture.itertext())
    assert all(one.key[:8] in text for one in drawn)
    places = [
        (float(x), float(y), float(frame.attrib["width"]), float(frame.attrib["height"]))
        for cell in picture.findall(f"{svg}g")
        for x, y in [cell.attrib["transform"].removeprefix("translate(").rstrip(")").split()]
        for frame in [next(cell.iter(f"{svg}rect"))]
    ]
    assert len(places) == 5
    for index, (x, y, width, height) in enumerate(places):
        assert x + width <= float(picture.attrib["width"])
        assert y + height <= float(picture.attrib["height"])
        for left, top, *_ in places[index + 1 :]:
            assert left >= x + width or top >= y + height or (left + width <= x and top > y)
    file = tmp_path / "samples.svg"
    assert main(["sample", "tiny_cnn", "-n", "3", "--svg", str(file), "--json"]) == DONE
    assert len(ET.fromstring(file.read_text()).findall(f"{svg}g")) == 3


def test_the_deepest_are_drawn_shortened() -> None:
    """Hundreds of nested layers become one box, and long sequences end in one: no recursion, no picture of a mile."""
    there = space("einspace", (1, 8, 8))
    nested = "norm"
    for _ in range(300):
        nested = f"route(identity,{nested},identity)"
    long = "norm"
    for _ in range(600):
        long = f"seq(norm,{long})"
    for text in (f"seq({nested},norm)", long):
        picture = draw(there.read(there.parse(text)))
        ET.fromstring(picture)
        assert " layers</text>" in picture
        assert len(picture) < 300_000


# --- comparing -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of evolution and two of random search; one of them longer than the others."""
    at = tmp_path_factory.mktemp("compared")
    return [
        searched(at / f"{strategy}-{seed}", budget=40 + 5 * seed, seed=seed, strategy=strategy).folder
        for strategy in ("aging", "random")
        for seed in (0, 1)
    ]


def test_runs_of_one_configuration_are_one_method(methods: list[Path]) -> None:
    """Seed and budget apart; all are compared after as many evaluations as the shortest has."""
    found = compare(methods)
    assert [(method.name, len(method.runs)) for method in found.methods] == [("aging", 2), ("random", 2)]
    assert found.evaluations == 40
    for run in found.runs:
        values = [s["objectives"].get("accuracy", 0) for s in scores_of(Run.open(run.folder)) if s["number"] < 40]
        assert found.best(run) == max(values)


def test_runs_of_one_seed_are_one_run(methods: list[Path], tmp_path: Path, capsys: Capture) -> None:
    """The longest of them counts, whatever the order."""
    aging, other, random, _ = methods
    again = searched(tmp_path / "again", budget=30, seed=0, strategy="aging").folder
    found = compare([again, aging, other, random])
    assert [[run.folder for run in method.runs] for method in found.methods] == [[aging, other], [random]]
    assert found.evaluations == 40
    line = f"{aging}, {again}: of the same settings and seed, so they are one run; {aging} counts."
    assert found.notes[0] == line
    assert main(["compare", *map(str, (aging, again, random)), "--output", str(tmp_path / "two.html")]) == DONE
    assert f"{aging}, {again}: of the same settings and seed" in capsys.readouterr().out
    [alone] = compare([aging, again]).methods
    assert [run.folder for run in alone.runs] == [aging]
    edited = [
        journal(tmp_path / name, [(0.5, 10)], operators={"mutate/mine": name}) for name in ("before", "after", "after2")
    ]
    assert len(compare(edited).runs) == 3
    scores = [(0.5, 10), (0.6, 10)]
    others = [journal(tmp_path / f"of{salt}", scores, salt=salt) for salt in "ab"]  # as from another seed's text
    beginning = journal(tmp_path / "less", scores[:1], salt="b")
    assert [run.folder for run in compare([beginning, *others]).runs] == others


def test_methods_that_differ_in_much_are_numbered(tmp_path: Path, capsys: Capture) -> None:
    """What each is stands below; final.lr, which follows recipe.lr, is not said again."""
    scores = [(0.5, 10), (0.6, 10)]
    plain = journal(tmp_path / "plain", scores, recipe={"lr": 0.1})
    assert [one.name for one in compare([plain, journal(tmp_path / "lr", scores, recipe={"lr": 0.2})]).methods] == [
        "recipe.lr = 0.1",
        "recipe.lr = 0.2",
    ]
    other = journal(tmp_path / "b", scores, recipe={"lr": 0.2}, population=7, tournament=3, initial=5, policy="uniform")
    assert main(["compare", str(plain), str(other), "--output", str(tmp_path / "c.html")]) == DONE
    lines = capsys.readouterr().out.splitlines()
    said = "recipe.lr = 0.2, search.initial = 5, search.policy = uniform, search.population = 7, search.tournament = 3"
    assert f"method 2: {said}" in lines
    assert max(map(len, lines[:3])) < 60
    assert f"method 2: {said}" in (tmp_path / "c.html").read_text()


def test_a_run_of_a_version_that_had_fewer_settings_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = comparing._settings

    def fewer(run: Any) -> tuple[tuple[str, str], ...]:
        return tuple(one for one in settings(run) if run.folder.name == "newer" or "inherit_epochs" not in one[0])

    monkeypatch.setattr(comparing, "_settings", fewer)
    found = compare([journal(tmp_path / name, [(0.5, 10), (0.6, 10)]) for name in ("older", "newer")])
    assert [method.name for method in found.methods] == ["all runs", "recipe.inherit_epochs = 0"]


def test_relative_improvement_is_against_the_mean_random_network(methods: list[Path]) -> None:
    """100 (best - mean) / mean, the mean over the scores of the random searches of the same grammar."""
    found = compare(methods)
    pool = [s["objectives"]["accuracy"] for path in methods[2:] for s in scores_of(Run.open(path)) if s["objectives"]]
    for run in found.runs:
        best = found.best(run)
        assert best is not None
        assert found.improvement(run) == pytest.approx(100 * (best - fmean(pool)) / fmean(pool))


def test_what_runs_of_one_seed_drew_alike_is_one_draw(tmp_path: Path) -> None:
    """Their first populations begin alike: the pool that they are compared with has each of these once."""
    runs = [
        searched(tmp_path / f"{size}-{seed}", budget=30, seed=seed, strategy="aging", population=size)
        for size in (6, 12)
        for seed in (0, 1)
    ]
    found = compare([run.folder for run in runs])
    draws = {
        (run.header["seed"], record["key"])
        for run in runs
        for record in run.records()
        if record["kind"] == "proposal" and record["operator"] in ("early_exit", "sample") and not record["parents"]
    }
    assert found.random(found.runs[0]).size == len(draws) < 2 * 6 + 2 * 12


def test_rank_tests() -> None:
    """U and p of textbook cases: fully apart, p = 2 / C(8, 4); equal, p = 1; ties are no trouble."""
    u, p = rank_test([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert u == 16.0
    assert p == pytest.approx(2 / 70)
    assert rank_test([1.0, 1.0], [1.0, 1.0])[1] == 1.0
    every = [
        sum(a > b for a in half for b in set(range(6)) - set(half)) for half in itertools.combinations(range(6), 3)
    ]
    u, p = rank_test([0.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert u == 6.0
    assert p == pytest.approx(min(1.0, 2 * min(sum(e >= u for e in every), sum(e <= u for e in every)) / len(every)))


def test_holms_correction() -> None:
    """Smallest times three, next times two, never falling, never above one."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_comparisons_page_holds(methods: list[Path], tmp_path: Path) -> None:
    """Its charts are there, each with a text, and its numbers are those of the data."""
    found = compare(methods)
    page = page_of(write_comparison(found, tmp_path / "compare.html"))
    classes = " ".join(a.get("class", "") for a in page.named("svg"))
    for chart in ("finals", "progress", "pareto-params"):
        assert chart in classes
    [test] = found.tests
    assert [
        "aging and random",
        f"{test.u:g}",
        f"{test.p:.3g}",
        f"{test.p_corrected:.3g}",
        f"{test.least_p:.2g}",
    ] in page.rows


def journal(
    folder: Path,
    outcomes: Sequence[tuple[float, int] | str],
    operators: dict[str, str] | None = None,
    salt: str = "",
    recipe: Mapping[str, Any] | None = None,
    **search: Any,
) -> Path:
    """A run whose candidates had these (accuracy, params), in the order proposed, or are "nan" or "pending".

    salt: candidates of one are no candidates of another.
    """
    config = configuration.validate({"search": {"budget": len(outcomes), **search}, "recipe": recipe or {}}, "test")
    with created(folder, config, operators=operators or {}) as run:
        for number, outcome in enumerate(outcomes):
            key = hashlib.blake2b(f"{salt}{number}".encode(), digest_size=16).hexdigest()
            record = {"number": number, "key": key, "text": "norm", "parents": [], "operator": "early_exit"}
            run.append_proposal({**record, "seed": number, "state": None})
            if outcome == "pending":
                continue
            score = Score(key, "nan", error="the loss became NaN")
            if not isinstance(outcome, str):
                accuracy, params = outcome
                score = Score(key, "ok", {"accuracy": accuracy, "params": float(params)}, cost=Cost(params, 0, 0, 1))
            run.write_scores([stamped(score, number)])
            run.sync()
    return folder


@pytest.mark.parametrize("kept", [False, True])
def test_a_candidate_that_the_search_had_no_time_for_says_so(tmp_path: Path, capsys: Capture, kept: bool) -> None:
    """It is pending as long as the run is; the final trainings may like it all the same."""
    folder = journal(tmp_path / "run", [(0.5, 10), "pending"])
    reading = read_run(folder)
    first, second = (one.key for one in reading.candidates)
    assert main(["why", str(folder), second]) == DONE
    assert "came to    pending" in capsys.readouterr().out
    with Run.open(folder, write=True) as run:
        run.write_best({"metrics.json": json.dumps({"key": second if kept else first}), "architecture.arch": "norm"})
    said = "no score within the search" + ("; the final trainings kept it" if kept else "")
    for command in ("why", "lineage"):
        assert main([command, str(folder), second]) == DONE
        assert said in capsys.readouterr().out


def test_a_method_without_a_success_so_far_is_compared_all_the_same(tmp_path: Path) -> None:
    """One that succeeded only after the other run's end; where the first evaluations of all go on, what came counts."""
    late = journal(tmp_path / "late", ["nan", "nan", (0.9, 10)])
    early = journal(tmp_path / "early", [(0.5, 10), (0.6, 20)], strategy="random")
    page = page_of(write_comparison(compare([late, early]), tmp_path / "compare.html"))
    classes = " ".join(a.get("class", "") for a in page.named("svg"))
    assert "finals" in classes
    assert "pareto-params" in classes
    begun = [journal(tmp_path / f"begun{seed}", ["pending", (0.9, 10)], salt=str(seed)) for seed in (0, 1)]
    found = compare(begun)
    assert [found.best(run) for run in found.runs] == [0.9, 0.9]
    page = page_of(write_comparison(found, tmp_path / "begun.html"))
    assert "finals" in " ".join(a.get("class", "") for a in page.named("svg"))


def test_a_run_whose_first_candidates_have_no_score_has_a_page(tmp_path: Path) -> None:
    """The best so far begins at the right of what random draws are expected to give."""
    for number, begun in enumerate((["pending"], ["nan", "nan"], ["pending", "nan", "pending"])):
        folder = journal(tmp_path / str(number), [*begun, (0.5, 10)])
        assert "progress" in " ".join(a.get("class", "") for a in page_of(write_report(folder)).named("svg"))


def test_fronts_are_of_the_candidates_compared(tmp_path: Path) -> None:
    """What came after the shortest run's end takes no other candidate off the front."""
    long = journal(tmp_path / "long", [(0.8, 100), (0.7, 50), (0.95, 10)])
    short = journal(tmp_path / "short", [(0.5, 10), (0.6, 20)], strategy="random")
    page = page_of(write_comparison(compare([long, short]), tmp_path / "compare.html"))
    at = page.rows.index(["method", "accuracy", "parameters"])
    assert [row[1:] for row in page.rows[at + 1 : at + 5]] == [
        ["0.7000", "50"], ["0.8000", "100"], ["0.5000", "10"], ["0.6000", "20"],
    ]  # fmt: skip


def test_what_has_no_score_is_no_evaluation(tmp_path: Path) -> None:
    """A run that its time ended while workers were at work: its best counts, also where others before it are open."""
    open_ones = journal(tmp_path / "time", [(0.5, 10), "pending", "pending", (0.9, 20), "pending"])
    short = journal(tmp_path / "short", [(0.6, 10), (0.7, 30), (0.8, 40)], strategy="random")
    found = compare([open_ones, short])
    assert found.evaluations == 2
    assert [found.best(run) for run in found.runs] == [0.9, 0.7]
    page = page_of(write_comparison(found, tmp_path / "compare.html"))
    at = page.rows.index(["method", "accuracy", "parameters"])
    assert [row[1:] for row in page.rows[at + 1 : at + 5]] == [
        ["0.5000", "10"], ["0.9000", "20"], ["0.6000", "10"], ["0.7000", "30"],
    ]  # fmt: skip


def test_of_equal_fitness_the_smaller_one_is_on_the_front(tmp_path: Path) -> None:
    run = read_run(journal(tmp_path / "run", [(0.9, 100), (0.9, 50), (0.5, 10)]))
    assert [one.number for one in run.front("params")] == [2, 1]
    with pytest.raises(UsageError, match="--against size: there are accuracy, activations, flops, modules, params"):
        run.front("size")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("val_loss", -1), ("rmse", -1), ("modules", -1), ("accuracy", 1), ("+loss", 1), ("-margin", -1)],
)
def test_what_is_minimised_is_what_the_search_minimises(tmp_path: Path, asked: str, expected: int) -> None:
    run = read_run(journal(tmp_path / "run", [], budget=1, objectives=[asked]))
    assert run.objective == (asked.lstrip("+-"), expected)


# --- the commands ----------------------------------------------------------------------------------------------------


def test_report_says_where_it_wrote(run: Run, tmp_path: Path, capsys: Capture) -> None:
    """`evolve report RUN` prints the page's path; --output puts it elsewhere."""
    assert main(["report", str(run.folder)]) == DONE
    assert capsys.readouterr().out.strip() == str(run.folder / "report.html")
    assert main(["report", str(run.folder), "--output", str(tmp_path / "new/page.html")]) == DONE
    assert (tmp_path / "new/page.html").is_file()


def test_a_baseline_is_a_random_search_of_the_same_task(methods: list[Path], tmp_path: Path, capsys: Capture) -> None:
    """--baseline draws the band from a random search's scores, and refuses what does not compare."""
    assert (
        main(["report", str(methods[0]), "--baseline", str(methods[2]), "--output", str(tmp_path / "x.html")]) == DONE
    )
    assert "the random search random-0" in (tmp_path / "x.html").read_text()
    assert main(["report", str(methods[0]), "--baseline", str(methods[1])]) == USAGE
    assert "a baseline is a run with --strategy random" in capsys.readouterr().err
    config = configuration.validate({"search": {"strategy": "random"}}, "test")
    other = tmp_path / "other"
    created(other, config, digests={"task": "3" * 32, "recipe": "2" * 32, "grammar": "4" * 32}).close()
    with pytest.raises(UsageError, match="its task is not that of"):
        write_report(methods[0], tmp_path / "y.html", baseline=other)


def test_compare_prints_a_table_and_writes_a_page(
    methods: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The table names methods, bests and RI; --json holds the same numbers and writes nothing."""
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *map(str, methods), "--json"]) == DONE
    data = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.iterdir())
    assert main(["compare", *map(str, methods)]) == DONE
    out = capsys.readouterr().out
    assert (tmp_path / "compare.html").is_file()
    for method in data["methods"]:
        mean = np.mean([run["best"] for run in method["runs"]])
        assert method["best"]["mean"] == pytest.approx(mean)
        assert f"{mean:.4f}" in out
    assert f"p = {data['tests'][0]['p_corrected']:.3g}" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["report", "nowhere"], USAGE, "no run 'nowhere'"),
        (["compare", "{a}"], USAGE, "compare takes two runs or more"),
        (["compare", "{a}", "{a}"], USAGE, "named twice"),
        (["compare", "{a}", "{other}"], USAGE, "of different tasks"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], code: int, words: str, methods: list[Path], tmp_path: Path, capsys: Capture
) -> None:
    """What is wrong and what to do, on stderr."""
    created(tmp_path / "other", configuration.validate({}, "test"), digests={"task": "3" * 32}).close()
    names = {"{a}": str(methods[0]), "{other}": str(tmp_path / "other")}
    assert main([names.get(argument, argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
