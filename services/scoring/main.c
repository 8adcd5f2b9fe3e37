/*
 * main.c - the scoring daemon, as data.
 */
#include "common/daemon.h"
#include "services/scoring/sql.h"
#include "services/scoring/scoring.h"

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "scoring",
        .schema = "scoring",
        .admin_listen = "127.0.0.1:9606",
        .methods = scoring_methods,
        .nmethods = scoring_methods_len,
        .consumer = &scoring_consumer,
        .migrations = scoring_migrations,
        .nmigrations = scoring_migrations_len,
        .needs_master_key = true,
    };

    return daemon_run(&def, argc, argv);
}
