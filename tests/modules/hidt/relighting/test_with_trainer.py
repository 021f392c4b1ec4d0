"""`Trainer.predict` with the files that it leaves, as `repsynth predict` runs it."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.errors import UserError
from repsynth.modules.hidt.detail import RADIUS, with_detail
from repsynth.modules.hidt.enhancement import enhanced_translations
from repsynth.modules.hidt.preparation import picture, prepared, resized
from repsynth.modules.hidt.relighting.options import StyleOptions, TimelapseOptions
from repsynth.modules.hidt.styles import style_path
from repsynth.modules.hidt.translation import style_of, tiled_translation

from ..tiny import photo
from .helpers import SMALL, folders, options, pixels_of, run, save, written


def test_a_folder_in_the_styles_of_a_folder(tmp_path: Path) -> None:
    data = folders(tmp_path)
    method = run(tmp_path, options(), data)
    assert written(tmp_path) == [f"c{c}_to_s{s}.png" for c in range(2) for s in range(2)]
    content, style = (pixels_of(tmp_path / name) for name in ("content/c1.png", "style/s0.png"))
    code = style_of(method.generator, [style], SMALL)
    image = (method.generator(prepared(content, SMALL)[None], code[None]).images[0].detach() + 1) / 2
    expected = picture(image, content.shape[1:])
    found = pixels_of(tmp_path / "predictions" / "c1_to_s0.png")
    assert found.shape == content.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_mean_of_a_folder_with_weights(tmp_path: Path) -> None:
    data = folders(tmp_path, contents=1)
    weighted = run(tmp_path, options(styles=StyleOptions("mean", weights=(3, 1))), data)
    assert written(tmp_path) == ["c0_to_style.png"]
    styles = [style_of(weighted.generator, [one], SMALL) for one in data.style_photos()]
    assert weighted.styles is not None
    torch.testing.assert_close(weighted.styles.values[0], (3 * styles[0] + styles[1]) / 4)


@pytest.mark.parametrize(
    ("styles", "names"),
    [
        (StyleOptions("named", file="released", names=("night", "day")), ["night", "day"]),
        (StyleOptions("random", count=2, seed=5), ["random5_0", "random5_1"]),
    ],
)
def test_styles_without_photographs(styles: StyleOptions, names: list[str], tmp_path: Path) -> None:
    run(tmp_path, options(styles=styles), folders(tmp_path, contents=1, styles=0))
    assert written(tmp_path) == sorted(f"c0_to_{name}.png" for name in names)


def test_autoencoding(tmp_path: Path) -> None:
    method = run(tmp_path, options(styles=StyleOptions("own"), size="network"), folders(tmp_path, 1, 0))
    assert written(tmp_path) == ["c0_autoencoded.png"]
    content = prepared(pixels_of(tmp_path / "content" / "c0.png"), SMALL)[None]
    image = method.generator(content, method.generator.encode_style(content)).images[0].detach()
    found = pixels_of(tmp_path / "predictions" / "c0_autoencoded.png")
    assert found.shape == (3, 32, 48)
    assert np.abs(found.astype(int) - picture((image + 1) / 2)).max() <= 1


@pytest.mark.parametrize("resolution", ["plain", "enhanced"])
def test_a_timelapse_encodes_the_photograph_once(
    resolution: Any,  # noqa: ANN401
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from repsynth.modules.hidt.generator import HiDTGenerator

    encoded = []
    original = HiDTGenerator.encode_content
    monkeypatch.setattr(
        HiDTGenerator,
        "encode_content",
        lambda self, x, *rest: encoded.append(len(x)) or original(self, x, *rest),
    )
    way = TimelapseOptions(frames=6, timing="eased", curve="spherical")
    made = options(task="timelapse", timelapse=way, resolution=resolution, size="network")
    method = run(tmp_path, made, folders(tmp_path, 1, 3))
    name = f"c0_timelapse{'_enhanced' if resolution == 'enhanced' else ''}.mp4"
    assert written(tmp_path) == [name]
    assert sum(encoded) == (1 if resolution == "plain" else 4)
    with av.open(str(tmp_path / "predictions" / name)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 6
    assert method.styles is not None
    path = style_path(method.styles.values, 6, "spherical", "eased")
    content = pixels_of(tmp_path / "content" / "c0.png")
    if resolution == "plain":
        last = method.generator(prepared(content, SMALL)[None], path[-1:]).images[0].detach()
        last = (last + 1) / 2
    else:
        assert method.enhancer is not None
        (last,) = enhanced_translations(method.generator, method.enhancer, content, path[-1:], SMALL)
    assert frames[-1].shape[:2] == last.shape[1:]
    # The video keeps colours at half the resolution.
    assert np.abs(frames[-1].mean((0, 1)) - 255 * last.mean((1, 2)).numpy()).max() < 3


def test_a_timelapse_from_the_photographs_own_light(tmp_path: Path) -> None:
    way = TimelapseOptions(frames=2, from_own=True)
    run(tmp_path, options(task="timelapse", timelapse=way), folders(tmp_path, 1, 1))
    assert written(tmp_path) == ["c0_timelapse.mp4"]
    with pytest.raises(
        UserError, match=r"timelapse with 1 style; expected at least 2 to pass through, or .*from_own"
    ):
        run(tmp_path, options(task="timelapse"), folders(tmp_path, 1, 1))


def test_enhanced_and_tiled_pictures_have_the_size_of_the_photograph(tmp_path: Path) -> None:
    data = folders(tmp_path, 1, 1)
    content, style = pixels_of(tmp_path / "content" / "c0.png"), pixels_of(tmp_path / "style" / "s0.png")
    method = run(tmp_path, options(resolution="enhanced"), data)
    code = style_of(method.generator, [style], SMALL)[None]
    assert method.enhancer is not None
    (image,) = enhanced_translations(method.generator, method.enhancer, content, code, SMALL)
    found = pixels_of(tmp_path / "predictions" / "c0_to_s0_enhanced.png")
    assert np.abs(found.astype(int) - picture(image, content.shape[1:])).max() <= 1
    run(tmp_path, options(resolution="tiled"), data)
    expected = tiled_translation(method.generator, content, code[0], SMALL)
    found = pixels_of(tmp_path / "predictions" / "c0_to_s0_tiled.png")
    assert np.abs(found.astype(int) - picture(expected)).max() <= 1


def test_sizes(tmp_path: Path) -> None:
    data = folders(tmp_path, 1, 1)
    for size, expected in ((20, (3, 20, 30)), ("network", (3, 32, 48)), ("photo", (3, 40, 61))):
        run(tmp_path, options(size=size), data)
        assert pixels_of(tmp_path / "predictions" / "c0_to_s0.png").shape == expected


def test_detail_of_the_photograph(tmp_path: Path) -> None:
    """Fine stripes, which a small translation cannot have."""
    content = photo(160, 240)
    content[:, ::2] = (content[:, ::2] * 0.7).astype(np.uint8)
    data = folders(tmp_path, 1, 1)
    save(content, tmp_path / "content" / "c0.png")
    data.check("predict")
    run(tmp_path, options(), data)
    run(tmp_path, options(detail=True), data)

    def stripes(name: str) -> float:
        found = pixels_of(tmp_path / "predictions" / name).astype(float)
        return float(np.abs(found[:, 1:] - found[:, :-1]).mean())

    assert stripes("c0_to_s0_detail.png") > 3 * stripes("c0_to_s0.png")


def test_large_photographs_make_videos_that_players_show(tmp_path: Path) -> None:
    from repsynth.modules.hidt.relighting.pictures import output_size

    made = options(task="timelapse")
    assert output_size((3000, 4000), (32, 48), made) == (2880, 3840)
    assert output_size((3000, 4000), (32, 48), options()) == (3000, 4000)
    assert output_size((300, 400), (32, 48), made) == (300, 400)


def test_images_with_partners(tmp_path: Path) -> None:
    """What synthetic data give to predict."""
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    class Pairs(pl.LightningDataModule):
        def predict_dataloader(self) -> Any:  # noqa: ANN401
            content, style = (torch.from_numpy(photo(32, 32, seed)).float() / 255 for seed in (0, 1))
            return DataLoader([{"ids": "a/b", "content": content, "style": style}])

    method = run(tmp_path, options(), Pairs())
    assert written(tmp_path) == ["a_b_to_partner.png"]
    content, style = photo(32, 32, 0), photo(32, 32, 1)
    code = style_of(method.generator, [style], SMALL)[None]
    image = method.generator(prepared(content, SMALL)[None], code).images[0].detach()
    found = pixels_of(tmp_path / "predictions" / "a_b_to_partner.png")
    assert np.abs(found.astype(int) - picture((image + 1) / 2)).max() <= 1


def test_frames_are_made_with_the_trainers_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from repsynth.modules.hidt.decoder import Decoder

    seen = []
    original = Decoder.forward
    monkeypatch.setattr(
        Decoder,
        "forward",
        lambda self, *args, **rest: (
            seen.append(torch.is_autocast_enabled("cpu")) or original(self, *args, **rest)
        ),
    )
    run(tmp_path, options(), folders(tmp_path, 1, 2), precision="bf16-mixed")
    assert seen == [True, True]


def test_files_that_would_overwrite_one_another(tmp_path: Path) -> None:
    data = folders(tmp_path, 1, 2)
    save(photo(40, 40), tmp_path / "content" / "c0.jpg")
    data.check("predict")
    with pytest.raises(
        UserError,
        match=r"c0.jpg in the style s0 and .*c0.png in the style s0 would both be written to c0_to_s0.png",
    ):
        run(tmp_path, options(), data)
    assert not (tmp_path / "predictions").exists()


def test_windows_grow_with_the_enhanced_picture(tmp_path: Path) -> None:
    """Detail is found in windows that see as much of the photograph as at the working size."""
    data = folders(tmp_path, 1, 1)
    content, style = pixels_of(tmp_path / "content" / "c0.png"), pixels_of(tmp_path / "style" / "s0.png")
    method = run(tmp_path, options(resolution="enhanced", detail=True, size="network"), data)
    assert method.enhancer is not None
    code = style_of(method.generator, [style], SMALL)[None]
    (image,) = enhanced_translations(method.generator, method.enhancer, content, code, SMALL)
    guide = torch.from_numpy(np.array(resized(content, image.shape[1:], Image.Resampling.BICUBIC)))
    expected = with_detail(guide, guide / 255, image, radius=RADIUS * method.enhancer.factor)
    found = pixels_of(tmp_path / "predictions" / "c0_to_s0_enhanced_detail.png")
    assert np.abs(found.astype(int) - picture(expected)).max() <= 1
    assert (with_detail(guide, guide / 255, image) - expected).abs().max() > 0.02
