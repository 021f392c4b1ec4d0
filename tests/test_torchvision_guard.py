"""The guard works at the first import of torchvision, so each case gets a fresh interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)


def fresh(code: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_torchvision
@pytest.mark.slow
def test_torchvision_models_and_timm_can_be_imported() -> None:
    shape = fresh(
        "import repsynth, timm, torch, torchvision.models as models\n"
        "from torchvision.transforms import v2\n"
        "print(tuple(models.resnet18(num_classes=3).eval()(torch.zeros(1, 3, 32, 32)).shape))\n"
        "timm.create_model('resnet10t')"
    )
    assert shape == "(1, 3)"


@needs_torchvision
def test_lightning_can_be_imported_first() -> None:
    assert fresh("import repsynth, lightning.pytorch, torchmetrics.image; print('fine')") == "fine"


def test_importing_the_package_imports_neither_torch_nor_torchvision() -> None:
    assert fresh("import sys, repsynth; print({'torch', 'torchvision'} & set(sys.modules))") == "set()"


def test_a_cuda_build_of_torch_is_left_alone() -> None:
    code = (
        "import torch; torch.version.cuda = '12.4'\n"
        "from repsynth import torchvision_guard as guard\n"
        "print(guard.declare_missing_operators(), len(guard._libraries))"
    )
    assert fresh(code) == "False 0"


@pytest.mark.slow
def test_an_extension_that_loads_is_left_alone() -> None:
    # A folder with an extension that loads stands for a torchvision built for this torch.
    code = (
        "import pathlib, sys, tempfile, torch\n"
        "from importlib.machinery import EXTENSION_SUFFIXES\n"
        "torch.version.cuda = None\n"
        "loaded = []\n"
        "torch.ops.load_library = loaded.append\n"
        "folder = pathlib.Path(tempfile.mkdtemp()); (folder / 'torchvision').mkdir()\n"
        "(folder / 'torchvision' / '__init__.py').touch()\n"
        "(folder / 'torchvision' / ('_C' + EXTENSION_SUFFIXES[-1])).touch()\n"
        "sys.path.insert(0, str(folder))\n"
        "from repsynth import torchvision_guard as guard\n"
        "print(guard.declare_missing_operators(), len(guard._libraries), len(loaded))"
    )
    assert fresh(code) == "False 0 1"


def test_an_extension_that_does_not_load_gets_its_operators_declared() -> None:
    code = (
        "import pathlib, sys, tempfile, torch\n"
        "from importlib.machinery import EXTENSION_SUFFIXES\n"
        "torch.version.cuda = None\n"
        "folder = pathlib.Path(tempfile.mkdtemp()); (folder / 'torchvision').mkdir()\n"
        "(folder / 'torchvision' / '__init__.py').touch()\n"
        "(folder / 'torchvision' / ('_C' + EXTENSION_SUFFIXES[-1])).write_bytes(b'no library')\n"
        "sys.path.insert(0, str(folder))\n"
        "from repsynth import torchvision_guard as guard\n"
        "print(guard.declare_missing_operators(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert fresh(code) == "True True"


@pytest.mark.slow
def test_no_torchvision_needs_nothing() -> None:
    code = (
        "import importlib.machinery as machinery, torch\n"
        "torch.version.cuda = None\n"
        "machinery.PathFinder.find_spec = classmethod(lambda cls, name, path=None, target=None: None)\n"
        "from repsynth import torchvision_guard as guard\n"
        "print(guard.declare_missing_operators())"
    )
    # The package must be found before the finder is blinded.
    assert fresh("import repsynth.torchvision_guard\n" + code) == "False"


@pytest.mark.slow
def test_the_guard_steps_aside_after_its_work() -> None:
    code = (
        "import sys, repsynth\n"
        "from repsynth import torchvision_guard as guard\n"
        "before = guard._finder in sys.meta_path\n"
        "import importlib.util; importlib.util.find_spec('torchvision')\n"
        "print(before, guard._finder in sys.meta_path)"
    )
    assert fresh(code) == "True False"
