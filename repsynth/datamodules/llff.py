"""`LLFF`: forward-facing captures of the LLFF and NeRF papers, and captures of one's own in their layout."""

from pathlib import Path
from typing import Any, ClassVar

from repsynth.datamodules.held_out import HeldOutData, require_near_depth
from repsynth.datamodules.llff_scene import LLFFCaptures, distortion
from repsynth.datamodules.views import Mode


class LLFF(HeldOutData):
    """Posed photographs with the batch `batches.PosedViews`.

    Views 0, 8, 16, ... of each scene are held out: one evaluation example each, for validation and test
    alike. Its inputs are the nearest training views by camera centre, the nearest first (the reference).
    Training examples are drawn from the other views. Lengths are scaled so that the nearest bound of a scene
    lies at `near_depth`.

    Args:
        root: a scene, or a folder of scenes.
        images: folder of pictures in each scene; None takes the smallest that is large enough.
        near_depth: depth of the nearest bound, in scene units.
        mode: how training examples are drawn from the training views; see `views.ViewSampling`.
        window: training views that an example may span; see `views.ViewSampling`.
        samples_per_scene: training examples per scene and epoch.
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = LLFFCaptures.dataset
    layout: ClassVar[str] = LLFFCaptures.layout

    def __init__(
        self,
        root: str,
        images: str | None = None,
        near_depth: float = 1.25,
        mode: Mode = "neighbours",
        window: int = 5,
        samples_per_scene: int = 100,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(mode=mode, window=window, samples_per_scene=samples_per_scene, **options)
        require_near_depth(near_depth)
        self.root = Path(root)
        self.form = LLFFCaptures(near_depth, self.image_size, images, self.rules)

    def check(self, stage: str | None = None) -> None:
        """Also say which photographs are distorted."""
        super().check(stage)
        reader = self.reader("train")
        for name in self.usable(stage):
            found = distortion(reader.folder(name))
            if found:
                self.tell(
                    f"LLFF: {name}: the photographs are distorted ({found}) and poses_bounds.npy cannot say so; expect "
                    "errors of up to some pixels in the corners"
                )
