"""What figures of whole sets see of an image: its 8-bit form, turned into features by a frozen network."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from repsynth.errors import UserError

QUANTISATION = "8 bits: clamped to [0, 1], times 255, rounded to the nearest"
"""How images become bytes, for reports: as if they had been saved as PNG, as published figures are."""


class Extractor(nn.Module):
    """A network and the way to it; frozen, in evaluation mode, in float32 outside autocast, without gradients.

    Attributes:
        name: For reports; "random" for the stand-in.
        checksum: Of the weights, see `checksum`.
        dimensions: D, the number of features of an image.
        resize: How an image reaches the size of the network, for reports.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,  # [N, 3, h, w] float32 as `prepare` makes it -> [N, D]
        checksum: str,  # of the weights as they were published
        prepare: Callable[[Tensor], Tensor],  # [N, 3, H, W] float32 in [0, 255] -> what the network takes
        dimensions: int,
        resize: str,
        smallest: int = 1,  # pixels that a side must have
    ) -> None:
        super().__init__()
        self.name = name
        self.checksum = checksum
        self.dimensions = dimensions
        self.resize = resize
        self.smallest = smallest
        self.network = network
        self._prepare = prepare
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images, [N, D] float32.

        Args:
            images: [N, 3, H, W] uint8.

        Raises:
            UserError: When a side is too small for the network.
        """
        if min(images.shape[-2:]) < self.smallest:
            raise UserError(
                f"the extractor '{self.name}' of set figures needs sides of at least {self.smallest} pixels, but gets "
                f"{list(images.shape)}: evaluate larger images or leave set figures out of metrics"
            )
        with exact_float32(images.device):
            features: Tensor = self.network(self._prepare(images.float()))
        return features


def checksum(network: nn.Module) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of all weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()[:16]


def quantised(images: Tensor, ids: list[str]) -> Tensor:
    """Turn images into bytes as `QUANTISATION` says.

    Args:
        images: [N, 3, H, W] uint8 (kept), or of any floating type, in [0, 1] but for overshoot.
        ids: N, for the message.

    Returns:
        [N, 3, H, W] uint8.

    Raises:
        UserError: Naming the first image with a value that is not finite.
    """
    if images.dtype == torch.uint8:
        return images
    images = images.float()
    finite = images.isfinite().flatten(1).all(1)
    if not finite.all():
        bad = ids[int(finite.logical_not().nonzero()[0])]
        raise UserError(
            f"evaluation image {bad} holds values that are not finite (NaN or infinity), expected [0, 1]: set figures "
            "of it mean nothing; evaluate a checkpoint from before the training diverged"
        )
    return images.clamp(0, 1).mul(255).round().byte()


def tensorflow_bilinear(images: Tensor, side: int) -> Tensor:
    """Resize to a square as TensorFlow 1 did, on which all published figures stand: no antialiasing.

    Output pixel i sits at i * input / output (corners, not centres, coincide) and mixes the two pixels around it.

    Args:
        images: [N, C, H, W] float32.
        side: of the result, pixels.

    Returns:
        [N, C, side, side] float32.
    """
    return _resize_line(_resize_line(images, side, -1), side, -2)


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32 with all its bits: no autocast, no TF32, no bfloat16 products, whatever the run has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        # cuDNN rounds the inputs of float32 convolutions to ten bits unless told not to.
        with (
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _resize_line(images: Tensor, side: int, axis: int) -> Tensor:
    length = images.shape[axis]
    # TensorFlow computes the places in float32.
    places = torch.arange(side, dtype=torch.float32, device=images.device) * (length / side)
    first = places.long().clamp_max(length - 1)
    share = (places - first).reshape([-1] + [1] * (-axis - 1))
    low = images.index_select(axis, first)
    return low.lerp_(images.index_select(axis, (first + 1).clamp_max(length - 1)), share)
