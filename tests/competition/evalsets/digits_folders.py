"""Scikit-learn's digits in the folder formats in which datasets are published, as torchvision and others read them."""

from __future__ import annotations

import csv
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits

PIXELS = np.clip(load_digits().images * 16, 0, 255).astype(np.uint8)


class Pen:
    """Writes one digit after another, each another one, in colour unless told otherwise."""

    def __init__(self) -> None:
        self._next = 0

    def pixels(self) -> np.ndarray:
        self._next += 1
        shade = PIXELS[self._next]
        return np.stack([shade, shade[::-1], shade.T], axis=2)

    def write(self, path: Path, *, grey: bool = False) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.pixels()
        Image.fromarray(pixels[:, :, 0] if grey else pixels).save(path, quality=95)
        return path


def lines(path: Path, content: Iterator[str] | list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(content) + "\n")


def dtd(root: Path, pen: Pen) -> None:
    base = root / "dtd" / "dtd"
    for split in ("train", "val", "test"):
        names = [f"texture{c:02d}/texture{c:02d}_{split}.jpg" for c in reversed(range(47))]
        lines(base / "labels" / f"{split}1.txt", names)
        for name in names:
            pen.write(base / "images" / name)


def eurosat(root: Path, pen: Pen) -> None:
    for c in range(10):
        for n in range(4):
            pen.write(root / "eurosat" / "2750" / f"Land{c}" / f"Land{c}_{n}.jpg")


def sun397(root: Path, pen: Pen) -> None:
    names = [f"/{chr(97 + c % 26)}/scene{c:03d}" for c in range(397)]
    lines(root / "SUN397" / "ClassName.txt", names)
    for name in reversed(names):
        pen.write(root / "SUN397" / name[1:] / f"sun_{name[-3:]}.jpg")


def caltech256(root: Path, pen: Pen) -> None:
    for c in range(257):
        folder = root / "caltech256" / "256_ObjectCategories" / f"{c + 1:03d}.thing"
        pen.write(folder / f"{c + 1:03d}_0001.jpg")
        pen.write(folder / f"{c + 1:03d}_0002.jpg", grey=c % 3 == 0)


def gtsrb(root: Path, pen: Pen) -> None:
    base = root / "gtsrb"
    for c in range(43):
        pen.write(base / "GTSRB" / "Training" / f"{c:05d}" / "00000.ppm")
    rows = [(f"{n:05d}.ppm", (n * 7) % 43) for n in range(50)]
    for name, _ in rows:
        pen.write(base / "GTSRB" / "Final_Test" / "Images" / name)
    with (base / "GT-final_test.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["Filename", "ClassId"])
        writer.writerows(rows)


def country211(root: Path, pen: Pen) -> None:
    for split in ("train", "valid", "test"):
        for c in range(211):
            pen.write(root / "country211" / split / f"C{c:03d}" / f"{split}.jpg")


def rendered_sst2(root: Path, pen: Pen) -> None:
    for split in ("train", "valid", "test"):
        for label in ("negative", "positive"):
            for n in range(5):
                pen.write(root / "rendered-sst2" / split / label / f"{n}.png")


def fgvc_aircraft(root: Path, pen: Pen) -> None:
    data = root / "fgvc-aircraft-2013b" / "data"
    variants = [f"Plane {c:03d}" for c in range(100)]
    lines(data / "variants.txt", variants)
    number = 0
    for split in ("train", "val", "test"):
        rows = []
        for variant in reversed(variants):
            pen.write(data / "images" / f"{number:07d}.jpg")
            rows.append(f"{number:07d} {variant}")
            number += 1
        lines(data / f"images_variant_{split}.txt", rows)
    both = [(data / f"images_variant_{split}.txt").read_text().strip() for split in ("train", "val")]
    lines(data / "images_variant_trainval.txt", both)


def stanford_cars(root: Path, pen: Pen) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(
        base / "devkit" / "cars_meta.mat", {"class_names": np.array([f"Car {c}" for c in range(196)], dtype=object)}
    )
    for folder, target in (
        ("cars_train", base / "devkit" / "cars_train_annos.mat"),
        ("cars_test", base / "cars_test_annos_withlabels.mat"),
    ):
        rows = np.zeros(196, dtype=[("class", "O"), ("fname", "O")])
        for c in range(196):
            pen.write(base / folder / f"{c:05d}.jpg")
            rows[c] = (196 - c, f"{c:05d}.jpg")
        savemat(target, {"annotations": rows})


def oxford_pets(root: Path, pen: Pen) -> None:
    base = root / "oxford-iiit-pet"
    for split in ("trainval", "test"):
        names = [f"Breed_{c:02d}_{split}" for c in range(37)]
        lines(base / "annotations" / f"{split}.txt", [f"{name} {c + 1} 1 1" for c, name in enumerate(names)])
        for name in names:
            pen.write(base / "images" / f"{name}.jpg")


def food101(root: Path, pen: Pen) -> None:
    for split in ("train", "test"):
        index = {f"dish{c:03d}": [f"dish{c:03d}/{split}"] for c in reversed(range(101))}
        lines(root / "food-101" / "meta" / f"{split}.json", [json.dumps(index)])
        for names in index.values():
            pen.write(root / "food-101" / "images" / f"{names[0]}.jpg")


def flowers102(root: Path, pen: Pen) -> None:
    base = root / "flowers-102"
    count = 102 * 3
    for number in range(1, count + 1):
        pen.write(base / "jpg" / f"image_{number:05d}.jpg")
    ids = np.arange(1, count + 1)
    savemat(base / "setid.mat", {"trnid": ids[:102], "valid": ids[102:204], "tstid": ids[204:]})
    savemat(base / "imagelabels.mat", {"labels": (ids * 5) % 102 + 1})


def mnist(root: Path, pen: Pen) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, count in (("train", 30), ("t10k", 20)):
        images = np.stack([pen.pixels()[:, :, 0] for _ in range(count)])
        labels = (np.arange(count) * 3 % 10).astype(np.uint8)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 8, 8) + images.tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + labels.tobytes())


def svhn(root: Path, pen: Pen) -> None:
    root.mkdir()
    for split, count in (("train", 30), ("test", 20)):
        images = np.stack([pen.pixels() for _ in range(count)], axis=3)
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": (np.arange(count) % 10 + 1)[:, None]})


TORCHVISION: dict[str, Callable[[Path, Pen], None]] = {
    "DTD": dtd,
    "EuroSAT": eurosat,
    "SUN397": sun397,
    "Caltech256": caltech256,
    "GTSRB": gtsrb,
    "Country211": country211,
    "RenderedSST2": rendered_sst2,
    "FGVCAircraft": fgvc_aircraft,
    "StanfordCars": stanford_cars,
    "OxfordIIITPet": oxford_pets,
    "Food101": food101,
    "Flowers102": flowers102,
    "MNIST": mnist,
    "SVHN": svhn,
}
"""By torchvision's class."""


def cub(root: Path, pen: Pen) -> None:
    """The third training image and the last test image have no colour."""
    names = [f"{c + 1:03d}.Bird_{c}/Bird_{n}.jpg" for c in range(200) for n in range(4)]
    for row, name in enumerate(names):
        pen.write(root / "images" / name, grey=row in {4, 799})
    lines(root / "images.txt", [f"{row + 1} {name}" for row, name in enumerate(names)])
    lines(root / "image_class_labels.txt", [f"{row + 1} {row // 4 + 1}" for row in range(800)])
    lines(root / "train_test_split.txt", [f"{row + 1} {1 - row % 2}" for row in range(800)])
    lines(root / "classes.txt", [f"{c + 1} {c + 1:03d}.Bird_{c}" for c in range(200)])


def stanford_dogs(root: Path, pen: Pen) -> None:
    for part in ("train", "test"):
        files = [f"n{c:08d}-dog_{c}/{part}.jpg" for c in range(120)]
        for name in files:
            pen.write(root / "Images" / name)
        content = {"file_list": np.array(files, dtype=object)[:, None], "labels": np.arange(1, 121)[:, None]}
        savemat(root / f"{part}_list.mat", content)


def stanford_40(root: Path, pen: Pen) -> None:
    for part in ("train", "test"):
        for c in range(40):
            names = [f"action_{c:02d}_{part}.jpg"]
            lines(root / "ImageSplits" / f"action_{c:02d}_{part}.txt", names)
            pen.write(root / "JPEGImages" / names[0])
    lines(root / "ImageSplits" / "actions.txt", ["action_name number"])


def mit_67(root: Path, pen: Pen) -> None:
    for part in ("Train", "Test"):
        names = [f"room{c:02d}/{part}.jpg" for c in reversed(range(67))]
        lines(root / f"{part}Images.txt", names)
        for name in names:
            pen.write(root / "Images" / name)


def food_11(root: Path, pen: Pen) -> None:
    for part in ("training", "validation", "evaluation"):
        for c in range(11):
            pen.write(root / part / f"{c}_0.jpg")


AUTHORS: dict[str, Callable[[Path, Pen], None]] = {
    "simcore-birds": cub,
    "simcore-dogs": stanford_dogs,
    "simcore-action": stanford_40,
    "simcore-indoor": mit_67,
    "simcore-food11": food_11,
}
"""By the set that is made of them."""


def elevater(root: Path, pen: Pen, classes: int, parts: tuple[str, ...], *, coco: bool) -> None:
    """An index beside a zip for each part, two images a class in the order of neither name nor class."""
    for part in parts:
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            rows = []
            for number in range(2 * classes):
                label = (number * 3) % classes if classes % 3 else number % classes
                member = f"class{label}/{2 * classes - number}.png"
                archive.write(pen.write(root / "made" / part / f"{number}.png"), member)
                rows.append((f"{part}.zip@{member}", label))
        if coco:
            index = {
                "categories": [{"id": c + 1, "name": f"thing {c}"} for c in range(classes)],
                "images": [{"id": n + 1, "file_name": name} for n, (name, _) in enumerate(rows)],
                "annotations": [{"id": n, "image_id": n + 1, "category_id": c + 1} for n, (_, c) in enumerate(rows)],
            }
            (root / f"{part}.json").write_text(json.dumps(index))
        else:
            lines(root / f"{part}.txt", [f"{name} {label}" for name, label in rows])
