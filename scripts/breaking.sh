#!/usr/bin/env bash
# Fails if the contract breaks those who already speak it: `buf breaking` against
#   1. BREAKING_BASE, where it is set, else
#   2. the last release tag (v*), which is what members run, else
#   3. the commit before this one: before the first release nobody runs the contract and it may still move, so
#      what is caught is a slip in the newest change. A deliberate break passes with BREAKING_BASE=HEAD and is
#      the base of what follows it.
# The base is unpacked from git, so that shallow clones and linked work trees do as well.
set -euo pipefail
cd "$(dirname "$0")/.."

base=${BREAKING_BASE:-}
if [ -z "$base" ]; then
  base=$(git describe --tags --match 'v*' --abbrev=0 2>/dev/null) || base='HEAD~1'
fi
if ! git cat-file -e "$base:proto/alliance/v1" 2>/dev/null; then
  echo "buf breaking: $base has no contract to compare with"
  exit 0
fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$base" proto | tar -x -C "$before"
echo "buf breaking: against $base"
.venv/bin/buf breaking proto --against "$before/proto" --against-config proto/buf.yaml
