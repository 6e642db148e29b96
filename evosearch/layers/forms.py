"""Canonical forms: what an architecture computes, written so that equal forms mean equal functions.

A form is a flat tuple of operations, from input to output; the empty form is the identity. Branches stand in one as
digests of their own forms, so that comparing and hashing never recurse. What a layer simplifies is its own business: it
gives the Operations, and one says what it and the one before it amount to (`after`). One exception: the form of a cell
of NAS-Bench-201 follows the benchmark's own rule, see `nasbench201.Cell`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Operation:
    """One operation of a form: what a layer does, told by name and arguments, and the shape that comes out.

    keeps_zero: whether its output is zero wherever its input is.
    """

    __slots__ = ("arguments", "keeps_zero", "name", "output", "token")

    def __init__(
        self, name: str, arguments: tuple[object, ...], output: tuple[int, ...], *, keeps_zero: bool = False
    ) -> None:
        self.name, self.arguments, self.output, self.keeps_zero = name, arguments, output, keeps_zero
        self.token = f"{name}{arguments!r}>{output!r}"

    def after(self, previous: Operation) -> Form | None:
        """What `previous` and then this one amount to, or None where the two say all there is."""
        if self.keeps_zero and isinstance(previous, Zero):
            return (Zero(self.output),)
        return None

    def __repr__(self) -> str:
        return self.token


Form = tuple[Operation, ...]


class Zero(Operation):
    """The output is zero, whatever came before."""

    __slots__ = ()

    def __init__(self, output: tuple[int, ...]) -> None:
        super().__init__("zero", (), output, keeps_zero=True)

    def after(self, previous: Operation) -> Form | None:
        del previous
        return (self,)


class Sum(Operation):
    """The sum of branches that all see the same input. terms: digests of their forms, in ascending order."""

    __slots__ = ("terms",)

    def __init__(
        self, terms: Sequence[str], inputs: tuple[int, ...], output: tuple[int, ...], *, keeps_zero: bool
    ) -> None:
        self.terms = tuple(sorted(terms))
        super().__init__("sum", (inputs, *self.terms), output, keeps_zero=keeps_zero)


def is_zero(form: Form) -> bool:
    return len(form) == 1 and isinstance(form[0], Zero)


def keeps_zero(form: Form) -> bool:
    """Whether the form's output is zero wherever its input is."""
    return all(step.keeps_zero for step in form)


def sum_of(branches: Sequence[Form], inputs: tuple[int, ...], output: tuple[int, ...]) -> Form:
    """The sum of branches that all see the same input: nested sums flattened, zeros left out, one term alone itself."""
    kept = [form for form in branches if not is_zero(form)]
    if not kept:
        return (Zero(output),)
    if len(kept) == 1:
        return kept[0]
    terms: list[str] = []
    for form in kept:
        if len(form) == 1 and isinstance(form[0], Sum):
            terms += form[0].terms
        else:
            terms.append(digest(form))
    return (Sum(terms, inputs, output, keeps_zero=all(map(keeps_zero, kept))),)


def join(first: Form, second: Form) -> Form:
    """The form of `second` after `first`, simplified where the two meet."""
    if not first:
        return second
    ready = list(first)
    waiting = list(reversed(second))
    while waiting:
        step = waiting.pop()
        simpler = step.after(ready[-1]) if ready else None
        if simpler is None:
            ready.append(step)
            if not isinstance(step, Zero):
                ready += reversed(waiting)  # what follows was simplified when `second` was made
                break
        else:
            ready.pop()
            waiting += reversed(simpler)
    return tuple(ready)


def digest(form: Form) -> str:
    """128 bits of the form as 32 hex digits."""
    text = "\n".join([step.token for step in form])
    return blake2b(text.encode(), digest_size=16).hexdigest()
