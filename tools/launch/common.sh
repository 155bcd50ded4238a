# shellcheck shell=bash
# Sourced by the scripts beside it.
#
# DRY_RUN=1 prints the commands that would change something instead of running them.

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# change COMMAND...: runs it, or prints it so that it can be pasted.
change() {
  if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# quoted WORD...: one line that a shell splits into the same words.
quoted() {
  local line
  printf -v line '%q ' "$@"
  printf '%s' "${line% }"
}

# Name of an argument that a run must be given, and the arguments.
need_flag() {
  local name=$1 argument
  shift
  for argument in "$@"; do
    case $argument in --"$name"=?*) return ;; esac
  done
  fail "--$name is missing among the flags of the run: give --$name=..."
}
