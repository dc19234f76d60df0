#!/bin/sh
# Writes the list of users that PgBouncer knows (POSTGRES_USER with POSTGRES_PASSWORD) and becomes PgBouncer.
set -eu
umask 077
quoted=$(printf '%s' "${POSTGRES_PASSWORD:?}" | sed 's/"/""/g')
printf '"%s" "%s"\n' "${POSTGRES_USER:-sharedjox}" "$quoted" > /tmp/userlist.txt
unset POSTGRES_PASSWORD quoted
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
