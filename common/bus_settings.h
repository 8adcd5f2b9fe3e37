/*
 * bus_settings.h - the settings by which daemons and the command line reach the bus, so that one
 * environment file serves both.
 */
#ifndef DAYBOOK_COMMON_BUS_SETTINGS_H
#define DAYBOOK_COMMON_BUS_SETTINGS_H

#include "common/bus_client.h"
#include "common/config.h"

/* Rows of a settings table: loading fills the table, so each who loads has his own. */
/* clang-format off */
#define BUS_SETTINGS                                                                               \
    { .key = "BUS_ENDPOINT",                                                                       \
      .type = SETTING_TEXT,                                                                        \
      .default_value = "tcp://127.0.0.1:5555",                                                     \
      .help = "Where the bus takes requests; several parted by commas." },                         \
    { .key = "BUS_EVENTS",                                                                         \
      .type = SETTING_TEXT,                                                                        \
      .default_value = "tcp://127.0.0.1:5556",                                                     \
      .help = "Where the bus publishes events; several parted by commas." },                       \
    { .key = "BUS_SERVER_KEY",                                                                     \
      .type = SETTING_TEXT,                                                                        \
      .help = "Public CURVE key of the bus (Z85); unset means a plain connection." },              \
    { .key = "BUS_PUBLIC_KEY",                                                                     \
      .type = SETTING_TEXT,                                                                        \
      .help = "Own public CURVE key (Z85)." },                                                     \
    { .key = "BUS_SECRET_KEY",                                                                     \
      .type = SETTING_TEXT,                                                                        \
      .secret = true,                                                                              \
      .help = "Own secret CURVE key (Z85)." }
/* clang-format on */

/* What such a table says once it is loaded; the texts are the table's. */
struct bus_address bus_settings_address(struct setting *table);

#endif
