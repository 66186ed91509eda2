# Development only: makes the cluster, the three roles and the database once, then is the server.
# Without the image's own entrypoint, which would trust local connections; all passwords are the keys Secret's.
set -eu
umask 077
secrets=/etc/scalable-api/secrets

password() {                                  # of scheme://role:PASSWORD@host
    url=$(cat "$secrets/$1-url")
    url=${url#*//*:}
    url=${url%%@*}
    case $url in
        '' | *[!A-Za-z0-9_-]*) echo "dev-$1-url: its password must be of A-Z a-z 0-9 _ -" >&2; exit 1 ;;
    esac
    printf '%s' "$url"
}

if [ ! -e "$PGDATA/PG_VERSION" ]; then
    owner=$(password owner)
    app=$(password app)
    gateway=$(password gateway)
    rm -rf "$PGDATA.new"                      # a start that was cut short
    initdb -D "$PGDATA.new" -U postgres --pwfile="$secrets/postgres-password" --auth=scram-sha-256 --encoding=UTF8 --locale=C
    echo 'host all all all scram-sha-256' >> "$PGDATA.new/pg_hba.conf"
    postgres --single -c exit_on_error=on -D "$PGDATA.new" postgres <<SQL
CREATE ROLE scalable_owner LOGIN PASSWORD '$owner'
CREATE ROLE scalable_app LOGIN PASSWORD '$app'
CREATE ROLE scalable_gateway LOGIN PASSWORD '$gateway'
CREATE DATABASE scalable_api OWNER scalable_owner
SQL
    mv "$PGDATA.new" "$PGDATA"
fi
chmod 0700 "$PGDATA"                          # a volume's fsGroup may have opened it, and Postgres insists
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=200 -c timezone=UTC -c jit=off
