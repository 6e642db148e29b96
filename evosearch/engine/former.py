"""Runs of commit 2588839 and before, compared by the scheme of their time.

Their headers hold one digest over the bytes of every operator file that was found, bundled ones too, used or not; and
one over every key of the configuration, which nothing can be compared with once there is a key more. The configuration
itself, config.toml, lies beside it, and its own digest is checked when it is read.
"""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import TYPE_CHECKING

from evosearch.plugins import is_bundled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evosearch.plugins import Operators

KINDS = ("initialise", "mutate", "crossover", "select")  # in the order of the digest
# The bundled operators' files as they were. Of the same behaviour since, or their version would say otherwise.
BUNDLED: Mapping[str, str] = {
    "initialise/early_exit": "c13371560337a152c390010d8c44f358",
    "initialise/mixed": "8f1892996b920247fab6c027f270364a",
    "initialise/seeded": "aecd6946b5228671fe798270899ebe6f",
    "mutate/change_choice": "d1499106734ea52a4ef55453a314cd05",
    "mutate/insert_around": "a5ea5796bedd0865446d568147ff3845",
    "mutate/redraw": "30a0012b70f849ddc84b134d1c59c355",
    "mutate/redraw_keeping_shape": "d58bfef98c7175fb9b2e09bf7090409e",
    "mutate/remove_node": "47f3dc60b484f9d781fcf88b5692654c",
    "mutate/repeat_block": "8fa3ad758553c27e102cb919cc8d3d2d",
    "mutate/swap_subtrees": "3a2c8cf81d5981d2ee02d79687bc0669",
    "crossover/same_symbol": "937cefd06005c781cb5910f7bc17eb97",
    "select/crowded_tournament": "01456ad0f432eb7866c1e53173de8ed4",
    "select/nsga2": "e66886cdc35fec88f6f585015d0ecaf8",
    "select/tournament": "13d07a7689369952afa710f3c647dd12",
    "select/youngest": "6ed25e1dceecf57bac4fb752a3b036e8",
}
FIRST = "version 1"  # of a bundled operator that does what it did
MOST = 10  # files that may or may not have been there, for which every choice is tried


def operators_are(digest: str, operators: Operators) -> bool:
    """Whether the digest of an old run is that of the operators found now, those that it does not use aside.

    operators: after the run's search was made, which asked for those that it uses. A file that the run does not use
    may have come since, and may have been there.
    """
    used, own = operators.used, _own(operators)
    if any(used.get(name, FIRST) != FIRST for name in BUNDLED if name not in own):
        return False  # a bundled operator that does something else now
    needed = {name: found for name, found in own.items() if name in used}
    return any(_digest({**BUNDLED, **needed, **rest}) == digest for rest in _choices(own, used))


def _own(operators: Operators) -> dict[str, str]:
    """The digests of a person's own files of the kinds that there were."""
    return {
        f"{kind}/{name}": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for kind, name, path in operators.files()
        if kind in KINDS and not is_bundled(path)
    }


def _choices(own: Mapping[str, str], used: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """All, none, and where there are few every choice of the files that are not used."""
    free = [name for name in own if name not in used]
    sizes = range(len(free), -1, -1) if len(free) <= MOST else (len(free), 0)
    for size in sizes:
        yield from ({name: own[name] for name in chosen} for chosen in combinations(free, size))


def _digest(files: Mapping[str, str]) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for name in sorted(files, key=lambda name: (KINDS.index(name.partition("/")[0]), name)):
        hashed.update(f"{name}:{files[name]}\n".encode())
    return hashed.hexdigest()
