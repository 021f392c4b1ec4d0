"""Make a CUDA build of torchvision importable beside a CPU build of torch.

The registry holds no CPU build of torchvision. The extension of the CUDA build needs CUDA's libraries; without them
`import torchvision` fails with "operator torchvision::nms does not exist", and with it everything that probes for
torchvision (lightning, torchmetrics, timm). Declaring the schemas of the two operators that torchvision decorates in
Python is enough for transforms and models; calling the operators themselves still fails, and we never do.

The declaration costs an import of torch, so it waits for that of torchvision: `repsynth list` needs neither.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a torch.library.Library unregisters its operators when it is collected


class _TorchvisionFinder(MetaPathFinder):
    """Finds nothing itself: runs the guard when torchvision is looked for, then lets the usual finders go on."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            uninstall()
            declare_missing_operators()
        return None


_finder = _TorchvisionFinder()


def install() -> None:
    """Run the guard at the first import of torchvision, unless that has already happened."""
    if "torchvision" not in sys.modules and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Take the guard out of the import system."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def declare_missing_operators() -> bool:
    """Declare torchvision's operators if torch is a CPU build and the extension cannot be loaded.

    Returns:
        Whether anything had to be declared; a matching pair of builds is left alone.
    """
    import torch

    if torch.version.cuda is not None or _extension_loads():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    return True


def _extension_loads() -> bool:
    """Whether torchvision's compiled extension can be loaded into this process."""
    import torch

    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # no torchvision, nothing to mend
    extensions = [
        path
        for suffix in importlib.machinery.EXTENSION_SUFFIXES
        for path in Path(spec.origin).parent.glob(f"_C{suffix}")
    ]
    try:
        for path in extensions:
            torch.ops.load_library(path)
    except OSError:
        return False
    return bool(extensions)
