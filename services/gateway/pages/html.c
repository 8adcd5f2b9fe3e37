/*
 * html.c - see html.h.
 */
#include "services/gateway/pages/html.h"

static const char *entity_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void add_char(struct sbuf *b, char c)
{
    const char *entity = entity_of(c);

    if (entity)
        sbuf_add_text(b, entity);
    else
        sbuf_add_char(b, c);
}

void html_text(struct sbuf *b, const char *text)
{
    for (const char *p = text; *p; p++)
        add_char(b, *p);
}

void html_add(struct sbuf *b, const char *markup, ...)
{
    va_list texts;

    va_start(texts, markup);
    for (const char *p = markup; *p; p++)
        if (p[0] == '{' && p[1] == '}') {
            html_text(b, va_arg(texts, const char *));
            p++;
        } else {
            sbuf_add_char(b, *p);
        }
    va_end(texts);
}

/* What a line's end becomes, by what follows. */
static const char *line_end(const char *next)
{
    return *next == '\n' || strncmp(next, "- ", 2) == 0 ? "<br>\n" : " ";
}

void html_comment(struct sbuf *b, const char *comment)
{
    if (!comment)
        return;
    sbuf_add_text(b, "<p>");
    for (const char *p = comment; *p; p++)
        if (*p == '\n')
            sbuf_add_text(b, line_end(p + 1));
        else
            add_char(b, *p);
    sbuf_add_text(b, "</p>\n");
}
