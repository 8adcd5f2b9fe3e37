/*
 * protojson_scalar.h - values that are no messages; private to protojson.
 */
#ifndef DAYBOOK_COMMON_PROTOJSON_SCALAR_H
#define DAYBOOK_COMMON_PROTOJSON_SCALAR_H

#include "common/protojson_scan.h"
#include "common/schema.h"

/*
 * The next value into out, which has the size of the field's type. *dropped_out is set to true for
 * an unknown enum name where unknown things are ignored, else left alone.
 */
NODISCARD enum err pj_read_scalar(struct pj_reader *r, const struct schema_field *sf, void *out,
                                  bool *dropped_out);

/* The key of a map entry, whose type is that of sf. */
NODISCARD enum err pj_read_key(struct pj_reader *r, const struct schema_field *sf,
                               const struct pj_text *key, void *out);

/* A string that lasts: in the arena, NUL-terminated, within the limit of strings. */
NODISCARD enum err pj_keep_text(struct pj_reader *r, const struct pj_text *text, char **out);

bool pj_text_is(const struct pj_text *t, const char *s);

#endif
