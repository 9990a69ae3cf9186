"""A process of its own view of the machine: no network, no other processes, and only the folders it is given.

Linux namespaces, entered by system calls right after a fork, because a program that enters them for us (bubblewrap)
would have to exec, and lose the imports that the fork is for. No privilege is needed where the system lets ordinary
users make user namespaces; ``advice`` says what stands in the way elsewhere.

Two steps: ``separate`` in the process that stays outside and waits, ``enclose`` in its child, the first process of the
new process namespace. When that one ends, whatever it started ends with it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import resource
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from competition.errors import EngineError

# From <sched.h>, <sys/mount.h>, <linux/mount.h>, <sys/prctl.h>, <linux/capability.h>.
_NEWUSER, _NEWNS, _NEWNET = 0x10000000, 0x00020000, 0x40000000
_NEWIPC, _NEWUTS, _NEWPID = 0x08000000, 0x04000000, 0x20000000
_NOSUID, _NODEV, _NOEXEC, _RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 2, 4, 8, 1, 32, 4096, 16384, 1 << 18
_DETACH = 2
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITIES_V3 = 0x20080522
_LAST_CAPABILITY = 63
_SIGKILL = 9
# Since then every process namespace has a bound of its own; before, the same file is the whole machine's.
_OWN_PID_MAX = (6, 14)
_INODES = 100_000

_OLD = "/.outside"
_SYSTEM = ("bin", "lib", "lib32", "lib64", "sbin")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ACCELERATORS = ("nvidia*", "dri", "kfd")
_SYS = ("bus", "class", "dev", "devices", "module")
_ETC = (
    *("alternatives", "fonts", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"),
    "passwd",
)
_ETC_NETWORK = (
    *("ca-certificates", "gai.conf", "host.conf", "hosts", "nsswitch.conf", "pki", "protocols", "resolv.conf"),
    *("services", "ssl/certs", "ssl/openssl.cnf"),
)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Access:
    """What a process may reach beside the system's programs and this code. Everything else is absent, not forbidden.

    ``readable`` folders that are absent are left out; ``writable`` folders are created by whoever starts the process.
    """

    network: bool = False
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()


NOTHING = Access()


@dataclass(frozen=True)
class _Bind:
    source: Path
    target: Path
    writable: bool = False
    device: bool = False


def separate(access: Access) -> None:
    """Leave this process' namespaces for new ones; its next child is the first process of a namespace of its own.

    The process must have one thread only.

    Raises:
        EngineError: the system does not allow it; the hint says what would have to be changed.
    """
    if sys.platform != "linux":
        raise EngineError("This system cannot isolate a process.", hint=advice())
    uid, gid = os.geteuid(), os.getegid()
    flags = _NEWUSER | _NEWNS | _NEWIPC | _NEWUTS | _NEWPID | (0 if access.network else _NEWNET)
    _check(_libc().unshare(flags), "unshare")
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    except OSError as error:
        raise _refused("mapping the user", error) from error


def enclose(access: Access, scratch_bytes: int, tasks: int) -> None:
    """In the first child after ``separate``: see only what ``access`` names, and lose every privilege for good.

    ``/tmp`` is a scratch folder in memory of at most ``scratch_bytes``, gone with the process. ``tasks`` bounds the
    processes and threads that there may be.

    Raises:
        EngineError: the system does not allow it.
    """
    try:
        _change_root(_plan(access), scratch_bytes)
        _bound_tasks(tasks)
        Path("/proc/sys/user/max_user_namespaces").write_text("0", encoding="ascii")
        _read_only("/proc")
        _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    except OSError as error:
        raise _refused("building the view of the file system", error) from error
    _drop_privileges()
    os.environ.update({"HOME": "/tmp", "TMPDIR": "/tmp"})  # noqa: S108 - private to this process
    os.chdir("/tmp")  # noqa: S108
    names = {name for _, name in socket.if_nameindex()}
    if not access.network and names - {"lo"}:
        raise EngineError(f"The process is not isolated: it still has the network interfaces {sorted(names)}.")


def end_with_parent() -> None:
    """Be killed when the process that forked this one ends, where the system knows how: a scorer may be killed too."""
    if sys.platform == "linux":
        _check(_libc().prctl(_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")


def bounds_pids() -> bool:
    """Whether the kernel bounds the processes of each namespace for itself."""
    numbers = re.match(r"(\d+)\.(\d+)", platform.release())
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _OWN_PID_MAX


def advice() -> str:
    """What most likely keeps processes from being isolated here, and what an operator can do."""
    if sys.platform != "linux":
        return "Isolation needs Linux 5.12 or newer."
    if _sysctl("user/max_user_namespaces") == "0":
        return "User namespaces are switched off: `sysctl -w user.max_user_namespaces=10000`."
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return "Ordinary users may not make namespaces: `sysctl -w kernel.unprivileged_userns_clone=1`."
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts the namespaces of ordinary users: "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or give Python a profile with `userns`."
        )
    return (
        "In a container, start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined`; Linux 5.12 or newer is needed."
    )


def _plan(access: Access) -> list[_Bind]:
    """What is to be seen, in the order of mounting; sources with all links resolved, while the old root is there."""
    system = [Path("/usr"), *_code_folders()]
    system += [Path(f"/{name}") for name in _SYSTEM if not Path(f"/{name}").is_symlink()]
    system += [Path("/etc", name) for name in (*_ETC, *(_ETC_NETWORK if access.network else ()))]
    system += [Path("/sys", name) for name in _SYS]
    system += _named("LD_LIBRARY_PATH", *(_CERTIFICATES if access.network else ()))
    devices = [Path("/dev", name) for name in _DEVICES]
    devices += [path for pattern in _ACCELERATORS for path in sorted(Path("/dev").glob(pattern))]
    binds = {path: _Bind(path.resolve(), path) for path in (*system, *access.readable)}
    binds |= {path: _Bind(path.resolve(), path, device=True, writable=True) for path in devices}
    binds |= {path: _Bind(path.resolve(), path, writable=True) for path in access.writable}
    return [bind for _, bind in sorted(binds.items()) if bind.source.exists()]


def _named(*variables: str) -> list[Path]:
    """The absolute paths in those variables of the environment."""
    entries = [entry for name in variables for entry in os.environ.get(name, "").split(":")]
    return [Path(entry) for entry in entries if entry.startswith("/")]


def _code_folders() -> set[Path]:
    """The interpreter, what is installed for it, and the packages that were loaded from elsewhere."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    found: set[Path] = set()
    kit = importlib.util.find_spec("participant_kit")
    found.update(Path(place) for place in (kit.submodule_search_locations if kit else None) or ())
    for name, module in list(sys.modules.items()):
        if "." not in name and name != "__main__":
            places = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
            found.update(Path(place) for place in places if place and Path(place).is_absolute())
    return prefixes | {path for path in found if not any(path.is_relative_to(prefix) for prefix in prefixes)}


def _change_root(binds: Iterable[_Bind], scratch_bytes: int) -> None:
    links = {name: Path(f"/{name}").readlink() for name in _SYSTEM if Path(f"/{name}").is_symlink()}
    _mount(None, "/", None, _REC | _PRIVATE)
    base = "/tmp"  # noqa: S108 - any folder would do to mount on; nothing is written into it
    _mount("tmpfs", base, "tmpfs", _NOSUID | _NODEV, "size=4m,mode=755")
    Path(base + _OLD).mkdir()
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise EngineError(f"Isolation is not known for machines of type {platform.machine()}.")
    _check(_libc().syscall(ctypes.c_long(number), base.encode(), (base + _OLD).encode()), "pivot_root")
    os.chdir("/")
    for name, target in links.items():
        Path(f"/{name}").symlink_to(target)
    for name in ("proc", "tmp", "dev/shm"):
        Path(f"/{name}").mkdir(parents=True)
    # While the old one can be seen: the system allows no fresh /proc to those who see none, or only parts of one.
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    # Before what is bound, for that may lie below /tmp.
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, f"size={scratch_bytes},nr_inodes={_INODES},mode=700")  # noqa: S108
    _mount("/tmp", "/dev/shm", None, _BIND)  # noqa: S108 - one bound for both
    for bind in binds:
        _bind(bind)
    for name, below in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        Path("/dev", name).symlink_to(f"/proc/self/fd{below}")
    _check(_libc().umount2(_OLD.encode(), _DETACH), "umount")
    Path(_OLD).rmdir()


def _bind(bind: _Bind) -> None:
    source, target = f"{_OLD}{bind.source}", bind.target
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, str(target), None, _BIND | _REC)
    attributes = _ATTR_NOSUID
    attributes |= 0 if bind.writable else _ATTR_RDONLY
    attributes |= 0 if bind.device else _ATTR_NODEV
    _set_attributes(str(target), attributes)


def _read_only(path: str) -> None:
    _set_attributes(path, _ATTR_RDONLY)


def _set_attributes(path: str, attributes: int) -> None:
    """Set attributes of the mount at ``path`` and of all below it; those that are set stay."""
    request = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    numbers = [ctypes.c_long(number) for number in (_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, ctypes.sizeof(request))]
    call, place, flags, size = numbers
    _check(_libc().syscall(call, place, path.encode(), flags, ctypes.byref(request), size), "mount_setattr")


def _bound_tasks(tasks: int) -> None:
    """Root of the machine is exempt from the first bound; the second is there since Linux 6.14."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = tasks if hard == resource.RLIM_INFINITY else min(tasks, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    if bounds_pids():
        Path("/proc/sys/kernel/pid_max").write_text(str(max(tasks, 301)), encoding="ascii")


def _drop_privileges() -> None:
    """No capability is left, none can be gained by any program that is run, and no user namespace gives new ones."""
    libc = _libc()
    for capability in range(_LAST_CAPABILITY + 1):
        if libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the system knows no more of them
    _check(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(libc.capset(ctypes.byref(header), ctypes.byref(none)), "capset")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind, options)]
    status = _libc().mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    _check(status, f"mount {kind or source or ''} on {target}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(status: int, call: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise _refused(call, OSError(number, os.strerror(number)))


def _refused(action: str, error: OSError) -> EngineError:
    return EngineError(f"The system refuses to isolate a process ({action}: {error.strerror}).", hint=advice())


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
