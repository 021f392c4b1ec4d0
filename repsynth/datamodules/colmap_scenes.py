"""`COLMAPScenes`: captures of one's own, posed by COLMAP."""

from pathlib import Path
from typing import Any, ClassVar

from repsynth.datamodules.colmap_scene import COLMAPCaptures
from repsynth.datamodules.held_out import HeldOutData, require_near_depth
from repsynth.datamodules.views import Mode


class COLMAPScenes(HeldOutData):
    """Photographs and the sparse model that COLMAP made of them, with the batch `batches.PosedViews`.

    Views 0, 8, 16, ... of each scene, in the order of their names, are held out: one evaluation example each, for
    validation and test alike. Its inputs are the nearest training views by camera centre, the nearest first (the
    reference). Training examples are drawn from the other views. Bounds are the 0.1 % and 99.9 % quantiles of the
    depths that the views see; lengths are scaled so that the nearest lies at `near_depth`.

    Args:
        root: a scene, or a folder of scenes.
        model: folder of the model in each scene; None takes the first of sparse/0, sparse, . and dense/sparse.
        images: folder of pictures in each scene, where the names in the model begin; None takes the one called images,
            for a model in dense/sparse that in dense.
        ignore_distortion: take distorted cameras for pinhole ones instead of refusing them.
        near_depth: depth of the nearest bound, in scene units.
        mode: how training examples are drawn from the training views; see `views.ViewSampling`.
        window: training views that an example may span; see `views.ViewSampling`.
        samples_per_scene: training examples per scene and epoch.
        options: those of `SceneData`.

    Raises:
        UserError: for impossible options.
    """

    dataset: ClassVar[str] = COLMAPCaptures.dataset
    layout: ClassVar[str] = COLMAPCaptures.layout

    def __init__(
        self,
        root: str,
        model: str | None = None,
        images: str | None = None,
        ignore_distortion: bool = False,
        near_depth: float = 1.25,
        mode: Mode = "neighbours",
        window: int = 5,
        samples_per_scene: int = 100,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(mode=mode, window=window, samples_per_scene=samples_per_scene, **options)
        require_near_depth(near_depth)
        self.root = Path(root)
        self.form: COLMAPCaptures = COLMAPCaptures(near_depth, model, images, ignore_distortion, self.rules)

    def check(self, stage: str | None = None) -> None:
        """Also say what is left out or ignored."""
        super().check(stage)
        for name in self.usable(stage):
            for remark in self.form.remarks(self.reader("train").folder(name)):
                self.tell(remark)
