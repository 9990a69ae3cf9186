"""Compiles the optional native module with the system's C++ compiler; without one, the package is built without it.

What it does, ``participant_kit.subsets.language`` does without it too, more slowly. It uses Python's stable ABI,
so one build serves every Python from 3.11 on. Only for x86-64: elsewhere compilers fuse multiplications with additions,
and the last bit of a score, so the label of a caption between two languages, could differ from fastText's.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("native/fasttext_model.cpp", "native/module.cpp")
MODULE = "participant_kit/subsets/_native.abi3.so"
FLAGS = ("-std=c++17", "-O3", "-mpopcnt", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
"""Every x86-64 processor since 2008 counts bits; nothing else is taken for granted. No option may change a sum."""
SWITCH = "DATACUP_NATIVE"
"""Environment variable: ``0`` builds without the native module, ``1`` fails where it cannot be built."""


class NativeModule(BuildHookInterface[Any]):
    """Adds the module to the wheel, or to the source folder of an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Before the build: compile into the source folder, where git ignores the module."""
        if self.target_name != "wheel":
            return
        module = Path(self.root, MODULE)
        module.unlink(missing_ok=True)
        obstacle = "it was switched off" if os.environ.get(SWITCH) == "0" else _compile(Path(self.root), module)
        if obstacle:
            if os.environ.get(SWITCH) == "1":
                raise RuntimeError(f"The native module cannot be built: {obstacle}.")
            self.app.display_warning(f"Built without the native module ({obstacle}): filters by language are slower.")
            return
        build_data["pure_python"] = False
        build_data["artifacts"].append(MODULE)
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        self.app.display_info("Built with the native module.")


def _compile(root: Path, module: Path) -> str:
    """Why the module could not be compiled; empty when it was."""
    if platform.machine() not in {"x86_64", "AMD64"} or os.name != "posix":
        return "it is only for x86-64 on Linux and macOS"
    compiler = _compiler()
    if compiler is None:
        return "there is no C++ compiler"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return "Python's headers are not installed"
    unfinished = module.with_suffix(".tmp")
    undefined = ["-undefined", "dynamic_lookup"] if platform.system() == "Darwin" else []
    command = [*compiler, *FLAGS, "-shared", *undefined, f"-I{headers}", *SOURCES, "-o", str(unfinished)]
    try:
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{compiler[0]} does not start: {error}"
    if run.returncode:
        unfinished.unlink(missing_ok=True)
        return f"{compiler[0]} failed: {run.stderr.strip()[-2000:]}"
    unfinished.replace(module)
    return ""


def _compiler() -> list[str] | None:
    """``$CXX`` if set, else the first usual name that is installed."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
