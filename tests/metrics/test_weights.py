import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from repsynth import weights
from repsynth.errors import UserError
from repsynth.weights import FILES, WeightFile, fill, fill_randomly, load, resolve


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any weight file: empty hub cache, no variable."""
    monkeypatch.delenv("REPSYNTH_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def published(places: Path) -> WeightFile:
    """A file at its publisher's address, named by its checksum."""
    source = places / "publisher"
    source.mkdir()
    torch.save({"weight": torch.ones(2)}, source / "net.pth")
    digest = hashlib.sha256((source / "net.pth").read_bytes()).hexdigest()
    path = (source / "net.pth").rename(source / f"net-{digest[:8]}.pth")
    return WeightFile(path.name, path.as_uri())


def content(file: WeightFile) -> bytes:
    return Path(file.address.removeprefix("file://")).read_bytes()


def place(file: WeightFile, folder: Path, data: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).write_bytes(content(file) if data is None else data)
    return folder / file.name


def test_the_order_is_path_variable_cache_download(
    published: WeightFile, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = places / "hub" / "checkpoints" / published.name
    assert resolve(published, "option") == cache
    assert cache.read_bytes() == content(published)
    in_folder = place(published, places / "mine")
    monkeypatch.setenv("REPSYNTH_WEIGHTS", str(places / "mine"))
    assert resolve(published, "option") == in_folder
    given = place(published, places / "given")
    assert resolve(published, "option", given) == given
    assert resolve(published, "option", places / "given") == given
    in_folder.unlink()
    assert resolve(published, "option", download=False) == cache


def test_nothing_anywhere_names_file_address_option_and_variable(published: WeightFile, places: Path) -> None:
    with pytest.raises(UserError) as raised:
        resolve(published, "lpips_weights", download=False)
    for word in (published.name, published.address, "lpips_weights", "$REPSYNTH_WEIGHTS", '"random"'):
        assert word in str(raised.value)
    assert not (places / "hub").exists()


def test_a_failing_download_says_why_and_leaves_nothing(places: Path) -> None:
    gone = WeightFile("net-01234567.pth", (places / "nowhere.pth").as_uri())
    with pytest.raises(UserError, match=r"downloading it failed .*nowhere.pth"):
        resolve(gone, "option")
    assert not list((places / "hub").rglob("*.pth"))


def test_a_download_with_another_checksum_is_refused(published: WeightFile, places: Path) -> None:
    wrong = WeightFile("net-00000000.pth", published.address)
    with pytest.raises(UserError, match=r"downloading it failed .*invalid hash"):
        resolve(wrong, "option")
    assert not list((places / "hub").rglob("*.pth"))


def test_a_damaged_file_is_named_with_both_checksums(published: WeightFile, places: Path) -> None:
    path = place(published, places / "hub" / "checkpoints", content(published)[:-1] + b"x")
    with pytest.raises(UserError, match=f"{path}.*is damaged or another one.*delete it") as raised:
        resolve(published, "option")
    assert published.name.split("-")[1][:8] in str(raised.value)


def test_a_file_without_digits_in_its_name_is_the_users_own(published: WeightFile, places: Path) -> None:
    own = places / "finetuned.pth"
    torch.save({"weight": torch.zeros(2)}, own)
    assert resolve(published, "option", own) == own


def test_a_path_to_nothing_is_named(published: WeightFile, places: Path) -> None:
    with pytest.raises(UserError, match=r"option names .*typo.pth, where there is no file"):
        resolve(published, "option", places / "typo.pth")


def test_of_many_at_once_one_downloads(published: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = torch.hub.download_url_to_file
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda *args, **kwargs: (calls.append(args), real(*args, **kwargs))
    )
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: resolve(published, "option"), range(8)))
    assert len(found) == 1
    assert len(calls) == 1


def test_names_in_the_table_carry_their_checksums() -> None:
    for file in FILES.values():
        assert weights._digits(file.name), file
        assert file.address.startswith("https://") and file.address.endswith("/" + file.name)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats_load(tmp_path: Path, legacy: bool) -> None:
    torch.save({"w": torch.arange(3)}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert load(tmp_path / "w.pth", "option")["w"].tolist() == [0, 1, 2]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


@pytest.mark.parametrize("what", ["text", "code", "list"])
def test_what_is_no_weight_file_is_refused_and_never_run(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pth"
    if what == "text":
        path.write_text("<html>not found</html>")
    else:
        torch.save(Evil() if what == "code" else [1, 2], path)
    with pytest.raises(
        UserError, match=r"cannot be read as PyTorch weights|holds a list, expected a state dict"
    ):
        load(path, "option")
    assert "code ran" not in capsys.readouterr().out


def test_fill_takes_what_the_network_has_and_names_what_is_missing(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    state = {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.zeros(1), "classifier": torch.zeros(9)}
    fill(network, state, tmp_path, "option")
    assert network.weight.tolist() == [[3.0, 4.0]]
    del state["bias"]
    with pytest.raises(UserError, match=r"bias is missing, expected \[1\]"):
        fill(network, state, tmp_path, "option")
    with pytest.raises(UserError, match=r"weight has the shape \[5\], expected \[1, 2\]"):
        fill(network, state | {"weight": torch.zeros(5)}, tmp_path, "option")


def test_random_filling_is_a_function_of_the_seed_alone() -> None:
    def filled(seed: int) -> nn.Sequential:
        torch.manual_seed(torch.randint(1000, ()).item())
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        fill_randomly(network, seed)
        return network

    first, again, other = filled(0), filled(0), filled(1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)
    assert not first[0]._forward_hooks
