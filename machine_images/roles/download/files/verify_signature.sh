#!/bin/sh
# verify_signature.sh FILE FINGERPRINT: FILE.sig must be a signature of FILE by the key with this fingerprint, which is
# in FILE.key. Anything else removes the three, so that no later step takes them and another try downloads them again.
set -eu
file="$1" fingerprint="$2"
GNUPGHOME="$(mktemp -d)"
export GNUPGHOME
trap 'rm -rf "$GNUPGHOME"' EXIT
said=""
if gpg --batch --quiet --import "$file.key"; then
  said="$(gpg --batch --status-fd 1 --verify "$file.sig" "$file" 2>/dev/null || true)"
fi
# VALIDSIG is the one line of gpg's that holds no text of a key's maker. gpg prints it for keys that expired or were
# revoked too, and GOODSIG for others alone (GnuPG's doc/DETAILS).
if ! printf '%s\n' "$said" | grep -q "^\[GNUPG:\] VALIDSIG .* $fingerprint\$" ||
  ! printf '%s\n' "$said" | grep -q "^\[GNUPG:\] GOODSIG "; then
  rm -f "$file" "$file.sig" "$file.key"
  echo "'$file' is not signed by the key $fingerprint of the lock, or the key expired or was revoked:" \
    "the file was removed, and nothing of it was run" >&2
  exit 1
fi
