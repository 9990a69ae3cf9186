"""DINO (Caron et al. 2021, https://arxiv.org/abs/2104.14294); the last layer of the student's head learns its norm."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from torch import nn

from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Dino
from participant_kit.train.schedules import Span
from participant_kit.train.selfsupervised.backbone import Stream, build_backbone, drawn, width
from participant_kit.train.selfsupervised.method import SelfSupervised
from participant_kit.train.selfsupervised.schedules import is_frozen, momentum, teacher_temperature
from participant_kit.train.selfsupervised.teacher import average


class DinoObjective(SelfSupervised):
    """A student with dropped paths follows its own momentum teacher, which is what is submitted."""

    def __init__(self, recipe: SelfSupervisedRecipe, method: Dino, seed: int, span: Span) -> None:
        student = build_backbone(recipe.backbone, seed, drop_path_rate=method.drop_path)
        super().__init__(recipe, student)
        self._method, self._full_size, self._span, self._step = method, recipe.views.count, span, 0
        self.head = _head(width(student), method, seed)
        # A layer with weight normalisation cannot be copied, so that both are made of the same numbers.
        self.teacher = build_backbone(recipe.backbone, seed).requires_grad_(False)
        self.teacher_head = _head(width(student), method, seed).requires_grad_(False)
        self._loss = DINOLoss(
            method.output,
            teacher_temp=method.teacher_temperature,
            student_temp=method.student_temperature,
            center_momentum=method.center_momentum,
        )

    def model(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher

    def begin_step(self, step: int) -> None:
        """Note the step, which temperature and frozen layers depend on."""
        self._step = step

    def frozen(self) -> Iterable[nn.Parameter]:
        """The last layer, in the first epochs."""
        frozen = is_frozen(self._method.freeze_last_layer, self._span, self._step)
        return self.head.last_layer.parameters() if frozen else ()

    def forward(self, *views: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of the views uint8 [B, S, S, 3]; it moves the centre (over all processes), too."""
        student = self.by_size(lambda pixels: self.head(self.backbone(pixels)), views, self._full_size)
        with torch.no_grad():
            full = views[: self._full_size]
            teacher = self.by_size(lambda pixels: self.teacher_head(self.teacher(pixels)), full, self._full_size)
        temperature = teacher_temperature(self._method, self._span, self._step)
        loss: torch.Tensor = self._loss(teacher, student, teacher_temp=temperature)
        return loss

    def end_step(self, step: int) -> None:
        """Average the student into the teacher, running statistics included."""
        weight = momentum(self._method.momentum, self._span, step)
        average(self.teacher, self.backbone, weight, statistics=True)
        average(self.teacher_head, self.head, weight)


def _head(features: int, method: Dino, seed: int) -> DINOProjectionHead:
    with drawn(seed, Stream.HEADS), warnings.catch_warnings():
        # lightly still uses the older of torch's two weight normalisations.
        warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)
        return DINOProjectionHead(features, method.hidden, method.bottleneck, method.output, norm_last_layer=False)
