"""CIPS: image generators with conditionally-independent pixel synthesis (CVPR 2021)."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="cips",
    title="CIPS: unconditional images, every pixel computed by itself from its coordinates and one latent",
    paper="Anokhin et al., Image Generators with Conditionally-Independent Pixel Synthesis",
    venue="CVPR 2021",
    task="unconditional image generation at any set of points",
    inputs="images for training, cut to squares or windows of them; for samples nothing but a seed",
    outputs="images of any size and aspect in bounded memory: samples, interpolations, zooms, foveated images, "
    "seamless cylindrical panoramas, inversions and inpaintings of photographs",
    losses={
        "generator": "non-saturating logistic loss of the discriminator's scores, weight 1",
        "discriminator": "logistic loss of the scores of real and generated images, weight 1",
        "r1": "squared gradient of the scores of real images, every 16th iteration in a step of its own, weight 80 "
        "(10 / 2, times 16)",
    },
    module="repsynth.modules.cips.module.CIPS",
)
