"""A network and how it is trained, in one sentence: `network "@" recipe`, with the words of grammars/recipe.lark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.layers.base import Part, Series, Shape, Want, Word, register, require
from evosearch.layers.forms import Form, Operation, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evosearch.layers.node import Node


@register("setting")
@dataclass(frozen=True)
class Setting(Word):
    """One field of the recipe, by its name, and its value as text: `lr=0.003`."""

    key: str
    value: str


@register("recipe")
@dataclass(frozen=True)
class Settings(Word):
    """Fields of the recipe, each once; what is not said is as the run's configuration has it."""

    settings: tuple[Setting, ...]

    def __post_init__(self) -> None:
        keys = [one.key for one in self.settings]
        twice = next((key for key in keys if keys.count(key) > 1), "")
        require(not twice, f"it says {twice} twice")


@register("with_recipe")
@dataclass(frozen=True)
class WithRecipe(Series):
    """Its part, trained as the words say. Two recipes of one network are two candidates (FBNetV3, arXiv 2006.02049)."""

    recipe: Settings

    def shape(self, x: Shape, network: Part, *, want: Want = None) -> Shape:
        return network(x, want)

    def trained_with(self) -> Mapping[str, str]:
        return {one.key: one.value for one in self.recipe.settings}

    def canonical(self, node: Node, parts: Sequence[Form]) -> Form:
        """The words in alphabetical order: in which one they stand does not matter, nor how a number is written."""
        said = tuple(sorted((key, _plain(value)) for key, value in self.trained_with().items()))
        return (Operation(self.name, (said, node.inputs, digest(parts[0])), node.output),)


def _plain(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text
