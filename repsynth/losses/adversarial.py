"""Losses of generative adversarial training: scores of a critic, gradient penalty, feature matching.

D(x) is what a critic answers to an image: real numbers, large for images that it takes for real. A critic of several
scales answers with one map of scores per scale; every scale counts alike, and every score of a scale.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.precision import widened

AdversarialForm = Literal["logistic", "hinge"]
"""logistic: the non-saturating loss of Goodfellow et al. 2014. hinge: of Lim and Ye 2017."""


def discriminator_loss(
    real: Sequence[Tensor], fake: Sequence[Tensor], form: AdversarialForm = "logistic"
) -> Tensor:
    """Return what a critic minimises, a float32 scalar.

    logistic: `mean(softplus(-D(real))) + mean(softplus(D(fake)))`.
    hinge: `mean(relu(1 - D(real))) + mean(relu(1 + D(fake)))`.

    Args:
        real: scores of real images, one tensor of any shape per scale.
        fake: scores of generated images, as many.
        form: see `AdversarialForm`.
    """
    if form == "hinge":
        return _mean([F.relu(1 - scores.float()) for scores in real]) + _mean(
            [F.relu(1 + scores.float()) for scores in fake]
        )
    return _mean([F.softplus(-scores.float()) for scores in real]) + _mean(
        [F.softplus(scores.float()) for scores in fake]
    )


def generator_loss(fake: Sequence[Tensor], form: AdversarialForm = "logistic") -> Tensor:
    """Return what a generator minimises, a float32 scalar.

    logistic: `mean(softplus(-D(fake)))`, whose gradient does not fade while the critic is right.
    hinge: `-mean(D(fake))`.

    Args:
        fake: scores of generated images, one tensor of any shape per scale.
        form: see `AdversarialForm`.
    """
    if form == "hinge":
        return -_mean([scores.float() for scores in fake])
    return _mean([F.softplus(-scores.float()) for scores in fake])


def r1_penalty(critic: Callable[[Tensor], Sequence[Tensor]], real: Tensor) -> Tensor:
    """Return the gradient penalty on real images (Mescheder et al. 2018), a float32 scalar.

    `mean over images of |d(sum of all scores D(image)) / d image|^2`, without the half that some write before it. For a
    penalty at every nth step only ("lazy", Karras et al. 2020), the caller multiplies it by n.

    Computed in float32 outside autocast. The critic must treat every image by itself (no batch norm) and be
    differentiable twice, which a compiled one is not: pass its uncompiled `forward`.

    Args:
        critic: from images to scores, one tensor [B, ...] per scale.
        real: [B, C, H, W]; no gradient flows into it.
    """
    with torch.autocast(real.device.type, enabled=False):
        images = widened(real.detach()).requires_grad_()
        answered = torch.stack([scores.sum() for scores in critic(images)]).sum()
        (gradient,) = torch.autograd.grad(answered, images, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the mean over feature maps of `mean((f(fake) - f(real))^2)`, a float32 scalar.

    Squared error as in the official code of StereoLayers; pix2pixHD, which introduced it, takes the absolute one.

    Args:
        real: feature maps [B, c, h, w] of real images; no gradient flows into them.
        fake: those of the generated images in their place.
    """
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.mse_loss(found.float(), sought.detach().float()) for sought, found in pairs]).mean()


def _mean(maps: Sequence[Tensor]) -> Tensor:
    """Mean over scales of the mean of each."""
    return torch.stack([values.mean() for values in maps]).mean()
