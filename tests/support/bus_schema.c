/* bus_schema.c - migrations of the bus from services/bus/migrations. */
#include "tests/support/bus_schema.h"

#include <glob.h>

#include "common/migrate.h"
#include "common/sbuf.h"

#define FILES_MAX 32

static void give_up(const char *what)
{
    fprintf(stderr, "bus_schema: %s\n", what);
    abort();
}

static char *read_text(const char *path)
{
    struct sbuf text;
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "r");

    if (f == NULL)
        give_up(path);
    sbuf_init(&text, MIB);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        sbuf_add(&text, chunk, n);
    fclose(f);
    return sbuf_take(&text);
}

void bus_schema_make(struct db *db)
{
    struct migration list[FILES_MAX];
    char *texts[FILES_MAX];
    glob_t files;
    int applied;

    if (glob("services/bus/migrations/*.sql", 0, NULL, &files) != 0 || files.gl_pathc > FILES_MAX)
        give_up("no migrations of the bus below the working directory");
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *name = strrchr(files.gl_pathv[i], '/') + 1;
        texts[i] = read_text(files.gl_pathv[i]);
        list[i] = (struct migration){ .name = name, .sql = texts[i] };
    }
    if (migrate_run(db, "bus", list, files.gl_pathc, &applied))
        give_up("the migrations failed");
    for (size_t i = 0; i < files.gl_pathc; i++)
        free(texts[i]);
    globfree(&files);
}
