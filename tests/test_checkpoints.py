import os
import resource
import signal
import zipfile
from pathlib import Path
from unittest import mock

import lightning.pytorch as pl
import pytest
import torch
from processes import started
from torch import nn

from repsynth import checkpoints
from repsynth.checkpoints import DurableCheckpointIO, newest_good, verify, write
from repsynth.errors import UserError


def state(samples: int = 0, value: float = 0.0) -> dict:
    weights = torch.full((4, 5), value)
    return {
        "state_dict": {"weight": weights},
        "optimizer_states": [],
        "callbacks": {"Determinism": {"samples_seen": samples}},
    }


def load(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)["state_dict"]["weight"]


def test_write_keeps_the_one_before(tmp_path: Path) -> None:
    last, before = tmp_path / "a" / "last.ckpt", tmp_path / "a" / "last-1.ckpt"
    for value in (1.0, 2.0, 3.0):
        write(state(value=value), last, previous=before)
    assert load(last)[0, 0] == 3 and load(before)[0, 0] == 2
    assert sorted(p.name for p in last.parent.iterdir()) == ["last-1.ckpt", "last.ckpt"]


def test_write_without_hard_links(tmp_path: Path) -> None:
    last, before = tmp_path / "last.ckpt", tmp_path / "last-1.ckpt"
    with mock.patch.object(Path, "hardlink_to", side_effect=OSError("not supported")):
        write(state(value=1.0), last, previous=before)
        write(state(value=2.0), last, previous=before)
    assert load(last)[0, 0] == 2 and load(before)[0, 0] == 1


def test_flushes_file_and_folder_in_order(tmp_path: Path) -> None:
    events = []
    real_replace = Path.replace

    def fsync(descriptor: int) -> None:
        events.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    with mock.patch("repsynth.checkpoints.os.fsync", fsync), mock.patch.object(Path, "replace", replace):
        write(state(), tmp_path / "last.ckpt")
    assert events == ["file", "rename", "folder"]


def write_too_much(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    write({"w": torch.ones(10)}, path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        write({"w": torch.ones(1_000_000)}, path)
    except UserError as error:
        print(error)


def test_full_disk_is_one_sentence_and_harms_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the system refuses the bytes in the same place."""
    path, printed = tmp_path / "run" / "last.ckpt", tmp_path / "printed"
    path.parent.mkdir()
    process = started(write_too_much, path, output=printed)
    process.join(120)
    assert process.exitcode == 0, printed.read_text()
    (sentence,) = printed.read_text().splitlines()
    assert "could not be written (File too large); what was there before is untouched" in sentence
    assert torch.load(path, weights_only=True)["w"].numel() == 10
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"could not be written \(.*\).*trainer.default_root_dir"):
        write(state(), tmp_path / "file" / "last.ckpt")


def test_content_that_needs_code_is_refused_when_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written"):
        write({"path": Path("x")}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_change_on_the_disk_are_found_before_the_rename(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write(state(value=1.0), path)
    real = torch.save

    def corrupting(content: object, file: object) -> None:
        real(content, file)
        _flip(Path(file.name), _offset_of_weights(Path(file.name), file))

    with (
        mock.patch("repsynth.checkpoints.torch.save", corrupting),
        pytest.raises(UserError, match="does not match its checksum"),
    ):
        write(state(value=2.0), path)
    assert load(path)[0, 0] == 1


def _offset_of_weights(path: Path, file: object) -> int:
    file.flush()
    return path.read_bytes().index(torch.full((4, 5), 2.0).numpy().tobytes()) + 3


def _flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x40
    path.write_bytes(content)


def test_any_cut_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "whole.ckpt"
    write(state(value=1.0), whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.ckpt"
    for length in [*range(0, len(content), 61), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cut\.ckpt is damaged"):
            verify(cut)


def test_any_altered_byte_is_found_or_harmless(tmp_path: Path) -> None:
    """Padding and some header fields may change without harm; then the tensors must still be the same."""
    whole = tmp_path / "whole.ckpt"
    write(state(samples=8, value=1.0), whole)
    altered = tmp_path / "altered.ckpt"
    found = 0
    offsets = range(0, whole.stat().st_size, 23)
    for offset in offsets:
        altered.write_bytes(whole.read_bytes())
        _flip(altered, offset)
        try:
            verify(altered)
        except UserError:
            found += 1
        else:
            content = torch.load(altered, weights_only=True)
            assert torch.equal(content["state_dict"]["weight"], torch.ones(4, 5)), offset
            assert checkpoints.seen(content) == 8, offset
    assert found > len(offsets) / 4


def test_newest_good_names_the_damaged_and_takes_the_one_before(tmp_path: Path) -> None:
    for samples in (100, 300, 200):
        write(state(samples), tmp_path / f"{samples}.ckpt")
    assert newest_good(tmp_path) == tmp_path / "300.ckpt"
    newest = tmp_path / "300.ckpt"
    newest.write_bytes(newest.read_bytes()[:-200])
    with pytest.warns(UserWarning, match=r"300\.ckpt is damaged \(.+\) and is passed over"):
        assert newest_good(tmp_path) == tmp_path / "200.ckpt"


def test_newest_good_finds_damage_inside_a_tensor(tmp_path: Path) -> None:
    write(state(1, 1.0), tmp_path / "1.ckpt")
    write(state(2, 2.0), tmp_path / "2.ckpt")
    with (tmp_path / "2.ckpt").open("rb") as file:
        offset = _offset_of_weights(tmp_path / "2.ckpt", file)
    _flip(tmp_path / "2.ckpt", offset)
    with pytest.warns(UserWarning, match=r"2\.ckpt is damaged \(record .* does not match its checksum\)"):
        assert newest_good(tmp_path) == tmp_path / "1.ckpt"


def test_newest_good_ignores_partial_files_and_weights_alone(tmp_path: Path) -> None:
    assert newest_good(tmp_path) is None
    (tmp_path / ".last.ckpt.partial").write_bytes(b"half")
    weights = state(5)
    del weights["optimizer_states"]
    write(weights, tmp_path / "weights.ckpt")
    assert newest_good(tmp_path) is None
    write(state(3), tmp_path / "whole.ckpt")
    assert newest_good(tmp_path) == tmp_path / "whole.ckpt"


def test_of_equals_the_later_written_counts(tmp_path: Path) -> None:
    for name, time in (("last.ckpt", 2_000), ("best.ckpt", 1_000)):
        write(state(7), tmp_path / name)
        os.utime(tmp_path / name, (time, time))
    assert newest_good(tmp_path) == tmp_path / "last.ckpt"


class First(pl.LightningModule):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 2)


class Second(First):
    pass


def _saved(path: Path, module: pl.LightningModule) -> DurableCheckpointIO:
    plugin = DurableCheckpointIO()
    plugin.module = module
    plugin.save_checkpoint({"state_dict": module.state_dict()}, path)
    return plugin


def test_plugin_loads_what_it_saved(tmp_path: Path) -> None:
    module = First()
    plugin = _saved(tmp_path / "a.ckpt", module)
    loaded = plugin.load_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    assert torch.equal(loaded["state_dict"]["layer.weight"], module.layer.weight)
    plugin.remove_checkpoint(tmp_path / "a.ckpt")
    plugin.remove_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "a.ckpt").exists()


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (
            Second(),
            r"a\.ckpt belongs to .*First, this experiment trains .*Second: give a checkpoint of the same",
        ),
        (
            First(5),
            r"does not fit .*1 have another shape, first layer.weight with \(2, 3\) instead of \(2, 5\)",
        ),
    ],
)
def test_checkpoint_of_another_run(tmp_path: Path, module: pl.LightningModule, sentence: str) -> None:
    plugin = _saved(tmp_path / "a.ckpt", First())
    plugin.module = module
    with pytest.raises(UserError, match=sentence):
        plugin.load_checkpoint(tmp_path / "a.ckpt")


def test_missing_damaged_and_foreign_files(tmp_path: Path) -> None:
    plugin = DurableCheckpointIO()
    plugin.module = First()
    with pytest.raises(UserError, match=r"there is no checkpoint .*nowhere\.ckpt"):
        plugin.load_checkpoint(tmp_path / "nowhere.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"text\.ckpt is damaged \(it has no whole zip archive\)"):
        plugin.load_checkpoint(tmp_path / "text.ckpt")
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(UserError, match=r"empty\.ckpt is damaged \(it is empty\)"):
        plugin.load_checkpoint(tmp_path / "empty.ckpt")
    for content in ({"weights": 1}, [torch.zeros(1)]):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(UserError, match="not a checkpoint of repsynth"):
            plugin.load_checkpoint(tmp_path / "other.ckpt")


def test_loading_runs_no_code(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "evil": Path("x")}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt holds objects other than tensors"):
        DurableCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert zipfile.is_zipfile(tmp_path / "evil.ckpt")
