"""A whole method outside the repository: what a user adds is a folder like this one and a YAML."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="toy_method",
    title="Learning to Copy Small Pictures",
    paper="none",
    venue="tests",
    task="Copies a picture through a narrow network.",
    inputs="image [B, 3, H, W] in [0, 1]",
    outputs="image [B, 3, H, W]",
    losses={"l2": "1.0, squared error of the copy"},
    module="toy_method.module.ToyMethod",
)
