"""Files in the official layout, written here by the keys and shapes of the official state dictionaries."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.cips.coordinates import pixel_coordinates
from repsynth.modules.cips.discriminator import CIPSDiscriminator
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.reference.cips import (
    load_discriminator,
    load_generator,
    load_official,
    official_names,
    training_state,
)
from repsynth.reference.files import read_official

WIDTH, FEATURES, STYLE = 8, 6, 5
Shapes = dict[str, tuple[int, ...]]


class Module(nn.Module):
    """What of a LightningModule the import looks at."""

    def __init__(self, generator: CIPSGenerator, discriminator: CIPSDiscriminator | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator


def styled_shapes(name: str, before: int, after: int, bias: str = "activate.bias") -> Shapes:
    return {
        f"{name}.{bias}": (after,) if bias == "activate.bias" else (1, after, 1, 1),
        f"{name}.conv.weight": (1, after, before, 1, 1),
        f"{name}.conv.modulation.weight": (before, STYLE),
        f"{name}.conv.modulation.bias": (before,),
        f"{name}.noise.weight": (1,),
    }


def rgb_shapes(name: str, width: int) -> Shapes:
    return {
        f"{name}.bias": (1, 3, 1, 1),
        f"{name}.conv.weight": (1, 3, width, 1, 1),
        f"{name}.conv.modulation.weight": (width, STYLE),
        f"{name}.conv.modulation.bias": (width,),
    }


def generator_shapes(variant: str, widths: list[int], size: int, bias: str = "activate.bias") -> Shapes:
    shapes: Shapes = {
        "lff.ffm.conv.weight": (FEATURES, 2, 1, 1),
        "lff.ffm.conv.bias": (FEATURES,),
        "emb.input": (1, FEATURES, size, size),
    }
    first = "conv1" if variant == "skip" else "linears.0"
    shapes |= styled_shapes(first, 2 * FEATURES, WIDTH, bias)
    pairs = list(zip([WIDTH, *widths], widths, strict=False))
    for stage, (before, after) in enumerate(pairs):
        if variant == "skip":
            shapes |= styled_shapes(f"linears.{2 * stage}", before, after, bias)
            shapes |= styled_shapes(f"linears.{2 * stage + 1}", after, after, bias)
            continue
        shapes |= styled_shapes(f"linears.{stage + 1}.conv1", before, after, bias)
        shapes |= styled_shapes(f"linears.{stage + 1}.conv2", after, after, bias)
        if before != after:
            shapes[f"linears.{stage + 1}.skip.0.weight"] = (after, before, 1, 1)
    if variant == "skip":
        for stage, width in enumerate(widths):
            shapes |= rgb_shapes(f"to_rgbs.{stage}", width)
    else:
        shapes |= rgb_shapes("to_rgb_last", widths[-1])
    for layer in range(1, 9):
        shapes |= {f"style.{layer}.weight": (STYLE, STYLE), f"style.{layer}.bias": (STYLE,)}
    return shapes


def discriminator_shapes(first_layers: int = 0) -> Shapes:
    """Of 16 x 16 pixels: two blocks."""
    shapes: Shapes = {"convs.0.0.weight": (WIDTH, 3, 1, 1), "convs.0.1.bias": (WIDTH,)}
    for layer in range(1, first_layers + 1):
        shapes |= {f"convs.{layer}.0.weight": (WIDTH, WIDTH, 3, 3), f"convs.{layer}.1.bias": (WIDTH,)}
    for block in (first_layers + 1, first_layers + 2):
        shapes |= {
            f"convs.{block}.conv1.0.weight": (WIDTH, WIDTH, 3, 3),
            f"convs.{block}.conv1.1.bias": (WIDTH,),
            f"convs.{block}.conv2.0.kernel": (4, 4),
            f"convs.{block}.conv2.1.weight": (WIDTH, WIDTH, 3, 3),
            f"convs.{block}.conv2.2.bias": (WIDTH,),
            f"convs.{block}.skip.0.kernel": (4, 4),
            f"convs.{block}.skip.1.weight": (WIDTH, WIDTH, 1, 1),
        }
    return shapes | {
        "final_conv.0.weight": (WIDTH, WIDTH + 1, 3, 3),
        "final_conv.1.bias": (WIDTH,),
        "final_linear.0.weight": (WIDTH, 16 * WIDTH),
        "final_linear.0.bias": (WIDTH,),
        "final_linear.1.weight": (1, WIDTH),
        "final_linear.1.bias": (1,),
    }


def filled(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    return {
        name: taps[:, None] * taps if name.endswith("kernel") else torch.randn(shape, generator=rng)
        for name, shape in shapes.items()
    }


def our_generator(**options: Any) -> CIPSGenerator:  # noqa: ANN401
    settings = {"grid_size": 16, "features": FEATURES, "width": WIDTH, "style_size": STYLE}
    return CIPSGenerator(**{**settings, **options})


GENERATOR = generator_shapes("skip", [WIDTH] * 3, 16)


@pytest.mark.parametrize(
    ("variant", "entries"), [("skip", 122), ("residual", 100)]
)  # counted in the released configurations
def test_the_released_layouts(variant: str, entries: int) -> None:
    shapes = generator_shapes(variant, [8, 8, 8, 8, 8, 4, 2], 256)
    assert len(shapes) == entries
    generator = our_generator(variant=variant, grid_size=256)
    state = filled(shapes, 0)
    load_generator(generator, state)
    ours = generator.state_dict()
    for key, name in official_names(generator).items():
        torch.testing.assert_close(ours[key].flatten(), state[name].flatten(), atol=0, rtol=0)


@pytest.mark.parametrize("activation", ["sin", "sinrelu"])
def test_other_activations_keep_their_bias_elsewhere(activation: str) -> None:
    generator = our_generator(activation=activation)
    state = filled(generator_shapes("skip", [WIDTH] * 3, 16, bias="bias"), 0)
    load_generator(generator, state)
    torch.testing.assert_close(generator.trunk.first.bias, state["conv1.bias"].flatten(), atol=0, rtol=0)


def test_an_averaged_generator_alone_or_under_its_name(tmp_path: Path) -> None:
    state = filled(GENERATOR, 0)
    images = []
    for number, content in enumerate((state, {"g_ema": state})):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        module = Module(our_generator().eval())
        module.generator.remember_mean_w(torch.randn(10, STYLE))
        load_official(module, read_official(path))
        assert module.generator.mean_w_draws == 0  # that of other weights
        with torch.no_grad():
            images.append(module.generator(torch.ones(1, STYLE), pixel_coordinates(4, 4)[None], noise="none"))
    torch.testing.assert_close(images[0], images[1], atol=0, rtol=0)
    module = Module(our_generator())
    load_official(module, {"g_ema": state})
    torch.testing.assert_close(module.generator.inputs.embedding, state["emb.input"][0], atol=0, rtol=0)


@pytest.mark.parametrize("first_layers", [0, 2])
def test_discriminators(first_layers: int) -> None:
    discriminator = CIPSDiscriminator(16, width=WIDTH, first_layers=first_layers)
    state = filled(discriminator_shapes(first_layers), 1)
    load_discriminator(discriminator, state)
    for key, name in official_names(discriminator).items():
        torch.testing.assert_close(discriminator.state_dict()[key].flatten(), state[name].flatten())
    assert len(official_names(discriminator)) == len([name for name in state if "kernel" not in name])


class OfficialTraining:
    """A network's tensors in the official layout, as parameters of the official Adam."""

    def __init__(self, shapes: Shapes, seed: int, lr: float) -> None:
        self.state = filled(shapes, seed)
        self.parameters = {k: nn.Parameter(v) for k, v in self.state.items() if "kernel" not in k}
        self.adam = torch.optim.Adam(self.parameters.values(), lr=lr, betas=(0.0, 0.99))

    def step(self, seed: int) -> dict[str, Tensor]:
        """One step with random gradients, which are returned."""
        rng = torch.Generator().manual_seed(seed)
        for parameter in self.parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=rng)
        self.adam.step()
        return {k: p.grad for k, p in self.parameters.items() if p.grad is not None}

    def saved(self) -> dict[str, Tensor]:
        return {
            k: self.parameters[k].detach().clone() if "kernel" not in k else v for k, v in self.state.items()
        }


def checkpoint() -> tuple[OfficialTraining, OfficialTraining, dict[str, Any]]:
    """Two networks after two official steps, and the file that would be saved then."""
    g = OfficialTraining(GENERATOR, 0, lr=0.0016)
    d = OfficialTraining(discriminator_shapes(), 1, lr=0.0019)
    for seed in (2, 3):
        g.step(seed)
        d.step(seed)
    content = {
        "g": g.saved(),
        "d": d.saved(),
        "g_ema": filled(GENERATOR, 4),
        "g_optim": g.adam.state_dict(),
        "d_optim": d.adam.state_dict(),
    }
    return g, d, content


def both_networks() -> Module:
    return Module(our_generator(), CIPSDiscriminator(16, width=WIDTH))


def test_a_training_checkpoint_continues_as_the_official_training_would(tmp_path: Path) -> None:
    g, d, content = checkpoint()
    torch.save(content, tmp_path / "100.pt")
    content = torch.load(tmp_path / "100.pt", weights_only=True)
    module = both_networks()
    load_official(module, content)
    assert module.discriminator is not None
    rest = training_state(module.generator, module.discriminator, content)
    for network, official, state in (
        (module.generator, g, rest.generator_adam),
        (module.discriminator, d, rest.discriminator_adam),
    ):
        adam = torch.optim.Adam(network.parameters(), lr=1.0)
        adam.load_state_dict(state)
        assert adam.param_groups[0]["lr"] == official.adam.param_groups[0]["lr"]
        assert tuple(adam.param_groups[0]["betas"]) == (0.0, 0.99)
        given, names = official.step(9), official_names(network)
        for key, parameter in network.named_parameters():
            parameter.grad = given[names[key]].reshape(parameter.shape)
        adam.step()
        for key, parameter in network.named_parameters():
            expected = official.parameters[names[key]].detach().reshape(parameter.shape)
            torch.testing.assert_close(parameter.detach(), expected, atol=0, rtol=0)
    averages = dict(module.generator.named_parameters())
    assert rest.averages.keys() == averages.keys()
    torch.testing.assert_close(rest.averages["inputs.embedding"], content["g_ema"]["emb.input"][0])


def test_an_optimiser_that_never_stepped_has_no_moments() -> None:
    _, _, content = checkpoint()
    content["g_optim"]["state"] = {}
    module = both_networks()
    assert module.discriminator is not None
    state = training_state(module.generator, module.discriminator, content).generator_adam
    assert state["state"] == {}
    assert state["param_groups"][0]["params"] == list(range(len(list(module.generator.parameters()))))


def test_moments_of_old_files_count_steps_in_plain_numbers() -> None:
    _, _, content = checkpoint()
    for moments in content["g_optim"]["state"].values():
        moments["step"] = 2
    module = both_networks()
    assert module.discriminator is not None
    state = training_state(module.generator, module.discriminator, content).generator_adam
    assert torch.equal(state["state"][0]["step"], torch.tensor(2.0))


def without(key: str, content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            without("to_rgbs.1.bias", filled(GENERATOR, 0)),
            r"1 tensors missing \(first: to_rgbs\.1\.bias\), 0 left",
        ),
        (
            {**filled(GENERATOR, 0), "extra": torch.ones(1)},
            r"0 tensors missing .*1 left over \(first: extra\)",
        ),
        (
            {**filled(GENERATOR, 0), "emb.input": torch.ones(1, FEATURES, 8, 8)},
            r"emb\.input is \[1, 6, 8, 8\], expected \[6, 16, 16\] beside axes of size one; check grid_size",
        ),
        (
            filled(generator_shapes("residual", [WIDTH] * 3, 16), 0),
            r"check variant, grid_size, mapping_layers",
        ),
    ],
)
def test_a_generator_of_another_architecture(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UserError, match=rf"does not fit CIPSGenerator: .*{message}"):
        load_official(Module(our_generator()), state)


def test_another_blur_is_refused() -> None:
    state = filled(discriminator_shapes(), 0)
    state["convs.2.skip.0.kernel"] = torch.ones(4, 4) / 16
    with pytest.raises(UserError, match=r"convs\.2\.skip\.0\.kernel .* is not the blur of \[1, 3, 3, 1\]"):
        load_discriminator(CIPSDiscriminator(16, width=WIDTH), state)


@pytest.mark.parametrize("part", ["g", "d", "g_ema", "g_optim", "d_optim"])
def test_a_training_checkpoint_without_a_part(part: str) -> None:
    _, _, content = checkpoint()
    message = (
        rf"training checkpoint lacks {part}; expected g, d, g_ema, g_optim, d_optim: give the whole file"
    )
    module = both_networks()
    assert module.discriminator is not None
    with pytest.raises(UserError, match=message):
        load_official(module, without(part, content))
    with pytest.raises(UserError, match=message):
        training_state(module.generator, module.discriminator, without(part, content))


def test_damaged_optimisers() -> None:
    _, _, content = checkpoint()
    module = both_networks()
    assert module.discriminator is not None
    del content["d_optim"]["state"][3]
    with pytest.raises(
        UserError, match=r"d_optim of the official file has no moments of convs\.1\.conv1\.1\.bias"
    ):
        training_state(module.generator, module.discriminator, content)
    content["g_optim"]["param_groups"][0]["params"].pop()
    with pytest.raises(
        UserError, match=r"g_optim of the official file has \[65\] parameters in its groups; expected one"
    ):
        training_state(module.generator, module.discriminator, content)


def test_modules_of_other_methods() -> None:
    with pytest.raises(
        UserError, match=r"the file is one of CIPS, the experiment's model is Linear; name an"
    ):
        load_official(nn.Linear(1, 1), {})
    with pytest.raises(UserError, match=r"the experiment's model Module has no discriminator"):
        load_official(Module(our_generator()), checkpoint()[2])
