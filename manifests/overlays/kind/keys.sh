#!/bin/sh
# Makes the Secrets of overlay kind: three files beside this one, 0600, random, and only where they are absent. Git ignores them.
set -eu
umask 077
cd "$(dirname "$0")"

base64_of() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
word() { head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
new() { [ ! -e "$1" ] && cat > "$1.part" && mv "$1.part" "$1" && echo "made $1" || echo "$1 is there"; }

owner=$(word) app=$(word) gateway=$(word) redis=$(word)
if [ ! -e keys.env ]; then rm -f stores.env; fi     # both hold the stores' passwords

new keys.env <<ENV
identity-secrets=$(base64_of)
api-key-peppers=1:$(base64_of)
webhook-secret=$(word)
admin-password=$(word)
dev-postgres-password=$(word)
dev-owner-url=postgresql://scalable_owner:$owner@scalable-api-postgres:5432/scalable_api
dev-app-url=postgresql://scalable_app:$app@scalable-api-postgres:5432/scalable_api
dev-gateway-url=postgresql://scalable_gateway:$gateway@scalable-api-postgres:5432/scalable_api
dev-redis-url=redis://:$redis@scalable-api-valkey:6379/0
ENV
sed -n 's/^dev-\(.*-url=\)/\1/p' keys.env | new stores.env
echo "token=$(word)" | new control.env
