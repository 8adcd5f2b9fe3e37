#!/bin/bash
# Are the binaries built as operations 8 asks? Reads each ELF file named: position independent (which also keeps others
# from opening it as a library, so -z nodlopen would add nothing), all relocations done at the start and read-only after
# it, no executable stack, stack protector, fortified libc calls, landing pads for indirect jumps (x86_64; Debian's start
# files have none, so the linker does not mark the whole), no library path of its own.
#
#     tools/check-hardening.sh FILE...
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p'; exit 64; }
bad=0
for file in "$@"; do
    header=$(readelf --wide --file-header "$file") segments=$(readelf --wide --segments "$file")
    dynamic=$(readelf --wide --dynamic "$file") symbols=$(readelf --wide --dyn-syms "$file")
    wants() { # what, text, pattern
        grep -qE -- "$3" <<<"$2" || { echo "$file: not $1" >&2; bad=1; }
    }
    lacks() {
        ! grep -qE -- "$3" <<<"$2" || { echo "$file: $1" >&2; bad=1; }
    }
    wants "position independent" "$header" 'Type: +DYN \(Position-Independent'
    wants "read-only after relocation" "$segments" 'GNU_RELRO'
    wants "bound at the start" "$dynamic" '\(FLAGS_1\).*NOW'
    lacks "has an executable stack" "$segments" 'GNU_STACK.* RWE '
    lacks "has a segment that is writable and executable" "$segments" 'LOAD .* RWE '
    lacks "has a library path of its own" "$dynamic" '\((RPATH|RUNPATH)\)'
    wants "protected by stack canaries" "$symbols" '__stack_chk_fail'
    wants "fortified" "$symbols" '__(snprintf|vsnprintf|memcpy|fprintf)_chk'
    if grep -q 'X86-64' <<<"$header"; then
        [ "$(objdump --disassemble --no-show-raw-insn "$file" | grep -c endbr64)" -gt 100 ] ||
            { echo "$file: without landing pads (-fcf-protection)" >&2; bad=1; }
    fi
done
[ "$bad" -eq 0 ] && echo "hardened: $# files"
exit "$bad"
