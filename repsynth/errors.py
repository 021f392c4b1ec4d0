"""The one exception that users are meant to see."""


class UserError(ValueError):
    """A mistake in the configuration or in the data, told in one sentence.

    The sentence says what is wrong, where (file or option), what was expected and what to do. The command line
    prints it without a traceback and exits with code 2.
    """

    def __init__(self, sentence: str) -> None:
        # A DataLoader worker re-raises with its whole traceback as the message: keep the sentence only.
        if sentence.startswith("Caught UserError"):
            sentence = sentence.rpartition("UserError: ")[2].strip()
        super().__init__(sentence)


def require_at_least(section: str, least: int, **options: int) -> None:
    """Raise UserError naming the first option of a section (`model`, `data`) below `least`."""
    for name, value in options.items():
        if value < least:
            raise UserError(f"{section}.{name} is {value}; expected at least {least}")
