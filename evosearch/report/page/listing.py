"""Every candidate of a run, and how to run it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.paths import kept_seed
from evosearch.report.figures import measured
from evosearch.report.page.markup import facts, link, paragraph, region, table
from evosearch.report.page.svg import (
    escape,
    exact,
)
from evosearch.report.text import count, near, short

if TYPE_CHECKING:
    from evosearch.report.page.facts import Report


def candidates(report: Report) -> str:
    rows = [
        (
            link(one.number),
            exact(measured(one, report.metric)),
            *(count(v) if (v := measured(one, name)) is not None else "–" for name in ("params", "flops")),
            f"{measured(one, 'seconds') or 0:.3g} s",
            f'<td class="left">{escape(one.operator)}</td>',
            f'<td class="left">{escape(short(one.key))}</td>',
        )
        for one in report.run.ranked()[:20]
    ]
    tools = (
        '<div class="tools"><label>Number, key, operator, status or part of the text'
        '<input id="find" type="search" autocomplete="off"></label><label>Order<select id="order">'
        '<option value="best">best first</option><option value="number">as proposed</option>'
        '<option value="params">fewest parameters</option><option value="flops">fewest FLOPs</option>'
        '<option value="seconds">longest evaluation</option><option value="failed">failed first</option>'
        "</select></label>"
        '<span id="found" class="soft" role="status"></span></div>'
    )
    names = ("candidate", escape(report.metric), "parameters", "FLOPs", "evaluation", "made by", "key")
    return (
        tools
        + table("Candidates; each opens its architecture", names, rows, id="candidates")
        + '<button id="more" type="button" hidden>Show more</button>'
    )


def again(report: Report) -> str:
    run = report.run
    folder = near(run.folder)
    command = [
        "evolve",
        "run",
        str(folder / "config.toml"),
        "--grammar",
        str(folder / "grammar" / str(run.header.get("grammar_file", ""))),
    ]
    for seed in run.config.get("seeds", ()):
        command += ["--start", str(kept_seed(folder / "grammar" / "seeds", str(seed)))]
    command += ["--name", f"{report.name}-again"]
    if run.budget != run.config["search"]["budget"]:
        command += ["--budget", str(run.budget)]
    if run.time != run.config.get("time", ""):
        command += ["--time", run.time]
    text = (
        f'<pre id="command">{escape(shlex.join(command))}</pre><button type="button" data-copy="command">Copy</button>'
    )
    environment = _environment(run.folder)
    where = [(escape(name), escape(value)) for name, value in environment if value]
    return (
        paragraph(
            "The same configuration, grammar and seeds, on the versions below, propose the same candidates; on the "
            "same kind of device they score the same."
        )
        + text
        + "<h3>Versions and machine</h3>"
        + facts(where)
        + "<h3>Configuration</h3>"
        + region(escape(_text(run.folder / "config.toml")), "Configuration", "long", "pre")
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"


def _environment(folder: Path) -> list[tuple[str, Any]]:
    """environment.json as rows, the packages first."""
    try:
        found = json.loads(_text(folder / "environment.json"))
    except ValueError:
        return [("environment.json", "cannot be read")]
    if not isinstance(found, dict):
        return [("environment.json", "cannot be read")]
    packages = _items(found.pop("packages", {}))
    return [*packages, *found.items()]


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
