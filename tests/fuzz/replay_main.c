/*
 * replay_main.c - runs the files of the given directories through a fuzz target, so that a corpus
 * is an ordinary test with any compiler. Fails when a directory cannot be read or has no file.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "common/base.h"

#define FILE_MAX (4 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A block of the file's very size, so that a sanitizer sees a read past its end. */
static bool run_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    bool good = f && data && fread(data, 1, size, f) == size;
    if (good)
        LLVMFuzzerTestOneInput(data, size);
    else
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    if (f)
        fclose(f);
    free(data);
    return good;
}

static int run_directory(const char *name)
{
    int n = 0;
    DIR *dir = opendir(name);
    if (!dir) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX)
            continue;
        if (!run_file(path, (size_t)st.st_size)) {
            closedir(dir);
            return -1;
        }
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int n = run_directory(argv[i]);
        if (n <= 0) {
            fprintf(stderr, "%s: nothing was run\n", argv[i]);
            return 1;
        }
        printf("%s: %d files\n", argv[i], n);
    }
    return argc < 2;
}
