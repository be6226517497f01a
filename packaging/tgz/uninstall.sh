#!/bin/sh
# Removes Holdfast: `./uninstall.sh [--purge]`. With --purge also its settings, policies, state and logs.
set -eu

purge=
case ${1-} in
'') ;;
--purge) purge=yes ;;
*)
	echo "usage: ./uninstall.sh [--purge]" >&2
	exit 2
	;;
esac
if [ "$(id -u)" != 0 ]; then
	echo "uninstall.sh: root is needed to remove it: sudo ./uninstall.sh" >&2
	exit 4
fi
if [ -d /run/systemd/system ]; then
	systemctl disable --now holdfast 2>/dev/null || true
elif command -v rc-service >/dev/null; then
	rc-service holdfast stop 2>/dev/null || true
	rc-update delete holdfast 2>/dev/null || true
fi
# One that somebody started by hand, and what a sensor leaves in the kernel; 3: nothing.
if [ -x /usr/bin/holdfast ]; then
	/usr/bin/holdfast stop --unload >/dev/null || [ $? -eq 3 ] || echo "kernel programs of holdfast are left" >&2
fi
rm -f /usr/bin/holdfast /usr/lib/systemd/system/holdfast.service /etc/init.d/holdfast
rm -rf /run/holdfast
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ -n "$purge" ]; then
	rm -rf /etc/holdfast /var/lib/holdfast /var/log/holdfast
else
	echo "settings and policies stay in /etc/holdfast, logs in /var/log/holdfast: --purge removes them, too"
fi
