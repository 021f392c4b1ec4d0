"""Under which circumstances figures came about, in words and for JSON."""

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import repsynth
from repsynth.benchmark.protocol import NvsProtocol

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "pillow")


def described(protocol: NvsProtocol, path: Path, device: torch.device) -> dict[str, Any]:
    """Date, command, versions, device and protocol, ready for JSON."""
    return {
        "task": "nvs",
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "versions": {
            "repsynth": repsynth.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        "device": device_words(device),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "protocol_file": str(path),
        "protocol": protocol.plain(),
    }


def notes(protocol: NvsProtocol, path: Path, device: torch.device) -> list[str]:
    """What a reader of the table has to know, in sentences."""
    crop = f"{protocol.crop:g} pixels" if protocol.crop > 1 else f"{protocol.crop:.0%}"
    seeds = "" if len(protocol.seeds) == 1 else f", averaged over {len(protocol.seeds)} seeds"
    sentences = [
        f"Protocol {path}: mean ± standard deviation over the images, central {crop}{seeds}; {device_words(device)}."
    ]
    if protocol.repeats:
        where = "of the device" if device.type == "cuda" else "of a fresh process"
        sentences.append(
            "scene: seconds to build one; frames/s: novel views rendered from it (predicted from the inputs where "
            f"there is no scene), batch 1, medians of {protocol.repeats} rounds, all models in turn; memory: weights "
            f"and what one scene and view add at the peak, {where}."
        )
    if "lpips" in protocol.metrics and protocol.lpips.weights == "random":
        sentences.append("lpips_random: a stand-in with random weights, comparable within this table only.")
    return sentences


def device_words(device: torch.device) -> str:
    """What computes: the name of the GPU, or of the processor and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
