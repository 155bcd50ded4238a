#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster by xpk; the cluster exists (xpk cluster create).
# Restarts by itself after a preemption, a lost host (status 75) or a stop by the cluster (143), and goes on.
#
#   bash tools/launch/xpk.sh start CLUSTER ZONE NAME TPU_TYPE IMAGE \
#     --config=configs/wristmir.py --config.dataset=/data/dataset --workdir=gs://BUCKET/run
#   bash tools/launch/xpk.sh stop CLUSTER ZONE NAME   saves the run and ends it
#
# PROJECT=ID         instead of the project that gcloud is set to
# STORAGE=NAME       a bucket that is mounted (xpk storage attach NAME --type=gcsfuse --mount-point=/data)
# NUM_SLICES=N       1
# MAX_RESTARTS=N     20
# PRIORITY=medium    very-low, low, medium, high or very-high
# DRY_RUN=1          prints the commands instead
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage="usage: xpk.sh start CLUSTER ZONE NAME TPU_TYPE IMAGE FLAGS... | stop CLUSTER ZONE NAME"
# Seconds between SIGTERM and SIGKILL.
grace=120

case ${1:-} in
  start) [ $# -ge 7 ] || fail "$usage" ;;
  stop) [ $# -eq 4 ] || fail "$usage" ;;
  *) fail "$usage" ;;
esac
action=$1 name=$4
where=("--cluster=$2" "--zone=$3" ${PROJECT:+"--project=$PROJECT"})
shift 4

if [ "$action" = stop ]; then
  change xpk workload delete "--workload=$name" "${where[@]}"
  exit
fi

tpu_type=$1 image=$2
shift 2
need_flag config "$@"
need_flag workdir "$@"
# exec: xpk's shell passes SIGTERM to its child alone, which must be the run. 75 is not among the
# statuses that xpk restarts by itself (42 and 127 to 255).
change xpk workload create "--workload=$name" "--tpu-type=$tpu_type" "--docker-image=$image" \
  "--num-slices=${NUM_SLICES:-1}" "--priority=${PRIORITY:-medium}" \
  "--max-restarts=${MAX_RESTARTS:-20}" --restart-on-exit-codes=75 \
  "--termination-grace-period-seconds=$grace" ${STORAGE:+"--storage=$STORAGE"} "${where[@]}" \
  "--command=exec $(quoted python -m wristmir_jax.train --coordinator_address=auto "$@")"
