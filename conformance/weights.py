"""A reference model's weights on disk: drawn once, then mapped, so that no process ever holds them all."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx

from . import models
from .cuts import Reference
from .dtypes import from_onnx

__all__ = ["Weights"]


class Weights:
    """The materialised form of a reference model under a cache folder, made at its first use.

    ``path()`` is an ordinary ONNX file (with its weights beside it where they are large); ``get`` gives one
    initializer, mapped from there.
    """

    def __init__(self, reference: Reference, cache: Path, seed: int) -> None:
        digest = models.manifest()[reference.name].digest
        recipe = hashlib.blake2b(
            Path(models.__file__).with_name("store.py").read_bytes(), digest_size=4
        ).hexdigest()
        self._reference = reference
        self._folder = cache / "models" / f"{reference.name}-{digest[:16]}-{recipe}-{seed}"
        self._seed = seed
        self._external: dict[str, np.ndarray] | None = None

    def path(self, *, dynamic: bool = False) -> Path:
        """The model with its weights as initializers, with static shapes or with its dynamic axes. Raises ``OSError``
        where the disk does not take it."""
        target = self._folder / f"{self._reference.name}.onnx"
        if not target.exists():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with self._folder.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not target.exists():
                    part = self._folder.with_suffix(".part")
                    shutil.rmtree(part, ignore_errors=True)
                    part.mkdir()
                    try:
                        models.materialise(self._reference.model, part / target.name, self._seed)
                        if self._reference.model.axes:
                            models.loosen(self._reference.model, part / target.name)
                        shutil.rmtree(self._folder, ignore_errors=True)
                        part.rename(self._folder)
                    except BaseException:
                        shutil.rmtree(part, ignore_errors=True)
                        raise
        return target.with_name(f"{target.stem}-dynamic.onnx") if dynamic else target

    def get(self, name: str) -> np.ndarray | None:
        """An initializer's value, read-only; None for a value that is none."""
        if name in self._reference.literals:
            return onnx.numpy_helper.to_array(self._reference.literals[name])
        if self._external is None:
            self._external = self._map()
        return self._external.get(name)

    def _map(self) -> dict[str, np.ndarray]:
        path = self.path()
        found: dict[str, np.ndarray] = {}
        for tensor in onnx.load(str(path), load_external_data=False).graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                found[tensor.name] = onnx.numpy_helper.to_array(tensor)
                continue
            place = {e.key: e.value for e in tensor.external_data}
            found[tensor.name] = np.memmap(
                path.with_name(place["location"]),
                dtype=from_onnx(tensor.data_type).numpy,
                mode="r",
                offset=int(place.get("offset", 0)),
                shape=tuple(tensor.dims),
            )
        return found
