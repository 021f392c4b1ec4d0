"""Speed and memory of the rasterisers: `python benchmarks/rasterizer.py`.

Grid meshes of 32, 64 and 128 vertices per side over an image of 256 x 256 with one fragment per pixel; four layers
of 512 x 512 vertices over 512 x 512 with 16 fragments; and the same mesh over a growing part of the image, which
shows that memory follows the covered pixels: faces x pixels are as many in each of these rows.
Where pytorch3d is not installed its figures are quoted: version 0.7.9 built for CPU, two idle cores.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NamedTuple, get_args

import torch
from measure import memory_of, print_memory_growth, side_by_side
from torch import Tensor

import repsynth  # noqa: F401 (before anything that looks for torchvision)
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layers import layer_faces, layer_vertices
from repsynth.geometry.rasterizers import BackEnd, missing_back_end, select_rasterizer

QUOTED = {32: (0.60, 4.0), 64: (2.0, 5.0), 128: (7.0, 9.8)}
"""pytorch3d's seconds forward and forward + backward, by vertices per side."""


class Case(NamedTuple):
    """One mesh and image."""

    title: str
    layers: int
    side: int
    image: int
    fragments: int
    extent: float = 1.0


CASES = {
    "32": Case("1 layer of 32 x 32, image 256 x 256", 1, 32, 256, 1),
    "64": Case("1 layer of 64 x 64, image 256 x 256", 1, 64, 256, 1),
    "128": Case("1 layer of 128 x 128, image 256 x 256", 1, 128, 256, 1),
    "512x4": Case("4 layers of 512 x 512, image 512 x 512, 16 peels", 4, 512, 512, 16),
    "1%": Case("1 layer of 128 x 128 over 1 % of 1024 x 1024", 1, 128, 1024, 1, 0.1),
    "25%": Case("1 layer of 128 x 128 over 25 % of 1024 x 1024", 1, 128, 1024, 1, 0.5),
    "100%": Case("1 layer of 128 x 128 over all of 1024 x 1024", 1, 128, 1024, 1, 1.0),
    "100%, 512": Case("1 layer of 512 x 512 over all of 1024 x 1024", 1, 512, 1024, 1, 1.0),
}


def mesh(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Return the vertices on the screen [1, V, 3] and the faces [F, 3] of a case: bumpy layers."""
    rng = torch.Generator().manual_seed(0)
    bumps = 1 + 0.05 * torch.rand(1, case.layers, case.side, case.side, generator=rng)
    depth = bumps * torch.linspace(4, 1, case.layers)[:, None, None]
    camera = Cameras(torch.eye(4)[None], torch.tensor([[[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1.0]]]))
    pixels, depth = camera.project(layer_vertices(depth, camera))
    pixels = 0.5 + case.extent * (pixels - 0.5)
    vertices = torch.cat([pixels, depth[..., None]], dim=-1)
    return vertices.to(device), layer_faces(case.layers, case.side, case.side).to(device)


def works(case: Case, back_end: BackEnd, device: str) -> dict[str, Callable[[], object]]:
    """Return the forward pass without gradients and the forward and backward pass."""
    rasterize = select_rasterizer(back_end)
    vertices, faces = mesh(case, device)
    size = (case.image, case.image)

    def forward() -> None:
        with torch.no_grad():
            rasterize(vertices, faces, size, fragments=case.fragments, interpolation="affine")

    def forward_backward() -> None:
        moved = vertices.clone().requires_grad_()
        found = rasterize(moved, faces, size, fragments=case.fragments, interpolation="affine")
        (found.depth.sum() + found.barycentrics.square().sum()).backward()

    return {"forward": forward, "forward + backward": forward_backward}


def print_row(key: str, back_end: BackEnd, device: str, rounds: int) -> None:
    case = CASES[key]
    measured = side_by_side(works(case, back_end, device), rounds)
    memory = memory_of(__file__, ["--memory-of", key, "--back-end", back_end, "--device", device])
    cells = [f"{1e3 * value.median:8.1f} ms (best {1e3 * value.best:.1f})" for value in measured.values()]
    ratio = ""
    if back_end == "torch" and key.isdigit() and device == "cpu":
        speed = [
            quoted / value.median for quoted, value in zip(QUOTED[int(key)], measured.values(), strict=True)
        ]
        ratio = f" | {speed[0]:.0f} x and {speed[1]:.0f} x the quoted pytorch3d"
    print(
        f"{case.title:52} {back_end:10} | {' | '.join(cells)} | +{memory / 2**20:6.0f} MiB{ratio}", flush=True
    )


def print_quoted(key: str) -> None:
    forward, both = QUOTED[int(key)]
    figures = f"{1e3 * forward:8.0f} ms | {1e3 * both:8.0f} ms"
    print(f"{CASES[key].title:52} pytorch3d  | {figures} | quoted, not measured here")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--back-end", choices=get_args(BackEnd))
    parser.add_argument("--memory-of", choices=list(CASES), help="only print the memory of one case, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.memory_of:
        chosen: BackEnd = options.back_end or "torch"
        case = CASES[options.memory_of]
        print_memory_growth(lambda: works(case, chosen, options.device)["forward + backward"])
        return 0
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, load {load:.1f}")
    print("medians and best of the forward pass, of forward + backward, and the memory that the latter adds")
    for back_end in [options.back_end] if options.back_end else get_args(BackEnd):
        missing = missing_back_end(back_end)
        if missing is None:
            for key in CASES:
                print_row(key, back_end, options.device, options.rounds)
        elif back_end == "pytorch3d":
            for key in filter(str.isdigit, CASES):
                print_quoted(key)
        else:
            print(missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
