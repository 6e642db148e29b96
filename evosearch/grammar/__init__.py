"""Grammars: reading a Lark file, its checks and statistics, rendering and parsing sentences."""

from evosearch.grammar.layout import layout
from evosearch.grammar.reading import load, loads
from evosearch.grammar.sentences import parse, render, text_key

__all__ = ["layout", "load", "loads", "parse", "render", "text_key"]
