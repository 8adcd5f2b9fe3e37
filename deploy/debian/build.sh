#!/bin/bash
# The package out of an installed tree: strips the programs, finds the packages of their libraries, adds settings,
# licence and change log.
#
#     deploy/debian/build.sh TREE VERSION FILE
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(cd "$1" && pwd) version=$2 file=$3
doc=$tree/usr/share/doc/daybook

strip --strip-unneeded --remove-section=.comment "$tree"/usr/bin/*
install -d -m 755 "$tree/etc/daybook" "$tree/DEBIAN"
install -m 644 "$here/daybook.env" "$tree/etc/daybook/daybook.env"
install -m 644 "$root/LICENSE" "$doc/copyright"
gzip -9n "$tree"/usr/share/man/man?/* "$doc/CHANGELOG.md"
mv "$doc/CHANGELOG.md.gz" "$doc/changelog.gz"

# dpkg-shlibdeps wants to stand in a source package.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debian"
printf 'Source: daybook\n\nPackage: daybook\nArchitecture: any\n' >"$work/debian/control"
programs=("$tree"/usr/bin/*)
depends=$(cd "$work" && dpkg-shlibdeps -O "${programs[@]/#/-e}" | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "build.sh: no library has a package" >&2; exit 70; }

sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$(dpkg --print-architecture)/" -e "s/@DEPENDS@/$depends/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$tree" | cut -f1)/" "$here/control.in" >"$tree/DEBIAN/control"
echo /etc/daybook/daybook.env >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$tree/DEBIAN/$script"; done
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
chmod 644 "$tree/DEBIAN"/{control,conffiles,md5sums}
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0 --no-run-if-empty touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$file" >/dev/null
