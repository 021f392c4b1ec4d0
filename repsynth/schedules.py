"""The learning rate over the samples seen."""

ANNEALED = 0.01
"""What annealing leaves of the learning rate."""


def learning_rate_factor(samples: int, decay: float, anneal: tuple[int, int] | None = None) -> float:
    """Factor on the initial learning rate after so many samples.

    Args:
        samples: seen so far, over all ranks.
        decay: factor per thousand samples.
        anneal: samples at which a linear fall to `ANNEALED` begins and ends; None for no such fall.
    """
    factor = decay ** (samples / 1000)
    if anneal is None:
        return factor
    begin, end = anneal
    done = min(1.0, max(0.0, (samples - begin) / (end - begin)))
    return factor * (1 - (1 - ANNEALED) * done)
