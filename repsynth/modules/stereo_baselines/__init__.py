"""What a novel-view method has to beat: predictions from the stereo pair without any learning."""

from repsynth.card import MethodCard

CARD = MethodCard(
    name="stereo_baselines",
    title="Stereo baselines: the nearest input view, and the reference view on one plane",
    paper="none: these have nothing to learn",
    venue="-",
    task="novel-view synthesis from two posed views",
    inputs="a reference view and a side view with known cameras",
    outputs="novel views",
    losses={},
    module="repsynth.modules.stereo_baselines.module.NearestView",
)
