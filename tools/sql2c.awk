# Turns SQL files into C. mode=h writes the declarations, mode=c the statements, mode=m the
# migrations (apart, since the daybook command links those of all areas).
#
# sql/<name>.sql holds one statement and becomes `const struct db_stmt sql_<name>`. Its first line
# names the parameters in order: "-- params: tenant_id id note". A name is that of the message field
# that record_bind() takes the value from; others are given by the caller.
# migrations/<nnnn>_<name>.sql becomes an element of `const struct migration <area>_migrations[]`.
function base(path) { sub(/.*\//, "", path); sub(/\.sql$/, "", path); return path }
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\\n\"" }
function finish() {
    if (file == "") return
    if (is_migration) {
        mig = mig sprintf("    { \"%s\",\n%s },\n", name, text); nmig++
        return
    }
    if (mode == "h") { print "extern const struct db_stmt sql_" name ";"; return }
    if (mode == "m") return
    printf "static const char *const params_%s[] = { %sNULL };\n", name, plist
    printf "const struct db_stmt sql_%s = { \"%s\",\n%s    , %d, params_%s };\n\n", name, area "_" name, text, n, name
}
BEGIN {
    if (mode == "h") {
        guard = "DAYBOOK_GEN_" toupper(area) "_SQL_H"
        print "/* made by tools/sql2c.awk */\n#ifndef " guard "\n#define " guard "\n#include \"common/db.h\"\n#include \"common/migrate.h\""
    } else {
        print "/* made by tools/sql2c.awk */\n#include \"" header "\"\n"
    }
}
FNR == 1 {
    finish(); file = FILENAME; name = base(FILENAME); text = ""; plist = ""; n = 0
    is_migration = (FILENAME ~ /\/migrations\//)
    if (!is_migration) {
        if ($0 !~ /^-- params:/) { print FILENAME ": first line must be '-- params: ...'" > "/dev/stderr"; failed = 1; exit 1 }
        for (i = 3; i <= NF; i++) { plist = plist "\"" $i "\", "; n++ }
        next
    }
}
{ text = text "    " quote($0) "\n" }
END {
    if (failed) exit 1
    finish()
    if (mode == "h") {
        print "extern const struct migration " area "_migrations[];\nextern const size_t " area "_migrations_len;\n#endif"
    } else if (mode == "m") {
        if (nmig) printf "const struct migration %s_migrations[] = {\n%s};\n", area, mig
        else printf "const struct migration %s_migrations[1];\n", area
        printf "const size_t %s_migrations_len = %d;\n", area, nmig
    }
}
