"""Speed of set figures: images per second of the feature pass, seconds of the final figures, and their accuracy.

`python benchmarks/set_metrics.py [--images 64] [--batch 16] [--rounds 3]` prints two tables. The feature pass runs each
extractor with weights that take as long as the published ones, beside torchvision's Inception in the plain form. The
distance of FID runs in turn with torchmetrics' on the same moments, and both are compared with scipy in float64. No
weight file is needed.
"""

import argparse
import platform
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from measure import Measurement, side_by_side
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchvision.models import inception_v3

from repsynth.metrics.features import Extractor, exact_float32, tensorflow_bilinear
from repsynth.metrics.frechet import Moments, frechet_distance
from repsynth.metrics.inception import Inception, inception_extractor
from repsynth.metrics.kernel_distance import kernel_distances
from repsynth.metrics.precision_recall import ball_radii, share_inside
from repsynth.metrics.random_features import random_extractor
from repsynth.metrics.vgg16 import vgg16_extractor, vgg16_network

DIMENSIONS = 2048


def extractors(device: torch.device) -> dict[str, Extractor]:
    torch.manual_seed(0)
    network = vgg16_network()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    built = [inception_extractor(Inception()), vgg16_extractor(network), random_extractor()]
    return {extractor.name: extractor.to(device) for extractor in built}


def feature_pass(images: Tensor, batch: int, rounds: int) -> dict[str, float]:
    """Images per second, by extractor: from bytes on the device to sums of moments there."""
    plain = inception_v3(weights=None, init_weights=False, transform_input=False).eval().to(images.device)

    def torchvision_features(part: Tensor) -> Tensor:
        with torch.no_grad(), exact_float32(images.device):
            return plain(tensorflow_bilinear(part.float(), 299) / 128 - 1)

    def work(features: Callable[[Tensor], Tensor], dimensions: int) -> Callable[[], object]:
        def run() -> None:
            moments = Moments.none(dimensions, images.device)
            for part in images.split(batch):
                moments.add(features(part))

        return run

    works = {name: work(each, each.dimensions) for name, each in extractors(images.device).items()}
    works["inception, torchvision's layers"] = work(torchvision_features, 1000)
    return {name: len(images) / taken.median for name, taken in side_by_side(works, rounds).items()}


def features_like_published(count: int, seed: int) -> Tensor:
    """[count, 2048] float32: rectified and correlated, variances over several orders."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(DIMENSIONS, DIMENSIONS, generator=torch.Generator().manual_seed(9)) / DIMENSIONS**0.5
    scale = torch.linspace(-4, 0.5, DIMENSIONS).exp()
    drawn = torch.randn(count, DIMENSIONS, generator=generator) * scale
    return (drawn @ mixing + 0.3 + 0.02 * seed).relu()


def moments_of(features: Tensor) -> Moments:
    moments = Moments.none(features.shape[1])
    moments.add(features)
    return moments


def by_scipy(first: Tensor, second: Tensor) -> float:
    x, y = first.double().numpy(), second.double().numpy()
    cx, cy = np.cov(x.T), np.cov(y.T)
    trace = np.trace(scipy.linalg.sqrtm(cx @ cy).real)
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(cx) + np.trace(cy) - 2 * trace)


def distances(rounds: int) -> None:
    """Print time and accuracy of the last step of FID."""
    x, y = features_like_published(5000, 1), features_like_published(5000, 2)
    first, second = moments_of(x), moments_of(y)
    sums = (first.mean, first.covariance, second.mean, second.covariance)
    works: dict[str, Callable[[], object]] = {
        "repsynth": lambda: frechet_distance(first, second),
        "torchmetrics": lambda: _compute_fid(*sums),
    }
    taken = side_by_side(works, rounds)
    reference = by_scipy(x, y)
    found = {"repsynth": frechet_distance(first, second), "torchmetrics": _compute_fid(*sums).item()}
    print(f"\nFID of {DIMENSIONS} dimensions in float64 (scipy: {reference:.9f})\n")
    print("| | seconds | relative error |\n|---|---|---|")
    for name, measured in taken.items():
        print(f"| {name} | {shown(measured)} | {abs(found[name] / reference - 1):.1e} |")
    print(f"\nshare of torchmetrics' time: {taken['repsynth'].median / taken['torchmetrics'].median:.2f}")


def pairs(rounds: int) -> None:
    """Print the time of figures that compare pairs, at a tenth of the published number of images."""
    x, y = features_like_published(5000, 1), features_like_published(5000, 2)
    works: dict[str, Callable[[], object]] = {
        "KID, 10 subsets of 1000": lambda: kernel_distances(x, y, 10, 1000),
        "precision of 5000 images": lambda: share_inside(y, x, ball_radii(x, 3)),
    }
    print("\n| figure of pairs | seconds |\n|---|---|")
    for name, measured in side_by_side(works, rounds).items():
        print(f"| {name} | {shown(measured)} |")


def shown(measured: Measurement) -> str:
    return f"{measured.median:.2f} ({measured.best:.2f} to {measured.worst:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64, help="of 256 x 256 in the feature pass")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    )
    print(
        f"torch {torch.__version__}, {name}, {torch.get_num_threads()} CPU threads, {options.rounds} rounds\n"
    )
    images = torch.randint(256, (options.images, 3, 256, 256), dtype=torch.uint8, device=device)
    print("| extractor | images per second (256 x 256, float32) |\n|---|---|")
    for extractor, speed in feature_pass(images, options.batch, options.rounds).items():
        print(f"| {extractor} | {speed:.1f} |")
    pairs(options.rounds)
    distances(options.rounds)


if __name__ == "__main__":
    main()
