import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.modules.stereomag.generator import StereoMagGenerator
from repsynth.reference.stereomag import load_stereomag

CAMERA = Cameras(torch.eye(4)[None], torch.tensor([[[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]]))


def official(generator: StereoMagGenerator) -> dict[str, Tensor]:
    return {
        key.replace("coloring_network.", "psv_network.").replace("final_conv.", "final_conv.conv."): value
        for key, value in generator.state_dict().items()
    }


def test_an_official_file_fills_the_network() -> None:
    source, target = (StereoMagGenerator(planes=3, width=4) for _ in range(2))
    load_stereomag(target, official(source))
    images = torch.rand(2, 1, 3, 16, 16)
    expected, found = (generator(*images, CAMERA, CAMERA).rgba for generator in (source, target))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"planes": 4},
            r"does not fit StereoMagGenerator: .*conv1_1\.conv\.weight is \[4, 12, 3, 3\], expected \[4, 15,",
        ),
        ({"texturing": "RSBg"}, r"final_conv\.weight is \[9, 4, 1, 1\], expected \[15, 4, 1, 1\]; check"),
        ({"width": 8}, r"check layers, planes and widths"),
    ],
)
def test_a_file_of_another_generator_is_refused_in_one_sentence(
    options: dict[str, object], sentence: str
) -> None:
    settings = {"planes": 3, "width": 4}
    with pytest.raises(UserError, match=sentence):
        load_stereomag(StereoMagGenerator(**(settings | options)), official(StereoMagGenerator(**settings)))
