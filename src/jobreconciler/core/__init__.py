"""Deciding. Values and `now` in, values out: no clock, no I/O, no randomness, no logging."""
