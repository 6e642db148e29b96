"""An architecture as a drawing: boxes from the top down, branches side by side, with shapes and costs.

A sequence is a column, a branching a row between its split and its merge, any other layer with parts a frame around
them. im2col, linear, col2im is drawn as the convolution that it is. What is nested deeper than `DEEPEST` is one box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evosearch.cost import Cost
from evosearch.layers.base import Word, show
from evosearch.report.page.svg import escape, place
from evosearch.report.text import count
from evosearch.report.tree import describe, steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.architecture import Architecture
    from evosearch.layers.node import Node

DEEPEST = 12  # frames and branchings around a box; beyond, the drawing would be wider than anyone looks
MOST = 400  # boxes; beyond, the rest of a sequence is one box
GAP, BETWEEN, PAD = 18.0, 16.0, 10.0  # between boxes of a column, of a row, and inside a frame
SMALL, LARGE = 26.0, 42.0  # heights of a box with one line, with two
LONGEST = 72  # characters of a box; its title, which a pointer shows, has all
CHARACTER = 7.1  # width of a character in the drawing's type, in its units

STYLE = """
text { font-family: system-ui, sans-serif; text-anchor: middle; fill: #1c2129; font-size: 13px }
.small { fill: #56606d; font-size: 11.5px } .word { fill: #56606d; font-size: 12px }
rect { fill: #faf8f4; stroke: #cfcabf; stroke-width: 1.5 } .bar, .frame { stroke-dasharray: 4 4 } .frame { fill: none }
.wire { stroke: #8b929b; stroke-width: 1.4; fill: none }
.t1, .t2, .t3, .t4, .t5, .t6, .t7, .t8, .t9 { stroke: #0b6b5d }
.t1, .t2 { fill: #e9f1ef } .t3, .t4 { fill: #d5e6e3 } .t5, .t6 { fill: #c2dad6 } .t7, .t8, .t9 { fill: #acccc7 }
@media (prefers-color-scheme: dark) {
  text { fill: #e9e6df } .small, .word { fill: #a7afbb }
  rect { fill: #1a1e25; stroke: #454d5a } .frame { fill: none } .t1, .t2 { fill: #1c2a2e } .t3, .t4 { fill: #1d3336 }
  .t5, .t6 { fill: #1e3e3e } .t7, .t8, .t9 { fill: #204b48 }
}
"""  # of a file of its own; in a page, page.css does it


@dataclass(frozen=True)
class Drawn:
    """A part of the drawing. It is entered at its top's middle and left at its bottom's middle."""

    width: float
    height: float
    content: str


class _Pen:
    """Draws one architecture: knows its parameters in all, and how many boxes there are."""

    def __init__(self, params: int) -> None:
        self.params, self.boxes = params, 0

    def column(self, nodes: Sequence[Node], depth: int) -> Drawn:
        drawn = []
        for index, node in enumerate(nodes):
            if self.boxes >= MOST:
                drawn.append(self.rest(nodes[index:]))
                break
            drawn.append(self.node(node, depth))
        return stack(drawn)

    def node(self, node: Node, depth: int) -> Drawn:
        words = _convolution(node)
        if words:
            return self.box(words, node.cost, node)
        if not node.parts:
            return self.box(describe(node), node.cost, node)
        if depth >= DEEPEST or self.boxes >= MOST:
            return self.rest([node])
        layer: Any = node.layer
        split, merge = getattr(layer, "split", None), getattr(layer, "merge", None)
        if isinstance(split, Word) and isinstance(merge, Word):
            return self.branches(node, split, merge, depth)
        if node.layer.name == "residual":
            return self.row([self.column(steps(node.parts[0]), depth + 1), self.bar("identity")], "", "add", node)
        if node.layer.name == "routing":
            before, after = _words(layer.pre), _words(layer.post)
            return frame(before, self.column(steps(node.parts[0]), depth + 1), after, _tip(node))
        if node.layer.name in ("repeat", "chain"):
            inner = self.column([step for part in node.parts for step in steps(part)], depth + 1)
            return frame(describe(node), inner, "", _tip(node))
        parts = [self.column(steps(part), depth + 1) for part in node.parts]
        return frame(describe(node), side_by_side(parts), "", _tip(node))

    def branches(self, node: Node, split: Word, merge: Word, depth: int) -> Drawn:
        """Two branches as they are; of several with one structure, one, and how many there are."""
        parts = [self.column(steps(part), depth + 1) for part in node.parts]
        times = int(getattr(split, "factor", len(parts)))
        if len(parts) < times:
            parts = [frame(f"{times} times, each with its own weights", parts[0], "", "")]
        return self.row(parts, _words(split), _words(merge), node)

    def row(self, parts: Sequence[Drawn], before: str, after: str, node: Node) -> Drawn:
        top, bottom = (self.bar(words) if words else None for words in (before, after))
        return stack([part for part in (top, side_by_side(parts), bottom) if part is not None], _tip(node))

    def bar(self, words: str) -> Drawn:
        width = _width(words) + 20
        text = f'<text class="word" x="{place(width / 2)}" y="15">{escape(words)}</text>'
        return Drawn(width, 22, f'<rect class="bar" width="{place(width)}" height="22" rx="11"/>{text}')

    def rest(self, nodes: Sequence[Node]) -> Drawn:
        """Many layers as one box."""
        cost = sum((node.cost for node in nodes), Cost())
        return self.box(f"{cost.modules} layers", cost, nodes[-1])

    def box(self, words: str, cost: Cost, node: Node) -> Drawn:
        return self.plate(words, cost, show(node.output), _tip(node, words, cost), node.output != node.inputs)

    def plate(self, words: str, cost: Cost, shape: str, tip: str, reshaped: bool = True) -> Drawn:
        """One layer. Its tint tells its share of all parameters, in ten steps."""
        self.boxes += 1
        words = words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
        parts = [shape] if reshaped or cost.params else []
        parts += [f"{count(cost.params)} params"] if cost.params else []
        small = " · ".join(parts)
        width, height = max(_width(words), _width(small) * 0.88, 60) + 22, LARGE if small else SMALL
        tint = min(9, round(9 * (cost.params / self.params) ** 0.5)) if self.params and cost.params else 0
        middle = place(width / 2)
        lines = f'<text class="layer" x="{middle}" y="17">{escape(words)}</text>'
        if small:
            lines += f'<text class="small" x="{middle}" y="33">{escape(small)}</text>'
        rect = f'<rect class="box t{tint}" width="{place(width)}" height="{place(height)}" rx="6"/>'
        return Drawn(width, height, f"<g><title>{escape(tip)}</title>{rect}{lines}</g>")


def stack(parts: Sequence[Drawn], tip: str = "") -> Drawn:
    """One below the other, joined by lines through their middles."""
    width = max(part.width for part in parts)
    y, content = 0.0, [f"<title>{escape(tip)}</title>"] if tip else []
    for index, part in enumerate(parts):
        if index:
            content.append(f'<path class="wire" d="M{place(width / 2)} {place(y)}v{place(GAP)}"/>')
            y += GAP
        content.append(at((width - part.width) / 2, y, part))
        y += part.height
    return Drawn(width, y, "".join(content))


def side_by_side(parts: Sequence[Drawn]) -> Drawn:
    """Next to each other, each joined to the middle of the top and of the bottom."""
    width = sum(part.width for part in parts) + BETWEEN * (len(parts) - 1)
    height = max(part.height for part in parts) + 2 * GAP
    x, middle, content = 0.0, place(width / 2), []
    for part in parts:
        own, below = x + part.width / 2, GAP + part.height
        content.append(f'<path class="wire" d="M{middle} 0C{middle} {GAP} {place(own)} 0 {place(own)} {GAP}"/>')
        bend = f"C{place(own)} {place(height)} {middle} {place(height - GAP)} {middle} {place(height)}"
        content.append(f'<path class="wire" d="M{place(own)} {place(below)}V{place(height - GAP)}{bend}"/>')
        content.append(at(x, GAP, part))
        x += part.width + BETWEEN
    return Drawn(width, height, "".join(content))


def frame(before: str, inner: Drawn, after: str, tip: str) -> Drawn:
    """A part between two rearrangements, or under a title."""
    width = max(inner.width, _width(before), _width(after)) + 2 * PAD
    top, bottom = (22.0 if before else PAD), (22.0 if after else PAD)
    height = top + inner.height + bottom
    middle = place(width / 2)
    content = f'<rect class="frame" width="{place(width)}" height="{place(height)}" rx="8"/>'
    if before:
        content += f'<text class="word" x="{middle}" y="15">{escape(before)}</text>'
    if after:
        content += f'<text class="word" x="{middle}" y="{place(height - 7)}">{escape(after)}</text>'
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return Drawn(width, height, f"<g>{title}{content}{at((width - inner.width) / 2, top, inner)}</g>")


def at(x: float, y: float, part: Drawn) -> str:
    return f'<g transform="translate({place(x)} {place(y)})">{part.content}</g>'


def draw(architecture: Architecture, name: str = "The network") -> str:
    """The architecture as an svg element. Runs no code but the layers' own `cost` and `shape`, which reading it ran."""
    pen = _Pen(architecture.cost.params)
    whole = _whole(architecture, pen)
    inputs = show(architecture.input)
    text = f"{name}, {pen.boxes} layers from input {inputs}, {_costs(architecture.cost)}. The table lists them."
    return _element(whole, text)


def _whole(architecture: Architecture, pen: _Pen) -> Drawn:
    """From the input to the head, one below the other."""
    parts = [pen.bar(f"input {show(architecture.input)}"), pen.column(steps(architecture.root), 0)]
    if architecture.stem is not None:
        parts.insert(1, _framing(pen, "stem", architecture.stem))
    if architecture.head is not None:
        parts.append(_framing(pen, "head", architecture.head))
    return stack(parts)


def _element(whole: Drawn, label: str) -> str:
    width, height = whole.width + 4, whole.height + 4
    return (
        f'<svg class="drawing" width="{place(width)}" height="{place(height)}" viewBox="-2 -2 {place(width)} '
        f'{place(height)}" role="img" aria-label="{escape(label)}">{whole.content}</svg>'
    )


def _framing(pen: _Pen, place: str, node: Node) -> Drawn:
    """The stem or the head: what is the same in every network of a search."""
    words = f"{node.layer.title(node.inputs)} {show(node.output)}"
    return pen.plate(f"{place}: {words}", node.cost, show(node.output), f"{words}\n{_costs(node.cost)}")


def standalone(architecture: Architecture) -> str:
    """The drawing as a file of its own, with its colours, for light and dark."""
    return _file(draw(architecture))


def contact_sheet(architectures: Sequence[Architecture], columns: int = 4) -> str:
    """Several networks in one picture, row by row, each under its key and what it costs; a file of its own."""
    drawn = []
    for architecture in architectures:
        cost, pen = architecture.cost, _Pen(architecture.cost.params)
        title = f"{architecture.key[:8]} · {count(cost.params)} params · {count(cost.flops)} FLOPs"
        drawn.append(frame(title, _whole(architecture, pen), "", architecture.text))
    y, width, content = 0.0, 0.0, []
    for start in range(0, len(drawn), columns):
        row, x = drawn[start : start + columns], 0.0
        for part in row:
            content.append(at(x, y, part))
            x += part.width + BETWEEN
        width, y = max(width, x - BETWEEN), y + max(part.height for part in row) + BETWEEN
    return _file(_element(Drawn(width, y - BETWEEN, "".join(content)), f"{len(drawn)} networks."))


def _file(picture: str) -> str:
    picture = picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, end, rest = picture.partition(">")
    return f"{head}{end}<style>{STYLE}</style>{rest}\n"


def _convolution(node: Node) -> str:
    """`convolution 3×3, stride 2, width 32` where a routing is one; else empty."""
    layer: Any = node.layer
    if node.layer.name != "routing" or layer.pre.name != "im2col" or layer.post.name != "col2im":
        return ""
    body = steps(node.parts[0])
    if len(body) != 1 or body[0].parts or not body[0].layer.name.startswith("linear"):
        return ""
    stride = f", stride {layer.pre.stride}" if layer.pre.stride > 1 else ""
    return f"convolution {layer.pre.kernel}×{layer.pre.kernel}{stride}, {node.output[0]}"


def _words(word: Any) -> str:
    """A word as the grammar's author would name it; nothing for one that changes nothing."""
    import dataclasses

    if word.name == "keep":
        return ""
    return " ".join([word.name, *(str(getattr(word, field.name)) for field in dataclasses.fields(word))])


def _tip(node: Node, words: str = "", cost: Cost | None = None) -> str:
    return f"{words or describe(node)}\n{show(node.inputs)} to {show(node.output)}\n{_costs(cost or node.cost)}"


def _costs(cost: Cost) -> str:
    return f"{cost.params:,} parameters, {cost.flops:,} FLOPs"


def _width(text: str) -> float:
    return len(text) * CHARACTER
