/*
 * main.c - the visits daemon, as data.
 */
#include "common/daemon.h"
#include "services/visits/sql.h"
#include "services/visits/visits.h"

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "visits",
        .schema = "visits",
        .admin_listen = "127.0.0.1:9604",
        .methods = visits_methods,
        .nmethods = visits_methods_len,
        .consumer = &visits_consumer,
        .migrations = visits_migrations,
        .nmigrations = visits_migrations_len,
        .needs_master_key = true,
    };

    return daemon_run(&def, argc, argv);
}
