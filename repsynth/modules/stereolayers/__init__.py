"""StereoLayers: stereo magnification with multi-layer images (CVPR 2022)."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="stereolayers",
    title="StereoLayers: novel views from a stereo pair through scene-adaptive semitransparent mesh layers",
    paper="Khakhulin et al., Stereo Magnification with Multi-Layer Images",
    venue="CVPR 2022",
    task="novel-view synthesis from two posed views",
    inputs="a reference view and a side view with known cameras",
    outputs="L mesh layers (depth and RGBA), novel views, their opacity and depth",
    losses={
        "l1": "L1 inside the novel view's opacity, weight 1",
        "perceptual": "VGG19 features of five levels inside the opacity, weight 10",
        "tv": "total variation of the layered depth, weight 5",
        "order": "hinge on neighbouring layers that change places, weight 2",
    },
    module="repsynth.modules.stereolayers.module.StereoLayers",
)
