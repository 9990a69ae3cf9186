"""ObjectNet as it is published: folders of images, and the files that say which of them are classes of ImageNet.

``images/<class>/*.png`` and ``mappings/`` with ``folder_to_objectnet_label.json``, ``objectnet_to_imagenet_1k.json``,
``pytorch_to_imagenet_2012_id.json`` (for each output of a model, the line of its label, from 0) and
``imagenet_to_label_2012_v2`` (labels of ImageNet's classes, one a line). Images of classes that ImageNet lacks are not
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.data.atomic import storage_errors
from competition.errors import EvaluationError
from competition.evaluation.image_files import ImageFiles
from competition.evaluation.image_folder import images_of_class, is_class
from competition.evaluation.inputs import Integers
from competition.evaluation.robustness import objectnet_mapping
from competition.evaluation.set_texts import HINT, json_object, text

BORDER = 2
"""Pixels on each side of an image that are red, so that nobody trains on ObjectNet unawares."""


@dataclass(frozen=True)
class ObjectNet:
    """Images of the classes that ImageNet has too.

    Args:
        files: of the images.
        labels: int64 [N], positions among those classes.
        mapping: which of those classes each output of the model is, or -1 [C].
        folders: of those classes, which name them.
    """

    files: ImageFiles
    labels: Integers
    mapping: Integers
    folders: tuple[str, ...]


def list_objectnet(folder: Path, outputs: int) -> ObjectNet:
    """Find the images, without opening one.

    Args:
        folder: the set's.
        outputs: of the model.

    Raises:
        EvaluationError: a file or a folder is absent or damaged, or the model has not ImageNet's classes.
        StorageError: a folder cannot be read.
    """
    mappings, images = folder / "mappings", folder / "images"
    label_of_folder = _strings(mappings / "folder_to_objectnet_label.json")
    imagenet_of_label = _strings(mappings / "objectnet_to_imagenet_1k.json")
    labels_of_outputs = _labels_of_outputs(mappings)
    if len(labels_of_outputs) != outputs:
        raise EvaluationError(
            f"ObjectNet's files are for models of {len(labels_of_outputs)} classes, and the model knows {outputs}.",
            hint="Evaluate models that were trained on ImageNet's classes.",
        )
    if not images.is_dir():
        raise EvaluationError(f"ObjectNet's folder {images} is not there.", hint="Unpack what its authors publish.")
    with storage_errors("listing", images):
        present = sorted(path.name for path in images.iterdir() if is_class(path))
    missing = sorted(
        name for name, label in label_of_folder.items() if label in imagenet_of_label and name not in present
    )
    if missing:
        raise EvaluationError(
            f"ObjectNet lacks the folders of {len(missing)} classes, first of all {missing[0]!r}.", hint=HINT
        )
    shared, mapping = objectnet_mapping(present, label_of_folder, imagenet_of_label, labels_of_outputs)
    found = [images_of_class(images / name) for name in shared]
    labels = np.repeat(np.arange(len(shared), dtype=np.int64), [len(paths) for paths in found])
    files = ImageFiles(folder, tuple(path for paths in found for path in paths))
    return ObjectNet(files, labels, mapping, tuple(shared))


def _labels_of_outputs(mappings: Path) -> list[str]:
    """ImageNet's label of each of a model's outputs, in their order."""
    source, of_lines = mappings / "pytorch_to_imagenet_2012_id.json", mappings / "imagenet_to_label_2012_v2"
    line_of_output = json_object(text(source, "outputs of models"), str(source))
    labels = [line.strip() for line in text(of_lines, "labels").rstrip("\n").split("\n")]
    found = []
    for output in range(len(line_of_output)):
        line = line_of_output.get(str(output))
        if type(line) is not int or not 0 <= line < len(labels):
            raise EvaluationError(
                f"{source} has no line of {of_lines.name} for output {output}, but {line!r}.", hint=HINT
            )
        found.append(labels[line])
    return found


def _strings(path: Path) -> Mapping[str, str]:
    found = json_object(text(path, "mapping of classes"), str(path))
    for name, value in found.items():
        if not isinstance(value, str):
            raise EvaluationError(f"{path} has {value!r} for {name!r}, which is no name.", hint=HINT)
    return found
