"""What `repsynth data prepare-images` left beside a set of pictures that training reads."""

from pathlib import Path

from repsynth.datamodules.preparation_record import FILE, Record, read_record
from repsynth.errors import UserError


def preparation_of(root: Path) -> str | None:
    """How the pictures at a path were prepared, in words; None for those that no record speaks of.

    Args:
        root: of the pictures: the folder or the archive of one size.

    Raises:
        UserError: the preparation was not finished, or `root` is the folder of all sizes.
    """
    if root.is_dir():
        whole = _record(root)
        if whole is not None:
            sizes = [f"{root / str(size)}{'.zip' if whole.to == 'zip' else ''}" for size in whole.sizes]
            raise UserError(
                f"{root} (option data.root) holds prepared sets of the sizes {', '.join(map(str, whole.sizes))}; set "
                f"data.root to one of them: {', '.join(sizes)}"
            )
    record = _record(root.parent)
    if record is None or root.name.removesuffix(".zip") not in map(str, record.sizes):
        return None
    if not record.finished:
        raise UserError(
            f"{root} is part of a preparation that has not finished ({root.parent / FILE}); repeat its `repsynth data "
            "prepare-images`, which goes on where it stopped"
        )
    quality = "" if record.quality is None else f" quality {record.quality}"
    changed = f" with another {' and '.join(record.overrides)}" if record.overrides else ""
    return (
        f"prepared by the recipe {record.recipe}{changed} ({record.filter}, crop {record.crop}, "
        f"{record.format}{quality})"
    )


def _record(folder: Path) -> Record | None:
    try:
        return read_record(folder)
    except UserError:  # another program's file of that name
        return None
