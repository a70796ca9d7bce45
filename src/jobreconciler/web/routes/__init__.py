"""One module a noun. Paths are written out in full, so that a route's template is its label."""
