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

failed=''
# step NAME COMMAND...: a check that fails does not keep the others from running.
step() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name"
  "$@" || failed="$failed, $name"
  echo "== $name: $((SECONDS - begin)) s"
}

if [ $# -eq 0 ]; then
  set -- -n 2 --dist loadfile --durations=10 -m 'not slow'
fi
step lint ruff check .
step format ruff format --check .
step types pyright --pythonpath .venv/bin/python
step tests python -m pytest "$@"

if [ -n "$failed" ]; then
  echo "failed: ${failed#, }"
  exit 1
fi
