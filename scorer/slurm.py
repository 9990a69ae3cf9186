"""The script with which SLURM runs scorers: an array of workers that drain the queue, one GPU each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from competition.errors import UsageError

_LEAD_SECONDS = 120
"""How long before the time limit SLURM says so."""
_STOP_SECONDS = 90
"""How long a step may go on then: less, so that the job is handed back before SLURM kills."""
_WORD = re.compile(r"[A-Za-z0-9_.,:/+=%@-]+")
_TIME = re.compile(r"(\d+-)?\d+(:\d{1,2}){0,2}")


@dataclass(frozen=True)
class Array:
    """What SLURM gives to how many workers.

    Args:
        workers: tasks of the array.
        gpus: of each worker.
        cpus: cores of each worker.
        time: limit in SLURM's notation; a worker that meets it hands its job back and is queued again.
        memory: of each worker in SLURM's notation; the cluster's default when empty.
        partition: the cluster's default when empty.
        logs: folder of a log for each worker, on storage that all nodes share.
    """

    workers: int
    gpus: int
    cpus: int
    time: str
    memory: str
    partition: str
    logs: Path

    def directives(self) -> list[str]:
        """Options of ``sbatch`` (raises ``UsageError`` for one that SLURM cannot read from a script)."""
        if not _TIME.fullmatch(self.time):
            raise UsageError(f"--time {self.time!r} is no time limit.", hint="For example 04:00:00, or 1-00:00:00.")
        chosen = {
            "job-name": "datacup-scorer",
            "array": f"0-{self.workers - 1}",
            "nodes": "1",
            "ntasks": "1",
            "cpus-per-task": str(self.cpus),
            "gpus": str(self.gpus) if self.gpus else "",
            "mem": self.memory,
            "partition": self.partition,
            "time": self.time,
            "export": "NONE",
            "open-mode": "append",
            "output": f"{self.logs}/%x-%A_%a.log",
            "signal": f"B:USR1@{_LEAD_SECONDS}",
        }
        for name, value in chosen.items():
            if value and not _WORD.fullmatch(value):
                raise UsageError(f"SLURM cannot be told --{name}={value!r} in a script.", hint="Use plain characters.")
        return ["--requeue", *(f"--{name}={value}" for name, value in chosen.items() if value)]


def script(array: Array, token_file: Path, environment: Mapping[str, str], command: Sequence[str]) -> str:
    """The script for ``sbatch``.

    Args:
        array: what is asked of SLURM.
        token_file: holds the worker's token, readable by its owner alone; its content is not in the script.
        environment: settings of the scorer, none of them secret.
        command: starts ``datacup-scorer`` on every node.
    """
    directives = "\n".join(f"#SBATCH {option}" for option in array.directives())
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items()))
    values = {
        "@directives@": directives,
        "@exports@": exports,
        "@token_file@": shlex.quote(str(token_file)),
        "@command@": shlex.join(command),
        "@stop_seconds@": str(_STOP_SECONDS),
    }
    return re.sub("|".join(values), lambda found: values[found[0]], _SCRIPT)


_SCRIPT = """#!/bin/bash
# Scorers that drain the leaderboard's queue. Made by `datacup-scorer slurm`.
#
#   sbatch THIS_FILE [options of datacup-scorer run, such as --kinds scoring]
#
# A worker ends when there is nothing left to claim. Before its time is up it hands its job back and is queued again;
# `scancel --signal=TERM --batch JOB` has it hand its job back and end for good.
@directives@

set -euo pipefail
umask 077

@exports@
export DATACUP_WORKER="slurm-${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
export DATACUP_THREADS="${SLURM_CPUS_PER_TASK:-1}"
export DATACUP_STOP_SECONDS=@stop_seconds@

token_file=@token_file@
mode=$(stat -L -c %a -- "$token_file")
if [ "$mode" != 600 ] && [ "$mode" != 400 ]; then
    echo "Error: $token_file has mode $mode: others may read the token. Run: chmod 600 $token_file" >&2
    exit 2
fi
DATACUP_TOKEN=$(<"$token_file")
export DATACUP_TOKEN

again=''
heard=''
worker=''
stop() {
    heard=1
    [ -z "$worker" ] || kill -TERM "$worker" 2>/dev/null || true
}
trap 'again=1; stop' USR1
trap stop TERM

@command@ run --drain "$@" &
worker=$!
[ -z "$heard" ] || stop
while :; do
    heard=''
    code=0
    wait "$worker" || code=$?
    [ -n "$heard" ] || break # else it was the signal that ended the waiting
done
if [ -n "$again" ] && [ "$code" = 0 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" ||
        echo "The worker could not be queued again; submit it anew for what is left." >&2
fi
exit "$code"
"""
