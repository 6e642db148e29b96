"""Grammar files: what they expand to and how likely it is; sentences are read and written as stock Lark reads them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark, Token, Tree
from lark.exceptions import LarkError

from evosearch.architecture import Limits, Space
from evosearch.errors import ArchitectureError, GrammarError
from evosearch.grammar import load, loads, parse, render, text_key
from evosearch.grammar.core import Derivation, Grammar, SymbolKind
from tests.spaces import GRAMMARS, language, stock
from tests.strategies import grammars, without_unreached

BUNDLED = sorted(path.stem for path in GRAMMARS.glob("*.lark"))
FIXED = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
WS = "%import common.WS\n%ignore WS\n"


def weights(grammar: Grammar, rule: str) -> dict[str, float]:
    """Probabilities of a rule's alternatives by their symbols, as text."""
    return {" ".join(s.name for s in a.symbols): a.weight for a in grammar.rules[rule]}


def layers(grammar: Grammar, rule: str) -> list[str | None]:
    return [alternative.layer for alternative in grammar.rules[rule]]


# -- expansion


def test_alternatives_share_equally_what_weights_leave() -> None:
    grammar = loads(
        'start: "a"  // p=0.5\n     | "b" // p=0.2\n     | "c"\n     | "d"\n     | "e"  // p=0\n     | "f"\n'
    )
    assert weights(grammar, "start") == pytest.approx({"a": 0.5, "b": 0.2, "c": 0.1, "d": 0.1, "e": 0, "f": 0.1})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('"a"? "b"', {"a b": 0.5, "b": 0.5}),
        ('["a"] "b"', {"a b": 0.5, "b": 0.5}),
        ('("a" | "b") "c"', {"a c": 0.5, "b c": 0.5}),
        ('["a" | "b"] "c"', {"a c": 0.25, "b c": 0.25, "c": 0.5}),
        ('"a"~2', {"a a": 1.0}),
        ('"a"~1..3', {"a": 1 / 3, "a a": 1 / 3, "a a a": 1 / 3}),
        ('("a" | "b")~0..1 "c"', {"c": 0.5, "a c": 0.25, "b c": 0.25}),
        ('"a"? "a"?', {"a a": 0.25, "a": 0.5, "": 0.25}),
        ('("a" | "a" | "b")', {"a": 2 / 3, "b": 1 / 3}),
        ('"a"* "b"', {'__"a"+ b': 0.5, "b": 0.5}),
        ('"a"* "b"  // more=0.9', {'__"a"+ more=0.9 b': 0.9, "b": 0.1}),
        ('"a"+ "b"', {'__"a"+ b': 1.0}),
    ],
)
def test_groups_options_counts_and_repetitions_have_their_probabilities(body: str, expected: dict[str, float]) -> None:
    assert weights(loads(f"start: {body}\n"), "start") == pytest.approx(expected)


def test_a_repetition_is_a_left_recursive_helper_rule_that_equal_repetitions_share() -> None:
    grammar = loads('start: "x" item+ | "y" item*\nitem: "a" | "b"\n')
    assert set(grammar.rules) == {"start", "item", "__item+"}
    assert weights(grammar, "__item+") == pytest.approx({"item": 0.5, "__item+ item": 0.5})
    with_chance = loads('start: "x" item+  // more=0.75\nitem: "a" | "b"\n')
    assert weights(with_chance, "__item+ more=0.75") == pytest.approx({"item": 0.25, "__item+ more=0.75 item": 0.75})


@pytest.mark.parametrize("count", ["60", "0..60", "3..1000"])
def test_repetitions_share_a_counted_rule_only_where_they_go_on_as_likely(count: str) -> None:
    """`// more=` of one alternative changes no other one."""
    list_of = f'("[" item+ "]")~{count}'
    grammar = loads(f'start: "x" {list_of}  // more=0.9\n  | "y" {list_of}\nitem: "a" | "b"\n')
    reached = []
    for alternative in grammar.rules["start"]:
        rules, waiting = set(), list(alternative.rules)
        while waiting:
            rule = waiting.pop()
            if rule not in rules:
                rules.add(rule)
                waiting += [below for inner in grammar.rules[rule] for below in inner.rules]
        reached.append(sorted(rule for rule in rules if rule.startswith("__item+")))
    assert reached == [["__item+ more=0.9"], ["__item+"]]


@pytest.mark.parametrize(("low", "high"), [(0, 50), (3, 57), (60, 60), (1, 180), (49, 1000)])
def test_large_counts_are_drawn_uniformly_through_helper_rules(low: int, high: int) -> None:
    """The distribution of the count, worked out from the expanded rules by polynomials, is flat."""
    grammar = loads(f'start: "<" "a"~{low}..{high} ">"\n')
    known: dict[str, np.ndarray[Any, Any]] = {}

    def counts(rule: str) -> np.ndarray[Any, Any]:
        if rule not in known:
            total = np.zeros(high + 1)
            for alternative in grammar.rules[rule]:
                product = np.ones(1)
                for symbol in alternative.symbols:
                    if symbol.kind is SymbolKind.RULE:
                        product = np.convolve(product, counts(symbol.name))
                    elif symbol.name == "a":
                        product = np.convolve(product, [0.0, 1.0])
                total[: min(len(product), high + 1)] += alternative.weight * product[: high + 1]
            known[rule] = total
        return known[rule]

    expected = np.where(np.arange(high + 1) >= low, 1 / (high - low + 1), 0.0)
    np.testing.assert_allclose(counts("start"), expected, atol=1e-12)
    for count in {low, (low + high) // 2, high}:
        assert render(grammar, parse(grammar, f"<{'a' * count}>")) == f"<{'a' * count}>"
    with pytest.raises(ArchitectureError):
        parse(grammar, f"<{'a' * (high + 1)}>")


def test_templates_are_rules_of_their_own_for_each_argument() -> None:
    grammar = loads('start: pair{a, ","} | pair{b, ";"} | _twice{pair, a}\npair{x, y}: x y x\n_twice{t, x}: t{x, "+"}\n'
                    'a: "a"\nb: "b"\n')  # fmt: skip
    assert weights(grammar, 'pair{a,","}') == {"a , a": 1.0}
    assert weights(grammar, 'pair{a,"+"}') == {"a + a": 1.0}
    assert layers(grammar, 'pair{b,";"}') == ["pair"]
    assert layers(grammar, "_twice{pair,a}") == [None]


def test_the_alias_names_the_layer_else_the_rule_and_choosing_rules_name_none() -> None:
    grammar = loads(
        "start: ?module\n".replace("?module", "module")
        + '?module: conv | "(" module ")" | chain | WIDTH | "id" -> identity\n'
        + 'conv: "conv" "(" WIDTH ")"\n'
        + 'chain: "[" _items "]"\n_items: module ("," module)*\n'
        + 'WIDTH: "1" | "2"\n'
    )
    assert layers(grammar, "start") == [None]
    assert layers(grammar, "module") == [None, None, None, None, "identity"]
    assert layers(grammar, "conv") == ["conv"]
    assert layers(grammar, "_items") == [None, None]
    assert layers(loads('start: "a" "b"\n'), "start") == ["start"]  # no child to pass on
    assert layers(loads('start: x y\nx: "x"\ny: "y"\n'), "start") == ["start"]
    assert layers(loads('?start: x+\nx: "x"\n'), "start") == ["start"]  # one or many: a layer with parts


def test_strings_are_literals_and_kept_by_an_exclamation_mark() -> None:
    grammar = loads('start: op _LPAR ")"\n!op: "relu" | "gelu"\n_LPAR: "("\n')
    assert [s.kind for s in grammar.rules["start"][0].symbols] == [
        SymbolKind.RULE,
        SymbolKind.LITERAL,
        SymbolKind.LITERAL,
    ]
    assert [s.kind for s in grammar.rules["op"][0].symbols] == [SymbolKind.TERMINAL]
    assert parse(grammar, "gelu()").parts[0].tokens == ("gelu",)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_grammars_expand_to_the_alternatives_of_stock_lark(name: str) -> None:
    """Rule by rule, as many alternatives with as many symbols each."""
    expected: Counter[tuple[str, int]] = Counter((rule.origin.name, len(rule.expansion)) for rule in stock(name).rules)
    ours: Counter[tuple[str, int]] = Counter()
    for rule, alternatives in language(name).rules.items():
        ours.update((rule, len(a.symbols)) for a in alternatives)

    def without_helpers(counts: Counter[tuple[str, int]]) -> Counter[tuple[str, int]]:
        return Counter({("helper" if rule.startswith("__") else rule, n): c for (rule, n), c in counts.items()})

    assert without_helpers(ours) == without_helpers(expected)


# -- terminals


def test_terminals_list_their_texts_with_probabilities() -> None:
    grammar = loads(
        'start: SIZE\nSIZE: DIGIT "x"? // p=0.4\n    | ("p" | "q")~1..2\nDIGIT: "1"  // p=0.75\n     | "2"\n'
    )
    choices = dict(grammar.terminals["SIZE"].choices or ())
    expected = {"1x": 0.15, "1": 0.15, "2x": 0.05, "2": 0.05, "p": 0.15, "q": 0.15}
    expected |= dict.fromkeys(("pp", "pq", "qp", "qq"), 0.075)
    assert choices == pytest.approx(expected)


def test_endless_terminals_are_drawn_and_read() -> None:
    grammar = loads("start: INT\n%import common.INT\n")
    terminal = grammar.terminals["INT"]
    assert terminal.choices is None
    rng = np.random.default_rng(0)
    drawn = [terminal.draw(rng) for _ in range(2000)]
    assert all(parse(grammar, text).tokens == (text,) for text in drawn[:50])
    assert np.mean([len(text) for text in drawn]) == pytest.approx(2, abs=0.15)  # goes on with probability 0.5
    assert {text for text, _ in terminal.representatives()} <= set(drawn)


@pytest.mark.parametrize(
    ("setting", "pattern", "low", "high"),
    [
        ("range=1e-4..1e-1 log", r"[0-9.e-]+", 1e-4, 1e-1),
        ("range=-2.5..3", r"-?[0-9.]+(e-?[0-9]+)?", -2.5, 3),
        ("range=1..9 int", "[0-9]", 1, 9),
        ("range=1..1000000 log int", "[0-9]+", 1, 10**6),
    ],
)
def test_numbers_come_from_their_range_and_others_are_refused(
    setting: str, pattern: str, low: float, high: float
) -> None:
    grammar = loads(f"start: N\nN: /{pattern}/  // {setting}\n")
    terminal = grammar.terminals["N"]
    rng = np.random.default_rng(1)
    drawn = [terminal.draw(rng) for _ in range(300)]
    assert all(low <= float(text) <= high for text in drawn)
    assert all(parse(grammar, text).tokens == (text,) for text in drawn)
    with pytest.raises(ArchitectureError, match="N is a"):
        parse(grammar, "0.5" if "int" not in setting and low > 0 else "0" if low > 0 else "9.5")
    if "log" in setting:
        assert np.median([math.log(float(text)) for text in drawn]) == pytest.approx(
            (math.log(low) + math.log(high)) / 2, abs=0.12 * (math.log(high) - math.log(low))
        )


def test_case_may_not_count_and_derivations_hold_the_text_as_the_grammar_writes_it() -> None:
    grammar = loads('start: "Net"i OP\nOP: "relu"i | "gelu"i\n')
    assert parse(grammar, "NETReLU") is parse(grammar, "Netrelu")
    assert render(grammar, parse(grammar, "netGELU")) == "Netgelu"


# -- files


def test_crlf_files_and_byte_order_marks_are_read_and_the_mark_is_remarked(tmp_path: Path) -> None:
    text = '// input: none\nstart: "é" | "日本"  // Unicode\n'
    path = tmp_path / "a.lark"
    path.write_bytes(text.encode())
    plain = load(path)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    marked = load(path)
    assert plain.digest == marked.digest
    assert not plain.remarks
    assert "byte-order mark" in marked.remarks[0]
    assert render(marked, parse(marked, "日本")) == "日本"


def test_weights_are_read_from_crlf_files() -> None:
    assert weights(loads('start: "a" // p=0.25\r\n     | "b"\r\n'), "start") == pytest.approx({"a": 0.25, "b": 0.75})


def test_the_digest_is_of_the_language_and_not_of_its_layout() -> None:
    first = loads('start: one\n     | "b"   // p=0.25\none: "a"\n')
    same = loads('// another file\none: "a"   # a comment\n\nstart:   one\n     | "b"  // p=0.25 // as before\n')
    assert first.digest == same.digest
    for changed in (
        'start: one\n     | "b"\none: "a"\n',  # weight
        'start: one\n     | "b" -> c  // p=0.25\none: "a"\n',  # layer
        'start: one\n     | "c"   // p=0.25\none: "a"\n',  # word
        'start: one\n     | "b"   // p=0.25\none: "a"\n%ignore " "\n',
        '// input: image\nstart: one\n     | "b"   // p=0.25\none: "a"\n',
    ):
        assert loads(changed).digest != first.digest


def test_imports_bring_rules_with_their_weights_and_keep_their_layers_names(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "parts.lark").write_text(
        'block: conv // p=0.9\n     | norm\nconv: "c" WIDTH\nnorm: "n"\nWIDTH: "1"\n'
    )
    (tmp_path / "main.lark").write_text(
        "start: block | mine mine\n%import .lib.parts (block)\n%import .lib.parts.norm -> mine\n"
    )
    grammar = load(tmp_path / "main.lark")
    assert weights(grammar, "block") == pytest.approx({"lib__parts__conv": 0.9, "mine": 0.1})
    assert layers(grammar, "lib__parts__conv") == ["conv"]
    assert layers(grammar, "mine") == ["mine"]
    assert list(grammar.source) == ["main.lark", "lib/parts.lark"]
    assert [a.file for rule in ("start", "block") for a in grammar.rules[rule]] == ["main.lark"] * 2 + [
        "lib/parts.lark"
    ] * 2
    assert render(grammar, parse(grammar, "c1")) == "c1"


def test_rules_can_be_overridden_and_extended(tmp_path: Path) -> None:
    (tmp_path / "parts.lark").write_text('block: conv | norm\nconv: "c"\nnorm: "n"\n')
    (tmp_path / "main.lark").write_text(
        'start: block\n%import .parts (block, conv, norm)\n%override conv: "d"\n%extend norm: "m"\n'
    )
    Lark((tmp_path / "main.lark").read_text(), parser="lalr", source_path=str(tmp_path / "main.lark"))
    grammar = load(tmp_path / "main.lark")
    assert {render(grammar, parse(grammar, text)) for text in "dnm"} == {"d", "n", "m"}
    with pytest.raises(ArchitectureError):
        parse(grammar, "c")


def test_a_grammar_is_found_by_name_on_the_search_path(tmp_path: Path) -> None:
    (tmp_path / "mine.lark").write_text('start: "a"\n')
    assert load("mine", [tmp_path]).name == "mine"
    assert load("einspace").input == "image"


def test_merged_alternatives_are_remarked() -> None:
    grammar = loads('start: "a" | "b" | ["b"] "c" | "c"\n')
    assert weights(grammar, "start") == pytest.approx({"a": 0.25, "b": 0.25, "b c": 0.125, "c": 0.375})
    assert any("weights are added" in remark for remark in grammar.remarks)


# -- sentences


def test_derivations_come_back_from_their_texts_however_deep() -> None:
    grammar = load("einspace")
    text = "norm"
    deep = "seq(" * 2000 + text + ",identity)" * 2000
    derivation = parse(grammar, deep)
    assert derivation.depth > 4000
    assert render(grammar, derivation) == deep
    assert parse(grammar, deep.replace(",", " ,\n ")) is derivation
    assert len(text_key(grammar, deep)) == 32


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("seq(norm)", 9, "expected \",\", not ')'"),
        ("seq(norm,nrm)", 10, 'did you mean "norm"?'),
        ("seq(linear(63),norm)", 12, "expected RELATIVE (x4, /4) or WIDTH (16, 32, 64, …), not '63'"),
        ("seq(norm,norm", 14, 'expected ")", not the end of the text'),
        ("seq(norm,norm))", 15, "expected the end, not ')'"),
        ("seq(norm,§)", 10, "not '§'"),
    ],
)
def test_a_wrong_sentence_is_told_with_its_place_and_what_was_expected(text: str, column: int, message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        parse(load("einspace"), text)
    assert str(caught.value).startswith(f"line 1, column {column}: ")
    assert message in str(caught.value)
    assert caught.value.caret == f"{text}\n{' ' * (column - 1)}^"


def test_the_caret_of_a_long_line_shows_only_what_is_near() -> None:
    with pytest.raises(ArchitectureError) as caught:
        parse(load("einspace"), "seq(" * 100 + "nrom" + ",norm)" * 100)
    line, caret = caught.value.caret.split("\n")
    assert len(line) < 125
    assert line[len(caret) - 1 :].startswith("nrom")
    assert caught.value.column == 401


def test_text_keys_do_not_see_white_space_but_see_the_grammar() -> None:
    grammar = load("einspace")
    key = text_key(grammar, "seq(norm,identity)")
    assert key == text_key(grammar, " seq ( norm,\n\tidentity )\r\n")
    assert key != text_key(grammar, "seq(identity,norm)")
    assert key != text_key(load("einspace_1d"), "seq(norm,identity)")
    assert int(key, 16) < 2**128
    assert len(key) == 32


def test_words_that_run_together_keep_one_space() -> None:
    grammar = loads('start: "op" NAME "to" NAME ";"\nNAME: ("a".."z")+\n' + WS)
    assert grammar.spaced
    derivation = parse(grammar, "op   x\n to y ;")
    assert render(grammar, derivation) == "opx toy;"  # behind "op" and "to" only a NAME can stand
    assert parse(grammar, "opx toy;") is derivation
    assert text_key(grammar, "op  x to\ty ;") == text_key(grammar, "opx toy;")
    assert text_key(grammar, "op xt o y;") != text_key(grammar, "op x to y;")


def test_words_that_can_be_told_apart_keep_none() -> None:
    assert not loads('start: "op" WIDTH "(" WIDTH ")"\nWIDTH: "16" | "32"\n' + WS).spaced
    assert loads('start: WIDTH WIDTH\nWIDTH: "1" | "12" | "2"\n' + WS).spaced
    assert not loads('start: "conv" "3x3"\n' + WS).spaced


def test_white_space_inside_a_word_is_kept_apart_from_that_between_words() -> None:
    grammar = loads('start: "leaky" "relu" -> two | "leaky relu" -> one\n' + WS)
    assert grammar.spaced
    one, two = parse(grammar, "leaky relu"), parse(grammar, "leaky  relu")
    assert (one.alternative.layer, two.alternative.layer) == ("one", "two")
    assert [render(grammar, d) for d in (one, two)] == ["leaky relu", "leakyrelu"]
    assert text_key(grammar, "leaky relu") != text_key(grammar, "leakyrelu") == text_key(grammar, "leaky   relu")


@pytest.mark.parametrize("name", BUNDLED)
def test_texts_of_bundled_grammars_are_keyed_without_parsing_them(name: str) -> None:
    assert not language(name).parser.reparsed


def test_ignored_comments_do_not_count_in_text_keys() -> None:
    grammar = loads('start: "a" "b"?\n%ignore /#[^\\n]*/\n' + WS)
    assert text_key(grammar, "a # b\nb") == text_key(grammar, "ab")
    assert text_key(grammar, "a # b b") == text_key(grammar, "a")


# -- against stock Lark

LANGUAGES = {
    "expressions": '?start: sum\n?sum: product | sum "+" product -> add\n?product: atom | product "*" atom -> mul\n'
    '?atom: NUMBER -> number | "(" sum ")"\nNUMBER: ("0".."9")~1..3\n' + WS,
    "repetitions": 'start: item+ tail? ("," item)~0..3 ";"\nitem: "a" NAME* | "b" [WIDTH] -> bee\n'
    '!tail: "end" | "fin"\nNAME: "x" | "y"\nWIDTH: "1" | "22"\n' + WS,
    "templates": 'start: table\ntable: list{pair, ";"}\nlist{x, s}: "[" x (s x)* "]"\npair: KEY ":" value\n'
    '?value: NUMBER | table\nKEY: "k" | "kk"\nNUMBER: "0" | "1"\n' + WS,
    "keywords": 'start: (stmt ".")+\nstmt: "let" NAME "be" NAME | "go" -> go\nNAME: "le" | "lets" | "b"\n' + WS,
}


def tree_of_lark(node: Tree[Token] | Token) -> Any:
    if isinstance(node, Tree):
        return (str(node.data), [tree_of_lark(child) for child in node.children])
    return str(node)


def tree_of(derivation: Derivation) -> list[Any]:
    """The children that a derivation leaves in the tree above: itself if it is a layer, else what it is made of."""
    tokens, parts = iter(derivation.tokens), iter(derivation.parts)
    children: list[Any] = []
    for symbol in derivation.alternative.symbols:
        if symbol.kind is SymbolKind.RULE:
            children += tree_of(next(parts))
        elif symbol.kind is SymbolKind.TERMINAL:
            children.append(next(tokens))
    layer = derivation.alternative.layer
    return children if layer is None else [(layer, children)]


@pytest.mark.parametrize("name", [*LANGUAGES, "tiny_cnn", "nasbench201", "einspace"])
@pytest.mark.parametrize("examples", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_whatever_hypothesis_generates_is_read_as_stock_lark_reads_it(name: str, examples: int) -> None:
    """Sentences from an independent generator: both accept, or both refuse; and both find the same tree."""
    text = LANGUAGES[name] if name in LANGUAGES else (GRAMMARS / f"{name}.lark").read_text(encoding="utf-8")
    grammar = loads(text)
    lark = Lark(text, parser="lalr", strict=True, maybe_placeholders=False)
    read = Counter[bool]()

    @settings(FIXED, max_examples=examples)
    @given(from_lark(lark, start="start", alphabet=st.characters(max_codepoint=126)))
    def agree(sentence: str) -> None:
        try:
            expected = tree_of_lark(lark.parse(sentence))
        except LarkError:
            read[False] += 1
            with pytest.raises(ArchitectureError):
                parse(grammar, sentence)
            return
        read[True] += 1
        derivation = parse(grammar, sentence)
        found = tree_of(derivation)
        if "?start" not in text and derivation.alternative.layer is None:
            found = [("start", found)]  # for evosearch, a start rule that only chooses is no layer
        assert found == [expected]
        assert parse(grammar, render(grammar, derivation)) is derivation

    agree()
    assert read[True] > examples // 6  # the test would be empty if hardly any sentence were one


def accepted(text: str) -> Grammar | None:
    try:
        return loads(text)
    except GrammarError:
        return None


@settings(FIXED, max_examples=25)
@given(grammars())
def test_samples_of_any_accepted_grammar_are_sentences_of_stock_lark_and_come_back(text: str) -> None:
    text = without_unreached(text)
    grammar = accepted(text)
    assume(grammar is not None)
    assert grammar is not None
    lark = Lark(text, parser="lalr", strict=True)
    space = Space(grammar, None, None, Limits(max_nodes=300))
    rng = np.random.default_rng(0)
    for _ in range(10):
        derivation = space.draw_at(rng, "start", None)
        if derivation is None:
            continue
        sentence = render(grammar, derivation)
        assert parse(grammar, sentence) is derivation
        lark.parse(sentence)
        assert text_key(grammar, sentence) == text_key(grammar, f" {sentence} ")


@settings(FIXED, max_examples=25)
@given(grammars())
def test_what_is_refused_as_a_conflict_stock_lark_refuses_too(text: str) -> None:
    text = without_unreached(text)
    try:
        loads(text)
    except GrammarError as error:
        assume("cannot be told apart" in error.message or "in two ways" in error.message)
        with pytest.raises(LarkError):
            Lark(text, parser="lalr", strict=True)


@pytest.mark.parametrize("name", BUNDLED)
def test_samples_of_bundled_grammars_come_back_from_their_texts(name: str) -> None:
    grammar = language(name)
    rng = np.random.default_rng(0)
    space = Space(grammar, None, None, Limits(max_nodes=200, max_depth=6))
    for _ in range(50):
        derivation = space.draw(rng)
        text = render(grammar, derivation)
        assert parse(grammar, text) is derivation
        assert not any(c.isspace() for c in text)


def test_draws_follow_the_weights() -> None:
    """Chi-squared over all sentences of a small language, on 100,000 draws."""
    grammar = loads(
        '// input: none\nstart: "a" x        // p=0.5\n     | "b" x~1..2   // p=0.3\n     | "c" N\n'
        'x: "1"   // p=0.7\n | "2"   // p=0.1\n | "3" "4"?\n'
        'N: "p"   // p=0.9\n | "q"\n'
    )
    one = {"1": 0.7, "2": 0.1, "3": 0.1, "34": 0.1}
    expected: dict[str, float] = {}
    for text, p in one.items():
        expected["a" + text] = 0.5 * p
        expected["b" + text] = 0.15 * p
        for second, q in one.items():
            expected["b" + text + second] = 0.15 * p * q
    expected.update({"cp": 0.18, "cq": 0.02})
    assert sum(expected.values()) == pytest.approx(1)
    space = Space(grammar, None, None)
    rng = np.random.default_rng(7)
    draws = 100_000
    found = Counter(render(grammar, space.draw(rng)) for _ in range(draws))
    assert set(found) <= set(expected)
    statistic = sum((found[text] - draws * p) ** 2 / (draws * p) for text, p in expected.items())
    freedom = len(expected) - 1
    # Wilson-Hilferty: the 99.9th percentile of chi-squared
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


def test_an_import_from_larks_library_needs_only_what_it_uses() -> None:
    """What else its file declares or says does not matter; what an imported rule needs does."""
    text = '// input: none\nstart: "v" {name}\n%import {path}.{name}\n%ignore " "\n'
    assert loads(text.format(path="python", name="augassign_op")).rules["start"]
    with pytest.raises(GrammarError, match=r"python\.lark:275:10: %declare leaves '_INDENT' without a definition"):
        loads(text.format(path="python", name="suite"))
