"""Evaluation scenes as numbered folders of pictures with one CSV each, as SIMPLI's official code exchanges them."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from torch import Tensor

from repsynth.batches import PosedViews, Views
from repsynth.exports.files import write_bytes
from repsynth.exports.pictures import as_unit
from repsynth.media import to_bytes, write_png

_COLUMNS = ("frame_id", "type", "frame_path", "frame_size", "extrinsic_re", "intrinsics_re")


def write_validation_set(batches: Iterable[PosedViews], root: Path) -> list[str]:
    """Write the scenes of an evaluation loader to `root/0`, `root/1` ... and return their ids in that order.

    Each folder holds `scene.csv` and, as PNG where the official code has JPEG, the pictures `initial/` (all source
    views), `reference/` (the first of them) and `novel/`. Of a camera the file has the 12 numbers of [R | t], world to
    camera, and the 9 of the relative intrinsics.

    Args:
        batches: for example `datamodule.test_dataloader()`; images uint8, or float in [0, 1].
        root: is made.
    """
    ids: list[str] = []
    for batch in batches:
        for index, name in enumerate(batch["ids"]):
            _write_scene(batch, index, root / str(len(ids)))
            ids.append(name)
    return ids


def _write_scene(batch: PosedViews, index: int, folder: Path) -> None:
    source, novel = _of_scene(batch["source"], index), _of_scene(batch["novel"], index)
    reference = {key: value[:1] for key, value in source.items()}
    table = StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for kind, views in (("initial", source), ("reference", reference), ("novel", novel)):
        writer.writerows(_write_views(kind, views, folder))
    write_bytes(folder / "scene.csv", table.getvalue().encode())


def _of_scene(views: Views, index: int) -> dict[str, Tensor]:
    return {
        "images": views["images"][index],
        "extrinsics": views["extrinsics"][index],
        "intrinsics": views["intrinsics"][index],
    }


def _write_views(kind: str, views: dict[str, Tensor], folder: Path) -> list[list[object]]:
    rows: list[list[object]] = []
    for number, image in enumerate(views["images"]):
        path = f"{kind}/{kind}_{number:06d}.png"
        write_png(to_bytes(as_unit(image)), folder / path)
        camera = [views["extrinsics"][number, :3].flatten(), views["intrinsics"][number].flatten()]
        rows.append([number, kind, path, list(image.shape[-2:]), *(part.tolist() for part in camera)])
    return rows
