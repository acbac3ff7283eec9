#!/usr/bin/env bash
# Usage: scripts/stubs.sh [--check]
# Generates the Python stubs beside proto/alliance/v1/*.proto; with --check, changes nothing and fails, with
# the difference, if the committed ones are not what the protos generate.
set -euo pipefail
cd "$(dirname "$0")/../proto"
python=../.venv/bin/python

generate() {
  "$python" -m grpc_tools.protoc -I. --python_out="$1" --pyi_out="$1" alliance/v1/*.proto
}

if [ "${1:-}" != --check ]; then
  rm -f alliance/v1/*_pb2.py alliance/v1/*_pb2.pyi
  generate .
  exit 0
fi
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
generate "$fresh"
diff -r --exclude='*.proto' --exclude=__init__.py --exclude=__pycache__ "$fresh/alliance/v1" alliance/v1 || {
  echo 'the stubs are not what the protos generate; run "make stubs" and commit them' >&2
  exit 1
}
