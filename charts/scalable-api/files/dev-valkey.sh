# Development only: the password comes from the keys Secret and reaches the server on its standard input, not as an argument.
set -eu
url=$(cat /etc/scalable-api/secrets/redis-url)
password=${url#*//*:}
exec valkey-server - <<CONF
requirepass ${password%%@*}
dir /data
save ""
appendonly yes
maxmemory-policy noeviction
CONF
