"""The conditions under which models are compared: one YAML file, checked key by key."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from repsynth.benchmark import published
from repsynth.benchmark.entrants import DataSet, with_options
from repsynth.benchmark.trials import Node
from repsynth.cli import classes, signatures
from repsynth.cli.configuration import read_yaml
from repsynth.cli.explain import fits
from repsynth.cli.wording import suggestion
from repsynth.errors import UserError
from repsynth.metrics.crop import check_crop
from repsynth.metrics.lpips import Backbone
from repsynth.metrics.scores import Metric, check_metrics
from repsynth.weights import AUTO

VIEW_OPTIONS = (
    "mode",
    "window",
    "source_views",
    "novel_views",
    "eval_scenes",
    "eval_draws",
    "evaluation_index",
    "evaluation_partial",
    "min_baseline",
    "max_baseline",
)
"""Options of data modules that say which views are evaluated."""
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class LpipsOptions:
    """Which LPIPS.

    Args:
        backbone: its network.
        weights: `auto` finds or fetches the published file, `random` is a stand-in whose figure is called
            lpips_random, anything else is a path.
    """

    backbone: Backbone = "alex"
    weights: str = AUTO


@dataclass(frozen=True)
class NvsProtocol:
    """How models are compared on novel views; null leaves a choice to the data module.

    Args:
        image_size: [height, width] of all images.
        fit: how stored pictures become images of that size, `crop` or `stretch`.
        views: options of the data module that choose the views; see `VIEW_OPTIONS`.
        crop: central part that counts: a fraction of each side, or pixels if above 1.
        metrics: which figures, in the order of the columns.
        lpips: its network and weights.
        seeds: every seed is a test; figures are averaged over them before anything else. One is enough for models that
            draw nothing when they predict.
        repeats: timed repetitions; 0 measures neither time nor memory.
        precision: of the networks.
        published: keys of published tables to print below, such as stereolayers/table1/sword.
    """

    image_size: tuple[int, int] | None = None
    fit: Literal["crop", "stretch"] | None = None
    views: dict[str, Any] = field(default_factory=dict)
    crop: float = 1.0
    metrics: tuple[Metric, ...] = ("psnr", "ssim", "lpips", "flip")
    lpips: LpipsOptions = LpipsOptions()
    seeds: tuple[int, ...] = (0,)
    repeats: int = 5
    precision: Precision = "32-true"
    published: tuple[str, ...] = ()

    @property
    def evaluation(self) -> Node:
        """The callback that computes the figures."""
        options = {
            "metrics": list(self.metrics),
            "crop": self.crop,
            "stages": ["test"],
            "lpips_backbone": self.lpips.backbone,
            "lpips_weights": self.lpips.weights,
        }
        return {"class_path": "repsynth.callbacks.evaluation.Evaluation", "init_args": options}

    def plain(self) -> dict[str, Any]:
        """Every key, as JSON and YAML write them."""
        return asdict(self)


def read_protocol(path: Path) -> NvsProtocol:
    """Read a protocol.

    Raises:
        UserError: an unknown key (with the nearest one), a value of the wrong type or out of its range, an unknown
            published table; names the file.
    """
    content = read_yaml(path)
    _check_types(path, content, NvsProtocol, "")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(NvsProtocol)
    protocol = NvsProtocol(**vars(parser.instantiate_classes(parser.parse_object(content))))
    _check_values(path, protocol)
    return protocol


def settled(protocol: NvsProtocol, path: Path, data: DataSet) -> DataSet:
    """A data section with the views, the size and the fit of a protocol.

    Raises:
        UserError: the data module has no such option.
    """
    cls = classes.load(str(data.data["class_path"]), "data.class_path", data.origin)
    known = signatures.options(cls)
    for name in options_of(protocol):
        if name not in known:
            key = f"views.{name}" if name in VIEW_OPTIONS else name
            raise UserError(
                f"{path} sets {key}, but {cls.__name__} ({data.origin}) has no option '{name}': its evaluation does "
                "not depend on it, or it cannot be chosen; leave the key out, or compare on other data"
            )
    return DataSet(data.name, with_options(data.data, options_of(protocol)), data.origin)


def options_of(protocol: NvsProtocol) -> dict[str, Any]:
    """The options of a data module that a protocol sets."""
    size = None if protocol.image_size is None else list(protocol.image_size)
    given = {"image_size": size, "fit": protocol.fit, **protocol.views}
    return {name: value for name, value in given.items() if value is not None or name in protocol.views}


def _check_types(path: Path, content: dict[str, Any], cls: type, prefix: str) -> None:
    known = signatures.options(cls)
    for name, value in content.items():
        if name not in known:
            raise UserError(f"{path}: unknown key '{prefix}{name}'; {suggestion(str(name), known)}")
        structure = signatures.dataclass_in(known[name].annotation)
        if structure is not None and isinstance(value, dict):
            _check_types(path, value, structure, f"{prefix}{name}.")
        elif not fits(known[name].annotation, value):
            expected = signatures.readable_type(known[name].annotation)
            raise UserError(f"{path}: '{prefix}{name}' expects {expected}, but got {value!r}")


def _check_values(path: Path, protocol: NvsProtocol) -> None:
    for name in protocol.views:
        if name not in VIEW_OPTIONS:
            raise UserError(f"{path}: unknown key 'views.{name}'; {suggestion(name, VIEW_OPTIONS)}")
    try:
        check_metrics(protocol.metrics)
        check_crop(protocol.crop)
        for key in protocol.published:
            published.find(key)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not protocol.seeds or len(set(protocol.seeds)) < len(protocol.seeds) or min(protocol.seeds) < 0:
        raise UserError(
            f"{path}: 'seeds' is {list(protocol.seeds)}; expected at least one, from 0 on, none twice"
        )
    if protocol.repeats < 0:
        raise UserError(f"{path}: 'repeats' is {protocol.repeats}; expected 0 (no timing) or more")
