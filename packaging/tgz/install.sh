#!/bin/sh
# Installs Holdfast from this directory, or a newer version over it: `./install.sh [--root DIRECTORY]`.
# Settings and policies that are there stay; the new ones are put beside them as *.new where they differ.
set -eu

usage() {
	echo "usage: ./install.sh [--root DIRECTORY]" >&2
	exit 2
}

root=
while [ $# -gt 0 ]; do
	case $1 in
	--root)
		[ $# -ge 2 ] || usage
		root=${2%/}
		shift 2
		;;
	*) usage ;;
	esac
done
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
	echo "install.sh: root is needed to install: sudo ./install.sh" >&2
	exit 4
fi

# place MODE FILE: puts it where it belongs, under another name first, since the old one may be running.
place() {
	mkdir -p "$root/$(dirname "$2")"
	cp "$here/root/$2" "$root/$2.installing"
	chmod "$1" "$root/$2.installing"
	mv -f "$root/$2.installing" "$root/$2"
}

# keep FILE: as `place`, but what is there is the administrator's.
keep() {
	if [ ! -e "$root/$1" ]; then
		place 0644 "$1"
	elif cmp -s "$here/root/$1" "$root/$1"; then
		rm -f "$root/$1.new"
	else
		cp "$here/root/$1" "$root/$1.new"
		echo "kept /$1; the new version's is /$1.new"
	fi
}

# Where it keeps others from its files (self.protect), a window for what follows. Else, and where it does not run, it says no.
[ -n "$root" ] || [ ! -x /usr/bin/holdfast ] || /usr/bin/holdfast maintenance >/dev/null 2>&1 || true

place 0755 usr/bin/holdfast
cd "$here/root"
for file in etc/holdfast/config.toml etc/holdfast/policies/*.json; do
	keep "$file"
done
if [ -d "$root/usr/lib/systemd/system" ] || [ -d "$root/lib/systemd/system" ]; then
	place 0644 usr/lib/systemd/system/holdfast.service
	how="systemctl enable --now holdfast"
	[ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
elif [ -d "$root/etc/init.d" ] && [ -e "$root/sbin/openrc-run" ]; then
	place 0755 etc/init.d/holdfast
	how="rc-update add holdfast && rc-service holdfast start"
else
	how="holdfast run --output none"
fi
echo "installed $("$root/usr/bin/holdfast" version)"
echo "look what this machine allows:  holdfast doctor"
echo "start it:                       $how"
