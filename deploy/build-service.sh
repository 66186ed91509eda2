#!/bin/sh
# What deploy/Dockerfile runs, a step per layer:
#   deploy/build-service.sh tools                    the locked build tools, beside the image: pip, hatchling, cyclonedx
#   deploy/build-service.sh packages SERVICE OUT     OUT: an environment with locks/SERVICE.txt in it, and no pip
#   deploy/build-service.sh project  SERVICE OUT     the project's own wheel, bytecode, OUT/sbom.cdx.json, OUT/bin/start
#   deploy/build-service.sh editable SERVICE OUT     instead: this folder as it is, restarted as its files change
# TOOLS (/tools) is the tools' folder, PYTHON (python3) the interpreter. Where the machine that builds has settings for the
# package index, deploy/build-images mounts them: SECRETS (/run/secrets)/pip.conf and ca.crt.
set -eu
cd "$(dirname "$0")/.."
step=${1:-} service=${2:-} out=${3:-}
tools=${TOOLS:-/tools} secrets=${SECRETS:-/run/secrets}

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_QUIET=1 PIP_CACHE_DIR=/var/cache/pip
[ ! -s "$secrets/pip.conf" ] || export PIP_CONFIG_FILE="$secrets/pip.conf"
[ ! -s "$secrets/ca.crt" ] || export PIP_CERT="$secrets/ca.crt"

fail() { printf 'build-service: %s\n' "$1" >&2; exit 2; }
install() { "$tools/bin/python" -m pip --python "$out/bin/python" install --no-deps --no-compile "$@"; }
wheel() { # wheel TARGET: the project itself
    made=$(mktemp -d)
    "$tools/bin/python" -m hatchling build --target "$1" --directory "$made" >/dev/null
    install "$made"/*.whl
    rm -r "$made"
}
starting() { # ARGUMENTS of python: the image's ENTRYPOINT
    printf '#!/bin/sh\nexec %s/bin/python -m %s\n' "$out" "$*" > "$out/bin/start"
    chmod 755 "$out/bin/start"
}

case $service in
    gateway | balancer | api) module=services.$service ;;
    operator) module=scalable_operator ;;
    *) [ "$step" = tools ] || fail "SERVICE is gateway, balancer, api or operator, not '$service'" ;;
esac
[ "$step" = tools ] || [ -n "$out" ] || fail "$step needs OUT, the folder that it fills"

case $step in
    tools)
        "${PYTHON:-python3}" -m venv "$tools"
        "$tools/bin/python" -m pip install --require-hashes --no-deps --only-binary :all: -r locks/build.txt ;;
    packages)
        "${PYTHON:-python3}" -m venv --without-pip "$out"
        install --require-hashes --only-binary :all: -r "locks/$service.txt"
        # wheels come with debug symbols: without them uvloop has 1.6 MB instead of 13.6
        find "$out" -name '*.so' -exec strip --strip-unneeded {} + ;;
    project)
        wheel wheel
        # unchecked: a layer's time stamps need not fit, and a read-only root changes nothing
        # kubernetes' typed classes (60 MB of bytecode) are imported by nobody: the operator uses its ApiClient alone
        "$out/bin/python" -m compileall -q --invalidation-mode unchecked-hash -x '/kubernetes/.*/(models|api)/' "$out/lib"
        "$tools/bin/cyclonedx-py" environment --output-reproducible --pyproject pyproject.toml \
            --output-file "$out/sbom.cdx.json" "$out/bin/python"
        starting "$module" ;;
    editable)
        wheel wheel:editable
        starting services.runtime.reload "$module" ;;
    *) fail "no step '$step': tools, packages, project, editable" ;;
esac
