"""Compiles the optional native modules with the system's C++ compiler; without one, the package is built without them.

What they do, the Python beside them does too, more slowly: language identification, reading and writing tars. They use
Python's stable ABI, so one build serves every Python from 3.11 on. Only for x86-64: elsewhere compilers fuse
multiplications with additions, and the last bit of a score, so the label of a caption between two languages, could
differ from fastText's.
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

MODULES = {
    "participant_kit/subsets/_native.abi3.so": ("native/fasttext_model.cpp", "native/language_module.cpp"),
    "competition/data/_native.abi3.so": ("native/tar_scan.cpp", "native/tar_copy.cpp", "native/tar_module.cpp"),
}
"""What is built, and from which sources."""
FLAGS = ("-std=c++17", "-O3", "-mpopcnt", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
"""Every x86-64 processor since 2008 counts bits; nothing else is taken for granted. No option may change a sum."""
SWITCH = "DATACUP_NATIVE"
"""Environment variable: ``0`` builds without the native modules, ``1`` fails where they cannot be built."""


class NativeModules(BuildHookInterface[Any]):
    """Adds the modules to the wheel, or to the source folder of an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Before the build: compile into the source folder, where git ignores the modules."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        for module in MODULES:
            Path(root, module).unlink(missing_ok=True)
        obstacle = "they were switched off" if os.environ.get(SWITCH) == "0" else _compile_all(root)
        if obstacle:
            if os.environ.get(SWITCH) == "1":
                raise RuntimeError(f"The native modules cannot be built: {obstacle}.")
            self.app.display_warning(
                f"Built without the native modules ({obstacle}): filters by language and reshard are slower."
            )
            return
        build_data["pure_python"] = False
        build_data["artifacts"] += MODULES
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        self.app.display_info("Built with the native modules.")


def _compile_all(root: Path) -> str:
    """Why the modules could not be compiled; empty when all were."""
    if platform.machine() not in {"x86_64", "AMD64"} or os.name != "posix":
        return "they are only for x86-64 on Linux and macOS"
    compiler = _compiler()
    if compiler is None:
        return "there is no C++ compiler"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return "Python's headers are not installed"
    for module, sources in MODULES.items():
        obstacle = _compile(root, Path(root, module), [*compiler, *FLAGS, f"-I{headers}", *sources])
        if obstacle:
            return obstacle
    return ""


def _compile(root: Path, module: Path, command: list[str]) -> str:
    """Why the module could not be compiled; empty when it was."""
    unfinished = module.with_suffix(".tmp")
    undefined = ["-undefined", "dynamic_lookup"] if platform.system() == "Darwin" else []
    try:
        whole = [*command, "-shared", *undefined, "-o", str(unfinished)]
        run = subprocess.run(whole, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]} does not start: {error}"
    if run.returncode:
        unfinished.unlink(missing_ok=True)
        return f"{command[0]} failed: {run.stderr.strip()[-2000:]}"
    unfinished.replace(module)
    return ""


def _compiler() -> list[str] | None:
    """``$CXX`` if set, else the first usual name that is installed."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
