/*
 * json_doc.c - see json_doc.h.
 */
#include "services/gateway/pages/json_doc.h"

/* A value, and only a value, is followed by a comma: the last byte tells. */
static void begin(struct sbuf *b, const char *key)
{
    char last = b->len ? b->data[b->len - 1] : '{';

    if (last != '{' && last != '[' && last != ':')
        sbuf_add_char(b, ',');
    if (key) {
        sbuf_add_json(b, key);
        sbuf_add_char(b, ':');
    }
}

void jdoc_open(struct sbuf *b, const char *key, char bracket)
{
    begin(b, key);
    sbuf_add_char(b, bracket);
}

void jdoc_close(struct sbuf *b, char bracket)
{
    sbuf_add_char(b, bracket);
}

void jdoc_text(struct sbuf *b, const char *key, const char *text)
{
    begin(b, key);
    sbuf_add_json(b, text);
}

void jdoc_raw(struct sbuf *b, const char *key, const char *json)
{
    begin(b, key);
    for (const char *p = json; *p; p++)
        sbuf_add_char(b, *p == '\'' ? '"' : *p);
}

void jdoc_ref(struct sbuf *b, const char *key, const char *where, const char *name)
{
    begin(b, key);
    sbuf_addf(b, "{\"$ref\":\"%s%s\"}", where, name);
}

void jdoc_description(struct sbuf *b, const char *comment)
{
    CLEANUP(sbuf_fini) struct sbuf text = { 0 };

    if (!comment)
        return;
    sbuf_init(&text, 64 * KIB);
    for (const char *p = comment; *p; p++) {
        if (*p == '<')
            sbuf_add_char(&text, '\\');
        sbuf_add_char(&text, *p);
    }
    jdoc_text(b, "description", text.data);
}
