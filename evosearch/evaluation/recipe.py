"""How a candidate is trained, as a configuration says it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from evosearch import ranges
from evosearch.errors import ConfigError
from evosearch.evaluation.augment import AUGMENT
from evosearch.evaluation.rules import named as named_rule
from evosearch.evaluation.teachers import PARENT
from evosearch.layers.modifiers import named
from evosearch.ranges import Amount, Fraction, Ge, Gt, Lt, Natural, Positive
from evosearch.score import evaluation_seed
from evosearch.tasks.folds import most_folds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evosearch.tasks.base import Task

KEPT = (
    "seed",
    "folds",
    "stop",
    "deterministic",
    "inherit",
    "inherit_epochs",
    "proxies",
)  # how candidates are compared: no sentence says it of itself


@dataclass(frozen=True)
class Recipe:
    """How a candidate is trained. The defaults are those of einspace (Ericsson et al. 2024, section 5).

    epochs: passes over the train split; an incomplete last batch is left out of each.
    batch: examples in a step.
    optimizer: sgd or adamw.
    lr: learning rate, the largest of the schedule.
    momentum: of SGD; AdamW's first beta.
    nesterov: whether SGD's momentum is Nesterov's.
    weight_decay: on the weights of linear and convolution layers only, not on norms, biases or positional encodings.
    schedule: cosine falls from lr to 0; onecycle rises from lr/25 and falls to lr/250,000, as torch's; constant; power
        is cosine power annealing: it falls sooner and lingers at small rates (arXiv 1907.04572).
    warmup: epochs in which the rate rises linearly to lr; for onecycle the length of its rise (0: 30 % of the steps).
    label_smoothing: share of the target probability that is spread evenly over all classes.
    clip: largest L2 norm of the whole gradient; 0 for no limit.
    precision: auto is bfloat16 autocast on CUDA, float32 elsewhere. On a processor with AVX-512 BF16 or AMX, bfloat16
        takes a third off most trainings on images; auto leaves it out there, so that scores do not hang on it.
    augment: for images crop (shift by up to an eighth, zeros outside), shift (by up to a fourteenth, the border's
        usual colour outside), flip (left-right), cutout (a square of a quarter's side); for series warp (time runs
        smoothly faster and slower, in half of the batches); for all noise (normal, a tenth of the deviation).
    mixup: alpha of the Beta distribution by which pairs of examples are mixed (Zhang et al. 2018); 0 for none.
    cutmix: likewise for a box of one image put into another (Yun et al. 2019).
    balanced: whether each epoch draws its examples anew, every class as often, in place of each example once.
    mirrored: whether a network for images is judged, and answers, by the mean over an image and its mirror image, left
        to right; for one that was trained with flip.
    ema: the share that stays of a running average of the weights, which is judged and kept, in a step; 0 for none.
    rule: how a network learns, a file of evaluation/rules: backprop; gradient_noise; mono_forward, each segment by a
        loss of its own; distillation and guidance, by a teacher.
    gradient_noise: variance of the first step's noise, where the rule has some.
    teacher: whose answers (distillation) or representations (guidance) are learned: a file that `evolve export` wrote
        as pt2; self: the network's own state after earlier epochs; parent (distillation): the network whose weights it
        began with, where weights pass on.
    dropout: share of the numbers before the last linear layer that are 0 in a step, the others scaled up.
    drop_path: probability at the end of the training that an example passes a residual part by; it rises linearly
        from 0 (NASNet's ScheduledDropPath, arXiv 1707.07012).
    modifier: format of all weights and of what their layers read: w8a8 (whole numbers of 8 bits), e4m3, e5m2, 2:4 (two
        of every four weights), sparse0.9, random0.9 (a share of zeros); empty: float32.
    deterministic: same seed, same score; bit for bit on CPU at one thread count.
    folds: 1: a candidate is trained on the train split and judged on the validation split. k, above 1: train and
        validation rows together are cut into k folds, by class, fixed before the search; a candidate is trained once
        for each, on the others, and its score is the mean of what the folds say. For data of few rows.
    shorten: what a share of an evaluation is, as `search.rungs` or a strategy asks for one: of the epochs, or of the
        train split's rows, drawn by class, those of a smaller share among those of a larger one. Either way the
        schedule is as complete as the whole one's.
    stop: off, or a rule that ends trainings early: median ends one whose curve lies under the median of those known
        when it was proposed, once there are 5; curve one that will not be better than the best known, with a
        probability of 0.95 as a regression on the curves so far has it, once 20 are whole.
    proxies: figures that are taken of a network before it is trained: naswot, synflow, ..., and those of files of
        estimators/proxy/. They stand beside its score; those that the search optimises need not be named here.
    inherit: off; parent: a candidate begins with the weights of the one that it was made from, as far as the two are
        alike (evosearch.inherit), and is trained for inherit_epochs; samples begin from nothing, with all epochs. With
        `search.rungs` one that is promoted goes on with its own weights, for the epochs that it lacks; self: nothing
        but that.
    inherit_epochs: of such a candidate; 0 for a third of epochs, rounded up.
    seed: the training seeds of all candidates derive from it and their keys.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Positive = 8
    batch: Annotated[int, Ge(2)] = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Gt(0), Lt(math.inf)] = 0.04
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: Amount = 3e-4
    schedule: Literal["cosine", "onecycle", "constant", "power"] = "cosine"
    warmup: Amount = 0.0
    label_smoothing: Fraction = 0.0
    clip: Amount = 0.0
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    augment: tuple[str, ...] = ()
    mixup: Amount = field(default=0.0, metadata={"neutral": 0.0})
    cutmix: Amount = field(default=0.0, metadata={"neutral": 0.0})
    balanced: bool = field(default=False, metadata={"neutral": False})
    mirrored: bool = field(default=False, metadata={"neutral": False})
    ema: Fraction = field(default=0.0, metadata={"neutral": 0.0})
    folds: Positive = field(default=1, metadata={"neutral": 1})
    rule: str = field(default="backprop", metadata={"neutral": "backprop"})
    gradient_noise: Amount = field(default=0.3, metadata={"neutral": 0.3})
    teacher: str = field(default="", metadata={"neutral": ""})
    dropout: Fraction = field(default=0.0, metadata={"neutral": 0.0})
    drop_path: Fraction = field(default=0.0, metadata={"neutral": 0.0})
    modifier: str = field(default="", metadata={"neutral": ""})
    shorten: Literal["epochs", "rows"] = field(default="epochs", metadata={"neutral": "epochs"})
    deterministic: bool = True
    stop: str = "off"
    proxies: tuple[str, ...] = field(default=(), metadata={"neutral": ()})
    inherit: Literal["off", "self", "parent"] = field(default="off", metadata={"neutral": "off"})
    inherit_epochs: Natural = field(default=0, metadata={"neutral": 0})
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check(self, "recipe")
        if self.mixup and self.cutmix:
            raise ConfigError("recipe.mixup and recipe.cutmix: one of the two; set the other to 0")
        if self.teacher == PARENT and self.inherit != PARENT:
            raise ConfigError(
                "recipe.teacher: parent: nobody begins with a parent's weights; say recipe.inherit = parent"
            )
        named_rule(self.rule)
        if self.modifier:
            try:
                named(self.modifier)
            except ValueError as error:
                raise ConfigError(f"recipe.modifier: {error}") from None
        unknown = [name for name in self.augment if name not in AUGMENT]
        if unknown:
            raise ConfigError(f"recipe.augment: no augmentation '{unknown[0]}'; there are {', '.join(AUGMENT)}")

    def digest(self, device: str = "cpu", *, threads: int = 1) -> str:
        """32 hex digits over all but the seed, the device's kind ("cpu", "cuda"), the precision used there, and the
        threads of a training: sums round differently with their number.
        """
        kind = device.partition(":")[0]
        fields = {**asdict(self), "device": kind, "precision": self.precision_on(kind)}
        del fields["seed"]
        for key in dataclass_fields(self):  # a key that came later counts where it does something
            if "neutral" in key.metadata and fields[key.name] == key.metadata["neutral"]:
                del fields[key.name]
        if self.teacher and Path(self.teacher).is_file():  # what it says counts, not where it lies
            fields["teacher"] = hashlib.blake2b(Path(self.teacher).read_bytes(), digest_size=16).hexdigest()
        if threads != 1:  # one is left out, so that the digests that runs and ledgers hold stay theirs
            fields["threads"] = threads
        return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=16).hexdigest()

    def precision_on(self, device: str) -> str:
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if device.startswith("cuda") else "float32"

    def at(self, fidelity: float) -> Recipe:
        """The recipe of a training that is a share of a whole one: of the epochs where those are what is shortened.

        fidelity: above 0 and up to 1. Raises ValueError.
        """
        if not 0 < fidelity <= 1:
            raise ValueError(f"a fidelity of {fidelity}; it is above 0 and at most 1")
        if self.shorten == "rows":
            return self
        return replace(self, epochs=max(1, round(self.epochs * fidelity)))

    @property
    def inheriting(self) -> Recipe:
        """The recipe of a candidate that begins with its parent's weights: the epochs are fewer."""
        return replace(self, epochs=self.inherit_epochs or -(-self.epochs // 3))

    def said(self, words: Mapping[str, str]) -> Recipe:
        """The recipe with what a sentence says of it in place of its own: fields by name, each value as text.

        Several words of `augment` have a plus between them, and none is "none". Raises ConfigError where that is no
        recipe.
        """
        return replace(self, **{key: _value(key, text) for key, text in words.items()}) if words else self

    def lasting(self, searched: Recipe, words: Mapping[str, str]) -> Recipe:
        """This one, which trains what a search found, for a candidate that says so much of its own training.

        searched: the search's. The epochs are to the candidate's as this recipe's are to the search's.
        """
        if not words:
            return self
        epochs = searched.said(words).epochs * self.epochs / searched.epochs
        return replace(self.said(words), epochs=max(1, round(epochs)))

    def training_seed(self, key: str) -> int:
        """A training's seed: the same for equal keys whenever and wherever they are proposed."""
        return evaluation_seed(self.seed, key)


def _value(key: str, text: str) -> Any:
    """A field's value from a sentence's text. Raises ConfigError."""
    kinds = {name: kind for name, kind in get_type_hints(Recipe).items() if name not in (*KEPT, "__pydantic_config__")}
    if key not in kinds:
        raise ConfigError(f"a sentence's recipe says {key}={text}; it may say {', '.join(kinds)}")
    kind = kinds[key]
    if get_origin(kind) is tuple:
        return () if text == "none" else tuple(text.split("+"))
    known = get_args(kind) or (("true", "false") if kind is bool else ())
    try:
        if known and text not in known:
            raise ValueError
        return text == "true" if kind is bool else text if known else kind(text)
    except ValueError:
        wanted = " or ".join(known) or {int: "a whole number", float: "a number"}.get(kind, "text")
        raise ConfigError(f"a sentence's recipe says {key}={text}; it must be {wanted}") from None


# For the bundled digits: 190 steps of batch 64 where einspace's recipe, made for far larger sets, would take 32. Small
# residual networks reach 0.98 to 0.99 on validation in about a second of one core (seed 0, torch 2.13, x86-64).
DIGITS = Recipe(epochs=12, batch=64, optimizer="adamw", lr=5e-3, weight_decay=0.05, schedule="onecycle")


def check(task: Task, recipe: Recipe) -> None:
    """Raise ConfigError where the recipe is not for such a task."""
    axes = len(task.input_shape)
    for name in recipe.augment:
        augment = AUGMENT[name]
        if axes not in augment.axes or (augment.of_pictures and not task.images):
            meant = "images" if 3 in augment.axes else "series"
            raise ConfigError(f"recipe.augment is for {meant}, and {task.name} has none; leave it empty")
    named_rule(recipe.rule).require(recipe)
    if recipe.folds > 1 and recipe.folds > (most := most_folds(task)):
        has = f"{most} rows to train on" if task.train.groups is None else f"groups of rows for {most} to train on"
        raise ConfigError(f"recipe.folds is {recipe.folds}, and {task.name} has {has}; say fewer")
    if recipe.cutmix and not task.images:
        raise ConfigError(f"recipe.cutmix is for images, and {task.name} has none; set it to 0, or say recipe.mixup")
    if recipe.mirrored and not task.images:
        raise ConfigError(f"recipe.mirrored is for images, and {task.name} has none; set it to false")
    if recipe.balanced and not task.kind.classes:
        raise ConfigError(f"recipe.balanced is for classes, and {task.name} has none; set it to false")
