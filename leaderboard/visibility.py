"""The one policy of who may see what. Every route, page and export asks here and nowhere else.

* An entry is seen by its account and by organisers; by everybody once it was received and is public. After it was
  withdrawn everybody sees a tombstone: that this account had an entry here, and took it back when.
* Nobody is told by another entry's page of an entry that they may not see whole.
* Results of a hidden task are seen by organisers only, until the competition reveals them; so is every number made
  of them.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, true

from competition.records.lifecycle import Visibility
from competition.rules import Aggregate, Suite, Task
from leaderboard.accounts.viewer import Viewer
from leaderboard.models import Submission


def visible_to(viewer: Viewer) -> ColumnElement[bool]:
    """The condition on submissions that this viewer may know of."""
    if viewer.is_admin:
        return true()
    public = or_(
        Submission.visibility == Visibility.PUBLIC,
        and_(Submission.visibility == Visibility.WITHDRAWN, Submission.received_at.is_not(None)),
    )
    return public if viewer.account_id is None else or_(public, Submission.account_id == viewer.account_id)


def is_tombstone(submission: Submission, viewer: Viewer) -> bool:
    """Whether this viewer sees only that the entry existed."""
    return submission.visibility is Visibility.WITHDRAWN and not owns(submission, viewer) and not viewer.is_admin


def may_name(submission: Submission, viewer: Viewer) -> bool:
    """Whether an entry of ``visible_to`` may be named where another one is spoken of."""
    return not is_tombstone(submission, viewer)


def owns(submission: Submission, viewer: Viewer) -> bool:
    """Whether the entry belongs to the viewer's account."""
    return viewer.account_id is not None and submission.account_id == viewer.account_id


def open_tasks(suite: Suite, viewer: Viewer) -> list[Task]:
    """The tasks whose results this viewer may see, in the suite's order."""
    return [task for task in suite.tasks if viewer.is_admin or task.revealed or not task.hidden]


def may_see_aggregate(suite: Suite, aggregate: Aggregate, viewer: Viewer) -> bool:
    """Whether every task that the number is made of may be seen: else it would give the hidden ones away."""
    return set(aggregate.tasks) <= {task.id for task in open_tasks(suite, viewer)}
