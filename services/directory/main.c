/*
 * main.c - the directory daemon, as data.
 */
#include "common/daemon.h"
#include "services/directory/service.h"
#include "services/directory/sql.h"

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "directory",
        .schema = "directory",
        .admin_listen = "127.0.0.1:9602",
        .consumer = &directory_consumer,
        .methods = directory_methods,
        .nmethods = directory_methods_len,
        .migrations = directory_migrations,
        .nmigrations = directory_migrations_len,
        .needs_master_key = true,
    };

    return daemon_run(&def, argc, argv);
}
