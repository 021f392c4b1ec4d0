"""What training does about pictures that cannot be read: stop, or leave them out and count them."""

import sys
from dataclasses import dataclass, field
from typing import Literal

from repsynth.errors import UserError

OnBadImage = Literal["error", "skip"]

_TOLERATED, _JUDGED_FROM = 0.01, 100
"""Share of examples lost to unreadable pictures that stops a run, once so many were read."""


@dataclass
class Losses:
    """Examples that one loader process lost to unreadable pictures."""

    where_listed: str = "`repsynth data check` lists them. "
    """What the last sentence says of finding them all."""
    examples: int = 0
    bad: int = 0
    named: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Count an example that could be read."""
        self.examples += 1

    def lost(self, error: UserError) -> None:
        """Count one that could not, and say so once.

        Raises:
            UserError: these are too many.
        """
        self.examples += 1
        self.bad += 1
        if str(error) not in self.named:
            self.named.add(str(error))
            print(f"skipped (data.on_bad_image: skip): {error}", file=sys.stderr)
        if self.examples >= _JUDGED_FROM and self.bad > _TOLERATED * self.examples:
            raise UserError(
                f"{self.bad} of {self.examples} examples had unreadable pictures, more than "
                f"{_TOLERATED:.0%}; {self.where_listed}The last one: {error}"
            ) from error
