#!/usr/bin/env bash
# Every check of the project, in an environment that it makes when there is none:
#
#   bash tools/test.sh                          lint, format, types, and the tests that are not slow
#   bash tools/test.sh -m slow                  arguments go to pytest instead of the defaults
#   bash tools/test.sh -n 0 tests/test_cli.py
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment dev

step() {
  local begin=$SECONDS
  echo "== $*"
  "$@"
  echo "== $1: $((SECONDS - begin)) s"
}

step ruff check .
step ruff format --check .
step pyright --pythonpath .venv/bin/python
if [ $# -eq 0 ]; then
  set -- -n 2 --dist loadfile -m 'not slow'
fi
step python -m pytest "$@"
