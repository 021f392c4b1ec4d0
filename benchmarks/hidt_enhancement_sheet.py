"""Enhanced translations of photographs beside plain ones, made by `repsynth predict`, in one picture.

`python benchmarks/hidt_enhancement_sheet.py RUN PHOTOGRAPHS --out docs/images/FILE.jpg` takes the best checkpoint of a
run of HiDT's enhancer and a folder of photographs. Every row shows the middle of one of them, then in the style of the
next one: translated at the working size and enlarged, enhanced, and enhanced with the photograph's own detail.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from hidt_contact_sheet import cell, sheet_parser
from PIL import Image

import repsynth  # noqa: F401  guards torchvision
from repsynth.datamodules.photo_files import PhotoFiles
from repsynth.datamodules.photo_reading import read_photo
from repsynth.media import Panel, grid

COLUMNS = {
    "translated, enlarged": ["--model.relighting.resolution=plain"],
    "enhanced": ["--model.relighting.resolution=enhanced"],
    "enhanced, own detail": ["--model.relighting.resolution=enhanced", "--model.relighting.detail=true"],
}


def predict(run: Path, photographs: str, root: Path, words: list[str]) -> None:
    """Show every photograph in the style of each, below a folder."""
    command = [
        *(sys.executable, "-m", "repsynth", "predict", f"--config={run / 'config.yaml'}"),
        f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}",
        "--data=repsynth.datamodules.photo_files.PhotoFiles",
        *(f"--data.content={photographs}", f"--data.style={photographs}"),
        *("--model.relighting.file.suffix=.png", f"--trainer.default_root_dir={root}"),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


def main() -> None:
    options = sheet_parser(__doc__, 256).parse_args()
    photos = list(PhotoFiles(options.photographs).sizes)
    rows = [[Panel(cell(read_photo(photo).pixels, options.side))] for photo in photos]
    sizes = [
        f"--model.relighting.photo.working_size={options.working_size}",
        f"--model.relighting.size={options.side}",
    ]
    for words in COLUMNS.values():
        with tempfile.TemporaryDirectory() as folder:
            predict(options.run, options.photographs, Path(folder), [*sizes, *words])
            for row, photo, style in zip(rows, photos, [*photos[1:], photos[0]], strict=True):
                (made,) = Path(folder, "predictions").glob(f"{photo.stem}_to_{style.stem}*.png")
                row.append(Panel(cell(read_photo(made).pixels, options.side), style.stem))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid(["photograph", *COLUMNS], rows)).save(options.out, quality=88)


if __name__ == "__main__":
    main()
