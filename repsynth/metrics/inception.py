"""The Inception of FID and KID: the network of 2015 that TensorFlow's users share, 2048 features of its last pooling.

Inception v3 (Szegedy et al. 2016) as in the frozen graph `inception-2015-12-05`: average pooling inside the blocks
leaves the border out of the mean, and the last block pools by maximum. Names of parts are those of the published
weight file (torch-fidelity's port), so that it loads as it is.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from repsynth import weights as weight_files
from repsynth.metrics.features import Extractor, checksum, tensorflow_bilinear

SIDE = 299
DIMENSIONS = 2048

Step = tuple[str, int, int | tuple[int, int]]
"""Name, channels and kernel of a convolution."""


class Unit(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, padding: bool = True
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        border = (sides[0] // 2, sides[1] // 2) if padding else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, border, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, outputs, h, w]."""
        return F.relu_(self.bn(self.conv(x)))

    def fuse(self) -> None:
        """Fold the normalisation into the convolution: the same function with less to do."""
        assert isinstance(self.bn, nn.BatchNorm2d)
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class Block(nn.ModuleDict):
    """Chains of units side by side, and pooling beside them; the outputs are joined along the channels.

    Args:
        inputs: Channels.
        chains: Each from left to right. A chain that ends in a list of steps splits into them.
        pool: "average" or "max"; keeps the size and goes through the unit `branch_pool` of `pooled` channels.
            "halve" is a maximum over every second pixel, beside chains whose last unit has stride 2.
        pooled: Channels after the pooling.
    """

    def __init__(
        self, inputs: int, chains: Sequence[Sequence[Step | list[Step]]], pool: str, pooled: int = 0
    ) -> None:
        super().__init__()
        self.pool = pool
        self.chains: list[list[list[str]]] = []
        for chain in chains:
            width, stages = inputs, []
            for position, step in enumerate(chain):
                halved = pool == "halve" and position == len(chain) - 1
                parts = step if isinstance(step, list) else [step]
                for name, channels, kernel in parts:
                    self[name] = Unit(width, channels, kernel, 2 if halved else 1, padding=not halved)
                stages.append([name for name, _, _ in parts])
                width = parts[0][1]
            self.chains.append(stages)
        if pooled:
            self["branch_pool"] = Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, h, w], C the sum over chains and pooling."""
        return torch.cat(
            [output for chain in self.chains for output in self._chain(chain, x)] + [self._pooled(x)], 1
        )

    def _chain(self, chain: list[list[str]], x: Tensor) -> list[Tensor]:
        for stage in chain[:-1]:
            x = self[stage[0]](x)
        return [self[name](x) for name in chain[-1]]

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, 2)
        if self.pool == "max":
            return self["branch_pool"](F.max_pool2d(x, 3, 1, 1))
        return self["branch_pool"](F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))


class Inception(nn.Module):
    """[N, 3, 299, 299] float32 in [-1, 1) to [N, 2048] float32."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2, padding=False)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padding=False)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padding=False)
        self.Mixed_5b = _fives(192, 32)
        self.Mixed_5c = _fives(256, 64)
        self.Mixed_5d = _fives(288, 64)
        self.Mixed_6a = Block(
            288,
            [[("branch3x3", 384, 3)], [("branch3x3dbl_1", 64, 1), *_threes("branch3x3dbl", 96, 96)]],
            "halve",
        )
        self.Mixed_6b = _sevens(128)
        self.Mixed_6c = _sevens(160)
        self.Mixed_6d = _sevens(160)
        self.Mixed_6e = _sevens(192)
        self.Mixed_7a = Block(
            768,
            [
                [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)],
                [
                    ("branch7x7x3_1", 192, 1),
                    ("branch7x7x3_2", 192, (1, 7)),
                    ("branch7x7x3_3", 192, (7, 1)),
                    ("branch7x7x3_4", 192, 3),
                ],
            ],
            "halve",
        )
        self.Mixed_7b = _split(1280, "average")
        self.Mixed_7c = _split(2048, "max")

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the last feature maps, [N, 2048]."""
        children = list(self.children())
        for unit in children[:3]:
            x = unit(x)
        x = F.max_pool2d(x, 3, 2)
        for unit in children[3:5]:
            x = unit(x)
        x = F.max_pool2d(x, 3, 2)
        for block in children[5:]:
            x = block(x)
        return x.mean((2, 3))


def inception(weights: str, download: bool, option: str) -> Extractor:
    """Build the extractor from the published weight file.

    Args:
        weights: "auto" or a path.
        download: Whether the file may be fetched.
        option: Name of the option that gives `weights`, for messages.

    Raises:
        UserError: When the file is found nowhere, or does not fit.
    """
    path = weight_files.resolve(weight_files.FILES["inception_fid"], option, weights, download)
    network = Inception()
    # Files of the time before PyTorch 0.4.1 lack counters that only training reads.
    counters = {
        key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")
    }
    weight_files.fill(network, counters | weight_files.load(path, option), path, option)
    return inception_extractor(network)


def inception_extractor(network: Inception) -> Extractor:
    """Make an extractor of a network with its weights; the network is changed (`Unit.fuse`)."""
    network.eval()
    published = checksum(network)
    for unit in network.modules():
        if isinstance(unit, Unit):
            unit.fuse()
    # A third less time on CPUs, mostly in the pooling.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    resize = f"bilinear of TensorFlow 1 to {SIDE} x {SIDE}, no antialiasing"
    return Extractor("inception", network, published, _prepare, DIMENSIONS, resize)


def _prepare(images: Tensor) -> Tensor:
    resized = tensorflow_bilinear(images, SIDE).contiguous(memory_format=torch.channels_last)
    return resized.sub_(128).div_(128)


def _threes(name: str, *channels: int) -> list[Step]:
    """Convolutions of 3 x 3, numbered from 2."""
    return [(f"{name}_{number}", width, 3) for number, width in enumerate(channels, 2)]


def _fives(inputs: int, pooled: int) -> Block:
    chains: list[list[Step | list[Step]]] = [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), *_threes("branch3x3dbl", 96, 96)],
    ]
    return Block(inputs, chains, "average", pooled)


def _sevens(width: int) -> Block:
    across, down = (1, 7), (7, 1)
    chains: list[list[Step | list[Step]]] = [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", width, 1), ("branch7x7_2", width, across), ("branch7x7_3", 192, down)],
        [
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, down),
            ("branch7x7dbl_3", width, across),
            ("branch7x7dbl_4", width, down),
            ("branch7x7dbl_5", 192, across),
        ],
    ]
    return Block(768, chains, "average", 192)


def _split(inputs: int, pool: str) -> Block:
    chains: list[list[Step | list[Step]]] = [
        [("branch1x1", 320, 1)],
        [("branch3x3_1", 384, 1), [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]],
        [
            ("branch3x3dbl_1", 448, 1),
            ("branch3x3dbl_2", 384, 3),
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ],
    ]
    return Block(inputs, chains, pool, 192)
