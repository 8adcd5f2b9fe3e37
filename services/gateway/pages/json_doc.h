/*
 * json_doc.h - JSON documents written piece by piece into an sbuf: commas come by themselves.
 *
 * key NULL: an element of a list, or the document itself. What a document is made of is ours, so
 * nothing is checked but the bound of the sbuf.
 */
#ifndef DAYBOOK_GATEWAY_JSON_DOC_H
#define DAYBOOK_GATEWAY_JSON_DOC_H

#include "common/sbuf.h"

void jdoc_open(struct sbuf *b, const char *key, char bracket);
void jdoc_close(struct sbuf *b, char bracket);
void jdoc_text(struct sbuf *b, const char *key, const char *text);
/* Any value, or several members at once when key is NULL; ' stands for ". */
void jdoc_raw(struct sbuf *b, const char *key, const char *json);
/* {"$ref":"<where><name>"} */
void jdoc_ref(struct sbuf *b, const char *key, const char *where, const char *name);
/* A comment as `description` in CommonMark, where "<id>" would be taken for HTML. NULL: nothing. */
void jdoc_description(struct sbuf *b, const char *comment);

#endif
