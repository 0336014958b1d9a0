#!/usr/bin/env bash
# Starts or stops the servers of compose.yaml: scripts/containers.sh up [redis|postgres] | down
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  echo "SERVICE must be redis or postgres: make up SERVICE=postgres" >&2
  exit 2
}

case "${1:-} ${2:-redis}" in
  "up redis") what="Redis 7" url=redis://127.0.0.1:6381 ;;
  "up postgres") what="Postgres 18" url=postgres://latchkey:latchkey@127.0.0.1:6382/latchkey ;;
  "down redis") ;;
  *) usage ;;
esac

if ! docker info > /dev/null 2>&1; then
  echo "No Docker daemon answers: start Docker and try again. (The demo needs none: make run uses SQLite.)" >&2
  exit 1
fi

if [ "$1" = down ]; then
  docker compose --profile '*' down --volumes
else
  docker compose up --detach --wait "${2:-redis}"
  echo "$what answers on $url. Try: make run STORE=$url"
fi
