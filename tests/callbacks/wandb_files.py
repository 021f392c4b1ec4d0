"""Reads what W&B has written about an offline run."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_PATIENCE = 60
_LAST = (1, 4)
"""Kinds of chunks that end a record: a whole one, and the last of several (the log format of LevelDB)."""


class WandbFile:
    """The content of a `.wandb` file.

    Attributes:
        config: what was logged as configuration.
        summary: keys that were set by hand or logged -> their last values.
        history: the logged rows.
        artifacts: the records of artifacts.
    """

    def __init__(self, path: Path) -> None:
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.artifacts: list[Any] = []
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "config":
                self.config |= _items(record.config.update)
            elif kind == "run":
                self.config |= _items(record.run.config.update)
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "artifact":
                self.artifacts.append(record.artifact)


def only_run(folder: Path) -> WandbFile:
    """The one run below a folder, which has ended; W&B's own process may still be writing."""
    (path,) = folder.rglob("*.wandb")
    last = time.monotonic() + _PATIENCE
    while not any(record.WhichOneof("record_type") == "exit" for record in records(path)):
        assert time.monotonic() < last, "the file has no end"
        time.sleep(0.05)
    return WandbFile(path)


def records(path: Path) -> Iterator[Any]:
    """The records of a file, after its seven bytes of header."""
    content, position, joined = path.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while position < len(content):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        if position + 7 > len(content):
            return  # still being written
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        if position + 7 + length > len(content):
            return
        joined += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in _LAST:
            yield Record.FromString(joined)
            joined = b""


def _items(items: Any) -> dict[str, Any]:  # noqa: ANN401  messages of protobuf
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
