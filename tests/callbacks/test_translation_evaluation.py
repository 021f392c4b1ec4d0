from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from callbacks.image_sets import means, report, trainer_in
from repsynth.callbacks.evaluation import Evaluation
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from repsynth.metrics.inception_score import conditional_inception_score, inception_score
from repsynth.metrics.translation_scores import TranslationMetric, TranslationOptions, TranslationScores

OFFLINE = TranslationOptions(vgg_weights="random", classifier="random", classifier_size=32)
METRICS: tuple[TranslationMetric, ...] = ("dipd", "is", "cis")
PHOTOGRAPHS, STYLES = 5, 3


def picture(seed: int) -> Tensor:
    """[3, 32, 32] uint8, smooth."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic")[0]
    return fine.clamp(0, 1).mul(255).round().byte()


class _Pairs(Dataset[dict[str, Any]]):
    def __init__(self, styles: int) -> None:
        self.styles = styles

    def __len__(self) -> int:
        return PHOTOGRAPHS * self.styles

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        # The order of ids is not that of the set.
        style, photograph = divmod(key.index, PHOTOGRAPHS)
        light = picture(100 + key.index).float().mean((1, 2), keepdim=True) / 255
        return {"ids": f"{photograph}/{style}", "photographs": picture(photograph), "lights": light}


class Translations(DataModule):
    image_size = (32, 32)

    def __init__(self, styles: int = STYLES, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.styles = styles

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return _Pairs(self.styles)


class Translator(pl.LightningModule):
    """Photographs in coloured light."""

    def __init__(self, inputs: bool = True, truth: bool = False) -> None:
        super().__init__()
        self.inputs, self.truth = inputs, truth

    def test_step(self, batch: dict[str, Any], index: int) -> dict[str, Any]:
        made = (batch["photographs"] * 2 * batch["lights"]).clamp(0, 1)
        found = {"ids": batch["ids"], "predicted" if self.truth else "generated": made}
        found |= {"expected": batch["photographs"]} if self.truth else {}
        return found | ({"inputs": batch["photographs"]} if self.inputs else {})


def run_test(
    root: Path,
    metrics: Any = METRICS,  # noqa: ANN401
    batch: int = 4,
    model: Any = None,  # noqa: ANN401
    data: Any = None,  # noqa: ANN401
    **trainer: Any,  # noqa: ANN401
) -> None:
    evaluation = Evaluation(metrics, translations=OFFLINE)
    data = data or Translations(eval_batch_size=batch)
    trainer_in(root, evaluation, **trainer).test(model or Translator(), data, verbose=False)


def evaluated(root: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """The report of a test."""
    run_test(root, *arguments, **options)
    return report(root, "test")


def directly() -> dict[str, float]:
    """Without Lightning and batches."""
    scores = TranslationScores(METRICS, OFFLINE)
    items = [_Pairs(STYLES)[SampleKey(0, index)] for index in range(PHOTOGRAPHS * STYLES)]
    photographs = torch.stack([item["photographs"] for item in items]) / 255
    made = (photographs * 2 * torch.stack([item["lights"] for item in items])).clamp(0, 1)
    quantised = made.mul(255).round().byte()
    assert scores.dipd is not None and scores.classifier is not None
    said = scores.classifier(quantised).double().softmax(1).numpy()
    distances = scores.dipd(photographs, quantised / 255)
    return {
        "dipd_random": float(distances.double().mean()),
        "is_random": inception_score(said),
        "cis_random": conditional_inception_score(said, [item["ids"][0] for item in items]),
    }


@pytest.mark.parametrize("batch", [1, 4, 15])
def test_figures_are_those_of_the_set_for_any_batch(batch: int, tmp_path: Path) -> None:
    found = evaluated(tmp_path, batch=batch)
    assert means(found) == pytest.approx(directly(), rel=1e-5)
    assert found["count"] == PHOTOGRAPHS * STYLES
    assert found["settings"]["cis_random"]["classes"] == 4
    assert found["settings"]["dipd_random"]["network"] == "vgg16 relu5_3"
    assert found["figures"]["dipd_random"]["std"] > 0


def test_beside_figures_of_pairs_and_sets(tmp_path: Path) -> None:
    found = evaluated(tmp_path, ["psnr", "dipd"], model=Translator(truth=True))
    assert list(found["figures"]) == ["psnr", "dipd_random"]
    assert means(found)["dipd_random"] == pytest.approx(directly()["dipd_random"], rel=1e-5)
    assert found["settings"].keys() == {"psnr", "dipd_random"}


@pytest.mark.parametrize(
    ("metrics", "model", "data", "sentence"),
    [
        (
            ["dipd"],
            Translator(inputs=False),
            None,
            r"step of Translator returned no inputs of the size of its images",
        ),
        (
            ["cis"],
            None,
            Translations(styles=1),
            r"cis compares translations of one photograph, but each of 5 images",
        ),
    ],
)
def test_what_is_missing(metrics: list[Any], model: Any, data: Any, sentence: str, tmp_path: Path) -> None:  # noqa: ANN401
    with pytest.raises(UserError, match=sentence):
        evaluated(tmp_path, metrics, model=model, data=data)


def test_a_classifier_is_needed() -> None:
    with pytest.raises(
        UserError, match=r"metrics is and cis need a classifier; give its path as translations\.class"
    ):
        TranslationScores(["is"], TranslationOptions())
    with pytest.raises(UserError, match=r"translations\.classifier_size is 0; expected at least 1"):
        TranslationOptions(classifier_size=0)


def test_images_that_are_no_numbers() -> None:
    scores = TranslationScores(["is"], OFFLINE)
    broken = torch.full((1, 3, 32, 32), float(np.nan))
    with pytest.raises(UserError, match=r"evaluation image a/b holds values that are not finite"):
        scores(["a/b"], broken, None)
