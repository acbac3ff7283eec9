#!/usr/bin/env bash
# Makes sure that the tests find a PostgreSQL to start: the binaries, not a running server.
# As root it installs Debian's package; otherwise it says so, and the tests that need one skip.
set -euo pipefail

have_postgres() {
  command -v pg_ctl >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null
}

if have_postgres; then
  exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing PostgreSQL for the tests"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql >/dev/null || true
fi
have_postgres || echo "no PostgreSQL: its tests will skip; install it, or run \"make services\" as root"
