/*
 * html.h - HTML written piece by piece into an sbuf, in which every text is escaped.
 */
#ifndef DAYBOOK_GATEWAY_HTML_H
#define DAYBOOK_GATEWAY_HTML_H

#include "common/sbuf.h"

/* Text, also within an attribute's quotes. */
void html_text(struct sbuf *b, const char *text);
/* Markup of ours, in which each {} stands for the next text; as many texts as {}. */
void html_add(struct sbuf *b, const char *markup, ...);
/* A comment of the contract: its lines run on, but for paragraphs and "- " items. NULL: nothing. */
void html_comment(struct sbuf *b, const char *comment);

#endif
