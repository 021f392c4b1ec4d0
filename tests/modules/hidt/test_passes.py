"""Every arrow of the paper's scheme against one call of the network after the other."""

import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.hidt.passes import run_passes

from .tiny import tiny_generator


@pytest.mark.parametrize("count", [2, 3])
def test_every_pass_one_image_after_the_other(count: int) -> None:
    generator, images, drawn = tiny_generator(), torch.randn(count, 3, 16, 24), torch.randn(count, 3)
    passes = run_passes(generator, images, drawn)
    content = [generator.encode_content(image[None]) for image in images]
    style = [generator.encode_style(image[None]) for image in images]
    swapped = [generator.decode(content[i], style[i - 1]) for i in range(count)]
    again = [generator.encode_content(swap.images) for swap in swapped]
    found = [generator.encode_style(swap.images) for swap in swapped]
    random = [generator.decode(content[i], drawn[i : i + 1]) for i in range(count)]
    for i in range(count):
        expected = {
            "codes": content[i].code,
            "styles": style[i],
            "partner_styles": style[i - 1],
            "autoencoded": generator.decode(content[i], style[i]).images,
            "swapped_codes": again[i].code,
            "swapped_styles": found[i],
            # The image after i was given the style of i.
            "cycled": generator.decode(again[i], found[(i + 1) % count]).images,
            "random_codes": generator.encode_content(random[i].images).code,
            "random_styles": generator.encode_style(random[i].images),
            "random_autoencoded": generator(
                random[i].images, generator.encode_style(random[i].images)
            ).images,
        }
        for name, value in expected.items():
            torch.testing.assert_close(
                getattr(passes, name)[i : i + 1], value, atol=1e-4, rtol=1e-4, msg=name
            )
        for translations, one in ((passes.swapped, swapped[i]), (passes.randomised, random[i])):
            assert translations.maps is not None and one.maps is not None
            torch.testing.assert_close(translations.images[i : i + 1], one.images, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(translations.maps[i : i + 1], one.maps, atol=1e-3, rtol=1e-3)


def test_two_images_are_exchanged() -> None:
    """With two images both directions of a pair are there: the paper's x^ and x^', one from the other's style."""
    generator, images = tiny_generator(), torch.randn(2, 3, 16, 16)
    passes = run_passes(generator, images, torch.randn(2, 3))
    assert torch.equal(passes.partner_styles, passes.styles.flip(0))


def test_a_network_without_segmentation() -> None:
    passes = run_passes(tiny_generator(segmentation="none"), torch.randn(2, 3, 16, 16), torch.randn(2, 3))
    assert passes.swapped.maps is None and passes.randomised.maps is None


def test_one_image_has_nobody_to_exchange_with() -> None:
    with pytest.raises(
        UserError,
        match=r"exchanges styles within a batch, but gets 1 image; expected at least 2 on every device: raise data\.ba",
    ):
        run_passes(tiny_generator(), torch.randn(1, 3, 16, 16), torch.randn(1, 3))
