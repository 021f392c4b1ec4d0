"""Pictures in a fixed order, whatever holds them: files, a zip archive, an LMDB, or tar archives."""

from pathlib import Path
from typing import Protocol

from repsynth.cache import default_cache
from repsynth.datamodules.folder_store import FolderStore, files_below
from repsynth.datamodules.lmdb_store import DATA, LmdbStore
from repsynth.datamodules.picture_names import SUFFIXES, is_picture
from repsynth.datamodules.shard_store import ShardStore
from repsynth.datamodules.zip_store import ZipStore
from repsynth.errors import UserError

_EXPECTED = (
    f"a folder of pictures ({' '.join(SUFFIXES)}) at any depth, a .zip of them, an LMDB (the folder with {DATA}), or "
    ".tar files (a folder of them, or one)"
)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class ImageStore(Protocol):
    """Encoded pictures, numbered from 0 in an order that is the same everywhere.

    A store is small, can be pickled, and opens files in the process that reads them.
    """

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The picture's relative name, unique in the store."""

    def label(self, index: int) -> str:
        """What messages call the picture: its path, or its place inside an archive."""

    def encoded(self, index: int, most: int | None = None) -> bytes:
        """The bytes of the picture's file.

        Args:
            index: of the picture.
            most: read the first bytes only, so many if there are.

        Raises:
            UserError: they cannot be read.
        """

    @property
    def files(self) -> list[Path]:
        """The files that hold the pictures, for `cache.key_of`."""


def open_store(
    path: Path, dataset: str = "images", option: str = "data.root", cache: Path | None = None
) -> ImageStore:
    """Find out what holds the pictures at a path, and list them.

    Folders are read to any depth, in the order of the relative names; hidden files count for nothing. Inside an
    LMDB the order is that of the keys, and what an entry is called says nothing of its format.

    Args:
        path: of a folder or an archive.
        dataset: what messages begin with.
        option: that names the path, for messages.
        cache: folder where lists are kept that take long; None takes `cache.default_cache()`.

    Raises:
        UserError: nothing there, no pictures, or an archive that cannot be read.
    """
    cache = cache or default_cache()
    if path.is_dir():
        return _in_folder(path, dataset, option, cache)
    if not path.exists():
        raise UserError(
            f"{dataset}: no folder or archive at {path} (option {option}). Expected {_EXPECTED}. See "
            "docs/data/images.md for how to get it."
        )
    if path.name == DATA:
        return LmdbStore.of(path.parent, dataset, cache)
    if path.suffix.lower() == ".zip":
        return ZipStore.of(path, dataset)
    if path.suffix.lower() == ".tar":
        return ShardStore.of(path, [], dataset, cache)
    if path.name.lower().endswith(_COMPRESSED):
        raise UserError(
            f"{dataset}: {path} is compressed, so that nothing can be read from its middle; unpack it to .tar"
        )
    raise UserError(f"{dataset}: {path} (option {option}) is a file of another kind; expected {_EXPECTED}")


def _in_folder(path: Path, dataset: str, option: str, cache: Path) -> ImageStore:
    if (path / DATA).is_file():
        return LmdbStore.of(path, dataset, cache)
    files = files_below(path)
    pictures = [name for name in files if is_picture(name)]
    shards = [name for name in files if name.lower().endswith(".tar")]
    if pictures and shards:
        raise UserError(
            f"{dataset}: {path} (option {option}) holds {len(pictures)} pictures and {len(shards)} .tar files, so that "
            f"it is not clear which are meant (first: {min(pictures)}, {min(shards)}); move one kind elsewhere"
        )
    if pictures:
        return FolderStore.of(path, pictures)
    if shards:
        return ShardStore.of(path, shards, dataset, cache)
    raise UserError(_without_pictures(path, files, dataset, option))


def _without_pictures(path: Path, files: list[str], dataset: str, option: str) -> str:
    """The sentence on a folder without pictures, with what may be meant."""
    folders = sorted(name.rpartition("/")[0] for name in files if name.split("/")[-1] == DATA)
    if folders:
        return (
            f"{dataset}: {path} holds no {DATA}, but its folders {', '.join(folders[:3])} do; set {option} to "
            f"{path / folders[0]} or another of them"
        )
    if "lock.mdb" in files or path.name.endswith("_lmdb"):
        return f"{dataset}: {path} holds no {DATA} (is the zip unpacked?)"
    archives = sorted(name for name in files if name.lower().endswith((".zip", *_COMPRESSED)))
    if archives:
        return (
            f"{dataset}: {path} holds no pictures but {archives[0]}; set {option} to that file if it is a .zip of "
            "pictures, else unpack it"
        )
    return f"{dataset}: {len(files)} files under {path} but no image (suffixes: {' '.join(SUFFIXES)})"
