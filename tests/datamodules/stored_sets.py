"""Writing one set of pictures in every form that `image_stores` reads."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

Pictures = dict[str, bytes]
"""Relative name -> content of the file."""


def encoded(pixels: np.ndarray, kind: str = "png", **options: object) -> bytes:
    """Pixels [H, W, 3] or [H, W] as the content of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def noise(seed: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pictures(count: int, side: int = 16, kind: str = "png") -> Pictures:
    """Named so that their order is not that of a folder's entries."""
    return {
        f"{'ab'[number % 2]}/{number:02d}.{kind}": encoded(noise(number, side, side), kind)
        for number in range(count)
    }


def write_folder(path: Path, content: Pictures) -> Path:
    for name, each in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(each)
    return path


def write_zip(path: Path, content: Pictures, method: int = zipfile.ZIP_STORED) -> Path:
    path = path.with_suffix(".zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, each in reversed(content.items()):
            archive.writestr(name, each)
    return path


def write_deflated(path: Path, content: Pictures) -> Path:
    return write_zip(path, content, zipfile.ZIP_DEFLATED)


def write_tar(path: Path, content: Pictures) -> Path:
    path = path.with_suffix(".tar")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, each in reversed(content.items()):
            member = tarfile.TarInfo(name)
            member.size = len(each)
            archive.addfile(member, io.BytesIO(each))
    return path


def write_shards(path: Path, content: Pictures) -> Path:
    """A folder of one archive for each folder of the pictures, so that names stay as they are."""
    for folder in sorted({name.split("/")[0] for name in content}):
        inside = {name.split("/", 1)[1]: each for name, each in content.items() if name.startswith(folder)}
        write_tar(path / folder, inside | {f"{name}.json": b"{}" for name in inside})
    return path


def write_lmdb(path: Path, entries: dict[bytes, bytes]) -> Path:
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, each in entries.items():
            transaction.put(key, each)
    (path / "lock.mdb").unlink()
    return path


def lsun_key(number: int) -> bytes:
    return f"{number:040x}".encode()


def write_lsun(path: Path, content: Pictures) -> Path:
    """In the order of their names, as the keys go."""
    return write_lmdb(path, {lsun_key(i): content[name] for i, name in enumerate(sorted(content))})


def write_cips(path: Path, content: Pictures) -> Path:
    entries = {f"{i:07d}".encode(): content[name] for i, name in enumerate(sorted(content))}
    return write_lmdb(path, entries | {b"length": f"{len(content):07d}".encode()})


WRITERS: dict[str, Callable[[Path, Pictures], Path]] = {
    "folder": write_folder,
    "zip": write_zip,
    "deflated zip": write_deflated,
    "tar": write_tar,
    "shards": write_shards,
    "lsun": write_lsun,
    "cips": write_cips,
}
