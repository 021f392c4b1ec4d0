"""Official CIPS files -> ours: the averaged generator alone, or a training checkpoint with everything that it needs.

Shapes differ only in axes of size one, and the moments of Adam are named by the position of their parameter.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.cips.blur import TAPS
from repsynth.modules.cips.discriminator import CIPSDiscriminator
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.trunks import ResidualTrunk
from repsynth.reference.files import read_file, read_official

State = Mapping[str, Tensor]
_Rename = tuple[str, str | Callable[[re.Match[str]], str]]

TRAINING_PARTS = ("g", "d", "g_ema", "g_optim", "d_optim")
"""What an official training checkpoint holds."""
OFFICIAL_BATCH = 32
"""Images of an iteration of the released recipe, over all devices."""
_OURS_ALONE = ("mean_w", "mean_w_draws")
_BLUR = ".kernel"  # buffers of the official discriminator


class TrainingState(NamedTuple):
    """What continues an official training beside the weights of the two networks."""

    averages: dict[str, Tensor]
    """The averaged generator, by the names of `CIPSGenerator.named_parameters`."""
    generator_adam: dict[str, Any]
    """For `Adam(generator.parameters()).load_state_dict`."""
    discriminator_adam: dict[str, Any]
    """For `Adam(discriminator.parameters()).load_state_dict`."""


def read(path: Path) -> Mapping[str, Any]:
    """Read an official file: a training checkpoint whole, of any other file the network's tensors.

    Raises:
        UserError: the file is missing, damaged, or holds neither.
    """
    content = read_file(path)
    if isinstance(content, Mapping) and is_training_checkpoint(content):
        return content
    return read_official(path)


def continuation(module: nn.Module, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a checkpoint of ours that continue an official training; none for a generator alone.

    Both optimisers, the averages, and the iterations, which are the steps of the generator's Adam (the official program
    takes them from the file's name). Where in the data the training was is not known; samples are counted in batches of
    `OFFICIAL_BATCH`.
    """
    if not is_training_checkpoint(content):
        return {}
    generator: Any = module.generator
    state = training_state(generator, _discriminator_of(module), content)
    steps = [int(moments["step"]) for moments in state.generator_adam["state"].values()]
    iterations = max(steps, default=0)
    averages = {f"generator.{name}": value for name, value in state.averages.items()}
    return {
        "optimizer_states": [state.generator_adam, state.discriminator_adam],
        "lr_schedulers": [],
        "callbacks": {
            "EMA": {"averages": averages},
            "Determinism": {"samples_seen": iterations * OFFICIAL_BATCH},
        },
        "iterations": iterations,
        "epoch": 0,
        "global_step": 0,
    }


def load_official(module: nn.Module, content: Mapping[str, Any]) -> None:
    """Fill a CIPS module's networks.

    Args:
        module: with a `CIPSGenerator` as `generator`, and for training checkpoints a `CIPSDiscriminator` as
            `discriminator`.
        content: the averaged generator's state dictionary, which fills the generator; or a training checkpoint, whose
            g and d do. `training_state` gives the rest of it.

    Raises:
        UserError: the module is another method's, or the content does not fit its networks.
    """
    generator = getattr(module, "generator", None)
    if not isinstance(generator, CIPSGenerator):
        raise UserError(
            f"the file is one of CIPS, the experiment's model is {type(module).__name__}; name an experiment of CIPS "
            "with --config"
        )
    if not is_training_checkpoint(content):
        load_generator(generator, content.get("g_ema", content))
        return
    _check_parts(content)
    load_generator(generator, content["g"])
    load_discriminator(_discriminator_of(module), content["d"])


def is_training_checkpoint(content: Mapping[str, Any]) -> bool:
    """Tell a training checkpoint from the averaged generator alone, by itself or under its name."""
    return any(part in content for part in TRAINING_PARTS if part != "g_ema")


def load_generator(generator: CIPSGenerator, state: State) -> None:
    """Fill a generator; its mean style is unknown afterwards.

    Raises:
        UserError: a tensor is missing, left over or of another shape.
    """
    generator.load_state_dict(_renamed(generator, state), strict=False)
    generator.mean_w.zero_()
    generator.mean_w_draws.zero_()


def load_discriminator(discriminator: CIPSDiscriminator, state: State) -> None:
    """Fill a discriminator.

    Raises:
        UserError: a tensor is missing, left over or of another shape, or the blur is another one.
    """
    discriminator.load_state_dict(_renamed(discriminator, state))


def training_state(
    generator: CIPSGenerator, discriminator: CIPSDiscriminator, content: Mapping[str, Any]
) -> TrainingState:
    """Return what a training checkpoint holds beside the weights that `load_official` takes.

    Raises:
        UserError: a part is missing, or does not fit the networks.
    """
    _check_parts(content)
    return TrainingState(
        _renamed(generator, content["g_ema"]),
        _adam(generator, content["g"], content["g_optim"], "g_optim"),
        _adam(discriminator, content["d"], content["d_optim"], "d_optim"),
    )


def official_names(network: nn.Module) -> dict[str, str]:
    """Return the official name of every tensor of a generator or discriminator of ours, by our name."""
    renames = _of_discriminator(network) if isinstance(network, CIPSDiscriminator) else _of_generator(network)
    names = {}
    for ours in network.state_dict():
        name = ours
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        if ours not in _OURS_ALONE:
            names[ours] = name
    return names


def _of_generator(network: nn.Module) -> list[_Rename]:
    assert isinstance(network, CIPSGenerator)
    last = isinstance(network.trunk, ResidualTrunk)
    bias = "activate.bias" if network.trunk.activation == "leaky_relu" else "bias"
    return [
        (r"^inputs\.(weight|bias)$", r"lff.ffm.conv.\1"),
        (r"^inputs\.embedding$", "emb.input"),
        (r"^mapping\.layers\.(\d+)", lambda found: f"style.{int(found[1]) + 1}"),
        (r"^(trunk\.(?:first|layers|blocks)\.(?:.*\.)?)bias$", rf"\1{bias}"),
        (r"linear\.modulation\.activate\.bias$", "linear.modulation.bias"),
        (r"\.strength$", ".noise.weight"),
        (r"\.linear\.", ".conv."),
        (r"^trunk\.to_rgb", "to_rgb_last" if last else "to_rgbs"),
        (r"^trunk\.first", "linears.0" if last else "conv1"),
        (r"^trunk\.layers", "linears"),
        (r"^trunk\.blocks\.(\d+)", lambda found: f"linears.{int(found[1]) + 1}"),
        (r"^(linears\.\d+)\.first", r"\1.conv1"),
        (r"^(linears\.\d+)\.second", r"\1.conv2"),
        (r"\.skip$", ".skip.0.weight"),
    ]


def _of_discriminator(network: CIPSDiscriminator) -> list[_Rename]:
    blocks = 1 + len(network.first_layers)
    return [
        (r"^first_layers\.(\d+)", lambda found: f"convs.{int(found[1]) + 1}"),
        (r"^blocks\.(\d+)", lambda found: f"convs.{int(found[1]) + blocks}"),
        (r"^first\.", "convs.0."),
        (r"^last\.", "final_conv."),
        (r"^hidden\.", "final_linear.0."),
        (r"^score\.", "final_linear.1."),
        (r"^(convs\.\d+|final_conv)\.weight$", r"\1.0.weight"),
        (r"^(convs\.\d+|final_conv)\.bias$", r"\1.1.bias"),
        (r"\.first\.weight$", ".conv1.0.weight"),
        (r"\.first\.bias$", ".conv1.1.bias"),
        (r"\.second\.weight$", ".conv2.1.weight"),
        (r"\.second\.bias$", ".conv2.2.bias"),
        (r"\.skip\.weight$", ".skip.1.weight"),
    ]


def _renamed(network: nn.Module, state: State) -> dict[str, Tensor]:
    """The tensors of an official state under our names and in our shapes."""
    names, ours = official_names(network), network.state_dict()
    theirs = {name: value for name, value in state.items() if not name.endswith(_BLUR)}
    for name in state.keys() - theirs.keys():
        _check_blur(name, state[name])
    missing = sorted(set(names.values()) - theirs.keys())
    left_over = sorted(theirs.keys() - set(names.values()))
    if missing or left_over:
        raise UserError(
            f"the official file does not fit {type(network).__name__}: {len(missing)} tensors missing (first: "
            f"{(missing or ['-'])[0]}), {len(left_over)} left over (first: {(left_over or ['-'])[0]}); check variant, "
            "grid_size, mapping_layers and activation of the generator, size and first_layers of the discriminator"
        )
    return {key: _fitted(network, name, theirs[name], ours[key]) for key, name in names.items()}


def _fitted(network: nn.Module, name: str, value: Tensor, ours: Tensor) -> Tensor:
    """A tensor in our shape, which may leave out axes of size one."""
    if [side for side in value.shape if side > 1] != [side for side in ours.shape if side > 1]:
        raise UserError(
            f"the official file does not fit {type(network).__name__}: {name} is {list(value.shape)}, expected "
            f"{list(ours.shape)} beside axes of size one; check grid_size, features and style_size of the generator, "
            "size, channels and width of the discriminator"
        )
    return value.reshape(ours.shape)


def _check_blur(name: str, kernel: Tensor) -> None:
    taps = torch.tensor(TAPS) / sum(TAPS)
    expected = taps[:, None] * taps
    if kernel.shape != expected.shape or not torch.allclose(kernel.float(), expected, atol=1e-6):
        raise UserError(
            f"{name} of the official file is not the blur of [1, 3, 3, 1] that this discriminator has; the file is of "
            "another network and cannot be imported"
        )


def _check_parts(content: Mapping[str, Any]) -> None:
    missing = [part for part in TRAINING_PARTS if part not in content]
    if missing:
        raise UserError(
            f"the official training checkpoint lacks {', '.join(missing)}; expected {', '.join(TRAINING_PARTS)}: give "
            "the whole file, or the averaged generator alone"
        )


def _discriminator_of(module: nn.Module) -> CIPSDiscriminator:
    discriminator = getattr(module, "discriminator", None)
    if not isinstance(discriminator, CIPSDiscriminator):
        raise UserError(
            f"the file is a training checkpoint, but the experiment's model {type(module).__name__} has no "
            "discriminator; name an experiment of CIPS with --config"
        )
    return discriminator


def _adam(network: nn.Module, state: State, optimizer: Mapping[str, Any], part: str) -> dict[str, Any]:
    """An official optimiser's state for Adam over `network.parameters()`.

    The official optimiser counts parameters in the order of the network's state dictionary in the same file.
    """
    names, parameters = official_names(network), dict(network.named_parameters())
    places = {name: place for place, name in enumerate(k for k in state if not k.endswith(_BLUR))}
    groups = optimizer["param_groups"]
    if len(groups) != 1 or len(groups[0]["params"]) != len(places) or len(places) != len(parameters):
        raise UserError(
            f"{part} of the official file has {[len(group['params']) for group in groups]} parameters in its groups; "
            f"expected one group of {len(parameters)}: the file is damaged or of another network"
        )
    indices = groups[0]["params"]
    ours = torch.optim.Adam(parameters.values()).state_dict()
    ours["param_groups"][0] |= {
        key: groups[0][key] for key in ("lr", "betas", "eps", "weight_decay", "amsgrad")
    }
    for position, (key, parameter) in enumerate(parameters.items()):
        moments = optimizer["state"].get(indices[places[names[key]]])
        if moments is not None:
            ours["state"][position] = _moments(network, f"{part} of {names[key]}", moments, parameter)
        elif optimizer["state"]:
            raise UserError(
                f"{part} of the official file has no moments of {names[key]}: the file is damaged"
            )
    return ours


def _moments(
    network: nn.Module, name: str, moments: Mapping[str, Any], parameter: Tensor
) -> dict[str, Tensor]:
    """Adam's state of one parameter."""
    return {
        "step": torch.as_tensor(moments["step"], dtype=torch.float32).reshape(()),
        **{key: _fitted(network, name, moments[key], parameter).clone() for key in ("exp_avg", "exp_avg_sq")},
    }
