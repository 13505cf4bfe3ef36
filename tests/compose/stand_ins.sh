#!/usr/bin/env bash
# Base images with the tags that Dockerfile and docker-compose.yml name, made of Debian's packages, for a machine that
# reaches no image registry. What is there already is left alone. Grafana is in no package: it has no stand-in.
#   DOCKER_HOST=unix:///path tests/compose/stand_ins.sh [WORK_DIRECTORY]
set -euo pipefail
docker=${DOCKER:-docker}
work=$(mktemp -d "${1:-/tmp}/voldesk-stand-ins-XXXXXX")
trap 'rm -rf "$work"' EXIT
base=voldesk-stand-in/debian:bookworm

have() { "$docker" image inspect "$1" >/dev/null 2>&1; }

# What this machine needs to reach its package sources: its certificates and the settings of apt and pip, if any.
settings() {
	local root=$1
	install -d "$root/usr/local/share/ca-certificates" "$root/etc/apt/apt.conf.d"
	cp -n /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
	cp -n /etc/apt/apt.conf.d/9* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
	cp -n /etc/pip.conf "$root/etc/pip.conf" 2>/dev/null || true
	chroot "$root" update-ca-certificates >/dev/null 2>&1 || true
}

if ! have "$base"; then
	echo "stand-ins: debootstrap (about a minute)"
	debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
		{ tail -20 "$work/log" >&2; exit 1; }
	settings "$work/root"
	rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/usr/share/{doc,locale,man}
	tar -C "$work/root" -c . | "$docker" import - "$base" >/dev/null
fi

# of pip what concerns the way to the index, not this machine's own folders
pip_settings=$(env | grep -E '^PIP_(INDEX_URL|CERT|DEFAULT_TIMEOUT|PROXY|TRUSTED_HOST)=' | sed 's/^/ENV /' || true)
openblas=$(env | grep -E '^OPENBLAS_(CORETYPE|L2_SIZE)=' | sed 's/^/ENV /' || true)

build() {
	have "$1" && return
	echo "stand-ins: $1"
	"$docker" build --quiet --network host --tag "$1" - >/dev/null
}

# ensurepip comes with python3.11-venv; the official image has pip as a command too
build python:3.11-slim-bookworm <<EOF
FROM $base
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    python3.11 python3.11-venv >/dev/null && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && ln -s /usr/bin/python3.11 /usr/local/bin/python && ln -sf /usr/bin/python3.11 /usr/local/bin/python3
$pip_settings
$openblas
EOF

prometheus=$(sed -n 's/.*PROMETHEUS_IMAGE:-\([^}]*\)}.*/\1/p' docker-compose.yml)
build "$prometheus" <<EOF
FROM $base
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus \
    >/dev/null && rm -rf /var/lib/apt/lists/* && ln -sf /usr/bin/prometheus /usr/bin/promtool /bin/ 2>/dev/null || true
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
EOF

alertmanager=$(sed -n 's/.*ALERTMANAGER_IMAGE:-\([^}]*\)}.*/\1/p' docker-compose.yml)
build "$alertmanager" <<EOF
FROM $base
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    prometheus-alertmanager >/dev/null && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/bin/prometheus-alertmanager /usr/bin/alertmanager
RUN install -d -o nobody -g nogroup /alertmanager
USER nobody
EOF
echo "stand-ins: ready"
