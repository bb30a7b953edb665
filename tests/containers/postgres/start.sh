#!/bin/sh
# Starts PostgreSQL in its container, after `initdb` the first time. The arguments are the server's.
set -e
# shellcheck disable=SC2086 # several words
[ -d /data/cluster ] || initdb --no-sync -D /data/cluster --pwfile=/password $INITDB_OPTIONS
exec postgres -D /data/cluster "$@"
