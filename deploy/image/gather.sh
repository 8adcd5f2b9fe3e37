#!/bin/bash
# Lays out an image's files below a folder: stripped programs, the libraries that they ask for (as ldd finds them), the
# loader, zone data, certificate authorities, the licences of what is inside, and an SBOM (CycloneDX 1.5). All files bear one
# date, so that the same sources give the same layer.
#
#     deploy/image/gather.sh BINARIES FOLDER EPOCH
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
bin=$1 out=$2 epoch=$3
mkdir -p "$out"/{usr/bin,etc/ssl/certs,usr/share,tmp}
chmod 1777 "$out/tmp"
for program in daybook daybookd; do
    strip --strip-all -o "$out/usr/bin/$program" "$bin/$program"
done
for service in services/*/main.c; do
    service=${service#services/}
    ln -s daybookd "$out/usr/bin/daybook-${service%/main.c}"
done

libraries=$(for program in "$out"/usr/bin/{daybook,daybookd}; do ldd "$program"; done |
    awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/.*ld-linux/ {print $1}' | sort -u)
for library in $libraries; do
    mkdir -p "$out$(dirname "$library")"
    cp --dereference "$library" "$out$library"
done
# libc looks names up by these two, which no program names.
for module in libnss_files.so.2 libnss_dns.so.2; do
    found=$(ldconfig -p | awk -v m="$module" '$1 == m && !found {found = $NF} END {print found}')
    [ -z "$found" ] || cp --dereference "$found" "$out$(dirname "$found")/"
done

cp -a /usr/share/zoneinfo "$out/usr/share/"
rm -rf "$out"/usr/share/zoneinfo/{right,posix,tzdata.zi,leap-seconds.list}
cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
printf 'daybook:x:65532:65532::/:/usr/sbin/nologin\n' > "$out/etc/passwd"
printf 'daybook:x:65532:\n' > "$out/etc/group"
printf 'hosts: files dns\n' > "$out/etc/nsswitch.conf"

# By both names that a file has where /lib is a link to /usr/lib: packages know it by one of them. Asked at once, since each
# question costs seconds on a slow disk.
paths=$(for library in $libraries; do
    path=$(realpath "$library")
    printf '%s\n%s\n' "$path" "${path#/usr}"
done)
packages=$({ dpkg-query --search $paths 2>/dev/null || true; } | sed 's/: .*//' | sort -u)
mkdir -p "$out/usr/share/doc"
for package in $packages tzdata ca-certificates; do
    name=${package%%:*}
    mkdir -p "$out/usr/share/doc/$name"
    gzip -n9 < "/usr/share/doc/$name/copyright" > "$out/usr/share/doc/$name/copyright.gz"
done
"$(dirname "$0")/sbom.py" $packages tzdata ca-certificates > "$out/usr/share/daybook.cdx.json"

find "$out" -exec touch --no-dereference --date="@$epoch" {} +
