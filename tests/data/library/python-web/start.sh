# Starts the server as scripts in images do.
set -eu
umask 022
cd /tmp
mkdir -p cache
find /conf -follow -name '*.py' | sort >cache/found
grep -q server.py cache/found
export PYTHONUNBUFFERED=1
exec "$@"
