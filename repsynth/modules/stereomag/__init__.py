"""StereoMag: multiplane images from a stereo pair, and their merging into a few mesh layers."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="stereomag",
    title="Stereo magnification: learning view synthesis using multiplane images",
    paper="Zhou et al., Stereo Magnification; as the baseline of Stereo Magnification with Multi-Layer Images "
    "(section 4 and supplement D)",
    venue="SIGGRAPH 2018; baseline of CVPR 2022",
    task="novel-view synthesis from two posed views",
    inputs="a reference view and a side view with known cameras",
    outputs="P planes of RGBA, or G mesh layers merged from them; novel views, their opacity and depth",
    losses={
        "l1": "L1 over the whole novel view, weight 1",
        "perceptual": "VGG19 features of five levels over the whole novel view, weight 10",
    },
    module="repsynth.modules.stereomag.module.StereoMag",
)
