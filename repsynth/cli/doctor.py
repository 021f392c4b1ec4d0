"""`repsynth doctor`: what is installed, what is missing, and what each part would enable."""

import importlib.metadata
import importlib.util
import netrc
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import repsynth

_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "kornia",
    "timm",
    "albumentations",
    "numpy",
    "scikit-image",
    "av",
    "wandb",
)
_OPTIONAL = {
    "pytorch3d": "the rasteriser back end `pytorch3d` (build it from source against the installed torch)",
    "nvdiffrast": "the rasteriser back end `nvdiffrast` (needs a CUDA device; install it from its source)",
    "face_alignment": "key points of faces (pip install 'repsynth[faces]')",
}
_WEIGHTS = {
    "vgg19": "the perceptual loss",
    "vgg16": "LPIPS with the VGG backbone",
    "alexnet": "LPIPS with the AlexNet backbone (without it the figure is called lpips_random)",
    "inception_fid": "FID, KID and IS (without it the figures are called *_random)",
}


def print_report() -> None:
    """Print the report; a missing part is information, not an error."""
    sections = {
        "versions": _versions(),
        "devices": _devices(),
        "optional parts": _optional_parts(),
        "weight files": _weight_files(),
        "video and logging": _video_and_logging(),
    }
    for title, rows in sections.items():
        print(title)
        for name, state in rows:
            print(f"  {name:<20} {state}")


def _versions() -> Iterator[tuple[str, str]]:
    yield "repsynth", repsynth.__version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for package in _PACKAGES:
        yield package, _version(package) or "missing; install repsynth again"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    yield "cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    yield "torch built for", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        hint = (
            "a driver is there: install a CUDA build of torch" if shutil.which("nvidia-smi") else "no driver"
        )
        yield "cuda", f"not available ({hint}); everything runs on the CPU, more slowly"


def _optional_parts() -> Iterator[tuple[str, str]]:
    for package, gives in _OPTIONAL.items():
        present = importlib.util.find_spec(package) is not None
        yield (
            package,
            f"{_version(package.replace('_', '-')) or 'present'}" if present else f"missing; enables {gives}",
        )


def _weight_files() -> Iterator[tuple[str, str]]:
    from repsynth import weights
    from repsynth.errors import UserError

    for name, gives in _WEIGHTS.items():
        file = weights.FILES[name]
        try:
            yield name, str(weights.resolve(file, "the option `weights`", download=False))
        except UserError as error:
            yield name, f"missing; enables {gives}; {error}"


def _video_and_logging() -> Iterator[tuple[str, str]]:
    yield "ffmpeg", _ffmpeg()
    yield "wandb", _wandb()


def _ffmpeg() -> str:
    try:
        import av
    except ImportError as error:
        return f"missing ({error}); enables reading and writing of video"
    codec = "libx264" if "libx264" in av.codecs_available else "no H.264 encoder"
    return f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))} inside PyAV, {codec}"


def _wandb() -> str:
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return f"mode {mode} (from WANDB_MODE)"
    if os.environ.get("WANDB_API_KEY") or _in_netrc("api.wandb.ai"):
        return "logged in"
    return "not logged in; `wandb login` sends runs to the service, WandbLogger(offline=True) keeps them here"


def _in_netrc(host: str) -> bool:
    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return host in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False
