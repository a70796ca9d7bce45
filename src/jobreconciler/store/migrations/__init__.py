"""Versions of the schema, oldest first. A release that adds one appends it here.

Kept apart from Alembic's scripts so that opening a store needs no Alembic; a test compares them.
"""

REVISIONS = ("0001", "0002", "0003")
HEAD = REVISIONS[-1]
