"""The fine detail of a photo in the light of its translation at a smaller size: a guided filter (He et al. 2013).

Around every pixel the translation is an affine function of the photo's three colours; fitted at the small size and
applied to the photo at its own, it keeps every detail of the photo (fast guided filter, He and Sun 2015).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 4
"""Of the windows, in pixels of a translation at the working size."""


@torch.no_grad()
def with_detail(
    photo: Tensor,
    reduced: Tensor,
    translation: Tensor,
    radius: int = RADIUS,
    epsilon: float = 1e-4,
    rows_at_once: int = 256,
) -> Tensor:
    """Return the photo in the light of a translation of its reduced image, [3, H, W] float32 in [0, 1].

    Args:
        photo: [3, H, W], uint8 or float in [0, 1].
        reduced: [3, h, w] in [0, 1], the photo as it was translated.
        translation: [3, h, w] in [0, 1].
        radius: of the square windows, in pixels of the small size; windows that see no more than blur give blur.
        epsilon: added to the variances of colours; contrasts below its root are smoothed.
        rows_at_once: rows of the result computed at a time.
    """
    matrices, shifts = _fitted(reduced.double(), translation.double(), radius, epsilon)
    coefficients = torch.cat((matrices.flatten(0, 1), shifts)).float()
    height, width = photo.shape[1:]
    result = torch.empty(3, height, width, device=photo.device)
    for start in range(0, height, rows_at_once):
        rows = photo[:, start : start + rows_at_once]
        unit = rows.float().div(255) if photo.dtype == torch.uint8 else rows.float()
        own = _enlarged(coefficients, start, start + rows.shape[1], height, width)
        matrix, shift = own[:9].unflatten(0, (3, 3)), own[9:]
        result[:, start : start + rows_at_once] = torch.einsum("oihw,ihw->ohw", matrix, unit).add_(shift)
    return result.clamp_(0, 1)


def _fitted(guide: Tensor, target: Tensor, radius: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Matrices [3 (target), 3 (guide), h, w] and shifts [3, h, w], averaged over the windows that hold a pixel."""
    mean_guide, mean_target = _box(guide, radius), _box(target, radius)
    squares = _covariance(guide, guide, mean_guide, mean_guide, radius)
    products = _covariance(target, guide, mean_target, mean_guide, radius)
    squares += epsilon * torch.eye(3, dtype=guide.dtype, device=guide.device)[:, :, None, None]
    matrices = torch.linalg.solve(squares.permute(2, 3, 0, 1), products.permute(2, 3, 1, 0))
    matrices = matrices.permute(3, 2, 0, 1)
    shifts = mean_target - torch.einsum("oihw,ihw->ohw", matrices, mean_guide)
    return _box(matrices.flatten(0, 1), radius).unflatten(0, (3, 3)), _box(shifts, radius)


def _covariance(x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor, radius: int) -> Tensor:
    """Covariances [3 (x), 3 (y), h, w] of colours in the window around every pixel."""
    products = _box((x[:, None] * y).flatten(0, 1), radius).unflatten(0, (3, 3))
    return products - mean_x[:, None] * mean_y


def _box(x: Tensor, radius: int) -> Tensor:
    """Mean of x [C, h, w] over the part of a square window that is inside of the image."""
    for window, margin in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        x = F.avg_pool2d(x, window, stride=1, padding=margin, count_include_pad=False)
    return x


def _enlarged(coefficients: Tensor, start: int, stop: int, height: int, width: int) -> Tensor:
    """Rows start to stop of coefficients [C, h, w] enlarged bilinearly to (height, width)."""
    small = coefficients.shape[1]
    places = ((torch.arange(start, stop, device=coefficients.device) + 0.5) * small / height - 0.5).clamp(
        0, small - 1
    )
    above = places.floor().long().clamp(max=max(small - 2, 0))
    below = (above + 1).clamp(max=small - 1)
    rows = torch.lerp(coefficients[:, above], coefficients[:, below], (places - above)[:, None])
    return F.interpolate(rows[None], (stop - start, width), mode="bilinear", align_corners=False)[0]
