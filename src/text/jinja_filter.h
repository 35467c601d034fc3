/* Filters over sequences (jinja_seqfilter.c) and words (jinja_wordfilter.c), for the table in
 * jinja_filter.c. */
#ifndef TEXT_JINJA_FILTER_H
#define TEXT_JINJA_FILTER_H

#include "text/jinja_core.h"

jcallee jfilter_sort, jfilter_dictsort, jfilter_unique, jfilter_min, jfilter_max, jfilter_groupby,
    jfilter_map, jfilter_select, jfilter_reject, jfilter_selectattr, jfilter_rejectattr,
    jfilter_join, jfilter_sum, jfilter_first, jfilter_last, jfilter_list, jfilter_reverse,
    jfilter_length, jfilter_items, jfilter_batch, jfilter_slice;
jcallee jfilter_wordcount, jfilter_urlencode, jfilter_truncate, jfilter_filesizeformat;

/* Python's float(text). 1: it is one. */
int jfilter_parse_float(struct jctx *c, const struct jstr *s, double *ret);

#endif
