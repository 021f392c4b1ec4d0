"""`python -m repsynth` is the same as `repsynth`."""

import sys

from repsynth.cli import main

if __name__ == "__main__":
    sys.exit(main())
