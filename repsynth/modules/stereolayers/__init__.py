"""StereoLayers: stereo magnification with multi-layer images (CVPR 2022)."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="stereolayers",
    title="StereoLayers: novel views from a stereo pair through scene-adaptive semitransparent mesh layers",
    paper="Khakhulin et al., Stereo Magnification with Multi-Layer Images",
    venue="CVPR 2022",
    task="novel-view synthesis from two posed views",
    inputs="a reference view and a side view with known cameras",
    outputs="L mesh layers (depth and RGBA), novel views, their opacity and depth; written: videos along camera paths, "
    "single views, depth maps, the layers as PNG and JSON files or glTF",
    losses={
        "l1": "L1 inside the novel view's opacity, weight 1",
        "perceptual": "VGG19 features of five levels inside the opacity, weight 10",
        "tv": "total variation of the layered depth, weight 5",
        "order": "hinge on neighbouring layers that change places, weight 2 (squared; the paper's with "
        "`regularisation.order_power: 1`)",
        "opacity": "alphas of a texel's layers above 2 in sum, off (`regularisation`)",
        "sparsity": "entropy of the layers' compositing weights, off (`regularisation`)",
        "adversarial": "how unreal the discriminator finds the novel views, weight 5; like all that follow, of the "
        "class repsynth.modules.stereolayers.adversarial_module.AdversarialStereoLayers, which RAW texturing needs and "
        "RSBg and RBg can have",
        "feature_matching": "squared error of the discriminator's features, weight 5",
        "discriminator": "the discriminator's own loss",
        "r1": "gradient penalty of the discriminator every 16 iterations, weight 1e-4 times 16",
    },
    module="repsynth.modules.stereolayers.module.StereoLayers",
)
