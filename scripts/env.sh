#!/usr/bin/env bash
# Usage: scripts/env.sh VENV LOCK
# Makes VENV hold exactly what LOCK pins, by hash, and this project in development mode.
# uv does it in seconds; where uv cannot be had or fails, pip does the same. Run again, it only mends.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 lock=$2

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "no Python 3.11 or newer on the PATH; install it, or name it: make env PYTHON=/path/to/python3" >&2
  return 1
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  python=$(find_python)
  echo "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || {
    echo "this Python has no venv module; install it (on Debian: apt-get install python3-venv)" >&2
    exit 1
  }
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

sync_with_uv() {
  pip install --require-hashes -r requirements-uv.lock &&
    "$venv/bin/uv" --quiet pip sync --python "$venv/bin/python" --require-hashes "$lock"
}

if ! sync_with_uv; then
  echo "uv could not install $lock; installing it with pip, which takes about a minute"
  pip install --require-hashes -r "$lock"
fi
pip install --no-index --no-deps --no-build-isolation -e .
