"""Facts -> settings, each with its reason. A pure function: nothing is trained, measured or read but grammars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from evosearch import grammar as language
from evosearch import paths
from evosearch.architecture import Limits
from evosearch.auto.rules import BFLOAT16, GPU, RULES, Rules, Speed, fitting
from evosearch.errors import ConfigError, ShapeError
from evosearch.evaluation.augment import AUGMENT
from evosearch.layers.base import show
from evosearch.layers.library.masked import Masked
from evosearch.layers.library.mean_linear import MeanLinear
from evosearch.space import open_space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evosearch.architecture import Architecture, Space
    from evosearch.auto.facts import Facts
    from evosearch.grammar.core import Grammar
    from evosearch.layers.base import Leaf


OVERHEAD = 0.5  # seconds for a candidate besides its training: building it, judging it, handing it over
START_UP = 8.0  # seconds until the first candidate is trained: processes, libraries, data
FINAL_SHARE = 0.55  # of the time, kept back for the final training
SHORTER = 1.5  # times what a good training takes may a seed's be: all trainings of the search are shortened then
FEWEST = 12  # candidates below which a search is hardly one; trainings are shortened to get so many
FEW_ROWS = 2000  # below which a held-out part is too small to tell candidates apart
SEEDS_OF_FEW = 0.8  # of the search's time, that the seeds may take where there are few rows
FEWEST_OF_FEW = 6  # candidates where there are few rows: to judge each well is worth more than to judge many
FOLDED = 40  # candidates that there have to be time for where many rows are judged by folds
FOLDS = (5, 3, 1)  # as many as leave each training half of its epochs
PLAIN = "tables_plain"
PLAIN_ROWS = 1000  # below which numbers are best left as they are: 0.495 against 0.471 (r2, diabetes, 442 rows)
APART = 10.0  # times the deviation of some series may be that of others, before each is read by its own scale
MIRRORED = 0.5  # of their meaning, that mirror images have to keep; Fashion-MNIST's keep 0.72, MNIST's 0.36
LAST_PLACES = (3, 12)  # places a side that the last stage of a network for images may see


class Choice(NamedTuple):
    """A setting's value and why it has it, in one line."""

    value: Any
    reason: str


class Estimate(NamedTuple):
    """Seconds of wall-clock time that a plan is expected to take."""

    search: float
    final: float


@dataclass(frozen=True)
class Plan:
    """What to do: choices by the key of the configuration that they set, by how many folds candidates are judged (1: by
    a held-out share of the rows), and how long it takes.
    """

    choices: Mapping[str, Choice]
    validation: Choice
    estimate: Estimate

    def settings(self) -> dict[str, Any]:
        """The keys' values, as `config.load` takes them for overrides."""
        return {key: choice.value for key, choice in self.choices.items()}

    def lines(self) -> Iterator[str]:
        """One line for each choice: the key, its value, the reason."""
        width = max(map(len, self.choices))
        for key, choice in self.choices.items():
            yield f"{key:{width}}  {choice.value}: {choice.reason}"


def plan(facts: Facts, given: Mapping[str, Any] | None = None) -> Plan:
    """What to do with such data, on such a machine, in such a time.

    given: settings that are fixed already, by their keys; they are kept, and what depends on them follows.
    Raises ConfigError where a given grammar does not take such input, or none of the grammar's seeds fits it.
    """
    given = given or {}
    usual = FOLDS[0] if facts.rows < FEW_ROWS else 1
    folds = int(given.get("recipe.folds", usual))
    made = _made(facts, given, folds)
    if made.validation.value != folds:  # how many rows a training has hangs on them
        made = _made(facts, given, made.validation.value, fixed=True)
    return made


def _made(facts: Facts, given: Mapping[str, Any], folds: int, *, fixed: bool = False) -> Plan:
    """The plan where each training has the rows that so many folds leave it; fixed: they are these, else as many as
    there is time for.
    """
    rules = RULES[facts.mode]
    grammar = str(given.get("grammar", rules.grammar))
    _check_grammar(grammar, facts)
    few = facts.rows < FEW_ROWS
    everything = facts.whole or facts.rows
    share = float(given.get("data.validation", 0.2 if facts.rows < 50_000 else 10_000 / everything))
    held = facts.held or round(share * everything)
    rows = facts.rows - (round(facts.rows / folds) if folds > 1 else held)
    batch = int(given.get("recipe.batch", _batch(rows, rules)))
    bfloat16 = facts.mode == "image" and (facts.fast_bfloat16 or facts.device != "cpu")
    speed = GPU if facts.device != "cpu" else BFLOAT16 if bfloat16 else rules.speed
    for_final = facts.seconds * FINAL_SHARE
    for_search = max(facts.seconds - for_final - START_UP, facts.seconds * 0.1)
    slot = for_search * min(facts.cores / (FEWEST_OF_FEW if few else FEWEST), 1)  # seconds that one candidate may take

    wanted = _epochs(rows, batch, rules)
    known = _seeds(facts, rules)
    usual = grammar == rules.grammar
    seeds = _allowed(known, facts, rules, given) if usual else {}
    others = _allowed(_others(facts, rules), facts, rules, given) if usual else {}
    one_epoch = {name: _seconds(found, rows, batch, speed) for name, found in seeds.items()}
    whole = {name: OVERHEAD + seconds * wanted for name, seconds in one_epoch.items()}
    fit = [name for name in seeds if one_epoch[name] * wanted <= SHORTER * slot]
    good = _within(whole, for_search, SEEDS_OF_FEW * for_search * facts.cores) if few else []
    fit = good or fit  # with few rows a good network is worth more than many that nobody knows
    fit = fit or sorted(seeds, key=one_epoch.__getitem__)[:1]
    chosen = [name for name in fit if name not in rules.spare] or fit
    slowest = max((one_epoch[name] for name in chosen), default=slot / wanted)
    most_folds = slot if few else for_search * facts.cores / FOLDED  # seconds for one candidate
    if not fixed and "recipe.folds" not in given:
        enough = [n for n in FOLDS if n <= (facts.groups or n)]
        folds = next(n for n in enough if n == 1 or n * (OVERHEAD + slowest * wanted / (2 if few else 1)) <= most_folds)
    room = slot / folds  # seconds for one training of a candidate
    if good and folds == 1:
        room = max(room, OVERHEAD + slowest * wanted)
    most = max(1, math.floor((room - OVERHEAD) / slowest)) if chosen else wanted
    epochs = int(given.get("recipe.epochs", min(wanted, most)))
    typical = sum(one_epoch[name] for name in chosen) / len(chosen) if chosen else slowest
    each = folds * (OVERHEAD + epochs * typical)
    budget = int(given.get("search.budget", max(len(chosen), 2, math.floor(for_search * facts.cores / each))))
    population = max(2, min(20, budget // 3))
    final_epoch = slowest * facts.rows / rows
    longest = round(wanted * (rules.longer if _augment(facts, rules)[0] or not rules.augment else rules.longer / 2))
    final = max(1, longest)
    if chosen:  # else nobody knows what an epoch takes
        final = max(1, min(final, math.floor(for_final / final_epoch)))
    most_flops = _limit(room, epochs, rows, batch, speed, next(iter(known.values())))
    for name, other in others.items():
        if len(chosen) < budget and folds * (OVERHEAD + epochs * _seconds(other, rows, batch, speed)) <= slot:
            chosen.append(name)
            seeds[name] = other
    most_flops = max([most_flops, *(2 * seeds[name].cost.flops for name in chosen)])  # what is begun with is within it
    validation = Choice(folds, _why_judged(facts, folds, held))

    choices = {
        "grammar": Choice(grammar, f"the examples are {rules.what} ({show(facts.shape)})"),
        "seeds": Choice(tuple(chosen), _why_seeds(facts, chosen, seeds) if chosen else _WHY_NONE[usual]),
        "recipe.optimizer": Choice("adamw", "needs the least tuning; SGD was 1 point behind"),
        "recipe.schedule": Choice("onecycle", "learns most in few steps"),
        "recipe.lr": Choice(rules.lr, f"good for {rules.what} at any batch that is chosen here"),
        "recipe.weight_decay": Choice(0.05, "ten times more or less changed nothing that could be measured"),
        "recipe.clip": Choice(1.0, "a candidate that nobody has seen may have steep gradients"),
        "recipe.batch": Choice(
            batch, f"about 1/{rules.share} of {rows:,} rows, from {rules.batches[0]} to {rules.batches[1]}"
        ),
        "recipe.epochs": Choice(epochs, _why_epochs(epochs, wanted, rows, batch, rules)),
        "recipe.label_smoothing": Choice(*_smoothing(facts, rules)),
        "recipe.augment": Choice(*_augment(facts, rules)),
        "recipe.precision": Choice(*_precision(facts, bfloat16)),
        "recipe.stop": Choice(*_stop(budget, folds)),
        "final.mirrored": Choice(*_mirrored(facts, rules)),
        "final.epochs": Choice(
            final, f"{longest} are good for so many rows, where one training takes at most {for_final:.0f} s"
        ),
        "limits.max_flops": Choice(most_flops, f"no training takes longer than twice {room:.1f} s"),
        "search.budget": Choice(budget, f"about {each:.1f} s each, {facts.cores} at a time, in {for_search:.0f} s"),
        "search.population": Choice(population, "a third of the candidates, at most 20"),
        "search.tournament": Choice(max(2, population // 3), "a third of the population: the seeds are good already"),
        "search.initial": Choice(
            max(1, min(population, budget // 4)) if chosen else population,
            "at most a quarter is spent on random samples" if chosen else "samples are the beginning",
        ),
        "search.lookahead": Choice(
            min(8, 2 * facts.cores) if facts.cores > 1 else 1, "enough that no core waits, and no proposal is stale"
        ),
        "workers.workers": Choice(facts.cores if facts.device == "cpu" else 0, "one for each core, of one thread each"),
        "data.validation": Choice(share, validation.reason),
        "recipe.folds": validation,
    }
    if facts.held:
        del choices["data.validation"]  # the data set has its own
    kept = {key: choice for key, choice in choices.items() if key not in given}
    search = START_UP + budget * each / facts.cores
    return Plan(kept, validation, Estimate(search, final * final_epoch))


def _check_grammar(name: str, facts: Facts) -> None:
    takes = _grammar(name).input
    if takes not in (facts.mode, "none"):
        raise ConfigError(
            f"{name} takes {takes} input, and the examples are {RULES[facts.mode].what} ({show(facts.shape)}); "
            f"say grammar = {fitting(facts.mode)}"
        )


@cache
def _grammar(name: str) -> Grammar:
    return language.load(paths.find("grammars", name, ".lark"))


def _within(seconds: Mapping[str, float], most: float, together: float) -> list[str]:
    """The first ones that take no more than `most` each, and no more than that together."""
    found: list[str] = []
    for name, each in seconds.items():
        if each <= most and sum(seconds[other] for other in found) + each <= together:
            found.append(name)
    return found


def _seeds(facts: Facts, rules: Rules) -> dict[str, Architecture]:
    """The mode's seeds that fit the examples, the best first."""
    found = _read(rules.scaled if facts.scales > APART else rules.seeds, facts, rules)
    if not found and facts.columns is not None and not (facts.columns.numbers or facts.columns.words):
        raise ConfigError("no column holds more than one value in the rows to train on: there is nothing to predict by")
    if not found:
        raise ConfigError(f"none of {', '.join(rules.seeds)} fits examples of {show(facts.shape)}")
    if facts.mode == "image":
        least, most = LAST_PLACES
        places = {name: _last_places(architecture) for name, architecture in found.items()}
        good = {name: found[name] for name in found if least <= places[name] <= most}
        nearest = min(found, key=lambda name: abs(math.log(max(places[name], 1) / 6)))
        return good or {nearest: found[nearest]}
    if _is_wide(facts) and PLAIN in found:
        return {PLAIN: found[PLAIN]}
    if facts.mode == "vector" and facts.rows < PLAIN_ROWS:
        return dict(sorted(found.items(), key=lambda item: item[0] != PLAIN))
    return found


def _is_wide(facts: Facts) -> bool:
    """Whether a table has more columns than rows: what takes each apart into many numbers knows the rows by heart."""
    table = facts.columns  # in which all words of a column are one category
    columns = facts.shape[0] if table is None else len(table.numbers) + len(table.parted)
    return facts.mode == "vector" and facts.rows < columns


def _others(facts: Facts, rules: Rules) -> dict[str, Architecture]:
    """Those of further kinds that fit the examples."""
    if facts.mode == "image" and facts.device == "cpu":
        return {}  # depthwise convolutions in bfloat16 take a processor as long as dense ones with ten times the FLOPs
    if _is_wide(facts):
        return {}
    found = _read(rules.others, facts, rules)
    if facts.mode == "image":
        return {name: one for name, one in found.items() if LAST_PLACES[0] <= _last_places(one) <= LAST_PLACES[1]}
    return found


def _allowed(
    seeds: Mapping[str, Architecture], facts: Facts, rules: Rules, given: Mapping[str, Any]
) -> dict[str, Architecture]:
    """Those within the limits that are given, with a head for the outputs."""
    said: dict[str, Any] = {
        key.removeprefix("limits."): None if value == "none" else value
        for key, value in given.items()
        if key.startswith("limits.")
    }
    space = _space(facts, rules, Limits(**said), MeanLinear(facts.outputs))
    return {name: one for name, one in seeds.items() if space.within(space.read(space.parse(one.text))) is None}


def _read(names: tuple[str, ...], facts: Facts, rules: Rules) -> dict[str, Architecture]:
    """The bundled networks of the mode's grammar that are not made for larger examples."""
    space = _space(facts, rules)
    found = {}
    for name in names:
        derivation = space.parse(paths.read_arch(paths.find("grammars/seeds", name, ".arch")))
        try:
            found[name] = space.read(derivation)
        except ShapeError:
            continue
    return found


def _space(facts: Facts, rules: Rules, limits: Limits | None = None, head: Leaf | None = None) -> Space:
    stem = Masked() if facts.masked else None
    return open_space(_grammar(rules.grammar), (), facts.shape, limits, head, facts.columns, stem=stem)


def _last_places(architecture: Architecture) -> int:
    """Places on the shorter side of the last image inside a network."""
    return min(next(part.output[1:] for part in reversed(architecture.root.parts) if len(part.output) == 3))


def _seconds(architecture: Architecture, rows: int, batch: int, speed: Speed) -> float:
    """Of one epoch on one core; an incomplete last batch is left out of it."""
    return (rows // batch * batch or rows) * speed.seconds(architecture, batch)


def _batch(rows: int, rules: Rules) -> int:
    """The power of two nearest to the mode's share of the rows, within what was tried."""
    least, most = rules.batches
    return int(min(max(2 ** round(math.log2(max(rows / rules.share, 1))), least), most))


def _epochs(rows: int, batch: int, rules: Rules) -> int:
    """As many as give the steps and the epochs that a good training needs."""
    steps = max(rows // batch, 1)
    return min(max(rules.epochs, math.ceil(rules.steps / steps)), rules.most)


def _limit(slot: float, epochs: int, rows: int, batch: int, speed: Speed, like: Architecture) -> int:
    """FLOPs with which a training takes twice the seconds of a slot, to two digits, of a network like this one."""
    shown = rows // batch * batch or rows
    flops = max(like.cost.flops, 1) * speed.growth(like, batch, 2 * slot / (epochs * shown))
    digits = 10 ** max(math.floor(math.log10(flops)) - 1, 0)
    return max(int(flops // digits * digits), 1000)


def _why_judged(facts: Facts, folds: int, held: int) -> str:
    if folds > 1:
        return f"{facts.rows:,} rows: {folds} folds, fixed before the search, for less noise"
    drawn = "as the data set has them" if facts.held else f"{'by class ' if facts.classes else ''}at random"
    drawn += ", whole groups" if facts.groups and not facts.held else ""
    few = "; too few to judge well by, recipe.folds = 5 takes five times as long" if facts.rows < FEW_ROWS else ""
    return f"{held:,} of {facts.rows:,} rows, {drawn}{few}"


def _precision(facts: Facts, bfloat16: bool) -> tuple[str, str]:
    if bfloat16:
        return "bfloat16", "multiplied faster here than float32: half of the time at the same accuracy"
    if facts.mode == "image":
        return "auto", "float32: this processor does not multiply bfloat16"
    return "auto", f"bfloat16 saves nothing for {RULES[facts.mode].what}"


def _augment(facts: Facts, rules: Rules) -> tuple[tuple[str, ...], str]:
    if not rules.augment:
        return (), f"what was tried for {rules.what} helped some and hurt others"
    if not facts.images:
        return (), "the task does not say that shifted and mirrored examples are still examples"
    if facts.mirror < MIRRORED:
        others = tuple(name for name in rules.augment if not AUGMENT[name].mirrors)
        return others, f"mirror images mean something else: a nearest neighbour knows {facts.mirror:.0%} of them"
    return rules.augment, "half of a point to a point on photographs, at no cost"


def _smoothing(facts: Facts, rules: Rules) -> tuple[float, str]:
    if not (facts.classes and rules.smoothing):
        return 0.0, f"made no difference for {rules.what}" if facts.classes else "there are no classes"
    return rules.smoothing, "a long training is not to be surer than it can be"


def _stop(budget: int, folds: int) -> tuple[str, str]:
    if folds > 1:
        return "off", "of few rows a curve is too noisy to be left out for a moment below the median"
    if budget < 30:
        return "off", f"{budget} candidates are too few for a median"
    return "median", "half of the candidates end early"


def _mirrored(facts: Facts, rules: Rules) -> tuple[bool, str]:
    if any(AUGMENT[name].mirrors for name in _augment(facts, rules)[0]):
        return (
            True,
            "the mean over an image and its mirror image: a few tenths of a point, for twice the work of an answer",
        )
    return False, "mirror images are not trained on"


_WHY_NONE = {
    True: "none of the known networks is within the limits: samples are the beginning",
    False: "the grammar is your own choice: its samples are the beginning",
}  # by whether the grammar is the usual one


def _why_seeds(facts: Facts, chosen: list[str], fitting_ones: Mapping[str, Architecture]) -> str:
    own = f"read each series by its own scale, {facts.scales:.2g} times apart; " if facts.scales > APART else ""
    if len(chosen) < len(fitting_ones):
        return f"good networks to start from, {own}as large as the time allows; {len(fitting_ones)} fit the examples"
    if own:
        return f"good networks to start from, {own.removesuffix('; ')}"
    if _is_wide(facts):
        return f"plain numbers, of which there are more columns than the {facts.rows:,} rows"
    if facts.mode == "vector" and facts.rows < PLAIN_ROWS:
        return f"good networks to start from; plain numbers first, for {facts.rows:,} rows"
    return "good networks to start from; better than what a short search finds from nothing"


def _why_epochs(epochs: int, wanted: int, rows: int, batch: int, rules: Rules) -> str:
    steps = epochs * max(rows // batch, 1)
    if epochs < wanted:
        return f"{steps} steps; {wanted} epochs would be better, and leave time for fewer than {FEWEST} candidates"
    return f"{steps} steps: at least {rules.steps}, and at least {rules.epochs} epochs"
