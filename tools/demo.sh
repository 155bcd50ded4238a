#!/usr/bin/env bash
# The whole way of an exam on phantoms (synthetic wrists): data set, training, embeddings, index, a search,
# a scored table. Run it again to go on where it stopped; remove runs/demo to begin anew.
#
#   bash tools/demo.sh
#
# NUM_EXAMS=N      phantom exams that are rendered
# QUERY_REGION=R   region that the example search ranks by
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
begin=$SECONDS
use_environment

num_exams=${NUM_EXAMS:-3500}
region=${QUERY_REGION:-distal_radius}
run=runs/demo
# Compiled programs are kept between runs; empty switches that off.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR-runs/.jax_cache}

mkdir -p "$run/steps"
# What the steps so far were asked for: a step is finished when it has run with the same.
history=
# step NAME OUTPUT COMMAND...: runs the command, unless it has finished before.
step() {
  local name=$1 output=$2 step_begin=$SECONDS
  shift 2
  history="$history
$*"
  if [ "$history" = "$(cat "$run/steps/$name.done" 2>/dev/null)" ] && [ -e "$output" ]; then
    echo "== $name: done before"
    return
  fi
  # Training goes on from its own checkpoints if it was cut off, not if it was asked for something else.
  if [ "$history" != "$(cat "$run/steps/$name.begun" 2>/dev/null)" ] || [ "$name" != train ]; then
    rm -rf "$output"
  fi
  echo "== $name: $*"
  rm -f "$run/steps/$name.done"
  printf '%s\n' "$history" >"$run/steps/$name.begun"
  "$@"
  mv "$run/steps/$name.begun" "$run/steps/$name.done"
  echo "== $name: $((SECONDS - step_begin)) s"
}

step prepare "$run/dataset" python -m wristmir_jax.prepare --source=phantom \
  "--num_exams=$num_exams" "--output=$run/dataset"
history="$history
$(cksum configs/demo.py)"
step train "$run/workdir" python -m wristmir_jax.train --config=configs/demo.py \
  "--config.dataset=$run/dataset" "--workdir=$run/workdir"
step embed "$run/embeddings" python -m wristmir_jax.embed "--workdir=$run/workdir" \
  "--dataset=$run/dataset" --split=all "--output=$run/embeddings"
step index "$run/index" python -m wristmir_jax.index "--embeddings=$run/embeddings" \
  "--output=$run/index" --coarse=exact

# A held-out exam with a fracture of the region, as a query.
query=$(python - "$run/dataset/test.index.parquet" "$region" <<'PY'
import sys

import pyarrow.parquet as pq

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports.findings import STATUSES

table = pq.read_table(sys.argv[1], columns=["exam_id", "region_status"]).to_pylist()
region, fracture = REGION_NAMES.index(sys.argv[2]), STATUSES.index("fracture")
print(next(row["exam_id"] for row in table if row["region_status"][region] == fracture))
PY
)
echo "== search: the exams most alike to $query in the $region"
python -m wristmir_jax.search "--index=$run/index" "--workdir=$run/workdir" \
  "--query_exam=$query" "--region=$region" --top_k=5

step evaluate "$run/report.html" python -m wristmir_jax.evaluate \
  "--embeddings=$run/embeddings" "--output=$run"

echo
echo "done in $((SECONDS - begin)) s: $run/report.html"
