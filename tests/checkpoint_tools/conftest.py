from pathlib import Path

import pytest
from distributed.toy import ToyGAN, build

from repsynth.callbacks.origin import Origin


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run's `last.ckpt`, and `early.ckpt` from its middle: two optimisers, an average of one network."""
    root = tmp_path_factory.mktemp("run")
    for epochs, name in ((1, "early"), (2, "last")):
        trainer, module, data = build(root / name, ToyGAN, extra=(Origin(),), max_epochs=epochs)
        trainer.fit(module, datamodule=data)
        (root / name / "checkpoints" / "last.ckpt").rename(root / f"{name}.ckpt")
    return root
