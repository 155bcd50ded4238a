#!/usr/bin/env bash
# Trains on a TPU slice: makes it where there is none, and starts the same container on each of its hosts.
# After a preemption, or when a run ended with status 75 or 143, run the same `start` again: it goes on.
#
#   bash tools/launch/gcloud_tpu.sh start NAME ZONE ACCELERATOR_TYPE RUNTIME_VERSION IMAGE \
#     --config=configs/wristmir.py --config.dataset=/data --workdir=gs://BUCKET/run
#   bash tools/launch/gcloud_tpu.sh log NAME ZONE      what the first host prints
#   bash tools/launch/gcloud_tpu.sh stop NAME ZONE     saves the run and ends it; the slice stays, and costs
#   bash tools/launch/gcloud_tpu.sh delete NAME ZONE   gives the slice back; stop before
#
# PROJECT=ID        instead of the project that gcloud is set to
# SPOT=1            a slice that may be taken away, for less
# DATASET=gs://...  a prepared data set, copied to every host and mounted at /data
# DRY_RUN=1         prints the commands instead
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage="usage: gcloud_tpu.sh start NAME ZONE ACCELERATOR_TYPE RUNTIME_VERSION IMAGE FLAGS... | log|stop|delete NAME ZONE"
# Seconds that a run gets to save itself when it is stopped.
grace=120
container=wristmir

case ${1:-} in
  start) [ $# -ge 7 ] || fail "$usage" ;;
  log | stop | delete) [ $# -eq 3 ] || fail "$usage" ;;
  *) fail "$usage" ;;
esac
action=$1 name=$2
where=("--zone=$3" ${PROJECT:+"--project=$PROJECT"})
shift 3

queued() { gcloud compute tpus queued-resources "$@" "${where[@]}"; }

state() {
  if [ -n "${DRY_RUN:-}" ]; then return; fi
  # Nothing where there is no such request.
  queued list "--filter=name~/queuedResources/$name\$" '--format=value(state.state)'
}

create() {
  local accelerator=$1 runtime=$2
  change gcloud compute tpus queued-resources create "$name" "--node-id=$name" \
    "--accelerator-type=$accelerator" "--runtime-version=$runtime" ${SPOT:+--spot} "${where[@]}"
}

delete() { change gcloud compute tpus queued-resources delete "$name" --force --quiet "${where[@]}"; }

# Waits for as long as the slice is queued for; a request that has ended is made anew.
acquire() {
  local now
  now=$(state)
  case $now in
    SUSPENDED | SUSPENDING | FAILED)
      echo "$name is $now: it is requested again"
      delete
      now=
      ;;
  esac
  if [ -z "$now" ]; then create "$@"; fi
  if [ -n "${DRY_RUN:-}" ]; then return; fi
  while now=$(state) && [ "$now" != ACTIVE ]; do
    case $now in
      SUSPENDED | FAILED | '') echo "error: $name is ${now:-gone}; see: gcloud compute tpus queued-resources describe $name ${where[*]}" >&2 && exit 75 ;;
    esac
    echo "$name is $now"
    sleep 30
  done
}

on_hosts() { change gcloud compute tpus tpu-vm ssh "$name" "--worker=$1" "--command=$2" "${where[@]}"; }

# What each host does; it is given to a shell there.
host_command() {
  local image=$1 registry=${1%%/*} mount=()
  shift
  echo 'set -e;'
  case $registry in
    *.pkg.dev | gcr.io | *.gcr.io) echo "sudo gcloud auth configure-docker $(quoted "$registry") --quiet;" ;;
  esac
  if [ -n "${DATASET:-}" ]; then
    echo "sudo mkdir -p /var/lib/wristmir/data;"
    echo "sudo gcloud storage rsync --recursive $(quoted "$DATASET") /var/lib/wristmir/data;"
    mount=(--volume=/var/lib/wristmir/data:/data:ro)
  fi
  echo "sudo docker pull $(quoted "$image");"
  # One that is still under way is saved first.
  echo "sudo docker stop --time=$grace $container >/dev/null 2>&1 || true;"
  echo "sudo docker rm $container >/dev/null 2>&1 || true;"
  # Not detached from the host's network and memory: hosts talk to each other, loader workers share arrays.
  quoted sudo docker run --detach "--name=$container" --privileged --net=host --ipc=host \
    --ulimit=memlock=-1:-1 --restart=on-failure:5 "${mount[@]}" "$image" \
    python -m wristmir_jax.train --coordinator_address=auto "$@"
}

case $action in
  start)
    accelerator=$1 runtime=$2 image=$3
    shift 3
    need_flag config "$@"
    need_flag workdir "$@"
    acquire "$accelerator" "$runtime"
    on_hosts all "$(host_command "$image" "$@")"
    ;;
  log) on_hosts 0 "sudo docker logs --follow --tail=100 $container" ;;
  stop) on_hosts all "sudo docker stop --time=$grace $container" ;;
  delete) delete ;;
esac
