"""A masked autoencoder (He et al. 2022, https://arxiv.org/abs/2111.06377)."""

from __future__ import annotations

import torch
from lightly.models import utils
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from competition.errors import TrainingError
from competition.rules.recipes import SelfSupervisedRecipe
from competition.rules.recipes.selfsupervised import Mae
from participant_kit.train.selfsupervised.backbone import Stream, drawn
from participant_kit.train.selfsupervised.method import SelfSupervised


class MaeObjective(SelfSupervised):
    """Sees a part of an image's patches and reconstructs the pixels of the rest."""

    def __init__(self, recipe: SelfSupervisedRecipe, method: Mae, backbone: nn.Module, seed: int) -> None:
        super().__init__(recipe, backbone)
        if not isinstance(backbone, VisionTransformer):
            raise TrainingError(
                f"A masked autoencoder cannot be trained with the backbone {recipe.backbone.name!r}.",
                hint="Name a vision transformer of timm (vit_...) in the recipe's backbone.",
            )
        self._method, self._patch = method, backbone.patch_embed.patch_size[0]
        with drawn(seed, Stream.HEADS):
            # Positions become fixed sines. Masked patches are left out, so that the encoder's mask token is idle.
            idle = nn.Parameter(torch.zeros(1, 1, backbone.embed_dim), requires_grad=False)
            self.encoder = MaskedVisionTransformerTIMM(backbone, mask_token=idle)
            self.widen = nn.Linear(backbone.embed_dim, method.decoder_width)
            self.decoder = MaskedVisionTransformerDecoderTIMM(
                num_patches=backbone.patch_embed.num_patches,
                embed_dim=method.decoder_width,
                depth=method.decoder_depth,
                num_heads=method.decoder_heads,
                num_prefix_tokens=backbone.num_prefix_tokens,
            )
            self.predict = nn.Linear(method.decoder_width, 3 * self._patch**2)

    def save_memory(self) -> None:
        """Gradient checkpointing of the encoder."""
        self.encoder.set_grad_checkpointing()

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        """The mean squared error of masked patches, a scalar; masks come from the global random state."""
        images = self.pixels(view)
        shape = (len(images), self.encoder.sequence_length)
        kept, masked = utils.random_token_mask(shape, self._method.mask_ratio, device=images.device)
        seen = self.widen(self.encoder.encode(images, idx_keep=kept))
        tokens = utils.repeat_token(self.decoder.mask_token, shape)
        decoded = self.decoder(utils.set_at_index(tokens, kept, seen.type_as(tokens)))
        predicted = self.predict(utils.get_at_index(decoded, masked))
        target = utils.get_at_index(utils.patchify(images, self._patch), masked - 1)
        if self._method.normalise_pixels:
            target = utils.normalize_mean_var(target)
        return functional.mse_loss(predicted, target)
