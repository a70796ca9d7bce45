#!/bin/sh
# Writes the lock files: names, versions and hashes, and no address.
set -eu
compile="$1 --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
  --resolver=backtracking"
cd "$(dirname "$0")/.."
$compile --output-file requirements/runtime.lock pyproject.toml requirements/build.in
$compile --output-file requirements/test.lock requirements/test.in
$compile --output-file requirements/bench.lock requirements/bench.in
