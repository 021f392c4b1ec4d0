"""Who holds up whom, decided on written cases; the processes are in tests/distributed/test_watchdog.py."""

import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from repsynth.callbacks import heartbeats
from repsynth.callbacks.heartbeats import Heartbeat, Place, holding_up, sentence
from repsynth.callbacks.watchdog import Watchdog, _clear
from repsynth.errors import UserError

LIMIT, NOW = 100.0, 5000.0


def beat(
    rank: int,
    place: Place,
    still: float = 150.0,
    waiting: bool = False,
    age: float = 0.0,
    waited: float | None = None,
) -> Heartbeat:
    """One that waits has done so all the time, or for `waited` seconds of it."""
    line = f"method.py:{rank} (step)"
    seconds = (still if waited is None else waited) if waiting else None
    return Heartbeat(
        rank, "node7", 100 + rank, 1.0, place, "on_train_batch_start", still, seconds, line, NOW - age
    )


def ask(*beats: Heartbeat, rank: int = 0, world: int | None = None) -> list[int]:
    return holding_up({b.rank: b for b in beats}, rank, world or len(beats), LIMIT, NOW)


def test_one_that_is_behind_and_stands_still() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 1))) == [1]
    assert ask(beat(0, (8, 0, 0)), beat(1, (7, 2, 9)), beat(2, (8, 0, 0))) == [1]


def test_the_one_behind_accuses_nobody() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 1)), rank=1) == []


def test_one_that_is_behind_but_moves_is_slow_and_not_hung() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 1), still=99.0)) == []


def test_nobody_is_accused_before_the_time() -> None:
    assert ask(beat(0, (7, 0, 2), still=99.0, waiting=True), beat(1, (6, 0, 1), still=400.0)) == []


def test_a_frozen_process_is_judged_by_the_age_of_its_file() -> None:
    assert ask(beat(0, (7, 0, 2)), beat(1, (7, 0, 1), still=0.1, age=99.8)) == []
    assert ask(beat(0, (7, 0, 2)), beat(1, (7, 0, 1), still=0.1, age=100.0)) == [1]


def test_a_rank_without_a_file_is_behind() -> None:
    assert ask(beat(0, (7, 0, 2)), beat(2, (7, 0, 2)), world=3) == [1]


def test_at_one_place_the_one_that_does_not_wait_is_named() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 2)), beat(2, (7, 0, 2), waiting=True)) == [1]


def test_long_work_of_all_ranks_is_left_alone() -> None:
    assert ask(beat(0, (7, 2, 0)), beat(1, (7, 2, 0))) == []
    assert ask(beat(0, (7, 2, 0)), beat(1, (7, 2, 0), waiting=True)) == []


def test_the_first_to_end_long_work_has_not_waited_long() -> None:
    late = beat(1, (7, 2, 0))
    assert ask(beat(0, (7, 2, 0), waiting=True, waited=0.0), late) == []
    assert ask(beat(0, (7, 2, 0), waiting=True, waited=99.0), late) == []
    assert ask(beat(0, (7, 2, 0), waiting=True, waited=100.0), late) == [1]


def test_one_that_has_just_come_to_those_that_wait_ends_nothing() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 2), waiting=True, waited=0.0)) == []


def test_ranks_that_all_wait_are_named_together() -> None:
    assert ask(beat(0, (7, 0, 2), waiting=True), beat(1, (7, 0, 2), waiting=True)) == [0, 1]


def test_a_chain_of_waiting_ranks_is_judged_by_the_foremost() -> None:
    chain = (
        beat(0, (7, 0, 1), waiting=True),
        beat(1, (7, 0, 2), waiting=True),
        beat(2, (7, 0, 0)),
        beat(3, (7, 0, 1), still=5.0, waiting=True),
    )
    assert ask(*chain, rank=0) == []
    assert ask(*chain, rank=1) == [0, 2]


def test_files_round_trip_and_broken_ones_count_as_missing(tmp_path: Path) -> None:
    for rank in range(3):
        heartbeats.write(beat(rank, (1, 2, rank)), tmp_path)
    (tmp_path / "rank-00001.json").write_text('{"rank": 1')
    assert heartbeats.read(tmp_path, 4) == {0: beat(0, (1, 2, 0)), 2: beat(2, (1, 2, 2))}


def test_the_sentence_tells_who_where_and_how_long() -> None:
    now = time.time()
    mine = Heartbeat(0, "node7", 100, 1.0, (7, 0, 2), "on_before_backward", 150.0, 150.0, "a.py:1 (f)", now)
    frozen = Heartbeat(
        1, "node8", 101, 1.0, (7, 0, 1), "on_train_batch_start", 0.0, None, "b.py:2 (g)", now - 150
    )
    text = sentence({0: mine, 1: frozen}, [1, 2], 0, 3, Path("runs/x/heartbeats/abc"))
    assert text == (
        "rank 0 has waited 2.5 minutes for ranks 1, 2, and the run ends: rank 1 (process 101 on node8) stands at "
        "b.py:2 (g) since on_train_batch_start, last sign of life 150 s ago; rank 2 has left no sign in "
        "runs/x/heartbeats/abc (is the run directory shared by all nodes?) (a longer wait is allowed by the option "
        "minutes of the callback Watchdog; go on with --resume)"
    )
    assert sentence({0: mine, 1: frozen}, [0, 1], 0, 2, Path()).startswith(
        "all 2 ranks have waited for one another for 2.5 minutes, and the run ends: "
    )


def frame_of_a_thread_in(function: object, *arguments: object) -> FrameType:
    thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    time.sleep(0.1)
    assert thread.ident is not None
    return sys._current_frames()[thread.ident]


def sleeps_in_user_code(event: threading.Event) -> None:
    event.wait()


def test_the_line_is_that_of_the_users_code() -> None:
    event = threading.Event()
    frame = frame_of_a_thread_in(sleeps_in_user_code, event)
    assert heartbeats.line_of(frame).startswith("test_heartbeats.py:")
    assert "(sleeps_in_user_code), in threading.py:" in heartbeats.line_of(frame)
    assert not heartbeats.is_waiting(frame)
    event.set()
    assert heartbeats.line_of(None) == "an unknown line" and not heartbeats.is_waiting(None)


def test_leftovers_of_killed_starts_are_removed_and_live_ones_are_not(tmp_path: Path) -> None:
    for name in ("old", "live"):
        (tmp_path / name).mkdir()
        heartbeats.write(beat(0, (0, 0, 0)), tmp_path / name)
    for path in (tmp_path / "old" / "rank-00000.json", tmp_path / "old"):
        os.utime(path, (1, 1))
    (tmp_path / "just begun").mkdir()
    _clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"live", "just begun"}
    _clear(tmp_path / "never made")


def test_a_file_that_a_rank_renames_while_leftovers_are_sought_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "rank-00001.partial").touch()

    def stat(path: Path) -> os.stat_result:
        if path.suffix == ".partial":
            raise FileNotFoundError(path)
        return real(path)

    real = Path.stat
    monkeypatch.setattr(Path, "stat", stat)
    _clear(tmp_path)
    assert (tmp_path / "live").exists()


def test_places_of_training_and_evaluation_are_in_order() -> None:
    dog = Watchdog()
    places = []
    for hook in (
        dog.on_validation_start,  # the sanity check
        dog.on_validation_batch_start,
        dog.on_validation_epoch_end,
        dog.on_train_start,
        dog.on_train_batch_start,
        dog.on_before_backward,
        dog.on_train_batch_end,
        dog.on_validation_start,
        dog.on_validation_batch_end,
        dog.on_validation_batch_end,
        dog.on_validation_epoch_end,
        dog.on_validation_end,
        dog.on_train_epoch_end,
        dog.on_train_batch_start,
    ):
        hook(None, None)
        places.append(dog.state()[0])
    assert places == [
        (0, 1, 0),
        (0, 1, 0),
        (0, 2, 0),
        (0, 2, 1),
        (1, 0, 0),
        (1, 0, 1),
        (1, 0, 2),
        (1, 1, 0),
        (1, 1, 0),
        (1, 1, 0),
        (1, 2, 0),
        (1, 2, 1),
        (1, 2, 2),
        (2, 0, 0),
    ]


@pytest.mark.parametrize("minutes", [0, -1.0])
def test_a_time_that_is_not_positive_is_refused(minutes: float) -> None:
    with pytest.raises(UserError, match=rf"Watchdog\.minutes is {minutes}: expected a positive number"):
        Watchdog(minutes)
