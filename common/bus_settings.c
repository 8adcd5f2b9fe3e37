/*
 * bus_settings.c - see bus_settings.h.
 */
#include "common/bus_settings.h"

struct bus_address bus_settings_address(struct setting *table)
{
    return (struct bus_address){
        .endpoint = config_get(table, "BUS_ENDPOINT")->text,
        .events = config_get(table, "BUS_EVENTS")->text,
        .server_key = config_get(table, "BUS_SERVER_KEY")->text,
        .public_key = config_get(table, "BUS_PUBLIC_KEY")->text,
        .secret_key = config_get(table, "BUS_SECRET_KEY")->text,
    };
}
