"""The canonical key: one key for all architectures that are known to mean the same (docs/design.md, section 6).

The rules belong to the layers: each gives its form from its parts' forms (`Layer.canonical`); `layers.canonical` makes
the form of a whole tree. Here it is hashed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from evosearch.layers.canonical import canonical_form
from evosearch.layers.forms import Form, Operation, Sum, Zero, digest, join, sum_of

if TYPE_CHECKING:
    from evosearch.layers.node import Node

RULES = 1  # version of the rules by which forms are made; part of every key


def canonical_key(root: Node, layer_digests: str = "", *, stem: Node | None = None, head: Node | None = None) -> str:
    """The canonical key of a tree, 32 hex digits: over the rules' version, its input shape, its canonical form and the
    digests of own layers' files; and over what stands before and behind it, where that is given."""
    text = f"{RULES}\n{root.inputs!r}\n{layer_digests}\n{digest(canonical_form(root))}"
    for name, node in (("stem", stem), ("head", head)):
        if node is not None:
            text += f"\n{name} {digest(canonical_form(node))}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


__all__ = ["RULES", "Form", "Operation", "Sum", "Zero", "canonical_form", "canonical_key", "digest", "join", "sum_of"]
