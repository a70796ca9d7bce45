"""What the layers below `app` may know of each other: nothing but these protocols and values.

Model values are imported for annotations only: making them all takes a while.
"""

from jobreconciler.ports.clock import (
    Clock,
    Wake,
)
from jobreconciler.ports.execution import (
    Adopted,
    Executor,
    Finished,
    LeftRunning,
    OutputPiece,
    Started,
)
from jobreconciler.ports.jobtypes import (
    ExecSpec,
    JobContext,
    JobType,
    JobTypes,
)
from jobreconciler.ports.observation import (
    Observer,
    Sender,
)
from jobreconciler.ports.service import (
    Backfilled,
    Received,
    Service,
)
from jobreconciler.ports.source import (
    History,
    Loader,
    Provenancer,
    Snapshot,
    Source,
    TreeDiff,
    Trees,
)
from jobreconciler.ports.store import (
    ChangeSet,
    Delivery,
    Dependent,
    DriftedRow,
    Ending,
    HistoryStore,
    OutputSpool,
    Store,
)

__all__ = [
    "Adopted",
    "Backfilled",
    "ChangeSet",
    "Clock",
    "Delivery",
    "Dependent",
    "DriftedRow",
    "Ending",
    "ExecSpec",
    "Executor",
    "Finished",
    "History",
    "HistoryStore",
    "JobContext",
    "JobType",
    "JobTypes",
    "LeftRunning",
    "Loader",
    "Observer",
    "OutputPiece",
    "OutputSpool",
    "Provenancer",
    "Received",
    "Sender",
    "Service",
    "Snapshot",
    "Source",
    "Started",
    "Store",
    "TreeDiff",
    "Trees",
    "Wake",
]
