/*
 * policy_table.h - the keys of the rule book, private to policy.c and policy_table.c.
 */
#ifndef DAYBOOK_COMMON_POLICY_TABLE_H
#define DAYBOOK_COMMON_POLICY_TABLE_H

#include "common/policy.h"

extern const struct policy_def policy_table[];
extern const size_t policy_table_len;

#endif
