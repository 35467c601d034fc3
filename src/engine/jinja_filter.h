/* Filters over sequences (jinja_seqfilter.c), for the table in jinja_filter.c. */
#ifndef ENGINE_JINJA_FILTER_H
#define ENGINE_JINJA_FILTER_H

#include "engine/jinja_core.h"

jcallee jfilter_sort, jfilter_dictsort, jfilter_unique, jfilter_min, jfilter_max, jfilter_groupby,
    jfilter_map, jfilter_select, jfilter_reject, jfilter_selectattr, jfilter_rejectattr,
    jfilter_join, jfilter_sum, jfilter_first, jfilter_last, jfilter_list, jfilter_reverse,
    jfilter_length, jfilter_items, jfilter_batch, jfilter_slice;

#endif
