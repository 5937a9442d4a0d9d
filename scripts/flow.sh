#!/bin/sh
# Several pipelines with one command; each finds the products of those before it.
PATH="$(dirname -- "$0"):$PATH"
exec mopex flow "$@"
