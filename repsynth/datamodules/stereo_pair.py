"""`StereoPair`: two photographs of one's own, to be predicted from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from repsynth.batches import PosedViews
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.images import Fit
from repsynth.datamodules.posed_views import PosedExample, collate
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.scene_examples import PictureOptions, make_example
from repsynth.datamodules.stereo_pair_file import FILE, Pair, PairOptions, check_pair, read_pair
from repsynth.datamodules.views import Choice
from repsynth.errors import UserError, require_at_least

_PAGE = "docs/data/stereo_pair.md"


class StereoPair(DataModule):
    """Stereo pairs with the batch `batches.PosedViews` and no novel views: `repsynth predict` alone can use them.

    A pair is a folder with two pictures of one size and pair.json, which gives their cameras and the depth range.

    Args:
        root: a pair, or a folder of pairs.
        image_size: (height, width) of the images in pixels.
        fit: `crop` keeps the aspect ratio and cuts the middle out, `stretch` does not; intrinsics follow.
        reference: the picture that is the reference view (the official code of StereoLayers: the second).
        near_depth: depth that the near bound of each pair is scaled to, in scene units; None keeps the units of
            pair.json.
        assume_focal: focal length in image widths, with square pixels, for pairs that give none; 0.5 is the guess of
            StereoMag's program. None refuses such pairs.
        convert_colours: accept pictures with transparency (it is dropped) or in CMYK.
        options: those of `DataModule`.

    Raises:
        UserError: for impossible options.
    """

    layout: ClassVar[str] = "<pair>/{pair.json, two pictures}, or such a pair itself"

    def __init__(
        self,
        root: str,
        image_size: tuple[int, int] = (256, 256),
        fit: Fit = "crop",
        reference: Literal["first", "second"] = "first",
        near_depth: float | None = None,
        assume_focal: float | None = None,
        convert_colours: bool = False,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        height, width = image_size
        require_at_least("data", 8, image_size=min(height, width))
        for name, value in {"near_depth": near_depth, "assume_focal": assume_focal}.items():
            if value is not None and value <= 0:
                raise UserError(f"data.{name} is {value}; expected a number above 0, or null")
        self.root = Path(root)
        self.image_size = (height, width)
        self.pictures = PictureOptions(self.image_size, fit, convert_colours)
        self.reference = reference
        self.pairs = PairOptions(near_depth, assume_focal)
        self._told: set[str] = set()

    def check(self, stage: str | None = None) -> None:
        """Read all pairs but for their pixels.

        Raises:
            UserError: a pair is broken, or the stage needs novel views.
        """
        if stage not in (None, "predict"):
            raise _no_novel_views(str(stage))
        for pair in self._read():
            check_pair(pair, self.image_size, self.pictures.convert)
            for remark in pair.remarks:
                self._tell(remark)

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """Counts for `--dry-run`."""
        return {"pairs": len(self._folders())}

    def train_dataset(self) -> Dataset[Any]:
        """There is none."""
        raise _no_novel_views("fit")

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """There is none."""
        raise _no_novel_views({"val": "validate", "test": "test"}[stage])

    def predict_dataset(self) -> Dataset[Any]:
        """All pairs, by name."""
        order = [0, 1] if self.reference == "first" else [1, 0]
        return _Pairs(self._read(), order, self.pictures)

    def collate(self, examples: list[PosedExample]) -> PosedViews:
        """Join examples."""
        return collate(examples)

    def _read(self) -> list[Pair]:
        return [read_pair(folder, self.pairs) for folder in self._folders()]

    def _folders(self) -> list[Path]:
        folders, remark = pair_folders(self.root)
        if remark:
            self._tell(remark)
        return folders

    def _tell(self, remark: str) -> None:
        """Warn once, however often the data is checked."""
        if remark not in self._told:
            self._told.add(remark)
            rank_zero_warn(remark)


def pair_folders(root: Path) -> tuple[list[Path], str | None]:
    """The pairs at or below `root`, in the order of their names, and what is left out, in a sentence.

    Raises:
        UserError: no folder, or none with pair.json.
    """
    expected = f"Expected {StereoPair.layout}. See {_PAGE}"
    if not root.is_dir():
        raise UserError(f"StereoPair: no folder at {root} (option data.root). {expected}.")
    # Pictures are kept by their paths, and the current folder may change.
    if (root / FILE).is_file():
        return [root.absolute()], None
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    pairs = [path.absolute() for path in below if (path / FILE).is_file()]
    others = [path.name for path in below if path.absolute() not in pairs]
    counts = f"StereoPair: found {len(pairs)} pairs under {root}"
    without = f": {len(others)} folders without {FILE}. First: {others[0]}" if others else ""
    if not pairs:
        raise UserError(f"{counts}{without}. {expected}.")
    return pairs, f"{counts}{without}; these are left out" if others else None


def _no_novel_views(verb: str) -> UserError:
    return UserError(
        f"StereoPair has no novel views to learn from or to compare with, so `repsynth {verb}` cannot use it; use "
        "`repsynth predict`, or data with more views such as repsynth.datamodules.colmap_scenes.COLMAPScenes"
    )


@dataclass(frozen=True)
class _Pairs(Dataset[PosedExample]):
    pairs: list[Pair]
    order: list[int]
    pictures: PictureOptions

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: SampleKey) -> PosedExample:
        scene = self.pairs[key.index].scene
        return make_example(scene.name, scene, Choice(self.order, []), self.pictures)
