"""`SWORD`: hand-held clips of static scenes with many near objects, of the StereoLayers paper."""

from pathlib import Path
from typing import Any, ClassVar

from repsynth.datamodules.base import Part
from repsynth.datamodules.scene_data import SceneData, require_folder
from repsynth.datamodules.sword_frames import Images
from repsynth.datamodules.sword_reader import SwordReader
from repsynth.errors import UserError

Scenes = tuple[str, ...] | str | None


class SWORD(SceneData):
    """Posed frames of clips with the batch `batches.PosedViews`.

    Each part has a list of its clips, a CSV file in `root`; parts may share one where `*_scenes` tell them apart.
    Translations and points of a scene are divided by p_10 / `scale_constant`, p_10 being the depth below which a
    tenth of its points lie.

    Args:
        root: folder that the paths in the lists are relative to.
        train_csv: list of the training clips, relative to `root`; the default is the released configuration's.
        val_csv: list of the validation clips, relative to `val_root`.
        test_csv: list of the test clips, relative to `root`.
        train_scenes: names of the training clips, or a text file in `root` with one a line; None for the whole list.
        val_scenes: names of the validation clips, likewise.
        test_scenes: names of the test clips, likewise.
        val_root: folder of the validation clips, where it is another one; None takes `root`.
        images: `full`, or the short side of the reduced copies to read; None takes the smallest pictures that are
            large enough for `image_size`.
        scale_constant: depth of p_10 after scaling, in scene units.
        val_scale_constant: the same for validation (released: 2.0); None takes `scale_constant`.
        min_percentile_depth: clips whose p_10 is not greater are left out, in units of the camera file; 0 keeps all.
        val_min_percentile_depth: the same for validation; None takes `min_percentile_depth`.
        use_points: take depth ranges and medians from the point clouds, which must be there then, rather than from
            the columns p_<x>.
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = "SWORD"
    layout: ClassVar[str] = "{sorted_train.csv, videos/<scene>/<frame>.jpg, views/<scene>.txt}"

    def __init__(
        self,
        root: str,
        train_csv: str = "sorted_train.csv",
        val_csv: str = "sorted_val.csv",
        test_csv: str = "sorted_test.csv",
        train_scenes: Scenes = None,
        val_scenes: Scenes = None,
        test_scenes: Scenes = None,
        val_root: str | None = None,
        images: Images = None,
        scale_constant: float = 1.25,
        val_scale_constant: float | None = None,
        min_percentile_depth: float = 15.0,
        val_min_percentile_depth: float | None = None,
        use_points: bool = False,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(**options)
        self.root = Path(root)
        self.val_root = self.root if val_root is None else Path(val_root)
        self.lists: dict[Part, str] = {"train": train_csv, "val": val_csv, "test": test_csv}
        self.scenes: dict[Part, Scenes] = {"train": train_scenes, "val": val_scenes, "test": test_scenes}
        self.images = images
        self.scale_constant = scale_constant
        self.val_scale_constant = scale_constant if val_scale_constant is None else val_scale_constant
        self.min_percentile_depth = min_percentile_depth
        self.val_min_percentile_depth = (
            min_percentile_depth if val_min_percentile_depth is None else val_min_percentile_depth
        )
        self.use_points = use_points
        self._check_options()

    def reader(self, part: Part) -> SwordReader:
        """The reader of one part."""
        validation = part == "val"
        root = self._root(part)
        return SwordReader(
            part,
            root,
            self._list(part, root),
            self._names(part, root),
            self.image_size,
            self.images,
            self.val_scale_constant if validation else self.scale_constant,
            self.val_min_percentile_depth if validation else self.min_percentile_depth,
            self.use_points,
        )

    # Inner parts.

    def _root(self, part: Part) -> Path:
        if part != "val" or self.val_root == self.root:
            require_folder(self.dataset, self.root, self.layout)
            return self.root
        if not self.val_root.is_dir():
            raise UserError(
                f"SWORD: no folder at {self.val_root} (option data.val_root). Expected {self.layout}; leave the option "
                "out when the validation clips lie below data.root"
            )
        return self.val_root

    def _list(self, part: Part, root: Path) -> Path:
        path = root / self.lists[part]
        if not path.is_file():
            there = ", ".join(sorted(path.name for path in root.glob("*.csv"))) or "none"
            raise UserError(
                f"SWORD: no list of the {part} scenes at {path} (option data.{part}_csv); lists there: {there}. Name "
                f"one of them, with data.{part}_scenes where parts share it"
            )
        return path

    def _names(self, part: Part, root: Path) -> tuple[str, ...] | None:
        """The chosen scenes of a part; None for all of its list."""
        scenes = self.scenes[part]
        if not isinstance(scenes, str):
            return None if scenes is None else tuple(scenes)
        path = root / scenes
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"SWORD: {path} cannot be read ({error}); data.{part}_scenes is a list of names or a text file with "
                "one name a line"
            ) from error
        return tuple(line.strip() for line in lines if line.strip())

    def _check_options(self) -> None:
        constants = {"scale_constant": self.scale_constant, "val_scale_constant": self.val_scale_constant}
        for option, value in constants.items():
            if not 0 < value < float("inf"):
                raise UserError(f"data.{option} is {value:g}; expected a depth above 0, in scene units")
        least = {
            "min_percentile_depth": self.min_percentile_depth,
            "val_min_percentile_depth": self.val_min_percentile_depth,
        }
        for option, value in least.items():
            if not 0 <= value < float("inf"):
                raise UserError(f"data.{option} is {value:g}; expected a depth, or 0 to keep all scenes")
        if isinstance(self.images, int) and self.images < 1:
            raise UserError(
                f"data.images is {self.images}; expected the short side of a copy in pixels, full or null"
            )
