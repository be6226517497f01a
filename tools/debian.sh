# Sourced by the tools that take packages from Debian suites which the machine's apt does not name.
# apt then works on sources and lists of its own, so the machine's configuration stays as it is.
# shellcheck shell=bash

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

if [[ -n ${HOLDFAST_CACHE:-} ]]; then
	cache=$HOLDFAST_CACHE
elif [[ $EUID == 0 ]]; then
	cache=/var/cache/holdfast
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast
fi

codename=$(. /etc/os-release && [[ $ID != debian ]] || echo "${VERSION_CODENAME:-sid}")

# find_mirrors: the addresses, in `main` and `security`, under which this machine's own sources have
# Debian; empty for those that it has not.
find_mirrors() {
	local addresses
	addresses=$(apt-get --print-uris update 2>/dev/null) || true
	main=${HOLDFAST_DEBIAN_MIRROR:-$(mirror "$codename-updates")}
	# Only Debian's own mirrors have the -updates suite, but a minimal installation may not name it.
	main=${main:-$(mirror "$codename")}
	security=${HOLDFAST_DEBIAN_SECURITY_MIRROR:-$(mirror "$codename-security")}
}

mirror() {
	sed --quiet "s|^'\(.*\)/dists/$1/InRelease'.*|\1|p;" <<<"$addresses" | sed 1q
}

# debian_sources FILE SUITE…: sources with these suites of the main mirror; finds the mirrors.
debian_sources() {
	local file=$1 suite
	shift
	find_mirrors
	[[ -n $main ]] ||
		die "this machine's apt knows no Debian mirror: name one in HOLDFAST_DEBIAN_MIRROR"
	[[ -f $keyring ]] || die "$keyring is missing: install debian-archive-keyring"
	mkdir -p "$(dirname "$file")"
	for suite; do echo "deb [signed-by=$keyring] $main $suite main"; done >"$file"
}

# debian_options SOURCES LISTS: what makes apt use them, in the array `options`.
# Signatures are checked; their expiry is not, since archived suites are no longer signed anew.
debian_options() {
	mkdir -p "$2/partial"
	options=(
		-o Acquire::Check-Valid-Until=false -o Acquire::Languages=none
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
		-o Dir::Etc::sourcelist="$1" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$2"
		-o APT::Sandbox::User=
	)
}
