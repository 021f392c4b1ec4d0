"""Recent styles, from which the distribution of styles is measured: those of a batch are too few."""

import torch
from torch import Tensor, distributed, nn

from repsynth.errors import require_at_least


class StylePool(nn.Module):
    """The last styles of earlier steps, first in, first out; a part of the checkpoint.

    Args:
        style_size: numbers of a style.
        length: how many styles are kept; the official one is not known.

    Raises:
        UserError: a negative length.
    """

    def __init__(self, style_size: int, length: int = 64) -> None:
        super().__init__()
        require_at_least("model", 0, style_pool_length=length)
        self.register_buffer("kept", torch.zeros(length, style_size))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.kept: Tensor
        self.seen: Tensor

    def with_current(self, styles: Tensor) -> Tensor:
        """Return current styles [B, style_size], with their gradient, and after them the kept ones without."""
        count = min(int(self.seen), len(self.kept))
        return torch.cat((styles.float(), self.kept[:count]))

    @torch.no_grad()
    def remember(self, styles: Tensor) -> None:
        """Put styles [B, style_size] in the place of the oldest ones."""
        length = len(self.kept)
        last = styles[max(len(styles) - length, 0) :].detach().float()
        if len(last):
            start = int(self.seen) + len(styles) - len(last)
            places = (start + torch.arange(len(last), device=self.kept.device)) % length
            self.kept[places] = last
        self.seen += len(styles)


def gathered(styles: Tensor) -> Tensor:
    """Return the styles [R B, style_size] of all R ranks, in their order; every rank must have as many.

    The gradient flows into the own ones only, R times as large: averaged over ranks, as DDP does, it is that of one
    process with all images. Outside of a group of processes the styles themselves.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return styles
    ranks = distributed.get_world_size()
    parts = [torch.empty_like(styles) for _ in range(ranks)]
    distributed.all_gather(parts, styles.detach().contiguous())
    parts[distributed.get_rank()] = styles.detach() + ranks * (styles - styles.detach())
    return torch.cat(parts)
