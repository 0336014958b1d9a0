#!/usr/bin/env bash
# Starts or stops the Redis of compose.yaml: scripts/redis-container.sh up|down
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info > /dev/null 2>&1; then
  echo "No Docker daemon answers: start Docker and try again. (The demo needs none: make run uses SQLite.)" >&2
  exit 1
fi

case "${1:-}" in
  up)
    docker compose up --detach --wait
    echo "Redis 7 answers on redis://127.0.0.1:6381. Try: make run STORE=redis://127.0.0.1:6381"
    ;;
  down)
    docker compose down --volumes
    ;;
  *)
    echo "usage: scripts/redis-container.sh up|down" >&2
    exit 2
    ;;
esac
