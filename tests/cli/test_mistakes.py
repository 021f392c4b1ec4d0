"""Every mistake gets its sentence: exit code 2, one line on the error stream, no traceback."""

from pathlib import Path

import pytest

from repsynth.cli import main

from .conftest import YAML

FIT = ["fit", "--config", YAML]
MISTAKES: dict[str, tuple[list[str], str]] = {
    "unknown command": (["fitt"], "unknown command 'fitt': did you mean 'fit'?"),
    "unknown flag of list": (["list", "--experimants=x"], "unrecognized arguments: --experimants=x"),
    "no experiment": (["fit"], "repsynth fit needs --config"),
    "missing file": (
        ["fit", "--config", "experiments/toy_method/sintetic.yaml"],
        "no such configuration file (option --config); did you mean 'synthetic.yaml'?",
    ),
    "word without option": ([*FIT, "oops"], "'oops' on the command line belongs to no option"),
    "option without value": (
        [*FIT, "--model.width"],
        "option --model.width on the command line needs a value",
    ),
    "top-level key": (
        [*FIT, "--trainr.max_epochs=3"],
        "unknown option 'trainr' (on the command line): did you mean",
    ),
    "trainer key": (
        [*FIT, "--trainer.max_epoch=3"],
        "unknown option 'trainer.max_epoch' (on the command line): Trainer has no 'max_epoch'; "
        "did you mean 'max_epochs'?",
    ),
    "model key": (
        [*FIT, "--model.init_args.widht=3"],
        "unknown option 'model.init_args.widht' (on the command line): ToyMethod has no 'widht'; "
        "did you mean 'width'?",
    ),
    "model key, short form": ([*FIT, "--model.widht=3"], "did you mean 'width'?"),
    "data key": (
        [*FIT, "--data.init_args.batchsize=3"],
        "ToyPictures has no 'batchsize'; did you mean 'batch_size'?",
    ),
    "dataclass key": (
        [*FIT, "--model.schedule.warmup_sample=3"],
        "'model.init_args.schedule.warmup_sample' (on the command line): Schedule has no 'warmup_sample'; "
        "did you mean 'warmup_samples'?",
    ),
    "key of a class inside the model": (
        [*FIT, '--model.gain={"class_path": "toy_method.module.Gain", "init_args": {"strenght": 2}}'],
        "unknown option 'model.init_args.gain.init_args.strenght' (on the command line): Gain has no "
        "'strenght'; did you mean 'strength'?",
    ),
    "callback key": (
        [
            *FIT,
            '--trainer.callbacks+={"class_path": "lightning.pytorch.callbacks.EarlyStopping",'
            ' "init_args": {"monitor": "x", "patiense": 1}}',
        ],
        "'trainer.callbacks[1].init_args.patiense' (on the command line): EarlyStopping has no 'patiense'; "
        "did you mean 'patience'?",
    ),
    "callback lacks a value": (
        [*FIT, "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"],
        "EarlyStopping needs a text",
    ),
    "wrong type": (
        [*FIT, "--trainer.max_epochs=ten"],
        "option 'trainer.max_epochs' (on the command line) expects a whole number or null, but got 'ten'",
    ),
    "wrong type inside the model": (
        [*FIT, "--model.width=wide"],
        "option 'model.init_args.width' (on the command line) expects a whole number, but got 'wide'",
    ),
    "wrong literal": ([*FIT, "--model.kind=sigmoid"], "expects 'relu' or 'tanh', but got 'sigmoid'"),
    "wrong type inside a dataclass": (
        [*FIT, "--model.schedule.lr=fast"],
        "option 'model.init_args.schedule.lr' (on the command line) expects a number, but got 'fast'",
    ),
    "unknown package": (
        [*FIT, "--model=toy_metod.module.ToyMethod"],
        "no package 'toy_metod' can be imported",
    ),
    "unknown module": (
        [*FIT, "--model=toy_method.modul.ToyMethod"],
        "toy_method has no module 'modul'; did you mean",
    ),
    "unknown class": (
        [*FIT, "--model=toy_method.module.ToyMethd"],
        "module toy_method.module has no 'ToyMethd'; did you mean 'ToyMethod'?",
    ),
    "a class of another kind": (
        [*FIT, "--model=toy_method.data.ToyPictures"],
        "'toy_method.data.ToyPictures' for model (on the command line) is no LightningModule",
    ),
    "value refused by the data": (
        [*FIT, "--data.batch_size=0"],
        "error: data.batch_size is 0; expected at least 1",
    ),
    "value refused by a callback": (
        [
            *FIT,
            '--trainer.callbacks+={"class_path": "repsynth.callbacks.checkpoint.Checkpoint",'
            ' "init_args": {"every_samples": 0}}',
        ],
        "error: Checkpoint.every_samples is 0: expected a positive number, or null for never",
    ),
    "value refused by Lightning's callback": (
        [
            *FIT,
            '--trainer.callbacks+={"class_path": "lightning.pytorch.callbacks.EarlyStopping",'
            ' "init_args": {"monitor": "val/loss", "mode": "most"}}',
        ],
        "error: the configuration was refused: `mode` can be min, max, got most",
    ),
    "value refused inside the model": (
        [*FIT, '--model.gain={"class_path": "toy_method.module.Gain", "init_args": {"strength": -1}}'],
        "error: Gain.strength is -1.0; expected a positive number",
    ),
    "missing data root": ([*FIT, "--data.root=nowhere"], "no folder at nowhere (option data.root)"),
    "impossible combination": ([*FIT, "--data.side=6"], "data.side is 6, but ToyMethod halves it twice"),
    "unwritable output": (
        [*FIT, f"--trainer.default_root_dir={YAML}/runs"],
        f"the output folder {YAML}/runs cannot be written",
    ),
    "unknown strategy": (
        [*FIT, "--trainer.strategy=dpd"],
        "the section 'trainer' of the configuration was refused:",
    ),
    "no such device": (
        [*FIT, "--trainer.accelerator=cuda"],
        "the section 'trainer' of the configuration was refused:",
    ),
    "two optimisers under plain DDP": (
        [*FIT, "--trainer.strategy=ddp", "--model.by_hand=true"],
        "set trainer.strategy: ddp_find_unused_parameters_true",
    ),
    "no checkpoint to test": (
        ["test", "--config", YAML],
        "test finds no checkpoint in runs/toy-synthetic/checkpoints",
    ),
    "no best checkpoint": (
        ["test", "--config", YAML, "--ckpt_path=best"],
        "--ckpt_path best: no best.ckpt in",
    ),
    "missing checkpoint": ([*FIT, "--ckpt_path=none.ckpt"], "none.ckpt: no such checkpoint"),
    "missing weights": ([*FIT, "--init_from=none.ckpt"], "none.ckpt: no such checkpoint"),
    "an option of fit": (
        ["test", "--config", YAML, "--resume"],
        "--resume is an option of `repsynth fit`; test takes its checkpoint from --ckpt_path",
    ),
    "weights and a state": (
        [*FIT, "--init_from=a.ckpt", "--ckpt_path=last"],
        "--init_from and --ckpt_path both name a checkpoint to start from; give one of them",
    ),
    "two starting points": ([*FIT, "--resume", "--ckpt_path=last"], "give one of them"),
    "unknown method": (
        ["describe", "stereolayer"],
        "unknown method 'stereolayer': did you mean 'stereolayers'?",
    ),
    "missing folder of experiments": (
        ["list", "--experiments", "nowhere"],
        "nowhere: no such folder of experiments",
    ),
}


def one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_its_sentence(name: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, sentence = MISTAKES[name]
    assert sentence in one_sentence(capsys, arguments)


BAD_FILES: dict[str, tuple[str, str]] = {
    "no YAML": (
        "model:\n  class_path: [1, 2\ndata: 3\n",
        "bad.yaml line 3, column 5: this is not valid YAML",
    ),
    "a tab": ("model:\n\tclass_path: x\n", "bad.yaml line 2, column 1: this is not valid YAML"),
    "empty": ("", "bad.yaml: expected a mapping with trainer, model, data, found an empty file"),
    "a list": ("- 1\n", "found a list"),
    "no model": ("data:\n  class_path: toy_method.data.ToyPictures\n", "no 'model' is given in bad.yaml"),
    "no data": ("model:\n  class_path: toy_method.module.ToyMethod\n", "no 'data' is given in bad.yaml"),
    "another top-level key": ("modell: 3\n", "unknown option 'modell' (in bad.yaml): did you mean 'model'?"),
    "a model that is no class": (
        "model: {width: 3}\ndata: {}\n",
        "option 'model' (in bad.yaml) needs a class_path",
    ),
    "init_args misspelt": (
        "model:\n  class_path: toy_method.module.ToyMethod\n  init_arg: {width: 3}\n"
        "data:\n  class_path: toy_method.data.ToyPictures\n",
        "unknown option 'model.init_arg' (in bad.yaml): a class_path / init_args pair has no 'init_arg'; "
        "did you mean 'init_args'?",
    ),
    "a list for a number": (
        "model:\n  class_path: toy_method.module.ToyMethod\n  init_args: {width: [1, 2]}\n"
        "data:\n  class_path: toy_method.data.ToyPictures\n",
        "option 'model.init_args.width' (in bad.yaml) expects a whole number, but got [1, 2]",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_its_sentence(name: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, sentence = BAD_FILES[name]
    Path("bad.yaml").write_text(text)
    assert sentence in one_sentence(capsys, ["fit", "--config", "bad.yaml"])


def test_nothing_is_written_by_a_refused_start(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(toy.rglob("*.*"))
    assert main([*FIT, "--model.widht=3"]) == 2
    assert sorted(path for path in toy.rglob("*.*") if path.suffix != ".pyc") == before


def test_debug_shows_the_traceback(toy: Path) -> None:
    from repsynth.errors import UserError

    with pytest.raises(UserError, match="did you mean 'width'"):
        main([*FIT, "--model.widht=3", "--debug"])


def test_a_shortened_name_inside_a_dataclass_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The parser itself would take it for the whole name."""
    experiment = Path(__file__).parents[2] / "experiments" / "stereolayers" / "synthetic.yaml"
    words = ["fit", "--config", str(experiment), "--model.rendering.fragment=3"]
    assert one_sentence(capsys, words) == (
        "error: unknown option 'model.init_args.rendering.fragment' (on the command line): RenderingOptions has no "
        "'fragment'; did you mean 'fragments'?"
    )
