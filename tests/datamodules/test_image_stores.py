import io
import multiprocessing
import os
import pickle
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repsynth.cache import key_of
from repsynth.datamodules import lmdb_store, shard_store
from repsynth.datamodules.image_stores import ImageStore, open_store
from repsynth.datamodules.stored_pictures import cached_heads, read_stored
from repsynth.errors import UserError
from tests.datamodules.stored_sets import (
    WRITERS,
    encoded,
    lsun_key,
    noise,
    pictures,
    write_cips,
    write_deflated,
    write_folder,
    write_lmdb,
    write_lsun,
    write_shards,
    write_tar,
    write_zip,
)

PNG = encoded(noise(0))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(store: ImageStore) -> list[bytes]:
    return [store.encoded(index) for index in range(len(store))]


def names(store: ImageStore) -> list[str]:
    return [store.name(index) for index in range(len(store))]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_holds_the_same_pictures_in_the_same_order(kind: str, tmp_path: Path) -> None:
    content = pictures(7)
    store = open_store(WRITERS[kind](tmp_path / "set", content))
    assert contents(store) == [content[name] for name in sorted(content)]
    if kind in ("lsun", "cips"):
        keys = [lsun_key(i).decode() if kind == "lsun" else f"{i:07d}" for i in range(7)]
        assert names(store) == keys
    else:
        assert names(store) == sorted(content)
    for index, pixels in enumerate(sorted(content)):
        expected = np.asarray(Image.open(io.BytesIO(content[pixels]))).transpose(2, 0, 1)
        assert np.array_equal(read_stored(store, index, convert=False), expected)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_first_bytes_alone_and_labels_and_files(kind: str, tmp_path: Path) -> None:
    content = pictures(3)
    root = WRITERS[kind](tmp_path / "set", content)
    store = open_store(root)
    first = content[min(content)]
    assert store.encoded(0, 10) == first[:10]
    assert store.encoded(0, 10**9) == first
    assert store.label(1).startswith(str(root)) and store.name(1).rpartition("/")[2] in store.label(1)
    assert all(file.is_file() for file in store.files) and len(set(store.files)) == len(store.files)


@pytest.mark.parametrize(
    ("kind", "method"), [*((kind, "fork") for kind in WRITERS), ("zip", "spawn"), ("lsun", "spawn")]
)
def test_other_processes_read_what_this_one_opened(kind: str, method: str, tmp_path: Path) -> None:
    content = pictures(6)
    store = open_store(WRITERS[kind](tmp_path / "set", content))
    expected = contents(store)  # handles are open before the fork
    assert len(pickle.dumps(store)) < 4000
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(store.encoded, [*range(6)] * 4)) == expected * 4
    assert contents(store) == expected


def opened_here(store: ImageStore) -> tuple[bytes, bool]:
    """A picture, and whether this process opened the LMDB itself."""
    content = store.encoded(1)
    return content, [process for process, *_ in lmdb_store._open.values()] == [os.getpid()]


def test_every_process_opens_an_lmdb_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_store, "_open", {})
    store = open_store(write_lsun(tmp_path / "set", pictures(3)))
    here = opened_here(store)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(opened_here, store).result() == here == (store.encoded(1), True)


@pytest.mark.parametrize("kind", WRITERS)
def test_another_set_at_the_same_path_is_read_anew(kind: str, tmp_path: Path) -> None:
    write = WRITERS[kind]
    root = write(tmp_path / "set", pictures(3))
    before = open_store(root)
    key, old = key_of(files=before.files), contents(before)
    other = write(tmp_path / "other", {name: encoded(noise(50 + i)) for i, name in enumerate(pictures(4))})
    root.rename(tmp_path / f"old{root.suffix}")
    other.rename(root)
    after = open_store(root)
    assert len(after) == 4 and not set(contents(after)) & set(old)
    assert key_of(files=after.files) != key


def test_lists_that_take_long_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [write_lsun(tmp_path / "lsun", pictures(3)), write_shards(tmp_path / "shards", pictures(3))]
    first = [contents(open_store(root)) for root in roots]
    monkeypatch.setattr(lmdb_store, "_keys", lambda *_: pytest.fail("listed twice"))
    monkeypatch.setattr(shard_store, "_listed", lambda *_: pytest.fail("listed twice"))
    assert [contents(open_store(root)) for root in roots] == first


def test_suffixes_in_any_case_and_hidden_files(tmp_path: Path) -> None:
    picture = encoded(noise(0))
    wanted = ["B.JPG", "a.png", "d.jpeg", "deep/er/c.WebP"]
    others = [".e.png", ".cache/f.png", "__MACOSX/g.png", "h.txt", "._a.png", "x/.y/z.png"]
    content = dict.fromkeys([*wanted, *others], picture)
    for write in (write_folder, write_zip, write_tar):
        assert names(open_store(write(tmp_path / write.__name__, content))) == wanted


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"b/1.png": encoded(noise(1)), "b/2.png": encoded(noise(2))})
    elsewhere = write_folder(tmp_path / "elsewhere", {"3.png": encoded(noise(3))})
    (root / "a").symlink_to(root / "b")  # read under its own name, which comes later
    (root / "b" / "circle").symlink_to(root)
    (root / "c").symlink_to(elsewhere)
    (root / "d").symlink_to(elsewhere)
    (root / "4.png").symlink_to(elsewhere / "3.png")
    (root / "5.png").symlink_to(elsewhere / "not there")
    store = open_store(root)
    assert names(store) == ["4.png", "5.png", "b/1.png", "b/2.png", "c/3.png"]
    assert store.encoded(0) == store.encoded(4)
    with pytest.raises(UserError, match=r"5\.png: no such file; an image was expected here"):
        store.encoded(1)


def test_names_beyond_ascii(tmp_path: Path) -> None:
    content = {"été/über 1.png": encoded(noise(1)), "日本/2.png": encoded(noise(2))}
    for write in (write_folder, write_zip, write_tar, write_shards):
        store = open_store(write(tmp_path / write.__name__, content))
        assert names(store) == sorted(content) and contents(store) == [
            content[name] for name in sorted(content)
        ]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_an_entry_is_called_says_nothing_of_its_format(kind: str, tmp_path: Path) -> None:
    pixels = noise(0, 8, 8)
    content = {"a/1.webp": encoded(pixels, "png"), "b/2.png": encoded(pixels, "webp", lossless=True)}
    store = open_store(WRITERS[kind](tmp_path / "set", content))
    for index in range(2):
        assert np.array_equal(read_stored(store, index, False), pixels.transpose(2, 0, 1))


def test_heads_tell_sizes_as_viewers_show_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "x" * 50_000  # the size comes far behind it
    content = {
        "1.png": encoded(noise(1, 20, 30)),
        "2.jpg": encoded(noise(2, 20, 30), "jpeg", exif=exif.tobytes()),
        "3.jpg": encoded(noise(3, 40, 10), "jpeg", exif=thumbnail.tobytes()),
        "4.webp": encoded(noise(4, 300, 200), "webp", lossless=True),
        "5.png": b"",
        "6.png": encoded(noise(6))[:20],
        "7.png": encoded(np.zeros((4, 4, 4), dtype=np.uint8)),
        "8.jpg": encoded(noise(8, 9, 9)[..., 0], "jpeg"),
    }
    store = open_store(write_folder(tmp_path / "set", content))
    heads = cached_heads(store, "key", False, tmp_path)
    assert heads.sizes.tolist() == [[20, 30], [30, 20], [40, 10], [300, 200], [0, 0], [0, 0], [0, 0], [9, 9]]
    assert sorted(heads.complaints) == [4, 5, 6]
    assert heads.complaints[4].startswith(
        f"{tmp_path}/set/5.png: cannot be decoded (cannot identify image file"
    )
    assert "7.png: has the colour mode RGBA" in heads.complaints[6]
    known = cached_heads(store, "key", False, tmp_path)
    assert np.array_equal(known.sizes, heads.sizes) and known.complaints == heads.complaints
    assert cached_heads(store, "key", True, tmp_path).sizes[6].tolist() == [4, 4]
    assert read_stored(store, 1, False).shape == (3, 30, 20)


def test_pictures_of_the_shared_samples(shared_dir: Path, tmp_path: Path) -> None:
    folder = shared_dir / "data" / "landscapes"
    content = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert len(content) == 5
    for kind in ("folder", "deflated zip", "tar", "lsun", "cips"):
        store = open_store(WRITERS[kind](tmp_path / kind, content))
        heads = cached_heads(store, kind, False, tmp_path)
        for index, name in enumerate(sorted(content)):
            expected = np.asarray(Image.open(folder / name)).transpose(2, 0, 1)
            assert np.array_equal(read_stored(store, index, False), expected)
            assert tuple(heads.sizes[index]) == expected.shape[1:]


def broken_zip(root: Path) -> Path:
    path = write_zip(root / "set", pictures(4))
    path.write_bytes(path.read_bytes()[:-30])
    return path


def lzma_zip(root: Path) -> Path:
    return write_zip(root / "set", pictures(2), zipfile.ZIP_LZMA)


def encrypted_zip(root: Path) -> Path:
    path = write_zip(root / "set", pictures(1))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # its flag in the list at the end
    path.write_bytes(content)
    return path


def twice_in_zip(root: Path) -> Path:
    path = write_zip(root / "set", pictures(1))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/00.png", b"other")
    return path


def packed_lmdb(root: Path) -> Path:
    return write_zip(root / "set", {"church_outdoor_train_lmdb/data.mdb": b"x"})


def cut_tar(root: Path) -> Path:
    path = write_tar(root / "set", pictures(4))
    path.write_bytes(path.read_bytes()[:1000])
    return path


def endless_tar(root: Path) -> Path:
    """Cut between two members, where tarfile takes it for whole."""
    content = pictures(2)
    path = write_tar(root / "set", content)
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1].offset
    path.write_bytes(path.read_bytes()[:second])
    return path


def linked_tar(root: Path) -> Path:
    path = root / "set.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("1.png")
        member.type, member.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(member)
    return path


def gz_inside_tar(root: Path) -> Path:
    path = root / "set.tar"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("1.png")
        member.size = len(PNG)
        archive.addfile(member, io.BytesIO(PNG))
    return path


def strange_file(name: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / name).write_bytes(b"what?" * 5000)
        return root / name

    return make


def folder_with(*files: str) -> Callable[[Path], Path]:
    return lambda root: write_folder(root / "set", dict.fromkeys(files, b"x"))


def lmdb_with(entries: dict[bytes, bytes]) -> Callable[[Path], Path]:
    return lambda root: write_lmdb(root / "set", entries)


FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (
        lambda root: root / "no",
        "images: no folder or archive at {root}/no (option data.root). Expected a folder of pictures (.jpg .jpeg .png "
        ".webp) at any depth, a .zip of them, an LMDB (the folder with data.mdb), or .tar files (a folder of them, or "
        "one). See docs/data/images.md for how to get it.",
    ),
    "no pictures": (
        folder_with("a.txt", "b/c.gif"),
        "images: 2 files under {root}/set but no image (suffixes: .jpg .jpeg .png .webp)",
    ),
    "pictures and shards": (
        folder_with("a.png", "b/c.tar", "d.tar"),
        "images: {root}/set (option data.root) holds 1 pictures and 2 .tar files, so that it is not clear which are "
        "meant (first: a.png, b/c.tar); move one kind elsewhere",
    ),
    "an LMDB further down": (
        folder_with("128/data.mdb", "256/data.mdb"),
        "images: {root}/set holds no data.mdb, but its folders 128, 256 do; set data.root to {root}/set/128 or another "
        "of them",
    ),
    "half an LMDB": (folder_with("lock.mdb"), "images: {root}/set holds no data.mdb (is the zip unpacked?)"),
    "an archive further down": (
        folder_with("images1024x1024.zip"),
        "images: {root}/set holds no pictures but images1024x1024.zip; set data.root to that file if it is a .zip of "
        "pictures, else unpack it",
    ),
    "another file": (
        strange_file("set.bin"),
        "images: {root}/set.bin (option data.root) is a file of another kind; expected a folder of pictures (.jpg "
        ".jpeg .png .webp) at any depth, a .zip of them, an LMDB (the folder with data.mdb), or .tar files (a folder "
        "of them, or one)",
    ),
    "compressed tar": (
        strange_file("set.tar.gz"),
        "images: {root}/set.tar.gz is compressed, so that nothing can be read from its middle; unpack it to .tar",
    ),
    "compressed tar without the suffix": (
        gz_inside_tar,
        "images: {root}/set.tar cannot be read as a tar archive (invalid header); expected one without compression, "
        "whole: get it again, or unpack a compressed one",
    ),
    "zip cut off": (
        broken_zip,
        "images: {root}/set.zip cannot be read as a zip archive (File is not a zip file); an interrupted download is "
        "cut off: get it again",
    ),
    "zip without pictures": (
        lambda root: write_zip(root / "set", {"a.txt": b""}),
        "images: {root}/set.zip: 1 files inside but no image (suffixes: .jpg .jpeg .png .webp)",
    ),
    "packed LMDB": (
        packed_lmdb,
        "images: {root}/set.zip holds no pictures but a packed LMDB; unpack it and name the folder with data.mdb "
        "instead",
    ),
    "zip of another compression": (
        lzma_zip,
        "images: {root}/set.zip: a/00.png is compressed by lzma, expected entries that are stored or deflated; unpack "
        "the archive and name the folder instead",
    ),
    "encrypted zip": (
        encrypted_zip,
        "images: {root}/set.zip: a/00.png is encrypted; unpack the archive and name the folder instead",
    ),
    "a name twice": (
        twice_in_zip,
        "images: {root}/set.zip holds a/00.png twice; names are the ids of pictures: write the archive anew, each once",
    ),
    "tar cut off": (
        cut_tar,
        "images: {root}/set.tar cannot be read as a tar archive (unexpected end of data); expected one without "
        "compression, whole: get it again, or unpack a compressed one",
    ),
    "tar without end": (
        endless_tar,
        "images: {root}/set.tar is cut off or damaged at byte 1536; get it again",
    ),
    "tar without pictures": (
        lambda root: write_tar(root / "set", {"a.txt": b""}),
        "images: {root}/set.tar: no image inside (suffixes: .jpg .jpeg .png .webp)",
    ),
    "tar with links": (
        linked_tar,
        "images: {root}/set.tar: 1.png is no plain file; write the archive without links or holes",
    ),
    "no LMDB": (
        lambda root: strange_file("data.mdb")(root),
        "{root}/data.mdb cannot be read as an LMDB ({root}: MDB_INVALID: File is not an LMDB file); get it again",
    ),
    "empty file of an LMDB": (
        lambda root: write_folder(root / "set", {"data.mdb": b""}),
        "{root}/set/data.mdb cannot be read as an LMDB (it is empty); get it again",
    ),
    "LMDB without entries": (
        lmdb_with({}),
        "images: opened an LMDB without images: {root}/set has no entry at all",
    ),
    "LMDB of something else": (
        lmdb_with({b"meta": b"{}", lsun_key(1): PNG}),
        "images: opened an LMDB without images: first key 'meta', first bytes 7b 7d (in {root}/set); expected keys of "
        "40 hexadecimal digits (LSUN) or numbers with an entry length (CIPS), and JPEG, PNG or WebP",
    ),
    "LMDB of no pictures": (
        lmdb_with({lsun_key(1): b"GIF89a..............."}),
        "images: opened an LMDB without images: first key '0000000000000000000000000000000000000001', first bytes 47 "
        "49 46 38 39 61 2e 2e (in {root}/set); expected keys of 40 hexadecimal digits (LSUN) or numbers with an entry "
        "length (CIPS), and JPEG, PNG or WebP",
    ),
    "CIPS without number": (
        lmdb_with({b"0000000": PNG, b"length": b"many"}),
        "images: {root}/set: its entry length is b'many', expected the number of pictures; prepare it again",
    ),
    "CIPS interrupted": (
        lmdb_with({b"0000000": PNG, b"0000002": PNG, b"length": b"0000004"}),
        "images: {root}/set holds 2 of 4 pictures, first missing 0000001; its preparation was interrupted: prepare it "
        "again",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_told_in_one_sentence(fault: str, tmp_path: Path) -> None:
    make, sentence = FAULTS[fault]
    root = make(tmp_path)
    with pytest.raises(UserError) as caught:
        open_store(root)
    assert str(caught.value) == sentence.replace("{root}", str(tmp_path))


def test_an_lmdb_that_is_cut_off_is_told_and_does_not_end_the_process(tmp_path: Path) -> None:
    path = write_lsun(tmp_path / "set", pictures(40)) / "data.mdb"
    whole = path.stat().st_size
    os.truncate(path, whole // 2)
    with pytest.raises(UserError) as caught:
        open_store(path)
    assert re.fullmatch(
        rf"{path} cannot be read as an LMDB \(it has {whole // 2} bytes of \d+\); get it again",
        str(caught.value),
    )


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_lsun(tmp_path / "set", pictures(1))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError) as caught:
        open_store(root, "LSUN")
    assert str(caught.value) == (
        f"LSUN: {root} is an LMDB, and the lmdb package is missing: pip install repsynth[lmdb]"
    )


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path / "set", pictures(2))

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"set cannot be read \(Permission denied\); see to its rights"):
        open_store(root)


def test_damage_inside_archives_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    content = pictures(3)
    stored, deflated = write_zip(tmp_path / "s", content), write_deflated(tmp_path / "d", content)
    tar = write_tar(tmp_path / "t", content)
    stores = [open_store(path) for path in (stored, deflated, tar)]
    expected = contents(stores[0])
    for path, place in ((stored, 60), (deflated, 45)):
        damaged = bytearray(path.read_bytes())
        damaged[place] ^= 255
        path.write_bytes(damaged)
    tar.write_bytes(tar.read_bytes()[:1000])
    sentences = ("check sum is another", "damaged, get it again", "the file ends before it")
    for store, words in zip(stores, sentences, strict=True):
        with pytest.raises(UserError, match=words):
            contents(store)
    assert len(expected) == 3


def test_a_picture_that_went_away_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", pictures(2))
    store = open_store(root)
    (root / "a" / "00.png").unlink()
    with pytest.raises(UserError, match=r"set/a/00\.png: no such file; an image was expected here"):
        store.encoded(0)


def test_entries_of_other_names_beside_those_of_cips_do_no_harm(tmp_path: Path) -> None:
    entries = {b"0000000": PNG, b"length": b"0000001", b"recipe": b"bilinear"}
    assert names(open_store(write_lmdb(tmp_path / "set", entries))) == ["0000000"]


def test_the_file_of_an_lmdb_names_it_too(tmp_path: Path) -> None:
    root = write_cips(tmp_path / "256", pictures(3))
    assert contents(open_store(root / "data.mdb")) == contents(open_store(root))
