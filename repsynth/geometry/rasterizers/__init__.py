"""Rasterisers: which faces each pixel's centre meets, where, and at what depth. Three back ends, one
interface."""

from repsynth.geometry.rasterizers.interface import (
    BackEnd,
    Fragments,
    Interpolation,
    Rasterizer,
    missing_back_end,
    select_rasterizer,
)

__all__ = ["BackEnd", "Fragments", "Interpolation", "Rasterizer", "missing_back_end", "select_rasterizer"]
