#!/usr/bin/env bash
# Builds MinIO, the object store that the tests use, and prints its path. Built
# from source because the project publishes no binary for ordinary use any more.
exec "$(dirname "$0")/go-tool.sh" minio github.com/minio/minio v0.0.0-20260212201848-7aac2a2c5b7c github.com/minio/minio '5 minutes'
