import numpy as np
import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.hidt.options import PhotoOptions, TilingOptions
from repsynth.modules.hidt.preparation import prepared, to_unit
from repsynth.modules.hidt.translation import (
    style_of,
    style_statistics,
    tiled_translation,
    translations,
    with_statistics,
)

from .tiny import photo, tiny_generator

SMALL = PhotoOptions(working_size=32)


def test_style_of_one_photo() -> None:
    generator, one = tiny_generator(), photo(50, 70)
    style = style_of(generator, [one], SMALL)
    torch.testing.assert_close(style, generator.encode_style(prepared(one, SMALL)[None])[0])
    assert style.shape == (3,) and not style.requires_grad


def test_styles_of_photos_of_different_sizes_are_averaged() -> None:
    generator, photos = tiny_generator(), [photo(50, 70, 1), photo(70, 40, 2), photo(50, 70, 3)]
    apart = torch.stack([style_of(generator, [one], SMALL) for one in photos])
    torch.testing.assert_close(style_of(generator, photos, SMALL), apart.mean(0))
    weighted = style_of(generator, photos, SMALL, weights=[1, 0, 3])
    torch.testing.assert_close(weighted, (apart[0] + 3 * apart[2]) / 4)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(
        UserError, match=r"weights of 2 style photos are \[.*\]; expected one for each, at least 0 and"
    ):
        style_of(tiny_generator(), [photo(40, 40)] * 2, SMALL, weights)


def test_a_style_of_no_photo() -> None:
    with pytest.raises(UserError, match=r"a style is wanted of no photo; give at least one style photo"):
        style_of(tiny_generator(), [], SMALL)


@pytest.mark.parametrize("styles_at_once", [1, 2, 5])
def test_translations_into_several_styles(styles_at_once: int) -> None:
    generator, one, styles = tiny_generator(), photo(50, 70), torch.randn(3, 3)
    found = list(translations(generator, one, styles, SMALL, styles_at_once))
    assert len(found) == 3
    for image, style in zip(found, styles, strict=True):
        expected = generator(prepared(one, SMALL)[None], style[None]).images[0]
        torch.testing.assert_close(image, (expected + 1) / 2, atol=1e-5, rtol=1e-5)
        assert not image.requires_grad


def test_content_is_encoded_once_and_results_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    calls: list[str] = []
    for name in ("encode_content", "decode"):
        original = getattr(generator, name)

        def counted(
            *args: object, _name: str = name, _original: object = original, **options: object
        ) -> object:
            calls.append(_name)
            return _original(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(generator, name, counted)
    results = translations(generator, photo(40, 40), torch.randn(4, 3), SMALL)
    next(results)
    next(results)
    assert calls == ["encode_content", "decode", "decode"]


def test_sizes_that_the_network_cannot_take() -> None:
    generator = tiny_generator()
    with pytest.raises(
        UserError, match=r"multiples of 4 and at least 8 pixels, but gets 30x30; change the size"
    ):
        next(translations(generator, photo(40, 40), torch.randn(1, 3), PhotoOptions(30, multiple=2)))
    with pytest.raises(
        UserError, match=r"style encoder needs image sides of at least 16 pixels, but gets 8x8"
    ):
        style_of(generator, [photo(40, 40)], PhotoOptions(8, multiple=4))


@pytest.mark.parametrize("tile", [16, 30, 1000])
@pytest.mark.parametrize("size", [(64, 96), (61, 70)])
def test_tiles_with_the_statistics_of_the_photo_itself_are_its_translation(
    tile: int, size: tuple[int, int]
) -> None:
    generator, one, style = tiny_generator(), photo(*size), torch.randn(3)
    options = PhotoOptions(min(size), multiple=4)
    tiled = tiled_translation(generator, one, style, options, TilingOptions(tile))
    margins = [(0, 0), (0, -size[0] % 4), (0, -size[1] % 4)]
    images = torch.from_numpy(np.pad(one, margins, mode="reflect")).float()[None] / 127.5 - 1
    statistics = style_statistics(generator, prepared(one, options)[None], style[None])
    whole = with_statistics(generator, images, style[None], statistics)[0, :, : size[0], : size[1]]
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)
    if size == (64, 96):
        (plain,) = translations(generator, one, style[None], options)
        torch.testing.assert_close(tiled, plain, atol=1e-5, rtol=1e-5)


def test_statistics_come_from_the_reduced_photo() -> None:
    generator, one, style = tiny_generator(), photo(96, 128), torch.randn(3)
    tiled = tiled_translation(generator, one, style, SMALL, TilingOptions(tile=40))
    assert tiled.shape == (3, 96, 128)
    statistics = style_statistics(generator, prepared(one, SMALL)[None], style[None])
    images = torch.from_numpy(one).float()[None] / 127.5 - 1
    torch.testing.assert_close(tiled, with_statistics(generator, images, style[None], statistics)[0])
    own = to_unit(generator(images, style[None]).images)[0]
    assert (tiled - own).abs().max() > 1e-3


def test_tiles_with_their_own_statistics_would_show_seams() -> None:
    generator, one, style = tiny_generator(), photo(96, 64), torch.randn(3)
    one[:, 48:] //= 4
    images = torch.from_numpy(one).float()[None] / 127.5 - 1

    def translated(part: Tensor) -> Tensor:
        return to_unit(generator(part, style[None]).images)

    whole, top = translated(images), translated(images[:, :, :48])
    assert (whole[:, :, :20] - top[:, :, :20]).abs().max() > 0.02


def test_a_photo_below_the_working_size_is_not_enlarged_for_its_statistics() -> None:
    generator, one, style = tiny_generator(), photo(40, 48), torch.randn(3)
    small, large = (tiled_translation(generator, one, style, PhotoOptions(n, multiple=4)) for n in (40, 256))
    assert torch.equal(small, large)


def test_memory_is_bounded_by_the_tile() -> None:
    generator, sides = tiny_generator(), []
    generator.content_encoder.first.register_forward_pre_hook(lambda _, x: sides.append(x[0].shape[-2:]))
    tiled_translation(generator, photo(200, 220), torch.randn(3), SMALL, TilingOptions(tile=32, halo=8))
    assert max(max(side) for side in sides) == 32 + 16


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (TilingOptions(tile=0), r"prediction\.tile is 0; expected at least 1"),
        (TilingOptions(halo=-1), r"prediction\.halo is -1; expected at least 0"),
    ],
)
def test_impossible_options(options: TilingOptions, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        options.check()
