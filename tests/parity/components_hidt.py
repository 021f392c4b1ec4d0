"""Checks of HiDT: both released generators with their gradients, the enhancer, and all that is made of a photo."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.modules.hidt.content_encoder import Content
from repsynth.modules.hidt.crops import shifted_crops, stack_of
from repsynth.modules.hidt.enhancement import crop_contents, enhanced_stack, translated_crops
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import (
    EnhancementOptions,
    EnhancerOptions,
    GeneratorOptions,
    PhotoOptions,
    Segmentation,
)
from repsynth.modules.hidt.preparation import prepared
from repsynth.modules.hidt.translation import style_of, translations
from repsynth.reference.hidt import GENERATOR, load_enhancer, load_generator
from repsynth.reference.state import rename_keys

from .fixtures import Check
from .weights import reference_state

# From the fixtures' README; relative ones to the largest expected value.
OUTPUT, GRADIENT, GREY_LEVELS, PREPARED, STACKED = 1e-4, 1e-3, 1, 2 / 255, 1e-6
TRANSLATED, ENHANCED = 5e-3, 2e-2  # absolute, of the whole path

HEADS: dict[int, Segmentation] = {0: "none", 3: "colours"}


def close(found: Tensor, expected: np.ndarray, name: str, relative: float = OUTPUT) -> None:
    near(found, expected, name, relative * max(1e-12, np.abs(expected).max()))


def near(found: Tensor, expected: np.ndarray, name: str, absolute: float) -> None:
    assert tuple(found.shape) == expected.shape, f"{name}: {tuple(found.shape)}, expected {expected.shape}"
    error = np.abs(found.detach().numpy() - expected).max()
    assert error <= absolute, f"{name}: off by {error}"


def generator_of(folder: Path, config: dict[str, Any]) -> HiDTGenerator:
    assert config["image_channels"] == 3
    options = GeneratorOptions(
        style_size=config["style_dim"],
        width=config["width"],
        downsamplings=config["content_downsamplings"],
        content_blocks=config["content_residual_blocks"],
        decoder_blocks=config["decoder_residual_blocks"],
        style_downsamplings=config["style_downsamplings"],
        skip_channels=config["skip_channels"],
        adain_width=config["adain_mlp"]["hidden"],
        adain_layers=config["adain_mlp"]["layers"],
        segmentation=HEADS[config["segmentation_channels"]],
    )
    generator = HiDTGenerator(options)
    load_generator(generator, reference_state(folder))
    return generator


def enhancer_of(folder: Path, config: dict[str, Any]) -> Enhancer:
    factor = config["upscale"]
    assert (config["in_channels"], config["out_channels"]) == (3 * factor**2, 3)
    enhancer = Enhancer(EnhancerOptions(factor, config["features"], config["blocks"], config["growth"]))
    load_enhancer(enhancer, reference_state(folder))
    return enhancer


def check_generator(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    generator = generator_of(folder, config)
    photos, style_photos = (torch.from_numpy(case[f"in_{name}"]) for name in ("content", "style_image"))
    if "out_loss" in case:
        # In float32 rounding may put an activation on the other side of zero, which changes the gradient.
        _check_gradients(generator.double(), photos.double().requires_grad_(), style_photos.double(), case)
        return
    with torch.no_grad():
        content = generator.encode_content(photos)
        own, other = generator.encode_style(photos), generator.encode_style(style_photos)
        swap = generator.decode(content, other)
        halfway = generator.decode(content, (own + other) / 2, maps=False)
        again = generator(photos, own)
    _check_content(content, case)
    close(own, case["out_content_style"], "content_style")
    close(other, case["out_style"], "style")
    close(swap.images, case["out_swap"], "swap")
    close(halfway.images, case["out_halfway"], "halfway")
    close(again.images, case["out_reconstruction"], "reconstruction")
    assert (swap.maps is None) == ("out_swap_segmentation" not in case)
    if swap.maps is not None:
        close(swap.maps, case["out_swap_segmentation"], "swap_segmentation")


def _check_content(content: Content, case: dict[str, np.ndarray]) -> None:
    half, full = content.skips
    close(content.code[:, ::8], case["out_content_code"], "content_code")
    close(half, case["out_skip_half"], "skip_half")
    close(full, case["out_skip_full"], "skip_full")


def _check_gradients(
    generator: HiDTGenerator, photos: Tensor, style_photos: Tensor, case: dict[str, np.ndarray]
) -> None:
    swap = generator(photos, generator.encode_style(style_photos)).images
    loss = (swap - style_photos).abs().mean()
    loss.backward()
    close(loss[None], case["out_loss"], "loss")
    assert photos.grad is not None
    close(photos.grad, case["out_content_grad"], "content_grad", GRADIENT)
    names = rename_keys({str(key): torch.empty(0) for key in case["out_param_names"]}, GENERATOR)
    parameters = dict(generator.named_parameters())
    gradients = [parameters.pop(name).grad for name in names]
    assert not parameters
    norms = torch.stack([torch.zeros(()) if grad is None else grad.norm() for grad in gradients])
    close(norms, case["out_param_grad_norms"], "param_grad_norms", GRADIENT)


def check_enhancer(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    enhancer, stack = enhancer_of(folder, config), torch.from_numpy(case["in_stack"])
    for tile in (None, 8):
        found = enhanced_stack(enhancer, stack, EnhancementOptions(tile=tile))
        close(found, case["out_image"], f"image in tiles of {tile}")


def check_stack(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    stack = stack_of(torch.from_numpy(case["in_copies"])[None], config["upscale"])
    near(stack, case["out_stack"], "stack", STACKED)


def check_crops(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    factor = round(config["shifts"] ** 0.5)
    crops = shifted_crops(_planes(case["in_photo"]), config["working_size"], factor)
    found = torch.from_numpy(crops).movedim(1, -1).int()
    near(found, case["out_crops"].astype(np.int32), "crops", GREY_LEVELS)


def check_preparation(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    options = PhotoOptions(config["load_size"], config["multiple"])
    for number in range(2):
        found = prepared(_planes(case[f"in_photo{number}"]), options)
        near(found, case[f"out_tensor{number}"], f"tensor{number}", PREPARED)


def check_pipeline(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    generator, enhancer = _networks(folder.parent)
    photo, style_photo = _planes(case["in_photo"]), _planes(case["in_style_photo"])
    options = PhotoOptions(working_size=config["working_size"])
    style = style_of(generator, [style_photo], options)
    (whole,) = translations(generator, photo, style[None], options)
    crops = shifted_crops(photo, options.working_size, enhancer.factor)
    translated = translated_crops(generator, crop_contents(generator, crops, options, 6), style)
    stack = stack_of(translated[None], enhancer.factor)
    near(style[None], case["out_style"], "style", TRANSLATED)
    near(whole, case["out_fullconv"], "fullconv", TRANSLATED)
    near(translated[0], case["out_first_copy"], "first_copy", TRANSLATED)
    near(translated[-1], case["out_last_copy"], "last_copy", TRANSLATED)
    near(enhanced_stack(enhancer, stack, EnhancementOptions())[0], case["out_enhanced"], "enhanced", ENHANCED)


def _networks(root: Path) -> tuple[HiDTGenerator, Enhancer]:
    """The networks of the fixtures beside this one."""
    configs = {
        name: json.loads((root / name / "config.json").read_text()) for name in ("generator", "enhancer")
    }
    return generator_of(root / "generator", configs["generator"]), enhancer_of(
        root / "enhancer", configs["enhancer"]
    )


def _planes(photo: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(photo.transpose(2, 0, 1))


COMPONENTS: dict[str, Check] = {
    "hidt.generator": check_generator,
    "hidt.enhancer": check_enhancer,
    "hidt.enhancement.stack": check_stack,
    "hidt.enhancement.crops": check_crops,
    "hidt.preprocess": check_preparation,
    "hidt.pipeline": check_pipeline,
}
