"""Distillation: the network also learns what another one answers: a teacher's file, its parent, its own earlier selves.

Hinton et al. 2015 (arXiv 1503.02531): T^2 KL(softmax(teacher / T) || softmax(own / T)) beside the task's loss; of tasks
without classes the mean squared difference. Self-distillation's teacher is the mean answer of snapshots.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from evosearch.evaluation.rules.backprop import Backprop
from evosearch.evaluation.teachers import OWN, PARENT, require, teacher_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from evosearch.evaluation.recipe import Recipe
    from evosearch.evaluation.rules import Learning

SNAPSHOTS = 3  # earlier selves that are asked together
SHARE = 0.5  # of the loss, that is the teacher's
TEMPERATURE = 2.0


class Distillation(Backprop):
    """`recipe.teacher` is a file of torch.export's (`evolve export -o teacher.pt2`), "self", or "parent": the network
    whose weights it began with. One that began from nothing has none, and learns by the task's loss alone.
    """

    captured: ClassVar[bool] = False  # the teacher changes

    def __init__(self, network: nn.Module, learning: Learning) -> None:
        super().__init__(network, learning)
        teacher = learning.recipe.teacher
        self.teachers: deque[nn.Module] = deque(maxlen=SNAPSHOTS)
        if teacher == PARENT:
            like = next(network.parameters())
            self.teachers.extend([] if learning.parent is None else [learning.parent.to(like.device, like.dtype)])
        elif teacher != OWN:
            self.teachers.append(teacher_of(teacher, learning.device))

    @staticmethod
    def require(recipe: Recipe) -> None:
        if recipe.teacher not in (OWN, PARENT):
            require(recipe.teacher)

    def begin(self, epoch: int) -> None:
        """A snapshot of what the last epoch left, where the network is its own teacher."""
        if self.learning.recipe.teacher == OWN and epoch > 0:
            self.teachers.append(copy.deepcopy(self.network).eval())

    def taken(self, x: Tensor, right: Callable[[Tensor], Tensor]) -> Tensor:
        import torch

        out = self.outputs(self.network, x)
        if not self.teachers:
            return right(out)
        with torch.no_grad():
            answers = [self.outputs(teacher, x) for teacher in self.teachers]
        return (1 - SHARE) * right(out) + SHARE * self.apart(out, answers)

    def apart(self, out: Tensor, answers: list[Tensor]) -> Tensor:
        """How far outputs are from the mean of the teachers' answers."""
        import torch
        from torch.nn import functional

        if not self.learning.task.kind.classes:
            return functional.mse_loss(out, torch.stack(answers).mean(0))
        mean = torch.stack([(answer / TEMPERATURE).softmax(1) for answer in answers]).mean(0)
        own = (out / TEMPERATURE).log_softmax(1)
        return TEMPERATURE**2 * functional.kl_div(own, mean, reduction="batchmean")
