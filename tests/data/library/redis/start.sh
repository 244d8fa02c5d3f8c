# Starts Redis as the entry points of images do: what belongs to another user is given to the server's,
# which the shell then becomes.
set -eu
umask 0077
cd /work
find . ! -user nonroot -exec chown nonroot '{}' +
exec setpriv --reuid=nonroot --regid=nonroot --clear-groups "$@"
