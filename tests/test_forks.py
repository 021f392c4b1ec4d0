import gc
import multiprocessing

import av

FORK = multiprocessing.get_context("fork")


class Cycle:
    """Never freed but by the garbage collector."""

    def __init__(self, content: object) -> None:
        self.content, self.itself = content, self


def forget_a_frame() -> None:
    frame = av.VideoFrame(64, 64, "yuv420p")
    frame.to_ndarray(format="rgb24", threads=2)  # the frame keeps them
    Cycle(frame)


def test_a_forked_process_does_not_wait_for_threads_of_its_parent() -> None:
    gc.disable()
    try:
        forget_a_frame()
        child = FORK.Process(target=gc.collect)
        child.start()
    finally:
        gc.enable()
    child.join(20)
    ended = child.exitcode
    child.kill()
    child.join()
    assert ended == 0, "its garbage collector waits"


def test_a_forked_process_frees_its_own_garbage() -> None:
    def collected() -> None:
        Cycle(None)
        assert gc.collect() >= 1

    child = FORK.Process(target=collected)
    child.start()
    child.join()
    assert child.exitcode == 0
