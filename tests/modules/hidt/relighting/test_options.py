from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.hidt.relighting.checks import require_networks
from repsynth.modules.hidt.relighting.choice import chosen_styles, file_name, in_words, style_names
from repsynth.modules.hidt.relighting.options import FileOptions, StyleOptions, TimelapseOptions
from repsynth.modules.hidt.relighting.prediction import photos_of
from repsynth.modules.hidt.styles import random_styles, read_styles
from repsynth.modules.hidt.translation import style_of

from ..tiny import tiny_generator
from .helpers import SMALL, folders, options


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"resolution": "tiled", "detail": True},
            r"detail is true, but .*tiled has the photograph's detail already",
        ),
        (
            {"task": "timelapse", "resolution": "tiled"},
            r"task timelapse encodes a photograph once, which .*tiled cannot",
        ),
        (
            {"task": "timelapse", "styles": StyleOptions("own")},
            r"source is own, and a timelapse in one light stands",
        ),
        ({"size": 0}, r"model\.relighting\.size is 0; expected at least 1"),
        (
            {"timelapse": TimelapseOptions(1)},
            r"model\.relighting\.timelapse\.frames is 1; expected at least 2",
        ),
        ({"file": FileOptions(quality=101)}, r"model\.relighting\.file\.quality is 101; expected 1 to 100"),
        (
            {"styles": StyleOptions("named")},
            r"source is named, but .*file is null; expected a file of named styles",
        ),
        (
            {"styles": StyleOptions(weights=(1.0,))},
            r"weights are given, but .*source is photos; set it to mean",
        ),
        (
            {"styles": StyleOptions("mean", weights=(1, -1))},
            r"weights are \[1, -1\]; expected numbers of at least 0",
        ),
        ({"styles": StyleOptions("random", count=0)}, r"styles\.count is 0; expected at least 1"),
        ({"styles": StyleOptions("random", temperature=-1)}, r"temperature is -1; expected at least 0"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        options(**changes)


def test_named_styles_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "styles.txt").write_text("dusk,[1 2 3]\nnoon,[0 0 -1]\n")
    generator = tiny_generator()
    file = str(tmp_path / "styles.txt")
    styles = chosen_styles(generator, options(styles=StyleOptions("named", file=file)), None)
    assert styles is not None and styles.names == ["dusk", "noon"]
    torch.testing.assert_close(styles.values, torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -1.0]]))
    with pytest.raises(UserError, match=r"names has dawn, which .*styles\.txt does not name; .* dusk, noon"):
        style_names(StyleOptions("named", file=file, names=("dawn",)), 3, None)
    with pytest.raises(
        UserError, match=r"file is released, whose styles have 3 numbers, but this model's have 12"
    ):
        style_names(StyleOptions("named", file="released"), 12, None)


def test_drawn_styles_depend_on_seed_and_number() -> None:
    choice = StyleOptions("random", count=3, seed=2, temperature=0.5)
    styles = chosen_styles(tiny_generator(), options(styles=choice), None)
    assert styles is not None
    torch.testing.assert_close(styles.values, random_styles(2, torch.arange(3), 3, 0.5))
    fewer = chosen_styles(
        tiny_generator(), options(styles=StyleOptions("random", count=1, seed=2, temperature=0.5)), None
    )
    assert fewer is not None
    assert torch.equal(fewer.values[0], styles.values[0])


def test_styles_of_photographs_are_lines_of_a_file_of_named_ones(tmp_path: Path) -> None:
    generator, data = tiny_generator(), folders(tmp_path)
    styles = chosen_styles(generator, options(), data)
    assert styles is not None and styles.names == ["s0", "s1"]
    expected = [style_of(generator, [one], SMALL) for one in data.style_photos()]
    torch.testing.assert_close(styles.values, torch.stack(expected))
    (tmp_path / "styles.txt").write_text("\n".join(in_words(styles)))
    read = read_styles(tmp_path / "styles.txt", 3)
    torch.testing.assert_close(torch.stack(list(read.values())), styles.values, atol=1e-5, rtol=0)


def test_weights_for_other_photographs(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"weights are 3 numbers for 2 style photographs \(data\.style\); expected one"
    ):
        style_names(StyleOptions("mean", weights=(1, 1, 1)), 3, folders(tmp_path))


def test_no_style_photographs(tmp_path: Path) -> None:
    data = folders(tmp_path, styles=0)
    for source in ("photos", "mean"):
        with pytest.raises(
            UserError, match=rf"source is {source}, but the data have no style photographs; expected"
        ):
            style_names(StyleOptions(source), 3, data)  # type: ignore[arg-type]
    assert chosen_styles(tiny_generator(), options(), None) is None  # every image may have a partner


@pytest.mark.parametrize(
    ("style", "changes", "name"),
    [
        ("dusk", {}, "a.b_to_dusk.png"),
        ("dusk", {"file": FileOptions()}, "a.b_to_dusk.JPG"),
        ("1/2", {"resolution": "tiled"}, "a.b_to_1_2_tiled.png"),
        ("autoencoded", {"resolution": "enhanced", "detail": True}, "a.b_autoencoded_enhanced_detail.png"),
        ("", {"task": "timelapse", "detail": True}, "a.b_timelapse_detail.mp4"),
    ],
)
def test_names_of_files(style: str, changes: dict[str, Any], name: str) -> None:
    assert file_name(Path("folder/a.b.JPG"), style, options(**changes)) == name


def test_a_model_without_what_is_needed() -> None:
    with pytest.raises(
        UserError, match=r"resolution is enhanced, but this model has no enhancer; take the experiment"
    ):
        require_networks(tiny_generator(), None, options(resolution="enhanced"))
    with pytest.raises(
        UserError, match=r"the weights are bfloat16, but .* float32 weights; set trainer\.precision"
    ):
        require_networks(tiny_generator().bfloat16(), None, options())


def test_data_without_photographs() -> None:
    with pytest.raises(
        UserError, match=r"predict of HiDT needs photographs, but the data give ids, numbers; expected"
    ):
        list(photos_of({"ids": ["a"], "numbers": np.zeros(1)}))  # type: ignore[typeddict-item]
