"""Losses of translation and enhancement (paper section 4.2, and an independent implementation that agrees with it)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision
from repsynth.losses.least_squares import least_squares_discriminator_loss, least_squares_generator_loss
from repsynth.losses.reconstruction import l1
from repsynth.modules.hidt.discriminators import Verdicts
from repsynth.modules.hidt.palette import painted
from repsynth.modules.hidt.passes import Passes

IGNORED = 255
"""The class of pixels of a segmentation map that teach nothing."""


def image_losses(passes: Passes, images: Tensor, detach_randomised: bool = True) -> dict[str, Tensor]:
    """Return the mean absolute differences of images that must be reproduced, float32 scalars by term.

    reconstruction: of an image from its own content and style. random_reconstruction: of a randomised image from its.
    cross_cycle: of an image from the content of its swapped image and the style of the other one.

    Args:
        passes: of the images.
        images: [B, 3, H, W] in [-1, 1].
        detach_randomised: no gradient flows into the randomised images as targets, which could make them simpler.
    """
    target = passes.randomised.images
    return {
        "reconstruction": l1(passes.autoencoded, images),
        "random_reconstruction": l1(
            passes.random_autoencoded, target.detach() if detach_randomised else target
        ),
        "cross_cycle": l1(passes.cycled, images),
    }


def latent_losses(passes: Passes, drawn: Tensor, detach_styles: bool = False) -> dict[str, Tensor]:
    """Return the mean absolute differences of codes that must be found again, float32 scalars by term.

    content, random_content: of the contents of swapped and randomised images. style, random_style: of their styles.

    Args:
        passes: of the images.
        drawn: [B, style_size], the styles of the randomised images.
        detach_styles: no gradient flows into the styles of the partners as targets.
    """
    partners = passes.partner_styles
    return {
        "content": l1(passes.swapped_codes, passes.codes),
        "random_content": l1(passes.random_codes, passes.codes),
        "style": l1(passes.swapped_styles, partners.detach() if detach_styles else partners),
        "random_style": l1(passes.random_styles, drawn),
    }


def segmentation_loss(predicted: Tensor, maps: Tensor, colours: bool = False) -> Tensor:
    """Return how far predicted segmentation maps are from those of the images, a float32 scalar.

    The mean over the known pixels, 0 without any, of the cross-entropy or of the absolute difference of colours.

    Args:
        predicted: [B, K, H, W] logits of K classes, or [B, 3, H, W] coloured maps in [-1, 1].
        maps: [B, H, W] integer classes, `IGNORED` where nothing is known.
        colours: whether predicted maps are coloured, to be like `palette.painted`.
    """
    known = maps != IGNORED
    count = known.sum().clamp(min=1)
    if colours:
        off = (predicted.float() - painted(maps)).abs().mean(1)
        return (off * known).sum() / count
    return F.cross_entropy(predicted.float(), maps.long(), ignore_index=IGNORED, reduction="sum") / count


@full_precision
def style_distribution_loss(pool: Tensor) -> Tensor:
    """Return how far styles are from N(0, I), a scalar: without it none could be drawn at random.

    `sum |mu| + sum |Sigma - I| + sum |diag(Sigma) - 1|` with the mean mu and the unbiased covariance Sigma of the pool;
    the diagonal counts twice.

    Args:
        pool: [N, style_size], at least two styles; see `StylePool`.

    Raises:
        UserError: fewer styles.
    """
    if len(pool) < 2:
        raise UserError(
            f"the distribution of {len(pool)} style cannot be measured; expected at least 2: raise data.batch_size"
        )
    mean = pool.mean(0)
    centred = pool - mean
    covariance = centred.T @ centred / (len(pool) - 1)
    identity = torch.eye(pool.shape[1], dtype=pool.dtype, device=pool.device)
    return mean.abs().sum() + (covariance - identity).abs().sum() + (covariance.diag() - 1).abs().sum()


def adversarial_loss(verdicts: Verdicts) -> Tensor:
    """Return how unreal generated images are found, by themselves and as images in their style, a float32 scalar.

    The sum of both discriminators' `least_squares_generator_loss`, once for swapped and once for randomised images.
    """
    return least_squares_generator_loss(verdicts.unconditional.scores) + least_squares_generator_loss(
        verdicts.conditional.scores
    )


def discriminators_loss(real: Verdicts, fake: Verdicts) -> Tensor:
    """Return what both discriminators minimise together, a float32 scalar.

    Args:
        real: verdicts on images in their own styles.
        fake: verdicts on generated images in the styles they were generated in, detached from the generator.
    """
    return least_squares_discriminator_loss(
        real.unconditional.scores, fake.unconditional.scores
    ) + least_squares_discriminator_loss(real.conditional.scores, fake.conditional.scores)


def crops_consistency(again: Tensor, stack: Tensor) -> Tensor:
    """Return the mean absolute difference of two stacks [B, 3 f^2, h, w], a float32 scalar.

    For images without a truth: the crops of the enhanced image must be those that it was made of. The outermost rows
    and columns do not count, where some crops see what is outside.

    Args:
        again: of the crops of the enhanced image.
        stack: what it was made of.
    """
    return l1(again[..., 1:-1, 1:-1], stack[..., 1:-1, 1:-1])


def absolute_feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the mean over feature maps of the mean absolute difference, a float32 scalar (pix2pixHD).

    Args:
        real: feature maps [B, c, h, w] of real images; no gradient flows into them.
        fake: those of the generated images in their place.
    """
    return torch.stack([l1(found, sought.detach()) for sought, found in zip(real, fake, strict=True)]).mean()
