from typing import Any

import pytest
import torch
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.modules.hidt.crops import shifted_crops, stack_of
from repsynth.modules.hidt.enhancement import crop_contents, enhanced_translations, translated_crops
from repsynth.modules.hidt.options import EnhancementOptions, PhotoOptions
from repsynth.modules.hidt.preparation import prepared, to_unit

from .tiny import photo, tiny_enhancer, tiny_generator

SMALL = PhotoOptions(working_size=32)


@pytest.mark.parametrize("crops_at_once", [1, 5, 16, 100])
def test_crops_in_batches_are_crops_one_by_one(crops_at_once: int) -> None:
    generator, style = tiny_generator(), torch.randn(3)
    crops = shifted_crops(photo(50, 70), 32, 4)
    contents = list(crop_contents(generator, crops, SMALL, crops_at_once))
    assert max(len(content.code) for content in contents) == min(crops_at_once, 16)
    found = translated_crops(generator, contents, style)
    assert found.shape == (16, 3, 32, 48)
    for crop, image in zip(crops, found, strict=True):
        expected = to_unit(generator(prepared(crop, SMALL)[None], style[None]).images)[0]
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("border", ["black", "reflect"])
def test_the_whole_path_step_by_step(factor: int, border: Any) -> None:  # noqa: ANN401
    generator, enhancer, one = tiny_generator(), tiny_enhancer(factor=factor), photo(50, 70)
    style = torch.randn(3)
    (found,) = enhanced_translations(
        generator, enhancer, one, style[None], SMALL, EnhancementOptions(3, border, tile=16)
    )
    assert found.shape == (3, 32 * factor, 48 * factor)
    crops = shifted_crops(one, 32, factor, border)
    images = torch.stack([prepared(crop, SMALL) for crop in crops])
    translated = to_unit(generator(images, style.expand(factor**2, -1)).images)
    expected = to_unit(enhancer(stack_of(translated[None], factor, border)))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not found.requires_grad


def test_several_styles_share_the_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, enhancer, one, styles = tiny_generator(), tiny_enhancer(), photo(50, 70), torch.randn(3, 3)
    apart = [next(enhanced_translations(generator, enhancer, one, style[None], SMALL)) for style in styles]
    counted: list[int] = []
    original = generator.encode_content
    monkeypatch.setattr(
        generator, "encode_content", lambda images: (counted.append(len(images)), original(images))[1]
    )
    together = list(enhanced_translations(generator, enhancer, one, styles, SMALL))
    assert counted == [4, 4, 4, 4]
    for found, expected in zip(together, apart, strict=True):
        torch.testing.assert_close(found, expected)


def test_crops_of_one_style_are_encoded_and_decoded_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, calls = tiny_generator(), []
    for name in ("encode_content", "decode"):
        original = getattr(generator, name)
        monkeypatch.setattr(
            generator,
            name,
            lambda *args, _name=name, _original=original, **options: (
                calls.append(_name),
                _original(*args, **options),
            )[1],
        )
    list(enhanced_translations(generator, tiny_enhancer(), photo(50, 70), torch.randn(1, 3), SMALL))
    assert calls == 4 * ["encode_content", "decode"]


def test_every_crop_has_noise_of_its_own() -> None:
    noisy = PhotoOptions(32, noise_seed=1)
    seen: list[torch.Tensor] = []
    generator = tiny_generator()
    generator.content_encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    crops = shifted_crops(photo(50, 70), 32, 2)
    crops[:] = crops[0]
    list(crop_contents(generator, crops, noisy, 3))
    images = torch.cat(seen)
    assert all(not torch.equal(images[0], image) for image in images[1:])
    again = torch.stack([prepared(crop, noisy, number) for number, crop in enumerate(crops)])
    assert torch.equal(images, again)


def test_reflected_borders_leave_no_dark_edge() -> None:
    """An enhancer that averages the crops of the stack shows what they have at the edges of a white photo."""
    enhancer = tiny_enhancer()
    bright = photo(40, 40) * 0 + 255
    edges = {}
    for border in ("black", "reflect"):
        crops = shifted_crops(bright, 16, 4, border)  # type: ignore[arg-type]
        stack = stack_of(torch.from_numpy(crops)[None] / 255, 4, border)  # type: ignore[arg-type]
        mean = F.interpolate(stack.unflatten(1, (16, 3)).mean(1), scale_factor=enhancer.factor)
        edges[border] = (mean[..., 0].mean().item(), mean[..., -1].mean().item())
    assert edges["reflect"] == (1.0, 1.0)
    assert max(edges["black"]) < 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (EnhancementOptions(crops_at_once=0), r"prediction\.crops_at_once is 0; expected at least 1"),
        (EnhancementOptions(tile=0), r"prediction\.tile is 0; expected at least 1"),
        (EnhancementOptions(halo=-2), r"prediction\.halo is -2; expected at least 0"),
    ],
)
def test_impossible_options(options: EnhancementOptions, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        options.check()
    EnhancementOptions(tile=None).check()
