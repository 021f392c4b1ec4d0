"""Checks of the shared geometry: cameras, planes, layers, rasteriser."""

from .fixtures import Check

COMPONENTS: dict[str, Check] = {}
