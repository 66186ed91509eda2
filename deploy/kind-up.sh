#!/bin/sh
# A laptop's cluster, deploy/kind-config.yaml, and the registry that its images come from, localhost:5001.
#   deploy/kind-up.sh             makes what is missing of both; again and again, if you like
#   deploy/kind-up.sh --delete    takes both away
set -eu
cd "$(dirname "$0")"
name=scalable-api registry=scalable-api-registry port=5001

fail() { printf 'kind-up: %s\n' "$1" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "needs $1, which is not on PATH: get it from $2"; }

case $* in '' | --delete) ;; *) sed -n '2,4s/^# *//p' kind-up.sh >&2; exit 2 ;; esac
need docker https://docs.docker.com/get-docker
need kind https://kind.sigs.k8s.io/docs/user/quick-start/#installation
docker info >/dev/null 2>&1 || fail 'docker does not answer: start Docker, and see that you may use it (docker info)'

if [ "$*" = --delete ]; then
    kind delete cluster --name "$name"
    docker rm --force --volumes "$registry" >/dev/null 2>&1 || :      # it may be gone already
    exit
fi
need kubectl https://kubernetes.io/docs/tasks/tools

case $(docker inspect --format '{{.State.Running}}' "$registry" 2>/dev/null || echo absent) in
    true) ;;
    false) docker start "$registry" >/dev/null ;;
    *) docker run --detach --restart always --name "$registry" --publish "127.0.0.1:$port:5000" registry:2 >/dev/null ;;
esac
kind get clusters 2>/dev/null | grep -qx "$name" || kind create cluster --config kind-config.yaml --wait 120s
docker inspect --format '{{range $net, $_ := .NetworkSettings.Networks}}{{println $net}}{{end}}' "$registry" | grep -qx kind \
    || docker network connect kind "$registry"
for node in $(kind get nodes --name "$name"); do
    printf '[host."http://%s:5000"]\n' "$registry" | docker exec --interactive "$node" \
        sh -c "mkdir -p '/etc/containerd/certs.d/localhost:$port' && cat > '/etc/containerd/certs.d/localhost:$port/hosts.toml'"
done
# by this Tilt and skaffold know where to push
kubectl --context "kind-$name" apply --filename - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: local-registry-hosting, namespace: kube-public}
data:
  localRegistryHosting.v1: |
    host: "localhost:$port"
    hostFromContainerRuntime: "$registry:5000"
    hostFromClusterNetwork: "$registry:5000"
    help: "deploy/kind-up.sh"
YAML
echo "kind-up: context kind-$name, images at localhost:$port; next: tilt up, or skaffold dev"
