#!/usr/bin/env bash
# Builds livekit-server into .cache/bin with Go. Its binary is called `server`; ours to call is livekit-server.
set -euo pipefail
version=v1.13.5  # 1.13.0 and 1.13.1 cannot be built with `go install`
bin="$(cd "$(dirname "$0")/.." && pwd)/.cache/bin"
[ -x "$bin/livekit-server-$version" ] && exit 0
if ! command -v go >/dev/null 2>&1; then
  echo "visavis: the LiveKit room needs Go 1.26 or newer to build livekit-server; install Go, or put livekit-server $version at $bin/livekit-server-$version." >&2
  exit 1
fi
echo "visavis: building livekit-server $version (a few minutes, once)"
mkdir -p "$bin"
GOBIN="$bin" go install "github.com/livekit/livekit-server/cmd/server@$version"
mv "$bin/server" "$bin/livekit-server-$version"
ln -sf "livekit-server-$version" "$bin/livekit-server"
