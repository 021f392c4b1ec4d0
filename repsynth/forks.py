"""What a forked process must not do to that which it inherits."""

import gc
import os


def keep_what_is_inherited() -> None:
    """Keep the garbage collector of every process forked from this one away from its parent's objects.

    Among them may be some that nobody needs any more but that own threads, such as the frames and codecs of PyAV.
    Ending them in the child, where these threads do not exist, waits for ever, and with a loader process its whole run.
    """
    os.register_at_fork(after_in_child=gc.freeze)
