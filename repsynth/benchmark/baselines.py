"""The modules that have nothing to learn, by the names that tables give them."""

BASELINES = {
    "nearest input view": "repsynth.modules.stereo_baselines.module.NearestView",
    "reference on one plane at the true median depth": "repsynth.modules.stereo_baselines.module.PlaneWarp",
}
"""Class path by row title."""
