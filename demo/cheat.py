"""The cheating entry of the demo: weights that were swapped after the manifest was written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from competition.client import LeaderboardClient
from competition.records.submission import SubmissionRevision
from participant_kit.hub import HubTarget, upload
from participant_kit.submission import Entry, assemble, path_in_repo, registration


def enter_with_swapped_weights(entry: Entry, donor_run: Path, client: LeaderboardClient, hub: HubTarget) -> str:
    """Enter ``entry``, but upload the weights of ``donor_run`` in place of those that the manifest describes.

    A cheat leaves out the check that `datacup submit` makes before it uploads. Returns the submission's id.
    """
    cheat = replace(entry, method_name="Too good to be true", author="mallory", description="")
    ticket = client.register(registration(cheat, hub))
    folder = cheat.run_dir / "submissions" / ticket.submission_id
    manifest = assemble(cheat, ticket, folder)
    (folder / "model.safetensors").unlink()
    shutil.copyfile(donor_run / "model.safetensors", folder / "model.safetensors")
    path = path_in_repo(manifest)
    sha = upload(hub, folder, path, "Nothing to see here")
    client.set_revision(ticket.submission_id, SubmissionRevision(revision=sha, path=path))
    return ticket.submission_id
