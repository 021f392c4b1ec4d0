import numpy as np
import pytest

from repsynth.datamodules.views import Choice, Mode, ViewSampling, camera_centres
from repsynth.errors import UserError

LINE = np.stack([np.arange(12.0), np.zeros(12), np.zeros(12)], axis=1)


def draws(mode: Mode, window: int = 6, sources: int = 2, novel: int = 2, times: int = 400) -> list[Choice]:
    sampling = ViewSampling(mode, window, sources, novel)
    sampling.check(len(LINE), "a clip")
    rng = np.random.default_rng(0)
    return [sampling.draw(rng, LINE) for _ in range(times)]


@pytest.mark.parametrize("mode", ["extrapolation", "interpolation", "random", "base", "neighbours"])
@pytest.mark.parametrize(("sources", "novel"), [(2, 1), (2, 3), (4, 2), (1, 1)])
def test_frames_of_an_example_all_differ(mode: Mode, sources: int, novel: int) -> None:
    for choice in draws(mode, 7, sources, novel, 100):
        together = choice.sources + choice.novel
        assert len(choice.sources) == sources and len(choice.novel) == novel
        assert len(set(together)) == sources + novel
        assert set(together) <= set(range(12)) and all(type(frame) is int for frame in together)


@pytest.mark.parametrize("mode", ["extrapolation", "random", "interpolation"])
def test_examples_stay_in_a_window_and_every_window_is_used(mode: Mode) -> None:
    choices = [choice.sources + choice.novel for choice in draws(mode, times=2000)]
    assert max(max(frames) - min(frames) for frames in choices) == 5
    assert min(map(min, choices)) == 0 and max(map(max, choices)) == 11


def test_extrapolation_never_looks_between_inputs() -> None:
    choices = draws("extrapolation")
    for sources, novel in choices:
        assert not any(min(sources) < frame < max(sources) for frame in novel)
    assert {sources[0] < sources[1] for sources, _ in choices} == {True, False}
    sides = {(min(novel) < min(sources), max(novel) > max(sources)) for sources, novel in choices}
    assert sides == {(True, False), (False, True), (True, True)}


def test_interpolation_spans_the_window() -> None:
    for sources, novel in draws("interpolation", sources=3):
        low, _, high = sorted(sources)
        assert high - low == 5 and all(low < frame < high for frame in novel)
        assert sorted(sources)[1] - low in (2, 3)


def test_base_stays_within_half_a_window_of_its_reference() -> None:
    for sources, novel in draws("base"):
        assert 3 <= sources[0] <= 8
        assert all(0 < abs(frame - sources[0]) <= 3 for frame in sources[1:] + novel)


def test_base_same_gives_the_inputs_back() -> None:
    choices = draws("base_same")
    assert all(sorted(sources) == sorted(novel) for sources, novel in choices)
    assert {sources == novel for sources, novel in choices} == {True, False}


@pytest.mark.parametrize("mode", ["nearest", "neighbours"])
def test_nearest_modes_go_by_camera_centres(mode: Mode) -> None:
    order = np.random.default_rng(3).permutation(12)
    rng = np.random.default_rng(0)
    for _ in range(200):
        sources, novel = ViewSampling(mode, 5, 2, 2).draw(rng, LINE[order])
        if mode == "nearest":
            assert novel[0] == sources[0]
        middle = order[novel[0]]
        # Among 12 in a row the 4 nearest of any frame are at most 4 away, at most 2 in the middle.
        assert all(abs(order[frame] - middle) <= 4 for frame in sources + novel)
        if 2 <= middle <= 9:
            assert all(abs(order[frame] - middle) <= 2 for frame in sources + novel)


@pytest.mark.parametrize(
    "mode", ["extrapolation", "interpolation", "random", "base", "nearest", "neighbours"]
)
@pytest.mark.parametrize("frames", [3, 4, 5])
def test_the_shortest_clips_work(mode: Mode, frames: int) -> None:
    sampling = ViewSampling(mode, 3, 2, 1)
    sampling.check(frames, "a clip")
    for seed in range(50):
        assert len(sampling.draw(np.random.default_rng(seed), LINE[:frames]).sources) == 2


@pytest.mark.parametrize(
    ("mode", "window", "sources", "novel", "sentence"),
    [
        (
            "random",
            4,
            3,
            2,
            "a clip of 9 with data.window 4 cannot give 3 input and 2 novel views; 5 frames are",
        ),
        (
            "random",
            20,
            8,
            2,
            "a clip of 9 with data.window 20 cannot give 8 input and 2 novel views; 10 frames",
        ),
        (
            "base_same",
            9,
            2,
            3,
            "data.mode base_same gives the 2 input views back and cannot give 3 novel views",
        ),
        (
            "sideways",
            9,
            2,
            3,
            "data.mode is 'sideways'; expected one of extrapolation, interpolation, random",
        ),
        ("random", 9, 2, 0, "data.source_views is 2 and data.novel_views 0; each must be at least 1"),
    ],
)
def test_impossible_wishes_get_one_sentence(
    mode: Mode, window: int, sources: int, novel: int, sentence: str
) -> None:
    with pytest.raises(UserError) as error:
        ViewSampling(mode, window, sources, novel).check(9, "a clip of 9")
    assert str(error.value).startswith(sentence)


def test_centre_of_a_camera() -> None:
    pose = np.eye(4)
    pose[:3, :3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    pose[:3, 3] = -pose[:3, :3] @ [1, 2, 3]
    np.testing.assert_allclose(camera_centres(pose[None]), [[1, 2, 3]])


@pytest.mark.parametrize("mode", ["random", "neighbours"])
@pytest.mark.parametrize(("least", "most"), [(0.0, None), (0.3, None), (0.0, 0.2), (0.25, 0.4)])
def test_usable_agrees_with_all_pairs(mode: Mode, least: float, most: float | None) -> None:
    sampling = ViewSampling(mode, 4, 2, 1, least, most)
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        numbers = np.sort(rng.choice(12, 6, replace=False))
        centres = np.cumsum(rng.choice([0.0, 0.0, 0.1], (6, 1)), axis=0) * np.ones(3) / 3**0.5
        pairs = [
            np.linalg.norm(centres[i] - centres[j])
            for i in range(6)
            for j in range(i)
            if mode == "neighbours" or numbers[i] - numbers[j] < 4
        ]
        allowed = [d for d in pairs if d > 1e-6 and d >= least and (most is None or d <= most)]
        found = sampling.usable(centres, numbers)
        seen.add(found)
        if found == "too short":
            assert not any(np.sum((numbers >= s) & (numbers < s + 4)) >= 3 for s in numbers)
        elif allowed:
            assert found == "yes"
        else:
            assert found == ("static" if max(pairs) <= 1e-6 else "without an allowed baseline")
    assert "yes" in seen
