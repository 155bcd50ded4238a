# Sourced by the scripts beside it: goes to the repository's root and defines use_environment.
#
#   use_environment [EXTRA ...]    makes .venv when there is none, installs the package with the extras
#                                  of pyproject.toml, and puts it first on PATH. A second run installs
#                                  nothing until pyproject.toml, constraints.txt or Python change.
#
# PYTHON=/path/to/python3 chooses the interpreter (3.11 or newer) of a new .venv.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

_venv=.venv
# Present until the first installation is whole: one that was cut off is done again from the beginning.
_unfinished=$_venv/.unfinished
# What is installed: one line that identifies it, one line of extras.
_installed=$_venv/.installed
_log=$_venv/install.log

_fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

_version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]) if sys.version_info >= (3, 11) else sys.exit(1)' 2>/dev/null
}

_choose_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11; do
    if _version_of "$candidate" >/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  _fail 'no Python 3.11 or newer was found: install one, or name it: PYTHON=/path/to/python3'
}

# Identifies an installation: another folder, Python, pyproject.toml or constraints.txt give another line.
_identity() {
  "$_venv/bin/python" - <<'PY' 2>/dev/null
import hashlib, os, sys
files = b"\0".join(open(name, "rb").read() for name in ("pyproject.toml", "constraints.txt"))
print(hashlib.sha256(files).hexdigest(), "%d.%d" % sys.version_info[:2], os.getcwd())
PY
}

_run_logged() {
  if ! "$@" >>"$_log" 2>&1; then
    tail -n 25 "$_log" >&2
    _fail "the installation failed: $(pwd)/$_log tells why; run the same command to try again"
  fi
}

use_environment() {
  local wanted="$*" python have='' extra begin=$SECONDS
  if [ -n "${PYTHON:-}" ]; then
    _version_of "$PYTHON" >/dev/null || _fail "PYTHON=$PYTHON is no Python 3.11 or newer"
  fi
  mkdir -p "$_venv"
  # Two runs at once wait for each other, where the system can lock (Linux).
  exec 9<"$_venv"
  if command -v flock >/dev/null; then flock 9; fi

  if [ -e "$_unfinished" ]; then
    echo 'the last installation did not finish: it is done again'
    find "$_venv" -mindepth 1 -delete
  elif [ -d "$_venv/bin" ] && ! _identity >/dev/null; then
    echo "$_venv has lost its Python: it is made again"
    find "$_venv" -mindepth 1 -delete
  elif [ -x "$_venv/bin/python" ] && [ -n "${PYTHON:-}" ] &&
    [ "$(_version_of "$PYTHON")" != "$(_version_of "$_venv/bin/python")" ]; then
    echo "$_venv has another Python than PYTHON=$PYTHON: it is made again"
    find "$_venv" -mindepth 1 -delete
  fi

  local identity='' missing='' extras
  if [ -e "$_installed" ]; then
    { read -r identity && read -r have; } <"$_installed" || true
  fi
  for extra in $wanted; do
    case " $have " in *" $extra "*) ;; *) missing="$missing $extra" ;; esac
  done

  if [ -z "$identity" ] || [ -n "$missing" ] || [ "$(_identity)" != "$identity" ]; then
    if [ ! -x "$_venv/bin/python" ]; then
      python=$(_choose_python)
      echo "making $_venv with Python $(_version_of "$python")"
      touch "$_unfinished"
      _run_logged "$python" -m venv "$_venv"
    fi
    # Without this file, whatever cuts off a later installation, the next run does it again.
    rm -f "$_installed"
    extras=$(echo $have $missing)
    echo "installing wristmir_jax${extras:+[${extras// /,}]} (takes minutes the first time; $_log)"
    _run_logged "$_venv/bin/python" -m pip install --disable-pip-version-check --no-input \
      --progress-bar off -e ".${extras:+[${extras// /,}]}" -c constraints.txt
    printf '%s\n%s\n' "$(_identity)" "$extras" >"$_installed"
    rm -f "$_unfinished"
    echo "installed in $((SECONDS - begin)) s"
  fi
  exec 9<&-
  PATH="$(pwd)/$_venv/bin:$PATH"
  export PATH
}
