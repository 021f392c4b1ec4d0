"""Binary glTF 2.0 files: a JSON document and one block of bytes (Khronos specification, sections 3.6 and 4.4)."""

import json
import struct
from typing import Any

import numpy as np

from repsynth.errors import UserError

_MAGIC = b"glTF"
_HEADER = struct.Struct("<4sII")
_CHUNK = struct.Struct("<I4s")
_LARGEST = 2**32 - 1
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}
_COMPONENTS = {"float32": 5126, "uint32": 5125}


class Block:
    """The bytes of a file as they are put together, with the views and accessors that the JSON part lists."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.length = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add_bytes(self, content: bytes, target: int | None = None) -> int:
        """Add a view, for example of a picture, and return its number."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.length, "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self._append(content + bytes(-len(content) % 4))
        return len(self.views) - 1

    def add_attribute(self, values: np.ndarray) -> int:
        """Add an attribute of the vertices, float32 [N, 2 or 3], and return the number of its accessor."""
        return self._add_accessor(values, _ARRAY_BUFFER)

    def add_indices(self, indices: np.ndarray) -> int:
        """Add the corners of triangles, uint32 [N], and return the number of their accessor."""
        return self._add_accessor(indices[:, None], _ELEMENT_BUFFER)

    def content(self) -> bytes:
        """All bytes."""
        return b"".join(self._parts)

    def _append(self, content: bytes) -> None:
        self._parts.append(content)
        self.length += len(content)

    def _add_accessor(self, values: np.ndarray, target: int) -> int:
        view = self.add_bytes(values.astype(values.dtype.newbyteorder("<")).tobytes(), target)
        self.accessors.append(
            {
                "bufferView": view,
                "componentType": _COMPONENTS[values.dtype.name],
                "count": len(values),
                "type": _TYPES[values.shape[1]],
                "min": values.min(axis=0).tolist(),
                "max": values.max(axis=0).tolist(),
            }
        )
        return len(self.accessors) - 1


def encode(document: dict[str, Any], block: Block) -> bytes:
    """Put a file together.

    Args:
        document: the JSON part without buffers, views and accessors.
        block: those.

    Raises:
        UserError: it would be longer than the format's 4 GiB.
    """
    complete = document | {
        "buffers": [{"byteLength": block.length}],
        "bufferViews": block.views,
        "accessors": block.accessors,
    }
    text = json.dumps(complete, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = _HEADER.size + 2 * _CHUNK.size + len(text) + block.length
    if length > _LARGEST:
        raise UserError(
            f"a glTF file of this scene would have {length / 2**30:.1f} GiB and the format ends at 4; export layers "
            "instead (model.prediction.scene: [layers]), or of smaller pictures (data.image_size)."
        )
    chunks = [(text, b"JSON"), (block.content(), b"BIN\0")]
    body = b"".join(_CHUNK.pack(len(content), kind) + content for content, kind in chunks)
    return _HEADER.pack(_MAGIC, 2, length) + body
