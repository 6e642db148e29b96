"""Double or halve one width."""

from evosearch.grammar.core import Derivation
from evosearch.variation import shuffled


def widen(parent, space, rng):
    """Choose a node with a numeric choice such as a width and put twice or half of it, where the rest can take it.

    Keeps true: the tree's form; validity at the input shape. None where no number can be changed so.
    """
    stack, numbers = [((), parent)], []
    while stack:
        path, node = stack.pop()
        numbers += [(path, node, index) for index, text in enumerate(node.tokens) if text.isdigit()]
        stack += [((*path, index), part) for index, part in enumerate(node.parts)]
    for path, node, index in shuffled(numbers, rng):
        choices = space.grammar.terminals[node.alternative.terminals[index]].choices or ()
        known = [text for text, weight in choices if weight > 0]
        for text in shuffled([str(2 * int(node.tokens[index])), str(int(node.tokens[index]) // 2)], rng):
            if text in known:
                tokens = (*node.tokens[:index], text, *node.tokens[index + 1 :])
                child = parent.replace(path, Derivation(node.alternative, tokens, node.parts))
                if space.fits(child):
                    return child
    return None
