import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from repsynth.errors import UserError
from repsynth.metrics.random_features import random_extractor
from repsynth.metrics.set_scores import SET_METRICS, SetOptions, SetScores
from repsynth.metrics.set_statistics import SetStatistics

OFFLINE = SetOptions(inception_weights="random", vgg_weights="random")
REAL, GENERATED = 180, 151
"""More than dimensions; neither a multiple of the batch sizes."""


def pictures(count: int, seed: int, contrast: float) -> Tensor:
    """Smooth colour fields in [0, 1], with some overshoot."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 4, 5, generator=generator)
    noise = torch.randn(count, 3, 16, 20, generator=generator)
    return 0.5 + contrast * nn.functional.interpolate(coarse, (16, 20), mode="bilinear") + 0.05 * noise


IMAGES = {"real": pictures(REAL, 1, 0.25), "generated": pictures(GENERATED, 2, 0.3)}
IDS = {role: [f"{role} {index}" for index in range(len(images))] for role, images in IMAGES.items()}


@pytest.fixture(scope="module")
def scores() -> SetScores:
    return SetScores(SET_METRICS, OFFLINE)


def seen(scores: SetScores, role: str, batch: int, order: list[int] | None = None) -> SetStatistics:
    statistics = scores.nothing_seen(role)  # type: ignore[arg-type]
    order = order or list(range(len(IDS[role])))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        scores.add(statistics, [IDS[role][row] for row in rows], IMAGES[role][rows])
    return statistics


def figures(scores: SetScores, batch: int = 16, order: list[int] | None = None) -> dict[str, float]:
    found = scores.figures(seen(scores, "real", batch), seen(scores, "generated", batch, order))
    return {name: summary.mean for name, summary in found.items()}


def independent(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """All figures by numpy and scipy in float64."""
    moments = [(x.mean(0), np.cov(x.T)) for x in (real, generated)]
    (m1, c1), (m2, c2) = moments
    fid = np.square(m1 - m2).sum() + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    kernels = [
        (x @ y.T / x.shape[1] + 1) ** 3 for x, y in ((real, real), (generated, generated), (real, generated))
    ]
    others = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    radii = [np.sort(cdist(x, x), 1)[:, 3] for x in (real, generated)]
    distances = cdist(real, generated)
    return {
        "fid_random": fid,
        "kid_random": sum(others) - 2 * kernels[2].mean(),
        "precision_random": (distances <= radii[0][:, None]).any(0).mean(),
        "recall_random": (distances <= radii[1]).any(1).mean(),
    }


def features_alone(role: str) -> np.ndarray:
    """Image by image, quantised with numpy."""
    images = np.round(np.clip(IMAGES[role].numpy(), 0, 1) * np.float32(255)).astype(np.uint8)
    extractor = random_extractor()
    return np.concatenate([extractor(torch.from_numpy(image[None])).double().numpy() for image in images])


@pytest.mark.parametrize("batch", [7, 16, 180])
def test_all_figures_agree_with_an_independent_computation(scores: SetScores, batch: int) -> None:
    expected = independent(features_alone("real"), features_alone("generated"))
    assert 0.02 < expected["recall_random"] < 0.98 and 0.02 < expected["precision_random"] < 0.98
    assert figures(scores, batch) == pytest.approx(expected, rel=1e-5)


def test_the_order_of_images_does_not_matter(scores: SetScores) -> None:
    order = torch.randperm(GENERATED, generator=torch.Generator().manual_seed(3)).tolist()
    assert figures(scores, 16, order) == pytest.approx(figures(scores), rel=1e-8)


class Features(nn.Module):
    """The stand-in as torchmetrics takes it."""

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        self.extractor = random_extractor()

    def forward(self, images: Tensor) -> Tensor:
        return self.extractor(images)


def test_torchmetrics_says_the_same(scores: SetScores) -> None:
    distances = (
        FrechetInceptionDistance(Features()),
        KernelInceptionDistance(Features(), subsets=1, subset_size=GENERATED),
    )
    for role, images in IMAGES.items():
        quantised = images[:GENERATED].clamp(0, 1).mul(255).round().byte()
        for metric in distances:
            metric.update(quantised, real=role == "real")
    real = seen(scores, "real", 16, list(range(GENERATED)))
    found = scores.figures(real, seen(scores, "generated", 16))
    assert found["fid_random"].mean == pytest.approx(distances[0].compute().item(), rel=1e-5)
    assert found["kid_random"].mean == pytest.approx(distances[1].compute()[0].item(), abs=2e-6)


def test_identical_sets(scores: SetScores) -> None:
    real = seen(scores, "real", 16)
    found = {name: summary.mean for name, summary in scores.figures(real, real).items()}
    moments = real.features["random"].moments
    assert moments is not None
    assert 0 <= found["fid_random"] < 1e-7 * moments.covariance.trace().item()
    assert found["precision_random"] == found["recall_random"] == 1
    assert -1e-3 < found["kid_random"] < 0


def test_kept_features_are_bounded_and_figures_of_pairs_stand_on_them() -> None:
    few = SetScores(SET_METRICS, replace(OFFLINE, kid_samples=60, kid_subset_size=20, manifold_samples=40))
    real, generated = seen(few, "real", 16), seen(few, "generated", 7)
    pool = real.features["random"].pool
    assert pool is not None and len(pool) == 60
    found = few.figures(real, generated)
    kept = [s.features["random"].kept(40, torch.device("cpu")).double().numpy() for s in (real, generated)]
    expected = independent(*kept)
    assert found["precision_random"].mean == expected["precision_random"]
    assert found["recall_random"].mean == expected["recall_random"]
    assert found["kid_random"].std is not None
    settings = few.settings(real, generated)
    assert settings["kid_random"]["subsets"] == 100 and settings["kid_random"]["subset_size"] == 20
    assert (settings["kid_random"]["real"], settings["precision_random"]["generated"]) == (60, 40)
    assert (settings["fid_random"]["real"], settings["fid_random"]["generated"]) == (REAL, GENERATED)
    only_fid = SetScores(["fid"], OFFLINE).nothing_seen("real").features["random"]
    assert (
        only_fid.pool is None
        and SetScores(["kid"], OFFLINE).nothing_seen("real").features["random"].moments is None
    )


def test_settings_say_how_to_repeat_a_figure(scores: SetScores) -> None:
    settings = scores.settings(seen(scores, "real", 16), seen(scores, "generated", 16))
    about = {
        "extractor": "random",
        "weights_sha256": random_extractor().checksum,
        "dimensions": 128,
        "resize": "none",
        "quantisation": "8 bits: clamped to [0, 1], times 255, rounded to the nearest",
    }
    counts = {"real": REAL, "generated": GENERATED}
    assert settings["fid_random"] == about | counts
    assert settings["kid_random"] == about | counts | {"subsets": 1, "subset_size": "all"}
    assert settings["recall_random"] == about | counts | {"neighbours": 3}


def test_statistics_survive_their_file_and_damage_is_noticed(scores: SetScores, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    real, generated = seen(scores, "real", 16), seen(scores, "generated", 16)
    with path.open("wb") as file:
        real.write(file)
    again = SetStatistics.read(path)
    assert again is not None and (again.count, again.size) == (REAL, (16, 20))
    assert scores.figures(again, generated) == scores.figures(real, generated)
    content = path.read_bytes()
    for place in range(100, len(content), len(content) // 20):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        found = SetStatistics.read(path)
        assert found is None or scores.figures(found, generated) == scores.figures(real, generated)
        path.write_bytes(content[:place])
        assert SetStatistics.read(path) is None
    path.unlink()
    assert SetStatistics.read(path) is None


def test_what_is_cached_depends_on_extractor_and_options(scores: SetScores) -> None:
    words = {
        str(SetScores(metrics, options).cache_words())
        for metrics, options in (
            (SET_METRICS, OFFLINE),
            (["fid"], OFFLINE),
            (["kid"], OFFLINE),
            (["kid"], replace(OFFLINE, kid_samples=2000)),
        )
    }
    assert len(words) == 4
    assert random_extractor().checksum in str(scores.cache_words())


# Mistakes.


def test_images_of_another_size_are_refused(scores: SetScores) -> None:
    statistics = scores.nothing_seen("generated")
    scores.add(statistics, ["a"], torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError) as raised:
        scores.add(statistics, ["b"], torch.rand(1, 3, 16, 17))
    assert str(raised.value) == (
        "evaluation images have 16 x 16 and 16 x 17 pixels (height x width): set figures take images of one size; give "
        "the data module an image_size"
    )
    with pytest.raises(UserError) as raised:
        scores.figures(seen(scores, "real", 16), statistics)
    assert str(raised.value) == (
        "generated images are 16 x 16 and real ones 16 x 20 (height x width): set figures compare images of one size; "
        "give the data module the size that the model generates"
    )


def test_repeated_ids_are_refused(scores: SetScores) -> None:
    statistics = scores.nothing_seen("generated")
    for _ in range(2):
        scores.add(statistics, ["a"], torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match=r"evaluation got 1 sample ids more than once \(a\)"):
        statistics.joined()
    with pytest.raises(UserError, match="the evaluation set is empty"):
        scores.nothing_seen("real").joined()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kid_subsets": 0}, "sets.kid_subsets is 0; expected at least 1"),
        ({"kid_subset_size": 1}, "sets.kid_subset_size is 1; expected at least 2"),
        ({"kid_samples": 999}, "sets.kid_samples is 999; expected at least 1000"),
        ({"neighbours": 0}, "sets.neighbours is 0; expected at least 1"),
        ({"manifold_samples": 3}, "sets.manifold_samples is 3; expected at least 4"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        SetOptions(**options)
    assert str(raised.value) == sentence


def test_names_tell_stand_ins_apart_from_published_networks() -> None:
    assert SetScores(["recall", "fid"], OFFLINE).names == ["recall_random", "fid_random"]
    assert not math.isnan(figures(SetScores(["kid"], OFFLINE))["kid_random"])
