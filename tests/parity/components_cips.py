"""Checks of CIPS: whole generators, single layers, discriminators with their R1 penalty, two training iterations."""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from repsynth.callbacks.determinism import Determinism
from repsynth.callbacks.ema import EMA
from repsynth.datamodules.base import DataModule
from repsynth.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from repsynth.modules.cips.coordinates import pixel_coordinates
from repsynth.modules.cips.discriminator import CIPSDiscriminator
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.layers import ResidualBlock, StyledLayer, ToRGB
from repsynth.modules.cips.module import CIPS
from repsynth.modules.cips.options import DiscriminatorOptions, GeneratorOptions, LearningOptions
from repsynth.modules.cips.products import colours, residual, styled
from repsynth.reference.cips import load_discriminator, load_generator

from .fixtures import Check
from .weights import noise_for

# Relative to the largest expected value, from the fixtures' README.
OUTPUT, BLOCK_GRADIENT, R1_GRADIENT, NETWORK_GRADIENT, TRAINED = 1e-4, 1e-4, 1e-3, 5e-2, 1e-2


def close(found: Tensor, expected: np.ndarray, name: str, relative: float = OUTPUT) -> None:
    assert tuple(found.shape) == expected.shape, f"{name}: {tuple(found.shape)}, expected {expected.shape}"
    error = np.abs(found.detach().numpy() - expected).max()
    assert error <= relative * max(1e-12, np.abs(expected).max()), f"{name}: off by {error}"


def state_of(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """All tensors of a fixture's network, whose keys may begin with a prefix that their values do not depend on.

    Noise strengths are left at their official initial value 0 by most fixtures, blur kernels by all.
    """
    state = {}
    for key, entry in json.loads((folder / "keys.json").read_text()).items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix):
            continue
        if entry["kind"] == "filled":
            values = entry["mean"] + entry["std"] * noise_for(name, entry["shape"])
            state[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
        elif name.endswith("noise.weight"):
            state[name] = torch.zeros(entry["shape"])
    return state


def generator_of(config: dict[str, Any], state: dict[str, Tensor]) -> CIPSGenerator:
    assert config["mapping_lr_multiplier"] == 0.01
    generator = CIPSGenerator(
        variant={"CIPSskip": "skip", "CIPSres": "residual"}[config["variant"]],  # type: ignore[arg-type]
        grid_size=config["size"],
        features=config["hidden"],
        style_size=config["style"],
        mapping_layers=config["mapping_layers"],
        activation=config.get("activation", "leaky_relu"),
    )
    load_generator(generator, state)
    return generator


def discriminator_of(config: dict[str, Any], state: dict[str, Tensor]) -> CIPSDiscriminator:
    discriminator = CIPSDiscriminator(config["size"], config["input_channels"], config["first_layers"])
    load_discriminator(discriminator, state)
    return discriminator


def check_generator(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    generator = generator_of(config, state_of(folder))
    assert (case["in_coords"] == case["in_coords"][:1]).all()  # all images have the same
    coordinates, z = torch.from_numpy(case["in_coords"][:1]).movedim(1, -1), torch.from_numpy(case["in_z"])
    full_grid = config.get("mode") == "train on the full grid"
    generator.train("mode" in config)
    w = _truncated(generator, z, case) if "in_psi" in case else generator.map(z)
    rgb = generator.synthesize(w, coordinates, full_grid, noise="none")
    close(rgb, case["out_rgb"], "rgb")
    if "out_w" in case:
        close(w, case["out_w"], "w")
    if "in_weight" in case:
        _check_gradients(generator, (rgb * torch.from_numpy(case["in_weight"])).mean(), case)
    if "out_rgb_eval" in case:
        with torch.no_grad():
            evaluated = generator.eval()(z, coordinates, full_grid, noise="none")
        close(evaluated, case["out_rgb_eval"], "rgb_eval")


def _truncated(generator: CIPSGenerator, z: Tensor, case: dict[str, np.ndarray]) -> Tensor:
    generator.remember_mean_w(torch.from_numpy(case["in_z_for_mean"]))
    close(generator.mean_w, case["out_mean_w"], "mean_w")
    return generator.truncate(generator.map(z), float(case["in_psi"][0]))


def _check_gradients(generator: CIPSGenerator, loss: Tensor, case: dict[str, np.ndarray]) -> None:
    close(loss[None], case["out_loss"], "loss")
    loss.backward()
    inputs, first = generator.inputs, generator.trunk.first.linear
    found = {
        "emb_rms": _gradient(inputs.embedding).square().mean(0).sqrt(),
        "fourier": _gradient(inputs.weight),
        "first_weight_rowsum": _gradient(first.weight).sum(1),
        "first_modulation_bias": _gradient(first.modulation.bias),
        "mapping1_bias": _gradient(generator.mapping.layers[0].bias),  # type: ignore[arg-type]
    }
    for name, value in found.items():
        close(value, case[f"out_grad_{name}"], name, NETWORK_GRADIENT)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


Block = StyledLayer | ResidualBlock | ToRGB


def check_block(block: Block, apply: Callable[[Tensor, Tensor], Tensor], case: dict[str, np.ndarray]) -> None:
    """Compare a block's output, applied to x [B, C, N] and w, and the gradients of the sum of its squares."""
    x, w = (torch.from_numpy(case[name]).requires_grad_() for name in ("in_x", "in_w"))
    y = apply(x.flatten(2), w).unflatten(2, x.shape[2:])
    y.square().sum().backward()
    close(y, case["out_y"], "y")
    close(_gradient(x), case["out_grad_x"], "grad_x", BLOCK_GRADIENT)
    close(_gradient(w), case["out_grad_w"], "grad_w", BLOCK_GRADIENT)


def _fill(block: nn.Module, official: dict[str, Tensor], names: dict[str, str]) -> None:
    """Load a single block, whose keys stand without the network's around them."""
    ours = block.state_dict()
    filled = {key: official.pop(_official_block_name(key, names)).reshape(ours[key].shape) for key in ours}
    assert not official, f"left over: {sorted(official)}"
    block.load_state_dict(filled)


def _official_block_name(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        key = key.replace(ours, theirs) if key.endswith(ours) else key
    return key.replace("first.", "conv1.").replace("second.", "conv2.")


_STYLED = {
    "linear.weight": "conv.weight",
    "linear.modulation.weight": "conv.modulation.weight",
    "linear.modulation.bias": "conv.modulation.bias",
    "strength": "noise.weight",
}


def _activated(key: str) -> dict[str, str]:
    return {**_STYLED, key: "activate.bias"}


def check_layer(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    layer = StyledLayer(config["in_channels"], config["out_channels"], config["style"], config["activation"])
    official = state_of(folder)
    official["bias"] = official.pop("activate.bias")
    _fill(layer, official, _STYLED)
    noise = torch.from_numpy(case["in_noise"])[:, 0].flatten(1)
    check_block(layer, lambda x, w: styled(layer.fold(w), x, noise, config["activation"]), case)


def check_rgb(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    assert config["out_channels"] == 3
    layer = ToRGB(config["in_channels"], config["style"])
    _fill(layer, state_of(folder), _STYLED)
    before = torch.from_numpy(case["in_skip"]).flatten(2)
    check_block(layer, lambda x, w: colours(layer.fold(w), x, before), case)


def check_residual(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    block = ResidualBlock(
        config["in_channels"], config["out_channels"], config["style"], config["activation"]
    )
    official = state_of(folder)
    official["skip"] = official.pop("skip.0.weight")
    for part in ("conv1", "conv2"):
        official[f"{part}.bias"] = official.pop(f"{part}.activate.bias")
    _fill(block, official, _STYLED)

    def apply(x: Tensor, w: Tensor) -> Tensor:
        return residual(iter(block.fold(w, w)), True, x, (None, None), config["activation"])

    check_block(block, apply, case)


def check_discriminator(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    discriminator = discriminator_of(config, state_of(folder))
    images = torch.from_numpy(case["in_image"]).requires_grad_()
    scores = discriminator(images)
    close(scores, case["out_score"], "score")
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    penalties = gradient.square().sum(dim=(1, 2, 3))
    close(penalties, case["out_r1"], "r1")
    penalty = r1_penalty(lambda x: [discriminator(x)], images)
    close(penalty, case["out_r1"].mean(), "mean r1")
    if any(name.startswith("out_r1grad") for name in case):
        penalty.backward()
        first_block, last = discriminator.blocks[0], discriminator.last.weight
        found = {
            "first_weight": _gradient(discriminator.first.weight)[:, :, 0, 0],
            "block1_conv1_weight_sum": _gradient(first_block.first.weight).sum(dim=(1, 2, 3)),  # type: ignore[union-attr,arg-type]
            "final_conv_weight_sum": _gradient(last).sum(dim=(0, 2, 3)),
            "last_weight": _gradient(discriminator.score.weight),
        }
        for name, value in found.items():
            close(value, case[f"out_r1grad_{name}"], name, R1_GRADIENT)


class Recipe(NamedTuple):
    """What an implementation of the training needs to know; the rest are the dossier's constants."""

    r1_gamma: float
    r1_every: int
    ema_decay: float


class Run(NamedTuple):
    """What a training gave."""

    losses: list[list[float]]
    """Of each iteration: D's loss, mean score of real and of fake images before D's step, R1 penalty (0 when not due),
    G's loss."""
    averaged: CIPSGenerator
    generator: CIPSGenerator
    discriminator: CIPSDiscriminator


class Inputs(NamedTuple):
    """What each iteration gets."""

    real: Tensor
    """[I, B, 3, S, S] in [-1, 1]."""
    z_d: Tensor
    """[I, B, style], latents of D's step."""
    z_g: Tensor
    """[I, B, style], latents of G's step."""


class PlainTraining:
    """The official loop in plain torch."""

    def __init__(self, generator: CIPSGenerator, discriminator: CIPSDiscriminator, recipe: Recipe) -> None:
        self.generator, self.discriminator, self.recipe = generator, discriminator, recipe
        self.averaged = copy.deepcopy(generator).eval()
        self.adam_g = _lazy_adam(generator, 4 / 5)
        self.adam_d = _lazy_adam(discriminator, 16 / 17)
        self.iteration = 0

    def run(self, inputs: Inputs) -> Run:
        losses = [self._iterate(*each) for each in zip(*inputs, strict=True)]
        return Run(losses, self.averaged, self.generator, self.discriminator)

    def _iterate(self, real: Tensor, z_d: Tensor, z_g: Tensor) -> list[float]:
        with torch.no_grad():
            fake = self._images(z_d)
        of_real, of_fake = self.discriminator(real), self.discriminator(fake)
        d_loss = discriminator_loss([of_real], [of_fake])
        self._step(self.adam_d, d_loss)
        penalty = torch.zeros(())
        if self.iteration % self.recipe.r1_every == 0:
            penalty = r1_penalty(lambda x: [self.discriminator(x)], real)
            self._step(self.adam_d, self.recipe.r1_gamma / 2 * self.recipe.r1_every * penalty)
        g_loss = generator_loss([self.discriminator(self._images(z_g))])
        self._step(self.adam_g, g_loss)
        self._average()
        self.iteration += 1
        return [value.mean().item() for value in (d_loss, of_real, of_fake, penalty, g_loss)]

    def _images(self, z: Tensor) -> Tensor:
        return self.generator(z, full_grid_of(self.generator), full_grid=True, noise="none")

    @staticmethod
    def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        pairs = zip(self.averaged.parameters(), self.generator.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, 1 - self.recipe.ema_decay)


def full_grid_of(generator: CIPSGenerator) -> Tensor:
    return pixel_coordinates(generator.grid_size, generator.grid_size)[None]


def _lazy_adam(network: nn.Module, ratio: float) -> torch.optim.Adam:
    """Adam whose rates are scaled for a regulariser in every n-th step (dossier section 5)."""
    return torch.optim.Adam(network.parameters(), lr=0.002 * ratio, betas=(0.0, 0.99**ratio), eps=1e-8)


class GivenLatents(CIPS):
    """Our module, with the latents of a fixture."""

    given: Iterator[Tensor]

    def draw(self, count: int) -> Tensor:
        return next(self.given)


class GivenImages(DataModule):
    """The real images of a fixture, one batch after the other."""

    def __init__(self, real: Tensor) -> None:
        super().__init__(batch_size=real.shape[1])
        self.real = real
        self.image_size, self.patch_size = (real.shape[-2], real.shape[-1]), None

    def train_dataloader(self) -> DataLoader[Any]:
        whole = torch.tensor([[0, 0, 1]]).expand(self.batch_size, -1)
        batches = [
            {
                "ids": ["x"] * len(each),
                "images": (each + 1) / 2,
                "windows": whole,
                "image_size": self.image_size,
            }
            for each in self.real
        ]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class LightningTraining:
    """`modules.cips.module.CIPS` with the callback `EMA` under a Trainer."""

    def __init__(self, generator: CIPSGenerator, discriminator: CIPSDiscriminator, recipe: Recipe) -> None:
        self.recipe = recipe
        self.module = GivenLatents(
            GeneratorOptions(grid_size=8, features=4, width=8, style_size=4, mapping_layers=1),
            DiscriminatorOptions(size=discriminator.size, width=8),
            LearningOptions(r1_gamma=recipe.r1_gamma, r1_every=recipe.r1_every),
            noise="none",
        )
        self.module.generator, self.module.discriminator = generator, discriminator

    def run(self, inputs: Inputs) -> Run:
        self.module.given = chain.from_iterable(zip(inputs.z_d, inputs.z_g, strict=True))
        losses: list[list[float]] = []
        average = EMA(["generator"], decay=self.recipe.ema_decay)

        class Record(pl.Callback):
            def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:  # noqa: ANN401
                names = ("discriminator", "score_of_real", "score_of_fake", "r1", "generator")
                found = [float(trainer.callback_metrics[f"train/{name}"]) for name in names]
                due = (module.iterations - 1) % module.learning.r1_every == 0
                losses.append(
                    [value if due or name != "r1" else 0.0 for name, value in zip(names, found, strict=True)]
                )

        with tempfile.TemporaryDirectory() as folder:
            trainer = pl.Trainer(
                default_root_dir=folder,
                max_epochs=1,
                accelerator="cpu",
                callbacks=[Determinism(), average, Record()],
                use_distributed_sampler=False,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
            )
            trainer.fit(self.module, datamodule=GivenImages(inputs.real))
        averaged = copy.deepcopy(self.module.generator)
        names = {name: f"generator.{name}" for name, _ in averaged.named_parameters()}
        averaged.load_state_dict({name: average.averages[full] for name, full in names.items()}, strict=False)
        return Run(losses, averaged, self.module.generator, self.module.discriminator)


def check_training(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    """Let each implementation train from the fixture's weights and compare losses and functions."""
    assert config["first_iteration"] == 0
    real, z_d, z_g = (torch.from_numpy(case[f"in_{name}"]) for name in ("real", "z_d", "z_g"))
    for training in (PlainTraining, LightningTraining):
        made = training(
            generator_of(config["generator"], state_of(folder, "generator/")).train(),
            discriminator_of(config["discriminator"], state_of(folder, "discriminator/")),
            Recipe(config["r1_gamma"], config["r1_every"], config["ema_decay"]),
        )
        losses, averaged, generator, discriminator = made.run(Inputs(real, z_d, z_g))
        assert len(losses) == config["iterations"]
        for column, name in enumerate(("d loss", "real score", "fake score", "r1", "g loss")):
            close(torch.tensor(losses)[:, column], case["out_losses"][:, column], name, TRAINED)
        with torch.no_grad():
            grid = full_grid_of(generator)
            ema = averaged.eval()(z_d[0], grid, full_grid=True, noise="none")
            rgb = generator.train()(z_d[0], grid, full_grid=True, noise="none")
            score = discriminator(real[0])
        close(ema, case["out_rgb_ema"], "rgb_ema", TRAINED)
        close(rgb, case["out_rgb"], "rgb", TRAINED)
        close(score, case["out_score"], "score", TRAINED)


COMPONENTS: dict[str, Check] = {
    "cips.generator": check_generator,
    "cips.layer": check_layer,
    "cips.rgb": check_rgb,
    "cips.residual": check_residual,
    "cips.discriminator": check_discriminator,
    "cips.training": check_training,
}
