"""The outcome of a comparison as Markdown, LaTeX, CSV and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from repsynth.benchmark.published import PublishedTable
from repsynth.benchmark.speed import Speed
from repsynth.benchmark.tables import ABSENT, Table, comma_separated, latex, markdown
from repsynth.metrics.table import Summary, write_json

Cells = dict[str, str]
_TITLES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "flip": "FLIP"}
_OTHERS = ("parameters", "scene", "frames/s", "memory", "covered")


@dataclass(frozen=True)
class Result:
    """One model on one data set.

    Attributes:
        model: Name of the model.
        data: Name of the data set.
        figures: By name, over the images.
        count: Number of images.
        parameters: Of the networks that predict.
        coverage: Share of the images that the scenes cover; None for models that render no scenes.
        speed: None where it was not measured.
        about: What else belongs into the JSON file: class, checkpoint, files.
    """

    model: str
    data: str
    figures: dict[str, Summary]
    count: int
    parameters: int
    coverage: Summary | None
    speed: Speed | None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A whole comparison.

    Attributes:
        results: The measured rows.
        published: Tables to print below them.
        conditions: Device, versions, protocol and settings, ready for JSON.
        notes: Sentences below the table.
    """

    results: Sequence[Result]
    published: Sequence[PublishedTable]
    conditions: dict[str, Any]
    notes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """Of the figures: the measured ones, then those that are only published."""
        rows = [figures for table in self.published for figures in table.rows.values()]
        return list(dict.fromkeys([*self.results[0].figures, *(name for row in rows for name in row)]))

    def table(self) -> Table:
        """A row per model and data set, published rows below."""
        header = ["model", "data", *(_TITLES.get(name, name) for name in self.names), *_OTHERS]
        rows = [[r.model, r.data, *self._figures(r), *_other_cells(r)] for r in self.results]
        for number, table in enumerate(self.published, 1):
            for model, figures in table.rows.items():
                cells = [figures.get(name, ABSENT) for name in self.names]
                rows.append([model, f"published [{number}]", *cells, *[ABSENT] * len(_OTHERS)])
        return Table(header, rows, texts=2, notes=[*self.notes, *self._sources()])

    def csv(self) -> str:
        """The same rows as numbers, in seconds and bytes; empty where there is none."""
        header = ["model", "data", "source", "images"]
        header += [column for name in self.names for column in (name, f"{name}_std")]
        header += [
            "parameters",
            "scene_seconds",
            "view_seconds",
            "frames_per_second",
            "peak_memory_bytes",
            "coverage",
        ]
        rows = [_csv_row(result, self.names) for result in self.results]
        for table in self.published:
            for model, figures in table.rows.items():
                cells = [cell for name in self.names for cell in (figures.get(name), None)]
                rows.append([model, table.about, f"published: {table.source}", None, *cells, *[None] * 6])
        return comma_separated(header, rows)

    def plain(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            **self.conditions,
            "notes": list(self.notes),
            "results": {
                data: {result.model: _plain(result) for result in self.results if result.data == data}
                for data in dict.fromkeys(result.data for result in self.results)
            },
            "published": {table.key: asdict(table) for table in self.published},
        }

    def write(self, folder: Path) -> None:
        """Write `table.md`, `table.tex`, `table.csv` and `benchmark.json` into a folder."""
        table = self.table()
        for name, text in (
            ("table.md", markdown(table) + "\n"),
            ("table.tex", latex(table) + "\n"),
            ("table.csv", self.csv()),
        ):
            (folder / name).write_text(text, encoding="utf-8")
        write_json(folder / "benchmark.json", self.plain())

    def _figures(self, result: Result) -> list[str]:
        return [with_spread(name, result.figures.get(name)) for name in self.names]

    def _sources(self) -> list[str]:
        return [
            f"published [{number}], not measured here: {table.source}, {table.about}."
            for number, table in enumerate(self.published, 1)
        ]


def shown(name: str, value: float | None) -> str:
    """A figure as tables show it; a dash where it is not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return ABSENT
    return f"{value:.2f}" if name == "psnr" else f"{value:.3f}"


def with_spread(name: str, summary: Summary | None) -> str:
    """Mean and standard deviation over the images; a dash for a figure that was not measured."""
    if summary is None:
        return ABSENT
    mean, spread = shown(name, summary.mean), shown(name, summary.std)
    return mean if ABSENT in (mean, spread) else f"{mean} ± {spread}"


def _other_cells(result: Result) -> list[str]:
    speed = result.speed
    return [
        _millions(result.parameters),
        ABSENT if speed is None or speed.scene is None else f"{speed.scene.median:.3g} s",
        ABSENT if speed is None else _rate(speed.frames_per_second),
        ABSENT if speed is None or speed.memory is None else f"{speed.memory / 2**20:.0f} MiB",
        ABSENT if result.coverage is None else f"{100 * result.coverage.mean:.1f} %",
    ]


def _rate(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e4 else str(count)


def _csv_row(result: Result, names: Sequence[str]) -> list[object]:
    speed = result.speed
    summaries = [result.figures.get(name) for name in names]
    figures = [
        value for each in summaries for value in ((None, None) if each is None else (each.mean, each.std))
    ]
    return [
        result.model,
        result.data,
        "measured",
        result.count,
        *figures,
        result.parameters,
        *((None,) * 4 if speed is None else _csv_speed(speed)),
        None if result.coverage is None else result.coverage.mean,
    ]


def _csv_speed(speed: Speed) -> tuple[object, ...]:
    scene = None if speed.scene is None else speed.scene.median
    return scene, speed.view.median, speed.frames_per_second, speed.memory


def _plain(result: Result) -> dict[str, Any]:
    speed = result.speed
    timed = None
    if speed is not None:
        timed = {
            "scene_seconds": None if speed.scene is None else speed.scene._asdict(),
            "view_seconds": speed.view._asdict(),
            "frames_per_second": speed.frames_per_second,
            "peak_memory_bytes": speed.memory,
        }
    return {
        "images": result.count,
        "figures": {name: summary._asdict() for name, summary in result.figures.items()},
        "parameters": result.parameters,
        "coverage": None if result.coverage is None else result.coverage._asdict(),
        "speed": timed,
        **result.about,
    }
