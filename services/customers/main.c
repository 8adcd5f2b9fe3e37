/*
 * main.c - the customers daemon, as data.
 */
#include "common/daemon.h"
#include "services/customers/sql.h"
#include "services/customers/customers.h"
#include "services/customers/customer_store.h"

int main(int argc, char **argv)
{
    const struct daemon_def def = {
        .name = "customers",
        .schema = "customers",
        .admin_listen = "127.0.0.1:9603",
        .methods = customers_methods,
        .nmethods = customers_methods_len,
        .consumer = &customers_consumer,
        .migrations = customers_migrations,
        .nmigrations = customers_migrations_len,
        .needs_master_key = true,
        .sealed = &contact_sealed,
        .nsealed = 1,
    };

    return daemon_run(&def, argc, argv);
}
