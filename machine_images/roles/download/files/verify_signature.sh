#!/bin/sh
# verify_signature.sh FILE FINGERPRINT: FILE.sig must be a signature of FILE by the key with this fingerprint, which is
# in FILE.key. Anything else removes FILE, so that no later step takes it.
set -eu
file="$1" fingerprint="$2"
GNUPGHOME="$(mktemp -d)"
export GNUPGHOME
trap 'rm -rf "$GNUPGHOME"' EXIT
said=""
if gpg --batch --quiet --import "$file.key"; then
  said="$(gpg --batch --status-fd 1 --verify "$file.sig" "$file" 2>/dev/null || true)"
fi
# The one line of gpg's that holds no text of a key's maker.
if ! printf '%s\n' "$said" | grep -q "^\[GNUPG:\] VALIDSIG .* $fingerprint\$"; then
  rm -f "$file"
  echo "'$file' is not signed by the key $fingerprint of the lock: it was removed, and nothing of it was run" >&2
  exit 1
fi
