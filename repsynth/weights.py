"""Find, check and load the published weight files that losses and metrics stand on.

One order everywhere: the option's own path, the folder in the environment variable REPSYNTH_WEIGHTS, the
cache of torch hub, a download. The eight hexadecimal digits in a published name are the start of the file's
SHA-256; torch hub does not compare them when the file is already there, this module always does.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from repsynth.errors import UserError

VARIABLE = "REPSYNTH_WEIGHTS"
RANDOM = "random"
"""Value of a weights option that asks for the stand-in by name."""
AUTO = "auto"
"""Value of a weights option that asks for the published file, wherever it is found."""


@dataclass(frozen=True)
class WeightFile:
    """A published file.

    Attributes:
        name: File name, with the digits of its checksum.
        address: Where the publisher keeps it.
    """

    name: str
    address: str


def _torchvision(name: str) -> WeightFile:
    return WeightFile(name, f"https://download.pytorch.org/models/{name}")


_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"

FILES = {
    "vgg19": _torchvision("vgg19-dcbb9e9d.pth"),
    "vgg16": _torchvision("vgg16-397923af.pth"),
    "alexnet": _torchvision("alexnet-owt-7be5be79.pth"),
    "squeezenet": _torchvision("squeezenet1_1-b8a52dc0.pth"),
    "inception_fid": WeightFile(
        _INCEPTION, f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_INCEPTION}"
    ),
}
"""Every weight file that repsynth may ask for, by the network's name."""


def resolve(file: WeightFile, option: str, path: str | Path = AUTO, download: bool = True) -> Path:
    """Return where a weight file lies, checked; fetch it if it lies nowhere and that is allowed.

    Of several processes on one machine one downloads and the others wait for it (a lock beside the file, so
    that it also works before there is a process group).

    Args:
        file: What is wanted, usually from `FILES`.
        option: Name of the option that leads here, for the message.
        path: A file, a folder that holds it, or "auto".
        download: Whether the network may be used.

    Raises:
        UserError: When the file is found nowhere, cannot be fetched, or does not match its checksum.
    """
    if str(path) != AUTO:
        return _checked(_given(file, Path(path).expanduser(), option), option)
    found = _lying_around(file)
    if found is None and download:
        found = _fetched(file, option)
    if found is None:
        raise UserError(_missing(file, option, "the option forbids downloading it"))
    return _checked(found, option)


def load(path: Path, option: str) -> dict[str, Tensor]:
    """Return the tensors of a weight file on the CPU; code in the file is never run.

    Raises:
        UserError: When the file is not a table of tensors that torch can read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # Whatever the unpickler stumbles over, the file is at fault.
        raise UserError(
            f"the weight file {path} ({option}) cannot be read as PyTorch weights ({type(error).__name__}): "
            "give the published file or fetch it again"
        ) from error
    if not isinstance(state, dict):
        raise UserError(
            f"the weight file {path} ({option}) holds a {type(state).__name__}, expected a state dict"
        )
    return state


def fill(network: nn.Module, state: dict[str, Tensor], path: Path, option: str) -> None:
    """Copy tensors into a network; the table must hold every key of the network and may hold more.

    Raises:
        UserError: Naming the first key that is missing or has another shape.
    """
    wanted = network.state_dict()
    for key, tensor in wanted.items():
        found = state.get(key)
        if found is None or found.shape != tensor.shape:
            what = "is missing" if found is None else f"has the shape {list(found.shape)}"
            raise UserError(
                f"the weight file {path} ({option}) does not fit: {key} {what}, "
                f"expected {list(tensor.shape)}; give the weights of the network that the option names"
            )
    network.load_state_dict({key: state[key] for key in wanted})


def fill_randomly(network: nn.Module, seed: int = 0) -> None:
    """Fill a convolutional network with a stand-in: weights from a fixed seed, features that do not vanish.

    Biases are zero, weights normal; each convolution is scaled so that its output for one fixed picture
    (noise of several octaves, 64 x 64) has unit standard deviation. The same on every machine up to rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    # Drawn first, so that a network that is the beginning of another gets the same weights.
    probe = _octaves(generator)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        layer.weight.data.normal_(generator=generator)
        if layer.bias is not None:
            layer.bias.data.zero_()
    hooks = [layer.register_forward_hook(_scale) for layer in layers]
    with torch.no_grad():
        network(probe)
    for hook in hooks:
        hook.remove()


def _scale(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    deviation = output.std()
    layer.get_parameter("weight").data.div_(deviation)
    return output / deviation


def _octaves(generator: torch.Generator) -> Tensor:
    """Return a [1, 3, 64, 64] picture with detail at every scale, like a photograph's."""
    noise = [torch.randn(1, 3, side, side, generator=generator) for side in (1, 2, 4, 8, 16, 32, 64)]
    return sum(
        (nn.functional.interpolate(octave, (64, 64), mode="bilinear") for octave in noise),
        torch.zeros(1, 3, 64, 64),
    )


def _given(file: WeightFile, path: Path, option: str) -> Path:
    found = path / file.name if path.is_dir() else path
    if not found.is_file():
        raise UserError(
            f"{option} names {found}, where there is no file: expected {file.name} from {file.address}, "
            f'or "{AUTO}" to look in ${VARIABLE} and in the cache of torch hub'
        )
    return found


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _lying_around(file: WeightFile) -> Path | None:
    folder = os.environ.get(VARIABLE)
    places = [Path(folder).expanduser()] if folder else []
    candidates = [place / file.name for place in (*places, _cache())]
    return next((path for path in candidates if path.is_file()), None)


def _fetched(file: WeightFile, option: str) -> Path:
    target = _cache() / file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_suffix(".lock")):
            if not target.is_file():
                torch.hub.download_url_to_file(file.address, str(target), hash_prefix=_digits(file.name))
    except (OSError, RuntimeError) as error:  # RuntimeError: the checksum of what arrived is wrong.
        raise UserError(_missing(file, option, f"downloading it failed ({error})")) from error
    return target


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _missing(file: WeightFile, option: str, why: str) -> str:
    return (
        f"the weight file {file.name} is neither in ${VARIABLE} nor in {_cache()}, and {why}: fetch it from "
        f"{file.address}, then give its path as {option} or its folder as ${VARIABLE}, "
        f'or set {option} to "{RANDOM}" for the stand-in'
    )


def _digits(name: str) -> str | None:
    match = re.search(r"-([0-9a-f]{8})\.", name)
    return match[1] if match else None


def _checked(path: Path, option: str) -> Path:
    expected = _digits(path.name)
    if expected is None:
        return path
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if not found.startswith(expected):
        raise UserError(
            f"the weight file {path} ({option}) is damaged or another one: its SHA-256 starts with "
            f"{found[:8]}, its name says {expected}; delete it and fetch it again"
        )
    return path


def _is_zip(path: Path) -> bool:
    """Only the newer of the two formats can be mapped into memory."""
    with path.open("rb") as handle:
        return handle.read(2) == b"PK"
