"""Runs of several processes. New processes come by here before they meet Lightning: guard first."""

import repsynth  # noqa: F401
