"""A page as one file: its style and script inside, nothing fetched, nothing run but that script.

The content security policy allows exactly the style and the script whose digests it names, so that even markup that
slipped through from a run could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from evosearch.report.page.svg import escape
from evosearch.store.disk import Disk
from evosearch.text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def document(title: str, body: str, data: Any, *, live: bool = False) -> str:
    """A whole HTML page. body: safe markup. data: plain values for the script.

    live: it asks the server that it came from, and nobody else, for what is new.
    """
    style, *scripts = (_asset(name) for name in ("page.css", "page.js", *(["live.js"] if live else [])))
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {' '.join(map(_source, scripts))}; "
        f"img-src data:; base-uri 'none'" + ("; connect-src 'self'" if live else "")
    )
    run = "".join(f"<script>{script}</script>\n" for script in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n'
        f'{body}\n<script type="application/json" id="data">{as_json(data)}</script>\n{run}</body>\n</html>\n'
    )


def as_json(data: Any) -> str:
    """JSON that can stand inside a script element: no character of it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def write(path: Path, text: str) -> Path:
    """Put the page in its place whole, over an older one. Raises StorageError."""
    disk = Disk()
    disk.mkdir(path.parent)
    with disk.replacing(path, alone=False, durable=False) as beside:
        disk.write_new(beside, escaped(text).encode(), durable=False)
    return path


def _asset(name: str) -> str:
    return resources.files("evosearch.report.page").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# --- pieces ---------------------------------------------------------------------------------------------------------


def section(name: str, title: str, *content: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-title">{titled(name, title, *content)}</section>'


def titled(name: str, title: str, *content: str) -> str:
    """What is in a section."""
    return f'<h2 id="{name}-title">{title}</h2>{"".join(content)}'


def paragraph(markup: str, kind: str = "") -> str:
    return f'<p class="{kind}">{markup}</p>' if kind else f"<p>{markup}</p>"


def figure(picture: str, caption: str, *alternatives: str) -> str:
    """A chart with what it says in words, and its numbers as a table."""
    return f"<figure>{picture}<figcaption>{caption}</figcaption>{''.join(alternatives)}</figure>"


def folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "", id: str = "") -> str:
    """A table of safe markup in a region that scrolls where it is too wide. The first cell of a row names it."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(map(_cell, rest))}</tr>' for first, *rest in rows)
    name = f' id="{id}"' if id else ""
    rows_of_it = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return region(
        f'<table class="{kind}"{name}><caption><span>{caption}</span></caption>{rows_of_it}</table>', caption, "scroll"
    )


def _cell(markup: str) -> str:
    return markup if markup.startswith("<td") else f"<td>{markup}</td>"


def region(content: str, label: str, kind: str, element: str = "div") -> str:
    """Something that scrolls, by the keyboard as well. content, label: safe markup."""
    return f'<{element} class="{kind}" tabindex="0" role="region" aria-label="{label}">{content}</{element}>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, both safe markup; those without a value are left out."""
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs if value)
    return f'<dl class="facts">{rows}</dl>'


def card(name: str, value: str, small: str = "", kind: str = "card") -> str:
    below = f'<dd class="small">{small}</dd>' if small else ""
    return f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd>{below}</div>'


def heat(value: float | None, most: float, times: int) -> str:
    """A cell tinted by its share of the largest value; below the value, of how many it is the mean."""
    if value is None:
        return '<td class="heat h0">·</td>'
    step = min(9, round(9 * max(value, 0.0) / most)) if most > 0 else 0
    text = f"{value:.2f}" if value else "0"
    return f'<td class="heat h{step}">{text}<br><span class="tiny">{times}×</span></td>'


def link(number: int) -> str:
    """A link that opens a candidate's details."""
    return f'<a class="candidate" href="#c{number}">#{number}</a>'
