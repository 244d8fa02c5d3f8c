# Starts nginx as the entry points of images do: the configuration is looked for and changed by what a
# shell script has, and the server takes the shell's place.
set -eu
umask 022
mkdir -p /tmp/conf
find /conf -follow -type f | sort >/tmp/conf/found
while read -r file; do
    case "$file" in
        *.conf) sed -e 's/worker_processes .*;/worker_processes 2;/' "$file" >/tmp/conf/nginx.conf ;;
        *) ls -l "$file" >/dev/null ;;
    esac
done </tmp/conf/found
[ "$(id -u)" = 0 ] && chown nonroot /tmp/conf/nginx.conf
grep -q worker_processes /tmp/conf/nginx.conf
env | cut -d= -f1 >/tmp/conf/names
touch /tmp/conf/checked
rm /tmp/conf/found /tmp/conf/names
exec "$@"
