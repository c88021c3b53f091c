#!/usr/bin/env bash
# Everything that needs a GPU, in less than eight minutes; see gpu.py for what it does and needs.
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/gpu.py" "$@"
