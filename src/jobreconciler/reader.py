"""`python -m jobreconciler.reader`: loads the job files it is given, for a process that is busy.

See `source/child_loader.py`, which starts it. Not for people: it speaks pickle with its parent.
"""

from __future__ import annotations

import gc

from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.source.child_loader import answer
from jobreconciler.source.load import YamlLoader

if __name__ == "__main__":
    gc.disable()
    answer(YamlLoader(load_job_types()))
