"""Frozen values that the whole program speaks in. No behaviour beyond what a value knows itself."""
