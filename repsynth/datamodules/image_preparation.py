"""Preparing sets of images at exact sizes, for `repsynth data prepare-images`."""

from collections.abc import Callable
from pathlib import Path

from repsynth.cache import default_cache, key_of
from repsynth.datamodules.image_stores import ImageStore, open_store
from repsynth.datamodules.lmdb_target import require_lmdb
from repsynth.datamodules.preparation_recipes import Preparation
from repsynth.datamodules.preparation_record import FILE, Record, read_record, require_same, signature
from repsynth.datamodules.preparation_run import OnBadImage, PreparationRun, output_names, places, refusal
from repsynth.datamodules.stored_pictures import cached_heads
from repsynth.errors import UserError


def prepare_images(
    source: Path,
    target: Path,
    preparation: Preparation,
    on_bad_image: OnBadImage = "stop",
    workers: int = 0,
    tell: Callable[[str], None] = print,
) -> Record:
    """Write every picture of a set at exact sizes; what is there is kept, so that a broken run can be repeated.

    All sizes of a picture come from one decoding. Nothing is written before the heads of all pictures have been looked
    at. The result does not depend on `workers`, nor on whether a run was interrupted and repeated.

    Args:
        source: of the pictures, see `image_stores.open_store`.
        target: folder that gets `preparation.json` and, for each size, a folder of files, an archive `<size>.zip`, or a
            folder with an LMDB.
        preparation: what is made.
        on_bad_image: `stop` at pictures that cannot be used, or `skip` them.
        workers: processes; 0 prepares in this one.
        tell: gets the lines of what is done.

    Returns:
        What `preparation.json` holds.

    Raises:
        UserError: no pictures, ones that cannot be used, a target that holds something else or cannot be written.
    """
    if workers < 0:
        raise UserError(f"--workers is {workers}; expected 0 or more")
    if preparation.recipe.to == "lmdb":
        require_lmdb()
    store = open_store(source, "prepare-images", "SOURCE")
    _require_apart(source, target, preparation)
    record = _record(source, target, store, preparation, on_bad_image)
    tell(preparation.in_words())
    try:
        PreparationRun(source, target, store, preparation, record, on_bad_image, workers, tell).prepare()
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): choose another TARGET or make room, then start again: "
            "what is there is kept"
        ) from error
    return record


def _record(
    source: Path, target: Path, store: ImageStore, preparation: Preparation, on_bad_image: OnBadImage
) -> Record:
    """What the run will record, after the checks of source and target."""
    known = read_record(target)
    record = Record.of(preparation, source, store, known)
    if known is None:
        for size, place in places(target, preparation).items():
            if place.exists():
                raise UserError(
                    f"{place} is there already without a {FILE} beside it, and --size {size} would go there; choose "
                    "another TARGET or remove it"
                )
        if preparation.recipe.to != "lmdb":
            output_names(store, preparation)
        _check_heads(store, preparation, on_bad_image)
        return record
    require_same(known, record, target)
    if record.unreadable:
        record.unreadable, record.source_signature = [], signature(store, source, [])
    return record


def _require_apart(source: Path, target: Path, preparation: Preparation) -> None:
    """Raise UserError when the output would become part of the source or overwrite it."""
    read, written = source.resolve(), target.resolve()
    if written.exists() and not written.is_dir():
        raise UserError(f"{target} (TARGET) is a file; expected a folder, which need not be there yet")
    if read in (written, *written.parents):
        raise UserError(
            f"{target} (TARGET) lies in SOURCE {source}, where its pictures would be read as more of the source; "
            "choose a folder outside"
        )
    for size, place in places(written, preparation).items():
        if place in (read, *read.parents):
            raise UserError(f"{source} (SOURCE) lies where --size {size} is written; choose another TARGET")


def _check_heads(store: ImageStore, preparation: Preparation, on_bad_image: OnBadImage) -> None:
    """Look at the heads of all pictures."""
    heads = cached_heads(
        store, key_of(files=store.files), preparation.recipe.convert_colours, default_cache()
    )
    complaints = list(heads.complaints.values())
    if complaints and (on_bad_image == "stop" or len(complaints) == len(store)):
        raise refusal(complaints, len(store))
    short, largest = heads.sizes.min(1), preparation.sizes[-1]
    small = ((short > 0) & (short < largest)).nonzero()[0]
    if len(small) and not preparation.allow_upscale:
        height, width = heads.sizes[small[0]]
        raise UserError(
            f"{len(small)} of {len(store)} images have a shorter side below --size {largest}, first "
            f"{store.label(int(small[0]))} with {width}x{height}; take a smaller --size, leave them out of SOURCE, or "
            "pass --allow-upscale"
        )
