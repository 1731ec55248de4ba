#!/usr/bin/env bash
# Installs Debian packages that visavis uses, when this user may. Says what to do when not.
#   scripts/install_system.sh run   what a conversation uses (a better embedded voice; fonts and codecs come in wheels)
#   scripts/install_system.sh test  what the tests need on top (a browser, ffmpeg)
set -u
case "${1:-run}" in
  run) wanted=(flite:flite) ;;
  test)
    wanted=(flite:flite ffmpeg:ffmpeg)
    command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || wanted+=(chromium:chromium)
    ;;
  *) echo "usage: $0 run|test" >&2; exit 2 ;;
esac

missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo=(sudo -n); else sudo=(false); fi
fi
if ! command -v apt-get >/dev/null 2>&1 || [ "${sudo[*]:-}" = false ]; then
  echo "visavis: not installed here: ${missing[*]} (needs apt-get and root). Install them by your system's own means." >&2
  [ "${1:-run}" = run ] && { echo "visavis: going on without; the embedded voice will be espeak-ng." >&2; exit 0; }
  exit 1
fi
echo "visavis: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq || true
if ! "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
  echo "visavis: apt-get could not install ${missing[*]}." >&2
  [ "${1:-run}" = run ] && exit 0
  exit 1
fi
