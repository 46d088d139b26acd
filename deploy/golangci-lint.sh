#!/usr/bin/env bash
# Builds golangci-lint and prints its path. Its settings are in .golangci.yml.
exec "$(dirname "$0")/go-tool.sh" golangci-lint github.com/golangci/golangci-lint/v2 v2.15.0 github.com/golangci/golangci-lint/v2/cmd/golangci-lint '3 minutes'
