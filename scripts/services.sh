#!/usr/bin/env bash
# Makes sure that the tests find a PostgreSQL to start, the binaries, not a running server, and a PKCS#11 token in
# software, SoftHSM. As root it installs Debian's packages; otherwise it says so, and the tests that need one skip.
set -euo pipefail

have_postgres() {
  command -v pg_ctl >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null
}

have_softhsm() {
  command -v softhsm2-util >/dev/null
}

if have_postgres && have_softhsm; then
  exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing PostgreSQL and SoftHSM for the tests"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update || true
  for package in postgresql softhsm2; do
    apt-get -qq install -y --no-install-recommends "$package" >/dev/null || true
  done
fi
have_postgres || echo "no PostgreSQL: its tests will skip; install it, or run \"make services\" as root"
have_softhsm || echo "no SoftHSM: its tests will skip; install softhsm2, or run \"make services\" as root"
