"""HiDT: high-resolution daytime translation without domain labels (CVPR 2020)."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="hidt",
    title="HiDT: photographs in another light, learned from unaligned photographs without labels",
    paper="Anokhin et al., High-Resolution Daytime Translation Without Domain Labels",
    venue="CVPR 2020",
    task="unpaired translation of a photograph to the light, or the manner, of another one",
    inputs="photographs for training, with segmentation maps or without; to translate a photograph and a style: of "
    "another photograph, of several, by name, or drawn at random",
    outputs="the photograph in that light at the working size, enlarged by the enhancer, or at its own size in tiles; "
    "videos through several styles",
    losses={
        "reconstruction": "L1 of a photo and what its own content and style give, weight 2",
        "random_reconstruction": "the same of a photo in a drawn style, weight 2",
        "cross_cycle": "L1 of a photo and what the content of its translation and the style of another translation, "
        "into its own style, give, weight 2",
        "segmentation": "cross-entropy (or L1 of colours) of the maps predicted with photos in styles of others, "
        "weight 3; needs maps",
        "random_segmentation": "the same in drawn styles, weight 3",
        "content": "L1 of the contents of a photo and of its translation, weight 1",
        "random_content": "the same for drawn styles, weight 1",
        "style": "L1 of a style and the style found in what was translated to it, weight 0.1",
        "random_style": "the same of drawn styles, weight 4",
        "style_distribution": "L1 of mean and covariance of recent styles to those of N(0, I), weight 1",
        "adversarial": "least squares: how unreal both discriminators find photos in styles of others, one of them as "
        "photos in that style, weight 5",
        "random_adversarial": "the same of photos in drawn styles, weight 5",
        "discriminators": "the discriminators' own loss",
        "l1": "L1 of the enhanced photo in its own style and the photo, weight 10; like all that follow, of the class "
        "repsynth.modules.hidt.enhancer_module.HiDTEnhancer, whose `adversarial` (weight 1) is of that image",
        "perceptual": "VGG19 features of the same, weight 10",
        "feature_matching": "L1 of its discriminator's features of the same, weight 10",
        "other_adversarial": "how unreal its discriminator finds enhanced photos in other styles, weight 1",
        "consistency": "L1 of the reduced enhanced photo in another style and the mean of its translated crops, weight "
        "10",
        "discriminator": "its discriminator's own loss",
    },
    module="repsynth.modules.hidt.module.HiDT",
)
